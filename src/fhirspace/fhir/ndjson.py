"""FHIR as newline-delimited JSON: one resource a line, as raw bytes, so that no value loses its spelling.

Source: FHIR, "Bulk Data Access" (ndjson), "Resource Formats: JSON".
"""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from fhirspace.errors import InputError, Place
from fhirspace.fhir import gunzip
from fhirspace.limits import allowed, limit

BOM = b"\xef\xbb\xbf"


def open_bytes(path: Path) -> IO[bytes]:
    """Open a file for reading, compressed by gzip or not (recognised by its first bytes).

    Raises:
        InputError: FS404, the file cannot be opened; what `gunzip.unpacked` raises, while it is read.
    """
    try:
        return gunzip.unpacked(path) if is_packed(path) else path.open("rb")
    except OSError:
        raise InputError("FS404", Place(path.name), "a file that can be read") from None


def is_packed(path: Path) -> bool:
    """Whether a file is compressed by gzip, by its first bytes. Raises OSError."""
    with path.open("rb") as stream:
        return stream.read(len(gunzip.MAGIC)) == gunzip.MAGIC


@contextmanager
def readable(path: Path) -> Iterator[IO[bytes]]:
    """`open_bytes` for a ``with`` block, in which a read that the system refuses is FS404 as well."""
    try:
        with open_bytes(path) as stream:
            yield stream
    except OSError:
        raise InputError("FS404", Place(path.name), "a file that can be read") from None


def read(path: Path) -> Iterator[tuple[int, bytes]]:
    """Read the resources of an NDJSON file: the number of each line and its bytes; see `places`."""
    return ((number, line) for number, _, line in places(path))


def places(path: Path) -> Iterator[tuple[int, int, bytes]]:
    """Read the lines of an NDJSON file.

    Args:
        path: the file; compressed by gzip or not, with or without a byte order mark, LF or CRLF.

    Yields:
        The number of the line (the first is 1), the byte at which it begins (in what was unpacked), and its bytes,
        without line end; blank lines are left out.

    Raises:
        InputError: FS160 (unpacks to too much), FS404 (cannot be read), FS405 (a line is too long).
    """
    most, offset, number = limit("line-bytes"), 0, 0
    with open_bytes(path) as stream:
        while line := _next(stream, path, number + 1, most):
            number += 1
            if len(line) > most:
                raise InputError("FS405", Place(path.name, number), allowed("line-bytes"))
            text = line.removeprefix(BOM) if number == 1 else line
            begin, text = offset + len(line) - len(text), text.strip()
            offset += len(line)
            if text:
                yield number, begin, text


def _next(stream: IO[bytes], path: Path, number: int, most: int) -> bytes:
    try:
        return stream.readline(most + 1)
    except OSError:
        raise InputError("FS404", Place(path.name, number), "a file that can be read") from None
    except InputError as fault:
        raise InputError(fault.code, Place(path.name, number), fault.problem.expected, fault.problem.detail) from None


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
