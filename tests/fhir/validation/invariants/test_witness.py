"""Our FHIRPath against fhirpathpy: all invariants of a release over HL7's official examples.

Both are outside of the repository: set FHIRSPACE_FHIR_PACKAGES to a folder of unpacked npm packages (`published`), and
install fhirpathpy.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from fhirspace.fhir.validation.invariants.compiler import compiled
from fhirspace.fhir.validation.invariants.items import Item, Model, UndecidedError, model
from fhirspace.fhir.validation.invariants.operators import truth
from fhirspace.fhir.validation.invariants.rules import ELSEWHERE, _Around
from fhirspace.fhir.validation.invariants.surroundings import Surroundings
from fhirspace.json import parse
from fhirspace.standards.fhir import Release
from fhirspace.standards.hl7.structures import structures
from tests.fhir.validation import published
from tests.fhir.validation.faults import sites

MODELS: dict[Release, str] = {"R4": "r4", "R4B": "r4", "R5": "r5"}
LONGEST = 30_000
NOT_THERE = (
    "hasValue",
    "memberOf",
    "resolve",
    "Boundary",
    "comparable",
    "htmlChecks",
    "%resource",
    "%rootResource",
    "%context",
    "matches('[",
    "is Boolean",
    "is decimal",
)
"""What the witness has not, or asks for in another way. It knows the types of primitives of FHIRPath only. It takes a part
of a text for a match; ours, as HL7's validator in R4, the whole text. And bdl-8 of R4 says nothing of an entry without
fullUrl, which the validator lets pass."""
FEWEST = 300


def examples(release: Release) -> list[bytes]:
    """The official examples that are there, without definitions: they are not fetched for this test."""
    if published.folder() is None:
        return []
    lines = [each.line for each in published.examples(release, LONGEST)]
    return [line for line in lines if parse(line)["resourceType"] not in published.DEFINITIONS]


def objects(resource: Any, release: Release) -> Iterator[tuple[str, Any]]:
    """All objects in a resource that are no resources, with their kinds."""
    for site in sites(resource, release):
        if isinstance(site.value, dict) and site.element.type != "Resource":
            yield site.element.children_path, site.value


def ours(types: Model, expression: str, item: Item) -> bool | None:
    try:
        around = Surroundings(item.value, item.value)
        return truth(compiled(expression)((item,), _Around(types, item, around))) is True
    except UndecidedError:
        return None


@pytest.mark.slow
@pytest.mark.parametrize("release", list(MODELS))
def test_the_witness_agrees(release: Release) -> None:
    lines, version = examples(release), MODELS[release]
    if not lines:
        pytest.skip(f"THE EXAMPLES OF {release} ARE NOT THERE: nothing was compared (FHIRSPACE_FHIR_PACKAGES)")
    try:
        witness: Any = importlib.import_module("fhirpathpy")
        models = importlib.import_module("fhirpathpy.models").models
        node = importlib.import_module("fhirpathpy.engine.nodes").ResourceNode.create_node
    except ImportError:
        pytest.skip("fhirpathpy IS NOT INSTALLED: nothing was compared")
    types, made = model(release), {}
    invariants = structures(release).invariants()
    compared, differ, beyond = 0, [], set()
    for raw in lines:
        resource, other = parse(raw), msgspec.json.decode(raw)
        kind = resource["resourceType"]
        pairs = zip(objects(resource, release), objects(other, release), strict=True)
        for (place, value), (_, plain) in [((kind, resource), (kind, other)), *pairs]:
            for each in invariants.get(place, ()):
                if each.key in ELSEWHERE or any(part in each.expression for part in NOT_THERE):
                    continue
                mine = ours(types, each.expression, Item(value, place))
                try:
                    if (place, each.expression) not in made:
                        made[place, each.expression] = witness.compile(each.expression, models[version])
                    focus = plain if place == kind else node(plain, place)
                    theirs = made[place, each.expression](focus, {"ucum": "http://unitsofmeasure.org"})
                except Exception:
                    beyond.add(each.key)
                    continue
                compared += 1
                if mine is not None and mine != (theirs == [True]) and (each.key, theirs) != ("bdl-8", []):
                    differ.append((each.key, resource.get("id"), mine, theirs))
    print(compared, "compared; beyond the witness:", *sorted(beyond))
    assert compared > FEWEST
    assert differ == []
