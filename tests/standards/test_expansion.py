"""Value sets expanded: filters, includes, exclusions, value sets within value sets, and expansions that came along."""

from __future__ import annotations

from typing import Any

import pytest

from fhirspace.standards.hl7.expansion import Expansions
from fhirspace.standards.hl7.filters import filtered
from fhirspace.standards.hl7.terms import UNLISTED, WHOLE

S, T, FAR = "http://example.org/s", "http://example.org/t", "http://example.org/far"
SYSTEM: dict[str, Any] = {
    "content": "complete",
    "property": [{"code": "never", "type": "string"}],
    "concept": [
        {
            "code": "A",
            "display": "Alpha",
            "concept": [
                {"code": "A1", "property": [{"code": "scale", "valueString": "Qn"}]},
                {"code": "A2", "concept": [{"code": "A21"}], "property": [{"code": "old", "valueBoolean": True}]},
            ],
        },
        {
            "code": "B",
            "property": [{"code": "scale", "valueCoding": {"code": "Ord"}}, {"code": "rank", "valueInteger": 2}],
        },
        {"code": "C", "property": [{"code": "parent", "valueCode": "B"}]},
    ],
}
EVERY = {"A", "A1", "A2", "A21", "B", "C"}
FILTERS: list[tuple[str, str, str, set[str] | None]] = [
    ("concept", "is-a", "A", {"A", "A1", "A2", "A21"}),
    ("concept", "is-a", "B", {"B", "C"}),
    ("concept", "is-a", "none", set()),
    ("code", "descendent-of", "A", {"A1", "A2", "A21"}),
    ("concept", "is-not-a", "A", {"B", "C"}),
    ("concept", "child-of", "A", {"A1", "A2"}),
    ("concept", "descendent-leaf", "A", {"A1", "A21"}),
    ("concept", "generalizes", "A21", {"A", "A2", "A21"}),
    ("parent", "=", "B", {"C"}),
    ("code", "=", "B", {"B"}),
    ("scale", "=", "Qn", {"A1"}),
    ("scale", "=", "Ord", {"B"}),
    ("rank", "=", "2", {"B"}),
    ("old", "=", "true", {"A2"}),
    ("old", "=", "false", EVERY - {"A2"}),
    ("scale", "in", "Ord, Qn", {"A1", "B"}),
    ("scale", "not-in", "Ord,Nom", EVERY - {"B"}),
    ("scale", "exists", "true", {"A1", "B"}),
    ("scale", "exists", "false", EVERY - {"A1", "B"}),
    ("never", "exists", "true", set()),
    ("display", "=", "Alpha", {"A"}),
    ("code", "regex", "A[0-9]", {"A1", "A2"}),
    ("code", "regex", "(A+)+!", set()),
    ("scale", "regex", "Q.", {"A1"}),
    ("code", "regex", "(", None),
    ("code", "regex", r"(A)\1", None),
    ("unheard", "=", "x", None),
    ("concept", "unheard", "A", None),
    ("scale", "is-a", "Qn", None),
]


@pytest.mark.parametrize(("name", "operator", "value", "expected"), FILTERS)
def test_a_filter(name: str, operator: str, value: str, expected: set[str] | None) -> None:
    assert filtered(SYSTEM, {"property": name, "op": operator, "value": value}) == expected


def item(**about: Any) -> dict[str, Any]:
    return {"system": S, **about}


def codes(*names: str, system: str = S) -> dict[str, Any]:
    return {"system": system, "concept": [{"code": name} for name in names]}


BELOW_A = item(filter=[{"property": "concept", "op": "descendent-of", "value": "A"}])
TWICE = item(filter=[*BELOW_A["filter"], {"property": "code", "op": "regex", "value": ".1"}])
PAGE = {"total": 9, "contains": [{"system": FAR, "code": "x"}]}
WHOLE_PAGE = {"contains": [{"system": FAR, "code": "x", "abstract": True, "contains": [{"system": FAR, "code": "y"}]}]}
LIMITED = {**WHOLE_PAGE, "parameter": [{"name": "limitedExpansion", "valueBoolean": True}]}
SETS: list[tuple[str, dict[str, Any], Any]] = [
    ("codes", {"compose": {"include": [codes("B", "A")]}}, {S: ["A", "B"]}),
    ("whole", {"compose": {"include": [item()]}}, {S: WHOLE}),
    ("two filters", {"compose": {"include": [TWICE]}}, {S: ["A1"]}),
    ("two systems", {"compose": {"include": [codes("A"), codes("1", system=T)]}}, {S: ["A"], T: ["1"]}),
    ("one twice", {"compose": {"include": [codes("A"), codes("B")]}}, {S: ["A", "B"]}),
    ("excluded codes", {"compose": {"include": [BELOW_A], "exclude": [codes("A1")]}}, {S: ["A2", "A21"]}),
    ("excluded of all", {"compose": {"include": [item()], "exclude": [BELOW_A]}}, {S: ["A", "B", "C"]}),
    ("all excluded", {"compose": {"include": [codes("A")], "exclude": [item()]}}, {S: []}),
    ("nested", {"compose": {"include": [{"valueSet": ["http://inner"]}]}}, {S: ["A", "A1"]}),
    ("both", {"compose": {"include": [{"valueSet": ["http://inner|1"], **BELOW_A}]}}, {S: ["A1"]}),
    ("two sets", {"compose": {"include": [{"valueSet": ["http://inner", "http://other"]}]}}, {S: ["A"]}),
    ("set excluded", {"compose": {"include": [BELOW_A], "exclude": [{"valueSet": ["http://inner"]}]}}, {S: ["A2", "A21"]}),
    ("itself", {"compose": {"include": [{"valueSet": ["http://x"]}]}}, None),
    ("a set that nobody knows", {"compose": {"include": [{"valueSet": ["http://none"]}]}}, None),
    ("far", {"compose": {"include": [item(system=FAR)]}}, {FAR: UNLISTED}),
    ("far excluded", {"compose": {"include": [item(system=FAR), codes("A")], "exclude": [codes("1", system=FAR)]}},
     {FAR: UNLISTED, S: ["A"]}),
    ("some far ones excluded", {"compose": {"include": [codes("1", "2", system=FAR)], "exclude": [item(system=FAR)]}},
     {FAR: UNLISTED}),
    ("expansion of what is far", {"compose": {"include": [item(system=FAR)]}, "expansion": WHOLE_PAGE}, {FAR: ["y"]}),
    ("expansion alone", {"expansion": WHOLE_PAGE}, {FAR: ["y"]}),
    ("a page of an expansion", {"expansion": PAGE}, None),
    ("a limited expansion", {"expansion": LIMITED}, None),
    ("what is known wins", {"compose": {"include": [codes("B")]}, "expansion": WHOLE_PAGE}, {S: ["B"]}),
    ("nothing", {}, None),
]  # fmt: skip


@pytest.mark.parametrize(("given", "expected"), [each[1:] for each in SETS], ids=[each[0] for each in SETS])
def test_a_value_set(given: dict[str, Any], expected: Any) -> None:
    sets = {
        "http://x": given,
        "http://inner": {"compose": {"include": [codes("A", "A1")]}},
        "http://other": {"compose": {"include": [codes("A", "B"), codes("1", system=T)]}},
    }
    flat = {"content": "complete", "concept": [{"code": "1"}, {"code": "2"}]}
    assert Expansions(sets, {S: SYSTEM, T: flat}).expand("http://x") == expected


def value_set(*within: str) -> dict[str, Any]:
    """A value set of other value sets."""
    return {"compose": {"include": [{"valueSet": [url]} for url in within]}}


def test_value_sets_within_value_sets_are_expanded_once() -> None:
    """Forty value sets that each have the next one twice would be expanded a million million times."""
    sets = {str(number): value_set(*[str(number + 1)] * 2) for number in range(40)}
    sets["40"] = {"compose": {"include": [{"system": S}]}}
    assert Expansions(sets, {S: SYSTEM}).expand("0") == {S: WHOLE}


def test_value_sets_too_deep_are_not_known() -> None:
    """A thousand value sets within one another would be too deep for Python; each is judged for itself."""
    sets = {str(number): value_set(str(number + 1)) for number in range(1000)}
    sets["1000"] = {"compose": {"include": [{"system": S}]}}
    expansions = Expansions(sets, {S: SYSTEM})
    assert expansions.expand("0") is None
    assert expansions.expand("950") == {S: WHOLE}
    assert Expansions(sets, {S: SYSTEM}).expand("950") == {S: WHOLE}


def test_value_sets_in_a_circle_do_not_depend_on_order() -> None:
    """What a circle cuts short is not remembered for the value set itself."""
    came = {"expansion": {"contains": [{"system": S, "code": "A"}]}}
    sets = {"a": value_set("b") | came, "b": value_set("a")}
    forth, back = Expansions(sets, {}), Expansions(sets, {})
    assert [forth.expand("a"), forth.expand("b")] == [{S: ["A"]}] * 2
    assert [back.expand("b"), back.expand("a")] == [{S: ["A"]}] * 2


def test_a_long_line_of_parents_takes_no_time() -> None:
    """A code system of 20,000 codes, each the child of the one before, took minutes."""
    concepts = [
        {"code": str(number), "property": [{"code": "parent", "valueCode": str(number - 1)}]}
        for number in range(20_000)
    ]
    found = filtered({"concept": concepts}, {"property": "concept", "op": "is-a", "value": "10000"})
    assert found == {str(number) for number in range(10_000, 20_000)}
