"""The meaning of a CSV file: RFC 4180 record by record, with the exact place of each fault.

`scan` defines the content of a file; tests compare the vectorised path (`fast`) with it, which leaves irregular blocks
to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache

from fhirspace.errors import Place, Problem
from fhirspace.foreign import column, counted
from fhirspace.limits import allowed, limit

CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
"""Control characters; tab and line breaks are text."""
FORMULA = re.compile(r"(?s)[=@\t\r]|[+-].*[(|!]")
"""What a spreadsheet would run, matched at the start of a cell."""
_WIDEST = 4
"""Bytes that a character takes at most."""
_SUSPECT = re.compile(f"{CONTROL.pattern}|\n[=@\t\r+-]")
_UNQUOTED_LINE = re.compile(r'[^"\r\n]*+(?=[\r\n])')


@dataclass(slots=True)
class Record:
    """One record: its fields, the (field index, code) of each fault of form, where it ends, and how it ended."""

    fields: list[str]
    faults: list[tuple[int, str]] = field(default_factory=list)
    end: int = 0
    ended: bool = True
    """Whether a line break ended it."""
    closed: bool = True
    """Whether its last quote was closed."""
    blank: bool = False
    """Whether it is an empty line, which is counted but holds nothing."""


@cache
def _patterns(delimiter: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
    plain = re.compile(rf"[^{re.escape(delimiter)}\r\n]*")
    # Possessive: a quote that is never closed must fail, not be matched up to an escaped quote inside.
    quoted = re.compile(r'"([^"]*+(?:""[^"]*+)*+)"')
    return plain, quoted


def scan(text: str, delimiter: str, start: int = 0) -> Iterator[Record]:
    """The records of a CSV text from `start` on, the last one perhaps unended.

    The fields of a record that has more than the bound ``columns`` are not taken apart any further: the last one holds
    all the rest.
    """
    most = limit("columns")
    while start < len(text):
        record = _record(text, delimiter, start, most)
        yield record
        start = record.end


def _record(text: str, delimiter: str, start: int, most: int) -> Record:
    line = _UNQUOTED_LINE.match(text, start)
    if line is not None:
        end = line.end()
        after = end + (2 if text.startswith("\r\n", end) else 1)
        return Record(line.group().split(delimiter, most), end=after, blank=end == start)
    record = Record([])
    while True:
        start = _field(text, delimiter, start, record)
        if len(record.fields) > most:
            record.fields[-1], start = text[start:], len(text)
        if start >= len(text):
            record.end, record.ended = start, False
            return record
        if text[start] != delimiter:
            record.end = start + (2 if text.startswith("\r\n", start) else 1)
            return record
        start += 1


def _field(text: str, delimiter: str, start: int, record: Record) -> int:
    """Reads one field into the record; returns where it ends."""
    plain, quoted = _patterns(delimiter)
    opened = text.startswith('"', start)
    found = quoted.match(text, start) if opened else plain.match(text, start)
    if found is None:
        record.closed = False
        record.faults.append((len(record.fields), "FS104"))
        record.fields.append(text[start:])
        return len(text)
    end = found.end()
    if not opened:
        cell = found.group()
        stray = '"' in cell
    else:
        cell = found.group(1).replace('""', '"')
        rest = plain.match(text, end)
        stray = rest is not None and rest.end() > end
        if rest is not None and stray:
            end = rest.end()
            cell = text[start:end]
    if stray:
        record.faults.append((len(record.fields), "FS115"))
    record.fields.append(cell)
    return end


def check(record: Record, names: Sequence[str], place: Place) -> list[Problem]:
    """All problems of one record, in the order of its fields; empty when it is a good row.

    Args:
        record: the record.
        names: the columns of the header; one that may be a value (see `foreign.column`) is named by its number.
        place: the file and the row.
    """
    if len(record.fields) == len(names) and not record.faults and _is_harmless(record.fields):
        return []
    found = [(0, *fault) for fault in _shape(record, len(names))]
    found += [(at + 1, code, "", "") for at, code in record.faults if code != "FS104"]
    for at, cell in enumerate(record.fields, 1):
        found += [(at, code, expected, "") for code, expected in check_cell(cell)]
    named = dict(enumerate(names, 1))
    return [
        Problem(
            code, Place(place.file, place.row, column(named[at], at) if at in named else None), expected, detail=detail
        )
        for at, code, expected, detail in sorted(found)
    ]


def _is_harmless(fields: list[str]) -> bool:
    """A quick look at the whole record, so that only suspects are looked at cell by cell."""
    joined = "\n" + "\n".join(fields)
    return len(joined) * _WIDEST <= limit("cell-bytes") and not _SUSPECT.search(joined)


def _shape(record: Record, width: int) -> list[tuple[str, str, str]]:
    """The (code, expected, detail) of a record that is not closed or has too few or too many fields."""
    count = len(record.fields)
    if not record.closed:
        lines = record.fields[-1].count("\n") + 1
        return [("FS104", "a closing quote", f"the record runs over {counted(lines, 'line')} to the end of the file")]
    if count == width:
        return []
    code = "FS110" if count > width else "FS109" if record.ended else "FS104"
    return [(code, counted(width, "field"), f"the row has {count}")]


def check_cell(cell: str, most: int = 0) -> list[tuple[str, str]]:
    """The (code, expected) of each problem of one cell of text. `most`: the limit of its bytes, for many cells."""
    found = []
    if CONTROL.search(cell):
        found.append(("FS106", "text without control characters"))
    if cell and cell[0] in "=@\t\r+-" and FORMULA.match(cell):
        found.append(("FS111", "text that is no formula"))
    most = most or limit("cell-bytes")
    if len(cell) * _WIDEST > most and len(cell.encode()) > most:
        found.append(("FS112", allowed("cell-bytes")))
    return found
