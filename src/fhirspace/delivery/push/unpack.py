"""Bundles, arrays, single resources and compressed files written as NDJSON, so that a push reads one format only.

A document or a message is one resource: it is laid out whole. Of another Bundle each entry is: a reference to an
entry's `fullUrl` means its resource and becomes a relative one (``Type/id``), with the version that it names; so does a
URL or a link of the narrative that is a ``urn:`` of an entry. Nothing else of a resource is touched. Entries that ask
for something else than to write their resource are not laid out, but named; so are earlier versions in a history.

Source: FHIR, "Bundle" ("Resolving references in Bundles", documents, messages), "http" (transaction processing rules).
"""

from __future__ import annotations

import hashlib
import re
import sqlite3
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from fhirspace.fhir import ndjson
from fhirspace.fhir.bundles import outdated
from fhirspace.fhir.files import Bundle, FhirFile
from fhirspace.fhir.references import parsed, relinked, rewritten
from fhirspace.fhir.wire import own_key
from fhirspace.fhirserver.address import is_id, looks_like_type
from fhirspace.fhirserver.answers import decoded
from fhirspace.json import JsonError, decoder

_URN = re.compile(r"urn:(?:uuid|oid):([A-Za-z0-9\-.]{1,64})")
_WHOLE = frozenset({"document", "message"})
_EARLIER = "an earlier version in a history, or one that was deleted later"
_NAMESPACE = uuid.UUID("0f8a1f53-50a5-5a0f-8d3d-5a9b7a9d6c11")


class _Identifier(msgspec.Struct):
    value: str = ""


class _Request(msgspec.Struct):
    method: str = ""
    url: str = ""
    ifNoneExist: str = ""  # noqa: N815
    ifMatch: str = ""  # noqa: N815


_identifier = decoder(_Identifier)
_request = decoder(_Request)


@dataclass(frozen=True, slots=True)
class Refused:
    """An entry that is not sent: its place, the key of its resource (``Type/id``), and what it asks for."""

    place: int
    key: str
    asks: str


@dataclass(slots=True)
class Unpacker:
    """Lays files out in a folder, and remembers which ids their entries got.

    Args:
        scratch: the folder. base: a database for what is remembered; memory does not grow with it.
        refused: the entries of the file that was laid out last which are not sent.
    """

    scratch: Path
    base: sqlite3.Connection
    refused: list[Refused] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.base.execute("CREATE TABLE urn (key TEXT PRIMARY KEY, digest BLOB, file INT) WITHOUT ROWID")

    def unpacked(self, file: FhirFile, number: int) -> Path:
        """The path of `file` itself where it is plain NDJSON, else of its resources as NDJSON.

        Line N is the N-th entry of a Bundle or item of an array, or line N of what was compressed.

        Args:
            number: of the file in this run.

        Raises:
            InputError: as `FhirFile.resources`.
        """
        self.refused = []
        if file.kind == "ndjson" and not ndjson.is_packed(file.path):
            return file.path
        out = self.scratch / f"{number}.ndjson"
        with out.open("wb") as stream:
            row = 0
            for place, line in self._resources(file, number) if file.kind == "bundle" else file.resources():
                stream.write(b"\n" * (place - row - 1) + _one_line(line) + b"\n")
                row = place
        return out

    def _resources(self, file: FhirFile, number: int) -> Iterator[tuple[int, bytes]]:
        """The resources of a Bundle with their places, what leads from one to another made relative."""
        bundle = file.bundle()
        whole = _whole(bundle)
        if whole:
            yield 1, whole
            return
        found = []
        gone = outdated(bundle.entries) if bundle.is_history else frozenset()
        for place, entry in enumerate(bundle.entries, 1):
            request = (decoded(entry.request, _request) if entry.request else None) or _Request()
            line = self._named(bytes(entry.resource), entry.fullUrl, request, file.name, number)
            asks = _EARLIER if place in gone else _asks(request, line)
            if asks:
                self.refused.append(Refused(place, _key(request, line), asks))
            found.append((place, entry.fullUrl, line, asks))
        keys = {url: key for _, url, line, _ in found if url and not (key := own_key(line)).endswith("/") and key}

        def lead(text: str) -> str | None:
            target, history, version = text.partition("/_history/")
            key = keys.get(text) or keys.get(target)
            return None if key is None else f"{key}{history}{version}" if text not in keys else key

        for place, _, line, asks in found:
            if line and not asks:
                led = rewritten(line, lead)
                yield place, relinked(led, lead) if b"urn:" in led else led

    def _named(self, line: bytes, url: str, request: _Request, name: str, number: int) -> bytes:
        """The resource with an id of its request (``PUT Type/id``) or `fullUrl`, if it has none of its own."""
        urn = _URN.fullmatch(url)
        key = own_key(line) if line else ""
        if not key.endswith("/"):
            return line
        made = _written_key(request).removeprefix(key)
        if not is_id(made):
            if not urn:
                return line
            made = self._id(key + urn[1], urn[1], line, name, number)
        return b'{"id":"' + made.encode("ascii") + b'",' + line[1:].lstrip()

    def _id(self, key: str, urn: str, line: bytes, name: str, number: int) -> str:
        """The id for a ``urn:``: its own text, but where another file names something else so, one of its own."""
        digest = hashlib.sha256(line).digest()
        known = self.base.execute("SELECT digest, file FROM urn WHERE key = ?", (key,)).fetchone()
        if known is None:
            self.base.execute("INSERT INTO urn VALUES (?, ?, ?)", (key, digest, number))
        elif known[1] != number and known[0] != digest:
            return str(uuid.uuid5(_NAMESPACE, f"{name}\n{key}"))
        return urn


def _whole(bundle: Bundle) -> bytes:
    """A Bundle that is one resource, with an id of its identifier if it has none; else nothing."""
    if bundle.type not in _WHOLE:
        return b""
    urn = _URN.fullmatch(_identified(bundle))
    if not urn or not own_key(bundle.document).endswith("/"):
        return bundle.document
    return b'{"id":"' + urn[1].encode("ascii") + b'",' + bundle.document.lstrip()[1:].lstrip()


def _identified(bundle: Bundle) -> str:
    """The value of its identifier; "" where it has none, or one of another shape."""
    try:
        return _identifier(bundle.members["identifier"]).value if "identifier" in bundle.members else ""
    except JsonError:
        return ""


def _asks(request: _Request, line: bytes) -> str:
    """What an entry asks for beside writing its resource; "" where it is just that."""
    if request.method == "":
        return ""
    if request.method not in ("PUT", "POST"):
        return request.method if request.method.isalpha() else "a method of another form"
    if request.ifNoneExist:
        return f"{request.method} with ifNoneExist"
    if request.ifMatch:
        return f"{request.method} with ifMatch"
    if "?" in request.url:
        return f"{request.method} by a search"
    written, own = _written_key(request), own_key(line) if line else ""
    return "PUT to the address of another resource" if written and own and written != own else ""


def _written_key(request: _Request) -> str:
    """``Type/id`` that a PUT of an entry names; "" where it is no PUT, or names none."""
    found = parsed(request.url) if request.method == "PUT" else None
    return found.key if found and not found.version else ""


def _key(request: _Request, line: bytes) -> str:
    """``Type/id`` that an entry is about, as far as it says."""
    if line:
        return own_key(line)
    kind, _, name = request.url.partition("?")[0].partition("/")
    return f"{kind}/{name}" if looks_like_type(kind) and is_id(name) else f"{kind if looks_like_type(kind) else ''}/"


def _one_line(document: bytes) -> bytes:
    """JSON without its line ends: white space only, for a string holds none."""
    return b" ".join(document.split(b"\n")).replace(b"\r", b" ").strip()
