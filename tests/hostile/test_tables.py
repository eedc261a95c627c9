"""Tables that are larger, wider or stranger than their files look: refused with the bound, its place and its option."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fhirspace import limits
from fhirspace.cli import main
from fhirspace.errors import InputError
from fhirspace.tables import csv, parquet, slices, text, xpt
from fhirspace.tables.csv.opening import open_csv
from fhirspace.tables.parquet import check as parquet_check, files
from fhirspace.tables.parquet.check import check_shape
from tests.hostile.measured import measured
from tests.hostile.parquet_files import Column, Page, entries, grown, huge, nested, plain, same, write

Make = Callable[[Path], object]


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(limits.VARIABLE, "")


def one(*pages: Page, rows: int = 1, **claims: int) -> Make:
    """A file with one column, A, of one row group with these pages."""
    numbers = {"unpacked": 6, "packed": 7, "values": 5}
    column = Column(pages, {numbers[name]: number for name, number in claims.items()})
    return lambda path: write(path, [(rows, [column])], ["A"])


def wide(count: int, *pages: Page) -> Make:
    return lambda path: write(path, [(1, [Column(pages)] * count)], [f"C{number}" for number in range(count)])


X = b"x"
PARQUET: dict[str, tuple[Make, str, str]] = {
    # what the file holds, the bounds in force, and what is said of the file t.parquet
    "a long cell in a dictionary": (one(entries(X * 2_000), same(1)), "cell-bytes=1000", ":2:A|1,000 bytes in a cell"),
    "a long cell spelt out": (
        one(plain(X), plain(X * 1_001, X), plain(X), rows=4),
        "cell-bytes=1000",
        ":3:A|1,000 bytes in a cell",
    ),
    "a long cell among short ones": (
        one(plain(*[X] * 500, X * 1_001, *[X] * 500), rows=1_001),
        "cell-bytes=1000",
        ":502:A|1,000 bytes in a cell",
    ),
    "a long cell of a dictionary, named late": (
        one(entries(X, X * 1_001, *[X] * 99), same(5), same(1, 1), rows=6),
        "cell-bytes=1000",
        ":7:A|1,000 bytes in a cell",
    ),
    "a page that the footer makes small": (one(huge(20_000_000), same(1), unpacked=57), "", ":2:A|1,000,000 bytes in"),
    "a page that says to unpack to 2 GB": (
        one(Page(plain(X).data, 1, unpacked=2_000_000_000)),
        "",
        ":2:A|1,000,000 bytes in a cell",
    ),
    "a page that says to unpack to 2 GB of cells": (
        one(Page(plain(X).data, 100_000, unpacked=2_000_000_000), rows=100_000),
        "",
        ":2|200 times its compressed size",
    ),
    "many pages that say nothing": (one(*[plain(X * 999_000)] * 20, rows=20), "", ":2|200 times its compressed size"),
    "a text that many rows name": (
        one(entries(X * 9_000), same(2_000), rows=2_000),
        "",
        "|200 times its compressed size",
    ),
    "such a text beside others": (
        one(entries(X * 9_000, b"y"), same(1_999), plain(b"z"), rows=2_000),
        "",
        "|200 times its compressed size",
    ),
    "a text that all others begin with": (one(grown(X * 9_000, 2_000), rows=2_000), "", "|200 times its compressed"),
    "columns that unpack to little each": (
        wide(50, plain(X * 900)),
        "row-group-bytes=40000",
        ":2|40,000 bytes of a row",
    ),
    "columns": (wide(1_001, plain(X)), "columns=1000", ":1|1,000 columns in a table"),
    "rows": (one(entries(X), same(3_000), rows=3_000), "rows=2999", "|2,999 rows in a table"),
    "rows that are not there": (
        lambda path: write(path, [(1, [Column([plain(X)])])], ["A"], rows=10**15),
        "",
        "|10,000,000 rows in a table",
    ),
    "a footer": (wide(999, plain(X)), "footer-bytes=9999", "|9,999 bytes in the footer"),
}
DAMAGED: dict[str, tuple[Make, str]] = {
    "fewer rows than the footer says": (one(plain(X, X), rows=3), "FS121 t.parquet"),
    "more rows than the footer says": (one(plain(X, X), rows=1), "FS121 t.parquet"),
    "no UTF-8": (one(plain(X, b"\xff"), rows=2), "FS105 t.parquet:2:A"),
    "a character in two cells": (one(plain(b"\xc3", b"\xa9"), rows=2), "FS105 t.parquet:2:A"),
    "no UTF-8 in a dictionary": (one(entries(b"\xff"), same(2), rows=2), "FS105 t.parquet:2:A"),
    "groups within one another": (
        lambda path: write(path, [(1, [Column([plain(X)])])], ["A"], schema=nested(50_000)),
        "FS121 t.parquet",
    ),
    "no column": (lambda path: write(path, [(5, [])], []), "FS108 t.parquet:1"),
    "no page": (one(rows=1, values=1), "FS121 t.parquet:2"),
    "a page of negative size": (one(Page(plain(X).data, 1, unpacked=-1)), "FS121 t.parquet"),
    "a page without a header": (one(plain(X), packed=3), "FS121 t.parquet"),
    "a dictionary without its dictionary": (one(same(1)), "FS121 t.parquet:2"),
    "a place beyond the dictionary": (one(entries(X), same(1, 9)), "FS121 t.parquet:2"),
    "a dictionary after other texts": (one(entries(X), plain(X), same(1), rows=2), "FS121 t.parquet"),
    "a date in no calendar": (
        lambda path: pq.write_table(pa.table({"A": pa.array([1 << 62], pa.timestamp("us"))}), path),
        "FS121 t.parquet:2:A",
    ),
}


@pytest.mark.parametrize("name", PARQUET)
def test_parquet_beyond_a_bound(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make, chosen, said = PARQUET[name]
    make(tmp_path / "t.parquet")
    monkeypatch.setenv(limits.VARIABLE, chosen)
    refused(lambda: list(parquet.batches(tmp_path / "t.parquet")), "t.parquet", said)


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_parquet(name: str, tmp_path: Path) -> None:
    make, said = DAMAGED[name]
    make(tmp_path / "t.parquet")
    with pytest.raises(InputError, match=said):
        list(parquet.batches(tmp_path / "t.parquet"))


def refused(read: Callable[[], object], file: str, said: str) -> None:
    """The error names the place (after the file), the bound in force, and the option that changes it."""
    with pytest.raises(InputError) as fault:
        read()
    place, _, bound = said.partition("|")
    shown = str(fault.value)
    assert shown.startswith(f"FS160 {file}{place}"), shown
    assert f"at most {bound}" in shown
    assert "`--limit " in shown


@pytest.mark.parametrize("name", [name for name in PARQUET if "2 GB" not in name and "not there" not in name])
def test_the_option_that_is_named_lets_parquet_through(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, chosen, said = PARQUET[name]
    make(tmp_path / "t.parquet")
    bound = chosen.partition("=")[0] or "expansion"
    monkeypatch.setenv(limits.VARIABLE, f"{bound}=100000000,cell-bytes=100000000")
    assert sum(batch.num_rows for batch in parquet.batches(tmp_path / "t.parquet")) > 0, said


BATCHES = {
    "a text that many rows name": one(entries(X * 9_000), same(200), rows=200),
    "such a text beside others": one(entries(X * 9_000, b"y"), same(199), plain(b"z"), rows=200),
    "a text that all others begin with": one(grown(X * 9_000, 200), rows=200),
    "pages of a cell each": one(*[plain(X * 9_000)] * 200, rows=200),
}


@pytest.mark.parametrize("name", BATCHES)
def test_what_is_unpacked_at_once_is_bounded(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    BATCHES[name](tmp_path / "t.parquet")
    for module in (slices, parquet_check):
        monkeypatch.setattr(module, "BUDGET", 500_000)
    with files._opened(tmp_path / "t.parquet") as opened:
        at_once = parquet_check.rows_at_once(opened.files, 0, opened.plan.mixed, 200)
    assert at_once < 100 or opened.plan.coded  # what is read as a dictionary is divided afterwards
    rows = 0
    for batch in parquet.batches(tmp_path / "t.parquet"):
        rows += batch.num_rows
        assert batch.num_rows < 100
        assert set(batch.column("A").to_pylist()) <= {"x" * 9_000, "z"}
    assert rows == 200


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is measured as Linux does it")
def test_900_mb_in_a_cell_are_refused_in_little_memory(tmp_path: Path) -> None:
    home = tmp_path / "in"
    home.mkdir()
    names = ["STUDYID", "DOMAIN", "USUBJID", "AESEQ", "AETERM", "AEDECOD"]
    cells = [b"S", b"AE", b"S-1", b"1", b"", b"x"]
    columns = [Column([entries(cell), same(1)]) if cell else Column([huge(900_000_000), same(1)]) for cell in cells]
    write(home / "ae.parquet", [(1, columns)], names)
    assert (home / "ae.parquet").stat().st_size < 200_000
    run = measured("convert", home, "--to", "fhir", "--out", tmp_path / "out")
    assert run.code == 2
    assert "FS160 ae.parquet:2:AETERM" in run.said
    assert "1,000,000 bytes in a cell" in run.said
    assert run.peak < 300


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is measured as Linux does it")
def test_a_long_text_for_each_of_many_rows_takes_little_memory(tmp_path: Path) -> None:
    home = tmp_path / "in"
    home.mkdir()
    names = ["STUDYID", "DOMAIN", "USUBJID", "AESEQ", "AETERM"]
    rows = 100_000
    cells = [entries(b"S"), entries(b"AE"), entries(b"S-1"), entries(b"1"), entries(X * 900_000, b"y")]
    columns = [Column([cell, same(rows - 1), plain(b"z")]) for cell in cells]
    write(home / "ae.parquet", [(rows, columns)], names)
    run = measured("convert", home, "--to", "fhir", "--out", tmp_path / "out")
    assert run.code == 2
    assert "200 times its compressed size" in run.said
    assert run.peak < 500


HEAD = b"STUDYID,DOMAIN,USUBJID,AETERM\n"
ROW = b"S,AE,S-1,x\n"
CSV: dict[str, tuple[bytes, str, str]] = {
    "columns": (b",".join(b"C%d" % at for at in range(5_000)) + b"\n", "columns=4999", ":1|4,999 columns in a table"),
    "columns in a row": (HEAD + ROW + b"," * 5_000 + b"\n", "columns=4999", ":3|4,999 columns in a table"),
    "columns in quotes": (HEAD + b'"",' * 5_000 + b"\n", "columns=4999", ":2|4,999 columns in a table"),
    "formulas beyond the columns": (HEAD + b"=," * 20_000 + b"\n", "", ":2|10,000 columns in a table"),
    "rows": (HEAD + ROW * 1_001, "rows=1000", "|1,000 rows in a table"),
    "rows that cannot be read": (
        HEAD + b"S\n" * 1_001,
        "bad-rows=1000",
        ":1002|1,000 rows of a file that cannot be read",
    ),
    "empty lines in quotes": (HEAD + b'""\n' * 1_001, "bad-rows=1000", ":1002|1,000 rows of a file that cannot be"),
}


@pytest.mark.parametrize("name", CSV)
def test_csv_beyond_a_bound(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content, chosen, said = CSV[name]
    (tmp_path / "t.csv").write_bytes(content)
    monkeypatch.setenv(limits.VARIABLE, chosen)
    refused(lambda: list(csv.blocks(tmp_path / "t.csv")), "t.csv", said)


RECORDS: dict[str, tuple[bytes, str, str]] = {
    "a line without end": (HEAD + ROW + X * 500_000, "record-bytes=100000,header-bytes=50000", "FS113 t.csv:3"),
    "a quote that is never closed": (
        HEAD + ROW + b'S,"' + b"x\n" * 250_000,
        "record-bytes=100000,header-bytes=50000",
        "FS113 t.csv:3",
    ),
    "quotes and nothing else": (HEAD + ROW + b'"' * 500_001, "record-bytes=100000,header-bytes=50000", "FS113 t.csv:3"),
    "a header without end": (b"A," * 40_000, "header-bytes=50000,columns=99999", "FS113 t.csv:1"),
    "a header in an open quote": (b'"A,\n' + b"A,\n" * 40_000, "header-bytes=50000", "FS113 t.csv:1"),
}


@pytest.mark.parametrize("name", RECORDS)
def test_csv_records_without_end(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content, chosen, said = RECORDS[name]
    (tmp_path / "t.csv").write_bytes(content)
    monkeypatch.setenv(limits.VARIABLE, chosen)
    monkeypatch.setattr("fhirspace.tables.csv.reading.BLOCK", 1 << 16)
    with pytest.raises(InputError, match=said) as fault:
        list(csv.blocks(tmp_path / "t.csv"))
    assert "`--limit " in str(fault.value)


@pytest.mark.parametrize(
    "content", [b"\0" * 5_000, HEAD + b"\0" * 5_000, HEAD + b"S,AE,\0,x\n" * 50], ids=["", "1", "2"]
)
def test_nul_is_no_text(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    try:
        table, rejected = csv.read(tmp_path / "t.csv")
    except InputError as fault:
        assert fault.code in {"FS105", "FS106"}
    else:
        assert not table.num_rows
        assert {problem.code for problem in rejected.problems} <= {"FS104", "FS106", "FS109"}


def test_a_long_cell_of_csv_is_refused_with_the_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(limits.VARIABLE, "cell-bytes=1000")
    (tmp_path / "t.csv").write_text("a,b\n1," + "\u00e9" * 501 + "\n1," + "\u00e9" * 500 + "\n", "utf-8")
    table, rejected = csv.read(tmp_path / "t.csv")
    assert table.num_rows == 1
    (problem,) = rejected.problems
    assert str(problem).startswith("FS112 t.csv:2:b")
    assert "1,000 bytes in a cell (`--limit cell-bytes=N`" in str(problem)


def test_many_columns_take_time_in_proportion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names were once compared with all names before them: these took half a minute and more."""
    monkeypatch.setenv(limits.VARIABLE, "columns=200000,header-bytes=2000000")
    (tmp_path / "t.csv").write_text(",".join(f"C{at}" for at in range(100_000)) + "\n", "utf-8")
    schema = pa.schema([(f"C{at}", pa.string()) for at in range(100_000)])
    start = time.process_time()
    with open_csv(tmp_path / "t.csv") as (_, header):
        assert len(header.names) == 100_000
    check_shape(SimpleNamespace(schema_arrow=schema, metadata=SimpleNamespace(num_rows=1)), "t.parquet")
    assert time.process_time() - start < 6


def transport(path: Path) -> bytearray:
    """The bytes of a right transport file with two variables and nine rows."""
    table = text.from_columns({"A": ["x"] * 9, "N": ["1"] * 9}, file="t.xpt")
    xpt.write(table, path, name="AE", label="", variables=[("A", "", "Char", 8), ("N", "", "Num", 8)])
    return bytearray(path.read_bytes())


FIRST, EACH = 640, 140
XPT: dict[str, tuple[int, bytes, str]] = {
    "no variable": (614, b"0000", "FS131"),
    "9,999 variables": (614, b"9999", "FS104"),
    "more variables than there are": (614, b"0003", "FS1(31|04)"),
    "descriptions of 9,999 bytes": (314, b"9999", "FS131"),
    "descriptions of no byte": (314, b"0000", "FS131"),
    "a text of no byte": (FIRST + 4, b"\0\0", "FS131"),
    "a text of 65,535 bytes": (FIRST + 4, b"\xff\xff", "FS131"),
    "a number of 9 bytes": (FIRST + EACH + 4, b"\0\x09", "FS131"),
    "a number of no byte": (FIRST + EACH + 4, b"\0\0", "FS131"),
    "a variable of no type": (FIRST, b"\0\x03", "FS131"),
    "a text that is said to be a number": (FIRST + 4, b"\0\x40", "FS131"),
    "a variable behind the row": (FIRST + EACH + 84, b"\x7f\xff\xff\xff", "FS131"),
    "a variable upon another": (FIRST + EACH + 84, b"\0\0\0\0", "FS131"),
    "no name": (FIRST + 8, b" " * 8, "FS131"),
    "a name of no ASCII": (FIRST + 8, b"\xb1\xff\xc3(    ", "FS131"),
    "a name with a line break": (FIRST + 8, b"A\nB     ", "FS131"),
    "two variables of one name": (FIRST + EACH + 8, b"A       ", "FS131"),
    "a format of no ASCII": (FIRST + 56, b"\xff" * 8, "FS131"),
    "two datasets": (FIRST + 2 * EACH + 280, b"HEADER RECORD*******MEMBER  HEADER RECORD!!!!!!!", "FS1(31|04)"),
}


@pytest.mark.parametrize("name", XPT)
def test_transport_files_with_an_odd_header(name: str, tmp_path: Path) -> None:
    at, new, code = XPT[name]
    path = tmp_path / "t.xpt"
    content = transport(path)
    content[at : at + len(new)] = new
    path.write_bytes(content)
    with pytest.raises(InputError, match=code):
        xpt.read(path)


@pytest.mark.parametrize(
    ("chosen", "bound"),
    [("rows=8", "8 rows in a table"), ("columns=1", "1 columns in a table")],
    ids=["rows", "columns"],
)
def test_transport_files_beyond_a_bound(
    chosen: str, bound: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    transport(tmp_path / "t.xpt")
    monkeypatch.setenv(limits.VARIABLE, chosen)
    refused(lambda: xpt.read(tmp_path / "t.xpt"), "t.xpt", f"|{bound}")


CUT = (0, 1, 79, 80, 239, 240, 560, 639, 640, 700, 919, 920, 999, 1_000, 1_040, 1_041, 1_100)


@pytest.mark.parametrize("size", CUT)
def test_transport_files_cut_short(size: int, tmp_path: Path) -> None:
    path = tmp_path / "t.xpt"
    path.write_bytes(transport(path)[:size])
    with pytest.raises(InputError, match=r"FS1(?:02|03|04|31)"):
        xpt.read(path)


def test_a_broken_table_ends_a_command_with_its_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").mkdir()
    names, cells = ["STUDYID", "DOMAIN", "USUBJID", "AESEQ", "AETERM"], [b"S", b"AE", b"S-1", b"1", b"\xff"]
    write(tmp_path / "in" / "ae.parquet", [(1, [Column([plain(cell)]) for cell in cells])], names)
    assert main(["convert", str(tmp_path / "in"), "--to", "fhir", "--out", str(tmp_path / "out")]) == 2
    assert "FS105 ae.parquet:2:AETERM" in capsys.readouterr().err
