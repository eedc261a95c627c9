"""The cache folder of this machine, and a lock so that two processes do not fill it at the same time."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


def cache_folder() -> Path:
    """The folder for jars, classes and the state of local servers; it is made (mode 0700) if it is missing.

    ``FHIRSPACE_CACHE`` names it; else it is ``fhirspace`` in ``XDG_CACHE_HOME``, ``LOCALAPPDATA`` or ``~/.cache``.
    """
    own = os.environ.get("FHIRSPACE_CACHE")
    shared = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    folder = Path(own) if own else Path(shared or Path.home() / ".cache") / "fhirspace"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder.absolute()


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
