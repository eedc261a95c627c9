"""The items of FHIRPath collections: JSON values with their FHIR types, and the steps between them.

Source: FHIR, "FHIRPath" (polymorphic items, primitive values and their extensions).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, Final, NamedTuple

from fhirspace.standards.fhir import Definitions, Release, definitions

OPAQUE: Final = object()
"""Stands for a value that is there but is not looked at; see `rules`."""
_ELEMENT: Final = "Element"
_SYSTEM: Final = {"string": "String", "boolean": "Boolean", "integer": "Integer", "decimal": "Decimal"}
BASES: Final = {
    "code": "string",
    "id": "string",
    "markdown": "string",
    "url": "uri",
    "canonical": "uri",
    "oid": "uri",
    "uuid": "uri",
    "positiveInt": "integer",
    "unsignedInt": "integer",
    "Age": "Quantity",
    "Count": "Quantity",
    "Distance": "Quantity",
    "Duration": "Quantity",
    "SimpleQuantity": "Quantity",
    "MoneyQuantity": "Quantity",
}


class UndecidedError(Exception):
    """The result depends on something that is not known here: an outer reference, a value that is not looked at."""


class Item(NamedTuple):
    """A value of a collection.

    Attributes:
        value: the JSON value; None for a primitive that has only extensions.
        type: where `Model.steps` finds its parts (``Observation.component``), or the primitive type.
        extra: id and extensions of a primitive (its companion ``_name``).
    """

    value: Any
    type: str
    extra: Any = None


class Step(NamedTuple):
    """A JSON name by which an element may be present, the type of its values, whether they are primitive."""

    json: str
    type: str
    primitive: bool


class Model:
    """The types of one release. Get it by `model`."""

    def __init__(self, known: Definitions) -> None:
        """Args: the definitions of the release."""
        self._known = known
        self._steps: dict[str, dict[str, list[Step]]] = {}

    def steps(self, kind: str) -> dict[str, list[Step]]:
        """The elements of a type by name (a choice without ``[x]``): the JSON names each may have."""
        found = self._steps.get(kind)
        if found is None:
            found = self._steps[kind] = {}
            for name, child in self._known.children(kind).items():
                step = Step(name, child.type if child.primitive else child.children_path, child.primitive)
                found.setdefault(child.choice[:-3] if child.choice else name, []).append(step)
        return found

    def known(self, kind: str) -> bool:
        """Whether a type exists."""
        return kind in self._known.types

    def resource(self, value: Any) -> Item:
        """A resource as an item. Raises UndecidedError for what has no type of this release."""
        kind = value.get("resourceType") if type(value) is dict else None
        if type(kind) is not str or kind not in self._known.resources:
            raise UndecidedError
        return Item(value, kind)

    def member(self, item: Item, name: str) -> Iterator[Item]:
        """The values of an element of an item."""
        if item.value is OPAQUE:
            raise UndecidedError
        if type(item.value) is dict:
            for step in self.steps(item.type).get(name, ()):
                yield from self._values(item.value, step)
        elif name == "value" and item.value is not None:
            yield item
        elif type(item.extra) is dict:
            for step in self.steps(_ELEMENT).get(name, ()):
                yield from self._values(item.extra, step)

    def children(self, item: Item) -> Iterator[Item]:
        """All values that are directly in an item."""
        if item.value is OPAQUE:
            raise UndecidedError
        inside, kind = (item.value, item.type) if type(item.value) is dict else (item.extra, _ELEMENT)
        if type(inside) is dict:
            for steps in self.steps(kind).values():
                for step in steps:
                    yield from self._values(inside, step)

    def descendants(self, item: Item) -> Iterator[Item]:
        """All values in an item, at any depth."""
        left = list(self.children(item))[::-1]
        while left:
            found = left.pop()
            yield found
            left.extend(list(self.children(found))[::-1])

    def is_a(self, item: Item, name: str) -> bool:
        """Whether an item is of a type, or of one that is derived from it."""
        kind = self.name(item)
        if name.startswith("System."):
            return _SYSTEM.get(kind) == name[7:] and item.extra is None
        if kind == name or _SYSTEM.get(kind) == name:
            return True
        if name in ("Resource", "DomainResource"):
            return kind in self._known.resources and (name == "Resource" or "contained" in self.steps(kind))
        return self._derived(kind, name)

    def _derived(self, kind: str, name: str) -> bool:
        while kind in BASES:
            kind = BASES[kind]
            if kind == name:
                return True
        return name == _ELEMENT and kind not in self._known.resources

    def name(self, item: Item) -> str:
        """The name of an item's type; ``BackboneElement`` for an element that is defined in place."""
        if item.value is OPAQUE:
            raise UndecidedError
        return "BackboneElement" if "." in item.type else item.type

    def _values(self, inside: dict[str, Any], step: Step) -> Iterator[Item]:
        value = inside.get(step.json)
        extra = inside.get("_" + step.json) if step.primitive else None
        if value is None and extra is None:
            return
        if value is OPAQUE:
            yield Item(value, step.type)
        elif type(value) is list or type(extra) is list:
            yield from self._listed(value, extra, step)
        else:
            yield self._item(value, extra, step)

    def _listed(self, value: Any, extra: Any, step: Step) -> Iterator[Item]:
        values = value if type(value) is list else []
        extras = extra if type(extra) is list else []
        for place in range(max(len(values), len(extras))):
            one = values[place] if place < len(values) else None
            more = extras[place] if place < len(extras) else None
            if one is not None or more is not None:
                yield self._item(one, more, step)

    def _item(self, value: Any, extra: Any, step: Step) -> Item:
        if step.primitive:
            if type(value) in (dict, list):
                raise UndecidedError
            return Item(value, step.type, extra)
        if step.type == "Resource":
            return self.resource(value)
        if type(value) is not dict:
            raise UndecidedError
        return Item(value, step.type)


@cache
def model(release: Release) -> Model:
    """The model of a release."""
    return Model(definitions(release))
