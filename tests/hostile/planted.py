"""Things that others put in our place, and what a folder held before and after, for attacks on files."""

from __future__ import annotations

import os
import signal
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

SECONDS = 60
Plant = Callable[[Path, Path], object]
"""Puts something at a path; the second path is a file of the user elsewhere, which must stay as it is."""


class StillAtItError(BaseException):
    """Nobody who takes errors of files, or of anything, as they come takes this one."""


@pytest.fixture(autouse=True)
def in_time() -> Iterator[None]:
    """An attack that makes us wait for ever fails its test instead of the suite. Autouse where it is imported."""

    def hangs(*_: object) -> None:
        raise StillAtItError(f"after {SECONDS} s")

    before = signal.signal(signal.SIGALRM, hangs)
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def fifo(path: Path, _: Path) -> None:
    """A pipe that nobody writes to: whoever opens it waits."""
    os.mkfifo(path)


def named_socket(path: Path, _: Path) -> None:
    """A socket."""
    made = socket.socket(socket.AF_UNIX)
    here = Path.cwd()
    os.chdir(path.parent)  # the name of a socket must be short
    made.bind(path.name)
    os.chdir(here)
    made.close()


def endless(path: Path, _: Path) -> None:
    """A link to a device that can be read for ever."""
    path.symlink_to("/dev/zero")


def link(path: Path, other: Path) -> None:
    """A link to a file of the user."""
    path.symlink_to(other)


def dangling(path: Path, other: Path) -> None:
    """A link to nothing: whoever writes to it makes a file elsewhere."""
    path.symlink_to(other.with_name("not-there"))


def loop(path: Path, _: Path) -> None:
    """Two links to each other."""
    other = path.with_name(f"{path.stem}-back{path.suffix}")
    other.symlink_to(path.name)
    path.symlink_to(other.name)


def folder(path: Path, _: Path) -> None:
    """A folder with something in it."""
    path.mkdir()
    (path / "mine.txt").write_text("mine")


def text(path: Path, _: Path) -> None:
    """A file of the user."""
    path.write_text("mine\n")


def state(*roots: Path) -> dict[str, tuple[object, ...]]:
    """Everything below some folders: kind, mode and content of each file, link and folder."""
    found: dict[str, tuple[object, ...]] = {}
    for root in roots:
        for path in sorted([root, *root.rglob("*")]):
            mode = path.lstat().st_mode
            content: object = path.readlink() if stat.S_ISLNK(mode) else None
            content = path.read_bytes() if stat.S_ISREG(mode) else content
            found[str(path)] = (stat.S_IFMT(mode), stat.S_IMODE(mode), content)
    return found


def modes(root: Path) -> set[tuple[str, int]]:
    """Kind ("d" or "-") and mode of everything below a folder, the folder itself included."""
    paths = [root, *root.rglob("*")]
    return {(stat.filemode(path.lstat().st_mode)[0], stat.S_IMODE(path.lstat().st_mode)) for path in paths}
