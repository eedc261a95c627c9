"""Examples of implementation guides, and broken twins of them, by HL7's validator and by ours: ``pytest -m soak -s``.

mCODE and IPS come from npm. For the others FHIRSPACE_FHIR_GUIDES names a folder with checkouts of HL7's repositories:
``US-Core``, ``fhir-ae-research-ig`` and ``fhir-ae-research-backport-ig``; SUSHI makes ``fsh-generated/resources`` in the
latter two. The seed of the twins is fresh, or FHIRSPACE_SEED. A twin is refused where there is an error that the example
has not. Printed is a line for each guide, and each error or twin that only one of the two reports or refuses.
"""

from __future__ import annotations

import os
import random
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from msgspec.json import encode

from fhirspace.fhir.validation.check import Checker
from fhirspace.fhir.validation.structures.packages import load
from fhirspace.fhir.validation.structures.registry import Registry
from fhirspace.standards.fhir import Release, definitions
from tests.fhir.validation import oracle, published
from tests.fhir.validation.agreement import Error, compare, errors, theirs
from tests.fhir.validation.twins import Twin, twins

LEAST = 0.95
"""The share of the twins that HL7's validator refuses that we have to refuse."""
TWINS = 150
JUDGED = {("Vulcan AE, R4", "FS417", "AdverseEvent.outcome")}
"""Errors in examples that only we report and that are right. R4 requires codes of a value set of its own; the guide binds
the element to NCI's, which a profile cannot do."""
BEYOND = re.compile(
    r"CANNOT_BE_EVALUATED|_Cant(?:Match|Resolve)|_Unknown_Profile|_System_Unknown|_BadTargetType"  # not found by it
    r"|loinc\.org/vs|because CodeSystem|ValueSet/languages"  # codes that it has not
    r"|#null'|#null\)"  # a Coding without a code, which FHIR allows
)
"""Errors of HL7's validator that are not about the resource: their kind and text. A definition of another guide, or one
with its version, is not found (so that targets of references are not either), or codes are not listed."""
DEFINING = ("StructureDefinition", "ValueSet", "CodeSystem")


class Broken(NamedTuple):
    """A twin, and the errors that both have of it and not of the example."""

    twin: Twin
    theirs: list[Error]
    ours: list[Error]


class Guide(NamedTuple):
    """A guide: its release, the folders of its definitions (with those of a guide that it builds on), its examples."""

    release: Release
    definitions: list[Path]
    examples: Path


def guides() -> dict[str, Guide]:
    """Those that are there, by name."""
    mcode, ips = (published.package(name) for name in ("hl7.fhir.us.mcode-4.0.0", "hl7.fhir.uv.ips-2.0.0"))
    home = Path(os.environ.get("FHIRSPACE_FHIR_GUIDES", ""))
    core = home / "US-Core" / "input"
    found = {
        "US Core": Guide("R4", [core / "resources"], core / "examples"),
        "mCODE": Guide("R4", [mcode, core / "resources"], mcode / "example"),
        "IPS": Guide("R4", [ips], ips / "example"),
    }
    releases: dict[str, Release] = {"": "R5", "backport-": "R4"}
    for name, release in releases.items():
        made = home / f"fhir-ae-research-{name}ig" / "fsh-generated" / "resources"
        found[f"Vulcan AE, {release}"] = Guide(release, [made], made)
    there = {name: guide for name, guide in found.items() if guide.examples.is_dir()}
    if left := found.keys() - there.keys():
        print(f"NOT COMPARED, as FHIRSPACE_FHIR_GUIDES has not: {sorted(left)}")
    return there


@pytest.mark.soak
def test_guides(tmp_path: Path) -> None:
    oracle.available()
    seed = int(os.environ.get("FHIRSPACE_SEED") or random.SystemRandom().randrange(10**6))
    print(
        f"\nseed {seed}\n| guide | examples | both | only HL7's | only ours | twins | HL7's refuses | found | only ours |"
    )
    faults = list[str]()
    for name, guide in guides().items():
        faults += judged(name, guide, seed, tmp_path / name.replace(" ", ""))
    assert faults == []


def judged(name: str, guide: Guide, seed: int, folder: Path) -> Iterator[str]:
    """Print the line of a guide and what only one reports. Gives what is not as it should be."""
    rules = _rules(guide.definitions, folder / "rules")
    checker = Checker(definitions(guide.release), Registry.of(guide.release, load(rules)), full=False)
    examples = [each for _, each, _ in published.resources(guide.examples) if each["resourceType"] not in DEFINING]
    pairs = list(_twins(examples, seed))
    lines = [encode(each) for each in (*examples, *(twin.resource for _, twin in pairs))]
    (verdicts,) = oracle.judge([oracle.Input(lines, guide.release, rules)], folder / "oracle", seconds=1800)
    own = [errors(line, checker) for line in lines]
    both = [compare(*each) for each in zip(verdicts, own[: len(examples)], strict=False)]
    counts = [sum(len(getattr(each, part)) for each in both) for part in ("found", "missed", "ours")]
    broken = [
        Broken(twin, _new(theirs(verdicts[at]), theirs(verdicts[place])), _new(own[at], own[place]))
        for at, (place, twin) in enumerate(pairs, len(examples))
    ]
    refused = [each for each in broken if any(not BEYOND.search(f"{error.kind} {error.text}") for error in each.theirs)]
    missed = [each for each in refused if not each.ours]
    only = sum(bool(each.ours) and not each.theirs for each in broken)
    numbers = [len(examples), *counts, len(broken), len(refused), len(refused) - len(missed), only]
    print(f"| {name} | {' | '.join(map(str, numbers))} |", flush=True)
    for each in missed:
        print(f"  missed: {each.twin.resource['id']}, {each.twin.change}: {each.theirs[0]}")
    kinds = Counter(error.kind for found in both for error in found.missed)
    print(f"  only HL7's, in examples: {dict(kinds.most_common())}")
    for example, found in zip(examples, both, strict=True):
        for error in found.ours:
            print(f"  only ours: {example['id']}: {error}")
            if (name, error.kind, error.place) not in JUDGED:
                yield f"{name}: {example['id']}: {error.kind} at {error.place}"
    if len(missed) > len(refused) * (1 - LEAST):
        yield f"{name}: {len(missed)} twins of {len(refused)} missed"


def _rules(given: list[Path], folder: Path) -> Path:
    """A folder with definitions alone. HL7's validator stops where a profile has isSummary and its base has not."""
    folder.mkdir(parents=True)
    for name, content, _ in (each for path in given for each in published.resources(path)):
        if content["resourceType"] in DEFINING:
            for element in content.get("differential", {}).get("element", ()):
                element.pop("isSummary", None)
            (folder / name).write_bytes(encode(content))
    return folder


def _twins(examples: list[dict[str, Any]], seed: int) -> Iterator[tuple[int, Twin]]:
    """Twins, each with the place of the example that it was made of."""
    places = {(each["resourceType"], each["id"]): place for place, each in enumerate(examples)}
    for twin in twins(examples, seed, TWINS):
        yield places[twin.resource["resourceType"], twin.resource["id"]], twin


def _new(found: list[Error], before: list[Error]) -> list[Error]:
    """The errors about a twin that there are not about the example."""
    known = {(each.kind, each.text) for each in before}
    return [each for each in found if (each.kind, each.text) not in known]
