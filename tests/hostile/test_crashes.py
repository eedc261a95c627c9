"""A run that dies at any step: the folder holds the earlier run or the new one, and what waits is gone at the next start."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from fhirspace.delivery.push.order import inputs
from fhirspace.errors import InputError, UsageError
from fhirspace.study.inputs import recognise
from fhirspace.tables.outputs import OutputFolder
from fhirspace.tables.staging import finish
from tests.hostile import killing
from tests.hostile.planted import state

CHANGING = ("open", "replace", "rename", "unlink", "remove", "rmdir", "mkdir", "chmod", "fsync")
"""What a process does that is dead when it should do it. (Closing is left to it: the system does that for the dead.)"""


class KilledError(BaseException):
    """The process is gone."""


class Fate:
    """Counts the steps of a run that change something, and kills it before one of them."""

    def __init__(self, last: int) -> None:
        self.steps, self.last = 0, last

    def step(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(*args: Any, **options: Any) -> Any:
            if name == "open" and not args[1] & (os.O_CREAT | os.O_WRONLY | os.O_RDWR):
                return real(*args, **options)
            self.steps += 1
            if self.steps > self.last:
                raise KilledError
            return real(*args, **options)

        return guarded


@contextmanager
def killed_after(steps: int) -> Iterator[Fate]:
    """What is run inside is dead after so many steps: whatever it still wants to do, nothing happens."""
    fate = Fate(steps)
    with pytest.MonkeyPatch.context() as patch, suppress(KilledError):
        for name in CHANGING:
            patch.setattr(os, name, fate.step(name, getattr(os, name)))
        yield fate


def files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def whole(root: Path) -> bool:
    """Whether the manifest is there and fits every file but that of the user."""
    try:
        listed = json.loads((root / "manifest.json").read_bytes())["files"]
    except FileNotFoundError:
        return False
    here = {name for name in files(root) if not name.startswith(".fhirspace-staging/")}
    return here == {*listed, "manifest.json", "fhir/mine.txt"}


def write(root: Path, run: dict[str, bytes]) -> None:
    with OutputFolder(root) as folder:
        for name, content in run.items():
            with folder.open(name) as stream:
                stream.write(content)


FIRST = {"fhir/Patient.ndjson": b"1", "fhir/Group.ndjson": b"1", "quarantine/ae.csv": b"1", "records/ae.csv": b"1"}
SECOND = {"fhir/Patient.ndjson": b"2", "fhir/Observation.ndjson": b"2", "sdtm/ae.csv": b"2"}


@pytest.mark.slow
@pytest.mark.parametrize("first", [{}, FIRST], ids=["a new folder", "over an earlier run"])
def test_killed_before_every_step(first: dict[str, bytes], tmp_path: Path) -> None:
    """At each step once. Then the next run finds a whole run, and leaves one."""
    seen = set()
    for step in range(1000):
        root = tmp_path / str(step)
        (root / "fhir").mkdir(parents=True)
        (root / "fhir" / "mine.txt").write_text("mine")
        if first:
            write(root, first)
        before = files(root)
        with killed_after(step) as fate:
            write(root, SECOND)
        if fate.steps <= step:
            break
        seen.add(_after_the_kill(root, before))
        write(root, SECOND)
        assert files(root).keys() == {*SECOND, "manifest.json", "problems.ndjson", "fhir/mine.txt"}
        assert all(files(root)[name] == content for name, content in SECOND.items())
        assert (root / "fhir" / "mine.txt").read_text() == "mine"
    assert step > 30, "a run has many steps"
    assert seen == {"before", "half", "after"}


def _after_the_kill(root: Path, before: dict[str, bytes]) -> str:
    """What there is: all as before, or the new run half or wholly in place; readers take nothing that is half."""
    now = {name: content for name, content in files(root).items() if not name.startswith(".fhirspace-staging/")}
    waiting = root / ".fhirspace-staging"
    assert not waiting.exists() or waiting.stat().st_mode & 0o077 == 0
    assert not (root / "sdtm").exists() or (root / "sdtm").stat().st_mode & 0o077 == 0
    if (waiting / "manifest.json").exists():
        assert "manifest.json" not in now or now == before, "a manifest vouches for files that have changed"
        for reader in (lambda: recognise([root]), lambda: inputs(root), lambda: recognise([root / "fhir"])):
            with pytest.raises(UsageError, match="FS149"):
                reader()
        finish(root)
        assert whole(root)
        return "half"
    if now == before:
        return "before"
    assert whole(root)
    return "after"


@pytest.mark.slow
def test_killed_again_while_it_is_brought_to_its_end(tmp_path: Path) -> None:
    """Some kills past the commit point, and then every kill of what brings the run to its end."""
    pairs = 0
    for step in range(1, 1000, 6):
        for again in range(1000):
            root = tmp_path / f"{step}-{again}"
            write(root, FIRST)
            with killed_after(step) as fate:
                write(root, SECOND)
            if not (root / ".fhirspace-staging" / "manifest.json").exists():
                break
            with killed_after(again) as second:
                finish(root)
            pairs += second.steps > again
            finish(root)
            assert set(files(root)) >= {*SECOND, "manifest.json"}
            assert not {"fhir/Group.ndjson", "records/ae.csv"} & files(root).keys()
            if second.steps <= again:
                break
        if fate.steps <= step:
            break
    assert pairs > 25


def test_what_the_user_puts_in_the_way_after_a_crash_is_not_overwritten(tmp_path: Path) -> None:
    """The run waits, past its commit point; then the user makes a file where one of its files goes."""
    write(tmp_path, FIRST)
    for step in range(1000):
        with killed_after(step):
            write(tmp_path, SECOND)
        if (tmp_path / ".fhirspace-staging" / "manifest.json").exists():
            break
    (tmp_path / "fhir" / "Observation.ndjson").write_text("mine")
    before = state(tmp_path)
    for command in (lambda: finish(tmp_path), lambda: write(tmp_path, SECOND)):
        with pytest.raises(UsageError, match=r"FS144.*Observation\.ndjson"):
            command()
        assert files(tmp_path)["fhir/Observation.ndjson"] == b"mine"
    assert {path for path in before if "staging" in path} <= state(tmp_path).keys() | {str(tmp_path / "manifest.json")}
    (tmp_path / "fhir" / "Observation.ndjson").unlink()
    finish(tmp_path)
    assert files(tmp_path)["fhir/Observation.ndjson"] == b"2"


def test_what_killed_runs_of_earlier_versions_left_is_removed(tmp_path: Path) -> None:
    for name in ("fhir/.Patient.ndjson.fhirspace-part", ".manifest.json.fhirspace-part"):
        (tmp_path / "fhir").mkdir(exist_ok=True)
        (tmp_path / name).write_text("a patient")
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / ".x.fhirspace-part").write_text("not where runs write")
    write(tmp_path, SECOND)
    assert [name for name in files(tmp_path) if "part" in name] == ["deep/er/.x.fhirspace-part"]


@pytest.mark.skipif(sys.platform == "win32", reason="no such signal")
@pytest.mark.parametrize("step", [3, 25, 38], ids=str)
def test_really_killed(step: int, tmp_path: Path) -> None:
    """The same with SIGKILL: what the system does for the dead (locks) belongs to it."""
    write(tmp_path, FIRST)
    (tmp_path / "fhir" / "mine.txt").write_text("mine")
    before = files(tmp_path)
    done = subprocess.run([sys.executable, killing.__file__, "output", str(step), str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL
    _after_the_kill(tmp_path, before)
    write(tmp_path, SECOND)
    assert whole(tmp_path)


def test_a_planted_run_moves_nothing_of_the_user(tmp_path: Path) -> None:
    """A folder out of an archive pretends that a run waits there: its files are links to the user's folders."""
    out, mine = tmp_path / "out", tmp_path / "mine"
    mine.mkdir()
    (mine / "Patient.ndjson").write_text("mine")
    write(out, FIRST)
    for step in range(1000):
        with killed_after(step):
            write(out, SECOND)
        if (out / ".fhirspace-staging" / "manifest.json").exists():
            break
    waiting = out / ".fhirspace-staging" / "fhir"
    for path in waiting.iterdir():
        path.unlink()
    waiting.rmdir()
    waiting.symlink_to(mine)
    with pytest.raises(InputError, match="FS141"):
        finish(out)
    assert (mine / "Patient.ndjson").read_text() == "mine"
    waiting.unlink()
    waiting.mkdir()
    (waiting / "Patient.ndjson").symlink_to(mine / "Patient.ndjson")
    with pytest.raises(UsageError, match="FS144"):
        finish(out)
    assert (mine / "Patient.ndjson").read_text() == "mine"
    assert (out / "fhir" / "Patient.ndjson").read_bytes() == b"1"
