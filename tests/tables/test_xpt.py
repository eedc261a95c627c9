from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyreadstat
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from fhirspace.errors import InputError, Place
from fhirspace.tables import description, formats, text, xpt
from fhirspace.tables.compare import compare
from fhirspace.tables.xpt import checks, dates, headers, numbers

MSG20 = Path(__file__).parents[3] / "shared/data/msg20"
VARIABLES: list[xpt.Variable] = [("A", "A label", "Char", None), ("N", "A number", "Num", None)]
C, N = VARIABLES


def made(a=("x", None, "\u00e9"), n=("1", "5.5", None)):
    return text.from_columns({"A": list(a), "N": list(n)}, file="t.xpt")


def write(path, table=None, variables=VARIABLES, name="DD", label="A dataset", **options):
    xpt.write(made() if table is None else table, path, name=name, label=label, variables=variables, **options)
    return path


def test_text_to_xpt_to_text(tmp_path):
    table, problems = xpt.read(write(tmp_path / "t.xpt"))
    assert table.to_pylist() == made().to_pylist()
    assert problems == []
    assert table.schema.metadata == {b"name": b"DD", b"label": b"A dataset"}
    assert table.schema.field("A").metadata == {b"label": b"A label", b"type": b"Char", b"length": b"2"}
    assert table.schema.field("N").metadata == {b"label": b"A number", b"type": b"Num", b"length": b"8"}


def test_pandas_and_pyreadstat_read_it(tmp_path):
    path = write(tmp_path / "t.xpt", variables=[("A", "a", "Char", 20), ("N", "n", "Num", 8)])
    frame, meta = pyreadstat.read_xport(path)
    assert frame["A"].tolist() == ["x", "", "\u00e9"]
    assert frame["N"].tolist()[:2] == [1.0, 5.5]
    assert meta.variable_storage_width == {"A": 20, "N": 8}
    assert meta.readstat_variable_types == {"A": "string", "N": "double"}
    assert pd.read_sas(path, format="xport", encoding="utf-8")["N"].tolist()[:2] == [1.0, 5.5]


def test_columns_without_a_filled_cell_keep_their_type(tmp_path):
    table, _ = xpt.read(write(tmp_path / "t.xpt", made(["x"], [None])))
    assert table.schema.field("N").metadata[b"type"] == b"Num"
    table, _ = xpt.read(write(tmp_path / "t.xpt", made([None], ["1"])))
    assert table.schema.field("A").metadata[b"type"] == b"Char"
    assert table.column("A").to_pylist() == [None]


FORMATS = [("", ""), ("$20.", "$CHAR20."), ("8.2", "BEST12."), ("F.", ""), ("$F5.", "E8601DA10."), ("$", "12.")]


@pytest.mark.parametrize("forms", FORMATS, ids=map(str, FORMATS))
def test_formats_and_informats_are_written_and_read(forms, tmp_path):
    form, informat = forms
    path = write(tmp_path / "t.xpt", formats={"A": forms})
    column = description.of(xpt.read(path)[0]).columns[0]
    assert (column.format, column.informat) == (form + "." * (form == "$"), informat)
    witness = pyreadstat.read_xport(path)[1].original_variable_types["A"] or ""
    assert witness.rstrip(".") in (form.rstrip("."), "NULL")


def test_dates_have_the_length_and_format_of_their_texts(tmp_path):
    path = write(tmp_path / "t.xpt", made(["x"], ["0"]), formats={"N": ("DATE9.", "DATE9.")})
    column = description.of(xpt.read(path)[0]).columns[1]
    assert column == description.Column("N", "A number", "Char")


@pytest.mark.parametrize(("cell", "size"), [("1", 3), ("-2.5", 3), ("0.1", 8), (None, 3), ("65537", 8)])
def test_numbers_are_as_short_as_is_wanted_where_their_digits_fit(cell, size, tmp_path):
    path = write(tmp_path / "t.xpt", made(["x"], [cell]), variables=[C, ("N", "", "Num", 3)])
    table, _ = xpt.read(path)
    assert table.column("N").to_pylist() == [cell]
    assert description.of(table).columns[1].length == size
    assert pyreadstat.read_xport(path)[0]["N"].fillna(-1).tolist() == [float(cell or -1)]


def test_a_dataset_without_rows_keeps_its_variables(tmp_path):
    path = write(tmp_path / "t.xpt", made([], []), variables=[("A", "A", "Char", 7), N])
    table, problems = xpt.read(path, empty=True)
    assert (table.num_rows, problems) == (0, [])
    assert [(each.name, each.type, each.length) for each in description.of(table).columns] == [
        ("A", "Char", 7),
        ("N", "Num", 8),
    ]


def test_columns_that_repeat_are_dictionaries_whose_missing_cells_are_null(tmp_path):
    table = made(["x", None, "y", "x "] * 1000, ["1", None, "2", "1.0"] * 1000)
    again, _ = xpt.read(write(tmp_path / "t.xpt", table))
    for name, cells in (("A", ["x", None, "y", "x"]), ("N", ["1", None, "2", "1"])):
        assert again[name].type == text.DICTIONARY
        assert again[name].null_count == 1000
        assert again[name].to_pylist() == cells * 1000
        assert all(chunk.dictionary.null_count == 0 for chunk in again[name].chunks)


def test_a_file_is_searched_for_datasets_once(tmp_path, monkeypatch):
    (found,) = formats.scan(write(tmp_path / "t.xpt")).values()
    monkeypatch.setattr("fhirspace.tables.xpt.reading.spans", None)
    assert formats.load(found).table.num_rows == 3


def test_the_number_of_datasets_has_its_own_limit(tmp_path, monkeypatch):
    first = write(tmp_path / "t.xpt")
    first.write_bytes(first.read_bytes() + write(tmp_path / "u.xpt", name="EE").read_bytes()[240:])
    monkeypatch.setenv("FHIRSPACE_LIMITS", "datasets=1")
    with pytest.raises(InputError, match="datasets=N"):
        xpt.datasets(first)


def test_no_row_can_be_written_but_is_no_success_to_read(tmp_path):
    path = write(tmp_path / "t.xpt", made([], []))
    assert path.stat().st_size % 80 == 0
    with pytest.raises(InputError, match="FS103"):
        xpt.read(path)


@pytest.mark.parametrize(("epoch", "told"), [(None, b"01JAN70:00:00:00"), ("1732312800", b"22NOV24:22:00:00")])
def test_the_times_are_fixed(epoch, told, tmp_path, monkeypatch):
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    if epoch:
        monkeypatch.setenv("SOURCE_DATE_EPOCH", epoch)
    content = write(tmp_path / "t.xpt").read_bytes()
    assert content.count(told) == 4
    monkeypatch.setattr("time.time", lambda: 0)
    assert write(tmp_path / "u.xpt").read_bytes() == content


def test_long_files_are_read_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr("fhirspace.tables.xpt.reading._ROWS", 1000)
    table = made(["x", "y"] * 1250, [str(i) for i in range(2500)])
    again, _ = xpt.read(write(tmp_path / "t.xpt", table))
    assert compare(table, again, ["N"]) == []
    assert again.schema.field("A").type == text.DICTIONARY


CELLS = st.none() | st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=9).map(
    lambda cell: cell.rstrip(" ") or None
)
FLOATS = st.none() | st.floats(allow_nan=False, allow_infinity=False).filter(
    lambda number: number == 0 or 5.4e-79 <= abs(number) <= 9e74
)


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(CELLS, FLOATS), min_size=1))
def test_every_text_and_number_reads_back(rows, tmp_path):
    numbers = [None if row[1] is None else text.number_text(row[1]) for row in rows]
    table = made([row[0] for row in rows], numbers)
    again, _ = xpt.read(write(tmp_path / "t.xpt", table))
    assert compare(table, again, []) == []
    assert again.column("@row").to_pylist() == table.column("@row").to_pylist()


@pytest.mark.skipif(not MSG20.is_dir(), reason="the CDISC MSG 2.0 sample is not beside the repository")
@pytest.mark.parametrize("name", sorted(path.name for path in MSG20.glob("*.xpt")))
def test_msg20(name, tmp_path):
    table, problems = xpt.read(MSG20 / name)
    variables = [
        (f.name, f.metadata[b"label"].decode(), f.metadata[b"type"].decode(), int(f.metadata[b"length"]))
        for f in table.schema
        if not text.is_reserved(f.name)
    ]
    told = table.schema.metadata
    path = write(tmp_path / name, table, variables, told[b"name"].decode(), told[b"label"].decode())
    again, _ = xpt.read(path)
    assert problems == []
    assert compare(table, again, []) == []
    assert again.schema.equals(table.schema, check_metadata=True)


def test_windows_1252_is_read_and_named(tmp_path):
    path = write(tmp_path / "t.xpt")
    content = path.read_bytes()
    path.write_bytes(content.replace("\u00e9".encode(), b"\xe9 "))
    table, problems = xpt.read(path)
    assert table.column("A").to_pylist() == ["x", None, "\u00e9"]
    assert [(problem.code, problem.place) for problem in problems] == [("FS138", Place("t.xpt"))]


def test_special_missing_values_are_read_as_missing_and_said(tmp_path):
    path = write(tmp_path / "t.xpt")
    content = bytearray(path.read_bytes())
    with headers.mapped(path) as mapped:
        (span,) = headers.spans(mapped, path.name)
        member = headers.member(mapped, span, path.name)
    start, width = member.start, member.width
    assert content[start + 2 * width + 2 : start + 3 * width] == b"." + bytes(7)
    content[start + 2 * width + 2] = ord("A")
    path.write_bytes(content)
    table, problems = xpt.read(path)
    assert table.column("N").to_pylist() == ["1", "5.5", None]
    assert [(problem.code, str(problem.place)) for problem in problems] == [("FS130", "t.xpt:4:N")]


def overwrite(at, new):
    def damage(path):
        content = path.read_bytes()
        path.write_bytes(content[:at] + new + content[at + len(new) :])

    return damage


def second_dataset(path):
    content = path.read_bytes()
    path.write_bytes(content + content[240:])


DAMAGE = {
    "missing": (lambda path: path.unlink(), "FS101"),
    "another format": (lambda path: path.write_text("A,N\n1,2\n"), "FS131"),
    "two versions": (lambda path: path.write_bytes(path.read_bytes().replace(b"LIBRARY ", b"LIBV8   ", 1)), "FS131"),
    "no number of variables": (overwrite(614, b"????"), "FS131"),
    "no dataset header": (overwrite(320, b"?" * 40), "FS131"),
    "two datasets, none named": (second_dataset, "FS131"),
    "cut in the header": (lambda path: path.write_bytes(path.read_bytes()[:700]), "FS104"),
    "cut in a row": (lambda path: path.write_bytes(path.read_bytes()[:-75]), "FS104"),
    "cut in the blanks": (lambda path: path.write_bytes(path.read_bytes()[:-7]), "FS104"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_files(name, tmp_path):
    path = write(tmp_path / "t.xpt")
    DAMAGE[name][0](path)
    with pytest.raises(InputError, match=DAMAGE[name][1]):
        xpt.read(path)


def test_a_file_cut_at_a_whole_line_is_noticed(tmp_path):
    path = write(tmp_path / "t.xpt", made(["x" * 50, "y" * 50], ["1", "2"]))
    path.write_bytes(path.read_bytes()[:-80])
    with pytest.raises(InputError, match=r"FS104 t.xpt:3"):
        xpt.read(path)


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(FLOATS, min_size=1))
def test_numbers_are_those_that_others_read_and_write(values, tmp_path):
    cells = [None if value is None else text.number_text(value) for value in values]
    path = write(tmp_path / "ours.xpt", made(["x"] * len(values), cells))
    frame, _ = pyreadstat.read_xport(path)
    assert [None if pd.isna(value) else value for value in frame["N"]] == values
    pyreadstat.write_xport(pd.DataFrame({"N": values}, dtype="float64"), tmp_path / "theirs.xpt", file_format_version=5)
    again, _ = xpt.read(tmp_path / "theirs.xpt")
    assert again.column("N").to_pylist() == cells


@pytest.mark.parametrize("size", range(2, 9))
def test_short_numbers_are_read(size):
    """SAS may store a number in 2 to 8 bytes: the last bytes of its fraction are missing."""
    whole = numbers.write(np.array([1.0, -2.5, 0.0, 100.0, float("nan")]))
    values, missing = numbers.read(whole[:, :size])
    assert values.tolist()[:4] == [1.0, -2.5, 0.0, 100.0]
    assert missing.tolist() == [0, 0, 0, 0, ord(".")]


def formatted(path, *names):
    """Writes the formats of the variables into the header, as SAS does."""
    content = bytearray(path.read_bytes())
    for number, form in enumerate(names):
        at = 640 + number * 140 + 56
        content[at : at + 8] = form.encode().ljust(8)
    path.write_bytes(bytes(content))
    return path


@pytest.mark.parametrize(
    ("form", "cell", "right"),
    [
        ("DATE", "23805", "2025-03-05"),
        ("DATE", "-1", "1959-12-31"),
        ("DATE9.", "0", "1960-01-01"),
        ("YYMMDD", "5644", "1975-06-15"),
        ("DATETIME", "2056786200", "2025-03-05T09:30:00"),
        ("E8601DT", "1.5", "1960-01-01T00:00:01.500000"),
        ("TIME", "34200", "09:30:00"),
        ("BEST", "5644", "5644"),
        ("", "5644", "5644"),
    ],
)
def test_numbers_with_a_format_of_dates_are_dates(form, cell, right, tmp_path):
    table, problems = xpt.read(formatted(write(tmp_path / "t.xpt", made(["x"], [cell])), "", form))
    assert table.column("N").to_pylist() == [right]
    assert [(each.code, str(each.place)) for each in problems] == ([("FS158", "t.xpt:N")] if right != cell else [])
    assert table.schema.field("N").metadata[b"type"] == (b"Num" if right == cell else b"Char")
    assert table.schema.field("N").metadata.get(b"format") == (b"BEST." if form == "BEST" else None)


@pytest.mark.parametrize(
    ("form", "cell"), [("DATE", "5644.5"), ("DATE", "9999999"), ("DATETIME", "9e20"), ("TIME", "90000")]
)
def test_a_number_that_is_no_date_is_kept_and_reported(form, cell, tmp_path):
    table, problems = xpt.read(formatted(write(tmp_path / "t.xpt", made(["x"], [cell])), "", form))
    assert table.column("N").to_pylist() == [text.number_text(float(cell))]
    assert ("FS159", "t.xpt:2:N") in [(each.code, str(each.place)) for each in problems]


def test_every_meaning_of_a_format_has_formats():
    assert {dates.meaning(form) for form in ("DATE9.", "DATETIME20.3", "TIME8.", "F8.2")} == {
        "date",
        "datetime",
        "time",
        None,
    }


def test_several_datasets_of_a_file_are_read_by_name(tmp_path):
    first = write(tmp_path / "t.xpt", made(["x", "y"], ["1", "2"]))
    second = write(tmp_path / "u.xpt", made(["z"], ["3"]), name="EE")
    first.write_bytes(first.read_bytes() + second.read_bytes()[240:])
    assert [each.name for each in xpt.datasets(first)] == ["DD", "EE"]
    assert xpt.read(first, "DD")[0].column("A").to_pylist() == ["x", "y"]
    assert xpt.read(first, "EE")[0].column("N").to_pylist() == ["3"]
    with pytest.raises(InputError, match="FS131"):
        xpt.read(first)


@pytest.mark.parametrize("filling", [b" ", b"\0"])
@pytest.mark.parametrize("width", [1, 5, 39, 41, 79, 80, 200])
def test_what_fills_up_the_last_line_is_no_row(filling, width, tmp_path):
    path = write(tmp_path / "t.xpt", made(["x" * width, "y"], [None, "1"]))
    content = path.read_bytes().rstrip(b" ")
    path.write_bytes(content + filling * (-len(content) % 80))
    assert xpt.read(path)[0].num_rows == 2


def test_texts_filled_up_with_nul_are_read(tmp_path):
    path = write(tmp_path / "t.xpt", made(["abcdef", "x"], ["1", "2"]))
    path.write_bytes(path.read_bytes().replace(b"x     ", b"x\0\0\0\0\0"))
    assert xpt.read(path)[0].column("A").to_pylist() == ["abcdef", "x"]


def test_a_last_row_of_zeros_is_a_row(tmp_path):
    table = text.from_columns({"N": ["1", "0"]}, file="t.xpt")
    path = write(tmp_path / "t.xpt", table, [("N", "", "Num", None)])
    assert xpt.read(path)[0].column("N").to_pylist() == ["1", "0"]


ENCODED = {
    "windows-1252": ("café “no”", None, "FS138"),
    "shift_jis": ("頭痛", "FS148", None),
    "euc-kr": ("두통과 발열", "FS148", None),
    "gb18030": ("头痛和发烧", "FS148", None),
    "koi8-r": ("Головная боль", "FS148", None),
}


@pytest.mark.parametrize("encoding", ENCODED)
def test_an_encoding_is_guessed_only_where_it_is_clear(encoding, tmp_path):
    words, refused, noticed = ENCODED[encoding]
    raw = words.encode(encoding)
    path = write(tmp_path / "t.xpt", made(["?" * len(raw)], ["1"]))
    path.write_bytes(path.read_bytes().replace(b"?" * len(raw), raw))
    if refused:
        with pytest.raises(InputError, match=refused):
            xpt.read(path)
    else:
        table, problems = xpt.read(path)
        assert (table.column("A").to_pylist(), [each.code for each in problems]) == ([words], [noticed])
    table, problems = xpt.read(path, encoding=encoding)
    assert (table.column("A").to_pylist(), problems) == ([words], [])


@pytest.mark.parametrize("encoding", ["windows-1252", "gb18030"])
def test_an_encoding_given_for_texts_that_are_utf_8_is_doubted(encoding, tmp_path):
    path = write(tmp_path / "t.xpt", made(["caf\u00e9s", "plain"], ["1", "2"]))
    table, problems = xpt.read(path, encoding=encoding)
    assert table.column("A").to_pylist()[0] == "caf\u00e9s".encode().decode(encoding)
    assert [each.code for each in problems] == ["FS170"]
    assert xpt.read(path, encoding="UTF8")[1] == []
    path.write_bytes(path.read_bytes().replace(b"plain", b"pl\xe0\xe1n"))
    assert xpt.read(path, encoding="windows-1252")[1] == []


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "long name": ({"variables": [("ABCDEFGHI", "", "Char", None), N], "table": None}, "FS133"),
    "odd name": ({"name": "A-B"}, "FS133"),
    "long label": ({"label": "x" * 41}, "FS134"),
    "long label of a variable": ({"variables": [("A", "\u00e9" * 21, "Char", None), N]}, "FS134"),
    "long text": ({"table": made(["x" * 201], ["1"])}, "FS135"),
    "longer than declared": ({"variables": [("A", "", "Char", 1), N]}, "FS135"),
    "control character": ({"table": made(["x\x00"], ["1"])}, "FS106"),
    "no number": ({"table": made(["x"], ["<20"])}, "FS136"),
    "what Python calls a number": ({"table": made(["x"], ["1_0"])}, "FS136"),
    "not a number": ({"table": made(["x"], ["nan"])}, "FS136"),
    "too many digits": ({"table": made(["x"], ["0.12345678901234567890"])}, "FS137"),
    "too large": ({"table": made(["x"], ["1e80"])}, "FS137"),
    "infinite": ({"table": made(["x"], ["1e999"])}, "FS137"),
    "too small": ({"table": made(["x"], ["1e-80"])}, "FS137"),
    "no column": ({"variables": [C, N, ("B", "", "Char", None)]}, "FS139"),
    "no variable": ({"variables": [C]}, "FS139"),
    "no variable at all": ({"variables": [], "table": pa.table({"_A": ["x"]})}, "FS139"),
    "variable twice": ({"variables": [C, C, N]}, "FS139"),
    "long variable": ({"variables": [("A", "", "Char", 201), N]}, "FS139"),
    "short number": ({"variables": [C, ("N", "", "Num", 1)]}, "FS139"),
    "long number": ({"variables": [C, ("N", "", "Num", 9)]}, "FS139"),
    "a format that is none": ({"formats": {"N": ("8.2.1", "")}}, "FS161"),
    "a long informat": ({"formats": {"N": ("", "LONGERNAM9.")}}, "FS161"),
    "a wide format": ({"formats": {"N": ("F99999.", "")}}, "FS161"),
    "empty last row": ({"variables": [C], "table": pa.table({"A": ["x", None]})}, "FS140"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused(name, tmp_path):
    options, code = REFUSED[name]
    with pytest.raises(InputError, match=code):
        write(tmp_path / "t.xpt", **options)
    assert not (tmp_path / "t.xpt").exists()


def test_check_names_every_cell():
    table = text.from_columns({"A": ["x" * 201, "y", "x" * 201], "N": ["1", "?", "2"]}, file="t.csv", rows=[5, 6, 9])
    found = checks.check(table, "t.xpt", name="DD", label="", variables=VARIABLES)
    assert [(problem.code, str(problem.place)) for problem in found] == [
        ("FS135", "t.csv:5:A"),
        ("FS135", "t.csv:9:A"),
        ("FS136", "t.csv:6:N"),
    ]
