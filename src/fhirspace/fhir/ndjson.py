"""FHIR as newline-delimited JSON: one resource a line, as raw bytes, so that no value loses its spelling.

Source: FHIR, "Bulk Data Access" (ndjson), "Resource Formats: JSON".
"""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader, FileIO
from pathlib import Path
from typing import IO, Final, cast

import numpy as np

from fhirspace.errors import InputError, Place
from fhirspace.fhir import gunzip
from fhirspace.limits import allowed, limit

BOM = b"\xef\xbb\xbf"
_CHUNK: Final = 1 << 22
_LINES: Final = 1_000
(_END,) = b"\n"


@dataclass(frozen=True, slots=True)
class Batch:
    """Lines of a file as one text, in which each has a line end, and the number of each."""

    numbers: Sequence[int]
    text: bytes

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """The lines that are not blank, without blanks around them."""
        for number, line in zip(self.numbers, self.text.split(b"\n"), strict=False):
            if line := line.strip():
                yield number, line


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


def batches(path: Path) -> Iterator[Batch]:
    """`read`, some lines at a time. Raises InputError as `places`, after the lines before the fault."""
    with open_bytes(path) as stream:
        if isinstance(stream, BufferedReader) and isinstance(stream.raw, FileIO):
            yield from _chunks(stream, path)
            return
    numbers, lines = list[int](), list[bytes]()
    try:
        for number, line in read(path):
            numbers.append(number)
            lines.append(line)
            if len(lines) == _LINES:
                yield _batch(numbers, lines)
                numbers, lines = [], []
    except InputError:
        yield _batch(numbers, lines)
        raise
    yield _batch(numbers, lines)


def _batch(numbers: Sequence[int], lines: Sequence[bytes]) -> Batch:
    return Batch(numbers, b"\n".join((*lines, b"")))


def _chunks(stream: BufferedReader, path: Path) -> Iterator[Batch]:
    most, number = limit("line-bytes"), 1
    while True:
        try:
            text = stream.read(_CHUNK)
            text = text if text.endswith(b"\n") else b"".join((text, stream.readline(most + 1)))
        except OSError:
            raise InputError("FS404", Place(path.name, number), "a file that can be read") from None
        if not text:
            return
        long = _long(text, most) if len(text) > most else -1
        if long >= 0:
            text = b"".join(line + b"\n" for line in text.split(b"\n")[:long])
        elif not text.endswith(b"\n"):
            text += b"\n"
        numbers = range(number, number + int(np.count_nonzero(np.frombuffer(text, np.uint8) == _END)))
        if number == 1:
            text = text.removeprefix(BOM)
        yield Batch(numbers, text.replace(b"\r\n", b"\n") if b"\r" in text else text)
        number = numbers.stop
        if long >= 0:
            raise InputError("FS405", Place(path.name, number), allowed("line-bytes"))


def _long(text: bytes, most: int) -> int:
    """The number of the first line that is too long; -1 where none is."""
    lines = text.split(b"\n")  # the last one has no end
    return next((at for at, line in enumerate(lines) if len(line) + (at + 1 < len(lines)) > most), -1)


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
