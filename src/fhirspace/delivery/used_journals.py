"""The journals that pushes on this machine have used, by a list in the user's state folder."""

from __future__ import annotations

import os
from pathlib import Path

from fhirspace.folders import open_own, state_folder


def journals() -> list[Path]:
    """The journals that pushes on this machine have used and that are still there."""
    try:
        with os.fdopen(open_own(state_folder() / "journals.txt", os.O_RDONLY), "rb") as file:
            noted = [os.fsdecode(line) for line in file.read().split(b"\n") if b"\0" not in line]
    except OSError:
        return []
    return [Path(line) for line in dict.fromkeys(noted) if line and Path(line).is_file()]


def remember(path: Path) -> None:
    """Record a journal for `journals`; one with a line end in its path is left out, since it would be taken for two."""
    line = os.fsencode(path.absolute())  # names of files need not be UTF-8
    if b"\n" not in line and path.absolute() not in journals():
        noted = open_own(state_folder() / "journals.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        with os.fdopen(noted, "ab") as file:
            file.write(line + b"\n")
