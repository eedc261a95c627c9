"""Pull what a server holds of some patients, whoever wrote it, as NDJSON in an output folder: input of views."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from fhirspace.delivery.pull.pull import Progress, PullReport, named, output_folder
from fhirspace.delivery.pull.reconcile import add
from fhirspace.delivery.pull.spool import Spool
from fhirspace.errors import Place, ServerError, UsageError
from fhirspace.fhir.judging import Judging
from fhirspace.fhirserver.http.client import Client, capabilities
from fhirspace.fhirserver.patients import Patients
from fhirspace.fhirserver.search import PAGE
from fhirspace.tables import formats

_COLUMN = "patient"


def pull_patients(
    server: str,
    patients: Iterable[str],
    out: Path,
    *,
    types: Sequence[str] | None = None,
    shared: bool = False,
    validate: Judging | None = None,
    progress: Progress | None = None,
    client: Client | None = None,
    insecure_http: bool = False,
) -> PullReport:
    """Write what a server holds of some patients to ``out/fhir/<Type>.ndjson``, by ``$everything`` of each.

    Each resource is written once, in its newest version, sorted by id, less what the server added to ``meta``. The
    files appear together, with ``manifest.json`` and ``problems.ndjson``, or nothing changes. The next pull into the
    folder replaces them: what was changed on the server is changed, and what was deleted is removed.

    Args:
        server: the FHIR base URL.
        patients: of each patient the id or an identifier ``system|value``, or ``Group/<id>``, ``all``, or the path of
            an enrolment table (its column ``patient``).
        out: the folder to write to.
        types: only these resource types.
        shared, validate, progress, client, insecure_http: as `pull`.

    Raises:
        UsageError: as `pull`; FS641 `patients` is none of these. InputError: the enrolment table cannot be read.
        ServerError: as `pull`; FS469 nothing of the patients is there.
    """
    begin = time.monotonic()
    client = client or Client(server, insecure_http=insecure_http)
    report = PullReport(client.server, "")
    named(types)
    wanted = Patients(client, listed(patients))
    with ExitStack() as stack:
        folder = stack.enter_context(output_folder(out, types, shared=shared))
        spools: dict[str, Spool] = {}
        for turn, (kind, resource) in enumerate(wanted.resources(), 1):
            if types is not None and kind not in types:
                continue
            if kind not in spools:
                spools[kind] = stack.enter_context(Spool(folder, kind))
            add(spools[kind], resource, client)
            if progress and turn % PAGE == 0:
                progress(kind, len(spools[kind]))
        report.keep(spools[kind] for kind in sorted(spools))
        report.problems += wanted.problems
        report.judge(folder, capabilities(client) if validate else {}, validate, whole=False)
        if not report.files:
            raise ServerError("FS469", client.server)
        folder.report(report.problems)
    report.replaced = folder.replaced
    report.seconds = time.monotonic() - begin
    return report


def listed(patients: Iterable[str]) -> Iterator[str]:
    """The patients that are meant: those of a table, if one is named. Raises UsageError (FS641), InputError.

    What ends as the name of a table is one, also if it is not there: it would be asked for as an id.
    """
    for each in patients:
        suffix = Path(each).suffix.lower()
        if not (suffix in formats.NAMED or (suffix and Path(each).is_file())):
            yield each
            continue
        table = formats.whole(Path(each))
        if _COLUMN not in table.column_names:
            raise UsageError("FS641", str(Place(Path(each).name, 1, _COLUMN)), "an enrolment table, with this column")
        yield from (str(cell) for cell in table[_COLUMN].to_pylist() if cell)
