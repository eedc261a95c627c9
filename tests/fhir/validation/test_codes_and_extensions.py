"""Codes of complete systems, bindings, the use of extensions, and profiles that a resource declares."""

from __future__ import annotations

from typing import Any

import pytest

from fhirspace.fhir.validation.check import check
from fhirspace.standards.fhir import RELEASES, Release

HL7 = "http://hl7.org/fhir/StructureDefinition/"
THO = "http://terminology.hl7.org/CodeSystem/"
PATIENT = {"resourceType": "Patient", "id": "p"}
OBSERVATION = {"resourceType": "Observation", "id": "o", "status": "final", "code": {"text": "x"}}
WEIGHT = {
    **OBSERVATION,
    "meta": {"profile": [f"{HL7}bodyweight"]},
    "category": [{"coding": [{"system": f"{THO}observation-category", "code": "vital-signs"}]}],
    "code": {"coding": [{"system": "http://loinc.org", "code": "29463-7"}]},
    "subject": {"reference": "Patient/p"},
    "effectiveDateTime": "2020-01-01",
    "valueQuantity": {"value": 70, "unit": "kg", "system": "http://unitsofmeasure.org", "code": "kg"},
}
ABSENT = {"url": f"{HL7}data-absent-reason", "valueCode": "masked"}

FAULTS: list[tuple[str, dict[str, Any], str, str]] = [
    (
        "unknown code",
        {**OBSERVATION, "category": [{"coding": [{"system": f"{THO}observation-category", "code": "bogus"}]}]},
        "FS426",
        "Observation.category[0].coding[0].code",
    ),
    (
        "code of another system under an extensible binding",
        {**OBSERVATION, "interpretation": [{"coding": [{"system": "http://e.org", "code": "high"}]}]},
        "FS427",
        "Observation.interpretation[0]",
    ),
    (
        "extension of another type",
        {**OBSERVATION, "extension": [{"url": f"{HL7}patient-birthPlace", "valueAddress": {"city": "X"}}]},
        "FS429",
        "Observation.extension[0]",
    ),
    (
        "extension of another element",
        {**PATIENT, "extension": [{"url": f"{HL7}patient-birthTime", "valueDateTime": "2020-01-01T00:00:00Z"}]},
        "FS429",
        "Patient.extension[0]",
    ),
    (
        "modifier where none is",
        {**PATIENT, "modifierExtension": [{"url": f"{HL7}patient-birthPlace", "valueAddress": {"city": "X"}}]},
        "FS429",
        "Patient.modifierExtension[0]",
    ),
    (
        "extension twice",
        {**PATIENT, "extension": [{"url": f"{HL7}patient-birthPlace", "valueAddress": {"city": "X"}}] * 2},
        "FS423",
        "Patient.extension[1]",
    ),
    (
        "code that the extension does not allow",
        {**PATIENT, "_birthDate": {"extension": [{**ABSENT, "valueCode": "bogus"}]}},
        "FS423",
        "Patient._birthDate.extension[0].valueCode",
    ),
    (
        "part of another type",
        {
            **PATIENT,
            "extension": [{"url": f"{HL7}patient-nationality", "extension": [{"url": "code", "valueString": "x"}]}],
        },
        "FS423",
        "Patient.extension[0].extension[0].valueString",
    ),
    (
        "part twice",
        {
            **PATIENT,
            "extension": [
                {
                    "url": f"{HL7}patient-nationality",
                    "extension": [{"url": "code", "valueCodeableConcept": {"text": "x"}}] * 2,
                }
            ],
        },
        "FS423",
        "Patient.extension[0].extension",
    ),
    ("no category", {k: v for k, v in WEIGHT.items() if k != "category"}, "FS433", "Observation.category"),
    (
        "no code of the profile",
        {**WEIGHT, "code": {"coding": [{"system": "http://loinc.org", "code": "1-1"}]}},
        "FS433",
        "Observation.code.coding",
    ),
    (
        "unit of another kind",
        {**WEIGHT, "valueQuantity": {**WEIGHT["valueQuantity"], "code": "m"}},  # type: ignore[dict-item]
        "FS433",
        "Observation.valueQuantity.code",
    ),
    (
        "profile of another type",
        {**PATIENT, "meta": {"profile": [f"{HL7}bodyweight"]}},
        "FS433",
        "Patient.meta.profile",
    ),
    (
        "the definition of another type",
        {**PATIENT, "meta": {"profile": [f"{HL7}Observation|4.0.1"]}},
        "FS433",
        "Patient.meta.profile",
    ),
    (
        "an extension of elements of definitions",
        {"resourceType": "Library", "extension": [{"url": f"{HL7}entryFormat", "valueString": "a"}]},
        "FS429",
        "Library.extension[0]",
    ),
    ("profile that FHIR has not", {**PATIENT, "meta": {"profile": [f"{HL7}bogus"]}}, "FS433", "Patient.meta.profile"),
    ("unknown profile", {**PATIENT, "meta": {"profile": ["http://e.org/x"]}}, "FS434", "Patient.meta.profile"),
]


@pytest.mark.parametrize("fault", FAULTS, ids=[each[0] for each in FAULTS])
def test_a_fault_is_found(fault: tuple[str, dict[str, Any], str, str]) -> None:
    _, resource, code, path = fault
    assert (path, code) in [(where, found) for where, found, _ in check(resource, full=True)]


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize(
    "resource",
    [
        WEIGHT,
        {**PATIENT, "extension": [{"url": f"{HL7}patient-birthPlace", "valueAddress": {"city": "X"}}]},
        {**PATIENT, "_birthDate": {"extension": [ABSENT]}},
        {**OBSERVATION, "category": [{"coding": [{"system": f"{THO}observation-category", "code": "laboratory"}]}]},
        {**OBSERVATION, "interpretation": [{"text": "high"}]},
        {**PATIENT, "extension": [{"url": "http://example.org/own", "valueString": "x"}]},
        {**PATIENT, "meta": {"profile": [f"{HL7}Patient|4.0.1", f"{HL7}DomainResource"]}},
    ],
    ids=["profile", "extension", "companion", "known code", "text", "own extension", "own type"],
)
def test_what_is_right_passes(resource: dict[str, Any], release: Release) -> None:
    assert check(resource, release, full=True) == []


def _recorded(part: dict[str, Any]) -> dict[str, Any]:
    parts = [{"url": "value", "valueCodeableConcept": {"text": "F"}}, part]
    return {**PATIENT, "extension": [{"url": f"{HL7}individual-recordedSexOrGender", "extension": parts}]}


def test_extensions_of_r5_are_judged_by_the_definitions_of_its_time() -> None:
    """A later version of the package wants a CodeableConcept or a Reference here."""
    document = {"concept": {"text": "passport"}}
    right = _recorded({"url": "sourceDocument", "valueCodeableReference": document})
    wrong = _recorded({"url": "sourceDocument", "valueCodeableConcept": document["concept"]})
    assert check(right, "R5") == []
    assert [code for _, code, _ in check(wrong, "R5")] == ["FS423"]


@pytest.mark.parametrize(("code", "expected"), [("NSIS", []), ("NMTH", ["FS423"])])
def test_bindings_of_extensions_are_judged_by_value_sets_of_their_package(code: str, expected: list[str]) -> None:
    coding = {"system": f"{THO}v3-RoleCode", "code": code}
    relation = {"url": "type", "valueCodeableConcept": {"coding": [coding]}}
    other = {"url": "reference", "valueReference": {"reference": "FamilyMemberHistory/f"}}
    history = {
        "resourceType": "FamilyMemberHistory",
        "status": "completed",
        "patient": {"reference": "Patient/p"},
        "relationship": {"text": "sister"},
        "extension": [{"url": f"{HL7}family-member-history-genetics-sibling", "extension": [relation, other]}],
    }
    assert [found for _, found, _ in check(history, "R5")] == expected


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize(
    ("language", "expected"),
    [
        ({"coding": [{"system": "http://example.org/languages", "code": "de"}]}, ["FS417"]),
        ({"coding": [{"system": "urn:ietf:bcp:47", "code": "nn-NO"}]}, []),
    ],
    ids=["other system", "no common language"],
)
def test_languages_are_language_tags(language: dict[str, Any], expected: list[str], release: Release) -> None:
    found = check({**PATIENT, "communication": [{"language": language}]}, release)
    assert [code for _, code, _ in found] == expected


@pytest.mark.parametrize("release", RELEASES)
def test_a_list_of_systems_is_none(release: Release) -> None:
    coding = {"system": ["urn:ietf:bcp:47"], "code": "de"}
    found = check({**PATIENT, "communication": [{"language": {"coding": [coding]}}]}, release)
    assert "FS414" in [code for _, code, _ in found]


def test_a_language_may_be_a_text_where_tags_are_preferred() -> None:
    assert check({**PATIENT, "communication": [{"language": {"text": "Deutsch"}}]}, "R4") == []


@pytest.mark.parametrize(("name", "value", "fits"), [("status", "final", True), ("effectiveDateTime", "2020", False)])
def test_a_special_primitive_type_may_have_the_extensions_of_the_general_one(name: str, value: str, fits: bool) -> None:
    of_strings = {"url": f"{HL7}iso21090-SC-coding", "valueCoding": {"display": "a"}}
    found = check({**OBSERVATION, name: value, f"_{name}": {"extension": [of_strings]}})
    assert ("FS429" not in [code for _, code, _ in found]) == fits


def test_an_extension_of_the_value_of_another_one_is_found_elsewhere() -> None:
    derived = {"url": f"{HL7}structuredefinition-conformance-derivedFrom", "valueCanonical": "http://example.org/b"}
    level = {"url": f"{HL7}structuredefinition-fmm", "valueInteger": 1, "_valueInteger": {"extension": [derived]}}
    structure = {"resourceType": "ValueSet", "status": "draft", "extension": [level]}
    assert [code for _, code, _ in check(structure, "R5")] == []
    assert [(path, code) for path, code, _ in check({**structure, "extension": [derived]}, "R5")] == [
        ("ValueSet.extension[0]", "FS429")
    ]
