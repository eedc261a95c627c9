"""Fifty kills each of a conversion and a pull, and fifty pairs of runs into one folder at once.

By hand: ``pytest tests/hostile/soak_kills.py -s``; it takes a quarter of an hour.
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fhirspace.testing import FaultyServer, serving
from tests import small_study
from tests.hostile import killing
from tests.hostile.planted import state
from tests.support.resources import lines_of, patient, trial, write

pytestmark = [pytest.mark.soak]
KILLS, COMMIT = 50, 25
"""So many kills; so many steps at the end of a run are those in which files take their places."""
TERMS = ("Rash", "Itch", "Cough")


def convert(home: Path, turn: int) -> list[str]:
    """The command for a conversion whose content is another one at each turn."""
    small_study.write(home / "in", AE=small_study.AE.replace("Rash", TERMS[turn % 3]))
    return ["convert", str(home / "in"), "--to", "fhir", "--id-key", "demo", "--out", str(home / "out")]


def at_a_step(command: list[str], step: int) -> subprocess.CompletedProcess[str]:
    """Runs a command that kills itself before one of its changes; a negative one does not."""
    words = [sys.executable, killing.__file__, "cli", str(step), *command]
    return subprocess.run(words, capture_output=True, text=True, check=False)


def at_a_moment(command: list[str], seconds: float) -> int:
    """Runs a command and kills it some time after its start; gives its exit code."""
    words = [sys.executable, "-m", "fhirspace.cli", *command]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
        time.sleep(seconds)
        child.send_signal(signal.SIGKILL)
        return child.wait()


def run(command: list[str]) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "fhirspace.cli", *command], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stderr


def visible(out: Path) -> dict[str, bytes]:
    """What readers find in an output folder: all but what waits."""
    found = (path for path in out.rglob("*") if path.is_file() and ".fhirspace-staging" not in path.parts)
    return {str(path.relative_to(out)): path.read_bytes() for path in found}


def whole(out: Path) -> None:
    """Every file is in the manifest with its size, or the user's; nothing waits."""
    listed = json.loads((out / "manifest.json").read_bytes())["files"]
    here = visible(out)
    assert here.keys() == {*listed, "manifest.json", "fhir/mine.txt"}
    assert {name: len(here[name]) for name in listed} == {name: entry["size"] for name, entry in listed.items()}
    assert [path for path in out.iterdir() if path.name.startswith(".")] == []


def private(out: Path) -> None:
    """Nobody but the owner can read anything, whatever was left."""
    for path in out.rglob("*"):
        assert path.name == "mine.txt" or path.stat().st_mode & 0o077 == 0, path


def killed(command: Callable[[int], list[str]], home: Path, keep: Callable[[], object], dice: random.Random) -> str:
    """Kills runs until there were fifty kills, each followed by a run that succeeds; gives what was found, in words.

    Every third at any moment, every third at any step, every third at a step in which files take their places.
    """
    out, seen, turn = home / "out", Counter[str](), 0
    assert run(command(0))[0] == 0
    begin = time.monotonic()
    steps = int(at_a_step(command(1), -1).stderr.split()[-1])
    seconds = time.monotonic() - begin
    (out / "fhir" / "mine.txt").write_text("mine")
    (out / "fhir" / "mine.txt").chmod(0o644)
    while seen.total() < KILLS:
        turn += 1
        words, before, kept = command(turn), visible(out), keep()
        if turn % 3 == 0:
            code = at_a_moment(words, seconds * dice.random())
        else:
            code = at_a_step(words, dice.randrange(0 if turn % 3 == 1 else steps - COMMIT, steps)).returncode
        if code == 0:
            continue
        assert code == -signal.SIGKILL
        private(out)
        assert keep() == kept
        if (out / ".fhirspace-staging" / "manifest.json").exists():
            seen["half in place, and finished by the next run"] += 1
        else:
            seen["the earlier run whole" if visible(out) == before else "the new run whole"] += 1
            assert (out / "manifest.json").is_file()
        assert run(words)[0] == 0
        whole(out)
        assert keep() == kept
        assert visible(out)["fhir/mine.txt"] == b"mine"
    return f"{seen.total()} kills in {turn} runs of {steps} steps: {dict(seen)}"


def test_conversions_are_killed(tmp_path: Path) -> None:
    def inputs() -> object:
        return state(tmp_path / "in"), (tmp_path / "precious.txt").read_bytes()

    (tmp_path / "precious.txt").write_text("precious")
    print("\nconvert:", killed(lambda turn: convert(tmp_path, turn), tmp_path, inputs, random.Random(5)))


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    with serving(types=["Observation", "Organization", "Patient", "ResearchStudy"]) as server:
        yield server


def test_pulls_are_killed(server: FaultyServer, tmp_path: Path) -> None:
    folder = trial(tmp_path / "sent", patients=30, each=5)
    there = ["--server", server.url]
    assert run(["push", str(folder), *there, "--id-key", "demo"])[0] == 0
    command = ["pull", *there, "--study", "TRIAL01", "--out", str(tmp_path / "out")]

    def changed(turn: int) -> list[str]:
        write(tmp_path / "more", {"Patient": [patient(f"more-{turn}")]})
        assert run(["push", str(tmp_path / "more"), *there, "--id-key", "demo"])[0] == 0
        return command

    print("\npull:", killed(changed, tmp_path, lambda: len(server.store) > 150, random.Random(6)))
    assert sorted(lines_of(tmp_path / "out")) == sorted(set(lines_of(tmp_path / "out")))


def test_two_runs_into_one_folder(tmp_path: Path) -> None:
    seen = Counter[tuple[int, ...]]()
    expected: list[Any] = []
    for name in ("one", "two"):
        assert run(convert(tmp_path / name, len(expected)))[0] == 0
        expected.append(visible(tmp_path / name / "out"))
    for turn in range(KILLS):
        out = tmp_path / ("new" if turn % 2 else "old")
        if turn % 2:
            out = tmp_path / f"new-{turn}"
        words = [
            [sys.executable, "-m", "fhirspace.cli", *convert(tmp_path / name, at)]
            for at, name in enumerate(("one", "two"))
        ]
        pair = [[*each[:-1], str(out)] for each in words]
        before = state(tmp_path / "one" / "in", tmp_path / "two" / "in")
        started = [
            subprocess.Popen(each, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) for each in pair
        ]
        told = [each.communicate(timeout=120)[1] for each in started]
        codes = tuple(sorted(each.returncode for each in started))
        seen[codes] += 1
        assert codes in {(0, 0), (0, 2)}, told
        assert all("FS147" in said for said, each in zip(told, started, strict=True) if each.returncode)
        assert visible(out) in expected
        assert state(tmp_path / "one" / "in", tmp_path / "two" / "in") == before
    print(f"\ntwo at once: exit codes {dict(seen)}")
