"""A canary in every cell that a person fills by hand: it is in the data, and nowhere else."""
# ruff: noqa: F401, F811 - fixtures that are imported

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from fhirspace.cli import main
from fhirspace.study.demo.run import sample
from tests.study.bad.bad_runs import (
    CANARY,
    Patch,
    Run,
    cell,
    datasets,
    export,
    go,
    mappings_once,
    records,
    resource,
    resources,
    rows_of,
    table,
)

BAD: tuple[Patch, ...] = (
    cell("adverse_events", 2, start_date=CANARY, serious=CANARY, pt_code=CANARY),
    cell("adverse_events", 3, comment=f"={CANARY}"),
    cell("demographics", 2, sex=CANARY, age=CANARY, country=CANARY),
    cell("vitals", 2, visit=CANARY, weight=CANARY, assessment_time=CANARY),
    cell("vitals", 3, subject_no=f"{CANARY}9"),
    cell("eligibility", 3, study_arm=CANARY, consent_date=CANARY),
)


@pytest.mark.slow
@pytest.mark.parametrize("target", ["fhir", "sdtm"])
@pytest.mark.parametrize("faults", [(), BAD], ids=["clean", "bad"])
@pytest.mark.parametrize("more", [(), ("--json",)], ids=["text", "json"])
def test_records(target: str, faults: tuple[Patch, ...], more: tuple[str, ...], records: Path, go: Run) -> None:
    outcome = go(records, faults, "--to", target, "--format", "csv", *more)
    assert CANARY not in outcome.talk()  # `go` looks as well; here it is the story
    data = [path for folder in ("fhir", "sdtm") for path in (outcome.out / folder).glob("*")]
    assert any(CANARY in path.read_text("utf-8") for path in data)
    assert outcome.exit_code == (3 if faults else 0)
    assert {path.stat().st_mode & 0o777 for path in outcome.out.rglob("*")} == {0o600, 0o700}
    assert all(CANARY in path.read_text("utf-8") for path in (outcome.out / "quarantine").glob("*"))


WITHOUT_HEADER = {
    "as it is": lambda rows: rows[1:],
    "no empty cell": lambda rows: [[cell or f"x{at}" for at, cell in enumerate(row)] for row in rows[1:]],
    "one row": lambda rows: rows[1:2],
    "with faulty rows": lambda rows: [*rows[1:], [f"={CANARY}", *rows[1][1:]], rows[1][:-1]],
    "nothing but words": lambda rows: [[f"{CANARY} {word}" for word in ("Jansen", "Utrecht")], ["Bakker", "=Breda"]],
}


@pytest.mark.slow
@pytest.mark.parametrize("change", WITHOUT_HEADER.values(), ids=WITHOUT_HEADER)
@pytest.mark.parametrize("form", ["adverse_events", "vitals", "a form that nobody knows"])
@pytest.mark.parametrize("more", [(), ("--json",)], ids=["text", "json"])
def test_records_without_a_header(change: Any, form: str, more: tuple[str, ...], records: Path, go: Run) -> None:
    """The first line is a patient's, and no message takes it for names of columns."""
    known = "vitals" if form.startswith("a ") else form
    faults: list[Patch] = [rows_of(known, change)]
    if known != form:
        faults.append(lambda folder: (folder / f"{known}.csv").rename(folder / f"{form}.csv"))
    outcome = go(records, tuple(faults), "--to", "sdtm", *more)  # `go` looks for the canary
    codes = {each["code"] for each in outcome.problems if each["file"] == f"{form}.csv"}
    assert outcome.exit_code == 3
    assert codes <= {"FS107", "FS108", "FS111", "FS118", "FS257", "FS262"}
    assert (outcome.out / "quarantine" / f"{form}.csv").exists()


@pytest.mark.slow
@pytest.mark.parametrize("change", WITHOUT_HEADER.values(), ids=WITHOUT_HEADER)
@pytest.mark.parametrize("command", ["convert", "validate", "roundtrip"])
def test_datasets_without_a_header(
    change: Any, command: str, datasets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = tmp_path / "given"
    shutil.copytree(datasets / "csv", given)
    for name in ("ae", "suppae"):
        rows_of(name, change)(given)
    out = ["--to", "fhir", "--out", str(tmp_path / "out")] if command == "convert" else []
    for more in ([], ["--json"]):
        assert main([command, str(given), *out, *more]) in (1, 2, 3)
        said = capsys.readouterr()
        assert CANARY not in said.out + said.err
    told = [path for path in (tmp_path / "out").rglob("*.ndjson") if path.parent.name != "fhir"]
    assert not [path for path in told if CANARY in path.read_text("utf-8")]


@pytest.mark.parametrize("action", ["new", "check", "convert"])
def test_forms_and_code_lists_without_a_header(
    action: str, records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`mapping new` shows a header, which is its purpose, but no record; a code list is no list without its header."""
    own = tmp_path / "own"
    (own / "codes").mkdir(parents=True)
    (own / "codes" / "SEX.csv").write_text(f"{CANARY},Male\n{CANARY}2,Female\n", "utf-8")
    form = tmp_path / "adverse_events.csv"
    form.write_text("".join((records / "adverse_events.csv").read_text("utf-8").splitlines(keepends=True)[1:]), "utf-8")
    commands = {
        "new": ["mapping", "new", str(form)],
        "check": ["mapping", "check", "--mappings", str(own)],
        "convert": ["convert", str(form), "--to", "sdtm", "--mappings", str(own), "--out", str(tmp_path / "out")],
    }
    for more in ([], ["--json"]):
        main([*commands[action], *more])
        said = capsys.readouterr()
        assert CANARY not in said.out + said.err


@pytest.mark.slow
def test_every_form_of_the_sample(tmp_path: Path, go: Run) -> None:
    forms = sorted(path.stem for path in (sample() / "records").glob("*.csv"))
    whole = export(tmp_path / "whole", forms)
    assert any(CANARY in (whole / f"{form}.csv").read_text("utf-8") for form in forms)
    assert go(whole, (), "--to", "fhir").exit_code == 0


@pytest.mark.slow
def test_datasets_and_resources(datasets: Path, resources: Path, go: Run, tmp_path: Path) -> None:
    fault = resource("AdverseEvent.ndjson", 1, lambda each: each.update(date=CANARY, foo=CANARY))
    outcome = go(resources, (fault,), "--to", "sdtm")
    assert outcome.exit_code in (1, 3)
    assert CANARY in (outcome.out / "unread" / "AdverseEvent.ndjson").read_text("utf-8")


def test_ids_and_references_hold_no_subject(resources: Path) -> None:
    """What becomes part of a URL says nothing of the subject."""
    import json

    for path in resources.glob("*.ndjson"):
        for line in path.read_text("utf-8").splitlines():
            content = json.loads(line)
            assert CANARY not in content["id"]
            assert CANARY not in json.dumps([value["reference"] for value in _references(content)])


def _references(value: object) -> list[dict[str, str]]:
    if isinstance(value, dict):
        own = [value] if isinstance(value.get("reference"), str) else []
        return own + [found for each in value.values() for found in _references(each)]
    return [found for each in value for found in _references(each)] if isinstance(value, list) else []
