"""Broken twins of resources that conform to profiles: one change each, wherever a profile may ask for something.

A change is no fault by itself: whether it is one is for the profile, and for HL7's validator, to say.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

_LEFT = ("resourceType", "id", "meta", "text", "contained")
_STRANGE = {"system": "http://example.org/other", "url": "http://example.org/other", "reference": "Basic/x"}
_DEEPEST = 6
Spot = tuple[Any, Any]
"""An object or array, and the name or place in it."""


class Twin(NamedTuple):
    """A resource with one change; `change` says which, and where."""

    change: str
    resource: dict[str, Any]


def twins(resources: Sequence[dict[str, Any]], seed: int, count: int) -> Iterator[Twin]:
    """So many broken twins of resources, the same for the same seed; each resource in turn, and no change twice."""
    chance = random.Random(seed)
    made: set[tuple[int, str]] = set()
    for number in range(20 * count):
        if len(made) == count:
            return
        place = number % len(resources)
        twin = copy.deepcopy(resources[place])
        spots = list(_spots(twin, ""))
        path, (holder, name) = chance.choice(spots)
        found = [
            (f"{kind.__name__.strip('_')} {path}", new) for kind in _CHANGES if (new := kind(holder, name)) is not None
        ]
        change, new = chance.choice(found or [("", {})])
        if change and (place, change) not in made:
            made.add((place, change))
            _apply(holder, name, new)
            yield Twin(change, twin)


def _spots(value: Any, path: str, depth: int = 0) -> Iterator[tuple[str, Spot]]:
    """Every member and item of a resource, but for what no profile is about."""
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    for name, each in list(inner):
        if depth == 0 and name in _LEFT:
            continue
        where = f"{path}[{name}]" if isinstance(value, list) else f"{path}.{name}".lstrip(".")
        yield where, (value, name)
        if isinstance(each, dict | list) and depth < _DEEPEST:
            yield from _spots(each, where, depth + 1)


def _apply(holder: Any, name: Any, new: dict[Any, Any]) -> None:
    """Put the new members instead of one: none removes it."""
    if isinstance(holder, list):
        holder[name : name + 1] = new.values()
        return
    members = list(holder.items())
    holder.clear()
    for key, value in members:
        holder.update(new if key == name else {key: value})


def _removed(holder: Any, name: Any) -> dict[Any, Any] | None:
    return {} if len(holder) > 1 else None


def _repeated(holder: Any, name: Any) -> dict[Any, Any] | None:
    return {0: holder[name], 1: copy.deepcopy(holder[name])} if isinstance(holder, list) else None


def _reversed(holder: Any, name: Any) -> dict[Any, Any] | None:
    value = holder[name]
    return {name: value[::-1]} if isinstance(value, list) and len(value) > 1 else None


def _replaced(holder: Any, name: Any) -> dict[Any, Any] | None:
    """Another text: a code that nobody has, an address of nobody, a reference to another type."""
    value = holder[name]
    return {name: _STRANGE.get(name, "other")} if isinstance(value, str) and value != _STRANGE.get(name) else None


def _of_another_type(holder: Any, name: Any) -> dict[Any, Any] | None:
    """A choice (``valueQuantity``) with a value of another type."""
    for stem in ("value", "effective", "onset", "performed", "occurrence", "deceased", "multipleBirth", "medication"):
        if isinstance(name, str) and name.startswith(stem) and name[len(stem) : len(stem) + 1].isupper():
            other = f"{stem}DateTime" if stem not in ("value", "medication") else f"{stem}Reference"
            content = {"reference": "Basic/x"} if other.endswith("Reference") else "2020-02-03T04:05:06Z"
            return {other: content} if other != name else None
    return None


def _emptied(holder: Any, name: Any) -> dict[Any, Any] | None:
    """A text instead of all that an object says."""
    value = holder[name]
    return {name: {"text": "other"}} if isinstance(value, dict) and "coding" in value else None


_CHANGES = (_removed, _repeated, _reversed, _replaced, _of_another_type, _emptied)
