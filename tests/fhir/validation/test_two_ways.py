"""What the short way says of a resource is what the full way says, whatever was seen before."""

from __future__ import annotations

import random
from typing import Any

import pytest
from msgspec.json import encode

from fhirspace.errors import Place, Problem
from fhirspace.fhir.validation import validate as validation
from fhirspace.fhir.validation.check import Checker, check, compiled
from fhirspace.fhir.validation.quick import Quick
from fhirspace.json import parse
from tests.fhir.validation import ehr, faults
from tests.fhir.validation.right import RIGHT

ALL = [*RIGHT, *ehr.RESOURCES]
PLACE = Place("lines.ndjson", 1)
MUTANTS = 150
SHARE = 0.9
"""Of the resources that are right, those that the short way has to judge, once it has seen them."""


def full_way(line: bytes, checker: Checker) -> list[Problem]:
    return validation._resource(line, checker, PLACE)


def short_way(line: bytes, quick: Quick) -> list[Problem] | None:
    found = quick.findings(line)
    return None if found is None else validation._problems(found, line, PLACE)


def drawn(seed: int, count: int) -> list[bytes]:
    """Mutants with one fault each, and as many resources that are right, twice each, in some order."""
    lines = [encode(each.resource) for each in faults.mutants(ALL, seed, count)]
    lines += [encode(ALL[at % len(ALL)]) for at in range(count)]
    random.Random(seed).shuffle(lines := lines * 2)
    return lines


NOTHING_KNOWN = ["http://example.org/fhir/StructureDefinition/a", "http://example.org/fhir/StructureDefinition/b"]
PLAN: dict[str, Any] = {"resourceType": "CarePlan", "status": "active", "intent": "plan", "subject": ehr.PATIENT}
BASIC: dict[str, Any] = {"resourceType": "Basic", "code": {"text": "a"}}
TASK: dict[str, Any] = {"resourceType": "Task", "status": "completed", "intent": "order"}
BOGUS = {"text": "a", "bogus": "a"}
WITHIN = {"resourceType": "Patient", "id": "p"}
URL = {"extension": [{"url": "http://example.org/x", "valueString": "a"}]}
EMPTY: tuple[Any, ...] = (None, "", [], {})
SEEN: dict[str, list[dict[str, Any]]] = {
    **{f"{empty} is no value": [{**BASIC, "language": empty}] for empty in EMPTY},
    "what is empty is found as well": [{**BASIC, "code": {**BOGUS, "bogus": {}}}],
    "a companion explains a null": [
        {**PLAN, "instantiatesUri": ["http://a.b", None]},
        {**PLAN, "instantiatesUri": ["http://a.b", None], "_instantiatesUri": [None, URL]},
    ],
    "a reference to a contained resource": [
        {**BASIC, "subject": {"reference": "#p"}},
        {**BASIC, "subject": {"reference": "#p"}, "contained": [WITHIN]},
    ],
    "references of which one is to a contained resource": [
        {**PLAN, "contributor": [{"reference": "#p"}, {"reference": "#q"}]},
        {
            **PLAN,
            "contributor": [{"reference": "#p"}, {"reference": "#q"}],
            "contained": [WITHIN],
            "author": {"reference": "#p"},
        },
    ],
    "two contained resources of one id": [
        {**BASIC, "subject": {"reference": "#p"}, "contained": [WITHIN]},
        {**BASIC, "subject": {"reference": "#p"}, "contained": [WITHIN, WITHIN]},
    ],
    "profiles that are not known": [
        {**BASIC, "meta": {"profile": NOTHING_KNOWN}},
        {**BASIC, "meta": {"profile": NOTHING_KNOWN[:1]}, "code": BOGUS},
        {**BASIC, "meta": {"profile": [f"{NOTHING_KNOWN[0]}|1.0"]}},
        {**BASIC, "meta": {"profile": True}},
        {**BASIC, "meta": {"profile": [5, f"{ehr.HL7}bodyweight"]}},
        {**BASIC, "meta": {"profile": [f"{ehr.HL7}Basic", f"{ehr.HL7}no-such"]}},
        {**PLAN, "meta": {"profile": [f"{ehr.HL7}Basic"]}},
    ],
    "an invariant that compares moments": [
        {**TASK, "authoredOn": "2015-08-13T16:14:21Z", "lastModified": "2015-08-13T16:14:21Z"},
        {**TASK, "authoredOn": "2015-08-13T16:14:21Z", "lastModified": "2014-08-13T16:14:21Z"},
    ],
    "an array that is long, then empty": [
        {**PLAN, "contributor": [{"reference": f"Patient/{number}"} for number in range(9)]},
        {**PLAN, "contributor": []},
    ],
    "an invariant beside what is wrong": [{**BASIC, "code": BOGUS, "contained": [BASIC]}],
}


@pytest.mark.parametrize("resources", SEEN.values(), ids=SEEN)
def test_both_ways_find_the_same_after(resources: list[dict[str, Any]]) -> None:
    checker = compiled("R4", full=True)
    quick = Quick(checker)
    for line in [encode(each) for each in resources] * 2:
        assert short_way(line, quick) in (None, full_way(line, checker))


SPELT = [
    b'{"resourceType":"Basic","code":{"id":"x","text":"a"},"subject":{"id":"x","reference":"Patient/1"}}',
    b'{"resourceType":"Basic","code":{"id" :"x","text":"a"},"subject":{"id" :"x","reference":"Patient/1"}}',
    b'{"resourceType":"Basic","code":{"\\u0069d":"x","text":"a"},"subject":{"i\\u0064":"x","reference":"Patient/1"}}',
    b'{"resourceType":"Basic","code":{"id":"x","text":"a"},"subject":{"i\\u0064":"x","reference":"Patient/1"}}',
]


@pytest.mark.parametrize("line", SPELT)
def test_ids_are_compared_however_they_are_spelt(line: bytes) -> None:
    assert [each.code for each in full_way(line, compiled("R4"))] == ["FS415"]
    assert not Quick(compiled("R4")).sound(line)


def test_the_shapes_of_hospitals_are_right() -> None:
    assert [item for each in ehr.RESOURCES for item in check(parse(encode(each)), "R4")] == []


@pytest.mark.parametrize("full", [False, True])
def test_both_ways_find_the_same_in_mutants(full: bool) -> None:
    checker = compiled("R4", full=full)
    quick = Quick(checker)
    differing = [line for line in drawn(7, MUTANTS) if short_way(line, quick) not in (None, full_way(line, checker))]
    assert differing == []


def test_the_short_way_judges_most_of_what_is_right_or_has_an_unknown_profile() -> None:
    quick = Quick(compiled("R4", full=True))
    lines = [encode(each) for each in ehr.RESOURCES]
    assert len([line for line in lines if quick.findings(line) is not None]) >= len(lines) * SHARE
    assert any(quick.findings(line) for line in lines), "the note on a profile that is not known"


def test_what_is_wrong_is_known_by_what_is_around_its_holes() -> None:
    """However long it is; a fault of the references themselves is another one."""
    checker = compiled("R4", full=True)
    quick = Quick(checker)

    def line(*references: str) -> bytes:
        wrong = {"bogus": "a text of some length", "display": "somebody"}
        return encode({**PLAN, "contributor": [{"reference": each, **wrong} for each in references * 9]})

    for second, count in (("Patient/2", 18), ("Patient/1", 18), ("Binary/4", 27), ("#p", 27)):
        other = line("Patient/1", second)
        assert short_way(other, quick) == full_way(other, checker)
        assert len(full_way(other, checker)) == count
