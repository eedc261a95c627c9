"""Bad SDTM datasets in CSV, Parquet and SAS transport files on their way to FHIR and to records."""
# ruff: noqa: F401, F811 - fixtures that are imported

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fhirspace.study import dataset
from fhirspace.study.convert import convert
from fhirspace.study.metadata.written import by_guide
from fhirspace.study.screening import INFORMING
from fhirspace.tables import parquet, xpt
from fhirspace.tables.text import data_columns
from tests.study.bad.bad_runs import (
    CANARY,
    Patch,
    Run,
    bytes_of,
    cell,
    datasets,
    go,
    header_only,
    line_of,
    mappings_once,
    records,
    removed,
    repeated,
    rows_of,
    table,
    with_column,
    without,
)

Told = tuple[str, str, int | None, str | None]
CELLS: dict[str, tuple[Patch, Told]] = {
    "impossible date": (cell("ae", 3, AESTDTC="2031-02-60"), ("FS728", "ae.csv", 3, "AESTDTC")),
    "date of another form": (cell("ae", 3, AESTDTC="16 AUG 2031"), ("FS728", "ae.csv", 3, "AESTDTC")),
    "unknown code": (cell("ae", 3, AESER=CANARY), ("FS723", "ae.csv", 3, "AESER")),
    "text for a number": (cell("ae", 3, AEPTCD=CANARY), ("FS730", "ae.csv", 3, "AEPTCD")),
    "number with comma": (cell("ae", 3, AEPTCD="10035,664"), ("FS730", "ae.csv", 3, "AEPTCD")),
    "missing key": (cell("ae", 3, AESEQ=""), ("FS765", "ae.csv", 3, "AESEQ")),
    "missing topic": (cell("ae", 3, AETERM=""), ("FS720", "ae.csv", 3, "AETERM")),
    "control character": (cell("ae", 3, AETERM=f"{CANARY}\x07"), ("FS106", "ae.csv", 3, "AETERM")),
    "formula": (cell("ae", 3, AETERM=f"={CANARY}"), ("FS111", "ae.csv", 3, "AETERM")),
    "row of another domain": (cell("ae", 3, DOMAIN="CM"), ("FS734", "ae.csv", 3, "DOMAIN")),
    "orphan subject": (cell("ae", 3, USUBJID=f"{CANARY}999"), ("FS727", "ae.csv", 3, "USUBJID")),
    "too few fields": (
        rows_of("ae", lambda rows: [*rows[:2], rows[2][:-1], *rows[3:]]),
        ("FS109", "ae.csv", 3, None),
    ),
}


def children(folder: Path, row: int) -> int:
    """The qualifiers of a row of AE."""
    header, *events = table(folder / "ae.csv")
    subject, number = (events[row - 2][header.index(name)] for name in ("USUBJID", "AESEQ"))
    named, *qualifiers = table(folder / "suppae.csv")
    keys = [(each[named.index("USUBJID")], each[named.index("IDVARVAL")]) for each in qualifiers]
    return keys.count((subject, number))


@pytest.mark.parametrize("name", CELLS)
def test_a_row_with_an_error_is_quarantined_with_its_qualifiers_where_strict(
    name: str, datasets: Path, go: Run
) -> None:
    fault, told = CELLS[name]
    outcome = go(datasets / "csv", (fault,), "--to", "fhir", "--strict")
    fallen = children(datasets / "csv", 3)
    assert fallen
    assert outcome.exit_code == 3
    assert {place for place in outcome.places() if place[1] == "ae.csv"} == {told}
    assert {code for code, file, *_ in outcome.places() if file == "suppae.csv"} == {"FS735"}
    assert outcome.quarantined() == {"AE": 1, "SUPPAE": fallen}
    assert all(count["out"] for count in outcome.tables.values())


KEPT = {name: told for name, (_, told) in CELLS.items() if told[0] in INFORMING}


@pytest.mark.slow
@pytest.mark.parametrize("name", KEPT)
def test_a_row_with_an_error_of_conformance_is_kept_and_reported(
    name: str, datasets: Path, go: Run, tmp_path: Path
) -> None:
    fault, told = CELLS[name]
    outcome = go(datasets / "csv", (fault,), "--to", "fhir")
    orphans = (
        {"SUPPAE": children(datasets / "csv", 3)} if told[0] in {"FS727", "FS765"} else {}
    )  # they name another key
    assert (outcome.exit_code, outcome.quarantined()) == (3 if orphans else 1, orphans)
    assert {place for place in outcome.places() if place[1] == "ae.csv"} == {told}
    back = tmp_path / "back"
    assert convert(outcome.out / "fhir", to="sdtm", formats=["csv", "xpt"], out=back).exit_code == 1
    (given, now) = (sorted(table(folder / "ae.csv")[1:]) for folder in (tmp_path / "given", back / "sdtm"))
    columns = [table(folder / "ae.csv")[0] for folder in (tmp_path / "given", back / "sdtm")]
    assert [dict(zip(columns[1], row, strict=True)) for row in now] == [
        dict(zip(columns[0], row, strict=True)) for row in given
    ]


def test_every_error_that_informs_has_a_case() -> None:
    assert {told[0] for told in KEPT.values()} == INFORMING - {
        "FS726", "FS739",  # below
        "FS731", "FS733", "FS764",  # tests/cases/findings
    }  # fmt: skip


def test_a_time_without_zone_is_kept_as_it_is(datasets: Path, go: Run) -> None:
    outcome = go(datasets / "csv", (cell("ae", 3, AESTDTC="2031-02-06T10:30", AEENDTC="2031-02"),), "--to", "fhir")
    assert (outcome.exit_code, outcome.quarantined()) == (0, {})
    assert ("FS729", "ae.csv", 3, "AESTDTC") in outcome.places("note")
    assert "2031-02-06T10:30" in (outcome.out / "fhir" / "AdverseEvent.ndjson").read_text("utf-8")


OTHERS: dict[str, tuple[Patch, set[Told], dict[str, int], int]] = {
    "a subject twice": (repeated("dm", 2), {("FS739", "dm.csv", -1, "USUBJID")}, {}, 1),
    "a qualifier twice": (repeated("suppae", 2), {("FS739", "suppae.csv", -1, "QNAM")}, {}, 1),
    "a qualifier without parent": (
        cell("suppae", 3, IDVARVAL="99"),
        {("FS735", "suppae.csv", 3, "IDVARVAL")},
        {"SUPPAE": 1},
        3,
    ),
    "an unknown column": (with_column("ae", "EXTRA"), {("FS732", "ae.csv", 1, "EXTRA")}, {}, 1),
    "an unknown column of no legal name": (
        with_column("ae", "extra column"),
        {("FS732", "ae.csv", 1, "extra column"), ("FS740", "ae.csv", 1, "extra column")},
        {},
        1,
    ),
}
"""Fault, what is told (row -1: the row after the last), rows held, exit code."""


@pytest.mark.parametrize("name", OTHERS)
def test_rows_and_columns_that_do_not_fit_in(name: str, datasets: Path, go: Run) -> None:
    fault, told, held, exit_code = OTHERS[name]
    outcome = go(datasets / "csv", (fault,), "--to", "fhir")
    wanted = set()
    for code, file, row, column in told:
        after = len(table(datasets / "csv" / file)) + 1
        wanted.add((code, file, after if row == -1 else row, column))
    assert outcome.places("error", "warning") == wanted
    assert (outcome.exit_code, outcome.quarantined()) == (exit_code, held)


def test_of_two_rows_with_one_sequence_number_both_are_written(datasets: Path, go: Run) -> None:
    outcome = go(datasets / "csv", (cell("ae", 3, AESEQ="1"),), "--to", "fhir")
    assert outcome.exit_code == 3
    assert {place for place in outcome.places() if place[1] == "ae.csv"} == {("FS726", "ae.csv", 3, "AESEQ")}
    assert outcome.quarantined() == {"SUPPAE": children(datasets / "csv", 3)}  # those of the number that is gone


@pytest.mark.parametrize("column", ["AETERM", "USUBJID", "STUDYID"])
def test_without_an_identifier_or_topic_no_row_of_the_dataset_goes_on(column: str, datasets: Path, go: Run) -> None:
    outcome = go(datasets / "csv", (without("ae", column),), "--to", "fhir")
    rows = {name: len(table(datasets / "csv" / f"{name.lower()}.csv")) - 1 for name in ("AE", "SUPPAE", "VS")}
    assert outcome.exit_code == 3
    assert ("FS721", "ae.csv", 1, column) in outcome.places()
    assert outcome.quarantined() == {"AE": rows["AE"], "SUPPAE": rows["SUPPAE"]}
    assert outcome.tables["VS"]["out"] == rows["VS"]


def test_a_missing_permissible_column_is_no_fault(datasets: Path, go: Run) -> None:
    outcome = go(datasets / "csv", (without("ae", "AEACN"),), "--to", "fhir")
    assert (outcome.exit_code, outcome.quarantined()) == (0, {})


def test_without_dm_that_is_told(datasets: Path, go: Run) -> None:
    outcome = go(datasets / "csv", (removed("dm.csv"),), "--to", "fhir")
    assert ("FS738", "DM", None, None) in outcome.places("warning")
    assert outcome.tables["AE"]["out"] == outcome.tables["AE"]["in"]


def test_rows_of_a_subject_that_fell_fall_too(datasets: Path, go: Run) -> None:
    outcome = go(datasets / "csv", (cell("dm", 2, SEX=CANARY),), "--to", "fhir", "--strict")
    subject = table(datasets / "csv" / "dm.csv")[1][2]
    for name in ("AE", "VS", "DS", "SUPPAE"):
        header, *rows = table(datasets / "csv" / f"{name.lower()}.csv")
        assert outcome.quarantined()[name] == sum(row[header.index("USUBJID")] == subject for row in rows), name
    assert {code for code, *_ in outcome.places()} == {"FS723", "FS727", "FS735"}


FILES: dict[str, tuple[Patch, str, int | None]] = {
    "empty": (bytes_of("vs.csv", lambda data: b""), "FS102", None),
    "UTF-16": (bytes_of("vs.csv", lambda data: data.decode().encode("utf-16")), "FS105", 1),
    "Windows-1252": (line_of("vs.csv", 4, lambda line: line.replace(b"VS,", b"caf\xe9,", 1)), "FS105", 4),
    "duplicate header": (rows_of("vs", lambda rows: [[*rows[0][:-1], "VSSEQ"], *rows[1:]]), "FS107", 1),
}


@pytest.mark.parametrize("name", FILES)
def test_a_dataset_that_cannot_be_read_does_not_stop_the_others(
    name: str, datasets: Path, go: Run, tmp_path: Path
) -> None:
    fault, code, row = FILES[name]
    outcome = go(datasets / "csv", (fault,), "--to", "fhir")
    assert outcome.exit_code == 3
    assert {place[:3] for place in outcome.places("error", "warning")} == {(code, "vs.csv", row)}
    assert (outcome.out / "quarantine" / "vs.csv").read_bytes() == (tmp_path / "given" / "vs.csv").read_bytes()
    assert "VS" not in outcome.tables
    assert outcome.tables["AE"]["out"] == outcome.tables["AE"]["in"] > 0


def test_a_dataset_with_no_row_is_told(datasets: Path, go: Run) -> None:
    outcome = go(datasets / "csv", (header_only("vs"),), "--to", "fhir")
    assert (outcome.exit_code, outcome.quarantined()) == (1, {})
    assert outcome.places("error", "warning") == {("FS263", "vs.csv", 2, None)}


def test_a_bad_row_does_not_become_a_record(datasets: Path, go: Run) -> None:
    outcome = go(
        datasets / "csv", (cell("ae", 3, AESTDTC="2031-02-60"),), "--to", "records", "--source", "space", "--strict"
    )
    assert outcome.exit_code == 3
    assert ("FS728", "ae.csv", 3, "AESTDTC") in outcome.places()
    events = table(outcome.out / "records" / "adverse_events.csv")
    assert len(events) == len(table(datasets / "csv" / "ae.csv")) - 1


# -- binary formats


def edited(name: str, form: str, change: Callable[[dict[str, list[str | None]]], object]) -> Patch:
    """Changes the columns of a dataset in a binary format."""

    def patch(folder: Path) -> None:
        path = folder / f"{name}.{form}"
        read = parquet.read(path) if form == "parquet" else xpt.read(path)[0]
        cells = {column: read[column].to_pylist() for column in data_columns(read)}
        change(cells)
        made = pa.table({column: pa.array(texts, pa.string()) for column, texts in cells.items()})
        if form == "parquet":
            parquet.write(made, path)
        else:
            variables = [by_guide(name.upper(), column) for column in made.column_names]
            xpt.write(made, path, name=name.upper(), label="x", variables=variables)

    return patch


def put(column: str, text: str) -> Callable[[dict[str, list[str | None]]], object]:
    return lambda cells: cells[column].__setitem__(1, text)


def twice(cells: dict[str, list[str | None]]) -> None:
    for texts in cells.values():
        texts.append(texts[1])


BINARY = {
    "impossible date": (put("AESTDTC", "2031-02-60"), "FS728", "AESTDTC"),
    "unknown code": (put("AESER", "ZQ"), "FS723", "AESER"),
    "orphan subject": (put("USUBJID", f"{CANARY}999"), "FS727", "USUBJID"),
}


@pytest.mark.slow
@pytest.mark.parametrize("form", ["parquet", "xpt"])
@pytest.mark.parametrize("name", BINARY)
def test_binary_formats_are_looked_over_like_text(name: str, form: str, datasets: Path, go: Run) -> None:
    change, code, column = BINARY[name]
    outcome = go(datasets / form, (edited("ae", form, change),), "--to", "fhir", "--strict")
    assert outcome.exit_code == 3
    assert {place for place in outcome.places() if place[1] == f"ae.{form}"} == {(code, f"ae.{form}", 3, column)}
    assert outcome.quarantined() == {"AE": 1, "SUPPAE": children(datasets / "csv", 3)}


@pytest.mark.parametrize("form", ["parquet", "xpt"])
def test_a_row_twice_in_a_binary_format(form: str, datasets: Path, go: Run) -> None:
    outcome = go(datasets / form, (edited("ae", form, twice),), "--to", "fhir")
    rows = len(table(datasets / "csv" / "ae.csv"))
    assert (outcome.exit_code, outcome.quarantined()) == (1, {})
    assert outcome.places() == {("FS726", f"ae.{form}", rows + 1, "AESEQ")}


def test_what_only_parquet_can_hold(datasets: Path, go: Run) -> None:
    """A control character is found by the codec of the slot, where the format allows it."""
    fault = edited("ae", "parquet", put("AETERM", f"{CANARY}\x07"))
    outcome = go(datasets / "parquet", (fault,), "--to", "fhir")
    assert outcome.quarantined()["AE"] == 1
    assert ("FS201", "ae.parquet", 3, "AETERM") in outcome.places()


def nested(folder: Path) -> None:
    pq.write_table(pa.table({"STUDYID": ["a"], "USUBJID": [["x"]]}), folder / "vs.parquet")


def no_row(folder: Path) -> None:
    pq.write_table(pa.table({"STUDYID": pa.array([], pa.string())}), folder / "vs.parquet")


BROKEN: dict[str, tuple[str, Patch, str, int]] = {
    "parquet without its end": ("parquet", bytes_of("vs.parquet", lambda data: data[:-50]), "FS121", 3),
    "parquet cut in half": ("parquet", bytes_of("vs.parquet", lambda data: data[: len(data) // 2]), "FS121", 3),
    "another format by this name": ("parquet", bytes_of("vs.parquet", lambda data: b"nonsense" * 99), "FS151", 3),
    "parquet with lists": ("parquet", nested, "FS122", 3),
    "parquet without rows": ("parquet", no_row, "FS263", 1),
    "transport file cut short": ("xpt", bytes_of("vs.xpt", lambda data: data[:-100]), "FS104", 3),
    "transport file without its rows": ("xpt", bytes_of("vs.xpt", lambda data: data[:2000]), "FS104", 3),
    "empty transport file": ("xpt", bytes_of("vs.xpt", lambda data: b""), "FS102", 3),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_binary_file_does_not_stop_the_others(name: str, datasets: Path, go: Run) -> None:
    form, fault, code, exit_code = BROKEN[name]
    outcome = go(datasets / form, (fault,), "--to", "fhir")
    assert outcome.exit_code == exit_code
    assert {place[:2] for place in outcome.places("error", "warning")} == {(code, f"vs.{form}")}
    assert (outcome.out / "quarantine" / f"vs.{form}").exists() == (exit_code == 3)
    assert outcome.tables["AE"]["out"] == outcome.tables["AE"]["in"] > 0


def test_all_broken_is_the_end(datasets: Path, go: Run) -> None:
    fault = [bytes_of(path.name, lambda data: data[:-50]) for path in (datasets / "parquet").iterdir()]
    outcome = go(datasets / "parquet", tuple(fault), "--to", "fhir")
    assert outcome.exit_code == 2
    assert outcome.stderr.startswith("error: FS121 ")


def test_a_large_dataset_says_that_it_was_not_looked_over(
    datasets: Path, go: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset, "IN_MEMORY", 10)
    outcome = go(datasets / "parquet", (), "--to", "fhir")
    assert (outcome.exit_code, outcome.quarantined()) == (0, {})
    assert ("FS741", "vs.parquet", None, None) in outcome.places("note")
    assert outcome.tables["VS"]["out"] == len(table(datasets / "csv" / "vs.csv")) - 1


def test_two_rows_of_one_key_do_not_become_one_resource(datasets: Path, go: Run) -> None:
    """SV has no sequence number: two visits of one number are two rows of SDTM, and one id in FHIR."""

    def visits(folder: Path) -> None:
        subject = table(folder / "dm.csv")[1][2]
        rows = [f"SPACE,SV,{subject},1,SCREENING,2031-01-0{day}" for day in (1, 2)]
        (folder / "sv.csv").write_text("\n".join(["STUDYID,DOMAIN,USUBJID,VISITNUM,VISIT,SVSTDTC", *rows, ""]), "utf-8")

    outcome = go(datasets / "csv", (visits,), "--to", "fhir")
    assert outcome.exit_code == 1
    assert outcome.places() == {("FS739", "sv.csv", 3, "VISITNUM")}
    assert outcome.quarantined() == {}
    lines = (outcome.out / "fhir" / "Encounter.ndjson").read_text("utf-8").splitlines()
    assert len({json.loads(line)["id"] for line in lines}) == 2
