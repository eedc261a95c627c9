"""The header records of a SAS transport file: its datasets, their variables, and where their rows are.

A file is refused unless each of its variables lies right behind the one before it, so that nothing of it can point
beyond a row.

Version 8 has the same records with other names, and variables whose names have up to 32 characters; labels and formats
that are too long for the description of a variable follow behind all descriptions (`longlabels`).

Source: SAS technical note TS-140 (header records; NAMESTR), and its supplement for version 8.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from fhirspace.errors import InputError, Place
from fhirspace.limits import limit, too_much
from fhirspace.tables.xpt import longlabels

MAGICS = (b"HEADER RECORD*******LIBRARY HEADER RECORD!!!!!!!", b"HEADER RECORD*******LIBV8   HEADER RECORD!!!!!!!")
"""How a file of version 5 begins, and one of version 8."""


def _record(kind: bytes) -> bytes:
    return b"HEADER RECORD*******" + kind.ljust(8) + b"HEADER RECORD!!!!!!!"


class _Layout(NamedTuple):
    """How the header records of a version are called, and where the names of a dataset and of a variable are."""

    member: bytes
    descriptor: bytes
    variables: bytes
    rows: bytes
    title: slice
    name: slice


_LAYOUTS = (
    _Layout(_record(b"MEMBER"), _record(b"DSCRPTR"), _record(b"NAMESTR"), _record(b"OBS"), slice(8, 16), slice(8, 16)),
    _Layout(
        _record(b"MEMBV8"), _record(b"DSCPTV8"), _record(b"NAMSTV8"), _record(b"OBSV8"), slice(8, 40), slice(88, 120)
    ),
)
"""Those of version 5 and of version 8."""
LINE = 80
_LIBRARY = 3 * LINE
"""Bytes before the first dataset."""
_BEFORE_VARIABLES = 5 * LINE
"""Bytes of a dataset before its variables: two header records, two lines that describe it, a header record."""
_SIZES = (136, 140)
"""Bytes that describe a variable: 136 in files of VAX machines."""
_NUMBER, _TEXT = 1, 2
_LONGEST_NUMBER, _LONGEST_TEXT = 8, 32_767
_FORMAT, _INFORMAT = 56, 72
"""Where a format begins: its name of 8 bytes, its width and its decimals, 2 bytes each."""
_SPELT = re.compile(r"(\$?(?:[A-Z_](?:\w*[A-Z_])?)?)(\d*)\.?(\d*)", re.ASCII | re.IGNORECASE)
"""A format as SAS writes it: name, width, decimals; names end in no digit."""


class Field(NamedTuple):
    """A variable: name and label as bytes, whether it is a number, its format and informat, offset and bytes."""

    name: str
    label: bytes
    number: bool
    format: str
    informat: str
    offset: int
    length: int


class Member(NamedTuple):
    """A dataset of a file: name, label as bytes, variables, where its rows begin, bytes a row, and how many rows."""

    name: str
    label: bytes
    fields: tuple[Field, ...]
    start: int
    width: int
    rows: int


@contextmanager
def mapped(path: Path) -> Iterator[mmap.mmap]:
    """The bytes of a file, without reading all of them.

    Raises:
        InputError: FS101 (no file), FS104 (empty).
    """
    if not path.is_file():
        raise InputError("FS101", Place(path.name), "a SAS transport file")
    if not path.stat().st_size:
        raise InputError("FS104", Place(path.name), "the header records of version 5 or 8")
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        yield content


def spans(content: mmap.mmap, file: str) -> list[tuple[int, int]]:
    """Where the datasets of a file begin and end, in its order: found by looking through the whole file.

    Raises:
        InputError: FS131 (neither version 5 nor 8), FS160 (too many datasets).
    """
    marker = _layout(content, file).member
    starts = [_LIBRARY]
    at = content.find(marker, _LIBRARY + 1)
    while at >= 0:
        if at % LINE == 0:
            starts.append(at)
        if len(starts) > limit("datasets"):
            raise too_much("datasets", Place(file))
        at = content.find(marker, at + 1)
    return list(pairwise([*starts, len(content)]))


def _layout(content: mmap.mmap, file: str) -> _Layout:
    magic = content[:48]
    if magic not in MAGICS:
        raise _odd(file)
    return _LAYOUTS[MAGICS.index(magic)]


def member(content: mmap.mmap, span: tuple[int, int], file: str) -> Member:
    """The dataset that is at a place of a file.

    Raises:
        InputError: FS104 (cut short), FS131 (not what its header says), FS160.
    """
    start, end = span
    layout = _layout(content, file)
    head = content[start : start + _BEFORE_VARIABLES]
    records = (layout.member, 0), (layout.descriptor, LINE), (layout.variables, 4 * LINE)
    if not all(head.startswith(record, at) for record, at in records):
        raise _odd(file)
    texts = (head[4 * LINE + 54 : 4 * LINE + 58], head[74:78])
    if not all(text.isdigit() for text in texts):
        raise _odd(file)
    count, each = map(int, texts)
    if not count or each not in _SIZES:
        raise _odd(file)
    if count > limit("columns"):
        raise too_much("columns", Place(file))
    names_end = start + _BEFORE_VARIABLES + -(-count * each // LINE) * LINE
    names = content[start + _BEFORE_VARIABLES : names_end]
    long: dict[int, longlabels.Long] = {}
    if layout is _LAYOUTS[1]:
        long, names_end = longlabels.read(content, names_end, end, count)
    if content[names_end : names_end + 48] != layout.rows:
        raise InputError("FS104", Place(file), "all variables and the header of the rows")
    fields = tuple(_fields(names[: count * each], each, layout.name, long, file))
    if len({field.name for field in fields}) < count:
        raise InputError("FS131", Place(file), "one variable of each name")
    width = sum(field.length for field in fields)
    rows = _rows(content, (names_end + LINE, end), fields, file)
    stated = content[names_end + 48 : names_end + LINE].strip()
    if layout is _LAYOUTS[1] and stated.isdigit() and len(stated) < 16:
        rows = _stated(int(stated), rows, (names_end + LINE, end), width, file)
    title = head[2 * LINE :][layout.title]
    label = head[3 * LINE + 32 : 3 * LINE + 72]
    if not _is_plain(title):
        raise _odd(file)
    return Member(title.decode().strip(" \0"), label.rstrip(b" \0"), fields, names_end + LINE, width, rows)


def _stated(stated: int, found: int, span: tuple[int, int], width: int, file: str) -> int:
    """The rows that the header says, which may end in rows of blanks; they must fill the file up to its last line."""
    if found <= stated <= limit("rows") and 0 <= span[1] - span[0] - stated * width < LINE:
        return stated
    raise InputError("FS104", Place(file), f"the rows that its header says, {stated:,}", f"it has {found:,}")


def _fields(names: bytes, each: int, title: slice, long: dict[int, longlabels.Long], file: str) -> Iterator[Field]:
    place = 0
    for at in range(0, len(names), each):
        variable = names[at : at + each]
        kind, length = (int.from_bytes(variable[start : start + 2]) for start in (0, 4))
        longest = {_NUMBER: _LONGEST_NUMBER, _TEXT: _LONGEST_TEXT}.get(kind, 0)
        if not 0 < length <= longest or int.from_bytes(variable[84:88]) != place:
            raise _odd(file)
        name = variable[title]
        if not _is_plain(name) or not name.strip(b" \0"):
            raise _odd(file)
        form, informat = (_form(variable[start : start + 12], file) for start in (_FORMAT, _INFORMAT))
        label = variable[16:56].rstrip(b" \0")
        if more := long.get(at // each + 1):
            label, form, informat = more.label or label, more.format or form, more.informat or informat
        yield Field(name.decode().strip(" \0"), label, kind == _NUMBER, form, informat, place, length)
        place += length


def _form(described: bytes, file: str) -> str:
    """A format in one text, such as ``DATE9.`` or ``8.2``; empty where there is none."""
    if not _is_plain(described[:8]):
        raise _odd(file)
    name = described[:8].decode().strip(" \0").upper()
    width, decimals = (int.from_bytes(described[at : at + 2]) for at in (8, 10))
    if not width and not decimals:
        return name if not name or name.endswith(".") else f"{name}."
    return f"{name}{width or ''}.{decimals or ''}"


def form_bytes(form: str) -> bytes | None:
    """A format as the 12 bytes of its name, width and decimals; None for a text that is no format of version 5."""
    found = _SPELT.fullmatch(form)
    if found is None or len(found[1]) > 8:
        return None
    width, decimals = (int(digits or 0) for digits in found.groups()[1:])
    if max(width, decimals) >= 1 << 16:
        return None
    return found[1].upper().encode().ljust(8) + width.to_bytes(2) + decimals.to_bytes(2)


def _rows(content: mmap.mmap, span: tuple[int, int], fields: tuple[Field, ...], file: str) -> int:
    """How many rows there are: those whole ones that are not the filling of the last line of 80 bytes.

    Filled up is with blanks, or by some programs with NUL, which no text holds; a row of numbers may be all NUL.
    """
    start, end = span
    size, width = end - start, sum(field.length for field in fields)
    rows, rest = divmod(size, width)
    if rows > limit("rows"):
        raise too_much("rows", Place(file))
    fillings = [b" "] if all(field.number for field in fields) else [b" ", b"\0"]
    if content[end - rest : end].strip(b" \0") or end % LINE:
        expected = "a whole row, and blanks up to a multiple of 80 bytes"
        raise InputError("FS104", Place(file, rows + 2), expected)
    while rows and size - (rows - 1) * width < LINE:
        row = content[start + (rows - 1) * width : start + rows * width]
        if not any(row == filling * width for filling in fillings):
            break
        rows -= 1
    return rows


def _is_plain(text: bytes) -> bool:
    return text.isascii() and text.rstrip(b" \0").decode().isprintable()


def _odd(file: str) -> InputError:
    return InputError("FS131", Place(file), "the header records of version 5 or 8")
