"""The digests of a folder that fhirspace made: the SHA-256 of each file, written when the folder is made and compared
before it is used.

The file with the digests is beside the folder and can be read by its owner only. It shows whether the folder was
changed, by accident or on purpose, but not by whom: whoever can write into both must be trusted (`folders.strangers`
says who that is).
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from pathlib import Path


def digest(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def note(folder: Path, path: Path) -> None:
    """Write the digests of all files below `folder` to the new file `path` (mode 0600).

    Raises:
        OSError: it contains something other than files and folders, or `path` cannot be made.
    """
    found = _digests(folder)
    if found is None:
        raise OSError(f"{folder} holds something else than files and folders")
    path.unlink(missing_ok=True)
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(file, "w", encoding="utf-8") as out:  # noqa: PTH123 (a descriptor, so that the mode is there from the start)
        json.dump(found, out, indent=0, sort_keys=True)


def holds(folder: Path, path: Path) -> bool:
    """Whether `folder` holds exactly the files that `note` wrote to `path`, and only this user can have written it."""
    try:
        noted = json.loads(path.read_bytes()) if _private(path) else None
        return noted is not None and noted == _digests(folder)
    except (OSError, ValueError, RecursionError):
        return False


def _private(path: Path) -> bool:
    found = path.lstat()
    if not stat.S_ISREG(found.st_mode):
        return False
    return not hasattr(os, "geteuid") or (found.st_uid == os.geteuid() and not found.st_mode & 0o077)


def _digests(folder: Path) -> dict[str, str] | None:
    """By path below the folder; None where one of them is no plain file (a link, a pipe), or the folder is none."""
    if not stat.S_ISDIR(folder.lstat().st_mode):
        return None
    found = {}
    for home, folders, files in os.walk(folder):
        if any((Path(home) / name).is_symlink() for name in folders):
            return None
        for name in files:
            path = Path(home) / name
            if not stat.S_ISREG(path.lstat().st_mode):
                return None
            found[path.relative_to(folder).as_posix()] = digest(path)
    return found
