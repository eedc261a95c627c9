"""Two clients that edit at random, for many rounds: ``pytest tests/delivery/push/soak_conflicts.py``, two minutes."""

from __future__ import annotations

from pathlib import Path

import pytest

from fhirspace.testing import FaultyServer
from tests.delivery.push.test_conflicts import conflicts_of


@pytest.mark.soak
@pytest.mark.parametrize("count", [500, 501, 2000])
def test_no_update_is_lost(faulty: FaultyServer, tmp_path: Path, count: int) -> None:
    """The number of rounds is the seed as well."""
    assert conflicts_of(faulty, tmp_path, count) > count // 5
