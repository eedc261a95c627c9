"""Bad FHIR on its way to datasets: lines, elements, values, files."""
# ruff: noqa: F401, F811 - fixtures that are imported

from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fhirspace.cli import main
from fhirspace.idkey import DEMO_KEY
from fhirspace.template.codecs import hashed_id
from tests.study.bad.bad_runs import (
    CANARY,
    Patch,
    Run,
    bytes_of,
    go,
    line_of,
    mappings_once,
    records,
    removed,
    resource,
    resources,
    table,
)

EVENTS = "AdverseEvent.ndjson"
ORPHAN = hashed_id(DEMO_KEY)(f"{CANARY}999")


def event(change: Callable[[dict[str, Any]], object]) -> Patch:
    """Changes the second adverse event."""
    return resource(EVENTS, 2, change)


def rows(path: Path) -> int:
    return len(path.read_bytes().splitlines())


LINES = {
    "cut short": (line_of(EVENTS, 2, lambda line: line[:-20] + b"\n"), "FS401"),
    "not JSON": (line_of(EVENTS, 2, lambda line: CANARY.encode() + b"\n"), "FS401"),
    "another encoding": (line_of(EVENTS, 2, lambda line: line.replace(CANARY.encode(), b"caf\xe9", 1)), "FS401"),
    "a list": (line_of(EVENTS, 2, lambda line: b"[" + line.strip() + b"]\n"), "FS414"),
    "a text": (line_of(EVENTS, 2, lambda line: b'"' + CANARY.encode() + b'"\n'), "FS414"),
}


@pytest.mark.parametrize("name", LINES)
def test_a_line_that_is_no_resource_is_held_as_it_came(name: str, resources: Path, go: Run, tmp_path: Path) -> None:
    fault, code = LINES[name]
    outcome = go(resources, (fault,), "--to", "sdtm", "--format", "csv")
    lines = rows(resources / EVENTS)
    assert outcome.exit_code == 3
    assert (code, EVENTS, 2, None) in outcome.places()
    assert outcome.tables[EVENTS] == {"in": lines, "out": lines - 1, "quarantined": 1}
    assert outcome.tables["AE"]["out"] == lines - 1
    held = (outcome.out / "quarantine" / EVENTS).read_bytes()
    assert held == (tmp_path / "given" / EVENTS).read_bytes().splitlines(keepends=True)[1]


VALUES: dict[str, tuple[Patch, str, str]] = {
    "impossible date": (event(lambda each: each.update(date="2031-02-60")), "FS728", "AESTDTC"),
    "control character": (event(lambda each: each["event"].update(text=f"{CANARY}\x07")), "FS106", "AETERM"),
    "formula": (event(lambda each: each["event"].update(text=f"={CANARY}")), "FS111", "AETERM"),
    "orphan subject": (
        event(
            lambda each: each.update(
                id=f"{ORPHAN}-AE-1",
                identifier={**each["identifier"], "value": f"{CANARY}999|1"},
                subject={"reference": f"Patient/{ORPHAN}"},
            )
        ),
        "FS727",
        "USUBJID",
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", VALUES)
def test_a_resource_with_a_bad_value_does_not_become_a_row(name: str, resources: Path, go: Run) -> None:
    fault, code, column = VALUES[name]
    outcome = go(resources, (fault,), "--to", "sdtm", "--format", "csv", "--strict")
    lines = rows(resources / EVENTS)
    assert outcome.exit_code == 3
    assert (code, EVENTS, 2, column) in outcome.places()
    assert outcome.tables["AE"] == {"in": lines, "out": lines - 1, "quarantined": 1}
    assert len(table(outcome.out / "sdtm" / "ae.csv")) - 1 == lines - 1
    assert set(outcome.quarantined()) <= {"AE", "SUPPAE"}
    assert "2031-02-60" not in outcome.talk()


def test_a_formula_is_no_fault_where_no_spreadsheet_reads(resources: Path, go: Run) -> None:
    fault = event(lambda each: each["event"].update(text=f"={CANARY}"))
    outcome = go(resources, (fault,), "--to", "sdtm", "--format", "xpt", "parquet")
    assert (outcome.exit_code, outcome.quarantined()) == (0, {})


@pytest.mark.parametrize(("name", "code", "held"), [(EVENTS, "FS726", {}), ("Patient.ndjson", "FS739", {"DM": 1})])
def test_a_resource_twice_is_reported(name: str, code: str, held: dict[str, int], resources: Path, go: Run) -> None:
    """Both rows are written; a second Patient without a ResearchSubject is no row of DM."""
    fault = bytes_of(name, lambda data: data + data.splitlines(keepends=True)[1])
    outcome = go(resources, (fault,), "--to", "sdtm")
    after = rows(resources / name) + 1
    assert outcome.exit_code == (3 if held else 1)
    assert {place[1:3] for place in outcome.places()} == {(name, after)}
    assert code in {place[0] for place in outcome.places()}
    assert outcome.quarantined() == held


UNREAD: dict[str, tuple[Patch, str]] = {
    "unknown element": (event(lambda each: each.update(foo=CANARY)), "AdverseEvent.foo"),
    "number for a date": (event(lambda each: each.update(date=20310206)), "AdverseEvent.date"),
    "text for an object": (event(lambda each: each.update(outcome=CANARY)), "AdverseEvent.outcome"),
}


@pytest.mark.parametrize("name", UNREAD)
def test_what_no_slot_reads_is_told_and_kept(name: str, resources: Path, go: Run, tmp_path: Path) -> None:
    fault, path = UNREAD[name]
    outcome = go(resources, (fault,), "--to", "sdtm")
    assert (outcome.exit_code, outcome.quarantined()) == (1, {})
    # The element says nothing now, and EPOCH rested on it.
    stale = {("FS446", EVENTS, 2, "EPOCH")} if path == "AdverseEvent.date" else set()
    assert outcome.places("warning") == {("FS441", EVENTS, 2, path)} | stale
    kept = (outcome.out / "unread" / EVENTS).read_bytes()
    assert kept == (tmp_path / "given" / EVENTS).read_bytes().splitlines(keepends=True)[1]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda each: each.pop("identifier"), id="no identifier"),
        pytest.param(lambda each: each.update(resourceType="Foo"), id="unknown type"),
    ],
)
def test_a_resource_of_no_mapping_is_told_and_kept(
    change: Callable[[dict[str, Any]], object], resources: Path, go: Run
) -> None:
    outcome = go(resources, (event(change),), "--to", "sdtm")
    assert (outcome.exit_code, outcome.quarantined()) == (3, {})
    assert outcome.places("warning") == {("FS440", EVENTS, 2, None)}
    assert rows(outcome.out / "unread" / EVENTS) == 1


def compressed(keep: int | None) -> Patch:
    def patch(folder: Path) -> None:
        data = gzip.compress((folder / EVENTS).read_bytes(), mtime=0)
        (folder / f"{EVENTS}.gz").write_bytes(data[:keep])
        (folder / EVENTS).unlink()

    return patch


def bundle(folder: Path) -> None:
    (folder / "more.json").write_text('{"resourceType": "Bundle", "entry": [{"resource": {"resourceType"', "utf-8")


FILES: dict[str, tuple[Patch, str, str]] = {
    "empty": (bytes_of(EVENTS, lambda data: b""), EVENTS, "FS102"),
    "UTF-16": (bytes_of(EVENTS, lambda data: data.decode().encode("utf-16")), EVENTS, "FS105"),
    "other JSON": (bytes_of(EVENTS, lambda data: b'{"a": 1}\n'), EVENTS, "FS406"),
    "gzip cut near its end": (compressed(-30), f"{EVENTS}.gz", "FS404"),
    "gzip cut near its start": (compressed(40), f"{EVENTS}.gz", "FS404"),
    "Bundle cut short": (bundle, "more.json", "FS401"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_cannot_be_read_to_its_end_is_held_whole(
    name: str, resources: Path, go: Run, tmp_path: Path
) -> None:
    fault, file, code = FILES[name]
    outcome = go(resources, (fault,), "--to", "sdtm")
    assert outcome.exit_code == 3
    assert {place[:2] for place in outcome.places("error", "warning")} == {(code, file)}
    assert (outcome.out / "quarantine" / file).read_bytes() == (tmp_path / "given" / file).read_bytes()
    assert outcome.tables["VS"]["out"] == outcome.tables["VS"]["in"] > 0
    assert ("AE" in outcome.tables) == (name == "Bundle cut short")


def test_a_whole_gzip_is_read(resources: Path, go: Run) -> None:
    outcome = go(resources, (compressed(None),), "--to", "sdtm")
    assert (outcome.exit_code, outcome.tables["AE"]["out"]) == (0, rows(resources / EVENTS))


def test_other_json_beside_resources_is_left_alone(resources: Path, go: Run) -> None:
    outcome = go(resources, (lambda folder: (folder / "manifest.json").write_text("{}", "utf-8"),), "--to", "sdtm")
    assert (outcome.exit_code, outcome.quarantined()) == (0, {})


@pytest.mark.parametrize(
    ("content", "code"),
    [(b"", "FS102"), (b'{"a": 1}\n', "FS406"), (b"\x1f\x8b\x08\x00nonsense", "FS404")],
)
def test_where_no_file_can_be_read_nothing_runs(content: bytes, code: str, resources: Path, go: Run) -> None:
    faults = tuple(bytes_of(path.name, lambda data: content) for path in resources.iterdir())
    outcome = go(resources, faults, "--to", "sdtm")
    assert outcome.exit_code == 2
    assert outcome.stderr.startswith(f"error: {code} ")


def test_without_its_patient_a_subject_is_known_by_what_is_left(resources: Path, go: Run) -> None:
    """ResearchSubject makes a row of DM as well: what only the Patient says is missing, and told."""
    outcome = go(resources, (line_of("Patient.ndjson", 1, lambda line: b""),), "--to", "sdtm")
    assert (outcome.exit_code, outcome.quarantined()) == (1, {})
    assert {place[0] for place in outcome.places("warning")} == {"FS736"}


def test_without_its_patient_and_research_subject_all_rows_of_a_subject_are_orphans(resources: Path, go: Run) -> None:
    faults = (removed("Patient.ndjson"), removed("ResearchSubject.ndjson"))
    outcome = go(resources, faults, "--to", "sdtm")
    assert ("FS738", "DM", None, None) in outcome.places("warning")


@pytest.mark.slow
def test_validate_and_roundtrip_tell_a_broken_file_too(
    resources: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = tmp_path / "given"
    shutil.copytree(resources, given)
    bundle(given)
    assert main(["validate", str(given), "--json"]) == 3
    assert "FS401" in capsys.readouterr().out
    assert main(["roundtrip", str(given)]) == 3
    assert "FS401 more.json" in capsys.readouterr().err


def test_validate_names_each_file_where_all_are_broken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.json").write_text('{"resourceType":"Patient",')
    (tmp_path / "b.ndjson").write_text("x\n")
    for given in ([tmp_path], [tmp_path / "a.json", tmp_path / "b.ndjson"]):
        assert main(["validate", *map(str, given), "--json"]) == 3
        said = capsys.readouterr().out
        assert "a.json" in said and "b.ndjson" in said
