"""The shipped views of an EHR: which resources they claim, and what they make of each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fhirspace.fhir.files import find
from fhirspace.fhir.status import rules
from fhirspace.standards.fhir import Release
from fhirspace.views.flatten import flatten
from fhirspace.views.notation.library import view_set
from tests.views.ehr import CATEGORY, LOINC, RXNORM, coded, dose, lab, patient, resources, write
from tests.views.test_flatten import cells, run


def encounter(name: str, who: str, start: str, end: str | None = None) -> dict[str, Any]:
    period = {"start": start} if end is None else {"start": start, "end": end}
    given = {"resourceType": "Encounter", "id": name, "status": "finished", "subject": {"reference": who}}
    return {**given, "type": [{"text": name}], "period": period}


@pytest.mark.parametrize(
    ("more", "ends"),
    [
        ([], "2026-02-05T12:00:00-05:00"),
        ([("e4", "2026-02-05T18:00:00Z", None)], None),  # when it ended is not known
        ([("e4", "2026-02-05T18:00:00Z", "2026-02")], None),
        ([("e4", "2026-02-12T18:00:00Z", "2026-02-12T23:00:00Z")], "2026-02-05T12:00:00-05:00"),
    ],
)
def test_the_encounters_of_a_visit_are_one_record(
    tmp_path: Path, more: list[tuple[str, str, str | None]], ends: str | None
) -> None:
    given = [
        *resources(),
        encounter("e1", "Patient/p1", "2026-02-05T15:00:00Z", "2026-02-05T17:00:00Z"),
        encounter("e2", "Patient/p1", "2026-02-03T15:00:00Z", "2026-02-03T16:00:00Z"),
        encounter("e3", "Patient/p2", "2026-02-03T15:00:00Z", "2026-02-03T16:00:00Z"),
        encounter("e5", "Patient/p1", "2026-01-20T15:00:00Z", "2026-01-20T16:00:00Z"),
        *(encounter(name, "Patient/p1", start, end) for name, start, end in more),
    ]
    made = run(tmp_path, given)
    assert cells(made, "encounter", "SUBJID", "id", "visit", "start", "end") == [
        ("001", "e2", "TREATMENT", "2026-02-03T10:00:00-05:00", ends),
        ("001", "e5", "SCREENING", "2026-01-20T10:00:00-05:00", "2026-01-20T11:00:00-05:00"),
        ("002", "e3", "TREATMENT", "2026-02-03T10:00:00-05:00", "2026-02-03T11:00:00-05:00"),
    ]
    outside = made.left["Encounter", "outside the windows of visits"]
    assert outside == sum(start > "2026-02-12" for _, start, _ in more)
    assert made.count("Encounter")["taken"] == 4 + len(more) - outside


@pytest.mark.parametrize(
    ("start", "end", "wrong"),
    [
        ("2026-02-05T15:00:00Z", "2026-02-05T14:00:00Z", True),
        ("2026-02-05T15:00:00Z", "2026-02-05T15:30:00+01:00", True),
        ("2026-02-05", "2026-02-04", True),
        ("2026-02-05T15:00:00Z", "2026-02-05", False),
        ("2026-02", "2026-02-01", False),
        ("2026-02-05T15:00:00Z", "2026-02-05T15:00:00Z", False),
    ],
)
def test_a_visit_that_ends_before_it_begins_is_reported(tmp_path: Path, start: str, end: str, wrong: bool) -> None:
    other = encounter("e2", "Patient/p1", "2026-02-05T10:00:00Z", "2026-02-05T11:00:00Z")
    made = run(tmp_path, [*resources(), other, encounter("e1", "Patient/p1", start, end)])
    found = [str(each.place) for each in made.problems if each.code == "FS470"]
    assert found == [f"all.ndjson:{len(resources()) + 2}:end"] * wrong


def test_a_record_without_the_texts_by_which_others_are_merged_stays_by_itself(tmp_path: Path) -> None:
    own = "view: own\nof: Claim\ncolumns: {id: id, use: use, made: created}\nmerge: {by: [use], greatest: [made]}\n"
    given = [patient("p1"), *({"resourceType": "Claim", "id": name, "patient": {"reference": "Patient/p1"},
                              **more} for name, more in
             {"a": {}, "b": {}, "c": {"use": "claim"}, "d": {"use": "claim", "created": "2026"}}.items())]  # fmt: skip
    made = run(tmp_path, given, "extends: us-core\n", own=own)
    assert cells(made, "own", "id", "made") == [("a", None), ("b", None), ("c", None)]
    assert made.count("Claim")["taken"] == 4


def test_a_dose_outside_the_participation_is_neither_first_nor_last(tmp_path: Path) -> None:
    made = run(tmp_path, [*resources(), dose("d0", "Patient/p1", "2025-12-01"), dose("d9", "Patient/p1", "2026-09-01")])
    assert cells(made, "patient", "SUBJID", "first_dose", "last_dose")[0] == (
        ("001", "2026-02-01T22:30:00-05:00", "2026-02-01T22:30:00-05:00")
    )
    assert made.left["MedicationAdministration", "outside participation"] == 2


def test_the_views_of_synthea_leave_what_is_for_no_dataset(tmp_path: Path) -> None:
    kinds = {"s": "survey", "v": "vital-signs"}
    seen = [
        {**lab(name, "Patient/p1", "2026-02-03"), "category": [coded(CATEGORY, kind)]} for name, kind in kinds.items()
    ]
    bare = {key: value for key, value in lab("n", "Patient/p1", "2026-02-03").items() if key not in ("category", "id")}
    bare["code"] = coded(LOINC, "69453-9")
    kccq = {**seen[1], "id": "kccq", "code": coded(LOINC, "86923-0")}
    made = run(tmp_path, [patient("p1"), *seen, bare, kccq], "extends: synthea\n")
    assert cells(made, "vital", "id") == [("v",)]
    assert made.left["Observation", "no item of a questionnaire of the study (code list LOINCQS)"] == 1
    assert made.left["Observation", "without a category and a code of the code lists LOINCLB and LOINCVS"] == 1
    assert made.left["Observation", "no vital sign (code list NOTVITAL)"] == 1
    assert made.count("Observation") == {"in": 4, "taken": 1, "left": 3, "quarantined": 0, "unclaimed": 0}


def test_a_panel_outside_the_participation_is_left_as_that(tmp_path: Path) -> None:
    panel = next(each for each in resources() if each["id"] == "bp")
    made = run(tmp_path, [*resources()[:5], {**panel, "id": "late", "effectiveDateTime": "2027-02-03T15:00:00Z"}])
    assert dict(made.left)["Observation", "outside participation"] == 1
    assert made.count("Observation")["left"] == 1


@pytest.mark.parametrize(("view", "codes"), [("vital", ("8310-5", "8331-1")), ("lab", ("14804-9", "2532-0"))])
def test_of_two_codes_of_one_test_the_one_that_us_core_names_counts(
    tmp_path: Path, view: str, codes: tuple[str, str]
) -> None:
    twice = {"coding": [{"system": LOINC, "code": code} for code in codes], "text": "x"}
    kind = {"vital": "vital-signs", "lab": "laboratory"}[view]
    given = {**lab("t", "Patient/p1", "2026-02-03"), "code": twice, "category": [coded(CATEGORY, kind)]}
    made = run(tmp_path, [patient("p1"), given], "extends: us-core\n")
    assert cells(made, view, "loinc") == [(codes[1],)]


def test_an_observation_without_a_category_is_what_its_code_says(tmp_path: Path) -> None:
    codes = {"blood": "718-7", "pulse": "8867-4", "saturation": "2708-6", "death": "69453-9"}
    given = [{**lab(name, "Patient/p1", "2026-02-03"), "code": coded(LOINC, code)} for name, code in codes.items()]
    for each in given:
        del each["category"]
    made = run(tmp_path, [patient("p1"), *given], "extends: us-core\n")
    assert cells(made, "lab", "id") == [("blood",)]
    assert sorted(cells(made, "vital", "id")) == [("pulse",), ("saturation",)]
    assert made.count("Observation") == {"in": 4, "taken": 3, "left": 1, "quarantined": 0, "unclaimed": 0}


def test_each_instruction_of_an_order_is_a_record(tmp_path: Path) -> None:
    dosage: list[dict[str, Any]] = [
        {"timing": {"repeat": {"frequency": times, "period": 1, "periodUnit": "d"}},
         "doseAndRate": [{"doseQuantity": {"value": amount, "code": "mg"}}]}
        for times, amount in ((1, 5), (2, 10))
    ]  # fmt: skip
    order: dict[str, Any] = {
        "resourceType": "MedicationRequest",
        "status": "active",
        "intent": "order",
        "authoredOn": "2026-02-01",
    }
    order |= {"subject": {"reference": "Patient/p1"}, "medicationCodeableConcept": coded(RXNORM, "1", "Aspirin")}
    given = [{**order, "id": f"o{many}", "dosageInstruction": dosage[:many]} for many in (0, 1, 2)]
    made = run(tmp_path, [patient("p1"), *given], "extends: us-core\n")
    assert cells(made, "prescription", "id", "item", "drug", "frequency", "dose", "start") == [
        ("o0", None, "Aspirin", None, None, "2026-02-01"),
        ("o1", None, "Aspirin", "1", "5", "2026-02-01"),
        ("o2", "1", "Aspirin", "1", "5", "2026-02-01"),
        ("o2", "2", "Aspirin", "2", "10", "2026-02-01"),
    ]
    assert made.count("MedicationRequest")["taken"] == 3


def test_a_social_finding_is_no_record(tmp_path: Path) -> None:
    found = {"resourceType": "Condition", "subject": {"reference": "Patient/p1"}, "onsetDateTime": "2026-02-03"}
    codes = {"work": "160903007", "ill": "66383009"}
    given = [{**found, "id": name, "code": coded("http://snomed.info/sct", code)} for name, code in codes.items()]
    made = run(tmp_path, [*resources(), *given])
    assert cells(made, "problem", "id") == [("ill",)]
    assert made.left["Condition", "no medical finding (code list NOTMEDICAL)"] == 1


def generated(release: Release) -> list[dict[str, Any]]:
    """Resources of each claimed type: bare, with each status there is, of each category, with nothing known of them."""
    made: list[dict[str, Any]] = []
    for kind in sorted(view_set("us-core", release=release).types):
        bare = {"resourceType": kind, "subject": {"reference": "Patient/p"}, "patient": {"reference": "Patient/p"}}
        made.append(bare)
        for path, codes in rules().get(kind, {}).items():
            for code in (*codes, "no-such-code"):
                concept = path in ("verificationStatus", "clinicalStatus")
                made.append({**bare, path.partition(".")[0]: coded("http://x", code) if concept else code})
        for code in ("laboratory", "vital-signs", "social-history", "survey", "exam", "imaging", "no-such-category"):
            each = {**bare, "status": "final", "category": [coded(CATEGORY, code)]}
            made += [each, {**each, "code": coded(LOINC, "718-7"), "valueQuantity": {"value": 1}}]
        made.append(
            {**bare, "code": coded(LOINC, "72166-2"), "component": [{}, {"valueString": ""}], "intent": "order"}
        )
    return [{**each, "id": f"g{at}"} for at, each in enumerate(made)]


@pytest.mark.parametrize("release", ["R4", "R5"])
def test_each_resource_of_a_claimed_type_is_taken_left_or_quarantined(release: Release, tmp_path: Path) -> None:
    given = generated(release)
    made = flatten(find([write(tmp_path / "in", given)]).files, view_set("us-core", release=release), release)
    counts = [made.count(kind) for kind in made.kinds]
    assert sum(each["in"] for each in counts) == len(given)
    assert sum(each["unclaimed"] for each in counts) == 0
    assert len(made.lines) == sum(each["quarantined"] for each in counts)
    assert {each.code for each in made.problems} <= {
        "FS443",
        "FS444",
        "FS472",
    }  # the generated ones have elements of other types
    assert all(reason for _, reason in made.left)
