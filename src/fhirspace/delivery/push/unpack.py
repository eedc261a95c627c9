"""Bundles, single resources and compressed files laid out as NDJSON, so that a push reads one form only.

Source: FHIR, "Bundle", section "Resolving references in Bundles": a reference to an entry's `fullUrl` means its
resource. Such references become relative ones (``Type/id``); nothing else of a resource is touched.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from fhirspace.errors import InputError, Place
from fhirspace.fhir import bundles, gunzip, ndjson
from fhirspace.json import JsonError, decoder

PACKED = (".ndjson", ".ndjson.gz", ".jsonl", ".jsonl.gz", ".json", ".json.gz")
_URN = re.compile(r"urn:(?:uuid|oid):([A-Za-z0-9\-.]{1,64})")
_REFERENCE = re.compile(rb'("reference"\s*:\s*")([^"\\]+)(")')


class _Head(msgspec.Struct):
    resourceType: str = ""  # noqa: N815 - FHIR's name
    id: str = ""


class _Entry(msgspec.Struct):
    fullUrl: str = ""  # noqa: N815 - FHIR's name
    resource: msgspec.Raw = msgspec.Raw(b"")


class _Bundle(msgspec.Struct):
    entry: list[_Entry] = []


_head = decoder(_Head)
_bundle = decoder(_Bundle)


def unpacked(file: Path, scratch: Path, number: int) -> Path:
    """`file` itself where it is plain NDJSON, else its resources as NDJSON in the folder `scratch`.

    Line N is the N-th entry of a Bundle, or line N of what was compressed.

    Raises:
        InputError: FS160 (unpacks to too much), FS401, FS403, FS404, FS405 (no JSON, too deep, unreadable, too large),
            FS522 (no FHIR).
    """
    if file.suffix == ".ndjson" and _plain(file):
        return file
    out = scratch / f"{number}.ndjson"
    with out.open("wb") as stream:
        for line in _lines(file, bundles.recognise(file)):
            stream.write(line + b"\n")
    return out


def _plain(file: Path) -> bool:
    """Whether it begins with text: neither compressed nor with a byte order mark."""
    with file.open("rb") as stream:
        return not stream.read(3).startswith((ndjson.BOM, gunzip.MAGIC))


def _lines(file: Path, kind: bundles.Kind | None) -> Iterator[bytes]:
    if kind == "bundle":
        yield from _resources(file)
    elif kind == "resource":
        yield _one_line(bundles.document(file))
    elif kind == "ndjson":
        row = 0
        for number, line in ndjson.read(file):
            yield from [b""] * (number - row - 1)
            row = number
            yield line
    else:
        raise InputError("FS522", Place(file.name), "NDJSON, a Bundle or a resource")


def _resources(file: Path) -> Iterator[bytes]:
    try:
        entries = _bundle(bundles.document(file)).entry
    except JsonError as error:
        raise bundles.refused(error, file) from None
    found = [(entry.fullUrl, _one_line(bytes(entry.resource))) for entry in entries]
    named = [(url, _named(line, url)) for url, line in found]
    keys = {url: _key(line) for url, line in named if url and line}
    for _, line in named:
        yield _REFERENCE.sub(lambda hit: hit[1] + keys.get(hit[2].decode("utf-8", "replace"), hit[2]) + hit[3], line)


def _named(line: bytes, url: str) -> bytes:
    """The resource with the id of its `fullUrl`, if it has none of its own."""
    urn = _URN.fullmatch(url)
    try:
        if not line or not urn or _head(line).id:
            return line
    except JsonError:
        return line
    return b'{"id":"' + urn[1].encode("ascii") + b'",' + line[1:].lstrip()


def _key(line: bytes) -> bytes:
    try:
        head = _head(line)
    except JsonError:
        return b""
    return f"{head.resourceType}/{head.id}".encode()


def _one_line(document: bytes) -> bytes:
    """JSON without its line ends: white space only, for a string holds none."""
    return b" ".join(document.split(b"\n")).replace(b"\r", b" ").strip()
