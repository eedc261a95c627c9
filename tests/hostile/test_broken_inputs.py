"""Broken variants of each kind of input: no exit 70, within bounds of time and memory; `soak_broken.py` makes more."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.hostile.inputs import KINDS
from tests.hostile.trials import peak, right, tried_until

SEED = "fixed"
SAMPLE, MOST = 10, 30
"""How many variants of each kind are tried; up to the second number, until one is noticed."""
MOST_MB = 350
"""What a command may use beside the 120 MB of Python and its packages: 500 MB in all are allowed."""
NATIVE = ("Parquet",)
"""Read by a library that could end the process: in a process of its own."""


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_broken_was_right(kind: str, tmp_path: Path) -> None:
    done = right(kind, KINDS[kind].commands[0], tmp_path)
    assert done.code in (0, 1), done.said


@pytest.mark.slow
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in NATIVE])
def test_a_broken_input_is_no_bug(kind: str, tmp_path: Path) -> None:
    most = SAMPLE if KINDS[kind].tolerant else MOST
    with peak() as used:
        done = tried_until(kind, SEED, range(SAMPLE), range(SAMPLE, most), tmp_path, quick=True)
    assert not [(number, command, ran.fault) for number, command, ran in done if ran.fault]
    codes = {ran.code for _, _, ran in done}
    noticed = len(codes) > 1 or right(kind, KINDS[kind].commands[0], tmp_path).code not in codes
    assert KINDS[kind].tolerant or noticed, "nothing was noticed: it is not read"
    assert not used or used[0] < MOST_MB


@pytest.mark.slow
@pytest.mark.parametrize("kind", NATIVE)
def test_a_broken_input_does_not_end_the_process(kind: str) -> None:
    command = [sys.executable, "-m", "tests.hostile.soak_broken", "--worker", kind, SEED, "0", str(SAMPLE), "quick"]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=root, timeout=300)
    assert (done.returncode, done.stdout.splitlines()[1:]) == (0, []), done.stdout + done.stderr
