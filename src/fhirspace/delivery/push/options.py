"""The options of `plan`, `push` and `retry`, with defaults that follow from the server."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from fhirspace.fhirserver.capability import read
from fhirspace.fhirserver.http.client import Client
from fhirspace.fhirserver.products import limits_of
from fhirspace.fhirserver.strategy import Carrier, Kind, carrier, way
from fhirspace.idkey import IdKey

Progress = Callable[[int, int], None]
"""Called with how many resources are done, and how many there are."""


class Options(TypedDict, total=False):
    """How to deliver.

    journal: the SQLite file of what was delivered; ``journal.db`` in the folder without it. It may serve several
    servers. id_key: the key that made the ids, or its file; None: the site's. size: most resources a bundle.
    connections: bundles under way at once; none holds what another one holds or refers to. fhir: the release of the
    resources; the server must speak it, None does not check. way: how entries travel; "conditional" has the server make
    the ids. gzip: compress what is sent. rate: most requests a second.
    provenance: write a Provenance for each bundle, where the server takes them (unless it is False). follow_links:
    follow links that lead out of the input folder, too. overwrite: write over what other clients changed since our last
    push, and over what the journal does not know. progress: called after each bundle. client: the transport; HTTP
    without it. insecure_http: whether data may go to another machine unencrypted, where no client is given. What is not
    given follows from what the server says and what is known of its product (see `way`).
    """

    journal: Path | None
    id_key: IdKey | Path | str | None
    size: int
    connections: int
    fhir: str | None
    way: Kind | None
    gzip: bool
    rate: float | None
    provenance: bool
    follow_links: bool
    overwrite: bool
    progress: Progress | None
    client: Client | None
    insecure_http: bool


def client_of(server: str, options: Options) -> Client:
    """The client of the options, else one for HTTP. Raises UsageError: FS514, FS595 the URL cannot be used."""
    return options.get("client") or Client(server, insecure_http=options.get("insecure_http", False))


@dataclass(frozen=True, slots=True)
class Chosen:
    """The strategy: the options, and else what fits the server.

    `conditional`: the server makes the ids; the types `without` are not found by identifier there. `absent_version`:
    see `Limits`. `strict`: the server states that it checks ``If-Match`` for all types of the input.
    """

    kind: Carrier
    size: int
    connections: int
    gzip: bool
    rate: float | None
    conditional: bool = False
    without: tuple[str, ...] = ()
    absent_version: str = ""
    strict: bool = True


def chosen(
    statement: dict[str, Any], server: str, types: Iterable[str], options: Options, *, placed: bool = False
) -> Chosen:
    """How to deliver resources of some types to a server, by its CapabilityStatement.

    Args:
        placed: this server has assigned ids before, and continues to do so.

    Raises:
        ServerError: FS550 it takes none of the types.
    """
    types, capability = list(types), read(statement)
    limits = limits_of(capability, server)
    asked = "conditional" if placed else options.get("way")
    fitting = way(statement, limits, types, conditional=asked == "conditional")
    kind = asked or fitting.kind
    size = min(options.get("size") or fitting.size, fitting.most or 1_000_000)
    return Chosen(
        carrier(statement, limits) if kind == "conditional" else kind,
        size,
        options.get("connections") or fitting.connections,
        options.get("gzip", fitting.gzip),
        options.get("rate") or fitting.rate,
        kind == "conditional",
        fitting.without,
        limits.absent_version,
        all(name in capability.types and capability.types[name].versioning == "versioned-update" for name in types),
    )
