"""Delivery of a folder of FHIR NDJSON to a server: at least once sent, with exactly one effect.

Every resource goes as ``PUT Type/id`` in a transaction (FHIR, "transaction" interaction), targets of references
first. After each answer the journal notes what the server holds; unchanged resources are not sent again, and a run
that was killed goes on where it stopped.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fhirspace.delivery.client import Client, require_release
from fhirspace.delivery.journal import Journal
from fhirspace.delivery.plan import Plan, inputs
from fhirspace.delivery.sender import DeadLetters, Reader, Sender
from fhirspace.errors import InterruptedRun, Place, Problem

Progress = Callable[[int, int], None]
"""Called with how many resources are done, and how many there are."""

JOURNAL = "journal.db"


@dataclass(slots=True)
class PushReport:
    """What a push did. `total` = created + updated + unchanged + unchanged_on_server + refused, always.

    `unchanged` were known from the journal and not sent; `unchanged_on_server` were sent, and the server held the
    same content already. `dead` is the file with the refused resources (None: there are none).
    """

    run: str
    server: str
    total: int
    created: int = 0
    updated: int = 0
    unchanged: int = 0
    unchanged_on_server: int = 0
    refused: int = 0
    retries: int = 0
    seconds: float = 0.0
    dead: Path | None = None
    problems: list[Problem] = field(default_factory=list)

    @property
    def sent(self) -> int:
        """Resources that the server took: created, updated, or held already."""
        return self.created + self.updated + self.unchanged_on_server

    @property
    def rate(self) -> float:
        """Resources taken a second."""
        return self.sent / self.seconds if self.seconds else 0.0

    def as_dict(self) -> dict[str, Any]:
        """For ``--json`` and the journal: the fields, `sent` and `rate`; problems as lines of ``problems.ndjson``."""
        names = ("run", "server", "total", "sent", "created", "updated", "unchanged", "unchanged_on_server", "refused")
        return {
            **{name: getattr(self, name) for name in names},
            "retries": self.retries,
            "seconds": round(self.seconds, 3),
            "rate": round(self.rate, 1),
            "dead": str(self.dead) if self.dead else None,
            "problems": [problem.as_dict() for problem in self.problems],
        }


def push(
    folder: Path,
    server: str,
    *,
    journal: Path | None = None,
    size: int = 100,
    connections: int = 1,
    fhir: str | None = None,
    progress: Progress | None = None,
    client: Client | None = None,
) -> PushReport:
    """Deliver the resources of a folder to a FHIR server.

    Args:
        folder: holds ``fhir/*.ndjson`` (or ``*.ndjson``); refused resources go to ``dead/<run>.ndjson`` in it. It may
            be one NDJSON file.
        server: the FHIR base URL.
        journal: the SQLite file of what was delivered; None means ``journal.db`` in the folder. One journal may serve
            several servers.
        size: resources a transaction; those that refer to each other in a circle stay together even beyond.
        connections: transactions under way at once; they never hold resources that refer to each other.
        fhir: the release of the resources ("R4", "R4B", "R5"); the server must speak it. None does not check.
        progress: called after each transaction.
        client: how to talk; None talks HTTP.

    Raises:
        InputError: FS521 a key stands twice, FS522 a line is no resource, FS523 nothing to push, FS528 a file changed.
        UsageError: FS514 the URL cannot be used, FS525 the journal is in use or none.
        ServerError: FS510 unreachable, FS511 sign-in refused, FS512 it keeps failing, FS513 another release.
        InterruptedRun: FS527, stopped by Ctrl-C; the same call resumes.
    """
    begin = time.monotonic()
    talk = client or Client(server)
    run = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"
    home = folder.parent if folder.is_file() else folder
    files = inputs(folder)
    require_release(talk, fhir)
    with Journal(journal or home / JOURNAL, talk.server, run) as book, Plan(files) as plan, Reader() as reader:
        report = PushReport(run, talk.server, len(plan))
        sender = Sender(talk, book, DeadLetters(home, run), size)
        _check_journal(talk, book, sender)
        try:
            for _ in sender.deliver_all(sender.batches(plan.units(), reader), connections):
                if progress:
                    progress(sender.counts.total, report.total)
        except KeyboardInterrupt:
            done = f"{sender.counts.total} of {report.total} resources are done"
            raise InterruptedRun("FS527", Place(str(folder)), f"the same command once more ({done})") from None
        finally:
            _fill(report, sender, time.monotonic() - begin)
        if progress:
            progress(sender.counts.total, report.total)
        book.finish({key: value for key, value in report.as_dict().items() if key not in ("problems", "run", "server")})
    assert sender.counts.total == report.total, "a resource was neither delivered nor refused"
    return report


def _fill(report: PushReport, sender: Sender, seconds: float) -> None:
    for name in ("created", "updated", "unchanged", "unchanged_on_server", "refused"):
        setattr(report, name, getattr(sender.counts, name))
    report.seconds, report.retries = seconds, sender.client.retries
    report.problems = sender.problems
    report.dead = sender.dead.path if report.refused else None


def _check_journal(client: Client, book: Journal, sender: Sender) -> None:
    """A server that was emptied or replaced at the same address must not be taken for one that holds everything.

    The first and the last key of each type are looked up; one that is gone makes the journal start anew.
    """
    for key in book.samples():
        if client.request("GET", f"{key}?_summary=true").status in (404, 410):
            book.forget()
            sender.problems.append(Problem("FS526", Place(book.path.name), "the server to hold what was delivered"))
            return


def plan(folder: Path) -> list[tuple[str, int]]:
    """What `push` would send: resource types in the order of sending, with how many there are of each.

    Raises:
        InputError: FS521, FS522, FS523 as `push`.
    """
    with Plan(inputs(folder)) as found:
        return found.types()
