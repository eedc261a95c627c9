"""The public functions of delivery: each checks its arguments, then calls the function of its room.

An argument that is None is not given: what fits the server, the site or the folder is taken. The same name means the
same in every function: `fhir` the release, `journal` the file of what was delivered or its folder, `client` the
transport (None: HTTP), `insecure_http` whether data may go to another machine unencrypted where no client is given.

A function spells its arguments once, in its signature: its ``locals()`` are these arguments, each checked by its name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from fhirspace.api.checks import checked
from fhirspace.arguments import PathLike
from fhirspace.delivery import undo as taken_back, verify as read_back
from fhirspace.delivery.bulk import export, load
from fhirspace.delivery.bulk.load import BulkReport
from fhirspace.delivery.doctor import doctor as preflight
from fhirspace.delivery.doctor.doctor import Preflight
from fhirspace.delivery.plan import plan as planning
from fhirspace.delivery.plan.plan import Planned
from fhirspace.delivery.pull import pull as pulling
from fhirspace.delivery.pull.pull import PullReport
from fhirspace.delivery.push import push as pushing
from fhirspace.delivery.push.push import PushReport
from fhirspace.delivery.undo import UndoReport
from fhirspace.delivery.verify import VerifyReport
from fhirspace.fhir.judging import FailOn, Judging
from fhirspace.fhirserver.http.client import Client
from fhirspace.fhirserver.strategy import Kind
from fhirspace.idkey import IdKey
from fhirspace.standards.fhir import Release

Progress = Callable[[int, int], None]
"""Called with how many are done, and how many there are."""


def push(
    folder: PathLike,
    server: str,
    *,
    plan: PathLike | None = None,
    fhir: Release | None = None,
    journal: PathLike | None = None,
    id_key: IdKey | PathLike | None = None,
    way: Kind | None = None,
    size: int | None = None,
    connections: int | None = None,
    gzip: bool | None = None,
    rate: float | None = None,
    provenance: bool = True,
    overwrite: bool = False,
    follow_links: bool = False,
    validate: Judging | None = None,
    fail_on: FailOn = "error",
    progress: Progress | None = None,
    client: Client | None = None,
    insecure_http: bool = False,
) -> PushReport:
    """Deliver the resources of a folder to a FHIR server; called again after an interruption it goes on.

    Args:
        folder: holds FHIR, or is one file; rejected resources go to ``dead/<run>.ndjson`` in it.
        server: the FHIR base URL.
        plan: a plan file; only what it says is done, and nothing if the server or the input has changed since.
        fhir: the release of the resources, which the server must speak; None does not check.
        journal: the file of what was delivered; None: ``journal.db`` in the folder.
        id_key: the key that made the ids, or its file; None: your site's.
        way: "transaction", "batch", "single" or "conditional" (the server makes the ids).
        size: most resources a bundle. connections: bundles sent at once. rate: most requests a second.
        gzip: compress what is sent. provenance: write a Provenance for each bundle, where the server takes them.
        overwrite: write over what others changed on the server since our last push, instead of reporting a conflict.
        follow_links: follow links that lead out of the input folder, too.
        validate: judge the resources before anything is sent, by FHIR's rules ("errors"), or also by what FHIR only
            recommends ("full"); None does not. fail_on: the findings after which nothing is sent, "error", "warning"
            (both), or "never": they are only reported.
        progress, client, insecure_http: see the module.

    Raises:
        UsageError: FS640, FS641 an argument; FS514, FS595 the URL; FS525, FS537, FS538, FS517, FS590 to FS592 the
            journal, the plan or the key. InputError: FS523 nothing to push, or a file cannot be read.
        ValidationError: FS570, there are such findings; its `problems` has them.
        ServerError: FS510 to FS513. InterruptedRun: FS527, stopped by Ctrl-C; the same call goes on.
    """
    return pushing.push(**checked(("folder", "server", "fail_on"), **locals()))


def retry(
    folder: PathLike,
    server: str,
    *,
    run: str | None = None,
    fhir: Release | None = None,
    journal: PathLike | None = None,
    id_key: IdKey | PathLike | None = None,
    way: Kind | None = None,
    size: int | None = None,
    connections: int | None = None,
    gzip: bool | None = None,
    rate: float | None = None,
    provenance: bool = True,
    overwrite: bool = False,
    follow_links: bool = False,
    progress: Progress | None = None,
    client: Client | None = None,
    insecure_http: bool = False,
) -> PushReport:
    """Send the rejected resources of a folder once more, and remove from ``dead/`` what was delivered.

    Args:
        run: only those that this run rejected; None: of all runs.
        folder, server, fhir, journal, id_key, way, size, connections, gzip, rate, provenance: as of `push`.
        overwrite, follow_links, progress, client, insecure_http: as of `push`.

    Raises:
        UsageError: FS535, there are none; others as `push`.
    """
    return pushing.retry(**checked(("folder", "server"), **locals()))


def plan(
    folder: PathLike,
    server: str,
    *,
    out: PathLike | None = None,
    overwrite: bool = False,
    fhir: Release | None = None,
    journal: PathLike | None = None,
    id_key: IdKey | PathLike | None = None,
    way: Kind | None = None,
    size: int | None = None,
    connections: int | None = None,
    rate: float | None = None,
    follow_links: bool = False,
    progress: Progress | None = None,
    client: Client | None = None,
    insecure_http: bool = False,
) -> Planned:
    """Compare the resources of a folder with what a server holds, and save what a push would do; nothing is sent.

    Args:
        out: the plan file for `push`; None: ``plan.db`` in the folder.
        overwrite: what others changed on the server since our last push is an update, not a conflict.
        folder, server, fhir, journal, id_key, way, size, connections, rate, follow_links: as of `push`.
        progress, client, insecure_http: as of `push`.

    Raises:
        As `push`; UsageError: FS517 the server makes the ids, FS537 `out` is something else.
    """
    return planning.plan(**checked(("folder", "server"), **locals()))


def verify(
    run: str,
    server: str | None = None,
    *,
    journal: PathLike | None = None,
    id_key: IdKey | PathLike | None = None,
    connections: int | None = None,
    progress: Progress | None = None,
    client: Client | None = None,
    insecure_http: bool = False,
) -> VerifyReport:
    """Read back what a run delivered and compare it.

    Args:
        run: its name, or "last" for the last one that wrote something.
        server: the FHIR base URL; None: the run's own.
        journal: the journal or its folder; None looks into all journals of this machine.
        id_key, connections, progress, client, insecure_http: as of `push`.

    Raises:
        UsageError: FS641 an argument; FS525, FS529, FS588, FS590, FS597 the run or its journal. ServerError: as `push`.
    """
    return read_back.verify(**checked(("run",), **locals()))


def undo(
    run: str,
    server: str | None = None,
    *,
    journal: PathLike | None = None,
    id_key: IdKey | PathLike | None = None,
    connections: int | None = None,
    progress: Progress | None = None,
    client: Client | None = None,
    insecure_http: bool = False,
) -> UndoReport:
    """Take a run back: what it updated gets its version before the run again, what it created is deleted.

    What was changed since, and what other resources refer to, is left alone and reported.

    Args:
        run, server, journal, id_key, connections, progress, client, insecure_http: as of `verify`.

    Raises:
        As `verify`; UsageError: FS584; ServerError: FS577.
    """
    return taken_back.undo(**checked(("run",), **locals()))


def pull(
    server: str,
    study: str,
    out: PathLike,
    *,
    types: str | Iterable[str] | None = None,
    since: str | None = None,
    shared: bool = False,
    validate: Judging | None = None,
    progress: Progress | None = None,
    client: Client | None = None,
    insecure_http: bool = False,
) -> PullReport:
    """Write what a server holds of a study to ``out/fhir/<Type>.ndjson``.

    Args:
        server: the FHIR base URL. study: the study, as in the tag ``https://fhirspace.org/study|<study>``.
        out: the folder to write to.
        types: one or several resource types; None takes all that the server says can be searched.
        since: only what was changed since this instant or date (a date begins at 00:00 UTC).
        shared: files get the modes that the umask gives, instead of being readable by their owner only.
        validate: judge what was pulled, by FHIR's rules ("errors"), or also by what FHIR only recommends ("full"); the
            findings are among the report's `problems`. None does not.
        progress, client, insecure_http: as of `push`.

    Raises:
        UsageError: FS641 an argument; FS514, FS595 the URL; FS567 `since` or `types`; FS144, FS145, FS147 the folder.
        ServerError: FS510 to FS512, FS519, FS530, FS531.
    """
    return pulling.pull(**checked(("server", "study", "out"), **locals()))


def bulk_pull(
    server: str,
    study: str,
    out: PathLike,
    *,
    types: str | Iterable[str] | None = None,
    since: str | None = None,
    level: str | None = None,
    connections: int | None = None,
    longest: float | None = None,
    piece: int | None = None,
    shared: bool = False,
    validate: Judging | None = None,
    progress: Progress | None = None,
    client: Client | None = None,
    anonymous: Client | None = None,
    insecure_http: bool = False,
) -> PullReport:
    """Write what a server holds of a study to ``out/fhir/<Type>.ndjson``, by ``$export``; called again it goes on.

    Args:
        server, study, out, types, since, shared, validate, progress, client, insecure_http: as of `pull`.
        level: None exports of the whole server, "Patient" of all patients, "Group/<id>" of a group.
        connections: files fetched at once. longest: the most seconds between two looks at the job.
        piece: bytes of a file that are fetched at once, where the server can do that.
        anonymous: how to fetch files that must not see the token; None: as `client`, without its sign-in.

    Raises:
        As `pull`; UsageError: FS567 `level`; ServerError: FS560 and others of the export.
    """
    return export.bulk_pull(**checked(("server", "study", "out"), **locals()))


def bulk_push(
    folder: PathLike,
    server: str,
    *,
    shape: str = "hapi",
    source: str | None = None,
    bind: str | None = None,
    fhir: Release | None = None,
    longest: float | None = None,
    follow_links: bool = False,
    validate: Judging | None = None,
    fail_on: FailOn = "error",
    progress: Progress | None = None,
    client: Client | None = None,
    insecure_http: bool = False,
) -> BulkReport:
    """Have a server import the resources of a folder by itself.

    Args:
        folder, server, fhir, follow_links, validate, fail_on, progress, client, insecure_http: as of `push`.
        shape: how the server wants to be asked, such as "hapi".
        source: where the same files are in a storage (a URL); None: this process serves them.
        bind: ``HOST[:PORT]`` to serve them at, as the server can reach it; None: this machine only.
        longest: the most seconds between two looks at a job.

    Raises:
        UsageError: FS640, FS641 an argument; FS514, FS567, FS592, FS595. InputError: FS521 to FS523, FS528.
        ValidationError: FS570. ServerError: FS510 to FS513 and those of the import.
    """
    return load.bulk_push(**checked(("folder", "server", "shape", "fail_on"), **locals()))


def doctor(
    server: str,
    *,
    fhir: Release | None = None,
    types: str | Iterable[str] | None = None,
    signed: bool | None = None,
    client: Client | None = None,
    insecure_http: bool = False,
) -> Preflight:
    """Look at a server before delivery; nothing is written.

    Args:
        server: its FHIR base URL. fhir: the release to be delivered; None takes the server's.
        types: the resource types to be delivered; None: those that fhirspace writes.
        signed: whether the client signs in; None: if the environment has a token.
        client, insecure_http: as of `push`.

    Raises:
        UsageError: FS640, FS641 an argument; FS514, FS595 the URL. ServerError: FS510 to FS513.
    """
    return preflight.doctor(**checked(("server",), **locals()))
