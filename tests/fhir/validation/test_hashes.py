"""Tables of hashes, small ones by sets and large ones by Arrow: both say the same."""

from __future__ import annotations

from array import array

import pytest

from fhirspace.fhir.validation import hashes

NUMBERS = array("q", [*range(-50, 50), -3, 7, 7, 2**63 - 1, -(2**63), -(2**63)])
NONE = array("q")


@pytest.fixture(params=[10, 1_000_000], autouse=True)
def few(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashes, "_FEW", request.param)


def test_those_that_repeat() -> None:
    assert hashes.repeating(NUMBERS) == {-3, 7, -(2**63)}
    assert hashes.repeating(array("q", range(20))) == set()
    assert hashes.repeating(NONE) == set()


def test_those_that_the_other_table_does_not_have() -> None:
    assert hashes.missing(array("q", [7, 99, -(2**63), 99, 0]), NUMBERS) == [1, 3]
    assert hashes.missing(NUMBERS, NONE) == list(range(len(NUMBERS)))
    assert hashes.missing(NONE, NUMBERS) == []


def test_those_of_somebody_else() -> None:
    there = array("q", [*range(100, 120), 1, 2, 3, 3])
    owned_by = array("q", [*[5] * 20, 5, 0, 6, 7])
    targets, owners = array("q", [1, 1, 2, 3, 3, 4]), array("q", [5, 6, 5, 6, 7, 5])
    assert hashes.of_others(targets, owners, there, owned_by) == [1, 4]
    assert hashes.of_others(NONE, NONE, there, owned_by) == []
    assert hashes.of_others(targets, owners, NONE, NONE) == []
