"""Checks of codes: those of complete code systems, and the bindings of elements.

A code that a complete code system does not have is wrong wherever it is used. Under a required binding a value needs a
code of the value set; under an extensible one a code of another system is a warning, as the standard asks for one of
the value set where that has what is meant. Source: FHIR, "Terminologies", "Using Codes in Resources".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from fhirspace.fhir.tags import OWN
from fhirspace.fhir.validation.elements.findings import Check, Finding, Scope
from fhirspace.fhir.validation.structures.registry import Registry
from fhirspace.fhir.validation.structures.slices import has_code
from fhirspace.fhir.validation.values.objects import GRAMMARS
from fhirspace.standards.fhir import Element
from fhirspace.standards.hl7.terms import ValueSet

_MOST = 12
_BCP_47 = "urn:ietf:bcp:47"
_LANGUAGES = ("preferred", "http://hl7.org/fhir/ValueSet/languages")
"""The binding of R4 and R4B whose maximum (ElementDefinition.binding, maxValueSet) is all of BCP 47."""
_ANY_LANGUAGE = "Citation.citedArtifact."
"""Where it has no maximum."""
_CODED = frozenset({"Coding", "CodeableConcept"})
_BARE = frozenset({"Coding", "Quantity", "SimpleQuantity", "Age", "Count", "Distance", "Duration"})
_OF_FHIR = re.compile(r"http://hl7\.org/fhir/[^/]+/?|http://(?:hl7\.org/fhir|terminology\.hl7\.org)/ValueSet/.*")


def unknown(value: Mapping[str, Any], known: Registry) -> list[Finding]:
    """What is wrong with the code of a Coding: its system is complete, and has no such code.

    Systems of others without a list of codes are noted; ours have the study's own codes, of which there is no list.
    """
    system, code = value.get("system"), value.get("code")
    if type(system) is not str or type(code) is not str:
        return []
    found = known.system(system)
    if found is None and known.unjudged is not None and system not in GRAMMARS and not system.startswith(OWN):
        known.unjudged.add(system, code)
    if found is None or found.holds(code):
        return []
    return [("code", "FS426", f"a code of {system}")]


def with_codes(inner: Check, element: Element, value_set: Callable[[str], ValueSet | None], *, full: bool) -> Check:
    """The check of a coded element with its binding; `inner` itself where there is nothing to add.

    Args: its check, the element, finds value sets; `full`: with warnings about extensible bindings.
    """
    binding = element.binding
    judged = ("required", "extensible") if full else ("required",)
    if binding is None or element.type not in _CODED:
        return inner
    if (binding.strength, binding.value_set) == _LANGUAGES and not element.path.startswith(_ANY_LANGUAGE):
        return _with_language(inner)
    if binding.strength not in judged:
        return inner
    values = value_set(binding.value_set)
    if values is None:
        return inner
    some = values.some(_MOST)
    expected = f"one of {', '.join(some)}" if some else f"a code of {binding.value_set}"
    required = binding.strength == "required"
    wrong: list[Finding] = [("", "FS417" if required else "FS427", expected)]

    def check(value: Any, scope: Scope) -> list[Finding] | None:
        found = inner(value, scope)
        if found is not None and any(code != "FS426" for _, code, _ in found):
            return found
        if not required and not _coded(value):
            return found
        if has_code(value, values) is False and not (required and "coding" not in value and "extension" in value):
            return [*(found or ()), *wrong]
        return found

    return check


def of_fhir(inner: Check, element: Element, known: Registry) -> Check:
    """The check of a Coding or Quantity without a binding, where any system may be used, but one that there is.

    An address of FHIR's own is that of a code system of some release, and not that of a value set.
    """
    bound = element.binding is not None and element.binding.strength != "example"
    if element.type not in _BARE or bound or element.path == "CodeableConcept.coding":
        return inner

    def check(value: Any, scope: Scope) -> list[Finding] | None:
        found = inner(value, scope)
        system = value.get("system") if type(value) is dict else None
        if type(system) is not str or not _OF_FHIR.fullmatch(system) or known.names_system(system):
            return found  # most are of others, who may call them as they like
        return [*(found or ()), ("system", "FS415", "the address of a code system that FHIR has")]

    return check


def _with_language(inner: Check) -> Check:
    """The check of an element whose codes are preferred from a list, and have to be language tags at the least."""

    def check(value: Any, scope: Scope) -> list[Finding] | None:
        found = inner(value, scope)
        codings = value.get("coding") if type(value) is dict else None
        systems = [each.get("system") for each in (codings if type(codings) is list else ()) if type(each) is dict]
        if not systems or _BCP_47 in systems or None in systems:
            return found
        return [*(found or ()), ("", "FS417", "a language tag, such as en-US, of urn:ietf:bcp:47")]

    return check


def _coded(value: Mapping[str, Any]) -> bool:
    """Whether there is a code with a system at all: a text alone is no code of another system."""
    codings = value.get("coding", [value])
    return any(type(each) is dict and "code" in each and "system" in each for each in codings)
