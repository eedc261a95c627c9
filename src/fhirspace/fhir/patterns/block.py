"""The bytes of some lines, and where their quotes are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fhirspace.tables.text import TEXT

Places = NDArray[np.int64]
_QUOTE, _END, _ESCAPE, _BLANK = b'"\n\\ '
_ESCAPES: Final = np.isin(np.arange(256), list(b'"\\/bfnrt'))
"""What may follow a backslash. An escape that has a number is left to `parse`."""
_WORD: Final = 32
"""Bytes that are copied from a line at once, to be compared."""
_LONGEST: Final = 512
"""Bytes of a part of lines for which it is tried whether it is the same in all of them."""
_PART: Final = 1 << 17
"""Bytes that are looked at at once."""


class Place(NamedTuple):
    """A place in a line, counted from one of its quotes, or from its end."""

    mark: int
    offset: int


class Span(NamedTuple):
    """A part of a line: from a place to before another one."""

    start: Place
    end: Place


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """The bytes of a block of lines, each with a line end.

    Attributes:
        buffer: of the bytes. words: those from each place on, `_WORD` of them. starts: of the lines.
        marks: the places of quotes around texts and of line ends. firsts, counts: those of each line.
        odd: lines with an escape that is not looked at here. escaped: whether there are any escapes.
    """

    buffer: pa.Buffer
    words: NDArray[np.void]
    starts: Places
    marks: Places
    firsts: Places
    counts: Places
    odd: NDArray[np.bool_]
    escaped: bool

    @classmethod
    def of(cls, text: bytes) -> Block | None:
        """The lines of a text, which each have a line end; None where one has what no line of JSON has."""
        whole = text + bytes([_BLANK]) * _WORD
        signs = np.frombuffer(whole, np.uint8)
        places = _marks(signs)
        if places is None or not _is_utf8(whole):
            return None
        marks, ends = places
        odd, escaped = np.zeros(len(ends), bool), b"\\" in text
        if escaped:
            places_ = _escaped(signs)
            odd[np.searchsorted(ends, places_[~_ESCAPES[signs[places_]]])] = True
            marks = np.setdiff1d(marks, places_[signs[places_] == _QUOTE], assume_unique=True)
        after = _after(marks, ends)
        firsts = np.concatenate(([0], after[:-1]))
        starts = np.concatenate(([0], ends[:-1] + 1))
        words = np.ndarray((len(text) + 1,), f"V{_WORD}", whole, strides=(1,))
        return cls(pa.py_buffer(whole), words, starts, marks, firsts, after - firsts, odd, escaped)

    def line(self, row: int) -> bytes:
        """A line, without its end."""
        end = self.marks[self.firsts[row] + self.counts[row] - 1]
        return bytes(memoryview(self.buffer)[self.starts[row] : end])

    def marks_of(self, rows: Places) -> Places:
        """The marks of some lines that have as many each, a row a line."""
        count = int(self.counts[rows[0]])
        if len(rows) * count == len(self.marks):
            return self.marks.reshape(len(rows), count)
        found: Places = self.marks[self.firsts[rows][:, None] + np.arange(count)]
        return found

    def places(self, marks: Places, span: Span) -> tuple[Places, Places]:
        """Where a part of some lines begins and ends."""
        (start, more), (end, less) = span
        return marks[:, start] + more, marks[:, end] + less

    def same(self, starts: Places, ends: Places) -> bytes | None:
        """A part of some lines if it is the same in all of them."""
        lengths = ends - starts
        length = int(lengths[0])
        if length < 0 or length > _LONGEST or not (lengths == length).all():
            return None
        first = bytes(memoryview(self.buffer)[starts[0] : starts[0] + length])
        for offset in offsets(length):
            text, mask = word(first, offset)
            if (((self.words_at(starts + offset) ^ text) & mask) != 0).any():
                return None
        return first

    def words_at(self, places: Places) -> NDArray[np.uint64]:
        """The words from some places on, a row of them or several, as the numbers of each row."""
        numbers: NDArray[np.uint64] = self.words[places].view("<u8")
        return numbers.reshape(len(places), math.prod(places.shape[1:]) * _WORD // numbers.itemsize)

    def cells(self, starts: Places, ends: Places, kind: pa.DataType = TEXT) -> pa.Array:
        """A part of some lines."""
        places = np.empty(2 * len(starts), np.int32)
        places[::2], places[1::2] = starts, ends
        # Each second cell is what is between two of them.
        every = pa.Array.from_buffers(kind, len(places) - 1, [None, pa.py_buffer(places), self.buffer])
        return every.take(pa.array(np.arange(0, len(places), 2)))


def _marks(signs: NDArray[np.uint8]) -> tuple[Places, Places] | None:
    """The places of quotes and line ends, and of line ends alone; None where there are other control characters."""
    found = list[Places]()
    for start in range(0, len(signs), _PART):  # a part at a time stays in the cache of the processor
        part = signs[start : start + _PART]
        here = ((part == _QUOTE) | (part < _BLANK)).nonzero()[0]
        here += start
        found.append(here)
    marks = np.concatenate(found)
    ends = marks[signs[marks] != _QUOTE]
    return (marks, ends) if (signs[ends] == _END).all() else None


def _after(marks: Places, ends: Places) -> Places:
    """The numbers of the marks after those at the line ends."""
    count = len(marks) // max(1, len(ends))
    if count and len(marks) == count * len(ends) and np.array_equal(marks[count - 1 :: count], ends):
        return np.arange(1, len(ends) + 1) * count
    found: Places = np.searchsorted(marks, ends) + 1
    return found


def _is_utf8(whole: bytes) -> bool:
    if whole.isascii():
        return True
    ends = pa.py_buffer(np.array([0, len(whole)], np.int32))
    try:
        pa.Array.from_buffers(TEXT, 1, [None, ends, pa.py_buffer(whole)]).validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _escaped(signs: NDArray[np.uint8]) -> Places:
    """The places after the backslashes that begin an escape, which are the first, third, fifth of several in a row."""
    places = np.flatnonzero(signs == _ESCAPE)
    firsts = np.concatenate(([True], np.diff(places) != 1))
    within = places - np.maximum.accumulate(np.where(firsts, places, 0))
    found: Places = places[within % 2 == 0] + 1
    return found


def offsets(length: int) -> list[int]:
    """Where the words begin that cover some bytes; the last one may overlap the one before."""
    return [0] if length < _WORD else [*range(0, length - _WORD, _WORD), length - _WORD]


def word(run: bytes, offset: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """The word at a place as numbers, and the mask of the bytes that count."""
    part = run[offset : offset + _WORD]
    text, mask = part.ljust(_WORD, b"\0"), (b"\xff" * len(part)).ljust(_WORD, b"\0")
    return np.frombuffer(text, "<u8"), np.frombuffer(mask, "<u8")
