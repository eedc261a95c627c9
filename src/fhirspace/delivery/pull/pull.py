"""Pull: a study from a FHIR server as NDJSON in the server's own spelling, in an output folder.

Each type is searched by the study's tag; then changes by other clients meanwhile are fetched (`reconcile`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fhirspace.delivery.pull.reconcile import add, reconcile
from fhirspace.delivery.pull.spool import Spool
from fhirspace.delivery.report import as_dict
from fhirspace.errors import Place, Problem, ServerError, UsageError
from fhirspace.fhir.files import FhirFile
from fhirspace.fhir.judging import Judging, findings
from fhirspace.fhirserver.address import is_type
from fhirspace.fhirserver.capability import known_release, read
from fhirspace.fhirserver.http.client import Client, capabilities
from fhirspace.fhirserver.search import PAGE, NotSearchableError, Study, moment
from fhirspace.fhirserver.unrequested import Others
from fhirspace.foreign import counted, shown
from fhirspace.tables.outputs import OutputFolder
from fhirspace.tables.proof import Earlier

Progress = Callable[[str, int], None]
"""Called with a resource type and how many of it have come."""


@dataclass(slots=True)
class PullReport:
    """The result of a pull: how many of each type, and the files written (``out/fhir/<Type>.ndjson``).

    `deleted` are keys of what was deleted on the server, as far as an export lists it. `replaced` is the result of an
    earlier run that was in the output folder.
    """

    server: str
    study: str
    counts: dict[str, int] = field(default_factory=dict)
    files: list[Path] = field(default_factory=list)
    seconds: float = 0.0
    deleted: list[str] = field(default_factory=list, repr=False)
    problems: list[Problem] = field(default_factory=list, repr=False)
    replaced: Earlier | None = None

    @property
    def total(self) -> int:
        """Resources of all types."""
        return sum(self.counts.values())

    def keep(self, spools: Iterable[Spool]) -> None:
        """Write each type and count it; resources that came in several forms are reported (FS471)."""
        for one in spools:
            file = one.write()
            if file:
                self.counts[one.kind] = len(one)
                self.files.append(file)
            if one.unclear:
                detail = counted(len(one.unclear), "resource")
                self.problems.append(Problem("FS471", Place(one.kind), table=one.kind, detail=detail))

    def judge(self, folder: OutputFolder, statement: dict[str, Any], validate: Judging | None, *, whole: bool) -> None:
        """Add what is wrong with the resources that were written; `whole`: they are all that the server holds."""
        files = [FhirFile(path, "ndjson") for path in folder.staged("fhir")] if validate else []
        if validate and files:
            self.problems += findings(files, known_release(statement), validate, whole=whole)

    def note_foreign(self, statement: dict[str, Any]) -> None:
        """Report (FS596) that a CapabilityStatement lists names that are no types of its release."""
        foreign = read(statement).foreign
        if foreign:
            detail = f"{counted(foreign, 'name is', 'names are')} unknown to FHIR"
            self.problems.append(Problem("FS596", Place(self.server), detail=detail))

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``: the fields, with problems as lines of ``problems.ndjson``."""
        fields = as_dict(self, "server", "study", "total", "counts", "files", "seconds", "deleted")
        return fields | {"replaced": self.replaced.as_dict() if self.replaced else None}


def pull(
    server: str,
    study: str,
    out: Path,
    *,
    types: Sequence[str] | None = None,
    since: str | None = None,
    shared: bool = False,
    validate: Judging | None = None,
    progress: Progress | None = None,
    client: Client | None = None,
    insecure_http: bool = False,
) -> PullReport:
    """Write what a server holds of a study to ``out/fhir/<Type>.ndjson``.

    Where data are changed meanwhile, the last state of each resource is written (see `reconcile`). What the server
    sends of other types or studies is never written, and reported (FS585), as is what it announces and does not send
    (FS589). Lines are sorted by id; numbers keep the server's spelling; what the server added to ``meta`` is taken off
    (see `canonical.cleaned`). The files appear together, with ``manifest.json`` and ``problems.ndjson``, or nothing
    changes. Those of an earlier pull into the folder are replaced or removed, except of types that are not asked for.

    Args:
        server: the FHIR base URL.
        study: the study, as in the tag ``https://fhirspace.org/study|<study>``.
        out: the folder to write to.
        types: resource types; None takes all that the server says can be searched.
        since: only what was changed since this instant or date (a date begins at 00:00 UTC).
        shared: files get the modes that the umask gives, instead of being for their owner only.
        validate: judge what was pulled, by FHIR's rules ("errors"), or also by what FHIR only recommends ("full").
        progress: called after each page.
        client: the transport; None: HTTP.
        insecure_http: whether data may go to another machine unencrypted, where no `client` is given.

    Raises:
        UsageError: FS514, FS595 the URL cannot be used, FS622 `since` is no instant or date, FS623 `types` names none;
            FS144, FS145, FS147 the output folder holds something that is not ours, or is in use.
        ServerError: FS510 unreachable, FS511 sign-in, FS512 an answer that is no FHIR search, FS519 too much of one,
            FS530 a link that leads away, FS531 nothing of the study is there (without `since`).
    """
    begin = time.monotonic()
    client = client or Client(server, insecure_http=insecure_http)
    report = PullReport(client.server, study)
    named(types)
    search = Study(client, study, moment(since) if since else None)
    statement = capabilities(client)
    report.note_foreign(statement)
    with ExitStack() as stack:
        folder = stack.enter_context(output_folder(out, types, shared=shared))
        spools: list[Spool] = []
        for kind in types if types is not None else searchable(statement):
            one = stack.enter_context(Spool(folder, kind))
            try:
                _gather(one, search, progress)
            except NotSearchableError as error:
                if types is not None:
                    raise client.unexpected(error.answer) from None
                report.problems.append(Problem("FS532", Place(kind), "a search by _tag", kind))
                continue
            spools.append(one)
        if reconcile(search, spools):
            report.problems += _missing(search, spools)
        else:
            report.problems.append(Problem("FS568", Place(client.server)))
        report.keep(spools)
        report.problems += search.others.problems()
        report.judge(folder, statement, validate, whole=types is None and since is None)
        if not report.files and not since:
            raise nothing(client.server, search.others)
        folder.report(report.problems)
    report.replaced = folder.replaced
    report.seconds = time.monotonic() - begin
    return report


def output_folder(out: Path, types: Sequence[str] | None, *, shared: bool) -> OutputFolder:
    """The output folder of a pull: what an earlier pull wrote of types that are not asked for now stays."""
    asked = None if types is None else {f"fhir/{kind}.ndjson" for kind in types}

    def keeps(name: str) -> bool:
        return asked is not None and name.startswith("fhir/") and name not in asked

    return OutputFolder(out, keeps=keeps, shared=shared)


def nothing(server: str, others: Others) -> ServerError:
    """The error (FS531) for a server that has nothing of the study; what was left out is counted in it."""
    left = f"{others.total:,} resources without the study's tag were left out" if others.total else ""
    return ServerError("FS531", server, "resources with the tag of the study", left)


def named(types: Sequence[str] | None) -> None:
    """Check types that the user named: they become names of files. Raises UsageError (FS623): FHIR has no such type."""
    if not all(map(is_type, types or ())):
        raise UsageError("FS623", "--types")


def searchable(statement: dict[str, Any]) -> list[str]:
    """The resource types of a CapabilityStatement that can be searched (or that say nothing of what can be done).

    Names that are no types of its release are left out.
    """
    return sorted(name for name, each in read(statement).types.items() if each.may("search-type") is not False)


def _missing(study: Study, spools: Iterable[Spool]) -> Iterator[Problem]:
    """Report (FS589) each type of which the server announced more resources at last than have come."""
    for one in spools:
        come = len(one) + study.others.count(one.kind)
        if one.total is not None and one.total > come:
            announced = shown(f"{one.total:,}", 64)
            detail = f"{announced} {one.kind} announced, {come:,} came"
            yield Problem("FS589", Place(study.client.server), table=one.kind, detail=detail)


def _gather(one: Spool, study: Study, progress: Progress | None) -> None:
    pages = study.pages(one.kind)
    one.total = pages.total
    for turn, resource in enumerate(pages, 1):
        add(one, resource, study.client)
        if progress and turn % PAGE == 0:
            progress(one.kind, len(one))
    if progress and len(one):
        progress(one.kind, len(one))
