"""``push --bulk``: a folder by ``$import``, from files that we serve while the job runs, or that are in a storage."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote, urlsplit

from fhirspace.delivery.bulk.jobs import LONGEST, Percent, failed, refused, watched
from fhirspace.delivery.bulk.serve import LOCAL, FileServer, consented, host_of, serving
from fhirspace.delivery.bulk.shapes import Fate, Part, Shape, shape_named
from fhirspace.delivery.push.order import Order, Reader, Unit, inputs
from fhirspace.delivery.push.validated import validated
from fhirspace.delivery.report import as_dict
from fhirspace.delivery.same_key import check_study
from fhirspace.errors import InputError, Place, Problem, UsageError
from fhirspace.fhir.files import FhirFile
from fhirspace.fhir.judging import FailOn, Judging
from fhirspace.fhir.references import references
from fhirspace.fhirserver.http.client import Client, require_release
from fhirspace.fhirserver.http.origin import is_this_machine
from fhirspace.folders import scratch
from fhirspace.foreign import counted

Progress = Callable[[int, int], None]
"""Called with how many resources are done, and how many there are."""

_STORAGES = ("http", "https", "gs")


@dataclass(slots=True)
class BulkReport:
    """What a bulk import did. `stored` is what the server says it stored (new or not), `failed` what it refused.

    `missing` are resources of which it says neither. `invalid` counts what validation found before, errors and
    warnings, where it was asked for.
    """

    server: str
    shape: str
    total: int = 0
    stored: int = 0
    failed: int = 0
    jobs: int = 0
    seconds: float = 0.0
    unread: int = 0
    invalid: int = 0
    files: list[dict[str, Any]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list, repr=False)

    @property
    def missing(self) -> int:
        """Resources that the server does not report."""
        return self.total - self.stored - self.failed

    @property
    def whole(self) -> bool:
        """Whether every file was read and everything was stored, by the server's report of each file."""
        named = any(problem.code == "FS562" for problem in self.problems)
        return self.stored == self.total and not self.unread and not named

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``: the fields, `missing`; problems as lines of ``problems.ndjson``."""
        return as_dict(
            self,
            *("server", "shape", "total", "stored", "failed", "missing", "unread", "invalid", "jobs", "seconds"),
            "files",
        )

    def count_unreadable(self, problems: Iterable[Problem]) -> None:
        """Count the files that cannot be read among the findings of an input."""
        self.unread += sum(problem.level == "error" for problem in problems)

    def count(self, parts: list[Part], fates: list[Fate]) -> None:
        """Add what became of the files of a job."""
        self.jobs += 1
        for part, fate in zip(parts, fates, strict=True):
            stored = fate.stored
            self.total += part.count
            self.stored += stored
            self.failed += fate.failed
            row = {"file": part.name, "type": part.kind, "sent": part.count, "stored": stored, "failed": fate.failed}
            self.files.append(row)
            if stored != part.count or fate.failed:
                detail = f"{stored} of {counted(part.count, 'resource')} stored{fate.reasons and ': ' + fate.reasons}"
                self.problems.append(Problem("FS562", Place(part.name), table=part.kind, detail=detail))


def bulk_push(
    folder: Path,
    server: str,
    *,
    shape: str = "hapi",
    source: str | None = None,
    bind: str = LOCAL,
    fhir: str | None = None,
    longest: float = LONGEST,
    follow_links: bool = False,
    validate: Judging | None = None,
    fail_on: FailOn = "error",
    progress: Progress | None = None,
    client: Client | None = None,
    insecure_http: bool = False,
) -> BulkReport:
    """Have a server import the resources of a folder by itself.

    HAPI checks references while it imports, and does so with several parts at a time, in no order: so each wave of
    references (see `order`) is a job of its own. Resources that refer to each other in a circle are kept together, but
    where HAPI cuts a file between them it refuses them: `push` without bulk delivers those. The other servers check no
    references and get one job.

    What is stored is not known to the journal of `push`: a bulk import returns no versions. A later `push` asks the
    server and finds the resources unchanged. Killed and called again, it imports everything again, which changes
    nothing where the server compares (HAPI), and makes new versions of the same content elsewhere.

    Args:
        folder: holds ``fhir/*.ndjson`` (or ``*.ndjson``), or is one NDJSON file.
        server: the FHIR base URL.
        shape: how the server wants to be asked, a name in `shapes.SHAPES`.
        source: where the same files are in a storage (a URL that their names are put to); None: we serve them.
        bind: ``HOST[:PORT]`` to serve them at, as the server can reach it.
        fhir: the release of the resources; the server must speak it. None does not check.
        longest: the most seconds between two looks at a job.
        follow_links: follow links that lead out of the input folder, too.
        validate, fail_on: as of `push`.
        progress: called as jobs go on.
        client: the transport; None: HTTP.
        insecure_http: whether data may go to another machine unencrypted: to the server where no `client` is given, and
            from `bind`.

    Raises:
        InputError: FS521 a key occurs twice, FS522 a line is no resource, FS523 nothing to push, FS528 a file changed.
        UsageError: FS514 the URL cannot be used, FS567, FS598, FS599 an option cannot be used, FS592 the server holds
            the study under ids of another key, FS595 files would be served to other machines unencrypted.
        ValidationError: FS570 validation found errors; nothing was sent.
        ServerError: FS510 unreachable, FS511 sign-in refused, FS512 an answer that makes no sense, FS513 another
            release, FS530 the status URL leads away, FS560 no job was begun, FS561 a job failed as a whole.
    """
    begin = time.monotonic()
    client = client or Client(server, insecure_http=insecure_http)
    way = shape_named(shape)
    if source is None and not way.serves:
        raise UsageError("FS599", "--bulk-from", f"the address of a storage, because {shape} imports only from there")
    if source is None:
        consented(bind, allowed=insecure_http)
    report = BulkReport(client.server, shape)
    files = inputs(folder, follow_links=follow_links, problems=report.problems)
    report.count_unreadable(report.problems)
    invalid = validated(files, require_release(client, fhir), validate, fail_on, folder.name)
    report.problems += invalid
    report.invalid = sum(problem.level != "note" for problem in invalid)
    check_study(client, files)
    with ExitStack() as stack:
        waves = stack.enter_context(_served(files, bind, report)) if source is None else _stored(files, source, report)
        total = sum(part.count for wave in waves for part in wave)
        for parts in waves if way.checks else [[part for wave in waves for part in wave]]:
            for job in [[part] for part in parts] if way.alone else [parts]:
                tell = progress and _scaled(progress, report.total, job, total)
                report.count(job, _run(client, way, job, longest, tell))
    report.problems.append(Problem("FS563", Place(client.server)))
    report.seconds = time.monotonic() - begin
    return report


def _run(client: Client, way: Shape, parts: list[Part], longest: float, tell: Percent | None) -> list[Fate]:
    """One job, from its beginning to what became of each file."""
    path, body, headers = way.request(client.server, parts)
    answer = client.request("POST", path, body, headers=headers)
    status = way.status_url(client, answer)
    if status is None:
        raise refused(client, answer)
    ended = watched(client, status, running=way.running, longest=longest, percent=tell)
    fates = way.fates(ended, parts)
    if fates is None:
        raise failed(client, ended)
    if tell:
        tell(100)
    return fates


def _scaled(progress: Progress, before: int, parts: list[Part], total: int) -> Percent:
    count = sum(part.count for part in parts)
    return lambda percent: progress(before + count * percent // 100, total)


@contextmanager
def _served(files: list[FhirFile], bind: str, report: BulkReport) -> Iterator[list[list[Part]]]:
    """Waves of parts that are in scratch files and are served until the block is left."""
    with scratch() as folder, serving(bind) as served:
        stages = _stages(files, folder, report)
        served.offer([stage.spool for stage in stages])
        if not is_this_machine(host_of(bind)):
            report.problems.append(Problem("FS569", Place("--bulk-bind")))
        yield _waves([(stage.depth, stage.part(served)) for stage in stages])


def _stored(files: list[FhirFile], source: str, report: BulkReport) -> list[list[Part]]:
    """Waves of parts that are in a storage already, by the same names as here.

    A file whose resources refer to each other comes as it is: it cannot be cut there.
    """
    place = urlsplit(source)
    if place.scheme not in _STORAGES or place.query or place.username or place.password:
        raise UsageError("FS599", "--bulk-from", "a URL without query and password, such as gs://bucket/folder")
    found: dict[str, tuple[int, set[str], int]] = {}
    for stage in _stages(files, None, report):
        for (name, kind), count in stage.counts.items():
            depth, kinds, before = found.get(name, (0, set(), 0))
            found[name] = (max(depth, stage.depth), kinds | {kind}, before + count)
    mixed = next(
        (name for name, (_, kinds, _) in found.items() if len(kinds) > 1 or not name.endswith(".ndjson")), None
    )
    if mixed:
        raise UsageError("FS599", mixed, "uncompressed NDJSON with one resource type a file")
    return _waves(
        [
            (depth, Part(next(iter(kinds)), f"{source.rstrip('/')}/{quote(name)}", count, name))
            for name, (depth, kinds, count) in found.items()
        ]
    )


def _waves(parts: list[tuple[int, Part]]) -> list[list[Part]]:
    """Parts by their depth: no part of a wave refers to a later one."""
    depths = sorted({depth for depth, _ in parts})
    return [[part for at, part in parts if at == depth] for depth in depths]


@dataclass(slots=True)
class _Stage:
    """Resources that may be imported in any order, and how many by file and type; `depth`: stages that come before."""

    spool: Path
    depth: int = 0
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def kinds(self) -> list[str]:
        """The types in it."""
        return sorted({kind for _, kind in self.counts})

    def part(self, served: FileServer) -> Part:
        """It as a file that is served."""
        names = sorted({name for name, _ in self.counts})
        return Part(self.kinds[0], f"{served.base}/{self.spool.name}", self.counts.total(), ", ".join(names))


def _stages(files: list[FhirFile], folder: Path | None, report: BulkReport) -> list[_Stage]:
    """The stages of a push, with the fewest waves; where `folder` is given, their lines are written there.

    `Order` puts types one after the other. Here those that do not refer to each other get the same depth.
    """
    stages: list[_Stage] = []
    depths: dict[str, int] = {}
    with Order(files) as order, Reader() as reader:
        report.problems += order.unread
        report.count_unreadable(order.unread)
        for code, item, expected in order.faults:
            raise InputError(code, item.place, expected)
        for (_, level), units in groupby(order.units(), key=lambda unit: unit[0].stage):
            stage = _Stage((folder or Path()) / f"{len(stages)}.ndjson")
            with stage.spool.open("wb") if folder else nullcontext() as spool:
                targets = _filled(stage, units, reader, spool)
            before = [depths[kind] for kind in targets - set(stage.kinds) if kind in depths]
            if level:
                before.append(stages[-1].depth)
            stage.depth = 1 + max(before, default=-1)
            depths.update(dict.fromkeys(stage.kinds, stage.depth))
            stages.append(stage)
    return stages


def _filled(stage: _Stage, units: Iterable[Unit], reader: Reader, spool: BinaryIO | None) -> set[str]:
    """Count the units, write their lines; gives the types that they refer to."""
    targets: set[str] = set()
    for unit in units:
        for item in unit:
            line = reader.line(item)
            stage.counts[item.place.file, item.key.split("/")[0]] += 1
            targets |= {key.split("/")[0] for key in references(line)}
            if spool:
                spool.write(line + b"\n")
    return targets
