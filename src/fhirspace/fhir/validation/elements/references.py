"""Checks that look beyond one value: targets of references and contained resources.

Source: FHIR, "References" (literal references, contained resources: dom-3).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fhirspace.fhir.validation.elements.findings import Check, Finding, Scope
from fhirspace.fhir.validation.values.references import named_type
from fhirspace.foreign import member

_ANY = frozenset({"Resource", "DomainResource", "CanonicalResource", "MetadataResource"})

_VIEWS = ("snapshot", "differential")


def contained_types(resource: Any) -> dict[str, str]:
    """The types of a resource's contained resources by id."""
    items = resource.get("contained") if isinstance(resource, dict) else None
    return {
        item["id"]: str(item.get("resourceType"))
        for item in (items if isinstance(items, list) else ())
        if isinstance(item, dict) and isinstance(item.get("id"), str)
    }


def doubled(resource: Any) -> Iterator[int]:
    """The places of contained resources with an id that another one before them has."""
    seen: set[str] = set()
    items = resource.get("contained") if isinstance(resource, dict) else None
    for place, item in enumerate(items if isinstance(items, list) else ()):
        identity = item.get("id") if isinstance(item, dict) else None
        if isinstance(identity, str):
            if identity in seen:
                yield place
            seen.add(identity)


def repeated(resource: Any) -> Iterator[Finding]:
    """Findings for ids of elements that another element of the same resource has.

    Resources within it (contained, or of a Bundle) have ids of their own, and so do the snapshot and the differential
    of a StructureDefinition, which name the same elements. Source: FHIR, "Element" (id), "ElementDefinition" (id).
    """
    for path in _repeated(resource, "", set(), inner=False):
        yield path, "FS415", "an id that no other element of the resource has"


def _repeated(value: Any, path: str, seen: set[str], *, inner: bool) -> Iterator[str]:
    if isinstance(value, list):
        for place, item in enumerate(value):
            if isinstance(item, dict | list):
                yield from _repeated(item, f"{path}[{place}]", seen, inner=True)
    elif isinstance(value, dict) and not (inner and "resourceType" in value):
        identity = value.get("id") if inner else None
        if isinstance(identity, str):
            if identity in seen:
                yield f"{path}.id"
            seen.add(identity)
        for at, (name, item) in enumerate(value.items(), 1):
            if isinstance(item, dict | list):
                label = member(name, at)
                own = set() if name in _VIEWS else seen
                yield from _repeated(item, f"{path}.{label}" if path else label, own, inner=True)


def unused(resource: Any, scope: Scope) -> Iterator[int]:
    """The places of contained resources that nothing refers to, and that do not refer to their container (dom-3)."""
    if not scope.contained or "" in scope.used:
        return
    for place, item in enumerate(resource["contained"]):
        if isinstance(item, dict) and isinstance(item.get("id"), str) and item["id"] not in scope.used:
            yield place


def reference(inner: Check, targets: tuple[str, ...], resources: frozenset[str]) -> Check:
    """The check of a Reference. Args: the check of its content, the allowed types, all resource types."""
    allowed = resources if not targets or _ANY.intersection(targets) else frozenset(targets)
    expected = "a reference to " + (" or ".join(sorted(targets)) if allowed is not resources else "a resource")
    wrong: list[Finding] = [("reference", "FS418", expected)]
    malformed: list[Finding] = [("reference", "FS418", f"{expected}: Type/id with a legal id, or an address")]
    lost: list[Finding] = [("reference", "FS419", "the id of a contained resource")]

    def check(value: Any, scope: Scope) -> list[Finding] | None:
        found = inner(value, scope)
        if type(value) is not dict:
            return found
        text, kind = value.get("reference"), ""
        if type(text) is str and text:
            named = _literal_type(text, scope, resources)
            kind = named or ""
            if named is None:
                found = (found or []) + (lost if text[0] == "#" else malformed)
            elif named and named not in allowed:
                found = (found or []) + wrong
        declared = value.get("type")
        if type(declared) is str and (declared not in allowed or kind not in ("", declared)):
            found = (found or []) + [("type", "FS418", f"{kind}, as in the reference" if kind else expected)]
        return found

    return check


def _literal_type(text: str, scope: Scope, resources: frozenset[str]) -> str | None:
    """The type that a literal reference names; "" when it does not say; None when it cannot be one."""
    if text[0] == "#":
        scope.used.add(text[1:])
        if len(text) > 1:
            return scope.contained.get(text[1:])
        return None if scope.around.resource is scope.around.root else ""  # "#" is the container, for what is in it
    return named_type(text, resources)
