"""References that lead to a resource: reports with their results, sections with their entries, panels."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from fhirspace.fhir.files import find
from fhirspace.views.flatten import Flattened, flatten
from fhirspace.views.notation.library import view_set
from tests.views.ehr import lab, patient, write

VIEW = """
view: lab
of: Observation
columns:
  id: id
  got: {address}
"""


def report(name: str, text: str, *results: str, **more: Any) -> dict[str, Any]:
    refs = [{"reference": each} for each in results]
    return {
        "resourceType": "DiagnosticReport",
        "id": name,
        "status": "final",
        "code": {"text": text},
        "result": refs,
    } | more


def section(title: str, *entries: str, **more: Any) -> dict[str, Any]:
    return {"title": title, "entry": [{"reference": each} for each in entries]} | more


GIVEN: list[dict[str, Any]] = [
    patient("p1"),
    *(lab(f"l{at}", "Patient/p1", "2026-02-02") for at in range(1, 5)),
    lab("panel", "Patient/p1", "2026-02-02", hasMember=[{"reference": "Observation/l2"}]),
    report("r2", "Blood count", "Observation/l1", "Observation/l2"),
    report("r1", "Blood count", "Observation/l1/_history/3", "Observation/l1"),
    report("r3", "Salts", "https://ehr.example/fhir/Observation/l3", "Observation/gone", "#inner"),
    report("r0", "Mistaken", "Observation/l1", "Observation/l4", status="entered-in-error"),
    report("r4", "Odd", "Observation/l4", modifierExtension=[{"url": "http://not", "valueBoolean": True}]),
    {
        "resourceType": "Composition",
        "id": "c",
        "status": "final",
        "section": [
            section("Results", "Observation/l1", "Observation/l2"),
            section("Other", "Observation/l3", section=[section("Inner", "Observation/l4")]),
            {"title": "Empty"},
        ],
    },
]


def run(tmp_path: Path, address: str, given: list[dict[str, Any]]) -> Flattened:
    folder = tmp_path / "views"
    folder.mkdir(parents=True)
    (folder / "v.yaml").write_text(VIEW.format(address=address))
    return flatten(find([write(tmp_path / "in", given)]).files, view_set(str(folder)))


@pytest.mark.parametrize(
    ("address", "expected", "several"),
    [
        ("first result <- DiagnosticReport.id", {"l1": "r1", "l2": "r2", "l3": "r3"}, 0),
        ("result <- DiagnosticReport.id", {"l2": "r2", "l3": "r3"}, 1),
        ("result <- DiagnosticReport.code.text", {"l1": "Blood count", "l2": "Blood count", "l3": "Salts"}, 0),
        ("second result <- DiagnosticReport.id", {"l1": "r2"}, 0),
        ("effectiveInstant | first result <- DiagnosticReport.id", {"l1": "r1", "l2": "r2", "l3": "r3"}, 0),
        ("section.entry <- Composition.section.title", {"l1": "Results", "l2": "Results", "l3": "Other"}, 0),
        ("section.section.entry <- Composition.section.section.title", {"l4": "Inner"}, 0),
        ("section.section.entry <- Composition.section.title", {"l4": "Other"}, 0),
        ("section.entry <- Composition.status", {"l1": "final", "l2": "final", "l3": "final"}, 0),
        ("hasMember <- Observation.id", {"l2": "panel"}, 0),
        (
            "subject -> Patient.id | hasMember <- Observation.id",
            dict.fromkeys(("l1", "l2", "l3", "l4", "panel"), "p1"),
            0,
        ),
        ("result <- DiagnosticReport.code.coding", {}, 0),
    ],
)
def test_what_refers_to_a_resource_is_read(
    tmp_path: Path, address: str, expected: dict[str, str], several: int
) -> None:
    for seed in range(2):
        made = run(tmp_path / str(seed), address, random.Random(seed).sample(GIVEN, len(GIVEN)))
        assert {row["id"]: row["got"] for row in made.records["lab"].to_pylist() if row["got"]} == expected
        assert [each.code for each in made.problems if each.code == "FS460"] == ["FS460"] * several


MISTAKEN = {"resourceType": "Composition", "id": "m", "section": [section("No", "Observation/l1")]}


def test_a_document_by_mistake_leads_nowhere_and_is_left(tmp_path: Path) -> None:
    given = [patient("p1"), lab("l1", "Patient/p1", "2026"), {**MISTAKEN, "status": "entered-in-error"}]
    made = run(tmp_path, "section.entry <- Composition.section.title", given)
    assert [row["got"] for row in made.records["lab"].to_pylist()] == [None]
    assert made.left["Composition", "status is entered-in-error"] == 1


def test_a_contained_resource_is_for_the_one_around_it_alone(tmp_path: Path) -> None:
    inner = {"contained": [{"resourceType": "Patient", "id": "in"}]}
    given = [lab("a", "#in", "2026", **inner), lab("b", "Observation/0#in", "2026"), lab("c", "#in", "2026")]
    made = run(tmp_path, "subject -> Patient.id", given)
    assert [row["got"] for row in made.records["lab"].to_pylist()] == ["in", None, None]


def test_no_report_refers_to_anything(tmp_path: Path) -> None:
    made = run(tmp_path, "result <- DiagnosticReport.id", [patient("p1"), lab("l1", "Patient/p1", "2026")])
    assert [row["got"] for row in made.records["lab"].to_pylist()] == [None]
