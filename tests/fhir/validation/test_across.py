"""What is seen across the resources of a set: ids that occur twice, references that lead nowhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fhirspace.fhir.validation import hashes
from fhirspace.fhir.validation.check import check, compiled
from fhirspace.fhir.validation.quick import Quick, sound
from fhirspace.fhir.validation.validate import validate

PATIENT = {"resourceType": "Patient", "id": "p"}
UCUM = "http://unitsofmeasure.org"
PART = {"url": "p", "valueString": "x"}
AMOUNT = {"url": "q", "valueQuantity": {"value": 5.5, "unit": "mmol/L"}}
NO_AMOUNT = {"url": "q", "valueQuantity": {"value": "5", "unit": "mmol/L"}}
OBSERVATION = {"resourceType": "Observation", "id": "o", "status": "final", "code": {"text": "x"}}


def of(reference: str, identity: str = "o") -> dict[str, Any]:
    return {**OBSERVATION, "id": identity, "subject": {"reference": reference}}


def visit(patient: str, identity: str = "e") -> dict[str, Any]:
    kind = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"}
    subject = {"reference": f"Patient/{patient}"}
    return {"resourceType": "Encounter", "id": identity, "status": "finished", "class": kind, "subject": subject}


def at(visit: str, *subjects: str, identity: str = "o") -> dict[str, Any]:
    first, *others = [{"reference": f"Patient/{name}"} for name in subjects]
    more = {"performer": others} if others else {}
    return {**OBSERVATION, "id": identity, "subject": first, "encounter": {"reference": f"Encounter/{visit}"}, **more}


def enrolled(patient: str, study: str) -> dict[str, Any]:
    of_one = {"individual": {"reference": f"Patient/{patient}"}, "study": {"reference": f"ResearchStudy/{study}"}}
    return {"resourceType": "ResearchSubject", "id": f"{patient}-{study}", "status": "candidate", **of_one}


def part_of(study: str, patient: str) -> dict[str, Any]:
    text = {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">x</div>'}
    focus = [{"reference": f"ResearchStudy/{study}"}]
    return {**of(f"Patient/{patient}"), "text": text, "focus": focus}


PEOPLE = [{"resourceType": "Patient", "id": name} for name in "pq"]
STUDIES = [{"resourceType": "ResearchStudy", "id": name, "status": "active"} for name in "st"]
SUBJECTS: list[tuple[str, dict[str, list[dict[str, Any]]], list[tuple[str, str, int | None, str | None]]]] = [
    ("a visit of the same patient", {"a.ndjson": [*PEOPLE, visit("p"), at("e", "p")]}, []),
    (
        "a visit of another patient",
        {"a.ndjson": [*PEOPLE, at("e", "q"), visit("p"), at("e", "q", identity="o2")]},
        [("FS452", "a.ndjson", 3, "Observation")],
    ),
    (
        "with versions",
        {"a.ndjson": [*PEOPLE, visit("p/_history/2"), at("e/_history/1", "q")]},
        [("FS452", "a.ndjson", 4, "Observation")],
    ),
    ("two patients in one resource", {"a.ndjson": [*PEOPLE, visit("p"), at("e", "q", "p")]}, []),
    ("the study of the patient", {"a.ndjson": [*PEOPLE, *STUDIES, enrolled("p", "s"), part_of("s", "p")]}, []),
    (
        "in both studies",
        {"a.ndjson": [*PEOPLE, *STUDIES, part_of("t", "p"), enrolled("p", "s"), enrolled("p", "t")]},
        [],
    ),
    ("enrolled nowhere", {"a.ndjson": [*PEOPLE, *STUDIES, enrolled("q", "s"), part_of("t", "p")]}, []),
    (
        "another study",
        {"a.ndjson": [*PEOPLE, *STUDIES, part_of("t", "p"), enrolled("p", "s")]},
        [("FS453", "a.ndjson", 5, "Observation")],
    ),
]


def found(path: Path) -> list[tuple[str, str, int | None, str | None]]:
    return [(each.code, each.place.file, each.place.row, each.place.column) for each in validate([path])]


CASES: list[tuple[str, dict[str, list[dict[str, Any]]], list[tuple[str, str, int | None, str | None]]]] = [
    ("resolved", {"a.ndjson": [of("Patient/p")], "b.ndjson": [PATIENT]}, []),
    ("resolved with a version", {"a.ndjson": [of("Patient/p/_history/1"), PATIENT]}, []),
    ("elsewhere", {"a.ndjson": [of("https://ehr.example/fhir/Patient/p")]}, []),
    ("by search", {"a.ndjson": [of("Patient?identifier=x")]}, []),
    ("one resource alone", {"a.json": [of("Patient/none")]}, []),
    ("dangling", {"a.ndjson": [of("Patient/none")]}, [("FS435", "a.ndjson", 1, "Observation")]),
    (
        "each dangling reference once",
        {"a.ndjson": [of("Patient/none"), of("Patient/none", "o2"), of("Patient/other", "o3")]},
        [("FS435", "a.ndjson", 1, "Observation"), ("FS435", "a.ndjson", 3, "Observation")],
    ),
    (
        "urn without a bundle",
        {"a.ndjson": [of("urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0")]},
        [("FS435", "a.ndjson", 1, "Observation")],
    ),
    ("twice in a file", {"a.ndjson": [PATIENT, PATIENT]}, [("FS436", "a.ndjson", 2, "Patient.id")]),
    ("twice in two files", {"a.ndjson": [PATIENT], "b.json": [PATIENT]}, [("FS436", "b.json", None, "Patient.id")]),
    (
        "more types than FHIR has",
        {"a.ndjson": [*({"resourceType": f"X{at}", "id": "p"} for at in range(256)), PATIENT, PATIENT]},
        [
            *(("FS410", "a.ndjson", at, "resourceType") for at in range(1, 257)),
            ("FS436", "a.ndjson", 258, "Resource.id"),
        ],
    ),
    ("one id, two types", {"a.ndjson": [PATIENT, {**OBSERVATION, "id": "p"}]}, []),
    *SUBJECTS,
    (
        "in a bundle",
        {
            "a.json": [
                {
                    "resourceType": "Bundle",
                    "type": "collection",
                    "entry": [{"fullUrl": "http://e.org/fhir/Patient/p", "resource": PATIENT}],
                }
            ],
            "b.ndjson": [of("Patient/p")],
        },
        [],
    ),
]


@pytest.mark.parametrize("case", CASES, ids=[each[0] for each in CASES])
@pytest.mark.parametrize("room", [0, 30, hashes._ROOM])
def test_what_is_seen_across_resources(
    tmp_path: Path, room: int, case: tuple[str, dict[str, Any], list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hashes, "_ROOM", room)
    _, files, expected = case
    for name, resources in files.items():
        (tmp_path / name).write_text("\n".join(map(json.dumps, resources)), "utf-8")
    assert found(tmp_path) == expected


@pytest.mark.parametrize(
    ("extension", "right"),
    [
        ([{"url": "http://e.org/x", "extension": [{"url": f"p{at}", "valueString": "x"} for at in range(9)]}], True),
        ([{"url": "x", "extension": [{"url": f"p{at}", "valueString": "x"} for at in range(9)]}], False),
        ([{"url": "http://e.org/x", "extension": [{"url": f"p{at}", "valueString": ""} for at in range(9)]}], False),
        ([{"url": "http://e.org/x", "extension": [{"url": f"p{at}", "valueStrin": "x"} for at in range(9)]}], False),
        ([{"url": "http://e.org/x", "extension": [{"url": "p", "valueString": "x\u0001"}] * 9}], False),
        ([{"url": "http://e.org/x", "extension": [{"url": "p", "valueString": "x", "valueCode": "y"}] * 9}], False),
    ],
)
def test_long_extensions_are_judged_alike_on_both_ways(extension: Any, right: bool) -> None:
    resource = {**PATIENT, "extension": extension}
    line = json.dumps(resource, separators=(",", ":")).encode()
    assert sound(line, "R4") is right
    assert (check(resource) == []) is right


NAMES: list[tuple[str, dict[str, Any], list[str]]] = [
    ("two items", {"name": [{"id": "a", "family": "x"}, {"id": "a", "family": "y"}]}, ["Patient.name[1].id"]),
    (
        "two members",
        {"name": [{"id": "a", "text": "x"}], "photo": [{"id": "a", "title": "y"}]},
        ["Patient.photo[0].id"],
    ),
    ("a companion", {"birthDate": "2000", "_birthDate": {"id": "a"}, "name": [{"id": "a"}]}, ["Patient.name[0].id"]),
    ("nested", {"contact": [{"id": "a", "name": {"id": "a", "text": "x"}}]}, ["Patient.contact[0].name.id"]),
    ("other ids", {"name": [{"id": "a", "family": "x"}, {"id": "b", "family": "y"}]}, []),
    ("the id of the resource", {"name": [{"id": "p", "family": "x"}]}, []),
    (
        "a contained resource has ids of its own",
        {
            "name": [{"id": "a", "family": "x"}],
            "contained": [{"resourceType": "Organization", "id": "o", "alias": ["x"], "contact": [{"id": "a"}]}],
            "managingOrganization": {"reference": "#o"},
        },
        [],
    ),
    (
        "twice in a contained resource",
        {
            "contained": [{"resourceType": "Organization", "id": "o", "name": "x", "contact": [{"id": "a"}] * 2}],
            "managingOrganization": {"reference": "#o"},
        },
        ["Patient.contained[0].contact[1].id"],
    ),
]


@pytest.mark.parametrize("case", NAMES, ids=[each[0] for each in NAMES])
def test_ids_of_elements_are_unique_within_a_resource(case: tuple[str, dict[str, Any], list[str]]) -> None:
    _, members, expected = case
    resource = {**PATIENT, **members}
    found = [path for path, _, text in check(resource) if text.startswith("an id that no other element")]
    assert found == expected
    assert not expected or not sound(json.dumps(resource, separators=(",", ":")).encode(), "R4")


def _coded(value: object, unit: str, code: str, system: str = UCUM) -> dict[str, Any]:
    """Extensions of our own with amounts that have a code."""
    amount = {"value": value, "unit": unit, **({"system": system} if system else {}), "code": code}
    return {"extension": [{"url": "http://e.org/x", "extension": [PART, {"url": "q", "valueQuantity": amount}] * 3}]}


MASKED: list[tuple[str, dict[str, Any], bool]] = [
    ("an identifier", {"identifier": [{"system": "http://e.org/a", "value": "1"}]}, True),
    ("another of the system", {"identifier": [{"system": "http://e.org/a", "value": "2"}]}, True),
    ("a relative system", {"identifier": [{"system": "a", "value": "2"}]}, False),
    ("an empty identifier", {"identifier": [{"system": "http://e.org/a", "value": ""}]}, False),
    ("a URI", {"identifier": [{"system": "urn:ietf:rfc:3986", "value": "urn:oid:1.2.3"}]}, True),
    ("no URI", {"identifier": [{"system": "urn:ietf:rfc:3986", "value": "1"}]}, False),
    ("a quantity", {"valueQuantity": {"value": 1, "unit": "mg", "system": UCUM, "code": "mg"}}, True),
    ("another quantity", {"valueQuantity": {"value": -0.50, "unit": "mg", "system": UCUM, "code": "mg"}}, True),
    ("an unknown unit", {"valueQuantity": {"value": 1, "unit": "mg", "system": UCUM, "code": "grams!"}}, False),
    ("a text for a number", {"valueQuantity": {"value": "1", "unit": "mg"}}, False),
    ("own parts", {"extension": [{"url": "http://e.org/x", "extension": [PART] * 9}]}, True),
    ("own parts with amounts", {"extension": [{"url": "http://e.org/x", "extension": [PART, AMOUNT] * 9}]}, True),
    ("coded amounts", _coded(5.5, "mg", "mg"), True),
    ("other amounts of the code", _coded(-0.1, "milligram", "mg"), True),
    ("another code", _coded(5.5, "mg", "grams!"), False),
    ("a code without system", _coded(5.5, "mg", "mg", system=""), False),
    ("a coded text for a number", _coded("5.5", "mg", "mg"), False),
    ("no address", {"extension": [{"url": "x", "extension": [PART] * 9}]}, False),
    ("an address with blanks", {"extension": [{"url": "http://e.org/ x", "extension": [PART] * 9}]}, False),
    ("an amount that is a text", {"extension": [{"url": "http://e.org/x", "extension": [PART, NO_AMOUNT] * 9}]}, False),
]


def test_parts_that_may_be_anything_are_not_judged_again_and_all_others_are() -> None:
    """All in one run: what passes must not let pass what comes after it."""
    quick = Quick(compiled("R4"))
    for _ in range(2):
        for name, more, right in MASKED:
            resource = {**OBSERVATION, **more}
            assert (name, check(resource) == []) == (name, right)
            line = json.dumps(resource, separators=(",", ":")).encode()
            assert (name, quick.sound(line)) == (name, right)
