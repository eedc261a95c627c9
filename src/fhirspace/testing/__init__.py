"""A FHIR server for tests of your own loads: small, in this process, and as unreliable as asked.

::

    from fhirspace.testing import Fault, serving

    def test_my_load_survives_a_lost_answer():
        with serving() as server:
            server.faults.extend(["too_many", None, Fault("reset_after", where=lambda method, url: "Patient/" in url)])
            my_load(server.url)
            assert set(server.versions.values()) == {1}

It needs no more than the core install, and no pytest. See `FaultyServer` for the switches, `FAULTS` for the faults.

Our tests compare it with HAPI 8.8 step by step. It differs in this:

- It validates nothing but what `refuse` says; four search parameters, no PATCH, no history of types, no operations.
- A stale ``If-Match`` is 412 and counts for DELETE too, as FHIR has it; HAPI says 409, and deletes whatever it says.
- A conditional update that matches nothing makes the id of the resource, as FHIR has it; HAPI makes one of its own.
- The ``etag`` of an entry is ``W/"1"``, as FHIR has it; HAPI writes ``1``.
- Tags, profiles and security labels are replaced by an update; HAPI adds them to those that are there.
- Broken JSON is 400; HAPI says 500 for some of it.
- A transaction sees one writer at a time: two conditional creations never make two resources, as they can in HAPI.
"""

from __future__ import annotations

from fhirspace.testing.faults import FAULTS, PASSING, Fault
from fhirspace.testing.server import FaultyServer
from fhirspace.testing.settings import CANARY
from fhirspace.testing.wire import serving

__all__ = ["CANARY", "FAULTS", "PASSING", "Fault", "FaultyServer", "serving"]
