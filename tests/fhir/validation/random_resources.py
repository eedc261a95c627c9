"""Random resources of every type, made from HL7's definitions: mostly right in their parts, with anything in them.

What they are good for is a comparison: two validators have to find the same. `resources` makes them by a seed.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import cache
from typing import Any

from msgspec.json import encode

from fhirspace.fhir.validation.structures.registry import registry
from fhirspace.standards.fhir import Binding, Element, Release, definitions
from tests.fhir.validation.right import TEXT

Json = dict[str, Any]
UCUM = "http://unitsofmeasure.org"
TIMES = ["2021-01-01T10:00:00Z", "2019-05-05T01:02:03+02:00"]
DATES = ["2020", "2020-02", "2020-02-28", "2021-01-01"]
WORDS = ["a", "b", "c d", "A-1", "1"]
ADDRESSES = ["http://example.org/a", "http://example.org/b", "urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e1"]
VALUES: dict[str, list[Any]] = {
    "boolean": [True, False],
    "integer": [0, 1, -1, 2**31 - 1],
    "positiveInt": [1, 2, 5, 1, 2, 0],
    "unsignedInt": [0, 1, 2, 0, 1, -1],
    "integer64": ["0", "5", "-7"],
    "decimal": [0, 1, 0.5, 5.25, -1, 100],
    "string": WORDS,
    "markdown": ["a", "*b*"],
    "code": ["a", "b-c"],
    "id": ["a", "b1", "c-2"],
    "uri": [*ADDRESSES, "urn:oid:1.2.840.10008"],
    "url": [*ADDRESSES, "mailto:a@example.org"],
    "canonical": [*ADDRESSES, "http://example.org/a|1.0"],
    "oid": ["urn:oid:1.2.840.10008"],
    "uuid": ADDRESSES[2:],
    "date": DATES,
    "dateTime": [*DATES, *TIMES],
    "instant": TIMES,
    "time": ["10:00:00", "23:59:59"],
    "base64Binary": ["QUJD", "QQ=="],
    "xhtml": [TEXT["div"]],
}
CODES = {"languages": "en", "mimetypes": "text/plain", "currencies": "EUR", "ucum-units": "mg"}
"""A code of value sets that nobody lists, by the end of their address."""
STRANGE: list[Json] = [
    {"system": "http://example.org/codes", "code": "a"},
    {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"},
    {"display": "a"},
    {"code": "a"},
]
UNITS = ["mg", "kg", "h", "d", "a", "mm[Hg]", "%", "1", "{tab}", "mg/dL", "min", "wk", "mo", "s"]
SMALL: list[Json] = [
    {"resourceType": "Patient", "id": "p", "active": True},
    {"resourceType": "Organization", "id": "o", "name": "a"},
]
CHANCES = (0.35, 0.3, 0.2, 0.1, 0.04)
"""How often an optional element is there, by depth."""
OWN = {"id": 0.01, "extension": 0.03, "language": 0.05, "text": 0.1, "contained": 0.04, "meta": 0.05}
"""How often what every element or resource may have is there."""
NEVER = ("implicitRules", "modifierExtension", "fhir_comments")
ODD = 0.03
"""How often something is not as it should be."""
DEEPEST, LONGEST = 7, 12_000


def resources(release: Release, seed: int, count: int) -> Iterator[bytes]:
    """Resources of each type in turn."""
    maker = _Maker(release, random.Random(seed))
    kinds = sorted(definitions(release).resources - {"Resource", "DomainResource"})
    for number in range(count):
        lines = (encode(maker.resource(kinds[number % len(kinds)])) for _ in range(100))
        yield next(line for line in lines if len(line) < LONGEST)


@cache
def _codes(release: Release, value_set: str) -> list[Json]:
    """Codes of a value set that are listed."""
    found = registry(release).value_set(value_set)
    listed = found._includes.items() if found else ()
    return [{"system": name, "code": code} for name, codes in sorted(listed) if codes for code in sorted(codes.codes)]


class _Maker:
    def __init__(self, release: Release, rng: random.Random) -> None:
        self._release, self._rng = release, rng
        self._known = definitions(release)

    def _odd(self) -> bool:
        return self._rng.random() < ODD

    def resource(self, kind: str, depth: int = 0) -> Json:
        return {"resourceType": kind, **self._object(kind, depth), "id": "r1"}

    def _object(self, path: str, depth: int) -> Json:
        made: Json = {}
        chosen: dict[str, Element] = {}
        children = self._known.children(path)
        for element in self._rng.sample(list(children.values()), len(children)):
            chosen.setdefault(element.choice or element.name, element)
        for name, element in children.items():
            if chosen[element.choice or name] is element and self._wanted(name, element, depth):
                least = max(element.min, 1, self._rng.choice((1, 1, 1, 2)) if depth < 2 else 1)
                values = [self._value(element, depth) for _ in range(least if element.is_list else 1)]
                made[name] = values if element.is_list else values[0]
                if element.primitive and not element.is_list and self._odd() and name not in ("id", "div", "url"):
                    made[f"_{name}"] = {"extension": [self._extension(depth)]}
        return made

    def _wanted(self, name: str, element: Element, depth: int) -> bool:
        if name in NEVER or depth > DEEPEST:
            return False
        if name in OWN:
            return self._rng.random() < OWN[name]
        if element.min or element.choice_min:
            return not self._odd()
        return self._rng.random() < CHANCES[min(depth, len(CHANCES) - 1)]

    def _value(self, element: Element, depth: int) -> Any:
        if element.primitive:
            return self._primitive(element)
        if element.type == "Resource":
            plain = element.name == "contained" or depth > 1 or self._rng.random() < 0.5
            return self._rng.choice(SMALL) if plain else self.resource(self._rng.choice(self._types()), depth + 2)
        made = _BY_TYPE.get(element.type)
        if made is not None and self._rng.random() < 0.9:
            return made(self, element)
        if element.type == "Extension":
            return self._extension(depth)
        return self._object(element.children_path, depth + 1) or {"id": "x"}

    def _types(self) -> list[str]:
        return sorted(self._known.resources - {"Resource", "DomainResource"})

    def _primitive(self, element: Element) -> Any:
        if element.type == "code" and element.binding is not None and not self._odd():
            codes = _codes(self._release, element.binding.value_set)
            if codes:
                return self._rng.choice(codes)["code"]
            end = element.binding.value_set.rpartition("/")[2]
            if end in CODES:
                return CODES[end]
        return self._rng.choice(VALUES[element.type])

    def _coding(self, binding: Binding | None) -> Json:
        codes = [] if binding is None or self._odd() else _codes(self._release, binding.value_set)
        return dict(self._rng.choice(codes or STRANGE))

    def _reference(self, element: Element) -> Json:
        kind = self._rng.choice(self._types() if self._odd() or not element.targets else element.targets)
        if kind == "Resource":
            kind = "Patient"
        return self._rng.choice(
            [
                {"reference": f"{kind}/1"},
                {"reference": f"{kind}/1", "type": kind},
                {"reference": f"http://example.org/fhir/{kind}/1"},
                {"reference": f"{kind}/1/_history/2"},
                {"display": "a"},
                {"identifier": {"system": "http://example.org/ids", "value": "1"}, "type": kind},
            ]
        )

    def _quantity(self, _: Element) -> Json:
        made: Json = {"value": self._rng.choice(VALUES["decimal"])}
        return made | ({"unit": "a"} if self._odd() else {"system": UCUM, "code": self._rng.choice(UNITS)})

    def _extension(self, depth: int) -> Json:
        """One of HL7's that has a value, where it may be or not; or one of somebody's."""
        url, known = self._rng.choice(sorted(self._known.extensions.items()))
        kind = self._rng.choice(known.types or ["string"])
        kind, url = (kind, url) if known.types and self._rng.random() < 0.5 else ("string", ADDRESSES[0])
        name = f"value{kind[0].upper()}{kind[1:]}"
        return {"url": url, name: self._value(self._known.children("Extension")[name], depth + 2)}

    def _concept(self, element: Element) -> Json:
        return {"text": "a"} if self._rng.random() < 0.15 else {"coding": [self._coding(element.binding)]}


_BY_TYPE = {
    "Reference": _Maker._reference,
    "Coding": lambda maker, element: maker._coding(element.binding),
    "CodeableConcept": _Maker._concept,
    "CodeableReference": lambda maker, element: {"concept": maker._concept(element)},
    "Narrative": lambda maker, element: TEXT,
    "Meta": lambda maker, element: {"versionId": "1", "lastUpdated": TIMES[0]},
    **dict.fromkeys(
        ("Quantity", "SimpleQuantity", "Age", "Duration", "Count", "Distance", "MoneyQuantity"), _Maker._quantity
    ),
}
