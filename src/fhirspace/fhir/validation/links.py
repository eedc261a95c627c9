"""Checks that look beyond one value: targets of references, contained resources, codes of required bindings.

Source: FHIR, "References" (literal references, contained resources: dom-3), "Terminologies" (required bindings).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fhirspace.fhir.validation.leaves import Check, Finding, Scope
from fhirspace.fhir.validation.values.references import named_type
from fhirspace.standards.fhir import Definitions, Element

_ANY = frozenset({"Resource", "DomainResource", "CanonicalResource", "MetadataResource"})


def contained_types(resource: Any) -> dict[str, str]:
    """The types of a resource's contained resources by id."""
    items = resource.get("contained") if isinstance(resource, dict) else None
    return {
        item["id"]: str(item.get("resourceType"))
        for item in (items if isinstance(items, list) else ())
        if isinstance(item, dict) and isinstance(item.get("id"), str)
    }


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

    def check(value: Any, scope: Scope) -> list[Finding] | None:
        found = inner(value, scope)
        text = value.get("reference") if type(value) is dict else None
        if type(text) is str and text:
            kind = _literal_type(text, scope, resources)
            if kind is None or (kind and kind not in allowed):
                lost = kind is None and text[0] == "#"
                found = (found or []) + ([("reference", "FS419", "the id of a contained resource")] if lost else wrong)
        declared = value.get("type") if type(value) is dict else None
        if type(declared) is str and declared in resources and declared not in allowed:
            found = (found or []) + [("type", "FS418", expected)]
        return found

    return check


def _literal_type(text: str, scope: Scope, resources: frozenset[str]) -> str | None:
    """The type that a literal reference names; "" when it does not say; None when it cannot be one."""
    if text[0] == "#":
        scope.used.add(text[1:])
        return scope.contained.get(text[1:]) if len(text) > 1 else ""
    return named_type(text, resources)


def with_codes(inner: Check, element: Element, definitions: Definitions) -> Check:
    """The check of a coded element under a required binding; `inner` itself where there is nothing to add."""
    binding = element.binding
    if binding is None or binding.strength != "required":
        return inner
    values = definitions.values(binding.value_set)
    if values is None or element.type not in ("Coding", "CodeableConcept"):
        return inner
    name = binding.value_set
    kind = element.type

    def check(value: Any, scope: Scope) -> list[Finding] | None:
        found = inner(value, scope)
        if found is None and not _bound(value, kind, values):
            return [("", "FS417", f"a code of {name}")]
        return found

    return check


def _bound(value: dict[str, Any], kind: str, values: Mapping[str, frozenset[str]]) -> bool:
    """Whether a well-formed Coding or CodeableConcept holds a code of the value set."""
    if kind == "CodeableConcept":
        codings = value.get("coding")
        return "extension" in value if codings is None else any(_bound(item, "Coding", values) for item in codings)
    return value.get("code") in values.get(value.get("system", ""), ())
