"""Delivery of a folder of FHIR to a server: sent at least once, with exactly one effect.

Every resource goes as ``PUT Type/id`` (FHIR, "transaction", "batch" and "update" interactions), targets of references
first; to a server that makes the ids itself, as a conditional update (see `conditional`). The journal records before
each bundle what is sent, and after the answer what the server holds. Unchanged resources are not sent again, and a run
that was killed is resumed under its name.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Unpack

import msgspec

from fhirspace.delivery.audit.chain import Event
from fhirspace.delivery.audit.log import Log, log_of
from fhirspace.delivery.conditional.conditional import Finder
from fhirspace.delivery.conditional.identify import Addressing
from fhirspace.delivery.journal import JOURNAL, RETRY, Journal, Written
from fhirspace.delivery.plan.compare import PlanFile
from fhirspace.delivery.plan.plan import by_plan, left_alone
from fhirspace.delivery.provenance import Source, Target, provenance, sources
from fhirspace.delivery.push import rejected as dead
from fhirspace.delivery.push.bundles import Courier, Entry
from fhirspace.delivery.push.options import Chosen, Options, chosen, client_of
from fhirspace.delivery.push.order import REQUEST, Item, Order, Reader, Unit, inputs
from fhirspace.delivery.push.precondition import Conflict, Guarded
from fhirspace.delivery.push.sender import FAILED, Note, Sender
from fhirspace.delivery.push.validated import validated
from fhirspace.delivery.report import as_dict
from fhirspace.delivery.runs import runs
from fhirspace.delivery.same_key import check_study, folder_key
from fhirspace.errors import (
    EXIT_CLEAN,
    EXIT_FINDINGS,
    EXIT_QUARANTINED,
    NOT_READ,
    InterruptedRun,
    Place,
    Problem,
    UsageError,
)
from fhirspace.fhir.canonical import content
from fhirspace.fhir.files import FhirFile
from fhirspace.fhir.judging import FailOn, Judging
from fhirspace.fhirserver.capability import known_release, read
from fhirspace.fhirserver.fetch import Fetched, fetch
from fhirspace.fhirserver.http.client import Client, require_release
from fhirspace.foreign import counted, file_name
from fhirspace.standards.fhir import definitions

_COUNTS = ("created", "updated", "unchanged", "unchanged_on_server", "conflicts", "refused")
_TOGETHER = 10
"""Provenances a bundle: each one names the resources of a whole bundle."""


@dataclass(slots=True)
class PushReport:
    """What a push did. `total` = created + updated + unchanged + unchanged_on_server + conflicts + refused, always.

    `unchanged` were known from the journal (or the plan) and not sent; `unchanged_on_server` were sent, and the server
    had the same content already; `conflicts` were changed by other clients and left alone (`conflicting` names them).
    `dead` is the file with the refused resources (None: there are none). `unread` counts the files of the folder that
    could not be read, of which nothing was sent; `others` those that hold something else. Each of them is named in
    `problems`. `invalid` counts what validation found before, errors and warnings, where it was asked for.
    """

    run: str
    server: str
    total: int
    created: int = 0
    updated: int = 0
    unchanged: int = 0
    unchanged_on_server: int = 0
    conflicts: int = 0
    refused: int = 0
    unread: int = 0
    others: int = 0
    invalid: int = 0
    retries: int = 0
    seconds: float = 0.0
    dead: Path | None = None
    conflicting: list[Conflict] = field(default_factory=list, repr=False)
    problems: list[Problem] = field(default_factory=list, repr=False)

    @property
    def sent(self) -> int:
        """Resources that the server took: created, updated, or already there."""
        return self.created + self.updated + self.unchanged_on_server

    @property
    def exit_code(self) -> int:
        """3 with rejected resources or files not read, 1 with conflicts, lost references or findings, else 0."""
        if self.refused or self.unread or self.others:
            return EXIT_QUARANTINED
        lost = any(problem.code == "FS509" for problem in self.problems)
        return EXIT_FINDINGS if self.conflicts or self.invalid or lost else EXIT_CLEAN

    @property
    def rate(self) -> float:
        """Resources taken a second."""
        return self.sent / self.seconds if self.seconds else 0.0

    def as_dict(self) -> dict[str, Any]:
        """For ``--json`` and the journal: the fields, `sent` and `rate`; problems as lines of ``problems.ndjson``."""
        counts = (*_COUNTS, "unread", "others", "invalid", "retries")
        names = ("run", "server", "total", "sent", *counts, "seconds", "dead")
        more = {"rate": round(self.rate, 1), "conflicting": [asdict(each) for each in self.conflicting]}
        return as_dict(self, *names) | more


def push(
    folder: Path,
    server: str,
    *,
    plan: Path | None = None,
    validate: Judging | None = None,
    fail_on: FailOn = "error",
    **options: Unpack[Options],
) -> PushReport:
    """Deliver the resources of a folder to a FHIR server.

    Args:
        folder: holds FHIR (see `order.inputs`); refused resources go to ``dead/<run>.ndjson`` in it. It may be one
            file.
        server: the FHIR base URL.
        plan: a plan file; only what it says is done, and nothing at all if the server or the input has changed.
        validate: judge the resources before anything is sent, by FHIR's rules ("errors"), or also by what FHIR only
            recommends ("full"). fail_on: the findings after which nothing is sent.
        options: see `options.Options`.

    Raises:
        InputError: FS523 nothing to push, FS528 a file changed, FS401, FS404, FS405 a file cannot be read.
        UsageError: FS514 the URL cannot be used, FS525 it is no journal, FS593 it is in use, FS537 the plan file is
            none, FS538 the plan no longer fits, FS517 the server makes the ids, which no plan can foresee, FS590 to
            FS592 the journal, the folder or the server's study is of another id key.
        ValidationError: FS570 validation found errors; nothing was sent.
        ServerError: FS510 unreachable, FS511 sign-in refused, FS512 it keeps failing, FS513 another release.
        InterruptedRun: FS527, stopped by Ctrl-C; the same call resumes.
    """
    home = folder.parent if folder.is_file() else folder
    with ExitStack() as stack:
        steps = stack.enter_context(PlanFile(_existing(plan))) if plan else None
        problems: list[Problem] = []
        files = inputs(folder, follow_links=options.get("follow_links", False), problems=problems)
        return _deliver(home, files, server, options, plan=steps, problems=problems, judging=(validate, fail_on))


def retry(folder: Path, server: str, *, run: str | None = None, **options: Unpack[Options]) -> PushReport:
    """Send the dead letters of a folder once more (of one run, or of all), and remove what was delivered.

    A resource that a later run has delivered in another form is left out: it was corrected at its source. Of one that
    several runs were refused, the last form is sent. It is a run of its own: the letters of a push that was not
    finished are not started anew under its name while they are read.

    Raises:
        UsageError: FS535 there are none; others as `push`.
    """
    files = _latest_first(dead.letters(folder, run), options.get("journal") or folder / JOURNAL)
    report = _deliver(folder, [FhirFile(file, "ndjson") for file in files], server, options, letters=True)
    for file in files:
        dead.remove(file)
    return report


def _latest_first(letters: list[Path], journal: Path) -> list[Path]:
    turns = {file_name(each["run"]): turn for turn, each in enumerate(runs(journal) if journal.exists() else ())}
    return sorted(letters, key=lambda file: (turns.get(file.stem, -1), file.name), reverse=True)


def _deliver(
    home: Path,
    files: list[FhirFile],
    server: str,
    options: Options,
    *,
    plan: PlanFile | None = None,
    letters: bool = False,
    problems: Sequence[Problem] = (),
    judging: tuple[Judging | None, FailOn] = (None, "error"),
) -> PushReport:
    client = client_of(server, options)
    statement = require_release(client, options.get("fhir"))
    invalid = validated(files, statement, *judging, home.name)
    path = options.get("journal") or home / JOURNAL
    key = folder_key(files, options.get("id_key"))
    with ExitStack() as stack:
        journal = stack.enter_context(Journal(path, client.server, key))
        journal.seal.bind()
        order = stack.enter_context(Order(files, first_counts=letters))
        reader = stack.enter_context(Reader())
        how = chosen(statement, client.server, (kind for kind, _ in order.types()), options, placed=journal.placed())
        if plan and how.conditional:
            raise UsageError("FS517", client.server, "a push without a plan")
        client.rate = client.rate or how.rate
        if not journal.samples() and not how.conditional:
            check_study(client, order.files)
        wanted = by_plan(plan, client, order, reader, journal.seal.key) if plan else None
        journal.begin(new_run() + RETRY * letters, resume=not letters)
        log = stack.enter_context(Log(log_of(path), client.server, journal.run))
        courier = (Finder if how.conditional else Courier)(client, how.kind, how.gzip, given=FAILED)
        addressing = _addressing(statement, journal, how) if how.conditional else None
        box = dead.DeadLetters(home, journal.run)
        guarded = None if plan or options.get("overwrite") else Guarded(courier, how.strict)
        sender = Sender(
            guarded or courier, journal, box, how.size, _noting(log), wanted, addressing, how.absent_version
        )
        sender.problems += [*invalid, *(unread := [*problems, *order.unread])]
        sender.problems += order.unresolved(client.server)
        work = _Work(sender, order, reader, log, options)
        work.report.invalid = sum(problem.level != "note" for problem in invalid)
        work.report.others = sum(problem.code == NOT_READ for problem in unread)
        work.report.unread = sum(problem.level == "error" for problem in unread) - work.report.others
        _check_journal(client, journal, sender)
        if plan:
            left_alone(plan, order, sender.counts, sender.problems)
        # A Provenance has no identifier: where the server makes the ids, it could not be put there once only.
        if options.get("provenance", True) and "Provenance" in read(statement).types and not how.conditional:
            work.sources = list(sources(file.path for file in order.files).values())
        work.send(
            _corrected(order.units(), [file.path for file in files], journal, sender) if letters else order.units(),
            how.connections,
        )
        return work.finish()


def _addressing(statement: dict[str, Any], journal: Journal, how: Chosen) -> Addressing:
    return Addressing(journal, definitions(known_release(statement)), how.without, own=how.kind != "single")


def _noting(log: Log) -> Note:
    def note(event: Event, counts: dict[str, int], keys: list[str]) -> None:
        log.append(event, counts=counts, keys=keys)

    return note


class _Work:
    """One push: what is sent, and its accounting."""

    def __init__(self, sender: Sender, order: Order, reader: Reader, log: Log, options: Options) -> None:
        self.sender, self.order, self.reader, self.log = sender, order, reader, log
        guarded = sender.courier
        self.courier = guarded.courier if isinstance(guarded, Guarded) else guarded
        self.progress = options.get("progress")
        self.sources: list[Source] = []
        self.begin = time.monotonic()
        self.renewals = sender.courier.client.renewals
        total = len(order) + len(order.faults) + order.twins
        self.report = PushReport(sender.journal.run, sender.courier.client.server, total)
        sender.counts.unchanged += order.twins
        log.append("run started", counts={"resources": total})

    def send(self, units: Iterator[Unit], connections: int) -> None:
        """Delivers everything. Raises InterruptedRun (FS527) on Ctrl-C; rejected resources are in the report."""
        sender = self.sender
        try:
            while sender.journal.resumed and self.prove(1):  # before a file that changed meanwhile writes over it
                pass
            for code, item, expected in self.order.faults:
                sender.refuse_unsent(code, item, expected, b"" if code == REQUEST else self.reader.line(item))
            for _ in sender.deliver_all(sender.batches(units, self.reader), connections):
                self._show()
                self.prove(_TOGETHER)
            while self.prove(1):
                pass
        except BaseException as error:
            self._fill()
            self.log.append("run interrupted", counts=self._counted())
            if isinstance(error, KeyboardInterrupt):
                done = f"{sender.counts.total:,} of {counted(self.report.total, 'resource is', 'resources are')} done"
                raise InterruptedRun("FS527", Place(sender.journal.path.name), detail=done) from None
            raise
        self._show()

    def prove(self, least: int) -> bool:
        """Writes a Provenance for each bundle that has none, if there are so many; whether there were.

        A server that refuses them is reported once.
        """
        journal, sender = self.sender.journal, self.sender
        waiting = journal.unproven(_TOGETHER) if self.sources else []
        if len(waiting) < least:
            return False
        entries = [self._provenance(written) for written in waiting]
        reply = self.courier.send_apart(entries)
        good = [(entries[at], answer) for at, answer in sorted(reply.answers.items()) if answer.good]
        if len(good) < len(entries):
            self.sources = []
            sender.problems.append(Problem("FS518", Place("Provenance"), table="Provenance"))
            return False
        rows = [Written(each.item.key, each.item.digest, each.content, to.version, "created") for each, to in good]
        journal.record([(row.key, row.digest, row.content, row.version) for row in rows], rows)
        journal.mark(
            journal.run, [each.key for written in waiting for each in written] + [row.key for row in rows], "proven"
        )
        self.log.append("provenance written", counts={"provenances": len(rows)}, keys=[row.key for row in rows])
        return True

    def _provenance(self, written: list[Written]) -> Entry:
        made: dict[str, list[Target]] = {"created": [], "updated": []}
        for each in written:
            made[each.action].append((each.key, each.version))
        journal = self.sender.journal
        body = provenance(journal.run, journal.started(), made["created"], made["updated"], self.sources)
        line = msgspec.json.encode(body)
        item = Item(f"Provenance/{body['id']}", hashlib.sha256(line).digest(), Path(), 0, 0, (0, 0))
        return Entry(item, line, content(line))

    def finish(self) -> PushReport:
        """Closes the run in journal and log."""
        self._fill()
        if self.sender.counts.total != self.report.total:
            raise RuntimeError("a resource was neither delivered nor refused")
        head = self.log.append("run finished", counts=self._counted())
        counts = {
            key: value
            for key, value in self.report.as_dict().items()
            if key not in ("problems", "conflicting", "run", "server")
        }
        self.sender.journal.finish(counts | {"audit": head._asdict()})
        return self.report

    def _show(self) -> None:
        renewals = self.sender.courier.client.renewals
        if renewals > self.renewals:
            self.log.append("token renewed", counts={"times": renewals - self.renewals})
            self.renewals = renewals
        if self.progress:
            self.progress(self.sender.counts.total, self.report.total)

    def _counted(self) -> dict[str, int]:
        return {name: getattr(self.sender.counts, name) for name in _COUNTS}

    def _fill(self) -> None:
        for name, count in self._counted().items():
            setattr(self.report, name, count)
        self.report.seconds, self.report.retries = time.monotonic() - self.begin, self.sender.courier.client.retries
        self.report.problems, self.report.conflicting = self.sender.problems, self.sender.conflicting
        self.report.dead = self.sender.dead.path if self.sender.dead.path.exists() else None


def new_run() -> str:
    """A name for a run: the time, and enough chance to be the only one."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"


def _existing(plan: Path) -> Path:
    if not plan.is_file():
        raise UsageError("FS537", plan.name, "a plan of `fhirspace plan --out`")
    return plan


def _corrected(units: Iterator[Unit], files: list[Path], journal: Journal, sender: Sender) -> Iterator[Unit]:
    """Dead letters under their first places; what a later run delivered with other content is counted as unchanged."""
    origins = {file: dead.origins(file) for file in files}
    for unit in units:
        left = []
        for item in unit:
            known = journal.known(item.key)
            if known and journal.later(known.run, item.file.stem) and not journal.seal.same(known.digest, item.digest):
                sender.counts.unchanged += 1
                continue
            name, row = origins[item.file].get(item.key, (item.place.file, item.row))
            left.append(replace(item, name=name, row=row))
        if left:
            yield left


def _check_journal(client: Client, journal: Journal, sender: Sender) -> None:
    """A server that was emptied, replaced or restored must not be taken for one that holds everything.

    The first and the last key of each type and of the last run are looked up; if the server knows nothing of one, or
    holds a version before ours, nothing in the journal is sure any more. One that was deleted there is another client's
    change: it is a conflict when it is sent.
    """
    samples = journal.samples()
    found = fetch(client, (journal.place(key) or key for key in samples), batch=False)
    if any(_is_behind(held, version) for held, version in zip(found, samples.values(), strict=True)):
        journal.doubt()
        sender.problems.append(Problem("FS526", Place(journal.path.name)))


def _is_behind(held: Fetched, version: str) -> bool:
    """Whether the server has never heard of what was delivered in this version, or holds an earlier one."""
    if not held.line:
        return not held.deleted
    return held.version.isdecimal() and version.isdecimal() and int(held.version) < int(version)
