"""A run verified and undone: `verify` reads back what it delivered, `undo` restores what was there before.

Source: FHIR, "http" (read, history, update with If-Match, delete).
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fhirspace.delivery.audit.log import Log, log_of
from fhirspace.delivery.conditional.identify import content_of
from fhirspace.delivery.journal import UNDO, Journal, Written
from fhirspace.delivery.push.bundles import Courier, Entry
from fhirspace.delivery.push.options import Progress, chosen
from fhirspace.delivery.push.order import Item, Order
from fhirspace.delivery.push.push import new_run
from fhirspace.delivery.rebuilt_journal import rebuilt
from fhirspace.delivery.report import as_dict
from fhirspace.delivery.runs import LAST, journal_of, known_server
from fhirspace.errors import Place, Problem, UsageError
from fhirspace.fhir.canonical import cleaned
from fhirspace.fhir.files import FhirFile
from fhirspace.fhirserver.fetch import Fetched, fetch, modified, versions
from fhirspace.fhirserver.http.client import Client, require_release
from fhirspace.fhirserver.http.retry import since
from fhirspace.folders import scratch
from fhirspace.idkey import IdKey

_SNAPSHOT = {"X-Meta-Snapshot-Mode": "TAG, PROFILE, SECURITY_LABEL"}
"""HAPI keeps the tags of earlier versions without this header; other servers do not know the header."""


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


@dataclass(slots=True)
class UndoReport:
    """What an undo did: `restored` to the version before the run, `deleted`, `gone` already, `left` with a problem.

    `unwritten` were being sent when the run was killed, and never arrived. `keys` are those that were left.
    """

    run: str
    server: str
    restored: int = 0
    deleted: int = 0
    gone: int = 0
    left: int = 0
    unwritten: int = 0
    keys: list[str] = field(default_factory=list, repr=False)
    problems: list[Problem] = field(default_factory=list, repr=False)

    @property
    def total(self) -> int:
        """All that the run sent."""
        return self.restored + self.deleted + self.gone + self.left + self.unwritten

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return as_dict(self, "run", "server", "total", "restored", "deleted", "gone", "left", "unwritten", "keys")


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
        UsageError: FS593 the journal is in use, FS529 no such run, FS597 no run wrote anything, FS588 the journal came
            from elsewhere and no server is given, FS590 it is of another key; ServerError: as `fetch`.
    """
    path, name, home = journal_of(run, journal, "delivered")
    client = client or Client(server or known_server(path, home), insecure_http=insecure_http)
    statement = require_release(client, None)
    with Journal(path, client.server, id_key) as opened:
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


def undo(
    run: str,
    server: str | None = None,
    *,
    journal: Path | None = None,
    connections: int | None = None,
    progress: Progress | None = None,
    client: Client | None = None,
    id_key: IdKey | Path | str | None = None,
    insecure_http: bool = False,
) -> UndoReport:
    """Take a run back: what it updated gets its version before the run again, what it created is deleted.

    Resources that were changed since (the server's version is not the one that the run made), or that others reference,
    are not touched and are reported. A killed undo is finished by the same call. Of a run that no journal knows (it was
    lost, or made on another machine) the named server's Provenances list what the run wrote. The key is needed only for
    what was sent and never answered.

    Args, errors: as `verify`; ServerError: FS577, a Provenance of the run names no version; UsageError: FS584, the
    server makes the ids, and the run waits for some of them.
    """
    asked = client or (Client(server, insecure_http=insecure_http) if server else None)
    path, name, home = _journal_of(run, journal, asked)
    if name.endswith(UNDO):
        raise UsageError("FS529", name, "a run that pushed")
    client = asked or Client(known_server(path, home), insecure_http=insecure_http)
    statement = require_release(client, None)
    with ExitStack() as stack:
        opened = stack.enter_context(Journal(path, client.server, id_key))
        how = chosen(statement, client.server, (), {}, placed=opened.placed())
        lost = opened.unplaced(name)
        if lost and not opened.finished(name):
            raise UsageError("FS584", name, "an answer to everything that the run sent")
        folder = stack.enter_context(scratch())
        opened.begin(f"{new_run()}{UNDO}", resume=False)
        log = stack.enter_context(Log(log_of(path), client.server, opened.run))
        log.append("undo", about=name)
        # 409: others refer to it, which waiting does not change.
        courier = Courier(client, how.kind, headers=_SNAPSHOT, final=frozenset({409}))
        work = _Undo(opened, name, courier, how.size, UndoReport(name, client.server), lost, progress)
        created = folder / "created.ndjson"
        work.restore(created, connections or how.connections)
        work.delete(created)
        opened.close(name)
        counts = {key: value for key, value in work.report.as_dict().items() if type(value) is int}
        head = log.append("run finished", counts=counts, about=name)
        opened.finish(counts | {"undo": name, "audit": head._asdict()})
    return work.report


def _journal_of(run: str, journal: Path | None, client: Client | None) -> tuple[Path, str, str]:
    """As `journal_of`, but with a server its Provenances are used if no journal knows the run."""
    try:
        return journal_of(run, journal)
    except UsageError:
        if client is None or run == LAST:
            raise
        return rebuilt(client, run, journal), run, client.server


@dataclass(slots=True)
class _Undo:
    journal: Journal
    run: str
    courier: Courier
    size: int
    report: UndoReport
    lost: set[str]
    progress: Progress | None

    def restore(self, created: Path, connections: int) -> None:
        """Restores what was updated, and stores what was created; restored content may no longer refer to that."""
        after, batch = "", self.courier.kind != "single"
        for key in sorted(self.lost):
            self._leave(key, "FS584", "an answer to it")
        with created.open("wb") as out:
            while part := self.journal.writes(self.run, after=after):
                after = part[-1].key
                part = [each for each in part if each.key not in self.lost]
                places = [self.journal.place(each.key) or each.key for each in part]
                entries = []
                found = fetch(self.courier.client, places, batch=batch, connections=connections)
                for ours, held in zip(part, found, strict=True):
                    before = self._before(ours, held)
                    if before is not None and before.line:
                        entries.append(_entry(held.key, cleaned(before.line), held.version))
                    elif before is not None:
                        out.write(held.line.replace(b"\n", b" ") + b"\n")
                for start in range(0, len(entries), self.size):
                    self._send(entries[start : start + self.size])

    def delete(self, created: Path) -> None:
        """Deletes what was created, referencing resources first."""
        if not created.stat().st_size:
            return
        with Order([FhirFile(created, "ndjson")]) as order:
            units = [[item.key for item in unit] for unit in order.units()]
        entries: list[Entry] = []
        for unit in reversed(units):
            entries += [_entry(key, b"") for key in unit]
            if len(entries) >= self.size:
                self._send(entries)
                entries = []
        self._send(entries)

    def _before(self, ours: Written, held: Fetched) -> Fetched | None:
        """The version before the run (no bytes: nothing); None if there is nothing to do or it is left."""
        if not held.line:
            self.report.gone += 1
            self._done([ours.key], gone=True)
            return None
        if not ours.version and not self._is_work_of(ours, held):
            self.report.unwritten += 1
            self._done([ours.key])
            return None
        if ours.version and held.version != ours.version:
            self._leave(ours.key, "FS515", "the version that the run made")
            return None
        if held.version == "1":
            return Fetched(ours.key)
        history = versions(self.courier.client, held.key)
        if not any(each.version == held.version for each in history):
            self._leave(ours.key, "FS516", "the history of the resource")
            return None
        return next(history, Fetched(ours.key))

    def _send(self, entries: list[Entry]) -> None:
        if not entries:
            return
        reply = self.courier.send_apart(entries)
        good = [entries[at] for at, answer in reply.answers.items() if answer.good or answer.code in (404, 410)]
        for entry in good:
            self.report.restored += bool(entry.line)
            self.report.deleted += not entry.line
        self._done([self.journal.key_at(entry.item.key) for entry in good if entry.line])
        self._done([self.journal.key_at(entry.item.key) for entry in good if not entry.line], gone=True)
        for at, answer in reply.answers.items():
            if entries[at] not in good:
                self._refused(entries[at], answer.code)
        left = [entry for at, entry in enumerate(entries) if at not in reply.answers]
        if len(left) > 1:
            self._send(left[: len(left) // 2])
            self._send(left[len(left) // 2 :])
        elif left and reply.rest is not None:
            self._refused(left[0], reply.rest.status)

    def _refused(self, entry: Entry, status: int) -> None:
        self._leave(self.journal.key_at(entry.item.key), "FS516", detail=f"status {status}")

    def _done(self, keys: list[str], *, gone: bool = False) -> None:
        self.journal.mark(self.run, keys, "undone")
        self.journal.drop(keys)
        if gone:
            self.journal.displace(keys)
        if self.progress and keys:
            self.progress(self.report.total, 0)

    def _leave(self, key: str, code: str, expected: str = "", detail: str = "") -> None:
        self.report.left += 1
        self.report.keys.append(key)
        kind = key.partition("/")[0]
        self.report.problems.append(Problem(code, Place(kind), expected, kind, detail))

    def _is_work_of(self, ours: Written, held: Fetched) -> bool:
        """Whether what was sent, and never answered, has been written: the same content, changed after it was sent."""
        same = self.journal.seal.same(ours.content, content_of(self.journal, ours.key, held.line))
        return same and since(modified(held.line), ours.sent)


def _entry(key: str, line: bytes, match: str = "") -> Entry:
    return Entry(Item(key, b"", Path(), 0, 0, (0, 0)), line, b"", match)
