"""The values of an element in a resource, and how a value is compared with a fixed one or a pattern.

Source: FHIR, "ElementDefinition" (fixed[x], pattern[x]), "JSON Representation" (choices, companions of primitives).
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

from fhirspace.json import number_text


class Item(NamedTuple):
    """One value of an element: its path within the parent, the value, its companion ``_name``, the type of a choice."""

    path: str
    value: Any
    companion: Any = None
    type: str = ""

    @property
    def content(self) -> Any:
        """Where the elements within it are: the value itself, or of a primitive its companion."""
        return self.value if isinstance(self.value, dict) else self.companion


def items(parent: Any, name: str) -> list[Item]:
    """The values of an element of an object by its name, which ends in ``[x]`` for a choice."""
    if not isinstance(parent, dict):
        return []
    if not name.endswith("[x]"):
        return list(_named(parent, name, ""))
    stem = name[:-3]
    names = {each.lstrip("_") for each in parent if each.lstrip("_").startswith(stem)}
    kinds = sorted((each, each[len(stem) :]) for each in names)
    return [item for each, kind in kinds if kind[:1].isupper() for item in _named(parent, each, kind)]


def _named(parent: dict[str, Any], name: str, kind: str) -> Iterator[Item]:
    value, companion = parent.get(name), parent.get(f"_{name}")
    if isinstance(value, list) or isinstance(companion, list):
        values = value if isinstance(value, list) else []
        companions = companion if isinstance(companion, list) else []
        for place in range(max(len(values), len(companions))):
            own = values[place] if place < len(values) else None
            beside = companions[place] if place < len(companions) else None
            if own is not None or beside is not None:
                yield Item(f"{name}[{place}]", own, beside, kind)
    elif value is not None or companion is not None:
        yield Item(name, value, companion, kind)


def is_type(item: Item, code: str) -> bool:
    """Whether an item has a type: by its name in a choice, else by its ``resourceType``."""
    if item.type:
        return item.type.lower() == code.rpartition("/")[2].lower()
    kind = item.value.get("resourceType") if isinstance(item.value, dict) else None
    return kind is None or kind == code or code in ("Resource", "DomainResource")


def equal(value: Any, fixed: Any) -> bool:
    """Whether a value is the fixed one, in all of its parts."""
    if isinstance(fixed, dict):
        return (
            isinstance(value, dict)
            and value.keys() == fixed.keys()
            and all(equal(value[name], inner) for name, inner in fixed.items())
        )
    if isinstance(fixed, list):
        return isinstance(value, list) and len(value) == len(fixed) and all(map(equal, value, fixed))
    return _same(value, fixed)


def contains(value: Any, pattern: Any) -> bool:
    """Whether a value has everything that a pattern has; of an array, each item of the pattern somewhere."""
    if isinstance(pattern, dict):
        return isinstance(value, dict) and all(
            name in value and contains(value[name], inner) for name, inner in pattern.items()
        )
    if isinstance(pattern, list):
        return isinstance(value, list) and all(any(contains(each, inner) for each in value) for inner in pattern)
    return _same(value, pattern)


def _same(value: Any, other: Any) -> bool:
    one, two = number_text(value), number_text(other)
    if one is None or two is None:
        return type(value) is type(other) and bool(value == other)
    try:
        return Decimal(one) == Decimal(two)
    except InvalidOperation:
        return False
