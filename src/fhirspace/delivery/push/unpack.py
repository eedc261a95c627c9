"""Bundles, arrays, single resources and compressed files laid out as NDJSON, so that a push reads one form only.

Source: FHIR, "Bundle", section "Resolving references in Bundles": a reference to an entry's `fullUrl` means its
resource. Such references become relative ones (``Type/id``); nothing else of a resource is touched.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from fhirspace.fhir import ndjson
from fhirspace.fhir.files import FhirFile
from fhirspace.fhir.references import rewritten
from fhirspace.fhir.wire import own_key

_URN = re.compile(r"urn:(?:uuid|oid):([A-Za-z0-9\-.]{1,64})")


def unpacked(file: FhirFile, scratch: Path, number: int) -> Path:
    """The path of `file` itself where it is plain NDJSON, else of its resources as NDJSON in the folder `scratch`.

    Line N is the N-th entry of a Bundle or item of an array, or line N of what was compressed.

    Raises:
        InputError: as `FhirFile.resources`.
    """
    if file.kind == "ndjson" and not ndjson.is_packed(file.path):
        return file.path
    out = scratch / f"{number}.ndjson"
    with out.open("wb") as stream:
        row = 0
        for place, line in _resources(file) if file.kind == "bundle" else file.resources():
            stream.write(b"\n" * (place - row - 1) + _one_line(line) + b"\n")
            row = place
    return out


def _resources(file: FhirFile) -> Iterator[tuple[int, bytes]]:
    """The resources of a Bundle with their places, references to each other made relative."""
    entries = [(place, entry.fullUrl, bytes(entry.resource)) for place, entry in enumerate(file.entries(), 1)]
    found = [(place, url, _named(line, url)) for place, url, line in entries if line]
    keys = {url: key for _, url, line in found if url and not (key := own_key(line)).endswith("/") and key}
    for place, _, line in found:
        yield place, rewritten(line, keys.get)


def _named(line: bytes, url: str) -> bytes:
    """The resource with the id of its `fullUrl`, if it has none of its own."""
    urn = _URN.fullmatch(url)
    key = own_key(line) if urn else ""
    if not urn or not key.endswith("/"):
        return line
    return b'{"id":"' + urn[1].encode("ascii") + b'",' + line[1:].lstrip()


def _one_line(document: bytes) -> bytes:
    """JSON without its line ends: white space only, for a string holds none."""
    return b" ".join(document.split(b"\n")).replace(b"\r", b" ").strip()
