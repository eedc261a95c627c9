"""What may be anything of its kind is left out of a text, and nothing else."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest
from msgspec.json import encode

from fhirspace.fhir.validation.check import compiled
from fhirspace.fhir.validation.holes import around
from fhirspace.fhir.validation.invariants import rules
from fhirspace.fhir.validation.quick import Quick
from fhirspace.fhir.validation.values.objects import RULES
from fhirspace.standards.fhir import RELEASES, Release, definitions
from fhirspace.standards.hl7.structures import structures
from tests.fhir.validation.test_two_ways import ALL, full_way, short_way

MOMENT = "2015-08-13T16:14:21+00:00"
LATER = "2016-01-31T23:59:59.5Z"
UUID = "47e6f7c1-d198-5367-08f0-f11a17a711a4"
TEXT = "a text that is long enough to be looked at"
SAME: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "references": ({"reference": "Patient/1", "type": "Patient"}, {"reference": "Patient/abc", "type": "Patient"}),
    "displays": ({"display": TEXT, "code": "a"}, {"display": "b, which is another one", "code": "a"}),
    "moments": ({"authoredOn": MOMENT, "code": TEXT}, {"authoredOn": LATER, "code": TEXT}),
    "periods": (
        {"period": {"start": MOMENT, "end": MOMENT}},
        {"period": {"start": MOMENT, "end": "2019-01-31T00:00:00+00:00"}},
    ),
    "amounts": ({"value": 5, "unit": TEXT}, {"value": 12, "unit": TEXT}),
    "broken amounts": ({"value": 0.5, "unit": TEXT}, {"value": 12.25, "unit": TEXT}),
    "identifiers": (
        {"system": "http://example.org/ids/of/a/hospital", "value": "1"},
        {"system": "http://example.org/ids/of/a/hospital", "value": "b c"},
    ),
    "UUIDs": (
        {"system": "urn:ietf:rfc:3986", "value": f"urn:uuid:{UUID}"},
        {"system": "urn:ietf:rfc:3986", "value": f"urn:uuid:{UUID[::-1].replace('-', '')[:8]}{UUID[8:]}"},
    ),
    "places": (
        {"itemSequence": [1, 2], "sequence": 7, "text": TEXT},
        {"itemSequence": [3], "sequence": 12, "text": TEXT},
    ),
    "data": (
        {"contentType": "text/plain", "data": "QUJDREVGRw=="},
        {"contentType": "text/plain", "data": "QUJDREVGRwAA"},
    ),
}
DIFFERENT: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "another type": ({"reference": "Patient/1", "display": TEXT}, {"reference": "Group/1", "display": TEXT}),
    "no id": ({"reference": "Patient/1", "display": TEXT}, {"reference": "Patient/a b", "display": TEXT}),
    "blanks": ({"display": "a", "code": TEXT}, {"display": " ", "code": TEXT}),
    "no text": ({"display": "a", "code": TEXT}, {"display": "", "code": TEXT}),
    "no such day": ({"date": MOMENT, "code": TEXT}, {"date": "2015-02-29T16:14:21+00:00", "code": TEXT}),
    "no zone": ({"date": MOMENT, "code": TEXT}, {"date": MOMENT[:-6], "code": TEXT}),
    "a day": ({"date": MOMENT, "code": TEXT}, {"date": MOMENT[:10], "code": TEXT}),
    "ends before": ({"period": {"start": MOMENT, "end": MOMENT}}, {"period": {"start": MOMENT, "end": "2014-01-31T00:00:00+00:00"}}),
    "ends in another zone": ({"period": {"start": MOMENT, "end": MOMENT}}, {"period": {"start": MOMENT, "end": "2015-08-13T16:14:22+04:00"}}),
    "a start alone": ({"start": MOMENT, "code": TEXT}, {"start": LATER, "code": TEXT}),
    "an end alone": ({"start": "2015-08", "end": MOMENT}, {"start": "2015-08", "end": "2014-01-31T00:00:00Z"}),
    "nothing": ({"value": 5, "unit": TEXT}, {"value": 0, "unit": TEXT}),
    "less than nothing": ({"value": 5, "unit": TEXT}, {"value": -5, "unit": TEXT}),
    "a part": ({"value": 5, "unit": TEXT}, {"value": 5.5, "unit": TEXT}),
    "a text for a number": ({"value": 5, "unit": TEXT}, {"value": "5", "unit": TEXT}),
    "a range": ({"low": {"value": 5, "unit": TEXT}, "high": {"value": 6}}, {"low": {"value": 7, "unit": TEXT}, "high": {"value": 6}}),
    "no URI": ({"system": "urn:ietf:rfc:3986", "value": "http://example.org/abc"}, {"system": "urn:ietf:rfc:3986", "value": "abc"}),
    "no place": ({"sequence": 7, "text": TEXT}, {"sequence": 0, "text": TEXT}),
    "a list of places": ({"sequence": 7, "text": TEXT}, {"sequence": [7], "text": TEXT}),
    "no base64": ({"contentType": "text/plain", "data": "QUJDREVGRw=="}, {"contentType": "text/plain", "data": "QUJDREVGRw="}),
    "data with a size": ({"data": "QUJDREVGRw==", "size": 7, "title": TEXT}, {"data": "QUJDREVGRwAA", "size": 7, "title": TEXT}),
    "data with a hash": ({"data": "QUJDREVGRw==", "hash": "AAAA", "title": TEXT}, {"data": "QUJDREVGRwAA", "hash": "AAAA", "title": TEXT}),
    "in an extension": ({"extension": [{"url": "http://example.org/a", "valuePeriod": {"start": MOMENT}, "valueQuantity": {"value": 5}}]}, {"extension": [{"url": "http://example.org/a", "valuePeriod": {"start": MOMENT}, "valueQuantity": {"value": 6}}]}),
    "in a resource": ({"resourceType": "Task", "authoredOn": MOMENT, "lastModified": MOMENT}, {"resourceType": "Task", "authoredOn": MOMENT, "lastModified": LATER}),
}  # fmt: skip
ESCAPED = '{"st\\u0061rt":"%s","end":"2015-08-13T16:14:21Z","code":"a text"}'
MOMENTS = ("dateTime", "instant")
COMPARED = {"per-1", "rng-2", "inv-2", "ratrng-2", "age-1", "cnt-3"}
"""What compares that which is left out: the ends of periods and of ranges stay, numbers keep their sign and point."""
LOOKED_AT = {
    *("ext-1", "eld-6", "eld-7", "obs-3", "act-1", "act-2", "tim-10"),  # whether something is there
    *("dis-1", "drt-1", "ras-1", "tim-9", "trd-3", "qrs-2"),  # units, codes, names, items
    *("ref-1", "dom-3"),  # references to contained resources, which are never left out
}
VARIANTS = 8


@pytest.mark.parametrize("pair", SAME.values(), ids=SAME)
def test_what_may_be_anything_is_left_out(pair: tuple[dict[str, Any], dict[str, Any]]) -> None:
    first, second = map(encode, pair)
    assert around(first) == around(second) != first


@pytest.mark.parametrize("pair", DIFFERENT.values(), ids=DIFFERENT)
def test_what_is_judged_is_not_left_out(pair: tuple[dict[str, Any], dict[str, Any]]) -> None:
    first, second = map(encode, pair)
    assert around(first) != around(second)


def test_names_with_escapes_are_left_alone() -> None:
    assert around((ESCAPED % MOMENT).encode()) != around((ESCAPED % LATER).encode())


def left_out(release: Release) -> set[str]:
    """The names, as FHIRPath has them, of elements that `holes` may leave out."""
    known, todo, met = definitions(release), list[str](), set[str]()
    todo += [*known.resources, *known.types]
    names = {"value", "display", "reference", "data", "low", "high"}
    while todo:
        path = todo.pop()
        for name, element in known.children(path).items():
            names |= {element.choice[:-3] if element.choice else name} if element.type in MOMENTS else set()
            names |= {name} if name.endswith("equence") else set()
            todo += [] if element.primitive or element.children_path in met else [element.children_path]
            met.add(element.children_path)
    return names


@pytest.mark.parametrize("release", RELEASES)
def test_nothing_compares_what_is_left_out(release: Release) -> None:
    """An invariant that is new here has to be read: what it compares must not be left out by `holes`."""
    known, names = definitions(release), left_out(release)
    nested = {
        rule.key
        for path, found in structures(release).invariants().items()
        for rule in found
        if path not in known.resources and path.partition(".")[0] not in RULES.keys() & known.resources
        if rule.severity == "error" and rules.comparing(rule.expression)
        if not names.isdisjoint(re.findall(r"[A-Za-z]+", rule.expression))
    }
    assert "per-1" in nested <= COMPARED | LOOKED_AT


def varied(value: Any, rng: random.Random) -> Any:
    """A value with other texts and numbers here and there, of the same kind or not."""
    if isinstance(value, dict):
        return {name: inner if name in ("resourceType", "url") else varied(inner, rng) for name, inner in value.items()}
    if isinstance(value, list):
        return [varied(inner, rng) for inner in value]
    return value if isinstance(value, bool) or rng.random() > 0.2 else rng.choice(others(value))


def others(value: Any) -> list[Any]:
    """Other texts or numbers for one."""
    if not isinstance(value, str):
        return [value + 1, value + 0.5, 0, 0.0, -value, 12, f"{value}", 10**20]
    if value[:4].isdecimal():
        return [MOMENT, LATER, value[:10], value[:7], "2015-02-30", value.replace("20", "19", 1), f"{value} "]
    if "/" in value or " " in value:
        return [value + "a", value + " ", value.replace("/", "/b", 1), UUID, f"urn:uuid:{UUID}", "#a"]
    return [value, value, f"{value} ", "", UUID, "QUJD", "QUJDREVG"]


@pytest.mark.parametrize("full", [False, True])
def test_both_ways_find_the_same_in_what_varies(full: bool) -> None:
    rng, checker = random.Random(5), compiled("R4", full=full)
    quick = Quick(checker)
    lines = [encode(each if turn % 4 == 0 else varied(each, rng)) for turn in range(VARIANTS) for each in ALL]
    assert [line for line in lines if short_way(line, quick) not in (None, full_way(line, checker))] == []
