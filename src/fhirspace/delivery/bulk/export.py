"""``pull --bulk``: a study by ``$export`` (HL7's Bulk Data Access guide), resumable, to the same files as `pull`."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlencode

import msgspec

from fhirspace.delivery.bulk.download import PART_BYTES, NotThereError, fetch
from fhirspace.delivery.bulk.jobs import LONGEST, failed, refused, watched
from fhirspace.delivery.bulk.manifest import Desk, Manifest, Output, State
from fhirspace.delivery.pull.pull import Progress, PullReport, named, nothing, output_folder, searchable
from fhirspace.delivery.pull.reconcile import add
from fhirspace.delivery.pull.spool import Spool
from fhirspace.errors import InputError, Place, Problem, ServerError, UsageError
from fhirspace.fhir import ndjson
from fhirspace.fhir.judging import Judging
from fhirspace.fhir.outcome import failures, reason
from fhirspace.fhir.tags import TAG_SYSTEM
from fhirspace.fhir.wire import bundle_of, head_of
from fhirspace.fhirserver.address import is_id, is_key
from fhirspace.fhirserver.answers import decoded, no_fhir
from fhirspace.fhirserver.http.client import Client, HttpTransport, Response, capabilities
from fhirspace.fhirserver.http.links import Link, followed, named_origin, resolved, same_origin
from fhirspace.fhirserver.http.origin import Origin, is_this_machine, origin_of
from fhirspace.fhirserver.search import moment
from fhirspace.fhirserver.unrequested import Others
from fhirspace.foreign import counted
from fhirspace.json import JsonError, decoder
from fhirspace.tables.outputs import OutputFolder

_UNWILLING = frozenset({400, 404, 405, 414, 415, 422, 501})
# Servers refuse to export files beside resources, and a study has none of these.
_NEVER = frozenset({"Binary", "Parameters", "Bundle"})
_ASYNC = {"Prefer": "respond-async"}
_manifest = decoder(Manifest)


def bulk_pull(
    server: str,
    study: str,
    out: Path,
    *,
    types: Sequence[str] | None = None,
    since: str | None = None,
    level: str = "",
    connections: int = 4,
    longest: float = LONGEST,
    piece: int = PART_BYTES,
    shared: bool = False,
    validate: Judging | None = None,
    progress: Progress | None = None,
    client: Client | None = None,
    anonymous: Client | None = None,
    insecure_http: bool = False,
) -> PullReport:
    """Write what a server holds of a study to ``out/fhir/<Type>.ndjson``, by way of ``$export``.

    The files are the same as `pull` writes. If it was killed, the same call resumes: what is
    known is kept in ``out/.bulk-export`` until the end; then the job is deleted on the server.

    Args:
        server: the FHIR base URL.
        study: the study, as in its tag. Servers that cannot filter by it send more; the rest is left out here. "": all.
        out: the folder to write to.
        types: resource types; None takes all that the server says can be searched.
        since: only what was changed since this instant or date (a date begins at 00:00 UTC).
        level: "" exports of the whole server, "Patient" of all patients, "Group/<id>" of a group.
        connections: how many files are fetched at once.
        longest: the most seconds between two looks at the job.
        piece: bytes of a file that are fetched at once, where the server can do that.
        shared, validate: as `pull`.
        progress: called with what is done of the job (of 100) and how many files have come.
        client: the transport; None: HTTP.
        anonymous: how to fetch the server's files that must not see the token; None: as `client`, without its sign-in.
        insecure_http: whether data may go to another machine unencrypted, where no `client` is given.

    Raises:
        UsageError: FS514, FS595 the URL cannot be used, FS567, FS622, FS623 `level`, `since` or `types` is
            wrong; FS144, FS145, FS147 as `pull`.
        ServerError: FS510 unreachable, FS511 sign-in, FS512 an answer that makes no sense, FS530 the status URL leads
            away, FS531 nothing of the study is there (without `since`), FS560 the server does not start the export,
            FS561 it failed, FS564 a file is where it must not be fetched from, FS519 more than the bounds allow.
    """
    begin = time.monotonic()
    client = client or Client(server, insecure_http=insecure_http)
    named(types)
    if level not in ("", "Patient") and not (level.startswith("Group/") and is_id(level.removeprefix("Group/"))):
        raise UsageError("FS567", "--bulk-level", "system, Patient or Group/<id>")
    plain = anonymous or _unsigned(client)
    report = PullReport(client.server, study)
    wanted = list(types or _exportable(client, report))
    asked = _Asked(study, tuple(wanted if types or not level else ()), moment(since) if since else None, level)
    with output_folder(out, types, shared=shared) as folder:
        export = _Export(client, plain, Desk(out), asked, connections, longest, piece, progress)
        _brought(export, report)
        others = Others(client.server, TAG_SYSTEM, study)
        try:
            _written(export, folder, wanted, lambda resource: others.asked_for(resource, "", types), report)
            if not report.files and not since:
                raise nothing(client.server, others)
        except ServerError:
            # What came makes no sense, or is nothing of the study: it must not be resumed.
            export.end()
            raise
        # Where the server was not asked to filter, others are what was to be expected.
        report.problems += others.problems("FS585" if export.state and export.state.filtered else "FS586")
        if validate:
            report.judge(folder, capabilities(client), validate, whole=types is None and since is None)
        folder.report(report.problems)
    report.replaced = folder.replaced
    export.end()
    report.seconds = time.monotonic() - begin
    return report


def _exportable(client: Client, report: PullReport) -> list[str]:
    statement = capabilities(client)
    report.note_foreign(statement)
    return [kind for kind in searchable(statement) if kind not in _NEVER]


def _unsigned(client: Client) -> Client:
    """A client that shows no token, over the same network (certificates, proxy)."""
    known = client.transport
    transport = known.unsigned() if isinstance(known, HttpTransport) else HttpTransport(client.server)
    return Client(client.server, transport, sleep=client.sleep)


def _stranger(client: Client, link: Link) -> Client:
    """A client for files that the server keeps elsewhere: it shows neither token nor certificate."""
    known = client.transport
    transport = known.elsewhere(link) if isinstance(known, HttpTransport) else HttpTransport(link)
    return Client(named_origin(link), transport, sleep=client.sleep)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is asked for: as Parameters (so that nothing of it is in a URL), or as a query where it must be."""

    study: str
    types: tuple[str, ...]
    since: str | None
    level: str

    @property
    def path(self) -> str:
        return f"{self.level}/$export".lstrip("/")

    def digest(self, server: str) -> str:
        return hashlib.sha256(repr((server, self)).encode()).hexdigest()

    def kick_offs(self) -> Iterator[tuple[str, str, bytes | None, bool]]:
        """Method, path, body, and whether it filters; in the order of preference: filtered, and not in a URL."""
        for filtered in (True, False):
            filters = filtered and bool(self.types and self.study)
            yield "POST", self.path, self._parameters(filtered), filters
            yield "GET", f"{self.path}?{urlencode(self._pairs(filtered))}", None, filters

    def _pairs(self, filtered: bool) -> list[tuple[str, str]]:
        pairs = [("_outputFormat", "application/fhir+ndjson")]
        if self.types:
            pairs.append(("_type", ",".join(self.types)))
        if self.since:
            pairs.append(("_since", self.since))
        tag = quote(f"{TAG_SYSTEM}|{self.study}", safe="")
        filtered = filtered and bool(self.study)
        return [*pairs, *(("_typeFilter", f"{kind}?_tag={tag}") for kind in self.types if filtered)]

    def _parameters(self, filtered: bool) -> bytes:
        parts = [
            {"name": name, "valueInstant" if name == "_since" else "valueString": value}
            for name, value in self._pairs(filtered)
        ]
        return msgspec.json.encode({"resourceType": "Parameters", "parameter": parts})


@dataclass(slots=True)
class _Export:
    """One export: started or resumed, polled, its files fetched."""

    client: Client
    anonymous: Client
    desk: Desk
    asked: _Asked
    connections: int
    longest: float
    piece: int
    progress: Progress | None
    state: State | None = field(default=None, init=False)
    _others: dict[Origin, Client] = field(default_factory=dict, init=False)

    @property
    def manifest(self) -> Manifest:
        """The manifest of the export; nothing before `bring`."""
        return self.state.manifest if self.state and self.state.manifest else Manifest([])

    def bring(self) -> None:
        """Have all files on the disk. Raises NotThereError: the export no longer exists; ServerError as `bulk_pull`."""
        request = self.asked.digest(self.client.server)
        self.state = self.desk.load(request)
        if self.state is None:
            self.desk.clear()
            self.state = self._begun(request)
            self.desk.save(self.state)
        if self.state.manifest is None:
            self.state.manifest = self._finished(self._status(self.state))
            self.desk.save(self.state)
        self._fetch(self.state, self.state.manifest)

    def end(self) -> None:
        """Delete the job on the server (if that fails, the server removes it later), and forget it here."""
        if self.state:
            with suppress(ServerError):
                self.client.request("DELETE", self._status(self.state), attempts=2)
        self.desk.clear()

    def _status(self, state: State) -> Link:
        """The status URL; judged again, since it may come from the disk."""
        return followed(self.client.server, state.status)

    def _begun(self, request: str) -> State:
        answers: list[Response] = []
        for method, path, body, filtered in self.asked.kick_offs():
            answer = self.client.request(method, path, body, headers=_ASYNC)
            place = answer.headers.get("content-location", "")
            if answer.status == 202 and place:
                return State(request, str(followed(self.client.server, place, answer.url)), filtered=filtered)
            answers.append(answer)
            if answer.status not in _UNWILLING:
                break
        raise refused(self.client, answers[0])

    def _finished(self, status: Link) -> Manifest:
        percent = self.progress and _percent(self.progress)
        answer = watched(self.client, status, longest=self.longest, percent=percent)
        if answer.status in (404, 410):
            raise NotThereError
        if answer.status != 200:
            self.desk.clear()
            raise failed(self.client, answer)
        found = decoded(answer.body, _manifest)
        if found is None:
            raise no_fhir(self.client.server, "the manifest of an export", answer)
        found.check(self.client.server)
        return found

    def _fetch(self, state: State, manifest: Manifest) -> None:
        missing = {number: output for number, output in enumerate(manifest.files) if not output.sha256}
        # All of them are judged before the first one is fetched.
        sources = {number: (self._client(manifest, each), self._link(each)) for number, each in missing.items()}
        with ThreadPoolExecutor(self.connections) as pool:
            flying = {
                pool.submit(fetch, *sources[number], self.desk.path(number), self.piece, self._elsewhere): output
                for number, output in missing.items()
            }
            try:
                for turn, landed in enumerate(as_completed(flying), 1):
                    flying[landed].size, flying[landed].sha256 = self._landed(landed)
                    self.desk.save(state)
                    if self.progress:
                        self.progress("files", len(manifest.files) - len(missing) + turn)
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _landed(self, file: Future[tuple[int, str]]) -> tuple[int, str]:
        """Size and digest of a file; a link that needs no token and is refused has expired."""
        try:
            return file.result()
        except ServerError as error:
            if error.code == "FS511" and not self.manifest.requiresAccessToken:
                raise NotThereError from None
            raise

    def _client(self, manifest: Manifest, output: Output) -> Client:
        """Who may fetch this file: the token goes to the server alone, and what was encrypted stays so."""
        server, link = self.client.server, self._link(output)
        if manifest.requiresAccessToken and not same_origin(server, link):
            raise ServerError("FS564", server, "files at the server's own address, or without token")
        return self._elsewhere(link)

    def _elsewhere(self, link: Link) -> Client:
        """Who may fetch what is at a link of the server's: beyond its own address nobody shows a token."""
        server = self.client.server
        if same_origin(server, link):
            return self.client if self.manifest.requiresAccessToken else self.anonymous
        there = origin_of(link)
        if there.scheme == "http" and (server.startswith("https:") or not is_this_machine(there.host)):
            raise ServerError("FS564", server, "files by https")
        if there not in self._others:
            self._others[there] = _stranger(self.client, link)
        return self._others[there]

    def _link(self, output: Output) -> Link:
        return resolved(self.client.server, output.url, self.state.status if self.state else "")


def _percent(progress: Progress) -> Callable[[int], None]:
    return lambda done: progress("export %", done)


def _brought(export: _Export, report: PullReport) -> None:
    """`_Export.bring`, once more from the beginning where the server has forgotten the export."""
    try:
        export.bring()
        return
    except NotThereError:
        report.problems.append(Problem("FS565", Place(report.server)))
        export.desk.clear()
    try:
        export.bring()
    except NotThereError:
        raise ServerError("FS561", report.server, "an export that stays until it is fetched") from None


def _written(
    export: _Export, folder: OutputFolder, wanted: Sequence[str], asked_for: Callable[[bytes], bool], report: PullReport
) -> None:
    """The study's resources, sorted, one file a type; what went wrong becomes a problem.

    Args:
        wanted: the types whose files are written anew. asked_for: whether a resource is one to be written.
    """
    manifest = export.manifest
    with ExitStack() as stack:
        spools = {kind: stack.enter_context(Spool(folder, kind)) for kind in wanted}
        for number, output in enumerate(manifest.output):
            rows, is_its = 0, not output.type
            for resource in _lines(export.desk.path(number), export.client):
                rows += 1
                is_wanted = asked_for(resource)
                is_its = is_its or head_of(resource).resourceType == output.type
                if is_wanted:
                    kind = head_of(resource).resourceType
                    if kind not in spools:
                        spools[kind] = stack.enter_context(Spool(folder, kind))
                    add(spools[kind], resource, export.client)
            if output.count is not None and output.count != rows:
                detail = f"{counted(output.count, 'resource')} announced, {rows} came"
                report.problems.append(Problem("FS566", Place(output.type), table=output.type, detail=detail))
            elif rows and not is_its:
                detail = f"no {output.type} came in a file of them"
                report.problems.append(Problem("FS566", Place(output.type), table=output.type, detail=detail))
        report.keep(spools[kind] for kind in sorted(spools))
    for number in manifest.errors:
        errors = filter(failures, _lines(export.desk.path(number), export.client))
        for why in dict.fromkeys(map(reason, errors)):
            report.problems.append(Problem("FS566", Place(report.server), detail=why))
    report.problems += _deletions(export, report)


def _deletions(export: _Export, report: PullReport) -> Iterator[Problem]:
    """One problem for each type of what was deleted on the server (Bulk Data Access, "deleted")."""
    found: dict[str, list[str]] = {}
    for number in range(export.manifest.errors.stop, len(export.manifest.files)):
        for line in _lines(export.desk.path(number), export.client):
            for key in _deleted(line):
                found.setdefault(key.partition("/")[0], []).append(key)
    report.deleted = sorted(key for keys in found.values() for key in keys)
    for kind, keys in sorted(found.items()):
        yield Problem(
            "FS578", Place(report.server), table=kind, detail=counted(len(keys), f"deleted {kind}", f"deleted {kind}")
        )


def _deleted(line: bytes) -> list[str]:
    """The keys that a Bundle says were deleted; none where it is no such Bundle."""
    try:
        asked = [entry.asked for entry in bundle_of(line).entry]
    except JsonError:
        return []
    return [each.url for each in asked if each.method == "DELETE" and is_key(each.url)]


def _lines(file: Path, client: Client) -> Iterator[bytes]:
    """The lines of a file, also if it is compressed without a header saying so."""
    try:
        yield from (line for _, line in ndjson.read(file))
    except InputError as error:
        raise ServerError(
            "FS512", client.server, "whole NDJSON, perhaps compressed by gzip", error.problem.code
        ) from None
