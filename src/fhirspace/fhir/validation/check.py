"""The own check of resources against HL7's definitions, compiled for each type on its first use.

What is checked: known elements, cardinality, JSON kinds, primitive patterns, choices, required elements, required
bindings, targets of references, contained resources and the references to them, extensions, nothing empty, and the
companions ``_name`` of primitives. Source: FHIR, "JSON Representation", "References", "Extensibility",
"Terminologies" (binding strengths). A check returns None where nothing is wrong, so that a good resource costs no
path: paths are put together on the way out of a finding.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from fhirspace.fhir.validation.elements import artefacts, codes, datatypes
from fhirspace.fhir.validation.elements.contexts import contexts, names_of
from fhirspace.fhir.validation.elements.findings import ADVICE, Check, Finding, Scope, prefixed
from fhirspace.fhir.validation.elements.objects import ObjectCheck, many
from fhirspace.fhir.validation.elements.primitives import leaf
from fhirspace.fhir.validation.elements.references import contained_types, doubled, reference, repeated, unused
from fhirspace.fhir.validation.invariants.rules import rules
from fhirspace.fhir.validation.invariants.surroundings import Surroundings
from fhirspace.fhir.validation.structures.registry import Registry, registry
from fhirspace.standards.fhir import Definitions, Element, Release, definitions

_KINDS = {**datatypes.KINDS, **artefacts.KINDS}


def check(resource: object, release: Release = "R4", *, full: bool = False) -> list[Finding]:
    """Check one resource, with everything in it (contained resources, a Bundle's entries).

    Args:
        resource: the resource as parsed JSON; numbers as `json.Number`, int, float or Decimal.
        release: the release of FHIR it is written in.
        full: with warnings about what FHIR only recommends (`ADVICE`).

    Returns:
        For each finding: the element's path (``Observation.component[1].code``), a code FS4xx of the catalogue,
        and what was expected there. Empty when nothing is wrong. Never a value of the resource.
    """
    return judged(resource, compiled(release, full=full))


def judged(resource: object, checker: Checker) -> list[Finding]:
    """`check` by the checks that are given."""
    found = checker.resource(resource, Scope({}))
    if not found:
        return []
    kind = resource.get("resourceType") if isinstance(resource, dict) else None
    return prefixed(kind, found) if isinstance(kind, str) and kind in checker.definitions.resources else found


@cache
def compiled(release: Release, *, full: bool = False) -> Checker:
    """The checks of a release; types are compiled when they are first met. `full`: with what is advice only."""
    return Checker(definitions(release), registry(release), full=full)


class Checker:
    """All checks of one release."""

    def __init__(self, definitions: Definitions, known: Registry, *, full: bool, profiles: Sequence[str] = ()) -> None:
        """Make the checks.

        Args:
            definitions: those of the release. known: the structures and codes that are known.
            full: with advice. profiles: further profiles that resources of their types have to conform to.
        """
        self.asked: dict[str, list[str]] = {}
        for url in profiles:
            self.asked.setdefault(known.type_of(url), []).append(url)
        self.full = full
        self.definitions = definitions
        self.registry = known
        self.invariants = rules(definitions.release)
        self._objects: dict[str, ObjectCheck] = {}

    def object(self, key: str) -> ObjectCheck:
        """The check of an object: a type, or a group within one (``Observation.component``)."""
        found = self._objects.get(key)
        if found is None:
            found = _KINDS.get(key, ObjectCheck)(self, key)
            self._objects[key] = found
        return found

    def resource(self, value: Any, scope: Scope) -> list[Finding] | None:
        """Check a resource on its own: its references to ``#id`` refer to its own contained resources."""
        own = Scope(contained_types(value), scope.depth, _surroundings(value, scope))
        found = self._typed(value, own) or []
        found += [(f"contained[{place}]", "FS419", "a reference to its id") for place in unused(value, own)]
        found += [(f"contained[{place}].id", "FS419", "an id of its own") for place in doubled(value)]
        found += repeated(value)
        return found or None

    def contained(self, value: Any, scope: Scope) -> list[Finding] | None:
        """Check a contained resource: it has an id and contains nothing itself (dom-2)."""
        container, scope.around.resource = scope.around.resource, value
        found = self._typed(value, scope) or []
        scope.around.resource = container
        found += repeated(value)
        if isinstance(value, dict):
            if "contained" in value:
                found.append(("contained", "FS419", "no contained resource in a contained one"))
            if "id" not in value:
                found.append(("id", "FS412", "id of a contained resource"))
        return found or None

    def _typed(self, value: Any, scope: Scope) -> list[Finding] | None:
        if not isinstance(value, dict):
            return [("", "FS414", "a resource: a JSON object with resourceType")]
        kind = value.get("resourceType")
        if not isinstance(kind, str) or kind not in self.definitions.resources:
            return [("resourceType", "FS410", f"a resource type of {self.definitions.release}")]
        found = self.object(kind)(value, scope)
        if kind in self.asked or (type(value.get("meta")) is dict and "profile" in value["meta"]):
            found = [*(found or ()), *self.declared(value, kind)]
        return found or None

    def declared(self, resource: dict[str, Any], kind: str) -> list[Finding]:
        """What is wrong with a resource by the profiles that it declares."""
        found = self.registry.declared(resource, kind, self.asked.get(kind, ()))
        return [each for each in found if self.full or each[1] not in ADVICE]

    def element(self, element: Element) -> Check:
        """The check of the content under an element's JSON name."""
        one = self.one(element)
        if not element.is_list:
            return one
        return many(one, null="FS421" if element.primitive else "FS420")

    def one(self, element: Element) -> Check:
        """The check of one value of an element, which may be a list of such."""
        if element.primitive:
            return leaf(element, self.definitions)
        if element.type == "Resource":
            return self.contained if element.name == "contained" else self._inner_resource
        found: Check = self.object(element.children_path)
        if element.type == "Reference":
            found = contexts(found, element.children_path, names_of(element, self.definitions), self.registry)
            return reference(found, element.targets, self.definitions.resources)
        if element.type == "CodeableReference" and element.targets:
            found = ObjectCheck(self, element.children_path, reference_targets=element.targets)
        found = contexts(found, element.children_path, names_of(element, self.definitions), self.registry)
        found = codes.of_fhir(found, element, self.registry)
        return codes.with_codes(found, element, self.registry.value_set, full=self.full)

    def _inner_resource(self, value: Any, scope: Scope) -> list[Finding] | None:
        return self.resource(value, scope)

    def companion(self, element: Element) -> Check:
        """The check of ``_name``, which holds id and extensions of a primitive."""
        one = contexts(self.object("Element"), "", names_of(element, self.definitions), self.registry)
        if not element.is_list:
            return one

        def nullable(value: Any, scope: Scope) -> list[Finding] | None:
            return None if value is None else one(value, scope)

        return many(nullable, null="")


def _surroundings(value: Any, scope: Scope) -> Surroundings:
    """What is around the parts of a resource that is in what `scope` is about."""
    if not isinstance(value, dict):
        return Surroundings()
    outer = scope.around.root
    bundle = outer if outer is not None and outer.get("resourceType") == "Bundle" else scope.around.bundle
    return Surroundings(value, value, bundle)
