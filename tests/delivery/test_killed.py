"""A push that is killed at any moment resumes with nothing lost and nothing doubled."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fhirspace.testing import FaultyServer

from .resources import lines_of, trial

PUSHER = Path(__file__).with_name("pusher.py")


def run_and_kill(folder: Path, server: str, size: int, after: float) -> bool:
    """Start a push and kill it `after` seconds past its first answer. Returns whether it had finished before."""
    command = [sys.executable, str(PUSHER), str(folder), server, str(size)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(after)
        child.send_signal(signal.SIGKILL)
        rest = child.stdout.read()
    return "finished" in rest


@pytest.mark.slow
def test_killed_again_and_again(faulty: FaultyServer, tmp_path: Path) -> None:
    folder = trial(tmp_path, patients=25, each=9)
    dice = random.Random(7)
    script = [dice.choice(["reset_after", "reset_before"]) if dice.random() < 0.1 else None for _ in range(2000)]
    faulty.faults.extend(script)
    kills = 0
    while not run_and_kill(folder, faulty.url, 5, dice.random() / 10):
        kills += 1
        assert kills < 200
    assert kills >= 3
    assert sorted(faulty.store.values()) == sorted(lines_of(folder))
    assert set(faulty.versions.values()) == {1}
    sent = sum(len(json.loads(body)["entry"]) for body in faulty.transactions())
    lost = sum(fault is not None for fault in script[: len(faulty.transactions())])
    assert sent <= len(faulty.store) + 2 * 5 * (kills + lost), "what was answered is not sent again"
