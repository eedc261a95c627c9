"""The stories of `test_stories`, a hundred longer ones. By hand: ``pytest -m soak tests/delivery/soak_stories.py``."""

from __future__ import annotations

from pathlib import Path

import pytest

from fhirspace.fhirserver.http.client import Client
from fhirspace.testing import FaultyServer
from tests.delivery.test_stories import tell

pytestmark = pytest.mark.soak


@pytest.mark.parametrize("seed", range(100, 200))
def test_what_happens_by_chance(faulty: FaultyServer, client: Client, tmp_path: Path, seed: int) -> None:
    tell(faulty, client, tmp_path, seed, steps=60)
