"""Delivery of a folder of FHIR to a server: at least once sent, with exactly one effect.

Every resource goes as ``PUT Type/id`` (FHIR, "transaction", "batch" and "update" interactions), targets of references
first. Before a bundle the journal notes what is sent, after the answer what the server holds; unchanged resources are
not sent again, and a run that was killed goes on where it stopped, under its name.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypedDict, Unpack

from fhirspace.delivery import compare, dead
from fhirspace.delivery.bundle import Courier, Kind
from fhirspace.delivery.client import Client, require_release
from fhirspace.delivery.compare import ACTIONS, Action, PlanFile, Step
from fhirspace.delivery.fetch import fetch
from fhirspace.delivery.journal import JOURNAL, Journal
from fhirspace.delivery.order import Item, Order, Reader, Unit, inputs
from fhirspace.delivery.sender import Sender
from fhirspace.errors import InterruptedRun, Place, Problem, UsageError

Progress = Callable[[int, int], None]
"""Called with how many resources are done, and how many there are."""

PLAN = "plan.db"
_SHOWN, _TOLD = 1000, 20
SIZE = 160
"""Resources a bundle, unless the server or the user wants less: what the strictest of the large servers takes."""


class Options(TypedDict, total=False):
    """How to deliver.

    journal: the SQLite file of what was delivered; ``journal.db`` in the folder without it. It may serve several
    servers. size: most resources a bundle. connections: bundles under way at once; none holds what another one holds
    or refers to. fhir: the release of the resources; the server must speak it, None does not check. way: how entries
    travel; by the server's word without it. gzip: compress what is sent. rate: most resources a second. progress:
    called after each bundle. client: how to talk; HTTP without it.
    """

    journal: Path | None
    size: int
    connections: int
    fhir: str | None
    way: Kind | None
    gzip: bool
    rate: float | None
    progress: Progress | None
    client: Client | None


@dataclass(slots=True)
class PushReport:
    """What a push did. `total` = created + updated + unchanged + unchanged_on_server + conflicts + refused, always.

    `unchanged` were known from the journal (or the plan) and not sent; `unchanged_on_server` were sent, and the server
    held the same content already; `conflicts` were left alone as the plan says. `dead` is the file with the refused
    resources (None: there are none).
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
        names = ("run", "server", "total", "sent", *_COUNTS)
        return {
            **{name: getattr(self, name) for name in names},
            "retries": self.retries,
            "seconds": round(self.seconds, 3),
            "rate": round(self.rate, 1),
            "dead": str(self.dead) if self.dead else None,
            "problems": [problem.as_dict() for problem in self.problems],
        }


@dataclass(slots=True)
class Planned:
    """What a push would do: by resource type (in the order of sending) how many resources of each action.

    `changes` are the first updates and conflicts with the elements that differ; all of them are in the plan `file`.
    `problems` are the resources that cannot be sent.
    """

    server: str
    file: Path
    types: dict[str, dict[str, int]] = field(default_factory=dict)
    changes: list[Step] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def total(self, action: Action) -> int:
        """How many resources have this action."""
        return sum(row[action] for row in self.types.values())

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``: counts, and key, action, version and changed elements of the first changes."""
        return {
            "server": self.server,
            "file": str(self.file),
            "total": {action: self.total(action) for action in ACTIONS},
            "types": self.types,
            "changes": [
                {"key": step.key, "action": step.action, "version": step.version, "changes": list(step.changes)}
                for step in self.changes
            ],
            "problems": [problem.as_dict() for problem in self.problems],
        }

    def summary(self) -> str:
        """The counts as a table, and the first changes with their elements, for people."""
        rows = [
            ("type", *ACTIONS),
            *((kind, *(f"{row[action]:,}" for action in ACTIONS)) for kind, row in self.types.items()),
        ]
        table = [f"{row[0]:<26}" + "".join(f"{cell:>12}" for cell in row[1:]) for row in rows]
        changed = [f"{step.action} {step.key}: {', '.join(step.changes)}" for step in self.changes[:_TOLD]]
        more = self.total("update") + self.total("conflict") - len(changed)
        return "\n".join(
            [*table, *changed, *([f"... and {more:,} more changes"] if more else []), f"saved as {self.file}"]
        )


_COUNTS = ("created", "updated", "unchanged", "unchanged_on_server", "conflicts", "refused")


def push(folder: Path, server: str, *, plan: Path | None = None, **options: Unpack[Options]) -> PushReport:
    """Deliver the resources of a folder to a FHIR server.

    Args:
        folder: holds FHIR (see `order.inputs`); refused resources go to ``dead/<run>.ndjson`` in it. It may be one
            file.
        server: the FHIR base URL.
        plan: a plan file; only what it says is done, and nothing at all when the server or the input has moved on.
        options: see `Options`.

    Raises:
        InputError: FS523 nothing to push, FS528 a file changed, FS401, FS404, FS405 a file cannot be read.
        UsageError: FS514 the URL cannot be used, FS525 the journal is in use or none, FS537 the plan file is none,
            FS538 the plan no longer fits.
        ServerError: FS510 unreachable, FS511 sign-in refused, FS512 it keeps failing, FS513 another release.
        InterruptedRun: FS527, stopped by Ctrl-C; the same call resumes.
    """
    home = folder.parent if folder.is_file() else folder
    with ExitStack() as stack:
        steps = stack.enter_context(PlanFile(_existing(plan))) if plan else None
        return _deliver(home, inputs(folder), server, options, plan=steps)


def retry(folder: Path, server: str, *, run: str | None = None, **options: Unpack[Options]) -> PushReport:
    """Send the dead letters of a folder once more (of one run, or of all), and remove what was delivered.

    A resource that a later run has delivered in another form is left out: it was corrected at its source.

    Raises:
        UsageError: FS535 there are none; others as `push`.
    """
    files = dead.letters(folder, run)
    report = _deliver(folder, files, server, options, letters=True)
    for file in files:
        dead.remove(file)
    return report


def _deliver(
    home: Path, files: list[Path], server: str, options: Options, *, plan: PlanFile | None = None, letters: bool = False
) -> PushReport:
    begin, progress = time.monotonic(), options.get("progress")
    talk = options.get("client") or Client(server)
    statement = require_release(talk, options.get("fhir"))
    courier = Courier(talk, options.get("way") or way_of(statement), options.get("gzip", False))
    path = options.get("journal") or home / JOURNAL
    with Journal(path, talk.server) as book, Order(files) as order, Reader() as reader:
        wanted = _by_plan(plan, talk, order, reader) if plan else None
        book.begin(new_run())
        sender = Sender(
            courier, book, dead.DeadLetters(home, book.run), options.get("size", SIZE), options.get("rate"), wanted
        )
        report = PushReport(book.run, talk.server, len(order) + len(order.faults) + order.twins)
        sender.counts.unchanged += order.twins
        _check_journal(talk, book, sender)
        if plan:
            _conflicts(plan, order, sender)
        units = _corrected(order.units(), files, book, sender) if letters else order.units()
        try:
            for code, item, expected in order.faults:
                sender.refuse_unsent(code, item, expected, reader.line(item))
            for _ in sender.deliver_all(sender.batches(units, reader), options.get("connections", 1)):
                if progress:
                    progress(sender.counts.total, report.total)
        except KeyboardInterrupt:
            done = f"{sender.counts.total} of {report.total} resources are done"
            raise InterruptedRun("FS527", Place(str(home)), f"the same command once more ({done})") from None
        finally:
            _fill(report, sender, time.monotonic() - begin)
        if progress:
            progress(sender.counts.total, report.total)
        book.finish({key: value for key, value in report.as_dict().items() if key not in ("problems", "run", "server")})
    assert sender.counts.total == report.total, "a resource was neither delivered nor refused"
    return report


def new_run() -> str:
    """A name for a run: the time, and enough chance to be the only one."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"


def way_of(statement: dict[str, Any]) -> Kind:
    """How entries can travel, by a CapabilityStatement; a server that does not say is taken to know transactions."""
    codes = {
        interaction.get("code") for rest in statement.get("rest") or [] for interaction in rest.get("interaction") or []
    }
    if "transaction" in codes or not codes:
        return "transaction"
    return "batch" if "batch" in codes else "single"


def _existing(plan: Path) -> Path:
    if not plan.is_file():
        raise UsageError("FS537", plan.name, "a plan of `fhirspace plan --out`")
    return plan


def _corrected(units: Iterator[Unit], files: list[Path], book: Journal, sender: Sender) -> Iterator[Unit]:
    """Dead letters under their first places; what a later run delivered in another form is counted as unchanged."""
    origins = {file: dead.origins(file) for file in files}
    for unit in units:
        left = []
        for item in unit:
            known = book.known(item.key)
            if known is not None and known.run > item.file.stem and known.digest != item.digest:
                sender.counts.unchanged += 1
                continue
            name, row = origins[item.file].get(item.key, (item.place.file, item.row))
            left.append(replace(item, name=name, row=row))
        if left:
            yield left


def _by_plan(plan: PlanFile, client: Client, order: Order, reader: Reader) -> Callable[[Item], str | None]:
    """What a plan wants of each resource, after making sure that it still fits the input and the server."""
    if plan.server != client.server:
        raise UsageError("FS538", plan.server, "the server that the plan was made for")
    moved = 0
    done: set[str] = set()
    items = (item for unit in order.units() for item in unit)
    for step in compare.compare(client, items, reader, None):
        planned = plan.step(step.key)
        if planned is None or planned.digest != step.digest:
            raise UsageError("FS538", step.key.split("/")[0], "the input that the plan was made for")
        if step.action == "unchanged":
            done.add(step.key)
        elif step.version != planned.version:
            moved += 1
    if moved:
        raise UsageError("FS538", client.server, f"what it held when the plan was made ({moved} resources differ)")

    def wanted(item: Item) -> str | None:
        planned = plan.step(item.key)
        if planned is None or item.key in done or planned.action in ("unchanged", "conflict"):
            return None
        return planned.version

    return wanted


def _conflicts(plan: PlanFile, order: Order, sender: Sender) -> None:
    """Tells what the plan leaves alone, which the sender counts as unchanged."""
    left = {step.key for step in plan.steps("conflict")}
    for item in (item for unit in order.units() for item in unit if item.key in left) if left else ():
        sender.counts.conflicts += 1
        sender.counts.unchanged -= 1
        sender.problems.append(Problem("FS539", item.place, "what we wrote last", item.key.split("/")[0]))


def _fill(report: PushReport, sender: Sender, seconds: float) -> None:
    for name in _COUNTS:
        setattr(report, name, getattr(sender.counts, name))
    report.seconds, report.retries = seconds, sender.courier.client.retries
    report.problems = sender.problems
    report.dead = sender.dead.path if report.refused else None


def _check_journal(client: Client, book: Journal, sender: Sender) -> None:
    """A server that was emptied or replaced at the same address must not be taken for one that holds everything.

    The first and the last key of each type are looked up; one that is gone makes the journal start anew.
    """
    if any(not held.line for held in fetch(client, book.samples(), batch=False)):
        book.forget()
        sender.problems.append(Problem("FS526", Place(book.path.name), "the server to hold what was delivered"))


def plan(
    folder: Path, server: str, *, out: Path | None = None, overwrite: bool = False, **options: Unpack[Options]
) -> Planned:
    """Compare the resources of a folder with what a server holds, and save what a push would do; nothing is sent.

    Args:
        folder: as in `push`. server: the FHIR base URL.
        out: the plan file for ``push --plan``; None means ``plan.db`` in the folder.
        overwrite: what was changed on the server since our last push is planned as an update, not as a conflict.
        options: see `Options`.

    Raises:
        InputError, UsageError, ServerError: as `push`.
    """
    talk, progress = options.get("client") or Client(server), options.get("progress")
    batch = (options.get("way") or way_of(require_release(talk, options.get("fhir")))) != "single"
    home = folder.parent if folder.is_file() else folder
    path, noted = out or home / PLAN, options.get("journal") or home / JOURNAL
    path.unlink(missing_ok=True)
    with ExitStack() as stack:
        book = stack.enter_context(Journal(noted, talk.server)) if noted.is_file() else None
        order, reader = stack.enter_context(Order(inputs(folder))), stack.enter_context(Reader())
        file = stack.enter_context(PlanFile(path, talk.server))
        items = (item for unit in order.units() for item in unit)
        steps = compare.compare(
            talk, items, reader, None if overwrite else book, batch=batch, connections=options.get("connections", 1)
        )
        found = Planned(talk.server, path)
        for done, step in enumerate(file.add(steps), 1):
            if len(found.changes) < _SHOWN and step.action in ("update", "conflict"):
                found.changes.append(step)
            if progress and done % SIZE == 0:
                progress(done, len(order))
        found.types = file.counts()
        found.problems = [Problem(code, item.place, expected) for code, item, expected in order.faults]
        file.keep()
    return found


def order(folder: Path) -> list[tuple[str, int]]:
    """What `push` would send: resource types in the order of sending, with how many there are of each.

    Raises:
        InputError: as `push`.
    """
    with Order(inputs(folder)) as found:
        return found.types()
