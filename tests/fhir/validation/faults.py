"""A generator of faults: resources that are right, each with one thing wrong, by classes that have names.

`mutants` draws classes and places by a seed. A class is a family of faults: for values of a primitive type, for objects
of a data type, for a whole resource. Whether a mutant is wrong is not decided here: HL7's validator is (`oracle`).
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from fhirspace.standards.fhir import Element, Release, definitions
from tests.fhir.validation import fault_invariants, fault_objects, fault_resources, fault_values
from tests.fhir.validation.fault_forms import FORMS, OBJECT_FORMS
from tests.fhir.validation.fault_shapes import BUNDLE_SHAPES, BUNDLES, SITES, WHOLE_SHAPES

Json = dict[str, Any]


def _together(*tables: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Tables of tables as one."""
    return {
        kind: {label: fault for table in tables for label, fault in table.get(kind, {}).items()}
        for kind in dict.fromkeys(kind for table in tables for kind in table)
    }


VALUES = _together(fault_values.VALUES, FORMS)
OBJECTS = _together(fault_objects.OBJECTS, OBJECT_FORMS, BUNDLE_SHAPES)
INVARIANTS = _together(fault_invariants.INVARIANTS, {"Bundle": BUNDLES})
WHOLE = {**fault_resources.WHOLE, **WHOLE_SHAPES}


class Site(NamedTuple):
    """One value: the object or array that holds it, its name or index there, its element, the object's kind."""

    holder: Any
    key: Any
    element: Element
    owner: Json
    kind: str

    @property
    def value(self) -> Any:
        """The value."""
        return self.holder[self.key]

    def set(self, value: Any) -> None:
        """Put another value in its place."""
        self.holder[self.key] = value


class Mutant(NamedTuple):
    """A resource with a fault, and the name of its class."""

    fault: str
    resource: Json


def sites(resource: Json, release: Release) -> Iterator[Site]:
    """All values of a resource, with those of the resources in it."""
    yield from _sites(resource, resource.get("resourceType", ""), release)


def _sites(owner: Json, kind: str, release: Release) -> Iterator[Site]:
    known = definitions(release)
    try:
        children = known.children(kind)
    except LookupError:
        return
    for name, value in list(owner.items()):
        element = children.get(name)
        if element is None:
            continue
        places: Sequence[tuple[Any, Any]] = (
            [(value, at) for at in range(len(value))] if isinstance(value, list) else [(owner, name)]
        )
        for holder, key in places:
            yield Site(holder, key, element, owner, kind)
            inner = holder[key]
            if isinstance(inner, dict):
                inside = inner.get("resourceType", "") if element.type == "Resource" else element.children_path
                yield from _sites(inner, inside, release)


def classes() -> list[str]:
    """The names of all classes."""
    named = [
        f"{kind}:{label}" for table in (VALUES, OBJECTS, INVARIANTS) for kind, row in table.items() for label in row
    ]
    return [*named, *(f"resource:{label}" for label in WHOLE), *STRUCTURE]


def _drop_required(site: Site, rng: random.Random) -> bool:
    if not site.element.min or site.holder is not site.owner:
        return False
    del site.holder[site.key]
    return True


def _bogus_code(site: Site, rng: random.Random) -> bool:
    element = site.element
    if element.binding is None or element.binding.strength != "required":
        return False
    bogus = {"code": "no-such-code", "Coding": {"system": "http://a.b", "code": "c"}}
    bogus["CodeableConcept"] = {"coding": [bogus["Coding"]]}
    if element.type not in bogus:
        return False
    site.set(copy.deepcopy(bogus[element.type]))
    return True


def _second_choice(site: Site, rng: random.Random) -> bool:
    if site.element.choice is None or site.holder is not site.owner:
        return False
    stem = site.element.choice[:-3]
    site.owner[f"{stem}Boolean" if site.element.type != "boolean" else f"{stem}String"] = True
    return True


def _other_target(site: Site, rng: random.Random) -> bool:
    if site.element.type != "Reference" or not site.element.targets or "Resource" in site.element.targets:
        return False
    site.set({"reference": "Parameters/1"})
    return True


def _emptied(site: Site, rng: random.Random) -> bool:
    if site.element.primitive or not isinstance(site.value, dict) or site.element.type == "Resource":
        return False
    site.value.clear()
    return True


def _unknown_part(site: Site, rng: random.Random) -> bool:
    if not isinstance(site.value, dict):
        return False
    site.value["bogus"] = "a"
    return True


def _null_item(site: Site, rng: random.Random) -> bool:
    if not isinstance(site.holder, list):
        return False
    site.set(None)
    return True


def _primitive_object(site: Site, rng: random.Random) -> bool:
    if not site.element.primitive:
        return False
    site.set({"value": site.value})
    return True


def _object_primitive(site: Site, rng: random.Random) -> bool:
    if site.element.primitive:
        return False
    site.set("a")
    return True


STRUCTURE: dict[str, Callable[[Site, random.Random], bool]] = {
    "required-missing": _drop_required,
    "required-binding": _bogus_code,
    "second-choice": _second_choice,
    "target-type": _other_target,
    "emptied": _emptied,
    "unknown-part": _unknown_part,
    "null-item": _null_item,
    "primitive-as-object": _primitive_object,
    "object-as-primitive": _object_primitive,
    **SITES,
}


def mutants(resources: Sequence[Json], seed: int, count: int, release: Release = "R4") -> Iterator[Mutant]:
    """Resources with one fault each.

    Args:
        resources: resources that are right.
        seed: what is drawn depends on it alone.
        count: how many.
        release: the release of the resources.
    """
    rng = random.Random(seed)
    names = classes()
    made = 0
    for _ in range(count * 200):
        if made == count:
            return
        fault = names[rng.randrange(len(names))]
        resource = copy.deepcopy(resources[rng.randrange(len(resources))])
        if _break(fault, resource, rng, release):
            made += 1
            yield Mutant(fault, resource)


def _break(fault: str, resource: Json, rng: random.Random, release: Release) -> bool:
    """Whether the fault of a class could be made in a resource."""
    kind, _, label = fault.partition(":")
    if kind == "resource":
        try:
            WHOLE[label](resource, rng)
        except (IndexError, KeyError):
            return False
        return True
    if kind in INVARIANTS and label in INVARIANTS[kind]:
        if resource.get("resourceType") != kind:
            return False
        INVARIANTS[kind][label](resource)
        return True
    found = [site for site in sites(resource, release) if _fits(site, kind)]
    rng.shuffle(found)
    return any(_break_site(kind, label, site, rng) for site in found[:20])


def _break_site(kind: str, label: str, site: Site, rng: random.Random) -> bool:
    if kind in STRUCTURE:
        return STRUCTURE[kind](site, rng)
    if kind in VALUES:
        site.set(VALUES[kind][label])
    else:
        OBJECTS[kind][label](site.value)
    return True


def _fits(site: Site, kind: str) -> bool:
    if kind in STRUCTURE:
        return True
    if kind in OBJECTS:
        return isinstance(site.value, dict) and kind in (site.element.type, site.element.children_path)
    return site.element.type == kind
