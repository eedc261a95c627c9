"""Pushes, undos, kills and another client's edits by chance: nothing is lost, nothing of theirs is touched."""

from __future__ import annotations

from pathlib import Path

import pytest

from fhirspace.fhirserver.http.client import Client
from fhirspace.testing import FaultyServer
from tests.delivery.stories import Story


def tell(faulty: FaultyServer, client: Client, folder: Path, seed: int, steps: int) -> None:
    if seed % 2:  # as HAPI does
        faulty.statement = {"software": {"name": "HAPI FHIR Server"}}
        faulty.stale_status, faulty.absent_match, faulty.guards_delete = 409, True, False
    Story(faulty, client, folder, seed).happen(steps)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_what_happens_by_chance(faulty: FaultyServer, client: Client, tmp_path: Path, seed: int) -> None:
    tell(faulty, client, tmp_path, seed, steps=20)
