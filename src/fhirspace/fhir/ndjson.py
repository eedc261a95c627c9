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
    """Open a file for reading, compressed by gzip or not (told by its first bytes).

    Raises:
        InputError: FS404, the file cannot be opened; what `gunzip.unpacked` raises, while it is read.
    """
    try:
        return gunzip.unpacked(path) if is_packed(path) else path.open("rb")
    except OSError:
        raise InputError("FS404", Place(path.name), "a file that can be read") from None


def is_packed(path: Path) -> bool:
    """Whether a file is compressed by gzip, told by its first bytes. Raises OSError."""
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
    """Read the resources of an NDJSON file.

    Args:
        path: the file; compressed by gzip or not, with or without a byte order mark, LF or CRLF.

    Yields:
        The number of the line (the first is 1) and its bytes, without line end; blank lines are left out.

    Raises:
        InputError: FS160 (unpacks to too much), FS404 (cannot be read), FS405 (a line is too long).
    """
    most = limit("line-bytes")
    with open_bytes(path) as stream:
        number = 0
        while True:
            try:
                line = stream.readline(most + 1)
            except OSError:
                raise InputError("FS404", Place(path.name, number + 1), "a file that can be read") from None
            except InputError as fault:
                raise InputError(fault.code, Place(path.name, number + 1), fault.problem.expected) from None
            if not line:
                return
            number += 1
            if len(line) > most:
                raise InputError("FS405", Place(path.name, number), allowed("line-bytes"))
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
