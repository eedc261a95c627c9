"""Bad input of every kind at every door: what is told, where, what is held back, and that all the rest went on."""
# ruff: noqa: F401, F811 - fixtures that are imported

from __future__ import annotations

import shutil
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.study.bad.bad_runs import (
    CANARY,
    Outcome,
    Patch,
    Run,
    bytes_of,
    cell,
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

AE, DM, VS = "adverse_events", "demographics", "vitals"


@dataclass(frozen=True)
class Case:
    """Faults, the (code, row, column) expected in the file, the rows of the input held whole, the exit code."""

    faults: tuple[Patch, ...]
    told: tuple[tuple[str, int | None, str | None], ...]
    held: tuple[int, ...] = ()
    exit_code: int = 3
    whole: bool = False
    """Whether the file as a whole is held."""
    file: str = f"{AE}.csv"
    secret: str = CANARY
    """What must not be told."""


def case(*faults: Patch, told: tuple[str, int | None, str | None], **more: object) -> Case:
    return Case(faults, (told,), **more)  # type: ignore[arg-type]


def shorter(row: int) -> Patch:
    return rows_of(AE, lambda rows: [*rows[: row - 1], rows[row - 1][:-1], *rows[row:]])


def longer(row: int) -> Patch:
    return rows_of(AE, lambda rows: [*rows[: row - 1], [*rows[row - 1], CANARY], *rows[row:]])


RECORDS = {
    "impossible date": case(
        cell(AE, 3, start_date="31 FEB 2031"), told=("FS206", 3, "start_date"), held=(3,), secret="31 FEB 2031"
    ),
    "date of another form": case(
        cell(AE, 3, start_date="2031-02-60"), told=("FS205", 3, "start_date"), held=(3,), secret="2031-02-60"
    ),
    "text for a date": case(cell(AE, 3, end_date=CANARY), told=("FS205", 3, "end_date"), held=(3,)),
    "date with time and no zone": case(
        cell(AE, 3, start_date="16 AUG 2031 10:30"), told=("FS205", 3, "start_date"), held=(3,), secret="10:30"
    ),
    "unknown code": case(cell(AE, 3, serious=CANARY), told=("FS208", 3, "serious"), held=(3,)),
    "unknown visit": case(cell(VS, 4, visit=CANARY), told=("FS208", 4, "visit"), held=(4,), file=f"{VS}.csv"),
    "number with comma": case(
        cell(VS, 4, weight="8123,75"), told=("FS203", 4, "weight"), held=(4,), file=f"{VS}.csv", secret="8123,75"
    ),
    "text for a number": case(cell(VS, 4, weight=CANARY), told=("FS202", 4, "weight"), held=(4,), file=f"{VS}.csv"),
    "text for a whole number": case(cell(AE, 3, pt_code=CANARY), told=("FS204", 3, "pt_code"), held=(3,)),
    "missing unit": case(cell(VS, 4, weight_unit=""), told=("FS250", 4, "weight_unit"), held=(4,), file=f"{VS}.csv"),
    "empty key": case(cell(AE, 3, ae_no=""), told=("FS255", 3, "ae_no"), held=(3,)),
    "text longer than any cell": case(cell(AE, 3, comment=CANARY * 200_000), told=("FS112", 3, "comment"), held=(3,)),
    "control character": case(cell(AE, 3, comment=f"{CANARY}\x07"), told=("FS106", 3, "comment"), held=(3,)),
    "formula": case(cell(AE, 3, comment=f"=HYPERLINK({CANARY})"), told=("FS111", 3, "comment"), held=(3,)),
    "formula after a sign": case(cell(AE, 3, comment=f"+cmd|{CANARY}!A1"), told=("FS111", 3, "comment"), held=(3,)),
    "too few fields": case(shorter(3), told=("FS109", 3, None), held=(3,)),
    "too many fields": case(longer(3), told=("FS110", 3, None), held=(3,)),
    "stray quote": case(
        bytes_of(f"{AE}.csv", lambda data: data.replace(b" Rash,", b' Ra"sh,', 1)),
        told=("FS115", 3, "ae_term"),
        held=(3,),
    ),
    "orphan subject": case(cell(AE, 3, subject_no=f"{CANARY}999"), told=("FS727", 3, "site_no+subject_no"), held=(3,)),
    "all problems of a row at once": Case(
        (cell(AE, 3, start_date="99 FEB 2031", serious=CANARY, pt_code="1,5"),),
        (("FS206", 3, "start_date"), ("FS208", 3, "serious"), ("FS204", 3, "pt_code")),
        (3,),
    ),
    "empty file": case(bytes_of(f"{AE}.csv", lambda data: b""), told=("FS102", None, None), whole=True),
    "UTF-16": case(
        bytes_of(f"{AE}.csv", lambda data: data.decode().encode("utf-16")), told=("FS105", 1, None), whole=True
    ),
    "archive by the name of a table": case(
        bytes_of(f"{AE}.csv", lambda data: b"PK\x03\x04" + data), told=("FS154", None, None), whole=True
    ),
    "column without a name": case(
        rows_of(AE, lambda rows: [["", *rows[0][1:]], *rows[1:]]), told=("FS108", 1, "column 1"), whole=True
    ),
    "duplicate header": case(
        rows_of(AE, lambda rows: [[*rows[0][:-1], rows[0][0]], *rows[1:]]), told=("FS107", 1, "column 28"), whole=True
    ),
    "unknown column": case(with_column(AE, "extra"), told=("FS254", 1, "extra"), exit_code=1),
    "form of many is empty": case(header_only(AE), told=("FS263", 2, None), exit_code=1),
}


@pytest.mark.slow
@pytest.mark.parametrize("target", ["fhir", "sdtm"])
@pytest.mark.parametrize("name", RECORDS)
def test_records(name: str, target: str, records: Path, go: Run, tmp_path: Path) -> None:
    expected = RECORDS[name]
    outcome = go(records, expected.faults, "--to", target, "--format", "csv", "--strict")
    form = expected.file.removesuffix(".csv")

    assert outcome.exit_code == expected.exit_code
    assert outcome.places("error", "warning") == {
        (code, expected.file, row, column) for code, row, column in expected.told
    }
    assert expected.secret not in outcome.talk()
    assert outcome.quarantined() == ({form: len(expected.held)} if expected.held else {})
    held_whole(outcome, expected, tmp_path / "given")
    others = set(outcome.tables) - {form}
    # A column that no mapping names stays out of FHIR, and with it the rows of its qualifiers.
    dropped = {other: outcome.tables[other].get("dropped", 0) for other in others}
    assert all(outcome.tables[other]["out"] + dropped[other] == outcome.tables[other]["in"] > 0 for other in others)
    assert {name for name, rows in dropped.items() if rows} <= ({"SUPPAE"} if target == "fhir" else set())
    # One adverse event is one row of AE, whatever befell others.
    if not expected.whole and form == AE and AE in outcome.tables:
        assert outcome.tables["AE"]["out"] == outcome.tables[AE]["out"] > 0
    if target == "sdtm":
        written = {path.stem.upper(): len(table(path)) - 1 for path in (outcome.out / "sdtm").glob("*.csv")}
        assert written == {each: count["out"] for each, count in outcome.tables.items() if each.isupper()}


def held_whole(outcome: Outcome, expected: Case, given: Path) -> None:
    """The rows, or the file, stand in quarantine as they came, for the owner's eyes only."""
    if not expected.held and not expected.whole:
        assert not (outcome.out / "quarantine").exists()
        return
    path = outcome.out / "quarantine" / expected.file
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    if expected.whole:
        assert path.read_bytes() == (given / expected.file).read_bytes()
        return
    came, held = table(given / expected.file), table(path)
    assert held[0] == came[0]
    # A cell that a spreadsheet would run is disarmed, and nothing else is changed.
    assert [[text.removeprefix("'") for text in row] for row in held[1:]] == [came[row - 1] for row in expected.held]


@pytest.mark.parametrize("target", ["fhir", "sdtm"])
def test_records_with_one_key_are_all_held(target: str, records: Path, go: Run) -> None:
    outcome = go(records, (repeated(AE, 3),), "--to", target)
    again = len(table(records / f"{AE}.csv")) + 1
    assert outcome.exit_code == 3
    assert outcome.places() == {("FS251", f"{AE}.csv", row, "ae_no") for row in (3, again)}
    assert outcome.quarantined() == {AE: 2}


@pytest.mark.parametrize("target", ["fhir", "sdtm"])
def test_a_missing_column_holds_the_form_and_not_the_others(target: str, records: Path, go: Run) -> None:
    outcome = go(records, (without(AE, "outcome"),), "--to", target)
    rows = len(table(records / f"{AE}.csv")) - 1
    assert (outcome.exit_code, outcome.quarantined()) == (3, {AE: rows})
    assert outcome.places("error", "warning") == {("FS253", f"{AE}.csv", 1, "outcome")}
    assert outcome.tables["VS"]["out"] == outcome.tables["VS"]["in"] > 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cut", "code"),
    [
        pytest.param(lambda data: data[:-25], "FS104", id="in the last row"),
        pytest.param(lambda data: data.rstrip(b"\n") + b',"' + CANARY.encode(), "FS104", id="quote never closed"),
    ],
)
def test_a_truncated_form_loses_its_last_row_only(
    cut: Callable[[bytes], bytes], code: str, records: Path, go: Run
) -> None:
    outcome = go(records, (bytes_of(f"{AE}.csv", cut),), "--to", "sdtm")
    rows = len(table(records / f"{AE}.csv"))
    assert (outcome.exit_code, outcome.quarantined()) == (3, {AE: 1})
    assert outcome.places("error", "warning") == {(code, f"{AE}.csv", rows, None)}


def test_a_file_in_another_encoding_names_the_line(records: Path, go: Run) -> None:
    fault = line_of(f"{AE}.csv", 4, lambda line: line.replace(CANARY.encode(), b"caf\xe9", 1))
    outcome = go(records, (fault,), "--to", "sdtm")
    assert (outcome.exit_code, outcome.quarantined()) == (3, {})
    assert outcome.places("error", "warning") == {("FS105", f"{AE}.csv", 4, None)}
    assert AE not in outcome.tables
    assert (outcome.out / "quarantine" / f"{AE}.csv").is_file()


@pytest.mark.slow
def test_a_form_without_a_mapping_is_held(records: Path, go: Run) -> None:
    outcome = go(records, (lambda folder: shutil.copy(folder / f"{AE}.csv", folder / "diary.csv"),), "--to", "sdtm")
    assert outcome.exit_code == 3
    assert outcome.places("error", "warning") == {("FS257", "diary.csv", 2, None)}
    assert outcome.quarantined() == {"diary": len(table(records / f"{AE}.csv")) - 1}


@pytest.mark.parametrize("target", ["fhir", "sdtm"])
def test_without_demographics_the_rest_goes_on_and_it_is_told(target: str, records: Path, go: Run) -> None:
    one = go(records, (removed(f"{DM}.csv"),), "--to", target)
    assert (one.exit_code, one.quarantined()) == (1, {})
    assert {code for code, *_ in one.places("error", "warning")} == {"FS737"}


def test_without_any_form_that_makes_subjects_that_is_told(records: Path, go: Run) -> None:
    outcome = go(records, (removed(f"{DM}.csv"), removed("eligibility.csv")), "--to", "fhir")
    assert outcome.exit_code == 1
    assert outcome.places("error", "warning") == {("FS738", "DM", None, None)}


def test_a_bad_demographics_record_alone_leaves_the_subject_in(records: Path, go: Run) -> None:
    outcome = go(records, (cell(DM, 3, sex=CANARY),), "--to", "sdtm")
    assert outcome.quarantined() == {DM: 1}
    assert {code for code, *_ in outcome.places("warning")} == {"FS736"}


def test_records_of_a_subject_that_fell_are_orphans_and_fall_too(records: Path, go: Run) -> None:
    """Where the forms that make a subject are bad, whatever is recorded of the subject lands in quarantine whole."""
    outcome = go(
        records, (cell(DM, 2, sex=CANARY), cell("eligibility", 2, consent_date=CANARY)), "--to", "fhir", "--strict"
    )
    subject = table(records / f"{DM}.csv")[1][1]
    of_subject = {form: sum(row[1] == subject for row in table(records / f"{form}.csv")) for form in (AE, VS)}
    assert outcome.exit_code == 3
    assert outcome.quarantined() == {DM: 1, "eligibility": 1} | of_subject
    assert {code for code, *_ in outcome.places()} == {"FS208", "FS205", "FS727"}
    assert outcome.tables["DM"] == {"in": 1, "out": 1, "quarantined": 0}


@pytest.mark.slow
def test_a_number_that_a_transport_file_cannot_hold(records: Path, go: Run) -> None:
    long = "81.12345678901234567"
    outcome = go(records, (cell(VS, 4, weight=long),), "--to", "sdtm", "--format", "xpt", "csv")
    assert (outcome.exit_code, outcome.quarantined()) == (3, {VS: 1})
    assert {place[:3] for place in outcome.places()} == {("FS137", f"{VS}.csv", 4)}
    assert long not in outcome.talk()


@pytest.mark.slow
def test_a_number_that_other_formats_hold_goes_on(records: Path, go: Run) -> None:
    outcome = go(records, (cell(VS, 4, weight="81.12345678901234567"),), "--to", "sdtm", "--format", "csv")
    assert (outcome.exit_code, outcome.quarantined()) == (0, {})


NOTHING_RUNS = {
    "no such folder": (shutil.rmtree, "FS101"),
    "no file": (lambda folder: [path.unlink() for path in folder.iterdir()], "FS153"),
    "all empty": (lambda folder: [path.write_bytes(b"") for path in folder.iterdir()], "FS102"),
    "headers only": (lambda folder: [header_only(path.stem)(folder) for path in sorted(folder.iterdir())], "FS103"),
    "all in another encoding": (
        lambda folder: [path.write_bytes(path.read_text("utf-8").encode("utf-16")) for path in folder.iterdir()],
        "FS105",
    ),
    "datasets beside forms": (lambda folder: (folder / "lb.csv").write_text("STUDYID,USUBJID\nA,B\n"), "FS610"),
}


@pytest.mark.parametrize("name", NOTHING_RUNS)
def test_where_nothing_can_run(name: str, records: Path, go: Run) -> None:
    fault, code = NOTHING_RUNS[name]
    outcome = go(records, (fault,), "--to", "sdtm")
    assert outcome.exit_code == 2
    assert outcome.stderr.startswith(f"error: {code} ")
    assert not (outcome.out / "manifest.json").exists()
