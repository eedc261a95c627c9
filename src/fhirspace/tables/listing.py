"""Which files of an input may be read: ordinary ones, and links only where they stay inside the folder, unless asked.

An input folder may come from anywhere. A link in it could make us copy, convert or send a file that nobody meant, and
a pipe could make us wait for ever.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from fhirspace.errors import InputError, Place

NO_FILE = "FS156"
"""The code of what is neither a file nor a folder: opened, it could block for ever."""


def files(
    folder: Path, named: Callable[[Path], bool], *, follow: bool = False, odd: dict[Path, InputError] | None = None
) -> Iterator[Path]:
    """The files of a folder, by name; sub-folders and hidden files are not looked at.

    Args:
        folder: the folder.
        named: whether a file of this name is of interest; others may be anything.
        follow: links may lead out of the folder.
        odd: takes pipes, devices and sockets with their error (FS156), which then do not stop the others: nobody can
            read them, while a link that leads out (FS152) may be an attempt to have something read.

    Raises:
        InputError: FS152, FS156, FS157 as `is_file`.
    """
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or not named(path):
            continue
        try:
            found = is_file(path, folder, follow=follow)
        except InputError as fault:
            if odd is None or fault.code != NO_FILE:
                raise
            odd[path] = fault
            continue
        if found:
            yield path


def is_file(path: Path, folder: Path, *, follow: bool = False) -> bool:
    """Whether something in an input folder is a file to read; False for a folder.

    Raises:
        InputError: FS152, a link that leads out of `folder` (unless `follow`); FS157, one that leads nowhere, or back
            to itself; FS156, a pipe, a device or a socket.
    """
    if path.is_symlink() and not follow and not _real(path).is_relative_to(folder.resolve()):
        raise InputError("FS152", Place(path.name), "a file inside the folder")
    return _is_ordinary(path)


def given(path: Path) -> bool:
    """Whether a path that the user gives is a file; False for a folder. It may be a link, to wherever it leads.

    Raises:
        InputError: FS101, there is nothing; FS156, FS157 as `is_file`.
    """
    if not path.is_symlink() and not path.exists():
        raise InputError("FS101", Place(path.name))
    return _is_ordinary(path)


def _is_ordinary(path: Path) -> bool:
    mode = _real(path).stat().st_mode
    if stat.S_ISDIR(mode):
        return False
    if not stat.S_ISREG(mode):
        raise InputError(NO_FILE, Place(path.name), "an ordinary file")
    return True


def _real(path: Path) -> Path:
    try:
        return path.resolve(strict=True)
    except (OSError, RuntimeError):  # RuntimeError: a loop of links
        raise InputError("FS157", Place(path.name), "a link to a file") from None
