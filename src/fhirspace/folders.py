"""This machine's folders for what is cached, remembered or laid out for a moment, and locks on files and folders.

Files that other programs could have put in our place are opened so that none of them can make us wait (a pipe) or
write elsewhere (a link): see `open_own`.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from itertools import islice
from pathlib import Path

_SCRATCH = "fhirspace-"
_HOLD = "scratch.lock"
_YOUNG = 60.0
"""Seconds: a folder so new may not be locked yet by the process that made it."""
_LOOKED_AT = 100_000
"""So many folders of our name are looked at: others may plant any number of them among the temporary files."""
_LOCK = ".fhirspace.lock"
"""The file that is locked instead of its folder, where the system cannot lock a folder."""


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


def data_folder() -> Path:
    """The folder for what cannot be made again: the site's id key; made (mode 0700) if missing.

    ``FHIRSPACE_DATA`` names it; else ``fhirspace`` in ``XDG_DATA_HOME``, ``LOCALAPPDATA`` or ``~/.local/share``.

    Raises:
        OSError: it cannot be made, or the user has no home folder.
    """
    return _made(data_place())


def data_place() -> Path:
    """The path of `data_folder`, whether the folder exists or not. Raises OSError: the user has no home folder."""
    return _place("DATA", ".local/share")


def _folder(kind: str, usual: str) -> Path:
    return _made(_place(kind, usual))


def _place(kind: str, usual: str) -> Path:
    own = os.environ.get(f"FHIRSPACE_{kind}")
    shared = os.environ.get(f"XDG_{kind}_HOME") or os.environ.get("LOCALAPPDATA")
    return (Path(own) if own else Path(shared or _home() / usual) / "fhirspace").absolute()


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError:  # no HOME, and no entry of the user: as in a container under a number of its own
        raise FileNotFoundError(errno.ENOENT, "the user has no home folder", "~") from None


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


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


def open_own(path: Path, flags: int, mode: int = 0o600) -> int:
    """A descriptor of an ordinary file, which is made with `mode` where `flags` say so; no link is followed.

    Raises:
        OSError: as ``os.open``; ELOOP for a link, EINVAL for a pipe, a device or a socket, which are not waited for.
    """
    careful = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags | careful, mode)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "Not an ordinary file", str(path))


def read_ordinary(path: Path, most: int) -> bytes:
    """The content of an ordinary file that the user names, be it by a link.

    Raises:
        OSError: as `open_own`, but links are followed; EFBIG, it has more than `most` bytes.
    """
    try:
        real = path.resolve(strict=True)
    except (RuntimeError, ValueError):  # links in a circle; a name with a NUL
        raise OSError(errno.ELOOP, "Not an ordinary file", str(path)) from None
    with os.fdopen(open_own(real, os.O_RDONLY), "rb") as stream:
        content = stream.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"More than {most} bytes", str(path))
    return content


def is_mine(path: Path) -> bool:
    """Whether this user owns what is at `path` (a link itself, not what it leads to). Raises OSError: nothing is."""
    return not hasattr(os, "getuid") or path.lstat().st_uid == os.getuid()


def _take(descriptor: int, wait: bool) -> None:
    if sys.platform == "win32":  # pragma: no cover
        import msvcrt  # noqa: PLC0415

        msvcrt.locking(descriptor, msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
    else:
        import fcntl  # noqa: PLC0415

        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold an exclusive lock on the file `path` (made, mode 0600, if missing); the system frees it with the process.

    Raises:
        BlockingIOError: somebody else holds it and `wait` is false. OSError: no ordinary file, or as `open_own`.
    """
    descriptor = open_own(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
    try:
        _take(descriptor, wait)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Hold an exclusive lock on a folder; the system frees it with the process.

    The folder itself is locked, so that there is no lock file which could be removed, planted or left behind. Where
    the system cannot do that (Windows, some network file systems), a file in it is locked.

    Raises:
        BlockingIOError: somebody else holds it. OSError: it cannot be opened.
    """
    if sys.platform == "win32":  # pragma: no cover
        with locked(folder / _LOCK, wait=False):
            yield
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        by_file = not _takes(descriptor)
        with locked(folder / _LOCK, wait=False) if by_file else nullcontext():
            yield
    finally:
        os.close(descriptor)


def _takes(folder: int) -> bool:
    """Whether a folder could be locked; False where this file system has no such thing. Raises BlockingIOError."""
    try:
        _take(folder, wait=False)
    except BlockingIOError:
        raise
    except OSError:
        return False
    return True


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder (mode 0700) among the system's temporary ones, removed at the end of the block.

    What processes that were killed left there is removed first: it may contain patients' data.
    """
    _sweep(Path(tempfile.gettempdir()))
    with tempfile.TemporaryDirectory(prefix=_SCRATCH) as name:
        folder = Path(name)
        with locked(folder / _HOLD, wait=False):
            yield folder


def _sweep(home: Path) -> None:
    """Remove the scratch folders of this user that no process holds any more.

    Anybody may put something of our name among the temporary files: what is a link, or not this user's, or open for
    others to write to, is not even looked into.
    """
    with suppress(OSError), os.scandir(home) as entries:
        named = (entry for entry in entries if entry.name.startswith(_SCRATCH))
        for entry in islice(named, _LOOKED_AT):
            folder = Path(entry.path)
            with suppress(OSError):  # locked, or removed meanwhile
                if not strangers(folder) and _is_left(folder / _HOLD):
                    with locked(folder / _HOLD, wait=False):
                        pass
                    shutil.rmtree(folder, ignore_errors=True)


def _is_left(hold: Path) -> bool:
    """Whether it is the lock of a scratch folder, made so long ago that it would be locked if it were in use."""
    found = hold.lstat()
    return stat.S_ISREG(found.st_mode) and is_mine(hold) and time.time() - found.st_mtime > _YOUNG
