"""Structures judged by their trees: slices by each kind of discriminator, order, closed slices, patterns."""

from __future__ import annotations

from typing import Any

import pytest

from fhirspace.fhir.validation.structures.registry import Registry
from fhirspace.standards.hl7.structures import reduced

URL = "http://example.org/profile"


def judged(
    elements: list[dict[str, Any]], resource: dict[str, Any], kind: str = "Observation"
) -> list[tuple[str, str]]:
    """Paths and what was expected there."""
    structure = reduced(
        {
            "url": URL,
            "type": kind,
            "baseDefinition": f"http://hl7.org/fhir/StructureDefinition/{kind}",
            "differential": {"element": [{"path": each["id"].split(":")[0], **each} for each in elements]},
        }
    )
    found = Registry("R4", {URL: structure}).judge(resource, URL)
    assert found is not None
    return [(path, expected.partition(": ")[2]) for path, _, expected in found]


def sliced(path: str, *discriminators: tuple[str, str], rules: str = "open", ordered: bool = False) -> dict[str, Any]:
    found = [{"type": kind, "path": where} for kind, where in discriminators]
    return {"id": path, "slicing": {"discriminator": found, "rules": rules, "ordered": ordered}}


def parts(*systems: str) -> dict[str, Any]:
    return {"component": [{"code": {"coding": [{"system": system, "code": "1"}]}} for system in systems]}


BY_VALUE = [
    sliced("Observation.component", ("value", "code.coding.system"), rules="closed", ordered=True),
    {"id": "Observation.component:a", "min": 1, "max": "1"},
    {"id": "Observation.component:a.code.coding.system", "fixedUri": "http://a"},
    {"id": "Observation.component:b", "max": "1"},
    {"id": "Observation.component:b.code.coding.system", "fixedUri": "http://b"},
]


@pytest.mark.parametrize(
    ("resource", "expected"),
    [
        (parts("http://a"), []),
        (parts("http://a", "http://b"), []),
        (parts("http://b"), [("component", "component:a, which it requires")]),
        (parts("http://a", "http://a"), [("component", "component:a at most 1 times")]),
        (parts("http://a", "http://c"), [("component[1]", "one of a, b")]),
        (parts("http://b", "http://a"), [("component", "slices in the order a, b")]),
    ],
)
def test_slices_by_value(resource: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    assert judged(BY_VALUE, resource) == expected


@pytest.mark.parametrize(
    ("systems", "right"),
    [((), True), (("http://a", "http://c"), True), (("http://c", "http://d"), True), (("http://c", "http://a"), False)],
)
def test_other_values_come_after_the_slices_where_they_have_to(systems: tuple[str, ...], right: bool) -> None:
    by_value = [sliced("Observation.component", ("value", "code.coding.system"), rules="openAtEnd"), BY_VALUE[2]]
    expected = [] if right else [("component", "a before other values")]
    assert judged([*by_value, {"id": "Observation.component:a"}], parts(*systems)) == expected


RESLICED = [
    sliced("Observation.component", ("value", "code.coding.system")),
    {**sliced("", ("type", "value"), rules="closed"), "id": "Observation.component:a", "max": "2"},
    BY_VALUE[2],
    {"id": "Observation.component:a/text", "max": "1"},
    {"id": "Observation.component:a/text.value[x]", "min": 1, "type": [{"code": "string"}]},
    {"id": "Observation.component:a/number", "min": 1},
    {"id": "Observation.component:a/number.value[x]", "min": 1, "type": [{"code": "Quantity"}]},
]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([{"valueQuantity": {}}, {"valueString": "x"}], []),
        ([{"valueString": "x"}], [("component", "component:number, which it requires")]),
        ([{"valueQuantity": {}}, {"valueBoolean": True}], [("component[1]", "one of text, number")]),
        ([{"valueQuantity": {}}] * 3, [("component", "component:a at most 2 times")]),
        ([], [("component", "component:number, which it requires")]),
    ],
    ids=["right", "slice of a slice missing", "closed", "too many", "nothing"],
)
def test_slices_of_slices(values: list[dict[str, Any]], expected: list[tuple[str, str]]) -> None:
    components = [{**part, **value} for part, value in zip(parts(*["http://a"] * 3)["component"], values, strict=False)]
    other = parts("http://b")["component"]
    assert judged(RESLICED, {"component": [*components, *other]}) == expected


PATTERN = {"coding": [{"system": "http://a", "code": "1"}]}


@pytest.mark.parametrize(
    ("elements", "good", "bad"),
    [
        (
            [
                sliced("Observation.category", ("pattern", "$this")),
                {"id": "Observation.category:x", "min": 1, "patternCodeableConcept": PATTERN},
            ],
            {"category": [{"text": "t", **PATTERN}]},
            {"category": [{"text": "t"}]},
        ),
        (
            [
                sliced("Observation.value[x]", ("type", "$this"), rules="closed"),
                {"id": "Observation.value[x]:valueQuantity", "min": 1, "type": [{"code": "Quantity"}]},
            ],
            {"valueQuantity": {"value": 1}},
            {"valueString": "x"},
        ),
        (
            [
                sliced("Observation.component", ("exists", "valueQuantity")),
                {"id": "Observation.component:q", "min": 1},
                {"id": "Observation.component:q.valueQuantity", "min": 1},
            ],
            {"component": [{"valueQuantity": {"value": 1}}]},
            {"component": [{"valueString": "x"}]},
        ),
        (
            [
                sliced("Observation.hasMember", ("type", "resolve()")),
                {"id": "Observation.hasMember:p", "max": "0"},
            ],
            {"hasMember": [{"reference": "Observation/1"}]},
            None,
        ),
        (
            [{"id": "Observation.value[x]", "type": [{"code": "Quantity"}, {"code": "string"}]}],
            {"valueString": "x"},
            {"valueInteger": 1},
        ),
        (
            [
                {
                    "id": "Observation.subject",
                    "type": [{"code": "Reference", "targetProfile": ["http://hl7.org/fhir/StructureDefinition/Group"]}],
                }
            ],
            {"subject": {"reference": "Group/1"}},
            {"subject": {"reference": "Patient/1"}},
        ),
        (
            [{"id": "Observation.valueString", "maxLength": 2, "min": 1}],
            {"valueString": "ab"},
            {"valueString": "abc"},
        ),
        (
            [
                sliced("Observation.extension", ("value", "url")),
                {
                    "id": "Observation.extension:own",
                    "min": 1,
                    "type": [{"code": "Extension", "profile": ["http://example.org/own"]}],
                },
            ],
            {"extension": [{"url": "http://example.org/own", "valueString": "x"}]},
            {"extension": [{"url": "http://example.org/other", "valueString": "x"}]},
        ),
    ],
    ids=["pattern", "type", "exists", "resolve", "types", "target", "length", "extension"],
)
def test_each_kind_of_rule(elements: list[dict[str, Any]], good: dict[str, Any], bad: dict[str, Any] | None) -> None:
    assert judged(elements, good) == []
    if bad is not None:
        assert judged(elements, bad)


def test_a_differential_adds_to_its_base() -> None:
    base = reduced(
        {"url": "http://e/base", "type": "Patient", "differential": {"element": [{"path": "Patient.name", "min": 1}]}}
    )
    own = reduced(
        {
            "url": URL,
            "type": "Patient",
            "baseDefinition": "http://e/base",
            "differential": {"element": [{"path": "Patient.name", "max": "1"}, {"path": "Patient.active", "min": 1}]},
        }
    )
    known = Registry("R4", {URL: own, "http://e/base": base})
    assert [path for path, _, _ in known.judge({"resourceType": "Patient"}, URL) or ()] == ["name", "active"]
    assert [path for path, _, _ in known.judge({"name": [{}, {}], "active": True}, URL) or ()] == ["name"]


@pytest.mark.parametrize(
    ("element", "expression", "right", "wrong"),
    [
        ("effective[x]", "$this is dateTime implies toString().length() >= 10", "2020-02-03", "2020"),
        ("status", "$this != 'final' or %resource.issued.exists()", "preliminary", "final"),
        ("identifier", "value.toInteger() mod 7 = 3", [{"value": "17"}], [{"value": "18"}]),
        ("identifier", "value.toInteger() div 7 = 2", [{"value": "20"}], [{"value": "21"}]),
        ("value[x]", "coding.exists()", {"coding": [{"code": "x"}]}, {"text": "x"}),
        ("value[x]", "$this is CodeableConcept", {"text": "x"}, None),
        ("component", "value.exists()", [{"valueString": "x"}], [{"code": {"text": "x"}}]),
    ],
    ids=["primitive", "resource", "mod", "div", "choice", "choice of several types", "group"],
)
def test_invariants_of_elements(element: str, expression: str, right: Any, wrong: Any) -> None:
    """On values of all kinds, with the type that a value has and the resource around it."""
    constraint = {"key": "own-1", "severity": "error", "human": "own", "expression": expression}
    rule = {"id": f"Observation.{element}", "path": f"Observation.{element}", "constraint": [constraint]}
    types = [{"code": "dateTime"}] if element == "effective[x]" else [{"code": "Quantity"}, {"code": "CodeableConcept"}]
    elements = [{**rule, "type": types} if element.endswith("[x]") else rule]
    name = {"effective[x]": "effectiveDateTime", "value[x]": "valueCodeableConcept"}.get(element, element)
    known = Registry("R4", {URL: reduced({"url": URL, "type": "Observation", "differential": {"element": elements}})})
    found = [
        known.by_profile({"resourceType": "Observation", name: each}, "Observation", URL) for each in (right, wrong)
    ]
    assert [[code for _, code, _ in each] for each in found] == [[], [] if wrong is None else ["FS424"]]
