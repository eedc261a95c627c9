"""A file that holds a key: read only if no other user can read or replace it; made once, by who comes first."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from fhirspace.atomic import write
from fhirspace.errors import UsageError
from fhirspace.folders import locked, open_own

MOST = 4096
"""Bytes that a key file may have. What is longer is something else, and is not read to its end."""


def read_own(path: Path) -> bytes:
    """The content of a file of this user's own, or of root's, that no other user can read.

    A link is followed inside its own folder only. A device or a FIFO is not waited for.

    Raises:
        UsageError: FS630 no regular file that can be read, or longer than `MOST`; FS631 other users can read or
            replace it.
    """
    try:
        descriptor = open_own(_target(path), os.O_RDONLY)
    except (OSError, ValueError) as error:
        raise UsageError("FS630", str(path), "an ordinary file", getattr(error, "strerror", "") or "") from error
    try:
        check_own(os.fstat(descriptor), path, 0o077, "that only you can read (mode 0600)")
        data = os.read(descriptor, MOST + 1)
    finally:
        os.close(descriptor)
    if len(data) > MOST:
        raise UsageError("FS630", str(path), f"at most {MOST:,} bytes")
    return data


def _target(path: Path) -> Path:
    if not path.is_symlink():
        return path
    try:
        target, home = path.resolve(strict=True), path.parent.resolve(strict=True)
    except RuntimeError as error:  # links in a circle
        raise UsageError("FS630", str(path), "a link that leads to a file") from error
    if not target.is_relative_to(home):
        raise UsageError("FS631", str(path), "a file, or a link to one in the same folder")
    return target


def check_own(found: os.stat_result, path: Path, forbidden: int, expected: str) -> None:
    """Raises UsageError (FS631) if `path` belongs to another user (not to root), or its mode has `forbidden` bits."""
    if os.name != "posix":  # pragma: no cover - elsewhere the user's folders are the user's by access lists
        return
    if found.st_uid not in (0, os.geteuid()) or found.st_mode & forbidden:
        kind = "folder" if stat.S_ISDIR(found.st_mode) else "file"
        raise UsageError("FS631", str(path), f"a {kind} of your own {expected}")


def make_once(path: Path, data: bytes) -> None:
    """Makes a file (mode 0600) that holds `data`, unless there is one. It appears whole, and is never replaced.

    Of several processes that do so at once, the first one's data are in the file when any of these calls returns.

    Raises:
        OSError: the folder cannot be written.
    """
    part = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        write(part, data, new=True)
        try:
            os.link(part, path)
        except FileExistsError:
            return
        except OSError:  # a file system without links: one process at a time, since renaming would replace
            with locked(path.with_name(f"{path.name}.lock")):
                if not os.path.lexists(path):
                    part.replace(path)
    finally:
        part.unlink(missing_ok=True)
