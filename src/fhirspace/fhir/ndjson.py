"""FHIR as newline-delimited JSON: one resource a line, as raw bytes, so that no value loses its spelling.

Source: FHIR, "Bulk Data Access" (ndjson), "Resource Formats: JSON".
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, cast

import msgspec

from fhirspace.errors import InputError, Place
from fhirspace.jsontext import MAX_LINE, JsonError, decoder

BOM = b"\xef\xbb\xbf"
GZIP = b"\x1f\x8b"
DAMAGED = (OSError, EOFError, zlib.error)
"""What reading raises where a compressed file is damaged."""


class _Head(msgspec.Struct):
    resourceType: str = ""  # noqa: N815 - FHIR's name


_decode_head = decoder(_Head)


def open_bytes(path: Path) -> IO[bytes]:
    """Open a file for reading, compressed by gzip or not (told by its first bytes).

    Raises:
        InputError: FS404, the file cannot be opened.
    """
    try:
        stream = path.open("rb")
    except OSError:
        raise InputError("FS404", Place(path.name), "a file that can be read") from None
    if not stream.peek(2).startswith(GZIP):
        return stream
    stream.close()
    return cast(IO[bytes], gzip.open(path, "rb"))


def read(path: Path, max_line: int = MAX_LINE) -> Iterator[tuple[int, bytes]]:
    """Read the resources of an NDJSON file.

    Args:
        path: the file; compressed by gzip or not, with or without a byte order mark, LF or CRLF.
        max_line: the longest line that is accepted, in bytes.

    Yields:
        The number of the line (the first is 1) and its bytes, without line end; blank lines are left out.

    Raises:
        InputError: FS404 (cannot be read), FS405 (a line is too long).
    """
    with open_bytes(path) as stream:
        number = 0
        while True:
            try:
                line = stream.readline(max_line + 1)
            except DAMAGED:
                raise InputError("FS404", Place(path.name, number + 1), "whole, undamaged compressed data") from None
            if not line:
                return
            number += 1
            if len(line) > max_line:
                raise InputError("FS405", Place(path.name, number), f"at most {max_line} bytes a line")
            if number == 1:
                line = line.removeprefix(BOM)
            line = line.strip()
            if line:
                yield number, line


def write(path: Path, lines: Iterable[bytes]) -> int:
    """Write resources, one a line, LF; compressed where the name ends in ``.gz``. Returns their number."""
    count = 0
    with path.open("wb") as stream:
        out = cast(IO[bytes], gzip.GzipFile("", "wb", 9, stream, mtime=0)) if path.suffix == ".gz" else stream
        for line in lines:
            out.write(line + b"\n")
            count += 1
        if out is not stream:
            out.close()
    return count


def resource_type(line: bytes) -> str:
    """The resourceType of a resource's JSON, "" when it is no JSON object or has none; other members are skipped."""
    try:
        return _decode_head(line).resourceType
    except JsonError:
        return ""
