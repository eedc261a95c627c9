"""Invariants: for each a resource that holds it and a twin that breaks it."""

from __future__ import annotations

import time
from typing import Any

import pytest
from msgspec.json import encode

from fhirspace.fhir.validation.check import check, compiled
from fhirspace.fhir.validation.quick import sound
from fhirspace.json import parse
from fhirspace.standards.fhir import RELEASES, Release
from fhirspace.standards.hl7.structures import structures

Json = dict[str, Any]
OBSERVATION: Json = {
    "resourceType": "Observation",
    "status": "final",
    "code": {"coding": [{"system": "http://a", "code": "b"}]},
}
CONDITION: Json = {
    "resourceType": "Condition",
    "subject": {"display": "x"},
    "clinicalStatus": {
        "coding": [{"system": "http://terminology.hl7.org/CodeSystem/condition-clinical", "code": "active"}]
    },
}
PATIENT: Json = {"resourceType": "Patient", "id": "p"}
REQUEST: Json = {"method": "PUT", "url": "Patient/p"}
ENCOUNTER: Json = {
    "resourceType": "Encounter",
    "status": "planned",
    "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"},
}
UCUM = "http://unitsofmeasure.org"


def bundle(kind: str, *entries: Json, **more: Any) -> Json:
    return {"resourceType": "Bundle", "type": kind, "entry": list(entries), **more}


def entry(number: int = 1, **more: Any) -> Json:
    return {"fullUrl": f"http://a.b/Patient/p{number}", "resource": {**PATIENT, "id": f"p{number}"}, **more}


TWINS: list[tuple[str, Json, Json]] = [
    (
        "obs-6",
        {**OBSERVATION, "valueString": "x"},
        {**OBSERVATION, "valueString": "x", "dataAbsentReason": {"text": "y"}},
    ),
    (
        "obs-7",
        {**OBSERVATION, "component": [{"code": OBSERVATION["code"], "valueString": "x"}]},
        {**OBSERVATION, "valueString": "x", "component": [{"code": OBSERVATION["code"], "valueString": "x"}]},
    ),
    (
        "obs-3",
        {**OBSERVATION, "referenceRange": [{"text": "x"}]},
        {**OBSERVATION, "referenceRange": [{"appliesTo": [{"text": "x"}]}]},
    ),
    (
        "qty-3",
        {**OBSERVATION, "valueQuantity": {"value": 1, "code": "mg", "system": UCUM}},
        {**OBSERVATION, "valueQuantity": {"value": 1, "code": "mg"}},
    ),
    (
        "rng-2",
        {**OBSERVATION, "valueRange": {"low": {"value": 9.5}, "high": {"value": 10}}},
        {**OBSERVATION, "valueRange": {"low": {"value": 10.5}, "high": {"value": 10}}},
    ),
    (
        "rat-1",
        {**OBSERVATION, "valueRatio": {"numerator": {"value": 1}, "denominator": {"value": 2}}},
        {**OBSERVATION, "valueRatio": {"numerator": {"value": 1}}},
    ),
    (
        "per-1",
        {**ENCOUNTER, "period": {"start": "2020-05-01T10:00:00+05:00", "end": "2020-05-01T06:00:00Z"}},
        {**ENCOUNTER, "period": {"start": "2020-05-01T10:00:00Z", "end": "2020-05-01T11:00:00+05:00"}},
    ),
    (
        "con-4",
        {
            **CONDITION,
            "abatementString": "x",
            "clinicalStatus": {
                "coding": [{"system": "http://terminology.hl7.org/CodeSystem/condition-clinical", "code": "resolved"}]
            },
        },
        {**CONDITION, "abatementString": "x"},
    ),
    ("org-1", {"resourceType": "Organization", "name": "x"}, {"resourceType": "Organization", "active": True}),
    (
        "org-2",
        {"resourceType": "Organization", "name": "x", "address": [{"use": "work", "city": "x"}]},
        {"resourceType": "Organization", "name": "x", "address": [{"use": "work", "city": "x"}, {"use": "home"}]},
    ),
    ("cpt-2", {**PATIENT, "telecom": [{"system": "phone", "value": "1"}]}, {**PATIENT, "telecom": [{"value": "1"}]}),
    (
        "pat-1",
        {**PATIENT, "contact": [{"name": {"text": "x"}}]},
        {**PATIENT, "contact": [{"gender": "male"}]},
    ),
    (
        "att-1",
        {**PATIENT, "photo": [{"contentType": "image/png", "data": "QUJD"}]},
        {**PATIENT, "photo": [{"data": "QUJD"}]},
    ),
    (
        "tim-1",
        {
            "resourceType": "Basic",
            "code": {"text": "x"},
            "extension": [{"url": "http://a", "valueTiming": {"repeat": {"duration": 1, "durationUnit": "h"}}}],
        },
        {
            "resourceType": "Basic",
            "code": {"text": "x"},
            "extension": [{"url": "http://a", "valueTiming": {"repeat": {"duration": 1}}}],
        },
    ),
    (
        "dom-4",
        {**OBSERVATION, "contained": [PATIENT], "subject": {"reference": "#p"}},
        {**OBSERVATION, "contained": [{**PATIENT, "meta": {"versionId": "1"}}], "subject": {"reference": "#p"}},
    ),
    (
        "dom-5",
        {**OBSERVATION, "contained": [{**PATIENT, "meta": {"source": "http://a"}}], "subject": {"reference": "#p"}},
        {
            **OBSERVATION,
            "contained": [{**PATIENT, "meta": {"security": [{"display": "x"}]}}],
            "subject": {"reference": "#p"},
        },
    ),
    ("bdl-1", bundle("searchset", entry(), total=1), bundle("collection", entry(), total=1)),
    (
        "bdl-2",
        bundle("searchset", entry(search={"mode": "match"})),
        bundle("collection", entry(search={"mode": "match"})),
    ),
    ("bdl-3", bundle("transaction", entry(request=REQUEST)), bundle("collection", entry(request=REQUEST))),
    ("bdl-3", bundle("transaction", entry(request=REQUEST)), bundle("transaction", entry(request=REQUEST), entry(2))),
    (
        "bdl-4",
        bundle("transaction-response", {"response": {"status": "200"}}),
        bundle("collection", entry(response={"status": "200"})),
    ),
    ("bdl-5", bundle("collection", entry()), bundle("collection", {"fullUrl": "http://a.b/Patient/p"})),
    ("bdl-7", bundle("collection", entry(), entry(2)), bundle("collection", entry(), entry())),
    (
        "bdl-8",
        bundle("collection", entry()),
        bundle("collection", {"fullUrl": "http://a.b/Patient/p/_history/1", "resource": PATIENT}),
    ),
    (
        "bdl-9",
        bundle("collection", entry()),
        bundle("document", entry(), timestamp="2020-01-01T00:00:00Z"),
    ),
    ("bdl-10", bundle("collection", entry()), bundle("document", entry())),
    ("bdl-11", bundle("collection", entry()), bundle("document", entry())),
    ("bdl-12", bundle("collection", entry()), bundle("message", entry())),
]


def broken(resource: Json, release: Release = "R4") -> set[str]:
    return {item[2].partition(":")[0] for item in check(parse(encode(resource)), release) if item[1] == "FS424"}


@pytest.mark.parametrize(("key", "right", "wrong"), TWINS)
def test_twins(key: str, right: Json, wrong: Json) -> None:
    assert check(parse(encode(right)), "R4") == []
    assert key in broken(wrong)
    assert not sound(encode(wrong), "R4")


@pytest.mark.parametrize(
    ("wrong", "place"),
    [
        ({**PATIENT, "extension": [{"url": "http://a"}]}, "Patient.extension[0]"),  # ext-1
        ({**PATIENT, "extension": [{"url": "http://a", "valueString": "x", "extension": []}]}, "Patient.extension[0]"),
        ({**PATIENT, "name": [{}]}, "Patient.name[0]"),  # ele-1
        ({**OBSERVATION, "subject": {"reference": "#p"}}, "Observation.subject.reference"),  # ref-1
        ({**OBSERVATION, "contained": [PATIENT]}, "Observation.contained[0]"),  # dom-3
        (
            {**OBSERVATION, "contained": [PATIENT, PATIENT], "subject": {"reference": "#p"}},
            "Observation.contained[1].id",
        ),
        ({**OBSERVATION, "subject": {"reference": "#"}}, "Observation.subject.reference"),
        ({**OBSERVATION, "subject": {"reference": "Patient/1", "type": "Group"}}, "Observation.subject.type"),
        ({**OBSERVATION, "subject": {"reference": "Patient/1", "type": "Pateint"}}, "Observation.subject.type"),
        (
            {**OBSERVATION, "contained": [{**PATIENT, "contained": [PATIENT]}], "subject": {"reference": "#p"}},
            "Observation.contained[0].contained",
        ),  # dom-2
    ],
)
def test_invariants_that_other_checks_judge(wrong: Json, place: str) -> None:
    assert place in [item[0] for item in check(parse(encode(wrong)), "R4")]


def test_the_path_of_an_element_that_has_invariants_of_its_own() -> None:
    (finding,) = check(parse(encode(TWINS[9][2])), "R4")
    assert finding[0] == "Organization.address[1]"


def test_the_path_of_a_choice_that_has_invariants_of_its_own() -> None:
    half = {"value": 0.5, "unit": "x"}
    risk = {
        "resourceType": "RiskAssessment",
        "status": "final",
        "subject": {"reference": "Patient/1"},
        "prediction": [{"probabilityRange": {"high": half}}],
    }
    paths = [path for path, _, expected in check(parse(encode(risk)), "R4") if expected.startswith("ras-1")]
    assert paths == ["RiskAssessment.prediction[0].probabilityRange"]


def test_what_is_around_a_part_is_known() -> None:
    """`%resource` of an entry's resource is that resource."""
    wrong = bundle("collection", {"fullUrl": "http://a.b/Observation/o", "resource": {**TWINS[1][2], "id": "o"}})
    assert broken(wrong) == {"obs-7"}


def test_a_reference_that_leads_elsewhere_decides_nothing() -> None:
    team: Json = {"resourceType": "CareTeam", "participant": [{"onBehalfOf": {"reference": "Organization/1"}}]}
    member = {"reference": "Patient/1"}
    outside = {**team, "participant": [{**team["participant"][0], "member": member}]}
    assert broken(outside) == set()
    entries = bundle(
        "collection",
        {"fullUrl": "http://a.b/CareTeam/t", "resource": {**outside, "id": "t"}},
        {"fullUrl": "http://a.b/Patient/1", "resource": {**PATIENT, "id": "1"}},
    )
    assert broken(entries) == {"ctm-1"}


@pytest.mark.parametrize("value", [True, 3, "x", [], {}, ["x"], [{}], None])
@pytest.mark.parametrize("name", ["code", "component", "valueQuantity", "dataAbsentReason", "referenceRange"])
def test_values_of_the_wrong_kind_do_not_stop_an_invariant(name: str, value: Any) -> None:
    check({**OBSERVATION, "valueString": "a", "component": [{"code": {}}], name: value}, "R4")


@pytest.mark.parametrize("release", RELEASES)
def test_every_invariant_of_the_release_is_compiled(release: Release) -> None:
    rules = compiled(release).invariants
    declared = structures(release).invariants()
    for path, listed in declared.items():
        judged = {rule.key for rule in rules._declared(path)}
        assert {each.key for each in listed if each.severity == "error"} - judged <= rules.elsewhere


def test_a_quantity_has_a_code_of_its_system() -> None:
    system = "http://terminology.hl7.org/CodeSystem/v3-orderableDrugForm"
    right, wrong = (
        {**OBSERVATION, "valueQuantity": {"value": 1, "system": system, "code": code}} for code in ("TAB", "Tab")
    )
    assert check(right, "R4") == []
    assert [item[:2] for item in check(wrong, "R4")] == [("Observation.valueQuantity.code", "FS426")]


@pytest.mark.slow
def test_long_lists_take_no_quadratic_time() -> None:
    """20,000 codings on each side of an intersection, and a structure of 5,000 elements that are compared in pairs."""
    codings = [{"system": "http://a.b", "code": str(number)} for number in range(20_000)]
    wide = {**OBSERVATION, "code": {"coding": codings}, "valueString": "x"}
    part = {"code": {"coding": [{**each, "system": "http://c.d"} for each in codings]}, "valueString": "x"}
    elements = [{"id": f"A.b{number}", "path": f"A.b{number}.concept"} for number in range(5_000)]
    for each in elements:
        each.update({"type": [{"code": "CodeableConcept"}], "binding": {"strength": "example"}})  # type: ignore[dict-item]
    structure = {"resourceType": "StructureDefinition", "snapshot": {"element": elements}}
    start = time.process_time()
    compiled("R4").object("Observation").holds({**wide, "component": [part]})
    compiled("R5").object("StructureDefinition.snapshot").holds(structure["snapshot"])  # type: ignore[arg-type]
    assert time.process_time() - start < 20
