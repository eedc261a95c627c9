"""Files that are for their owner only, written where there are none."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from fhirspace.errors import UsageError


def write_new(folder: Path, files: Mapping[str, str]) -> list[str]:
    """Writes texts as files of a folder, which is made if needed, and gives their paths.

    Args:
        folder: it. files: texts by name, which may have a folder of its own.

    Raises:
        UsageError: FS644, one of the files is there already; none is written then.
    """
    taken = [name for name in files if (folder / name).exists()]
    if taken:
        raise UsageError("FS644", str(folder / taken[0]))
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as stream:
            stream.write(text)
    return [str(folder / name) for name in files]
