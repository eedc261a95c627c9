"""The header records of a SAS transport file, looked at before a library in C reads the file.

That library takes lengths and places as the file gives them. Here a file is refused unless each of its variables lies
right behind the one before it, so that nothing of it can point beyond a row.

Source: SAS technical note TS-140 (header records; NAMESTR).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from fhirspace.errors import InputError, Place
from fhirspace.limits import limit, too_much

MAGIC = b"HEADER RECORD*******LIBRARY HEADER RECORD!!!!!!!"
MEMBER = b"HEADER RECORD*******MEMBER  HEADER RECORD!!!!!!!"
_NAMESTR = b"HEADER RECORD*******NAMESTR HEADER RECORD!!!!!!!"
_OBS = b"HEADER RECORD*******OBS     HEADER RECORD!!!!!!!"
LINE = 80
_SIZES = (136, 140)
"""Bytes that describe a variable: 136 in files of VAX machines."""
_NUMBER, _TEXT = 1, 2
_LONGEST_NUMBER, _LONGEST_TEXT = 8, 32_767
_NAMES = (slice(8, 16), slice(56, 64), slice(72, 80))
"""The positions of the names of the variable, its format and its informat."""


class Layout(NamedTuple):
    """The rows of a transport file: offset, bytes a row, the bytes from the offset to the end, columns."""

    start: int
    width: int
    size: int
    columns: int


def layout(path: Path) -> Layout:
    """The position of the rows, from the header records.

    Raises:
        InputError: FS101, FS104 (cut short), FS131 (not version 5, or not what its header says), FS160.
    """
    if not path.is_file():
        raise InputError("FS101", Place(path.name), "a SAS transport file")
    size = path.stat().st_size
    with path.open("rb") as stream:
        count, each = _counts(stream, path.name)
        names = stream.read(-(-count * each // LINE) * LINE)
        start = 9 * LINE + len(names)
        if not stream.read(LINE).startswith(_OBS):
            raise InputError("FS104", Place(path.name), "all variables and the header of the rows")
    width = sum(_lengths(names, count, each, path.name))
    if (size - start) // width > limit("rows"):
        raise too_much("rows", Place(path.name))
    return Layout(start, width, size - start, count)


def _counts(stream: BinaryIO, file: str) -> tuple[int, int]:
    """The number of variables, and the bytes that describe each."""
    head = stream.read(8 * LINE)
    if not head.startswith(MAGIC) or head[240:288] != MEMBER or head[560:608] != _NAMESTR:
        raise _odd(file)
    texts = (head[614:618], head[314:318])
    if not all(text.isdigit() for text in texts):
        raise _odd(file)
    count, each = map(int, texts)
    if not count or each not in _SIZES:
        raise _odd(file)
    if count > limit("columns"):
        raise too_much("columns", Place(file))
    return count, each


def _lengths(names: bytes, count: int, each: int, file: str) -> Iterator[int]:
    """The bytes of each variable in a row."""
    place = 0
    for at in range(0, count * each, each):
        variable = names[at : at + each]
        kind, length = (int.from_bytes(variable[start : start + 2]) for start in (0, 4))
        longest = {_NUMBER: _LONGEST_NUMBER, _TEXT: _LONGEST_TEXT}.get(kind, 0)
        if not 0 < length <= longest or int.from_bytes(variable[84:88]) != place:
            raise _odd(file)
        if not all(_is_plain(variable[part]) for part in _NAMES) or not variable[8:16].strip(b" \0"):
            raise _odd(file)
        place += length
        yield length


def _is_plain(text: bytes) -> bool:
    return text.isascii() and text.rstrip(b" \0").decode().isprintable()


def _odd(file: str) -> InputError:
    return InputError("FS131", Place(file), "the header records of version 5")
