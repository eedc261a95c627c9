"""A run undone: what was there before is restored.

Source: FHIR, "http" (read, history, update with If-Match, delete).
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fhirspace.delivery.attempts import UNDO
from fhirspace.delivery.audit.log import Log, log_of
from fhirspace.delivery.conditional.identify import content_of
from fhirspace.delivery.journal import Journal, Written
from fhirspace.delivery.push.bundles import Courier, Entry
from fhirspace.delivery.push.options import Progress, chosen
from fhirspace.delivery.push.order import Item, Order
from fhirspace.delivery.push.push import new_run
from fhirspace.delivery.rebuilt_journal import rebuilt
from fhirspace.delivery.report import as_dict
from fhirspace.delivery.runs import LAST, journal_of, known_server, require_same_server
from fhirspace.errors import Place, Problem, UsageError
from fhirspace.fhir.canonical import canonical, cleaned
from fhirspace.fhir.files import FhirFile
from fhirspace.fhirserver.fetch import Fetched, fetch, modified, versions
from fhirspace.fhirserver.http.client import Client, require_release
from fhirspace.fhirserver.http.retry import since
from fhirspace.folders import scratch
from fhirspace.idkey import IdKey

_SNAPSHOT = {"X-Meta-Snapshot-Mode": "TAG, PROFILE, SECURITY_LABEL"}
"""HAPI keeps the tags of earlier versions without this header; other servers do not know the header."""


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

    Args, errors: as `verify.verify`; ServerError: FS577, a Provenance of the run names no version; UsageError: FS584,
    the server makes the ids, and the run waits for some of them.
    """
    asked = client or (Client(server, insecure_http=insecure_http) if server else None)
    path, name, home = _journal_of(run, journal, asked)
    if name.endswith(UNDO):
        raise UsageError("FS529", name, "a run that pushed")
    client = asked or Client(known_server(path, home), insecure_http=insecure_http)
    require_same_server(name, home, client.server)
    statement = require_release(client, None)
    with ExitStack() as stack:
        opened = stack.enter_context(Journal(path, home, id_key))
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
                    sent = entries[start : start + self.size]
                    self._mark(sent)
                    self._send(sent)

    def delete(self, created: Path) -> None:
        """Deletes what was created, referencing resources first."""
        if not created.stat().st_size:
            return
        with Order([FhirFile(created, "ndjson")]) as order:
            units = [[item.key for item in unit] for unit in order.units()]
        keys: list[str] = []
        for unit in reversed(units):
            keys += unit
            if len(keys) >= self.size:
                self._delete(keys)
                keys = []
        self._delete(keys)

    def _delete(self, places: list[str]) -> None:
        """Deletes what still is the run's work: many servers look past ``If-Match`` of a deletion."""
        entries = []
        for held in fetch(self.courier.client, places, batch=self.courier.kind != "single"):
            ours = self.journal.write(self.run, self.journal.key_at(held.key))
            if ours is not None and self._is_there(ours, held):
                entries.append(_entry(held.key, b"", held.version))
        self._mark(entries)
        self._send(entries)

    def _mark(self, entries: list[Entry]) -> None:
        """Notes what is about to be taken back: if this undo is killed, the next push and the next undo know."""
        self.journal.mark(self.run, [self.journal.key_at(entry.item.key) for entry in entries], "undoing")

    def _is_there(self, ours: Written, held: Fetched) -> bool:
        """Whether the server holds what the run wrote; else it is counted, and left."""
        if not held.line:
            self.report.gone += 1
            self._gone([ours.key])
        elif not ours.version and not self._is_work_of(ours, held):
            self.report.unwritten += 1
            self.journal.mark(self.run, [ours.key], "undone")
        elif ours.version and held.version != ours.version and not self._says(ours, held.line):
            self._leave(ours.key, "FS515", "the version that the run made")
        else:
            return True
        return False

    def _before(self, ours: Written, held: Fetched) -> Fetched | None:
        """The version before the run (no bytes: nothing); None if there is nothing to do or it is left."""
        if ours.state == "undoing" and self._is_restored(ours, held):
            self._restored(ours.key, held.line, held.version)
            return None
        if not self._is_there(ours, held):
            return None
        if held.version == "1" and ours.action != "updated":
            return Fetched(ours.key)
        before = self._earlier(ours, held)
        if before is None:
            self._leave(ours.key, "FS516", "the history of the resource")
        return before

    def _earlier(self, ours: Written, held: Fetched) -> Fetched | None:
        """The version before the run in the server's history (no bytes: nothing was there); None if it is not in it."""
        history = versions(self.courier.client, held.key)
        last = ours.version or held.version
        if not any(each.version == last for each in history):
            return None
        own = [ours, *self.journal.earlier(self.run, ours.key)]
        for each in history:
            if not self._is_of(own, each):
                return each
            last = each.version
        return Fetched(ours.key) if last == "1" or any(each.action == "created" for each in own) else None

    def _is_of(self, own: list[Written], version: Fetched) -> bool:
        """Whether a version is one that the run wrote, by its number, or by its content if it was not answered."""
        if any(each.version == version.version for each in own if each.version):
            return True
        return any(self._says(each, version.line) for each in own if not each.version and version.line)

    def _is_restored(self, ours: Written, held: Fetched) -> bool:
        """Whether an undo that was killed has restored it already."""
        if not held.line or held.version == ours.version:
            return False
        before = self._earlier(ours, held)
        return before is not None and before.line != b"" and canonical(before.line) == canonical(held.line)

    def _says(self, ours: Written, line: bytes) -> bool:
        """Whether a resource has the content that the run sent; without the id key nobody knows."""
        try:
            return self.journal.seal.same(ours.content, content_of(self.journal, ours.key, line))
        except UsageError:
            return False

    def _send(self, entries: list[Entry]) -> None:
        if not entries:
            return
        reply = self.courier.send_apart(entries)
        deleted = []
        for at, answer in reply.answers.items():
            entry, key = entries[at], self.journal.key_at(entries[at].item.key)
            if entry.line and answer.good:
                self._restored(key, entry.line, answer.version)
            elif not entry.line and (answer.good or answer.code in (404, 410)):
                deleted.append(key)
            else:
                self._refused(entry, answer.code)
        self.report.deleted += len(deleted)
        self._gone(deleted)
        left = [entry for at, entry in enumerate(entries) if at not in reply.answers]
        if len(left) > 1:
            self._send(left[: len(left) // 2])
            self._send(left[len(left) // 2 :])
        elif left and reply.rest is not None:
            self._refused(left[0], reply.rest.status)

    def _refused(self, entry: Entry, status: int) -> None:
        key = self.journal.key_at(entry.item.key)
        if entry.match and (status == 412 or (status == 409 and entry.line)):
            self._leave(key, "FS515", "the version that the run made")
        else:
            self._leave(key, "FS516", detail=f"status {status}")

    def _restored(self, key: str, line: bytes, version: str) -> None:
        """Notes that the server holds what was there before; the journal knows it again if an earlier run wrote it."""
        self.report.restored += 1
        self.journal.mark(self.run, [key], "undone")
        try:
            self.journal.restore(key, content_of(self.journal, key, line), version)
        except UsageError:  # another id key: nobody knows whose content it is
            self.journal.drop([key])
        self._show()

    def _gone(self, keys: list[str]) -> None:
        """Notes what is no longer on the server."""
        self.journal.mark(self.run, keys, "undone")
        self.journal.drop(keys)
        self.journal.displace(keys)
        if keys:
            self._show()

    def _show(self) -> None:
        if self.progress:
            self.progress(self.report.total, 0)

    def _leave(self, key: str, code: str, expected: str = "", detail: str = "") -> None:
        self.report.left += 1
        self.report.keys.append(key)
        kind = key.partition("/")[0]
        self.report.problems.append(Problem(code, Place(kind), expected, kind, detail))

    def _is_work_of(self, ours: Written, held: Fetched) -> bool:
        """Whether the server holds what the run sent without an answer, or a form that the run gave it before."""
        content = content_of(self.journal, ours.key, held.line)

        def is_written(sent: Written) -> bool:
            if sent.version:
                return sent.version == held.version
            return self.journal.seal.same(sent.content, content) and since(modified(held.line), sent.sent)

        return any(map(is_written, [ours, *self.journal.earlier(self.run, ours.key)]))


def _entry(key: str, line: bytes, match: str = "") -> Entry:
    return Entry(Item(key, b"", Path(), 0, 0, (0, 0)), line, b"", match)
