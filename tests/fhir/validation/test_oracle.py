"""Our check against HL7's own validator, over resources that are right and over mutants with one fault each."""

from __future__ import annotations

from collections import Counter

import pytest
from msgspec.json import encode

from fhirspace.fhir.validation.check import check
from fhirspace.json import JsonError, parse, parse_resource
from fhirspace.standards.fhir import Release
from tests.fhir.validation import faults
from tests.fhir.validation.conftest import MUTANTS, Judged
from tests.fhir.validation.right import RIGHT

LEAST = 0.98
"""The share of what HL7's validator refuses that our check has to find."""


def found(line: bytes, release: Release = "R4") -> bool:
    try:
        return bool(check(parse(line), release)) or bool(parse_resource(line)[1])
    except JsonError:
        return True


@pytest.mark.parametrize("release", ["R4", "R4B"])
def test_what_is_right_is_right(release: Release) -> None:
    assert [item for each in RIGHT for item in check(parse(encode(each)), release)] == []


def test_there_are_many_classes_of_faults() -> None:
    assert len(faults.classes()) == len(set(faults.classes())) >= 700


def test_mutants_depend_on_the_seed_alone() -> None:
    first, again, other = (list(faults.mutants(RIGHT, seed, 20)) for seed in (1, 1, 2))
    assert first == again != other


def test_most_mutants_are_found() -> None:
    """Without the oracle: some classes are no faults for some elements, but few."""
    made = list(faults.mutants(RIGHT, 3, 300))
    missed = [each.fault for each in made if not found(encode(each.resource))]
    assert len(missed) <= len(made) * 0.05, missed


@pytest.mark.server
@pytest.mark.slow
@pytest.mark.parametrize("release", ["R4", "R4B"])
def test_what_hl7s_validator_refuses_is_found(release: Release, judged: dict[str, Judged]) -> None:
    seed, right, refused = judged[release]
    assert right == []
    missed = Counter(fault for fault, line in refused if not found(line, release))
    assert len(refused) > MUTANTS
    assert missed.total() <= len(refused) * (1 - LEAST), f"seed {seed}: {missed}"
