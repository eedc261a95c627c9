"""What HL7's validator says of all broken resources of the tests: one Java process judges them.

To start it and to read HL7's definitions takes as long as to judge them.
"""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest
from msgspec.json import encode

from tests.fhir.validation import faults, guide, oracle
from tests.fhir.validation.right import RIGHT
from tests.fhir.validation.twins import twins

SEEDS = [1, int(os.environ.get("FHIRSPACE_SEED") or random.SystemRandom().randrange(10**6))]
MUTANTS, TWINS = 250, 150
"""So many broken resources of each seed."""


class Judged(NamedTuple):
    """What HL7's validator refuses: messages about resources that are right; broken resources, each with its fault."""

    seed: int
    right: list[oracle.Message]
    refused: list[tuple[str, bytes]]


@pytest.fixture(scope="session")
def judged(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Judged]:
    """By release for resources with one fault each (mutants), and as "guide" for twins of those of a small guide."""
    oracle.available()
    folder = tmp_path_factory.mktemp("oracle")
    right: dict[str, Sequence[dict[str, Any]]] = {"R4": RIGHT, "R4B": RIGHT, "guide": guide.RIGHT}
    broken: dict[str, list[tuple[str, bytes]]] = {
        "R4": [(each.fault, encode(each.resource)) for seed in SEEDS for each in faults.mutants(RIGHT, seed, MUTANTS)],
        "R4B": [
            (each.fault, encode(each.resource))
            for seed in SEEDS
            for each in faults.mutants(RIGHT, seed, MUTANTS, "R4B")
        ],
        "guide": [(each.change, encode(each.resource)) for seed in SEEDS for each in twins(guide.RIGHT, seed, TWINS)],
    }
    lines = {name: [*map(encode, right[name]), *(line for _, line in broken[name])] for name in right}
    inputs = [
        oracle.Input(lines["R4"], "R4"),
        oracle.Input(lines["R4B"], "R4B"),
        oracle.Input(lines["guide"], "R4", guide.written(folder / "guide")),
    ]
    answers = dict(zip(right, oracle.judge(inputs, folder), strict=True))
    return {name: _judged(answers[name], len(right[name]), broken[name]) for name in right}


def _judged(verdicts: list[oracle.Verdict], right: int, broken: list[tuple[str, bytes]]) -> Judged:
    refusals = [[message for message in verdict if message.refuses] for verdict in verdicts]
    refused = [each for each, messages in zip(broken, refusals[right:], strict=True) if messages]
    return Judged(SEEDS[-1], [message for messages in refusals[:right] for message in messages], refused)
