"""ResearchSubjects as the enrolment table: who is in the study is what the source says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fhirspace.cli import main
from tests.views.ehr import lab, patient, write

VIEWS = "extends: us-core\nsubjects: {view: enrolment}\n"
STUDY = {"resourceType": "ResearchStudy", "id": "s", "status": "active", "identifier": [{"value": "EHR9"}]}
CONSENT = {"resourceType": "Consent", "id": "c", "status": "active", "dateTime": "2026-01-05"}


def subject(name: str, who: str, **more: Any) -> dict[str, Any]:
    """A ResearchSubject of R4."""
    references = {"individual": {"reference": f"Patient/{who}"}, "study": {"reference": "ResearchStudy/s"}}
    return {"resourceType": "ResearchSubject", "id": name, "status": "on-study", **references, **more}


def run(tmp_path: Path, given: list[dict[str, Any]], *more: str, views: str = VIEWS) -> int:
    (tmp_path / "views").mkdir()
    (tmp_path / "views" / "common.yaml").write_text(views)
    people = [patient(name) for name in ("p1", "p2", "p3")]
    results = [lab(f"l{at}", f"Patient/p{at}", f"2026-02-0{at}") for at in (1, 2, 3)]
    folder = write(tmp_path / "in", [*people, *results, STUDY, CONSENT, *given])
    command = ["convert", str(folder), "--to", "records", "--views", str(tmp_path / "views"), *more]
    return main([*command, "--out", str(tmp_path / "out")])


def test_a_research_subject_is_enrolled(tmp_path: Path) -> None:
    ended = subject("b", "p2", period={"start": "2026-01-01", "end": "2026-01-31"}, identifier=[{"value": "002"}])
    mistake = {**subject("x", "p3"), "status": "withdrawn", "modifierExtension": [{"url": "http://not"}]}
    given = [subject("a", "p1", consent={"reference": "Consent/c"}, assignedArm="Drug A"), ended, mistake]
    assert run(tmp_path, given) == 3  # the modifier is not understood
    lines = (tmp_path / "out/records/lab.csv").read_text().splitlines()
    assert [line.split(",")[:4] for line in lines[1:]] == [["p1", "EHR9", "EHR9-a", "a"]]  # p2 had left the study
    people = (tmp_path / "out/records/patient.csv").read_text()
    assert "EHR9-002,002" in people
    assert "Drug A" in people
    assert not (tmp_path / "out/records/enrolment.csv").exists()


@pytest.mark.parametrize(
    ("began", "early"), [("2026-01-01", True), ("2026-01-05", False), ("2026-01", False), ("", False)]
)
def test_a_participation_before_the_consent_is_reported(tmp_path: Path, began: str, early: bool) -> None:
    period = {"period": {"start": began}} if began else {}
    assert run(tmp_path, [subject("a", "p1", consent={"reference": "Consent/c"}, **period)]) == (1 if early else 0)
    assert ("FS470" in (tmp_path / "out/problems.ndjson").read_text()) is early


def test_another_table_wins_over_research_subjects(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("patient,STUDYID,SUBJID\np3,S,3\n")
    assert run(tmp_path, [subject("a", "p1")], "--enrolment", str(tmp_path / "mine.csv")) == 0
    assert (tmp_path / "out/records/lab.csv").read_text().splitlines()[1].startswith("p3,S,S-3,3")


@pytest.mark.parametrize(
    ("given", "views", "code"),
    [
        ([], VIEWS, "FS375"),
        ([subject("a", "p1"), subject("b", "p1")], VIEWS, "FS375"),
        ([], "extends: us-core\nsubjects: {view: lab}\n", "FS373"),
        ([], "extends: us-core\nsubjects: {table: x}\n", "FS373"),
    ],
)
def test_what_is_no_enrolment_ends_the_run(
    given: list[dict[str, Any]], views: str, code: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, given, views=views) == 2
    assert code in capsys.readouterr().err


def test_without_being_named_the_view_is_not_used(tmp_path: Path) -> None:
    assert run(tmp_path, [subject("a", "p1")], views="extends: us-core\n") == 0
    assert len((tmp_path / "out/records/lab.csv").read_text().splitlines()) == 4
