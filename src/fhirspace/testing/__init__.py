"""A FHIR server for tests of your own loads: small, in this process, and as unreliable as asked.

::

    from fhirspace.testing import Fault, serving

    def test_my_load_survives_a_lost_answer():
        with serving() as server:
            server.faults.extend(["too_many", None, Fault("reset_after", where=lambda method, url: "Patient/" in url)])
            my_load(server.url)
            assert set(server.versions.values()) == {1}

It needs no more than the core install, and no pytest. See `FaultyServer` for the switches, `FAULTS` for the faults.
"""

from __future__ import annotations

from fhirspace.testing.faults import FAULTS, PASSING, Fault
from fhirspace.testing.server import FaultyServer
from fhirspace.testing.settings import CANARY
from fhirspace.testing.wire import serving

__all__ = ["CANARY", "FAULTS", "PASSING", "Fault", "FaultyServer", "serving"]
