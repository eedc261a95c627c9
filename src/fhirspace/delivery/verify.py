"""A run verified: what it delivered is read back and compared.

Source: FHIR, "http" (read).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fhirspace.delivery.conditional.identify import content_of
from fhirspace.delivery.journal import Journal
from fhirspace.delivery.push.options import Progress, chosen
from fhirspace.delivery.report import as_dict
from fhirspace.delivery.runs import journal_of, known_server, require_same_server
from fhirspace.errors import Place, Problem
from fhirspace.fhirserver.fetch import Fetched, fetch
from fhirspace.fhirserver.http.client import Client, require_release
from fhirspace.idkey import IdKey


@dataclass(slots=True)
class VerifyReport:
    """What the server holds of what was delivered: `same` content, `missing`, `changed`; one problem for each.

    `unknown` were delivered by a version of fhirspace that kept no digest of their content. `keys` are those of
    `missing` and `changed`.
    """

    run: str
    server: str
    same: int = 0
    missing: int = 0
    changed: int = 0
    unknown: int = 0
    keys: list[str] = field(default_factory=list, repr=False)
    problems: list[Problem] = field(default_factory=list, repr=False)

    @property
    def total(self) -> int:
        """All that was delivered."""
        return self.same + self.missing + self.changed + self.unknown

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return as_dict(self, "run", "server", "total", "same", "missing", "changed", "unknown", "keys")


def verify(
    run: str,
    server: str | None = None,
    *,
    journal: Path | None = None,
    connections: int | None = None,
    progress: Progress | None = None,
    client: Client | None = None,
    id_key: IdKey | Path | str | None = None,
    insecure_http: bool = False,
) -> VerifyReport:
    """Read back what a run delivered and compare it, by digests of the canonical form (see `canonical`).

    Args:
        run: its name, or ``last`` for the last one that wrote something. server: the FHIR base URL; the run's own
            without it.
        journal: the journal or its folder; None looks into all journals of this machine.
        connections: batches under way at once (as fits the server without it). progress: called after each hundred.
        client: the transport; None: HTTP. id_key: the journal's key, or its file; None: the site's.
        insecure_http: whether data may go to another machine unencrypted, where no `client` is given.

    Raises:
        UsageError: FS593 the journal is in use, FS529 no such run, FS597 no run wrote anything, FS605 it was delivered
            to another server, FS588 the journal came from elsewhere and no server is given, FS590 it is of another key;
            ServerError: as `fetch`.
    """
    path, name, home = journal_of(run, journal, "delivered")
    client = client or Client(server or known_server(path, home), insecure_http=insecure_http)
    require_same_server(name, home, client.server)
    statement = require_release(client, None)
    with Journal(path, home, id_key) as opened:
        report = VerifyReport(name, client.server)
        known = dict.fromkeys(key for key, each in opened.delivered(name))
        how = chosen(statement, client.server, (), {}, placed=opened.placed())
        places = (opened.place(key) or key for key in known)
        found = fetch(client, places, batch=how.kind != "single", connections=connections or how.connections)
        for key, held in zip(known, found, strict=True):
            _verified(report, key, held, opened)
            if progress and (report.total % 100 == 0 or report.total == len(known)):
                progress(report.total, len(known))
    return report


def _verified(report: VerifyReport, key: str, held: Fetched, journal: Journal) -> None:
    kind, known = key.partition("/")[0], journal.known(key)
    if not held.line:
        report.missing += 1
        report.keys.append(key)
        report.problems.append(Problem("FS533", Place(kind), "the resource that was delivered", kind))
    elif known is None or known.content is None:
        report.unknown += 1
    elif journal.seal.same(known.content, content_of(journal, key, held.line)):
        report.same += 1
    else:
        report.changed += 1
        report.keys.append(key)
        report.problems.append(Problem("FS534", Place(kind), "the content that was delivered", kind))
