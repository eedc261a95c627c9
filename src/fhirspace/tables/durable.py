"""What others need of output folders: the manifest's name and content, the key of its ids."""

from __future__ import annotations

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
