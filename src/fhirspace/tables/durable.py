"""What makes files last, for those who need nothing else of output folders: the manifest's name, a rename made sure."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

MANIFEST = "manifest.json"
"""The file that an output folder gets last: versions, rows, and the SHA-256 of every file."""


def synchronise(folder: Path) -> None:
    """Makes a rename last. Some systems cannot open a folder; there the rename is as good as it gets."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
