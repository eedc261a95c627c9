"""Profiles, definitions of extensions and invariants of HL7 FHIR, reduced to what a validator judges by.

`reduced` makes the compact form of a StructureDefinition, both for the packaged data (``scripts/make_fhir_rules.py``)
and for the profiles of users. Source: FHIR, "Profiling FHIR", "StructureDefinition", "ElementDefinition".
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import msgspec

from fhirspace.standards.fhir import Release

_SYSTEM = "http://hl7.org/fhirpath/System."


class Invariant(msgspec.Struct, array_like=True, frozen=True):
    """A constraint in FHIRPath (ElementDefinition.constraint): HL7's key, its severity and expression."""

    key: str
    severity: str
    expression: str


class TypeRule(msgspec.Struct, array_like=True):
    """One type that is allowed: its name, profiles of it, profiles of the targets of a reference."""

    code: str
    profiles: list[str] = []
    targets: list[str] = []


class Slicing(msgspec.Struct, array_like=True):
    """How the values of an element are divided into slices: discriminators (type, path), rules, order."""

    discriminators: list[tuple[str, str]]
    rules: str = "open"
    ordered: bool = False


class ElementRule(msgspec.Struct, omit_defaults=True):
    """What a structure says of one element, by its id (``Observation.component:systolic.code``)."""

    id: str
    min: int = -1
    max: str = ""
    types: list[TypeRule] = []
    slicing: Slicing | None = None
    fixed: Any = None
    pattern: Any = None
    binding: tuple[str, str] | None = None
    constraints: list[Invariant] = []
    supported: bool = False
    content: str = ""
    longest: int = 0


class Structure(msgspec.Struct, omit_defaults=True):
    """A profile or the definition of an extension.

    Attributes:
        url: its address. type: what it constrains (``Observation``, ``Extension``). base: the address of its base.
        contexts: where an extension may be used: (kind, expression) each. modifier: a modifier extension.
        conditions: in FHIRPath, what must be true of an element that uses an extension (``contextInvariant``).
        whole: `elements` hold what its bases say as well (they come from a snapshot).
    """

    url: str
    type: str
    base: str
    elements: list[ElementRule]
    contexts: list[tuple[str, str]] = []
    modifier: bool = False
    whole: bool = True
    abstract: bool = False
    conditions: list[str] = []


def reduced(definition: Mapping[str, Any]) -> Structure:
    """The compact form of a StructureDefinition.

    Raises:
        LookupError, TypeError, ValueError: it lacks something that every StructureDefinition has.
    """
    listed = definition.get("snapshot", {}).get("element")
    elements = listed or definition["differential"]["element"]
    contexts = [
        (each.get("type", "element"), each["expression"])
        for each in definition.get("context", ())
        if isinstance(each, dict)
    ]
    return Structure(
        url=definition["url"],
        type=definition["type"].rpartition("/")[2],
        base=definition.get("baseDefinition", ""),
        elements=[_element(each) for each in elements],
        contexts=contexts,
        modifier=bool(elements and elements[0].get("isModifier")),
        whole=bool(listed),
        abstract=bool(definition.get("abstract")),
        conditions=list(definition.get("contextInvariant", ())),
    )


def _element(element: Mapping[str, Any]) -> ElementRule:
    binding = element.get("binding") or {}
    slicing = element.get("slicing")
    return ElementRule(
        id=element.get("id") or _identity(element),
        min=element.get("min", -1),
        max=element.get("max", ""),
        types=[_type(each) for each in element.get("type", ()) if not each["code"].startswith(_SYSTEM)],
        slicing=None if slicing is None else _slicing(slicing),
        fixed=_value(element, "fixed"),
        pattern=_value(element, "pattern"),
        binding=(binding["strength"], binding["valueSet"].partition("|")[0]) if "valueSet" in binding else None,
        constraints=[
            Invariant(each["key"], each.get("severity", "error"), each["expression"])
            for each in element.get("constraint", ())
            if each.get("expression")
        ],
        supported=bool(element.get("mustSupport")),
        content=str(element.get("contentReference", "")).rpartition("#")[2],
        longest=element.get("maxLength", 0),
    )


def _identity(element: Mapping[str, Any]) -> str:
    name = element.get("sliceName")
    return f"{element['path']}:{name}" if name else str(element["path"])


def _type(kind: Mapping[str, Any]) -> TypeRule:
    profiles = [each.partition("|")[0] for each in kind.get("profile", ())]
    return TypeRule(kind["code"], profiles, [each.partition("|")[0] for each in kind.get("targetProfile", ())])


def _slicing(slicing: Mapping[str, Any]) -> Slicing:
    found = [(each["type"], each["path"]) for each in slicing.get("discriminator", ())]
    return Slicing(found, slicing.get("rules", "open"), bool(slicing.get("ordered")))


def _value(element: Mapping[str, Any], prefix: str) -> Any:
    """The value of ``fixed[x]`` or ``pattern[x]``; None without one."""
    return next((value for name, value in element.items() if name.startswith(prefix)), None)


class _File(msgspec.Struct):
    invariants: dict[str, list[Invariant]]
    structures: dict[str, msgspec.Raw]


class Structures:
    """The invariants of the types of a release, and HL7's own profiles and extensions; see `structures`."""

    def __init__(self, file: _File) -> None:
        """Args: the content of the packaged file."""
        self._file = file
        self._made: dict[str, Structure] = {}

    def invariants(self) -> Mapping[str, list[Invariant]]:
        """The invariants of all types by the path where they are declared (``Observation``, ``Timing.repeat``)."""
        return self._file.invariants

    def names(self) -> list[str]:
        """The addresses of all profiles and extensions."""
        return list(self._file.structures)

    def get(self, url: str) -> Structure | None:
        """A profile or extension by its address, with or without a version; None where HL7 has none of it."""
        name = url.partition("|")[0]
        if name not in self._made:
            raw = self._file.structures.get(name)
            if raw is None:
                return None
            self._made[name] = msgspec.json.decode(raw, type=Structure)
        return self._made[name]


@cache
def structures(release: Release = "R4") -> Structures:
    """The structures of a release, read once; each is decoded when it is asked for."""
    packed = files("fhirspace.standards").joinpath("data", f"fhir-{release.lower()}-structures.json.gz").read_bytes()
    return Structures(msgspec.json.decode(gzip.decompress(packed), type=_File))
