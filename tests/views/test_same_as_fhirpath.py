"""Law: an address reads what a FHIRPath engine reads for the same path.

Our own engine is asked in every run; fhirpathpy, a second one, where it is installed (it wants an older python-dateutil
than the one that we lock, so that it is not among the packages of the suite).
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from itertools import islice
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from fhirspace.fhir.validation.invariants.compiler import compiled
from fhirspace.fhir.validation.invariants.items import Item, model
from fhirspace.json import parse
from fhirspace.standards.fhir import Element, definitions
from fhirspace.views.definition.fhirpath import alternative
from fhirspace.views.definition.rows import Scope
from fhirspace.views.notation.address import Address, Alternative, address_of, reader, text_of
from fhirspace.views.notation.check import checked
from fhirspace.views.notation.library import view_set
from fhirspace.views.notation.model import View

KNOWN = definitions("R4")
MORE = {
    "Observation": (
        "component.code.coding[system=s].code",
        "component.valueQuantity",
        "referenceRange[low.value=1].text",
        "referenceRange.low",
        "_effectiveDateTime.extension[url=s].valueCode",
        "category.coding[system=s, code=t].display",
        "extension[url=s].extension[url=t].valueBoolean",
    ),
    "MedicationRequest": (
        "authoredOn",
        "dosageInstruction.timing.repeat.frequency",
        "dosageInstruction.doseAndRate.doseQuantity",
        "medicationCodeableConcept.coding[system=s].code",
        "reasonCode.text",
    ),
    "Patient": ("name[use=official].given", "name.period.start", "contact.telecom[system=phone].value", "active"),
}
"""Addresses beside those of the shipped views."""
TYPES = ("Observation", "Patient", "Condition", "Procedure", "Encounter")
VALUES: Mapping[str, Sequence[Any]] = {
    "boolean": (True, False),
    "decimal": (1, 1.5, 20),
    "integer": (1, 2),
    "positiveInt": (1, 2),
    "date": ("2026-02-03",),
    "dateTime": ("2026-02-03T10:00:00Z", "2026-02-03T11:30:00+01:00"),
    "instant": ("2026-02-03T10:00:00Z",),
}
"""The values of types that take no text."""
Tree = dict[str, "Tree"]


@cache
def ways(kind: str) -> list[Alternative]:
    """The alternatives of all addresses of a type, without ordinals and references."""
    shipped = view_set("us-core")
    found = [address for view in shipped.of(kind) if view.own for _, address in view.read()]
    found += [checked(address_of(text), kind, "R4")[0] for text in MORE.get(kind, ())]
    plain = [way for address in found for way in address.alternatives if way.then is None]
    here = [way for way in plain if way.steps[0].name.removeprefix("_") in KNOWN.children(kind)]
    return list(dict.fromkeys(Alternative(way.steps, quantity=way.quantity, coding=way.coding) for way in here))


@cache
def needed(kind: str) -> tuple[Tree, list[str]]:
    """The names that the addresses of a type mention, as a tree, and the texts that they compare with."""
    tree: Tree = {}
    texts = ["s", "t"]
    for way in ways(kind):
        at = tree
        for step in way.steps:
            at = at.setdefault(step.name, {})
            for each in step.filters:
                inner = at
                for name in each.path:
                    inner = inner.setdefault(name, {})
                texts.append(each.value)
        if way.quantity:
            at |= {"value": {}, "comparator": {}}
        if way.coding:
            at |= {"system": {}, "code": {}}
    return tree, texts


class Maker:
    """Makes resources of a type that have what its addresses mention: few texts, so that some of them are equal."""

    def __init__(self, kind: str, seed: int) -> None:
        self._kind, self._random = kind, Random(seed)
        self._tree, self._texts = needed(kind)

    def resource(self) -> dict[str, Any]:
        return {"resourceType": self._kind, **self._object(self._tree, self._kind)}

    def _object(self, tree: Tree, place: str) -> dict[str, Any]:
        known, made, choices = KNOWN.children(place), dict[str, Any](), set[str]()
        for name in self._random.sample(sorted(tree), len(tree)):
            element = known.get(name.removeprefix("_"))
            if element is None or self._random.random() < 0.3 or element.choice in choices:
                continue  # SimpleQuantity has no comparator; a choice has one value
            choices |= {element.choice} if element.choice else set()
            values = [self._value(name, element, tree[name]) for _ in range(self._random.choice((1, 1, 2, 3)))]
            made[name] = values if element.is_list and not name.startswith("_") else values[0]
        return made or {"id": "x"}

    def _value(self, name: str, element: Element, tree: Tree) -> Any:
        if name.startswith("_"):
            return self._object(tree, "Element")
        if not element.primitive:
            return self._object(tree, element.children_path)
        return self._random.choice(VALUES.get(element.type, self._texts))


@cache
def paths(kind: str) -> list[tuple[Alternative, str]]:
    """Each alternative with its FHIRPath."""
    view = View("v", kind, "", 0)
    return [(way, alternative(way, view, KNOWN, item=False)[0]) for way in ways(kind)]


def ours(path: str, resource: dict[str, Any]) -> list[Any]:
    item = Item(parse(json.dumps(resource)), resource["resourceType"])
    return [each.value for each in compiled(path)((item,), Scope(model("R4"), item)) if each.value is not None]


@cache
def _theirs(path: str) -> Callable[[dict[str, Any]], list[Any]]:
    models = importlib.import_module("fhirpathpy.models").models
    found: Callable[[dict[str, Any]], list[Any]] = importlib.import_module("fhirpathpy").compile(path, models["r4"])
    return found


def theirs(path: str, resource: dict[str, Any]) -> list[Any]:
    """A primitive that has only an id or extensions comes as an object: it has no value."""
    return [value for value in _theirs(path)(resource) if not isinstance(value, dict)]


def texts_of(values: list[Any]) -> list[str]:
    return list(dict.fromkeys(text_of(value) or str(value) for value in values))


def differences(engine: Callable[[str, dict[str, Any]], list[Any]], resource: dict[str, Any]) -> Iterator[object]:
    read = parse(json.dumps(resource))
    for way, path in paths(resource["resourceType"]):
        own, other = reader(way)(read), texts_of(engine(path, resource))
        if own != other:
            yield path, own, other


LAW = settings(max_examples=40, deadline=None)
SEEDS = st.integers(0, 2**32)


@pytest.mark.parametrize("kind", TYPES)
def test_an_address_reads_what_our_fhirpath_reads(kind: str) -> None:
    read = 0

    @LAW
    @given(SEEDS)
    def law(seed: int) -> None:
        nonlocal read
        resource = Maker(kind, seed).resource()
        assert list(islice(differences(ours, resource), 3)) == []
        read += sum(bool(reader(way)(resource)) for way, _ in paths(kind))

    law()
    assert read > 40  # a law over resources in which nothing is read proves nothing


@pytest.mark.parametrize("kind", TYPES)
def test_an_address_reads_what_fhirpathpy_reads(kind: str) -> None:
    try:
        importlib.import_module("fhirpathpy")
    except ImportError:
        pytest.skip("fhirpathpy IS NOT INSTALLED: nothing was compared")

    @LAW
    @given(SEEDS)
    def law(seed: int) -> None:
        assert list(islice(differences(theirs, Maker(kind, seed).resource()), 3)) == []

    law()


def test_the_value_of_an_address_is_its_first_alternative_that_has_one() -> None:
    made = checked(address_of("effectiveDateTime | effectivePeriod.start"), "Observation", "R4")[0]
    assert isinstance(made, Address)
    assert [alternative(way, View("v", "Observation", "", 0), KNOWN, item=False)[0] for way in made.alternatives] == [
        "effective.ofType(dateTime)",
        "effective.ofType(Period).start",
    ]
