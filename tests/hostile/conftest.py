"""What many attacks share: few mappings where a test has them built again and again, and no waiting for the disk."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from fhirspace.delivery.database import Base
from tests.hostile.inputs import beside, few_mappings

_number = count()


@pytest.fixture(autouse=True)
def own_state(state: None, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """What a run remembers is read by the next one: it would be the journals of hundreds of tests."""
    monkeypatch.setenv("FHIRSPACE_STATE", str(tmp_path_factory.getbasetemp() / f"state-{next(_number)}"))


@pytest.fixture(autouse=True)
def no_power_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for the disk: a process that is killed loses nothing that it has written."""
    execute, off = Base.execute, "PRAGMA synchronous=OFF"

    def unsynchronised(base: Base, statement: str, *values: Any) -> Any:
        if statement == "PRAGMA journal_mode=WAL":
            execute(base, off)
        return execute(base, off if statement == "PRAGMA synchronous=FULL" else statement, *values)

    monkeypatch.setattr(Base, "execute", unsynchronised)
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture(scope="package", autouse=True)
def few() -> Iterator[None]:
    """The shipped mappings are few: all are built anew for a new key of ids, and beside mappings of the user."""
    with beside(few_mappings()):
        yield
