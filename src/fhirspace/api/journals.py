"""The public functions that look at journals and at the configuration file; nothing is sent."""

from __future__ import annotations

from typing import Any

from fhirspace import arguments
from fhirspace.api.checks import checked
from fhirspace.arguments import PathLike
from fhirspace.delivery import runs as history
from fhirspace.fhirserver import config as servers
from fhirspace.fhirserver.config import Connection


def runs(journal: PathLike | None = None) -> list[dict[str, Any]]:
    """The runs of a journal, oldest first: journal, run, server, started, finished (None: not yet), and the counts.

    Args:
        journal: the journal or its folder; None: all that pushes on this machine have used.

    Raises:
        UsageError: FS641 the argument; FS525 there is no journal.
    """
    return history.runs(*checked((), journal=journal).values())


def status(journal: PathLike) -> list[dict[str, Any]]:
    """How far deliveries are: for each server what it holds, the unfinished run, and the dead letters.

    Args:
        journal: the journal or its folder.

    Raises:
        UsageError: FS641 the argument; FS525 there is no journal.
    """
    return history.status(arguments.path("journal", journal))


def connect(server: str, config: PathLike | None = None, *, insecure_http: bool = False) -> Connection:
    """Prepare the connection to a server, with its sign-in; nothing is sent yet.

    Args:
        server: its FHIR base URL, or its name in the configuration file.
        config: that file; None: ``FHIRSPACE_CONFIG``, ``fhirspace.toml`` in the working folder, or the user's settings.
        insecure_http: whether data may go to another machine unencrypted; the server's entry may say so as well.

    Raises:
        UsageError: FS641 an argument; FS514, FS540 to FS547, FS595 the file, the name, a secret or the URL.
    """
    return servers.connect(**checked(("server",), **locals()))
