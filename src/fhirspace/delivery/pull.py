"""A study brought back from a FHIR server, as NDJSON in the server's own spelling.

Each type is searched by the study's tag with ``POST Type/_search`` (FHIR, "search" interaction), so that no search
value lands in the URL log of a proxy, and the ``next`` links are followed as they are given.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlencode, urlsplit

import msgspec

from fhirspace.delivery.canonical import cleaned
from fhirspace.delivery.client import Client, capabilities
from fhirspace.errors import Place, Problem, ServerError

Progress = Callable[[str, int], None]
"""Called with a resource type and how many of it have come."""

TAG_SYSTEM = "https://fhirspace.org/study"
PAGE = 500
_HEADERS = {"Cache-Control": "no-cache"}
_FORM = {**_HEADERS, "Content-Type": "application/x-www-form-urlencoded"}


class _Search(msgspec.Struct):
    mode: str = "match"


class _Entry(msgspec.Struct):
    resource: msgspec.Raw = msgspec.Raw(b"")
    search: _Search = msgspec.field(default_factory=_Search)


class _Link(msgspec.Struct):
    relation: str = ""
    url: str = ""


class _Page(msgspec.Struct):
    resourceType: str  # noqa: N815
    entry: list[_Entry] = []
    link: list[_Link] = []


class _Id(msgspec.Struct):
    resourceType: str  # noqa: N815
    id: str


_page = msgspec.json.Decoder(_Page).decode
_id = msgspec.json.Decoder(_Id).decode


@dataclass(slots=True)
class PullReport:
    """What a pull brought: how many of each type, and the files written (``out/fhir/<Type>.ndjson``)."""

    server: str
    study: str
    counts: dict[str, int] = field(default_factory=dict)
    files: list[Path] = field(default_factory=list)
    seconds: float = 0.0
    problems: list[Problem] = field(default_factory=list)

    @property
    def total(self) -> int:
        """Resources of all types."""
        return sum(self.counts.values())

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``: the fields, with problems as lines of ``problems.ndjson``."""
        return {
            "server": self.server,
            "study": self.study,
            "total": self.total,
            "counts": self.counts,
            "files": [str(file) for file in self.files],
            "seconds": round(self.seconds, 3),
            "problems": [problem.as_dict() for problem in self.problems],
        }


def pull(
    server: str,
    study: str,
    out: Path,
    *,
    types: list[str] | None = None,
    progress: Progress | None = None,
    client: Client | None = None,
) -> PullReport:
    """Write what a server holds of a study to ``out/fhir/<Type>.ndjson``.

    Lines are sorted by id; numbers keep the server's spelling; what the server added to ``meta`` is taken off (see
    `canonical.cleaned`). A file appears whole or not at all; that of a type which the server has nothing of is removed.

    Args:
        server: the FHIR base URL.
        study: the study, as in the tag ``https://fhirspace.org/study|<study>``.
        out: the folder to write to.
        types: resource types; None takes all that the server says can be searched.
        progress: called after each page.
        client: how to talk; None talks HTTP.

    Raises:
        UsageError: FS514, the URL cannot be used.
        ServerError: FS510 unreachable, FS511 sign-in, FS512 an answer that is no FHIR search, FS530 a link that leads
            away, FS531 nothing of the study is there.
    """
    begin = time.monotonic()
    talk = client or Client(server)
    report = PullReport(talk.server, study)
    folder = out / "fhir"
    folder.mkdir(parents=True, exist_ok=True)
    statement = capabilities(talk)
    for kind in types if types is not None else searchable(statement):
        try:
            count = _pull_type(talk, study, kind, folder, progress)
        except _NotSearchableError as error:
            if types is not None:
                raise talk.unexpected(error.answer) from None
            report.problems.append(Problem("FS532", Place(kind), "a search by _tag", kind))
            continue
        if count:
            report.counts[kind] = count
            report.files.append(folder / f"{kind}.ndjson")
    if not report.files:
        raise ServerError("FS531", talk.server, "resources with the tag of the study")
    report.seconds = time.monotonic() - begin
    return report


def searchable(statement: dict[str, Any]) -> list[str]:
    """The resource types of a CapabilityStatement that can be searched (or that say nothing of what can be done)."""
    found = set()
    for rest in statement.get("rest") or []:
        for resource in rest.get("resource") or []:
            codes = {interaction.get("code") for interaction in resource.get("interaction") or []}
            if not codes or "search-type" in codes:
                found.add(str(resource.get("type")))
    return sorted(found)


class _NotSearchableError(Exception):
    def __init__(self, answer: Any) -> None:
        super().__init__("not searchable")
        self.answer = answer


def _pull_type(client: Client, study: str, kind: str, folder: Path, progress: Progress | None) -> int:
    """Write one type; returns how many there are. The pages are spooled, only ids and places are kept in memory."""
    target = folder / f"{kind}.ndjson"
    with tempfile.TemporaryFile(dir=folder) as spool:
        where: dict[str, tuple[int, int]] = {}
        for resource in _resources(client, study, kind):
            line = cleaned(resource)
            # Seen twice: it was changed between two pages, and the later page is the newer truth.
            where[_id(line).id] = (spool.tell(), len(line))
            spool.write(line)
            if progress and len(where) % PAGE == 0:
                progress(kind, len(where))
        if where:
            _write(target, spool, where)
        else:
            target.unlink(missing_ok=True)
    if progress and where:
        progress(kind, len(where))
    return len(where)


def _write(target: Path, spool: BinaryIO, where: dict[str, tuple[int, int]]) -> None:
    part = target.with_name(f".{target.name}.part")
    try:
        with part.open("wb") as file:
            for name in sorted(where):
                start, length = where[name]
                spool.seek(start)
                file.write(spool.read(length) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    _sync_folder(target.parent)


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # pragma: no cover  (folders cannot be opened there, and renames are durable)
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _resources(client: Client, study: str, kind: str) -> Iterator[msgspec.Raw]:
    """The matches of all pages, as the server's own bytes."""
    form = urlencode({"_tag": f"{TAG_SYSTEM}|{study}", "_count": PAGE}).encode("ascii")
    answer = client.request("POST", f"{kind}/_search", form, headers=_FORM)
    if answer.status in (400, 404, 405, 501):
        raise _NotSearchableError(answer)
    seen: set[str] = set()
    while True:
        if not answer.ok:
            raise client.unexpected(answer)
        try:
            page = _page(answer.body)
        except msgspec.DecodeError as error:
            raise ServerError("FS512", client.server, "a Bundle as the answer to a search") from error
        yield from (item.resource for item in page.entry if item.search.mode == "match" and item.resource)
        link = next((item.url for item in page.link if item.relation == "next"), None)
        if link is None:
            return
        if link in seen:
            raise ServerError("FS512", client.server, "pages that come to an end")
        seen.add(link)
        answer = client.request("GET", _same_place(client.server, link), headers=_HEADERS)


def _same_place(server: str, link: str) -> str:
    """The link as it was given, if it stays at the server's own scheme, host and port (or is relative)."""
    there, here = urlsplit(link), urlsplit(server)
    if not there.scheme and not there.netloc:
        return link
    if _origin(there) != _origin(here):
        raise ServerError("FS530", server, "a `next` link at the same address")
    return link


def _origin(parts: Any) -> tuple[str, str | None, int | None]:
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)
