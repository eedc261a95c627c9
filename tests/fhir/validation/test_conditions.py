"""Conditions on where an extension may be used (contextInvariant): FHIRPath over the element that has it."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.json import encode

from fhirspace.fhir.validation.check import check
from fhirspace.fhir.validation.quick import sound
from fhirspace.standards.fhir import RELEASES, Release

HL7 = "http://hl7.org/fhir/StructureDefinition/"


def _item(name: str, value: dict[str, Any], **item: Any) -> dict[str, Any]:
    extension = {"url": f"{HL7}questionnaire-{name}", **value}
    inner = {"linkId": "1.1", "text": "x", **item, "extension": [extension]}
    outer = {"linkId": "1", "text": "y", "type": "group", "item": [inner]}
    return {"resourceType": "Questionnaire", "status": "draft", "item": [outer]}


def _list(mode: str) -> dict[str, Any]:
    extension = {"url": f"{HL7}list-changeBase", "valueReference": {"reference": "List/before"}}
    return {"resourceType": "List", "status": "current", "mode": mode, "extension": [extension]}


MOST, LEAST = {"valueInteger": 3}, {"valueInteger": 0}
CASES: list[tuple[str, dict[str, Any], bool]] = [
    ("several answers", _item("maxOccurs", MOST, type="string", repeats=True), True),
    ("several answers of one", _item("maxOccurs", MOST, type="string", repeats=False), False),
    ("several displays", _item("maxOccurs", MOST, type="display"), False),
    ("by a name that is none in FHIRPath", _item("maxOccurs", {"valueInteger": 1}, type="string"), False),
    ("fewest answers", _item("minOccurs", LEAST, type="string", required=True), True),
    ("fewest answers of an optional item", _item("minOccurs", LEAST, type="string"), False),
    ("step of a number", _item("sliderStepValue", {"valueInteger": 1}, type="integer"), True),
    ("step of a text", _item("sliderStepValue", {"valueInteger": 1}, type="string"), False),
    ("base of changes", _list("changes"), True),
    ("base of a snapshot", _list("snapshot"), False),
]


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize(("resource", "right"), [each[1:] for each in CASES], ids=[each[0] for each in CASES])
def test_an_extension_is_used_where_its_condition_holds(
    resource: dict[str, Any], right: bool, release: Release
) -> None:
    assert [code for _, code, _ in check(resource, release)] == ([] if right else ["FS429"])
    assert right or not sound(encode(resource), release)


def test_the_finding_names_the_extension_and_the_condition() -> None:
    [(path, _, expected)] = check(_list("snapshot"), "R4")
    assert path == "List.extension[0]"
    assert expected == "an element of which this is true: mode = 'changes'"


def test_the_condition_is_that_of_the_contained_resource() -> None:
    inner = {**_list("changes"), "id": "i"}
    outer = {**_list("snapshot"), "contained": [inner], "extension": [], "note": [{"text": "x"}]}
    outer["entry"] = [{"item": {"reference": "#i"}}]
    del outer["extension"]
    assert check(outer, "R4") == []
    inner["mode"] = "snapshot"
    assert [path for path, _, _ in check(outer, "R4")] == ["List.contained[0].extension[0]"]
