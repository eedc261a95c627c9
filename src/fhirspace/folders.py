"""This machine's folders for what is cached, remembered or laid out for a moment, and a lock on what is in them."""

from __future__ import annotations

import os
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

_SCRATCH = "fhirspace-"
_HOLD = "scratch.lock"
_YOUNG = 60.0
"""Seconds: a folder so new may not be locked yet by the process that made it."""


def cache_folder() -> Path:
    """The folder for what can be fetched or made again (jars, classes, local servers); made (mode 0700) if missing.

    ``FHIRSPACE_CACHE`` names it; else it is ``fhirspace`` in ``XDG_CACHE_HOME``, ``LOCALAPPDATA`` or ``~/.cache``.
    """
    return _folder("CACHE", ".cache")


def state_folder() -> Path:
    """The folder for what is remembered from run to run: where the journals are; made (mode 0700) if missing.

    ``FHIRSPACE_STATE`` names it; else ``fhirspace`` in ``XDG_STATE_HOME``, ``LOCALAPPDATA`` or ``~/.local/state``.
    """
    return _folder("STATE", ".local/state")


def _folder(kind: str, usual: str) -> Path:
    own = os.environ.get(f"FHIRSPACE_{kind}")
    shared = os.environ.get(f"XDG_{kind}_HOME") or os.environ.get("LOCALAPPDATA")
    folder = Path(own) if own else Path(shared or Path.home() / usual) / "fhirspace"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder.absolute()


def strangers(folder: Path) -> str:
    """Who besides this user can put files into a folder, as a phrase ("another user owns it"); "" for nobody.

    Systems without owners and modes of files (Windows) keep what is in a user's profile apart by themselves.
    """
    if not hasattr(os, "geteuid"):  # pragma: no cover
        return ""
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        return "it is a link or a file"
    if found.st_uid != os.geteuid():
        return "another user owns it"
    return "others may write into it" if found.st_mode & 0o022 else ""


def _take(file: IO[bytes], wait: bool) -> None:
    if sys.platform == "win32":  # pragma: no cover
        import msvcrt  # noqa: PLC0415

        msvcrt.locking(file.fileno(), msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
    else:
        import fcntl  # noqa: PLC0415

        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold an exclusive lock on the file `path` (made if missing); the system frees it when the process ends.

    Raises:
        OSError: somebody else holds it and `wait` is false.
    """
    with path.open("ab") as file:
        _take(file, wait)
        yield


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder (mode 0700) among the system's temporary ones, removed at the end of the block.

    What processes that were killed left there is removed first: patients' data may stand in it.
    """
    _sweep(Path(tempfile.gettempdir()))
    with tempfile.TemporaryDirectory(prefix=_SCRATCH) as name:
        folder = Path(name)
        with locked(folder / _HOLD, wait=False):
            yield folder


def _sweep(home: Path) -> None:
    """Remove the scratch folders of this user that no process holds any more."""
    for hold in home.glob(f"{_SCRATCH}*/{_HOLD}"):
        with suppress(OSError):  # held, of somebody else, or gone meanwhile
            if time.time() - hold.stat().st_mtime > _YOUNG:
                with locked(hold, wait=False):
                    pass
                shutil.rmtree(hold.parent, ignore_errors=True)
