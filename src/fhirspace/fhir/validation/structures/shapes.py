"""What the definitions of a package must look like where fhirspace reads them: kinds of values, and what is required.

A member that is not read here may hold anything. Source: FHIR, "StructureDefinition", "ValueSet", "CodeSystem".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from fhirspace.limits import LIMITS
from fhirspace.standards.hl7.structures import Structure

_DEEPEST: Final = LIMITS["json-depth"].most or 0


class _Property(msgspec.Struct):
    code: str
    valueCode: str = ""  # noqa: N815 (the name in FHIR)


class _Concept(msgspec.Struct):
    code: str
    concept: list[_Concept] = []
    property: list[_Property] = []


class _CodeSystem(msgspec.Struct):
    content: str = ""
    concept: list[_Concept] = []


class _Code(msgspec.Struct):
    code: str


class _Filter(msgspec.Struct):
    property: str
    op: str
    value: str = ""


class _Include(msgspec.Struct):
    system: str = ""
    valueSet: list[str] = []  # noqa: N815 (the name in FHIR)
    concept: list[_Code] = []
    filter: list[_Filter] = []


class _Compose(msgspec.Struct):
    include: list[_Include] = []
    exclude: list[_Include] = []


class _ValueSet(msgspec.Struct):
    compose: _Compose | msgspec.UnsetType = msgspec.UNSET


_SHAPES: Final[Mapping[str, Any]] = {"ValueSet": _ValueSet, "CodeSystem": _CodeSystem}


def fits(definition: Mapping[str, Any]) -> bool:
    """Whether a ValueSet or CodeSystem has values of the right kinds; true of other resources."""
    shape = _SHAPES.get(str(definition.get("resourceType")))
    try:
        return shape is None or msgspec.convert(definition, shape) is not None
    except (msgspec.ValidationError, RecursionError):
        return False


def as_defined(structure: Structure) -> Structure:
    """A structure whose parts are of the kinds that they should be.

    Raises:
        ValueError: one is not, or its elements are deeper in one another than any resource may be.
    """
    found = msgspec.convert(msgspec.to_builtins(structure), Structure)
    if any(each.id.count(".") > _DEEPEST for each in found.elements):
        raise ValueError(_DEEPEST)
    return found
