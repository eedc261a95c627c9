"""A push that is killed at any moment resumes with nothing lost and nothing doubled."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from fhirspace.testing import FaultyServer
from tests.support.killing import run_and_kill
from tests.support.resources import lines_of, trial


@pytest.mark.slow
def test_killed_again_and_again(faulty: FaultyServer, tmp_path: Path) -> None:
    folder = trial(tmp_path, patients=25, each=9)
    dice = random.Random(7)
    script = [dice.choice(["reset_after", "reset_before"]) if dice.random() < 0.1 else None for _ in range(2000)]
    faulty.faults.extend(script)
    kills = 0
    while not run_and_kill(folder, faulty.url, 5, after=dice.random() / 10):
        kills += 1
        assert kills < 200
    assert kills >= 3
    assert sorted(faulty.store.values()) == sorted(lines_of(folder))
    assert set(faulty.versions.values()) == {1}
    sent = sum(len(json.loads(body)["entry"]) for body in faulty.transactions())
    lost = sum(fault is not None for fault in script[: len(faulty.transactions())])
    assert sent <= len(faulty.store) + 2 * 5 * (kills + lost), "what was answered is not sent again"
