"""Two clients that edit at random against one real HAPI server, 500 rounds: by hand, ``pytest`` with this file's name.

Twenty minutes on two busy cores. Each round checks that no update is lost and that every conflict is named.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fhirspace.fhirserver.http.client import Client
from fhirspace.fhirserver.http.transport import HttpTransport
from tests.delivery.push.test_conflicts import rounds

pytestmark = [pytest.mark.server, pytest.mark.soak]


@pytest.mark.parametrize("fhir", ["R4", "R5"])
def test_two_clients_that_edit_at_random_for_500_rounds(hapi: Callable[[str], str], tmp_path: Path, fhir: str) -> None:
    transport = HttpTransport(hapi(fhir))
    client = Client(hapi(fhir), transport)

    def read(key: str) -> bytes:
        return client.request("GET", key).body

    assert sum(map(len, rounds(client, read, tmp_path, 500, provenance=False))) > 100
    transport.close()
