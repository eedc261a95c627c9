"""The laws of mappings, of the kernel and of the reader with many rows: ``pytest tests/mapping/soak_laws.py``.

All of it takes some twenty minutes of CPU, half of them with ``-n 2``; ``-k EG`` is what a changed mapping needs.
"""

from __future__ import annotations

import pytest

from fhirspace.standards.fhir import Release
from tests.mapping import test_kernel, test_laws, test_reader

pytestmark = pytest.mark.soak
CASES = test_laws.cases()


@pytest.mark.parametrize(("release", "name"), CASES)
def test_a_mapping(release: Release, name: str) -> None:
    test_laws.hold(test_laws.library(release), name, 60)


@pytest.mark.parametrize(("release", "name"), CASES)
def test_the_kernel(release: Release, name: str) -> None:
    test_kernel.hold(release, name, 40)


@pytest.mark.parametrize(("release", "name"), CASES)
def test_the_reader(release: Release, name: str) -> None:
    test_reader.hold_clean(release, name, 20)
    test_reader.hold_spoilt(release, name, 20)
