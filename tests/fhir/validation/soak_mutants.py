"""Official examples with one fault each, by HL7's validator and by ours: ``pytest -m soak -s`` on this file.

The examples are the shortest of each type that our check passes; what HL7's validator refuses of them is left out. The
seeds are fresh, or FHIRSPACE_SEED and those after it. Printed are, for each release, how many HL7's validator refuses,
how many of these we find (a line with an error; an error at the same element), and each that we miss; and by class what
only we refuse. Some four minutes of CPU a release, with Java; the examples come from npm.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from msgspec.json import decode, encode

from fhirspace.fhir.validation.check import Checker, compiled
from fhirspace.standards.fhir import Release
from tests.fhir.validation import faults, oracle, published
from tests.fhir.validation.agreement import Compared, compare, errors
from tests.fhir.validation.right import RIGHT

MUTANTS = 300
"""So many of each seed."""
SEEDS = 3
LEAST = 0.98
"""The share of the lines that HL7's validator refuses that we have to find."""
LONGEST = 8_000
TYPES = 38
"""The fewest types that are broken: those that mappings write, and 26 others."""


class Broken(NamedTuple):
    """A broken line: by which seed, of which example, its fault."""

    seed: int
    example: int
    fault: str
    line: bytes


@pytest.mark.soak
@pytest.mark.parametrize("release", list(published.EXAMPLES))
def test_mutants(release: Release, tmp_path: Path) -> None:
    oracle.available()
    checker = compiled(release)
    examples = list(shortest(release, checker))
    first = int(os.environ.get("FHIRSPACE_SEED") or random.SystemRandom().randrange(10**6))
    seeds = range(first, first + SEEDS)
    broken = [each for seed in seeds for each in broken_by(seed, examples, release)]
    lines = [*examples, *(each.line for each in broken)]
    (verdicts,) = oracle.judge([oracle.Input(lines, release)], tmp_path / "oracle", seconds=3600)
    right = {place for place in range(len(examples)) if not any(each.refuses for each in verdicts[place])}
    types = {decode(examples[place])["resourceType"] for place in right}
    compared = [
        (each, compare(verdict, errors(each.line, checker)))
        for each, verdict in zip(broken, verdicts[len(examples) :], strict=True)
        if each.example in right
    ]
    assert len(types) >= TYPES
    print(f"\n{release}, seeds {[*seeds]}: {len(compared):,} broken of {len(right)} examples of {len(types)} types")
    judged(release, compared)


def shortest(release: Release, checker: Checker) -> Iterator[bytes]:
    """The shortest example of each type that we pass, and those of which the generator's named faults are."""
    if release != "R5":
        yield from map(encode, RIGHT)
    found: dict[str, bytes] = {}
    for _, line in sorted(published.examples(release, LONGEST), key=lambda each: len(each.line)):
        kind = decode(line)["resourceType"]
        if kind not in found and not errors(line, checker):
            found[kind] = line
    yield from found.values()


def broken_by(seed: int, examples: list[bytes], release: Release) -> Iterator[Broken]:
    """Mutants, each with the example that it was made of: each example in turn."""
    for number in range(MUTANTS):
        place = (seed + number) % len(examples)
        for each in faults.mutants([decode(examples[place])], seed * MUTANTS + number, 1, release):
            yield Broken(seed, place, each.fault, encode(each.resource))


def judged(release: Release, compared: list[tuple[Broken, Compared]]) -> None:
    """Print what was found, and fail where it is too little."""
    refused = [(each, found) for each, found in compared if found.found or found.missed]
    missed = [(each, found) for each, found in refused if not found.found and not errors(each.line, compiled(release))]
    near = sum(not found.missed for _, found in refused)
    print(f"{release}: HL7's refuses {len(refused)}, found {len(refused) - len(missed)}, every error of them {near}")
    for each, found in missed:
        print(f"  MISSED {each.fault} (seed {each.seed}): {found.missed[0]}\n    {each.line.decode()}")
    only = Counter(each.fault for each, found in compared if found.ours and not found.found and not found.missed)
    print(f"{release}: only fhirspace {only.total()}: {dict(only.most_common())}")
    assert len(missed) <= len(refused) * (1 - LEAST)
