"""Opening a CSV file: is it text at all, in which encoding, with which delimiter and which header?"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from fhirspace.errors import InputError, Place, Problem
from fhirspace.limits import allowed, limit, too_much
from fhirspace.tables.csv.head import looks_like_data
from fhirspace.tables.csv.scan import Record, check_cell, scan

DELIMITERS = ",\t;|"
"""The delimiters that are recognised in a header."""
_BINARY = {
    b"PK\x03\x04": "a workbook or a zip archive",
    b"\xd0\xcf\x11\xe0": "an old workbook",
    b"\x1f\x8b": "a gzip file",
    b"PAR1": "a Parquet file",
    b"%PDF": "a PDF file",
    b"BZh": "a bzip2 file",
    b"\xfd7zXZ": "an xz file",
    b"(\xb5/\xfd": "a zstd file",
}
_CONTROLS = bytes([*range(9), *range(14, 32)])
"""Bytes that no text holds many of: one in 20, and more than `_FEW`, are no slip of an editor."""
_FEW = 3


@dataclass(frozen=True, slots=True)
class Header:
    """The content of the first line of a CSV file, and the bytes read after it.

    Attributes:
        file: the file name without folders.
        names: the columns.
        delimiter: one ASCII character.
        lines: the lines that the header takes.
        rest: the bytes after the header that have been read already.
    """

    file: str
    names: tuple[str, ...]
    delimiter: str
    lines: int
    rest: bytes


@contextmanager
def open_csv(path: Path, delimiter: str | None = None) -> Iterator[tuple[BinaryIO, Header]]:
    """Opens a CSV file and reads its header; the stream is then behind `Header.rest`.

    Raises:
        InputError: FS101, FS102, FS104-FS108, FS111-FS117, FS160, at row 1.
    """
    if not path.is_file():
        raise InputError("FS101", Place(path.name), "a file")
    try:
        stream = path.open("rb")
    except OSError:
        raise InputError("FS101", Place(path.name), "a file that may be read") from None
    with stream:
        yield stream, _header(stream, path.name, delimiter)


def _header(stream: BinaryIO, file: str, delimiter: str | None) -> Header:
    most = limit("header-bytes")
    head = stream.read(most)
    refuse_binary(head, file)
    head = head.removeprefix(b"\xef\xbb\xbf")
    if not head.strip():
        raise InputError("FS102", Place(file), "a header and records")
    whole = len(head) < most - 3
    text = _text(head, whole, file)
    delimiter = _delimiter(text, file) if delimiter is None else _usable(delimiter, file)
    record = next(scan(text, delimiter), None)
    if record is not None and len(record.fields) > limit("columns"):
        raise too_much("columns", Place(file, 1))
    if record is None or not (whole or record.ended):
        raise InputError("FS113", Place(file, 1), allowed("header-bytes"))
    below = (each.fields for each in scan(text, delimiter, record.end))
    _check_header(record, below, file)
    end = len(text[: record.end].encode())
    return Header(file, tuple(record.fields), delimiter, head.count(b"\n", 0, end), head[end:])


def refuse_binary(head: bytes, file: str) -> None:
    """Looks at how a file begins. Raises InputError: FS114 (another format), FS105 (UTF-16)."""
    for magic, what in _BINARY.items():
        if head.startswith(magic):
            raise InputError("FS114", Place(file), "CSV text", f"this is {what}")
    first = head[:4096].partition(b"\n")[0]  # cells of NUL below a header are bad cells
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) or first.count(0) * 4 > len(first):
        raise InputError("FS105", Place(file, 1), "UTF-8", "line 1 looks like UTF-16")


def is_binary(head: bytes) -> bool:
    """Whether a file that begins like this is no text: control characters, and a first line that is no header."""
    start = head[:4096]
    controls = len(start) - len(start.translate(None, _CONTROLS))
    first = start.splitlines()[0] if start else b""
    return controls > _FEW and controls * 20 > len(start) and not _is_text(first)


def _is_text(line: bytes) -> bool:
    try:
        return line.decode("utf-8").isprintable()
    except UnicodeDecodeError:
        return False


def _text(head: bytes, whole: bool, file: str) -> str:
    """The head as text, up to the last line break that is surely complete; only the first record is used of it."""
    if not whole:
        head = head[: max(head.rfind(b"\n"), head.rfind(b"\r", 0, len(head) - 1)) + 1]
    try:
        return head.decode("utf-8")
    except UnicodeDecodeError as fault:
        raise undecodable(head, fault.start, 1, file) from None


def undecodable(block: bytes, at: int, line: int, file: str) -> InputError:
    """The error for bytes that are not UTF-8, naming the line and the encoding that they may be.

    Args:
        block: bytes of the file.
        at: the position of the first fault in the block.
        line: the line of the file at which the block starts.
        file: the file name.
    """
    line += block.count(b"\n", 0, at)
    try:
        block.decode("cp1252")
        guess = "it looks like Windows-1252"
    except UnicodeDecodeError:
        guess = "its encoding is not recognised"
    return InputError("FS105", Place(file, line), f"UTF-8 in line {line}", guess)


def _delimiter(text: str, file: str) -> str:
    """The most frequent delimiter in the first line outside of quotes; a comma when none does."""
    line = re.sub(r'"[^"]*"', "", text[:65_536]).lstrip("\r\n")
    line = re.split(r"[\r\n]", line, maxsplit=1)[0]
    return max(DELIMITERS, key=line.count)


def _usable(delimiter: str, file: str) -> str:
    plain = len(delimiter) == 1 and delimiter.isascii() and (delimiter.isprintable() or delimiter == "\t")
    if not plain or delimiter.isalnum() or delimiter in '" ':
        raise InputError("FS117", Place(file), "one character that is no letter, digit, blank or quote")
    return delimiter


def _check_header(record: Record, below: Iterable[Sequence[str]], file: str) -> None:
    """Raises the first fault of the header; of a first line that is data no single cell is at fault (FS118)."""
    for at, code in record.faults:
        raise InputError(code, Place(file, 1), f"a well-formed name in column {at + 1}")
    for problem in _header_problems(record.fields, file):
        if looks_like_data(record.fields, below):
            raise InputError("FS118", Place(file, 1), "names of columns in the first line")
        raise InputError(problem.code, problem.place, problem.expected, problem.detail)


def _header_problems(names: Sequence[str], file: str) -> Iterator[Problem]:
    first: dict[str, int] = {}
    for number, name in enumerate(names, 1):
        place = Place(file, 1, f"column {number}")
        if not name.strip():
            yield Problem("FS108", place, "a name")
        elif first.setdefault(name, number) != number:
            yield Problem("FS107", place, f"a name unlike that of column {first[name]}")
        elif name.startswith(("@", "_")):
            yield Problem("FS116", place, "a name that starts with a letter")
        for code, expected in check_cell(name):
            yield Problem(code, place, expected)
