"""No test waits for the disk: a process that is killed loses nothing that it has written, and no power is cut."""

from __future__ import annotations

import os
from typing import Any

import pytest

from fhirspace.delivery.database import Base

EXECUTE = Base.execute
"""What tests of the setting itself put back."""


def unhurried(patch: pytest.MonkeyPatch) -> None:
    """Journals and files are written as ever, but nothing waits until they are on the disk."""
    off = "PRAGMA synchronous=OFF"

    def execute(base: Base, statement: str, *values: Any) -> Any:
        if statement == "PRAGMA journal_mode=WAL":
            EXECUTE(base, off)
        return EXECUTE(base, off if statement == "PRAGMA synchronous=FULL" else statement, *values)

    patch.setattr(Base, "execute", execute)
    patch.setattr(os, "fsync", lambda descriptor: None)
