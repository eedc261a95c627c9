"""A canary in every cell that a person fills by hand: it is in the data, and nowhere else."""
# ruff: noqa: F401, F811 - fixtures that are imported

from __future__ import annotations

from pathlib import Path

import pytest
from bad_runs import CANARY, Patch, Run, cell, datasets, export, go, mappings_once, records, resource, resources, table

from fhirspace.study.demo import sample

BAD: tuple[Patch, ...] = (
    cell("adverse_events", 2, start_date=CANARY, serious=CANARY, pt_code=CANARY),
    cell("adverse_events", 3, comment=f"={CANARY}"),
    cell("demographics", 2, sex=CANARY, age=CANARY, country=CANARY),
    cell("vitals", 2, visit=CANARY, weight=CANARY, assessment_time=CANARY),
    cell("vitals", 3, subject_no=f"{CANARY}9"),
    cell("eligibility", 3, study_arm=CANARY, consent_date=CANARY),
)


@pytest.mark.parametrize("target", ["fhir", "sdtm"])
@pytest.mark.parametrize("faults", [(), BAD], ids=["clean", "bad"])
@pytest.mark.parametrize("more", [(), ("--json",)], ids=["text", "json"])
def test_records(target: str, faults: tuple[Patch, ...], more: tuple[str, ...], records: Path, go: Run) -> None:
    outcome = go(records, faults, "--to", target, "--format", "csv", *more)
    assert CANARY not in outcome.talk()  # `go` looks as well; here it is the story
    data = [path for folder in ("fhir", "sdtm") for path in (outcome.out / folder).glob("*")]
    assert any(CANARY in path.read_text("utf-8") for path in data)
    assert outcome.exit_code == (3 if faults else 0)
    assert all(CANARY in path.read_text("utf-8") for path in (outcome.out / "quarantine").glob("*"))


def test_every_form_of_the_sample(tmp_path: Path, go: Run) -> None:
    forms = sorted(path.stem for path in (sample() / "records").glob("*.csv"))
    whole = export(tmp_path / "whole", forms)
    assert any(CANARY in (whole / f"{form}.csv").read_text("utf-8") for form in forms)
    assert go(whole, (), "--to", "fhir").exit_code == 0


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
