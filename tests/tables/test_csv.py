import tempfile
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, strategies as st

from fhirspace.errors import InputError, Place
from fhirspace.tables import csv, text
from fhirspace.tables.compare import compare
from fhirspace.tables.csv import fast as csv_fast, reading


@contextmanager
def file_of(content, name="t.csv"):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        yield path


def read(content, **options):
    with file_of(content) as path:
        return csv.read(path, **options)


def cells(table):
    return list(zip(*(table.column(name).to_pylist() for name in text.data_columns(table)), strict=True))


GOOD = {
    "nothing is guessed": ("a,b,c\n007,<20,NA\n5.50,null,1e3\n", [("007", "<20", "NA"), ("5.50", "null", "1e3")]),
    "empty and blank are missing": ('a,b,c\n,"",  \n', [(None, None, None)]),
    "quotes, delimiters and line breaks": ('a,b\n"x, ""y""","1\n2\r\n3"\n', [('x, "y"', "1\n2\r\n3")]),
    "CRLF": ("a,b\r\n1,2\r\n", [("1", "2")]),
    "CR": ("a,b\r1,2\r3,4\r", [("1", "2"), ("3", "4")]),
    "no final line break": ("a,b\n1,2", [("1", "2")]),
    "byte order mark": ("\ufeffa,b\n1,2\n", [("1", "2")]),
    "a byte order mark in a cell": ("a,b\n\ufeff1,2\n", [("\ufeff1", "2")]),
    "one column": ('a\n1\n""\n\n2\n', [("1",), (None,), ("2",)]),
    "blanks around text stay": ("a,b\n x , y\n", [(" x ", " y")]),
    "numbers with a sign": ("a,b\n-5,+1.5e3\n", [("-5", "+1.5e3")]),
    "a sign before words": ("a,b\n-mild,+ve\n", [("-mild", "+ve")]),
    "a parenthesis": ("a,b\nx (y),z|w!\n", [("x (y)", "z|w!")]),
    "semicolons are recognised": ("a;b\n1,5;2\n", [("1,5", "2")]),
    "tabs are recognised": ("a\tb\n1,5\t2\n", [("1,5", "2")]),
    "a quoted delimiter in the header": ('"a;;;",b\n1,2\n', [("1", "2")]),
}


@pytest.mark.parametrize("name", GOOD)
def test_good_files(name):
    content, expected = GOOD[name]
    table, rejected = read(content)
    assert cells(table) == expected
    assert not len(rejected)


def test_row_numbers_count_blank_lines():
    table, _ = read("a,b\n1,2\n\n\n3,4\n")
    assert table.column("@row").to_pylist() == [2, 5]
    assert table.column("@file").to_pylist() == ["t.csv", "t.csv"]


def test_a_delimiter_can_be_given():
    table, _ = read("a:b,c\n1:2\n", delimiter=":")
    assert cells(table) == [("1", "2")]


BAD_FILES = {
    "empty": (b"", "FS102"),
    "line breaks only": (b"\n\n", "FS102"),
    "header only": (b"a,b\n", "FS103"),
    "header without line break": (b"a,b", "FS103"),
    "header with an open quote": (b'a,"b\n1,2\n', "FS104"),
    "header with a stray quote": (b'a,b"c\n1,2\n', "FS115"),
    "Windows-1252": ("a,b\nx,y\nJos\xe9,1\n".encode("cp1252"), "FS105"),
    "Windows-1252 in the header": ("\xe9,b\nx,y\n".encode("cp1252"), "FS105"),
    "no encoding at all": (b"a,b\nx,\x81\xff\x8d\n", "FS105"),
    "UTF-16 with a mark": ("a,b\n1,2\n".encode("utf-16"), "FS105"),
    "UTF-16 without a mark": ("a,b\n1,2\n".encode("utf-16-le"), "FS105"),
    "duplicate header": (b"a,b,a\n1,2,3\n", "FS107"),
    "blank header": (b"a, ,c\n1,2,3\n", "FS108"),
    "no header": (b"\na,b\n1,2\n", "FS108"),
    "control character in the header": (b"a,b\x00\n1,2\n", "FS106"),
    "formula in the header": (b"a,=b\n1,2\n", "FS111"),
    "reserved name": (b"a,_b\n1,2\n", "FS116"),
    "zip": (b"PK\x03\x04....", "FS114"),
    "Parquet": (b"PAR1....", "FS114"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_files(name):
    content, code = BAD_FILES[name]
    with pytest.raises(InputError) as caught:
        read(content)
    assert caught.value.code == code
    assert caught.value.problem.place.file == "t.csv"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("a,b\nx,y\nJos\xe9,1\n".encode("cp1252"), "it looks like Windows-1252. Expected UTF-8 in line 3"),
        ("a,b\n1,2\n".encode("utf-16"), "UTF-16"),
    ],
)
def test_the_encoding_and_the_line_are_named(content, told):
    with pytest.raises(InputError, match=told):
        read(content)


def test_the_line_is_right_far_into_the_file(monkeypatch):
    monkeypatch.setenv("FHIRSPACE_LIMITS", "header-bytes=8")
    monkeypatch.setattr(reading, "BLOCK", 32)
    with pytest.raises(InputError, match=r"it looks like Windows-1252\. Expected UTF-8 in line 102"):
        read(b"a,b\n" + b"x,y\n" * 100 + b"Jos\xe9,1\nx,y\n")


def test_a_missing_file(tmp_path):
    with pytest.raises(InputError, match="FS101"):
        csv.read(tmp_path / "none.csv")


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,2\n")

    def refuse(*_):
        raise PermissionError

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(InputError, match="FS101"):
        csv.read(path)


@pytest.mark.parametrize("delimiter", ["", ",,", '"', "\n", "a", " ", "\u00e9", "\x00"])
def test_unusable_delimiters(delimiter):
    with pytest.raises(InputError, match="FS117"):
        read("a,b\n1,2\n", delimiter=delimiter)


BAD_ROWS: dict[str, tuple[str, tuple[str, ...], list[tuple[str, str | None]]]] = {
    "too few fields": ("1\n", ("1",), [("FS109", None)]),
    "too many fields": ("1,2,3\n", ("1", "2", "3"), [("FS110", None)]),
    "cut short": ("1", ("1",), [("FS104", None)]),
    "open quote": ('1,"2\n', ("1", '"2\n'), [("FS104", None)]),
    "stray quote": ('1,2"\n', ("1", '2"'), [("FS115", "b")]),
    "text behind a quote": ('"1"x,2\n', ('"1"x', "2"), [("FS115", "a")]),
    "blank before a quote": ('1, "2"\n', ("1", ' "2"'), [("FS115", "b")]),
    "NUL": ("1,\x00\n", ("1", "\x00"), [("FS106", "b")]),
    "C1 control": ("1,\x85\n", ("1", "\x85"), [("FS106", "b")]),
    "equals": ("1,=A1\n", ("1", "=A1"), [("FS111", "b")]),
    "at": ("1,@SUM\n", ("1", "@SUM"), [("FS111", "b")]),
    "call": ("1,+f(1)\n", ("1", "+f(1)"), [("FS111", "b")]),
    "DDE": ("1,-2+3+cmd|' /C calc'!A0\n", ("1", "-2+3+cmd|' /C calc'!A0"), [("FS111", "b")]),
    "tab": ("1,\tx\n", ("1", "\tx"), [("FS111", "b")]),
    "carriage return": ('1,"\rx"\n', ("1", "\rx"), [("FS111", "b")]),
    "all at once": ("=1,\x01,3\n", ("=1", "\x01", "3"), [("FS110", None), ("FS111", "a"), ("FS106", "b")]),
    "in a surplus field": ("1,2,=3\n", ("1", "2", "=3"), [("FS110", None), ("FS111", None)]),
}


@pytest.mark.parametrize("name", BAD_ROWS)
def test_bad_rows_are_rejected_whole_and_good_rows_go_on(name):
    line, fields, problems = BAD_ROWS[name]
    table, rejected = read("a,b\ngood,row\n" + line)
    assert cells(table) == [("good", "row")]
    assert rejected.columns == ("a", "b")
    assert [(row.row, row.fields) for row in rejected.rows] == [(3, fields)]
    assert [(problem.code, problem.place) for problem in rejected.problems] == [
        (code, Place("t.csv", 3, column)) for code, column in problems
    ]


def test_rows_behind_a_bad_row_keep_their_number():
    table, rejected = read("a,b\n1\n2,3\n")
    assert table.column("@row").to_pylist() == [3]
    assert [row.row for row in rejected.rows] == [2]


@pytest.mark.parametrize("quote", ["", '"'])
def test_an_overlong_cell(quote):
    _, rejected = read(f"a,b\n1,{quote}{'x' * 1_000_001}{quote}\n")
    assert [problem.code for problem in rejected.problems] == ["FS112"]
    table, rejected = read(f"a,b\n1,{quote}{'x' * 1_000_000}{quote}\n")
    assert (table.num_rows, len(rejected)) == (1, 0)


def test_an_overlong_record_is_no_csv(monkeypatch):
    monkeypatch.setattr(reading, "BLOCK", 64)
    monkeypatch.setenv("FHIRSPACE_LIMITS", "record-bytes=1000")
    with pytest.raises(InputError, match=r"FS113 t.csv:3"):
        read('a,b\n1,2\n3,"' + "x\n" * 2_000_000)


def test_an_overlong_header():
    with pytest.raises(InputError, match="FS113"):
        read(b"a" * (1 << 20) + b",b\n1,2\n")
    with pytest.raises(InputError, match="FS113"):
        read(b'"\n' + b"a" * (1 << 20) + b'",b\n1,2\n')


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
@pytest.mark.parametrize("name", [*GOOD, *BAD_ROWS])
def test_where_a_block_ends_makes_no_difference(name, size, monkeypatch):
    content = GOOD[name][0] if name in GOOD else "a,b\ngood,row\n" + BAD_ROWS[name][0]
    whole = read(content)
    monkeypatch.setattr(reading, "BLOCK", size)
    # The header's own read takes all of a small file: blocks are cut out of what lies behind it.
    monkeypatch.setenv(
        "FHIRSPACE_LIMITS", f"header-bytes={content.index(chr(10) if chr(10) in content else chr(13)) + 9}"
    )
    parts = read(content)
    assert cells(parts[0]) == cells(whole[0])
    assert parts[1] == whole[1]
    assert parts[0].column("@row").to_pylist() == whole[0].column("@row").to_pylist()


@pytest.mark.slow
def test_blocks_of_a_large_file_fit_together(monkeypatch):
    monkeypatch.setattr(reading, "BLOCK", 1 << 20)
    lines = [f"{i % 7},{i},x" for i in range(400_000)]
    lines[300_000] = "3,=1,x"
    with file_of("a,b,c\n" + "\n".join(lines) + "\n") as path:
        parts = list(csv.blocks(path))
        table, rejected = csv.read(path)
    assert len(parts) > 1
    assert {part.schema for part, _ in parts} == {table.schema}
    assert table.schema.types[:3] == [text.DICTIONARY, text.TEXT, text.DICTIONARY]
    assert table.num_rows + len(rejected) == 400_000
    assert [(row.row, row.fields) for row in rejected.rows] == [(300_002, ("3", "=1", "x"))]
    assert table.column("b").to_pylist() == [str(i) for i in range(400_000) if i != 300_000]


NASTY = st.text(alphabet='ab,;"\n\r\t =@+-(|0.\u00e9\ufeff\U0001f600\x00\x85', max_size=6)


@pytest.mark.slow
@given(st.lists(st.tuples(NASTY, NASTY), min_size=1, max_size=8), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_fast_path_is_strict_path_on_written_files(rows, line_break, always_quote):
    def shown(cell):
        odd = always_quote or any(sign in cell for sign in '",\r\n')
        return '"' + cell.replace('"', '""') + '"' if odd else cell

    content = "p,q" + line_break + "".join(",".join(map(shown, row)) + line_break for row in rows)
    agree(content)


@pytest.mark.slow
@given(st.text(alphabet='ab,"\n\r -=(', max_size=30))
def test_fast_path_is_strict_path_on_any_text(body):
    agree("p,q\nx,y\n" + body)


def agree(content):
    fast = read(content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_fast, "cut", lambda *_: None)
        strict = read(content)
    assert cells(fast[0]) == cells(strict[0])
    assert fast[0].column("@row").to_pylist() == strict[0].column("@row").to_pylist()
    assert fast[1] == strict[1]


PRINTABLE = st.none() | st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]) | st.sampled_from('\n\t\r",'), max_size=8
)


@pytest.mark.slow
@given(st.lists(st.tuples(PRINTABLE, PRINTABLE), max_size=8), st.booleans())
def test_written_tables_read_back(rows, coded):
    made = text.from_columns({"a": [row[0] for row in rows], 'b"\n,': [row[1] for row in rows]}, file="t.csv")
    if coded:
        made = pa.table({n: text.encode(c) if c.type == text.TEXT else c for n, c in zip(
            made.schema.names, made.columns, strict=True)})  # fmt: skip
    with file_of("") as path:
        try:
            csv.write(made, path)
        except InputError as fault:
            assert fault.code == "FS111"
            return
        if not made.num_rows:
            assert path.read_text() == 'a,"b""\n,"\n'
            return
        again, rejected = csv.read(path, delimiter=",")
    assert not len(rejected)
    assert compare(made, again, []) == []
    assert again.column("@row").to_pylist() == made.column("@row").to_pylist()


def test_write_quotes_only_where_it_must(tmp_path):
    made = text.from_columns({"A": ["x", None, "y,z"], "_H": ["h"] * 3, "B": ['"', "1\n2", None]}, file="t.csv")
    csv.write(made, tmp_path / "o.csv")
    assert (tmp_path / "o.csv").read_bytes() == b'A,B\nx,""""\n,"1\n2"\n"y,z",\n'


def test_write_marks_a_missing_cell_where_a_line_would_be_empty(tmp_path):
    csv.write(text.from_columns({"A": ["x", None]}, file="t.csv"), tmp_path / "o.csv")
    assert (tmp_path / "o.csv").read_bytes() == b'A\nx\n""\n'


@pytest.mark.parametrize("coded", [False, True])
@pytest.mark.parametrize(("cell", "code"), [("=1", "FS111"), ("a\x00", "FS106"), ("x" * 1_000_001, "FS112")])
def test_write_refuses_what_would_not_read_back(cell, code, coded, tmp_path):
    column = pa.array([None, "ok", cell])
    made = pa.table({"A": text.encode(column) if coded else column})
    with pytest.raises(InputError) as caught:
        csv.write(text.with_provenance(made, "t.csv"), tmp_path / "o.csv")
    assert (caught.value.code, caught.value.problem.place) == (code, Place("t.csv", 4, "A"))
    assert not (tmp_path / "o.csv").exists()


def test_write_keeps_formulas_when_told(tmp_path):
    csv.write(pa.table({"A": ["=1"]}), tmp_path / "o.csv", formulas="keep")
    assert (tmp_path / "o.csv").read_bytes() == b"A\n=1\n"
    with pytest.raises(InputError, match="FS106"):
        csv.write(pa.table({"A": ["=1", "=\x00"]}), tmp_path / "o.csv", formulas="keep")


def test_write_refuses_a_table_without_columns_or_with_an_odd_name(tmp_path):
    with pytest.raises(InputError, match="FS108"):
        csv.write(pa.table({"_A": ["x"]}), tmp_path / "o.csv")
    with pytest.raises(InputError, match="FS106"):
        csv.write(pa.table({"A\x00": ["x"]}), tmp_path / "o.csv")


def test_no_value_in_any_message():
    with file_of('a,b\nCANARY\nCANARY,=CANARY\nCANARY,CANARY"\nCANARY,CANARY,CANARY\nCANARY,"CANARY') as path:
        _, rejected = csv.read(path)
    assert len(rejected) == 5
    assert "CANARY" not in " ".join(map(str, rejected.problems))
