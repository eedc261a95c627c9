"""The files of an export, fetched so that no part is fetched twice: complete files are recorded with size and SHA-256.

Files are fetched in parts by ``Range`` (RFC 9110, 14) if the server supports it: then an incomplete file continues
where it stopped. Otherwise a file comes in one answer, and an incomplete one is fetched anew. Neither is kept in
memory.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from fhirspace.atomic import replace
from fhirspace.errors import ServerError
from fhirspace.fhirserver.http.client import Client, Response
from fhirspace.fhirserver.http.links import Link, resolved
from fhirspace.folders import open_own
from fhirspace.limits import answered_too_much, limit

NDJSON = "application/fhir+ndjson"
PART_BYTES = 8 << 20
_HERE = frozenset({200, 206})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HOPS = 5
Elsewhere = Callable[[Link], Client]
"""Who may fetch what a redirect leads to."""
_SPAN = re.compile(r"bytes (?:([0-9]{1,18})-[0-9]{1,18}|\*)/([0-9]{1,18}|\*)")


class NotThereError(Exception):
    """The server no longer has the export."""


def fetch(
    client: Client, url: str, target: Path, piece: int = PART_BYTES, elsewhere: Elsewhere | None = None
) -> tuple[int, str]:
    """Fetch one file to `target`, or what is missing of it; gives its size and SHA-256.

    A redirect is followed by the client that `elsewhere` gives for where it leads; without it, it is an error.

    Raises:
        NotThereError: it is no longer there.
        ServerError: FS510 unreachable, FS511 sign-in refused, FS512 an answer that makes no sense, FS519 the file is
            too large, or does not come to an end.
        OSError: it cannot be written.
    """
    part = target.with_name(target.name + ".part")
    end, anew = time.monotonic() + limit("job-seconds"), 0
    with os.fdopen(open_own(part, os.O_WRONLY | os.O_CREAT | os.O_APPEND), "ab") as file:
        done, size = False, os.fstat(file.fileno()).st_size
        while not done:
            if time.monotonic() > end:
                raise answered_too_much("job-seconds", client.server)
            done = _piece(_Source(client, url, elsewhere), file.fileno(), piece)
            before, size = size, os.fstat(file.fileno()).st_size
            anew += not done and size <= before
            if anew > 1:
                raise ServerError("FS512", client.server, "a file that stays the same while it is fetched")
            if size > limit("file-bytes"):
                raise answered_too_much("file-bytes", client.server)
        os.fsync(file.fileno())
    replace(part, target)
    return measured(target)


def measured(file: Path) -> tuple[int, str]:
    """Size and SHA-256 of a file."""
    with file.open("rb") as source:
        digest = hashlib.file_digest(source, "sha256")
        return source.tell(), digest.hexdigest()


class _Into:
    """A `Sink` that appends to a file what fits to its end at `start`; a whole file comes in place of what is there."""

    def __init__(self, file: int, start: int) -> None:
        self._file, self._start = file, start

    def begin(self, status: int, headers: Mapping[str, str]) -> Callable[[bytes], object] | None:
        """See `Sink`. An attempt that was lost half way may have left something: it is cut off."""
        if status != 200 and not (status == 206 and _begin(headers) == self._start):
            return None
        os.ftruncate(self._file, 0 if status == 200 else self._start)
        return self._append

    def _append(self, body: bytes) -> None:
        left = memoryview(body)
        while left:
            left = left[os.write(self._file, left) :]

    def take(self, answer: Response) -> None:
        """Append the body of an answer that came by way of memory."""
        write = None if answer.sunk else self.begin(answer.status, answer.headers)
        if write:
            write(answer.body)


@dataclass(frozen=True, slots=True)
class _Source:
    """Where a file is, and who asks for it."""

    client: Client
    url: str
    elsewhere: Elsewhere | None

    def get(self, headers: dict[str, str], into: _Into) -> Response:
        """A GET that follows redirects. Raises ServerError: FS512 too many of them, FS530 a bad link."""
        client, url = self.client, self.url
        for _ in range(_HOPS):
            given = _REDIRECTS if self.elsewhere else frozenset()
            answer = client.request("GET", url, headers=headers, final=_HERE, given=given, sink=into)
            if answer.status not in given or self.elsewhere is None:
                return answer
            url = resolved(self.client.server, answer.headers.get("location", ""), answer.url)
            client = self.elsewhere(Link(url))
        raise ServerError("FS512", self.client.server, "a file, and no more redirects")


def _piece(source: _Source, file: int, piece: int) -> bool:
    """Append the next part; returns whether it was the last."""
    start = os.fstat(file).st_size
    into = _Into(file, start)
    # "identity": parts of a compressed answer could not be joined.
    sent = {"Accept": NDJSON, "Accept-Encoding": "identity", "Range": f"bytes={start}-{start + piece - 1}"}
    client, answer = source.client, source.get(sent, into)
    if answer.status == 206 and "content-encoding" in answer.headers:
        del sent["Range"]
        answer = source.get(sent, into)
    if answer.status == 200:
        into.take(answer)
        return True
    if answer.status in (404, 410):
        raise NotThereError
    if answer.status not in (206, 416):
        raise client.unexpected(answer)
    return _next(client, answer, into, file, start)


def _next(client: Client, answer: Response, into: _Into, file: int, start: int) -> bool:
    span = _SPAN.fullmatch(answer.headers.get("content-range", ""))
    size = int(span[2]) if span and span[2] != "*" else None
    if size is not None and size > limit("file-bytes"):
        raise answered_too_much("file-bytes", client.server)
    if answer.status == 416:
        if size is None or start > size:
            os.ftruncate(file, 0)
            if start == 0:
                raise ServerError("FS512", client.server, "a file that can be fetched")
        return size == start
    into.take(answer)
    here = os.fstat(file).st_size
    if _begin(answer.headers) != start or here == start:
        raise ServerError("FS512", client.server, "the requested part of the file")
    return size is not None and here >= size


def _begin(headers: Mapping[str, str]) -> int | None:
    """The position of a part in the file; None: the server does not say, or the part is compressed."""
    span = _SPAN.fullmatch(headers.get("content-range", ""))
    return int(span[1]) if span and span[1] and "content-encoding" not in headers else None
