"""What others need of output folders: the manifest's name and content, the key of its ids, a rename made sure."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

from fhirspace.folders import open_own
from fhirspace.json import decode
from fhirspace.limits import limit

MANIFEST = "manifest.json"
"""The file that an output folder gets last: versions, rows, and the SHA-256 of every file."""

ID_KEY = "id_key"
"""Its entry that names the key of the ids by its fingerprint."""

_CANNOT = (errno.EINVAL, errno.ENOTSUP, errno.EBADF)
"""What file systems say that cannot synchronise a folder."""


def manifest(folder: Path) -> dict[str, Any]:
    """The manifest of an output folder; empty where there is none, or something else of that name."""
    most = limit("manifest-bytes")
    try:
        with os.fdopen(open_own(folder / MANIFEST, os.O_RDONLY), "rb") as stream:
            raw = stream.read(most + 1)
        found = decode(raw) if len(raw) <= most else None
    except (OSError, ValueError):
        found = None
    return found if isinstance(found, dict) else {}


def key_of(content: dict[str, Any]) -> str:
    """The fingerprint of the key that made the ids, by the `content` of a manifest; "" where it does not say."""
    entry = content.get(ID_KEY)
    found = entry.get("fingerprint") if isinstance(entry, dict) else None
    return found if isinstance(found, str) else ""


def synchronise(folder: Path) -> None:
    """Makes a rename in a folder last. Where folders cannot be opened or synchronised it is as good as it gets.

    Raises:
        OSError: the disk failed.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _CANNOT:
            raise
    finally:
        os.close(descriptor)
