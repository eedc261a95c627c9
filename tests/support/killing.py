"""Pushes in a process of their own that are killed on the way, for tests of what is left then."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

PUSHER = Path(__file__).with_name("pusher.py")


def started(folder: Path, server: str, size: int, *way: str) -> subprocess.Popen[str]:
    """A push that says how far it is, a line after each answer, and "finished" at its end."""
    command = [sys.executable, str(PUSHER), str(folder), server, str(size), *way]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run_and_kill(folder: Path, server: str, size: int, *way: str, answers: int = 1, after: float = 0) -> bool:
    """Starts a push and kills it `after` seconds past so many answers. Returns whether it had finished before."""
    with started(folder, server, size, *way) as child:
        assert child.stdout is not None
        for _ in range(answers):
            child.stdout.readline()
        time.sleep(after)  # the kill falls into another step of the next bundle
        child.send_signal(signal.SIGKILL)
        return "finished" in child.stdout.read()
