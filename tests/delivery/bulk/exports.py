"""A bulk pull in a process of its own, for the test that kills it: server, folder."""

from __future__ import annotations

import sys
from pathlib import Path

from fhirspace.delivery.bulk.export import bulk_pull
from fhirspace.fhirserver.http.client import Client, HttpTransport

if __name__ == "__main__":
    url = sys.argv[1]
    client = Client(url, HttpTransport(url), sleep=lambda seconds: None)
    bulk_pull(url, "TRIAL01", Path(sys.argv[2]), piece=1000, connections=1, client=client)
