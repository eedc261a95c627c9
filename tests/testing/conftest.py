"""A faulty server, and a plain client of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fhirspace.testing import FaultyServer, serving
from tests.testing.talk import Talk


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    with serving() as running:
        yield running


@pytest.fixture
def talk(server: FaultyServer) -> Iterator[Talk]:
    with Talk(server.url) as client:
        yield client
