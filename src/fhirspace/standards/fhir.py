"""What HL7 FHIR's own definitions say: types, elements, bindings and patterns of R4, R4B and R5.

The data are made by ``scripts/make_definitions.py`` out of HL7's packages (StructureDefinition, ValueSet and
CodeSystem resources) and are beside this module, one compressed file per release, read on first use.
"""

from __future__ import annotations

import difflib
import gzip
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files
from types import MappingProxyType
from typing import Literal

import msgspec

Release = Literal["R4", "R4B", "R5"]
RELEASES: tuple[Release, ...] = ("R4", "R4B", "R5")
Strength = Literal["required", "extensible", "preferred", "example"]

_STRENGTHS: dict[str, Strength] = {"r": "required", "e": "extensible", "p": "preferred"}
_SIMPLE_QUANTITY = "SimpleQuantity"
_ANY_NUMBER = 0


class _Row(msgspec.Struct, array_like=True):
    """One element definition as it is stored."""

    path: str
    min: int
    max: int
    types: str
    binding: str = ""


class _Extension(msgspec.Struct, array_like=True):
    contexts: list[str]
    types: list[str]
    parts: list[str]


class _File(msgspec.Struct):
    """One packaged file."""

    version: str
    resources: list[str]
    types: dict[str, tuple[str, list[_Row]]]
    primitives: dict[str, str]
    values: dict[str, dict[str, list[str]]]
    extensions: dict[str, _Extension]


@dataclass(frozen=True, slots=True)
class Binding:
    """The value set that an element's codes come from, without version (ElementDefinition.binding)."""

    strength: Strength
    value_set: str


@dataclass(frozen=True, slots=True)
class Element:
    """One element as it is named in JSON.

    A choice ``value[x]`` is one `Element` a type: ``valueQuantity``, ``valueString``, ...; these have `min` 0,
    and `choice_min` says whether one of the group is required.

    Attributes:
        name: the JSON name (``valueQuantity``).
        path: the path of the definition (``Observation.value[x]``).
        min: the least number of values.
        max: the largest number of values, None for any number.
        type: one FHIR type (``Quantity``); ``BackboneElement`` or ``Element`` for a group defined in place.
        primitive: whether its JSON value is a text, number or boolean.
        children_path: where `Definitions.children` lists its content; ``Element`` for a primitive (the
            content of its companion ``_name``), ``SimpleQuantity`` for a Quantity without comparator.
        targets: allowed types of the reference (or canonical) target; empty for any.
        binding: the value set, None without one.
        choice: the name of the choice (``value[x]``) of which only one may be used, else None.
        choice_min: 1 if the choice is required, else 0.
    """

    name: str
    path: str
    min: int
    max: int | None
    type: str
    primitive: bool
    children_path: str
    targets: tuple[str, ...] = ()
    binding: Binding | None = None
    choice: str | None = None
    choice_min: int = 0

    @property
    def is_list(self) -> bool:
        """Whether its JSON value is an array."""
        return self.max != 1


@dataclass(frozen=True, slots=True)
class Extension:
    """A published extension of HL7: where it may be used, the types of its value, the names of its parts."""

    url: str
    contexts: tuple[str, ...]
    types: tuple[str, ...]
    parts: tuple[str, ...]


class Definitions:
    """The definitions of one release. Get them by `definitions`, which reads each release once."""

    def __init__(self, release: Release, data: bytes) -> None:
        """Args: the release, and the decompressed content of its packaged file."""
        self.release = release
        self._file = msgspec.json.decode(data, type=_File)
        self._children: dict[str, Mapping[str, Element]] = {}
        self._groups: dict[str, dict[str, list[_Row]]] = {}
        self.version: str = self._file.version
        """The version of the release, as in ``4.0.1``."""
        self.resources: frozenset[str] = frozenset(self._file.resources)
        """The names of all resource types that can stand alone."""
        self.primitives: frozenset[str] = frozenset(self._file.primitives)
        """The names of the primitive types."""

    @property
    def types(self) -> frozenset[str]:
        """The names of all types: resources, datatypes (abstract ones too) and primitives."""
        return frozenset(self._file.types) | self.primitives

    def children(self, type_or_path: str) -> Mapping[str, Element]:
        """The elements of a type or of an element, by JSON name, inherited ones first.

        Args:
            type_or_path: a type (``Observation``, ``CodeableConcept``), or a path of JSON names that may run through
                datatypes and reused content (``Observation.component.referenceRange.low``).

        Raises:
            LookupError: there is no such type or element.
        """
        found = self._children.get(type_or_path)
        if found is None:
            found = MappingProxyType(dict(self._make_children(type_or_path)))
            self._children[type_or_path] = found
        return found

    def bases(self, type_name: str) -> list[str]:
        """The types that a type comes from, its parent first (``Age``: Quantity, Element); [] for one without."""
        found: list[str] = []
        while type_name in self._file.types and (type_name := self._file.types[type_name][0]):
            found.append(type_name)
        return found

    def element(self, path: str) -> Element:
        """The element at a path of JSON names, as in ``Observation.code.coding``.

        Raises:
            LookupError: there is no such element.
        """
        parent, _, name = path.rpartition(".")
        found = self.children(parent).get(name) if parent else None
        if found is None:
            raise LookupError(path)
        return found

    def required(self, type_or_path: str) -> frozenset[str]:
        """The names of the required elements; a required choice by its group's name (``value[x]``)."""
        return frozenset(
            child.choice if child.choice is not None else child.name
            for child in self.children(type_or_path).values()
            if child.min or child.choice_min
        )

    def values(self, value_set: str) -> Mapping[str, frozenset[str]] | None:
        """The codes of a value set under a required binding, by system; None when they cannot be enumerated."""
        return self._values.get(value_set)

    def codes(self, value_set: str) -> frozenset[str] | None:
        """The codes of a value set under a required binding; None when they cannot be enumerated (UCUM, BCP 47)."""
        found = self._values.get(value_set)
        return None if found is None else frozenset().union(*found.values())

    def code_systems(self, value_set: str) -> frozenset[str] | None:
        """The code systems of a value set under a required binding; None when it cannot be enumerated."""
        found = self._values.get(value_set)
        return None if found is None else frozenset(found)

    def primitive_regex(self, type_name: str) -> str:
        """The regular expression (Python, RE2) that the whole text of a primitive's value has to match.

        Anchor it on use (`re.fullmatch`, or ``^(?:...)$``), with `re.ASCII`: FHIR's white space is ASCII's.

        Raises:
            LookupError: the type is not a primitive.
        """
        return self._file.primitives[type_name]

    def suggest(self, name: str, type_or_path: str = "") -> list[str]:
        """Up to three names close to a misspelt one: elements of a type or path, or resource types without one."""
        known = self.children(type_or_path) if type_or_path else self.resources
        return difflib.get_close_matches(name, sorted(known), n=3)

    @cached_property
    def extensions(self) -> Mapping[str, Extension]:
        """HL7's published extensions, by address."""
        return MappingProxyType(
            {
                url: Extension(url, tuple(item.contexts), tuple(item.types), tuple(item.parts))
                for url, item in self._file.extensions.items()
            }
        )

    @cached_property
    def _values(self) -> dict[str, Mapping[str, frozenset[str]]]:
        return {
            url: MappingProxyType({system: frozenset(codes) for system, codes in systems.items()})
            for url, systems in self._file.values.items()
        }

    def _make_children(self, key: str) -> Iterator[tuple[str, Element]]:
        type_name, _, inner = key.partition(".")
        if key == _SIMPLE_QUANTITY:
            yield from ((name, child) for name, child in self.children("Quantity").items() if name != "comparator")
        elif type_name in self.primitives and not inner:
            yield from self.children("Element").items()
        elif type_name not in self._file.types:
            raise LookupError(key)
        elif inner and inner not in self._group(type_name):
            yield from self.children(self.element(key).children_path).items()
        else:
            yield from self._inherited(type_name, inner)
            for row in self._group(type_name).get(inner, ()):
                yield from self._elements(type_name, row)

    def _inherited(self, type_name: str, inner: str) -> Iterator[tuple[str, Element]]:
        base, _ = self._file.types[type_name]
        if inner:
            parent, _, name = inner.rpartition(".")
            rows = self._group(type_name)[parent]
            base = next(row.types for row in rows if row.path.rpartition(".")[2] == name)
        if base:
            yield from self.children(base).items()

    def _group(self, type_name: str) -> dict[str, list[_Row]]:
        """The rows of a type by the path of their parent within the type ("" for the type itself)."""
        groups = self._groups.get(type_name)
        if groups is None:
            groups = {}
            for row in self._file.types[type_name][1]:
                groups.setdefault(row.path.rpartition(".")[0], []).append(row)
            self._groups[type_name] = groups
        return groups

    def _elements(self, type_name: str, row: _Row) -> Iterator[tuple[str, Element]]:
        name = row.path.rpartition(".")[2]
        path = f"{type_name}.{row.path}"
        maximum = None if row.max == _ANY_NUMBER else row.max
        binding = Binding(_STRENGTHS.get(row.binding[0], "example"), row.binding[1:]) if row.binding else None
        choice = name if name.endswith("[x]") else None
        for text in row.types.split(" "):
            kind, _, targets = text.rstrip(")").partition("(")
            concrete, children_path = self._concrete(kind, path)
            json_name = name if choice is None else name[:-3] + concrete[0].upper() + concrete[1:]
            yield (
                json_name,
                Element(
                    name=json_name,
                    path=path,
                    min=0 if choice else row.min,
                    max=maximum,
                    type=concrete,
                    primitive=concrete in self.primitives,
                    children_path=children_path,
                    targets=tuple(targets.split(",")) if targets else (),
                    binding=binding if concrete != "Reference" else None,
                    choice=choice,
                    choice_min=row.min if choice else 0,
                ),
            )

    def _concrete(self, kind: str, path: str) -> tuple[str, str]:
        """The type of an element and where its children are listed."""
        if kind.startswith("#"):
            return "BackboneElement", kind[1:]
        if kind == _SIMPLE_QUANTITY:
            return "Quantity", kind
        if kind in self.primitives:
            return kind, "Element"
        return kind, path if kind in ("BackboneElement", "Element") else kind


@cache
def definitions(release: Release = "R4") -> Definitions:
    """The definitions of a release, read once.

    Args:
        release: ``R4`` (4.0.1), ``R4B`` (4.3.0) or ``R5`` (5.0.0).

    Raises:
        ValueError: there are no definitions of that release.
    """
    if release not in RELEASES:
        raise ValueError(f"release is one of {', '.join(RELEASES)}")
    packed = files("fhirspace.standards").joinpath("data", f"fhir-{release.lower()}.json.gz").read_bytes()
    return Definitions(release, gzip.decompress(packed))


class _Names(msgspec.Struct):
    resources: list[str]


@cache
def resource_types(release: str = "") -> frozenset[str]:
    """The names of the resource types of a release; those of all releases for "" and for one that is not known."""
    if release not in RELEASES:
        return frozenset().union(*map(resource_types, RELEASES))
    packed = files("fhirspace.standards").joinpath("data", f"fhir-{release.lower()}.json.gz").read_bytes()
    return frozenset(msgspec.json.decode(gzip.decompress(packed), type=_Names).resources)
