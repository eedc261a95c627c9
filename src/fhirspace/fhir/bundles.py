"""Bundles and single resources as JSON documents, taken apart without touching a value's text.

Source: FHIR, "Bundle" (entry.resource).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, Literal

import msgspec

from fhirspace.errors import InputError, Place
from fhirspace.fhir.ndjson import BOM, open_bytes
from fhirspace.fhir.wire import resource_type
from fhirspace.json import JsonError, bounded, decoder
from fhirspace.limits import allowed, limit

_LOOKED_AT = 100
Kind = Literal["ndjson", "bundle", "resource"]


class _Entry(msgspec.Struct):
    resource: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Bundle(msgspec.Struct):
    resourceType: str = ""  # noqa: N815 - FHIR's name
    entry: list[_Entry] = []


_decode = decoder(_Bundle)


def document(path: Path) -> bytes:
    """The bytes of a JSON document, decompressed, without byte order mark.

    Raises:
        InputError: FS160 (unpacks to too much), FS404 (cannot be read), FS405 (too large).
    """
    most = limit("document-bytes")
    with _readable(path) as stream:
        raw = stream.read(most + 1)
    if len(raw) > most:
        raise InputError("FS405", Place(path.name), allowed("document-bytes"))
    return raw.removeprefix(BOM)


@contextmanager
def _readable(path: Path) -> Iterator[IO[bytes]]:
    try:
        with open_bytes(path) as stream:
            yield stream
    except OSError:
        raise InputError("FS404", Place(path.name), "a file that can be read") from None


def entries(path: Path) -> Iterator[bytes]:
    """The resources of a Bundle's entries, each as the bytes that stand in the file.

    Args:
        path: a JSON file holding one Bundle.

    Raises:
        InputError: FS401 (not JSON), FS403 (nested too deeply), FS404 (cannot be read), FS405 (too large), FS406 (not a
            Bundle).
    """
    try:
        bundle = _decode(document(path))
    except JsonError as error:
        raise refused(error, path) from None
    if bundle.resourceType != "Bundle":
        raise InputError("FS406", Place(path.name), "a Bundle")
    for entry in bundle.entry:
        if not isinstance(entry.resource, msgspec.UnsetType):
            yield bytes(entry.resource)


def refused(error: JsonError, path: Path) -> InputError:
    """The error for a document that is no Bundle's JSON: FS403 (nested too deeply, with the bound), else FS401."""
    deep = error.code == "FS403"
    return InputError(error.code if deep else "FS401", Place(path.name), error.expected if deep else "JSON of a Bundle")


def recognise(path: Path) -> Kind | None:
    """What FHIR a file holds: ``ndjson``, ``bundle``, ``resource``; None when it is not FHIR.

    A file named ``.ndjson`` is NDJSON even with one line, and even when its first lines are damaged.

    Raises:
        InputError: FS160 (unpacks to too much), FS403 (a document nested too deeply to say what it is), FS404 (cannot
            be read), FS405 (too large).
    """
    with _readable(path) as stream:
        lines = _filled(stream)
        if ".ndjson" in path.suffixes:
            return "ndjson" if any(map(_resource, islice(lines, _LOOKED_AT))) else None
        first = next(lines, b"")
        if not first.startswith(b"{"):
            return None
        if resource_type(first) and next(lines, b""):
            return "ndjson"
    raw = document(path)
    kind = resource_type(raw)
    if not kind:
        if fault := _too_deep(raw):
            raise refused(fault, path)
        return None
    return "bundle" if kind == "Bundle" else "resource"


def _resource(line: bytes) -> bool:
    """Whether a line is a resource, or is nested too deeply to be anything else: that is reported line by line."""
    return bool(resource_type(line)) or (line.startswith(b"{") and _too_deep(line) is not None)


def _too_deep(raw: bytes) -> JsonError | None:
    try:
        bounded(raw)
    except JsonError as fault:
        return fault
    return None


def _filled(stream: IO[bytes]) -> Iterator[bytes]:
    """The lines with something in them."""
    start = True
    most = limit("line-bytes")
    while line := stream.readline(most):
        line = (line.removeprefix(BOM) if start else line).strip()
        start = False
        if line:
            yield line
