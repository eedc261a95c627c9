"""Where extensions may be used, which of them change the meaning, and how often they may occur on one element.

Source: FHIR, "Defining Extensions" (context, contextInvariant), "Extensibility" (modifierExtension).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from fhirspace.fhir.validation.elements.findings import Check, Finding, Scope
from fhirspace.fhir.validation.invariants.rules import usable
from fhirspace.fhir.validation.structures.registry import Registry
from fhirspace.fhir.validation.values.addresses import absolute
from fhirspace.standards.fhir import Definitions, Element
from fhirspace.standards.hl7.structures import Structure

_ANYWHERE = frozenset({"Element", "Any", "*", "Base"})
NAMES = ("extension", "modifierExtension")
_DEFINITIONS = "StructureDefinition"
_ALSO = {
    "ElementDefinition": (_DEFINITIONS,),
    "CodeSystem.concept": ("ValueSet.compose.include.concept",),
    "ValueSet.expansion.contains": ("string", "ValueSet.compose.include.concept"),
    "OperationDefinition.parameter.binding": ("ElementDefinition.binding",),
}
"""HL7's own definitions of types, codes and operations have extensions that are defined for other elements."""
_OF_VALUE = re.compile(r"extension\('[^']*'\)\.value")
"""The context of an extension on the value of another one, as an expression; other expressions are not judged."""
_SPECIAL = {
    **dict.fromkeys(("code", "id", "markdown"), "string"),
    **dict.fromkeys(("canonical", "oid", "url", "uuid"), "uri"),
    **dict.fromkeys(("positiveInt", "unsignedInt"), "integer"),
}
"""The primitive types that are a special case of another one (FHIR, "Data Types"): they may have its extensions."""


def names_of(element: Element, definitions: Definitions) -> frozenset[str]:
    """All by which the context of an extension may name an element: its path, its type and the bases of that."""
    paths = {element.path, element.path.removesuffix("[x]"), element.children_path, element.type}
    also = {name for each in paths for name in _ALSO.get(each, ())}
    general = {_SPECIAL.get(element.type, element.type)}
    return frozenset(paths | also | general | set(definitions.bases(element.type)))


def names_of_resource(kind: str, definitions: Definitions) -> frozenset[str]:
    """All by which the context of an extension may name a resource."""
    canonical = {"CanonicalResource", "MetadataResource", _DEFINITIONS}
    canonical &= canonical if {"url", "status", "version"} <= definitions.children(kind).keys() else set()
    return frozenset({kind, *definitions.bases(kind), *canonical})


def contexts(inner: Check, kind: str, names: frozenset[str], known: Registry) -> Check:
    """The check of an element with those of its extensions.

    Args:
        inner: its check. kind: its type or path ("": a primitive). names: its names. known: definitions of extensions.
    """

    def check(value: Any, scope: Scope) -> list[Finding] | None:
        found = inner(value, scope)
        if type(value) is dict and ("extension" in value or "modifierExtension" in value):
            more = list(misplaced(value, value, kind, names, known))
            return [*(found or ()), *more] or None
        return found

    return check


def of_resource(inner: Check, name: str, kind: str, names: frozenset[str], known: Registry) -> Check:
    """The check of the extensions of a resource itself. Args: as `contexts`, and the name of the member."""

    def check(value: Any, scope: Scope) -> list[Finding] | None:
        found = inner(value, scope)
        own = scope.around.resource
        whole = own if type(own) is dict and own.get(name) is value else None
        scope.around.asked |= whole is None and any(each.conditions for each in _defined(value, known))
        more = [
            (path.removeprefix(name), code, expected)
            for path, code, expected in misplaced({name: value}, whole, kind, names, known)
        ]
        return [*(found or ()), *more] or None

    return check


def _defined(items: Any, known: Registry) -> Iterator[Structure]:
    for item in items if type(items) is list else ():
        url = item.get("url") if type(item) is dict else None
        found = known.extension(url) if type(url) is str and ":" in url else None
        if found is not None:
            yield found


def misplaced(
    value: Mapping[str, Any], whole: dict[str, Any] | None, kind: str, names: frozenset[str], known: Registry
) -> Iterator[Finding]:
    """What is wrong with the use of the extensions of an object.

    Args:
        value: the object, or what is looked at of it. whole: the object; None where it is not known.
        kind, names, known: as `contexts`.
    """
    own = value.get("url")
    allowed = names | {own} if type(own) is str else names
    for name in NAMES:
        items = value.get(name)
        counts: Counter[str] = Counter()
        for place, item in enumerate(items if type(items) is list else ()):
            url = item.get("url") if type(item) is dict else None
            if type(url) is str and "Extension" not in names and not absolute(url):
                yield f"{name}[{place}].url", "FS415", "an absolute address (only parts have short names)"
            found = known.extension(url) if type(url) is str and ":" in url else None
            if found is None or type(url) is not str:
                continue
            counts[url] += 1
            where = f"{name}[{place}]"
            if counts[url] == 2 and _once(found) and _DEFINITIONS not in names:
                yield where, "FS423", "this extension once"
            expected = _misused(found, name, allowed)
            if expected is None and found.conditions and kind and whole is not None:
                condition = usable(known.release, kind, found.conditions, whole, item)
                expected = condition and f"an element of which this is true: {condition}"
            if expected:
                yield where, "FS429", expected


def _misused(found: Structure, name: str, allowed: frozenset[str]) -> str | None:
    """What was expected where an extension is in the wrong array or of another element; None where it is right."""
    if found.modifier != (name == "modifierExtension"):
        return f"it in {'modifierExtension' if found.modifier else 'extension'}"
    if not _fits(found, allowed):
        return f"an extension of {' or '.join(expression for _, expression in found.contexts)}"
    return None


def _once(known: Structure) -> bool:
    return any(each.id == "Extension" and each.max == "1" for each in known.elements)


def _fits(known: Structure, names: frozenset[str]) -> bool:
    if not known.contexts or "ElementDefinition.type" in names:
        return True
    in_value = "Extension.value" in names
    return any(
        (kind == "fhirpath" and (in_value or not _OF_VALUE.fullmatch(expression)))
        or (kind == "extension" and in_value)
        or expression in _ANYWHERE
        or _plain(expression) in names
        for kind, expression in known.contexts
    )


def _plain(expression: str) -> str:
    """The path or address of a context without the version of its profile or the like."""
    return expression.partition("|")[0] if ":" in expression else expression.removesuffix("[x]")
