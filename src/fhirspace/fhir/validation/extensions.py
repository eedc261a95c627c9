"""Extensions checked by the StructureDefinitions of a folder: value types, parts, how often.

Only what a differential says of ``Extension.value[x]`` and ``Extension.extension`` is looked at; extensions of other
addresses pass. Source: FHIR, "Defining Extensions".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fhirspace import json
from fhirspace.errors import InputError, UsageError
from fhirspace.foreign import member
from fhirspace.limits import read_within
from fhirspace.tables import listing

Fault = tuple[str, str]
"""Where (the path in the resource), and what was expected there."""


@dataclass(slots=True)
class Shape:
    """What an extension may hold.

    Attributes:
        values: the JSON names of its value (``valueString``), empty where it has none; None: anything.
        required: whether it must have a value.
        parts: the shapes of its parts by their ``url``; most: how often a part may occur ("*": any number).
        closed: whether it has no other parts.
    """

    values: set[str] | None = None
    required: bool = False
    parts: dict[str, Shape] = field(default_factory=dict)
    most: str = "*"
    closed: bool = False


def load(folder: Path) -> dict[str, Shape]:
    """The extensions that a folder of StructureDefinitions (``*.json``) defines, by address.

    Raises:
        UsageError: FS617, there is none, or one that cannot be read.
        InputError: FS156, FS157 as `listing.given`; FS160, one is too large.
    """
    found: dict[str, Shape] = {}
    for path in sorted(folder.glob("*.json")):
        listing.given(path)
        try:
            definition = json.decode(read_within("document-bytes", path))
            if definition.get("resourceType") == "StructureDefinition" and definition.get("type") == "Extension":
                found[definition["url"]] = _Elements(definition["differential"]["element"]).shape("Extension")
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            raise UsageError("FS617", path.name, "a StructureDefinition with a differential") from None
        except OSError as error:
            raise InputError("FS101", path.name, "a file that can be read") from error
    if not found:
        raise UsageError("FS617", folder.name, "StructureDefinitions of extensions (*.json)")
    return found


class _Elements:
    """The elements of an extension by their ids, and the names of the parts of each."""

    def __init__(self, elements: list[dict[str, Any]]) -> None:
        self._by_id = {element["id"]: element for element in elements}
        self._parts: dict[str, list[str]] = {}
        for identity in self._by_id:
            parent, _, name = identity.rpartition(".extension:")
            if parent and "." not in name:
                self._parts.setdefault(parent, []).append(name)

    def shape(self, identity: str) -> Shape:
        """The shape of the extension, or part, whose elements have ids that begin with `identity`."""
        shape = Shape(most=self._by_id.get(identity, {}).get("max", "*"))
        value = self._by_id.get(f"{identity}.value[x]")
        if value is not None:
            types = [each["code"] for each in value.get("type", ())]
            if value.get("max") == "0":
                shape.values = set()
            elif types:
                shape.values = {f"value{name[:1].upper()}{name[1:]}" for name in types}
            shape.required = value.get("min", 0) > 0
        inner = self._by_id.get(f"{identity}.extension", {})
        shape.closed = inner.get("max") == "0" or inner.get("slicing", {}).get("rules") == "closed"
        for name in self._parts.get(identity, ()):
            part = f"{identity}.extension:{name}"
            url = self._by_id.get(f"{part}.url", {}).get("fixedUri", name)
            shape.parts[url] = self.shape(part)
        return shape


def check(raw: bytes, shapes: dict[str, Shape]) -> Iterator[Fault]:
    """What is wrong with the extensions of a resource, wherever they are. A line that is no JSON is not checked."""
    try:
        resource = json.parse(raw)
    except json.JsonError:
        return
    kind = resource.get("resourceType", "") if isinstance(resource, dict) else ""
    yield from _walk(resource, member(str(kind), 1), shapes)


def _walk(value: Any, path: str, shapes: dict[str, Shape]) -> Iterator[Fault]:
    if isinstance(value, list):
        for place, item in enumerate(value):
            if isinstance(item, dict | list):
                yield from _walk(item, f"{path}[{place}]", shapes)
    elif isinstance(value, dict):
        for at, (name, item) in enumerate(value.items(), 1):
            if not isinstance(item, dict | list):
                continue
            label = member(name, at)
            inner = f"{path}.{label}" if path else label
            yield from _walk(item, inner, shapes)
            if name in ("extension", "modifierExtension"):
                yield from _extensions(item, inner, shapes)


def _extensions(items: Any, path: str, shapes: dict[str, Shape]) -> Iterator[Fault]:
    """The extensions of one element that have an address of the folder."""
    counts: Counter[str] = Counter()
    for place, item in enumerate(items if isinstance(items, list) else ()):
        url = item.get("url") if isinstance(item, dict) else None
        if isinstance(url, str) and url in shapes:
            counts[url] += 1
            yield from _one(item, f"{path}[{place}]", shapes[url])
            if shapes[url].most == "1" and counts[url] == 2:
                yield f"{path}[{place}]", "this extension once"


def _one(item: dict[str, Any], path: str, shape: Shape) -> Iterator[Fault]:
    values = [name for name in item if name.startswith("value")]
    if shape.values is not None and not shape.values.issuperset(values):
        yield path, "no value" if not shape.values else " or ".join(sorted(shape.values))
    elif shape.required and not values and f"_{next(iter(shape.values or ()), '')}" not in item:
        yield path, "a value"
    parts = [each for each in item.get("extension", ()) if isinstance(each, dict)]
    yield from _extensions(parts, f"{path}.extension", shape.parts)
    for place, part in enumerate(parts):
        if shape.closed and part.get("url") not in shape.parts:
            yield f"{path}.extension[{place}]", "one of " + (", ".join(sorted(shape.parts)) or "no parts")
