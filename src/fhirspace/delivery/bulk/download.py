"""The files of an export, fetched so that no part comes twice: what is whole is noted with size and SHA-256.

Files come in pieces by ``Range`` (RFC 9110, 14) where the server can do that: then a half file goes on where it
stopped. Elsewhere a file comes in one answer, and one that is half is fetched anew.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

from fhirspace.delivery.client import Client, Response
from fhirspace.errors import ServerError
from fhirspace.folders import open_own

NDJSON = "application/fhir+ndjson"
PIECE = 8 << 20
_HERE = frozenset({200, 206})
_SPAN = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)")


class GoneError(Exception):
    """The server no longer has the export."""


def fetch(client: Client, url: str, target: Path, piece: int = PIECE) -> tuple[int, str]:
    """Fetch one file to `target`, or what is missing of it; gives its size and SHA-256.

    Raises:
        GoneError: it is no longer there.
        ServerError: FS510 unreachable, FS511 sign-in refused, FS512 an answer that makes no sense.
    """
    part = target.with_name(target.name + ".part")
    with os.fdopen(open_own(part, os.O_WRONLY | os.O_CREAT | os.O_APPEND), "ab") as file:
        while not _piece(client, url, file.fileno(), piece):
            pass
        os.fsync(file.fileno())
    part.replace(target)
    return measured(target)


def measured(file: Path) -> tuple[int, str]:
    """Size and SHA-256 of a file."""
    with file.open("rb") as source:
        digest = hashlib.file_digest(source, "sha256")
        return source.tell(), digest.hexdigest()


def _piece(client: Client, url: str, file: int, piece: int) -> bool:
    """Append the next piece; gives whether it was the last."""
    start = os.fstat(file).st_size
    # "identity": pieces of something compressed could not be put together.
    sent = {"Accept": NDJSON, "Accept-Encoding": "identity", "Range": f"bytes={start}-{start + piece - 1}"}
    answer = client.request("GET", url, headers=sent, final=_HERE)
    if answer.status == 206 and "content-encoding" in answer.headers:
        del sent["Range"]
        answer = client.request("GET", url, headers=sent, final=_HERE)
    if answer.status == 200:
        os.ftruncate(file, 0)
        _append(file, answer.body)
        return True
    if answer.status in (404, 410):
        raise GoneError
    if answer.status not in (206, 416):
        raise client.unexpected(answer)
    return _next(client, answer, file, start)


def _next(client: Client, answer: Response, file: int, start: int) -> bool:
    span = _SPAN.match(answer.headers.get("content-range", ""))
    begin, total = span.groups() if span else (None, None)
    size = int(total) if total and total != "*" else None
    if answer.status == 416:
        if size is None or start > size:
            os.ftruncate(file, 0)
            if start == 0:
                raise ServerError("FS512", client.server, "a file that can be fetched")
        return size == start
    if begin is None or int(begin) != start or not answer.body:
        raise ServerError("FS512", client.server, "the piece of the file that was asked for")
    _append(file, answer.body)
    return size is not None and start + len(answer.body) >= size


def _append(file: int, body: bytes) -> None:
    left = memoryview(body)
    while left:
        left = left[os.write(file, left) :]
