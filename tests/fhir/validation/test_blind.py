"""Which profiles are judged once for all resources that are alike, and what is counted of the others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec.json import encode

from fhirspace.fhir.validation.structures.blind import blind, looks_at_nothing
from fhirspace.fhir.validation.structures.registry import registry
from fhirspace.standards.hl7.structures import reduced
from fhirspace.study.validate import validate

URL = "http://example.org/fhir/StructureDefinition/own"
CODE = {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]}
NOTHING = [
    "component.empty() implies value.exists()",
    "status = 'final' or status='amended'",
    "code.coding.where(code in '72166-2'|'11367-0').exists() implies value.is(CodeableConcept)",
    "ofType(Quantity).system.empty() or ofType(Quantity).system = 'http://unitsofmeasure.org'",
    "$this is dateTime implies $this.toString().length() >= 10",
    "($this as dateTime).toString().length() >= 8",
    "comparator.empty()",
]
SOMETHING = [
    "value > 5",
    "value.toString().length() >= 10",
    "$this is dateTime implies $this.toString().length() >= 25",
    "effective = issued",
    "issued < effective",
    "issued = '2015-08-13T16:14:21Z'",
    "identifier.where(value = 'a').exists()",
    "identifier.value.matches('[0-9]+')",
    "subject.display.contains('a')",
    "subject.reference.startsWith('Patient')",
    "code.coding.display = 'a'",
    "performer.isDistinct()",
    "who.resolve() is Patient",
    "item.sequence = 1",
    "issued <= now()",
    "id = 'a'",
]
ELEMENTS: list[tuple[dict[str, Any], bool]] = [
    ({"path": "Observation.value[x]", "patternQuantity": {"system": "http://unitsofmeasure.org", "code": "kg"}}, True),
    ({"path": "Observation.value[x]", "patternQuantity": {"value": 5}}, False),
    ({"path": "Observation.code", "patternCodeableConcept": CODE}, True),
    ({"path": "Observation.code", "patternCodeableConcept": {"coding": [{"code": "a", "display": "b"}]}}, False),
    ({"path": "Observation.effective[x]", "fixedDateTime": "2015-08-13T16:14:21Z"}, False),
    ({"path": "Observation.identifier.value", "fixedString": "a"}, False),
    ({"path": "Observation.subject.display", "maxLength": 5}, False),
    ({"path": "Observation.subject.display", "min": 1}, True),
    ({"path": "Observation.status", "fixedCode": "final"}, True),
]


def profile(**element: Any) -> dict[str, Any]:
    return {
        "resourceType": "StructureDefinition",
        "url": URL,
        "type": "Observation",
        "derivation": "constraint",
        "baseDefinition": "http://hl7.org/fhir/StructureDefinition/Observation",
        "differential": {"element": [{"id": element["path"], **element}]},
    }


def is_blind(definition: dict[str, Any], other: dict[str, Any] | None = None) -> bool:
    known = {other["url"]: reduced(other)} if other else {}
    return blind(reduced(definition), lambda url: known.get(url) or registry("R4").find(url), lambda key: False)


@pytest.mark.parametrize("expression", NOTHING)
def test_an_invariant_that_asks_whether_something_is_there_or_one_of_some_texts(expression: str) -> None:
    assert looks_at_nothing(expression)
    assert is_blind(profile(path="Observation", constraint=[constraint(expression)]))


@pytest.mark.parametrize("expression", SOMETHING)
def test_an_invariant_that_asks_for_more(expression: str) -> None:
    assert not looks_at_nothing(expression)
    assert not is_blind(profile(path="Observation", constraint=[constraint(expression)]))


def constraint(expression: str) -> dict[str, Any]:
    return {"key": "own-1", "severity": "error", "expression": expression}


@pytest.mark.parametrize(("element", "expected"), ELEMENTS)
def test_what_a_structure_fixes(element: dict[str, Any], expected: bool) -> None:
    assert is_blind(profile(**element)) is expected


def test_what_the_profile_of_a_data_type_fixes() -> None:
    five = {**profile(path="Quantity.value", fixedDecimal=5), "url": f"{URL}-amount", "type": "Quantity"}
    kilograms = {**five, "differential": {"element": [{"id": "Quantity.code", "path": "Quantity.code", "min": 1}]}}
    definition = profile(path="Observation.value[x]", type=[{"code": "Quantity", "profile": [five["url"]]}])
    assert is_blind(definition, kilograms)
    assert not is_blind(definition, five)


def test_an_invariant_of_a_value_that_may_be_left_out_is_judged_each_time() -> None:
    assert not is_blind(profile(path="Observation.identifier.value", constraint=[constraint("$this = 'a'")]))


def lines(*members: dict[str, Any]) -> bytes:
    whole = {"resourceType": "Observation", "meta": {"profile": [URL]}, "status": "final", "code": CODE}
    return b"".join(encode({**whole, **each}) + b"\n" for each in members)


def findings(tmp_path: Path, definition: dict[str, Any], *members: dict[str, Any]) -> list[tuple[str, int | None, str]]:
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "own.json").write_text(json.dumps(definition), encoding="utf-8")
    (tmp_path / "o.ndjson").write_bytes(lines(*members))
    found = validate([tmp_path / "o.ndjson"], profile=[tmp_path / "package"])
    return [(each.code, each.place.row, each.detail) for each in found]


def test_resources_that_are_alike_are_counted_and_found_all_the_same(tmp_path: Path) -> None:
    definition = profile(path="Observation.value[x]", min=1, mustSupport=True)
    definition["differential"]["element"].append(
        {"id": "Observation.method", "path": "Observation.method", "mustSupport": True}
    )
    amounts = [{"valueQuantity": {"value": number, "unit": "kg"}} for number in (1, 2, 3)]
    found = findings(tmp_path, definition, *amounts, {}, {})
    assert [(code, row) for code, row, _ in found] == [("FS433", 4), ("FS433", 5), ("FS428", None)]
    assert found[2][2].startswith("1 of 2, in 5 resources")


def test_a_value_that_a_profile_fixes_is_judged_each_time(tmp_path: Path) -> None:
    definition = profile(path="Observation.value[x]", patternQuantity={"value": 5})
    amounts = [{"valueQuantity": {"value": number, "unit": "kg"}} for number in (5, 6, 5, 7)]
    assert [row for _, row, _ in findings(tmp_path, definition, *amounts)] == [2, 4]


def test_what_is_beside_the_values_is_judged_each_time(tmp_path: Path) -> None:
    definition = profile(path="Observation.subject.display", min=1)
    subjects = [{"subject": {"reference": f"Patient/{at}", **more}} for at, more in enumerate(({"display": "a"}, {}))]
    found = findings(tmp_path, definition, *subjects, *subjects)
    assert [row for code, row, _ in found if code == "FS433"] == [2, 4]
