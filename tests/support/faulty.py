"""Fixtures of the delivery tests: the faulty server, and a client that does not really wait."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fhirspace.fhirserver.http.client import Client, HttpTransport
from fhirspace.testing import FaultyServer, serving


@pytest.fixture
def faulty() -> Iterator[FaultyServer]:
    with serving(types=["Observation", "Organization", "Patient", "ResearchStudy"]) as server:
        yield server


@pytest.fixture
def waits() -> list[float]:
    """The waits that the client asked for, in seconds."""
    return []


@pytest.fixture
def client(faulty: FaultyServer, waits: list[float]) -> Iterator[Client]:
    transport = HttpTransport(faulty.url, timeout=(5, 0.6))
    yield Client(faulty.url, transport, sleep=waits.append)
    transport.close()
