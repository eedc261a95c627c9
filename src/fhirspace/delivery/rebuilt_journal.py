"""A run's part of a journal, rebuilt from its Provenances: the journal is lost, and the run is to be undone.

Source: FHIR, "Provenance"; `provenance` describes the content of ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fhirspace.delivery.journal import Journal, Written
from fhirspace.delivery.provenance import RUN, targets_of
from fhirspace.errors import ServerError, UsageError
from fhirspace.fhirserver import address
from fhirspace.fhirserver.answers import decoded
from fhirspace.fhirserver.http.client import Client
from fhirspace.fhirserver.search import NotSearchableError, Study
from fhirspace.folders import state_folder
from fhirspace.json import strict


def rebuilt(client: Client, run: str, path: Path | None = None) -> Path:
    """Writes the content of a run's Provenances to a journal, and returns its path.

    Args:
        client: the server. run: the run's name. path: the journal; without it one of its own, which is remembered.

    Raises:
        UsageError: FS529, the server has no Provenance of the run. ServerError: FS577, one of them names no version;
            FS512, one has no id or version that FHIR allows.
    """
    writes = [
        each
        for number, found in enumerate(_provenances(client, run), 1)
        for each in _written(number, found, client.server)
    ]
    if not writes:
        raise UsageError("FS529", run, "a run of a journal on this machine, or one whose Provenances the server has")
    place = path or state_folder() / f"{run}.db"
    with Journal(place, client.server) as journal:
        # The run last: a known run that is recorded in part would be undone in part.
        journal.run = run
        journal.record((), writes)
        journal.begin(run, resume=False)
        journal.close(run)
    return place


def _provenances(client: Client, run: str) -> Iterator[dict[str, Any]]:
    """The run's Provenances; other resources that a server sends are ignored (see `Study.pages`)."""
    try:
        for raw in Study(client, run, system=RUN).pages("Provenance"):
            found = decoded(raw, strict)
            if found is None:
                raise ServerError("FS512", client.server, "Provenances that are JSON to their end")
            yield found
    except NotSearchableError:
        return


def _written(number: int, provenance: dict[str, Any], server: str) -> Iterator[Written]:
    """The writes that a Provenance lists, and itself."""
    version = provenance["meta"].get("versionId")
    if not version:
        raise ServerError("FS577", "Provenance.meta", "a versionId")
    own = address.key("Provenance", provenance.get("id"), server), address.version(version, server)
    for key, version in (*targets_of(provenance), own):
        yield Written(key, b"", b"", version, "created" if version == "1" else "updated", number)
