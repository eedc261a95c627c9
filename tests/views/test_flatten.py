"""Records of views, and what became of each resource."""

from __future__ import annotations

import json
import random
from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from fhirspace.errors import FhirspaceError
from fhirspace.fhir.files import find
from fhirspace.views.flatten import Flattened, flatten
from fhirspace.views.notation.library import view_set
from fhirspace.views.subjects import enrolment
from fhirspace.views.times import windows
from tests.views.ehr import COMMON, coded, dose, lab, patient, resources, study, write


def run(tmp_path: Path, given: list[dict[str, Any]], common: str = COMMON, **views: str) -> Flattened:
    folder = study(tmp_path / "study", common)
    if "subjects" not in common:
        (folder / "codes" / "STUDYDRUG.csv").unlink()
    for name, text in views.items():
        (folder / f"{name}.yaml").write_text(text)
    found = view_set(str(folder))
    files = find([write(tmp_path / "in", given)]).files
    table = enrolment(found.subjects) if found.subjects else None
    return flatten(files, found, "R4", table, windows(found.visits))


def cells(made: Flattened, view: str, *names: str) -> list[tuple[str | None, ...]]:
    return [tuple(row[name] for name in names) for row in made.records[view].to_pylist()]


def test_every_resource_is_accounted_for(tmp_path: Path) -> None:
    made = run(tmp_path, resources())
    counts = {kind: made.count(kind) for kind in made.kinds}
    assert sum(each["in"] for each in counts.values()) == len(resources())
    assert counts["Observation"] == {"in": 6, "taken": 3, "left": 3, "quarantined": 0, "unclaimed": 0}
    assert counts["Patient"] == {"in": 3, "taken": 2, "left": 1, "quarantined": 0, "unclaimed": 0}
    assert counts["Basic"]["unclaimed"] == 1
    assert counts["Claim"]["left"] == 1
    assert made.left["Observation", "status is entered-in-error"] == 1
    assert made.left["Observation", "the patient is not in the enrolment table"] == 1
    assert made.left["Observation", "outside participation"] == 1


def test_dates_are_local_and_visits_are_found_by_study_day(tmp_path: Path) -> None:
    made = run(tmp_path, resources())
    assert cells(made, "dose", "id", "start")[0] == ("d1", "2026-02-01T22:30:00-05:00")
    assert cells(made, "lab", "id", "when", "visit", "visitnum") == [
        ("l1", "2026-01-20T10:00:00-05:00", "SCREENING", "1"),
        ("l2", "2026-02-02T10:00:00-05:00", "TREATMENT", "2"),
    ]
    assert cells(made, "patient", "USUBJID", "first_dose", "consent") == [
        ("EHR9-10-001", "2026-02-01T22:30:00-05:00", "2026-01-05"),
        ("EHR9-10-002", "2026-02-02T10:00:00-05:00", "2026-01-10"),
    ]


def test_an_entry_without_an_id_has_that_of_its_address(tmp_path: Path) -> None:
    who, result = patient("p1"), lab("l1", "urn:uuid:aaaa-1", "2026-02-02T15:00:00Z")
    plain, odd = lab("l2", "Patient/p9", "2026-02-02"), lab("l3", "urn:uuid:aaaa-1", "2026-02-03")
    addresses = ["urn:uuid:aaaa-1", "urn:uuid:bbbb-2", "https://ehr.example/fhir/Observation/x2", ""]
    entries = [
        {"fullUrl": url, "resource": each} for url, each in zip(addresses, (who, result, plain, odd), strict=True)
    ]
    for each in entries[:3]:
        del each["resource"]["id"]  # type: ignore[attr-defined]  # a dict
    plain["subject"] = {"reference": "urn:uuid:aaaa-1"}
    views = study(tmp_path / "study", "extends: us-core\nsubjects: enrolment.csv\n")
    (views / "enrolment.csv").write_text("patient,STUDYID,SUBJID\naaaa-1,S,1\n")
    (views / "codes" / "STUDYDRUG.csv").unlink()
    (tmp_path / "b.json").write_text(json.dumps({"resourceType": "Bundle", "type": "transaction", "entry": entries}))
    found = view_set(str(views))
    made = flatten(find([tmp_path / "b.json"]).files, found, "R4", enrolment(views / "enrolment.csv"))
    assert cells(made, "lab", "patient", "id") == [("aaaa-1", "bbbb-2"), ("aaaa-1", "l3"), ("aaaa-1", "x2")]


def test_a_panel_makes_a_record_for_each_component(tmp_path: Path) -> None:
    made = run(tmp_path, resources())
    assert sorted(cells(made, "vital", "id", "loinc", "value")) == [("bp", "8462-4", "80"), ("bp", "8480-6", "120")]


def test_the_order_of_lines_and_files_does_not_matter(tmp_path: Path) -> None:
    first = run(tmp_path / "a", resources()) if (tmp_path / "a").mkdir() is None else None
    assert first is not None
    for seed in (1, 2, 3):
        (tmp_path / str(seed)).mkdir()
        shuffled = random.Random(seed).sample(resources(), len(resources()))
        write(tmp_path / str(seed) / "in", shuffled[5:], "z.ndjson")
        again = run(tmp_path / str(seed), shuffled[:5])
        for name, table in first.records.items():
            plain = [each for each in table.column_names if not each.startswith("@")]
            assert again.records[name].select(plain).equals(table.select(plain)), (seed, name)
        assert (again.taken, again.left, again.unclaimed) == (first.taken, first.left, first.unclaimed)
        assert again.unmapped == first.unmapped


@pytest.mark.parametrize("size", [1, 2, 3])
def test_the_size_of_blocks_does_not_matter(tmp_path: Path, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = lab("m", "Patient/p1", "2026-02-03", modifierExtension=[{"url": "http://not", "valueBoolean": True}])
    for each in ("a", "b"):
        (tmp_path / each).mkdir()
    whole = run(tmp_path / "a", [*resources(), bad])
    monkeypatch.setattr("fhirspace.views.store._BLOCK", size)
    parts = run(tmp_path / "b", [*resources(), bad])
    assert {name: table.to_pylist() for name, table in parts.records.items()} == {
        name: table.to_pylist() for name, table in whole.records.items()
    }
    assert (parts.taken, parts.left, parts.unmapped) == (whole.taken, whole.left, whole.unmapped)
    assert (parts.lines, parts.problems) == (whole.lines, whole.problems)


def test_several_values_are_quarantined_unless_first_is_written(tmp_path: Path) -> None:
    twice = {"coding": [coded("http://loinc.org", code)["coding"][0] for code in ("718-7", "6690-2")], "text": "x"}
    given = [*resources(), lab("l9", "Patient/p1", "2026-02-03T15:00:00Z", code=twice)]
    made = run(tmp_path, given)
    assert [(each.code, each.place.row, each.place.column) for each in made.problems] == [("FS460", 14, "lab.loinc")]
    assert made.count("Observation")["quarantined"] == 1
    assert "l9" not in {each for (each,) in cells(made, "lab", "id")}


@pytest.mark.parametrize(
    ("code", "when", "fate"),
    [("718-7", "2026-02-03", "quarantined"), ("718-7", "2020-02-03", "left"), ("600-7", "2026-02-03", "quarantined")],
)
def test_a_reason_that_does_not_need_the_several_values_counts(tmp_path: Path, code: str, when: str, fate: str) -> None:
    """A result of other years is left, whichever code counts; 600-7 is for MB (NOTLAB), but 6690-2 is not."""
    both = {"coding": [coded("http://loinc.org", each)["coding"][0] for each in (code, "6690-2")], "text": "x"}
    made = run(tmp_path, [patient("p1"), lab("l9", "Patient/p1", when, code=both)])
    assert [fate] == [name for name, count in made.count("Observation").items() if count and name != "in"]


@pytest.mark.parametrize(
    ("reference", "more", "place"),
    [
        ("Medication/m1", [], None),
        ("urn:uuid:5", [], "urn:uuid:5"),
        ("http://server/fhir/Medication/m1", [], "http://server/fhir/Medication/m1"),
        ("http://elsewhere/Medication/m1/_history/2", [], None),
        ("#in", [{"resourceType": "Medication", "id": "in", "code": coded("http://x", "1", "Aspirin")}], None),
        ("Medication?identifier=http://ids|77", [], None),
    ],
)
def test_references_of_all_kinds_lead_to_their_resource(
    tmp_path: Path, reference: str, more: list[dict[str, Any]], place: str | None
) -> None:
    order: dict[str, Any] = {
        "resourceType": "MedicationRequest", "id": "r", "status": "active", "intent": "order",
        "subject": {"reference": "Patient/p1"}, "authoredOn": "2026-02-01", "medicationReference": {"reference": reference},
    }  # fmt: skip
    order |= {"contained": more} if more else {}
    drug: dict[str, Any] = {"resourceType": "Medication", "id": "m1", "code": coded("http://x", "1", "Aspirin")}
    drug["identifier"] = [{"system": "http://ids", "value": "77"}]
    other = {"resourceType": "Medication", "id": "m2", "code": coded("http://x", "2", "Other")}
    if place:
        entries = [{"fullUrl": place, "resource": drug}, {"resource": other}, {"resource": order}]
        given: list[dict[str, Any]] = [{"resourceType": "Bundle", "type": "collection", "entry": entries}]
        write(tmp_path / "in", given, "bundle.json")
        made = run(tmp_path, [patient("p1")])
    else:
        made = run(tmp_path, [patient("p1"), order, other, *([] if more else [drug])])
    assert cells(made, "prescription", "drug") == [("Aspirin",)]


def test_a_modifier_and_a_patient_nobody_knows_are_quarantined(tmp_path: Path) -> None:
    given = [
        *resources(),
        lab("m", "Patient/p1", "2026-02-03", modifierExtension=[{"url": "http://not", "valueBoolean": True}]),
        lab("u", "urn:uuid:6", "2026-02-03"),
        {key: value for key, value in lab("n", "", "2026-02-03").items() if key != "subject"},
    ]
    made = run(tmp_path, given)
    assert Counter(each.code for each in made.problems) == {"FS443": 1, "FS461": 2}
    assert made.count("Observation")["quarantined"] == 3


def test_equal_resources_count_once_and_different_ones_are_quarantined(tmp_path: Path) -> None:
    given = [*resources(), lab("l1", "Patient/p1", "2026-01-20T15:00:00Z"), dose("d2", "Patient/p2", "2026-02-05")]
    made = run(tmp_path, given)
    assert made.left["Observation", "the same resource again"] == 1
    assert made.count("MedicationAdministration")["quarantined"] == 2
    (tmp_path / "b").mkdir()
    written = {"text": {"status": "generated", "div": "<div/>"}, "meta": {"versionId": "2"}}
    again = dict(reversed(lab("l1", "Patient/p1", "2026-01-20T15:00:00Z", **written).items()))
    assert run(tmp_path / "b", [*given, again]).left["Observation", "the same resource again"] == 2
    assert {each.code for each in made.problems} == {"FS462"}


def test_of_a_history_the_latest_versions_count(tmp_path: Path) -> None:
    earlier = lab("o1", "Patient/p1", "2026-01-20T13:00:00Z", meta={"versionId": "1"})
    later = earlier | {"meta": {"versionId": "2"}, "effectiveDateTime": "2026-01-21T13:00:00Z"}
    deleted = lab("o2", "Patient/p1", "2026-01-22T13:00:00Z")
    entries = [{"resource": each} for each in (later, earlier, patient("p1"))]
    entries = [{"request": {"method": "DELETE", "url": "Observation/o2"}}, *entries, {"resource": deleted}]
    (tmp_path / "b.json").write_text(json.dumps({"resourceType": "Bundle", "type": "history", "entry": entries}))
    found = view_set(str(study(tmp_path / "study")))
    made = flatten(find([tmp_path / "b.json"]).files, found, "R4", enrolment(tmp_path / "study" / "enrolment.csv"))
    assert cells(made, "lab", "id", "when") == [("o1", "2026-01-21T08:00:00-05:00")]
    assert made.count("Observation") == {"in": 3, "taken": 1, "left": 2, "quarantined": 0, "unclaimed": 0}
    assert "FS455" in [problem.code for problem in made.problems]


def test_never_adds_to_the_rules_of_status(tmp_path: Path) -> None:
    given = [*resources(), lab("pre", "Patient/p1", "2026-02-03", status="preliminary")]
    assert {each.code for each in run(tmp_path, given).problems} == {"FS444"}
    made = run(tmp_path, given, f"{COMMON}never: {{status: [preliminary]}}\n")
    assert made.left["Observation", "status is preliminary"] == 1


def test_what_no_view_reads_is_counted_by_path(tmp_path: Path) -> None:
    made = run(tmp_path, [*resources(), lab("l7", "Patient/p1", "2026-02-03", issued="2026-02-03T00:00:00Z")])
    assert made.unmapped["Observation.issued"] == 1
    assert made.unmapped["Observation.valueQuantity.system"] == 3
    assert not any(path.startswith(("Observation.status", "Observation.subject")) for path in made.unmapped)


def test_a_view_of_the_study_replaces_that_of_the_same_name(tmp_path: Path) -> None:
    own = "view: lab\nof: Observation\nwhen: code.text is Hemoglobin\ncolumns: {id: id}\n"
    made = run(tmp_path, resources(), own=own)
    assert made.records["lab"].column_names[-3:] == ["id", "@file", "@row"]


def test_an_empty_code_list_has_no_codes(tmp_path: Path) -> None:
    made = run(tmp_path, resources(), "extends: us-core\n", own="view: none\nof: Patient\nwhen: gender in NOTMEDICAL\n")
    assert made.records["none"].num_rows == 0
    assert made.records["given"].num_rows == 2  # no drug is the study's


def test_without_an_enrolment_table_all_patients_are_taken(tmp_path: Path) -> None:
    made = run(tmp_path, resources(), "extends: us-core\n")
    assert made.count("Patient")["taken"] == 3
    assert "STUDYID" not in made.records["lab"].column_names


def raced(name: str, *codes: str) -> dict[str, Any]:
    """A Patient with races by US Core."""
    url = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-race"
    inner = [{"url": "ombCategory", "valueCoding": {"system": "urn:oid:2", "code": code}} for code in codes]
    return patient(name, extension=[{"url": url, "extension": inner}])


def test_several_values_are_columns_by_their_ordinals_and_none_after_the_last_is_lost(tmp_path: Path) -> None:
    given = [raced("p1", "2106-3", "2028-9", "2028-9"), raced("p2", "a", "b", "c", "d", "e", "f", "g")]
    made = run(tmp_path, given, "extends: us-core\n")
    assert cells(made, "patient", "id", "race", "race2", "race3") == [("p1", "2106-3", "2028-9", None)]
    assert [(each.code, each.place.column) for each in made.problems] == [("FS460", "patient.race6")]


def test_an_element_with_one_value_has_no_second_one(tmp_path: Path) -> None:
    columns = "{id: id, name: second name.family, sex: second gender, ref: second managingOrganization.display}"
    who = {**patient("p1"), "name": [{"family": "A"}], "managingOrganization": {"display": "B"}}
    made = run(tmp_path, [who], "extends: us-core\n", own=f"view: own\nof: Patient\ncolumns: {columns}\n")
    assert cells(made, "own", "id", "name", "sex", "ref") == [("p1", None, None, None)]


def test_values_after_the_first_are_counted(tmp_path: Path) -> None:
    why = [{"text": "Fever"}, {"text": "Pain"}]
    order = {**dose("o1", "Patient/p1", "2026-02-03"), "reasonCode": why}
    order["medicationCodeableConcept"] = coded("http://x", "1", "Aspirin")
    made = run(tmp_path, [*resources(), order])
    assert cells(made, "given", "why") == [("Fever",)]
    assert made.unmapped["MedicationAdministration.reasonCode.text (after the first)"] == 1


HEAD = "patient,STUDYID,SUBJID,participation start,participation end\n"


@pytest.mark.parametrize(
    ("rows", "code"),
    [
        ("p1,S,1,2026-01-01,\np2,S,0\x002,2026-01-01,\n", "FS106 enrolment.csv:3"),
        ("p1,S,1,2026-01-01,\np2,S,2\n", "FS109 enrolment.csv:3"),
        ("p1,S,1,2026-01-01,\np2,S,=1+1,2026-01-01,\n", "FS111 enrolment.csv:3"),
        ("p1,S,1,2026-01-01,\np2,S,2,2026-02-01,2026-01-31\n", "FS375 enrolment.csv:3:participation end"),
        ("p1,S,1,2026-02-02,2026-01\n", "FS375 enrolment.csv:2:participation end"),
        ("p1,S,1,2026-02-02,2026-02\np2,S,2,2026-02-01,2026-02-01\n", ""),
    ],
)
def test_no_row_of_the_enrolment_table_is_left_out(tmp_path: Path, rows: str, code: str) -> None:
    (tmp_path / "enrolment.csv").write_text(HEAD + rows)
    with pytest.raises(FhirspaceError, match=code) if code else nullcontext():
        enrolment(tmp_path / "enrolment.csv")


def test_no_row_of_the_table_of_visits_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "visits.csv").write_text("VISITNUM,VISIT,day\n1,A,1\n2,B\n")
    with pytest.raises(FhirspaceError, match=r"FS109 visits\.csv:3"):
        windows(tmp_path / "visits.csv")


@pytest.mark.parametrize("apart", [True, False])
def test_two_views_of_a_folder_have_two_names(tmp_path: Path, apart: bool) -> None:
    view = "view: mine\nof: Basic\ncolumns: {id: id}\n"
    views = {"a": view, "b": view} if apart else {"a": f"{view}---\n{view}"}
    with pytest.raises(FhirspaceError, match=r"FS373 [ab].yaml:[15]:mine"):
        run(tmp_path, resources(), **views)


def test_elements_of_another_release_are_named(tmp_path: Path) -> None:
    stu3 = lab("l9", "Patient/p1", "2026-02-03", context={"reference": "Encounter/e1"}, _issued={"id": "a"})
    made = run(tmp_path, [patient("p1"), lab("l1", "Patient/p1", "2026-02-03"), stu3])
    assert [(each.code, each.place.file, each.detail) for each in made.problems] == [
        ("FS472", "Observation", "context")
    ]
