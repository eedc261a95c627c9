"""This machine's folders: where they are; scratch is gone at the end, and after a kill when another process asks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fhirspace.folders import cache_folder, data_folder, locked, scratch, state_folder

_WAITING = """
import sys
from fhirspace.folders import scratch
with scratch() as folder:
    folder.joinpath("patients.ndjson").write_text("{}")
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def _temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)


@pytest.mark.parametrize(
    ("kind", "folder", "usual"),
    [
        ("CACHE", cache_folder, ".cache"),
        ("STATE", state_folder, ".local/state"),
        ("DATA", data_folder, ".local/share"),
    ],
)
def test_a_folder_of_this_machine_is_where_the_user_says(
    kind: str, folder: Callable[[], Path], usual: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in (f"FHIRSPACE_{kind}", f"XDG_{kind}_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert folder() == tmp_path / usual / "fhirspace"
    monkeypatch.setenv(f"XDG_{kind}_HOME", str(tmp_path / "xdg"))
    assert folder() == tmp_path / "xdg" / "fhirspace"
    monkeypatch.setenv(f"FHIRSPACE_{kind}", str(tmp_path / "own"))
    assert folder() == tmp_path / "own"
    assert folder().stat().st_mode & 0o077 == 0


def test_a_lock_is_held_by_one(tmp_path: Path) -> None:
    with locked(tmp_path / "lock"), pytest.raises(OSError), locked(tmp_path / "lock", wait=False):
        pytest.fail("held twice")
    with locked(tmp_path / "lock", wait=False):
        pass


def _made_long_ago(folder: Path) -> None:
    long_ago = time.time() - 3600
    os.utime(folder / "scratch.lock", (long_ago, long_ago))


def test_a_scratch_folder_is_its_owners_alone_and_is_gone_at_the_end() -> None:
    with scratch() as folder:
        assert folder.stat().st_mode & 0o077 == 0 or sys.platform == "win32"
        folder.joinpath("patients.ndjson").write_text("{}", "utf-8")
    assert not folder.exists()


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_holds_stays() -> None:
    started = [
        subprocess.Popen([sys.executable, "-c", _WAITING], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    try:
        killed, living = [Path(each.stdout.readline().strip()) for each in started if each.stdout]
        for folder in (killed, living):
            _made_long_ago(folder)
        started[0].send_signal(signal.SIGTERM if sys.platform == "win32" else signal.SIGKILL)
        started[0].wait(30)
        assert (killed / "patients.ndjson").exists()
        with scratch():
            assert not killed.exists()
            assert (living / "patients.ndjson").exists()
    finally:
        for each in started:
            each.communicate(timeout=30)
    assert not living.exists()


def test_what_is_not_ours_or_not_yet_locked_is_left_alone(tmp_path: Path) -> None:
    foreign, fresh = tmp_path / "fhirspace-notes", tmp_path / "fhirspace-fresh"
    for folder in (foreign, fresh):
        folder.mkdir()
    fresh.joinpath("scratch.lock").touch()
    with scratch():
        assert foreign.exists()
        assert fresh.exists()
    _made_long_ago(fresh)
    with scratch():
        assert foreign.exists()
        assert not fresh.exists()
