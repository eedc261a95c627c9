"""Resources that are written alike, read together: strict JSON is proven for many lines at once.

Programs write the resources of a file with the same names in the same order; only values differ. A `Pattern` is made of
one line that `parse` has read: the bytes between its values. A line with the same bytes there is JSON as strict and as
deep as that one, with the same members, each once; only its texts and numbers remain to be looked at. They are where
the quotes are, so that no line becomes objects of Python.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fhirspace.json import JsonError, parse
from fhirspace.tables.text import TEXT

Places = NDArray[np.int64]
_QUOTE, _END, _ESCAPE, _BLANK = b'"\n\\ '
_ESCAPES: Final = np.isin(np.arange(256), list(b'"\\/bfnrt'))
"""What may follow a backslash. An escape that has a number is left to `parse`."""
_NUMBER: Final = r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?$"
_DIGITS: Final = 300
"""Signs of a number that a double can hold in any case. Longer ones, and exponents, are left to `parse`."""
_TOKEN: Final = re.compile(rb'\s*("(?:[^"\\]|\\.)*"|[][{}:,]|[^][{}:,\s"]+)', re.DOTALL)
_WORD: Final = 8
_FEW: Final = 20
"""Lines of which no pattern is made."""
_MOST_NEW: Final = 8
"""Patterns that are made for one block."""
_MOST_KNOWN: Final = 200


class Place(NamedTuple):
    """A place in a line, counted from one of its quotes, or from its end."""

    mark: int
    offset: int


class Span(NamedTuple):
    """A part of a line: from a place to before another one."""

    start: Place
    end: Place


@dataclass(frozen=True, slots=True, eq=False)
class Pattern:
    """What lines that are written alike have in common.

    Attributes:
        value: one of them, as `parse` reads it. names: all names in it, at any depth.
        members: the value of each member. texts, numbers: those of members, and of objects in them, by their path
            (texts without quotes).
    """

    value: Any
    names: frozenset[str]
    members: dict[str, Span]
    texts: dict[tuple[str, ...], Span]
    numbers: dict[tuple[str, ...], Span]
    _proof: _Proof

    def fits(self, block: _Bytes, starts: Places, marks: Places) -> NDArray[np.bool_]:
        """Which of some lines of a block are written like this, from their starts and marks (see `_Bytes`)."""
        return self._proof.fits(block, starts, marks)


@dataclass(frozen=True, slots=True, eq=False)
class Alike:
    """The lines of a block that fit a pattern. `rows`: their numbers in the block, in order."""

    pattern: Pattern
    rows: Places
    _block: _Bytes
    _marks: Places

    @property
    def escaped(self) -> bool:
        """Whether texts of the block have escapes."""
        return self._block.escaped

    def cells(self, span: Span, kind: pa.DataType = TEXT) -> pa.Array:
        """A part of each line, as it is written."""
        return self._block.cells(self._marks, span, kind)


class Patterns:
    """The patterns of lines so far.

    Args:
        usable: whether the caller can read the lines of a pattern.
    """

    def __init__(self, usable: Callable[[Pattern], bool]) -> None:
        self._usable = usable
        self._known: dict[int, list[Pattern]] = {}
        self._count = 0

    def divided(self, lines: Sequence[bytes]) -> tuple[list[Alike], Places]:
        """The lines that are written alike, and the numbers of all others, which are to be read one by one."""
        rest = np.arange(len(lines))
        block = _Bytes.of(lines) if len(lines) >= _FEW else None
        if block is None:
            return [], rest
        found, new = list[Alike](), _MOST_NEW
        for marks in np.unique(block.counts[~block.odd]).tolist():
            rows = np.flatnonzero((block.counts == marks) & ~block.odd)
            for pattern in self._known.get(marks, ()):
                rows = self._take(found, block, pattern, rows)
            while new and len(rows) >= _FEW and self._count < _MOST_KNOWN:
                new -= 1
                made = _pattern(lines[rows[0]])
                if made is None or not self._usable(made):
                    break
                self._known.setdefault(marks, []).append(made)
                self._count += 1
                rows = self._take(found, block, made, rows)
        there = np.concatenate([each.rows for each in found]) if found else rest[:0]
        return found, np.delete(rest, there)

    def _take(self, found: list[Alike], block: _Bytes, pattern: Pattern, rows: Places) -> Places:
        """Takes the lines that fit a pattern; gives the others."""
        if not len(rows):
            return rows
        marks = block.marks_of(rows)
        fits = pattern.fits(block, block.starts[rows], marks)
        if fits.all():
            found.append(Alike(pattern, rows, block, marks))
        elif fits.any():
            found.append(Alike(pattern, rows[fits], block, marks[fits]))
        return rows[~fits]


@dataclass(frozen=True, slots=True, eq=False)
class _Bytes:
    """The bytes of a block of lines, each with a line end.

    Attributes:
        buffer: of the bytes. words: the eight bytes from each place on. starts: of the lines.
        marks: the places of quotes around texts and of line ends. firsts, counts: those of each line.
        odd: lines with an escape that is not looked at here. escaped: whether there are any escapes.
    """

    buffer: pa.Buffer
    words: NDArray[np.uint64]
    starts: Places
    marks: Places
    firsts: Places
    counts: Places
    odd: NDArray[np.bool_]
    escaped: bool

    @classmethod
    def of(cls, lines: Sequence[bytes]) -> _Bytes | None:
        """The bytes of some lines; None where a line holds what no line of JSON does."""
        size = sum(map(len, lines)) + len(lines)
        whole = b"\n".join((*lines, bytes([_BLANK] * _WORD)))
        signs = np.frombuffer(whole, np.uint8)
        if np.count_nonzero(signs < _BLANK) != len(lines) or not _is_utf8(whole):
            return None
        ends = np.cumsum(np.fromiter(map(len, lines), np.int64, len(lines)) + 1) - 1
        here = (signs == _QUOTE) | (signs == _END)
        odd = np.zeros(len(lines), bool)
        if b"\\" in whole:
            escaped = _escaped(signs)
            here[escaped] = False
            wrong = escaped[~_ESCAPES[signs[escaped]]]
            odd[np.searchsorted(ends, wrong[wrong < size])] = True
        marks = np.flatnonzero(here)
        after = np.searchsorted(marks, ends) + 1
        firsts = np.concatenate(([0], after[:-1]))
        starts = np.concatenate(([0], ends[:-1] + 1))
        words = np.ndarray((size,), "<u8", whole, strides=(1,))
        return cls(pa.py_buffer(whole), words, starts, marks, firsts, after - firsts, odd, b"\\" in whole)

    def marks_of(self, rows: Places) -> Places:
        """The marks of some lines that have as many each, a row a line."""
        count = int(self.counts[rows[0]])
        if len(rows) * count == len(self.marks):
            return self.marks.reshape(len(rows), count)
        found: Places = self.marks[self.firsts[rows][:, None] + np.arange(count)]
        return found

    def cells(self, marks: Places, span: Span, kind: pa.DataType = TEXT) -> pa.Array:
        """A part of some lines."""
        places = np.empty(2 * len(marks), np.int32)
        for at, (mark, offset) in enumerate(span):
            np.add(marks[:, mark], offset, out=places[at::2], casting="unsafe")
        # Each second cell is what is between two of them.
        every = pa.Array.from_buffers(kind, len(places) - 1, [None, pa.py_buffer(places), self.buffer])
        return every.take(pa.array(np.arange(0, len(places), 2)))


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


class _Proof:
    """What has to be equal: the bytes before, between and after the values. `numbers`: parts that have to be numbers.

    Args:
        line: the one that the pattern is made of. spans: its values, in order, each with where it is in the line.
        last: the number of the mark at its end.
    """

    def __init__(self, line: bytes, spans: Sequence[tuple[Span, int, int]], numbers: Sequence[Span], last: int) -> None:
        self._numbers = numbers
        ends = [0, *(end for _, _, end in spans)]
        runs = [
            line[end:start] for end, start in zip(ends, [*(start for _, start, _ in spans), len(line)], strict=True)
        ]
        self._lengths = np.array([len(run) for run in runs])
        self._from = _columns([span.end for span, _, _ in spans])
        self._to = _columns([*(span.start for span, _, _ in spans), Place(last, 0)])
        words = [(at, offset, *_word(run, offset)) for at, run in enumerate(runs) for offset in _offsets(len(run))]
        self._runs, self._offsets = (np.array([each[at] for each in words]) for at in (0, 1))
        self._texts, self._masks = (np.array([each[at] for each in words], np.uint64) for at in (2, 3))

    def fits(self, block: _Bytes, starts: Places, marks: Places) -> NDArray[np.bool_]:
        """Which of some lines are as the one that the pattern is made of."""
        begin = np.empty((len(marks), len(self._lengths)), np.int64)
        begin[:, 0] = starts
        begin[:, 1:] = marks[:, self._from[0]] + self._from[1]
        fits: NDArray[np.bool_] = ((marks[:, self._to[0]] + self._to[1] - begin) == self._lengths).all(axis=1)
        rows = np.flatnonzero(fits)
        words = block.words[(begin if len(rows) == len(marks) else begin[rows])[:, self._runs] + self._offsets]
        fits[rows] = ((words & self._masks) == self._texts).all(axis=1)
        for each in self._numbers:
            rows = np.flatnonzero(fits)
            if len(rows):
                cells = block.cells(marks if len(rows) == len(marks) else marks[rows], each)
                right = pc.and_(pc.match_substring_regex(cells, _NUMBER), pc.less(pc.binary_length(cells), _DIGITS))
                fits[rows] = right.to_numpy(zero_copy_only=False)
        return fits


def _columns(places: Sequence[Place]) -> tuple[Places, Places]:
    return np.array([each.mark for each in places], np.int64), np.array([each.offset for each in places], np.int64)


def _offsets(length: int) -> list[int]:
    """Where the words begin that cover some bytes; the last one may overlap the one before."""
    return [0] if length < _WORD else [*range(0, length - _WORD, _WORD), length - _WORD]


def _word(run: bytes, offset: int) -> tuple[int, int]:
    """The eight bytes at a place as a number, and the mask of those that count."""
    part = run[offset : offset + _WORD]
    return int.from_bytes(part, "little"), (1 << 8 * len(part)) - 1


def _pattern(line: bytes) -> Pattern | None:
    """The pattern of a line; None where it is no strict JSON, or nothing that is written alike."""
    try:
        value = parse(line)
        return _Walk(line).pattern(value) if isinstance(value, dict) else None
    except (JsonError, _UnusualError, RecursionError):
        return None


class _UnusualError(Exception):
    """A line has something of which patterns do not know."""


class _Walk:
    """One way through the tokens of a line, which is strict JSON."""

    def __init__(self, line: bytes) -> None:
        self._line = line
        self._tokens = [(found[1], found.start(1)) for found in _TOKEN.finditer(line)]
        self._at = 0
        self._quotes: list[int] = []
        self._texts: list[tuple[int, int, tuple[str, ...]]] = []
        self._numbers: list[tuple[int, int, tuple[str, ...]]] = []
        self._members: dict[str, tuple[int, int]] = {}
        self._names: set[str] = set()

    def pattern(self, value: Any) -> Pattern:
        """The pattern. Raises _UnusualError: a null, an escape in a name, several numbers without a text between."""
        self._value(())
        numbers = [bisect_right(self._quotes, start) for start, _, _ in self._numbers]
        if len(set(numbers)) < len(numbers) or 0 in numbers:
            raise _UnusualError
        texts = [(Span(*self._around(start)), start, end, path) for start, end, path in self._texts]
        digits = [(self._span(start, end), start, end, path) for start, end, path in self._numbers]
        spans = sorted((each[:3] for each in (*texts, *digits)), key=lambda each: each[1])
        proof = _Proof(self._line, spans, [each[0] for each in digits], len(self._quotes))
        return Pattern(
            value,
            frozenset(self._names),
            {name: self._span(*where) for name, where in self._members.items()},
            {path: span for span, _, _, path in texts if path},
            {path: span for span, _, _, path in digits if path},
            proof,
        )

    def _around(self, start: int) -> tuple[Place, Place]:
        """The places of a text from after its first quote to its last."""
        mark = bisect_right(self._quotes, start - 1) - 1
        return Place(mark, 1), Place(mark + 1, 0)

    def _span(self, start: int, end: int) -> Span:
        return Span(self._place(start), self._place(end))

    def _place(self, at: int) -> Place:
        """A place from the quote before it; from the one after it where a number is between."""
        mark = bisect_right(self._quotes, at - 1) - 1
        if any(self._quotes[mark] < start and end <= at for start, end, _ in self._numbers):
            mark += 1
        return Place(mark, at - [*self._quotes, len(self._line)][mark])

    def _next(self) -> tuple[bytes, int]:
        self._at += 1
        return self._tokens[self._at - 1]

    def _value(self, path: tuple[str, ...] | None) -> int:
        """Goes over a value, of which a path is known outside of lists; gives where it ends."""
        token, start = self._next()
        end = start + len(token)
        if token == b"{":
            return self._object(path)
        if token == b"[":
            return self._list()
        if token.startswith(b'"'):
            self._quotes += [start, end - 1]
            self._texts.append((start + 1, end - 1, path or ()))
        elif token == b"null":
            raise _UnusualError
        elif token not in (b"true", b"false"):
            self._numbers.append((start, end, path or ()))
        return end

    def _object(self, path: tuple[str, ...] | None) -> int:
        token, start = self._next()
        while token != b"}":
            if token == b",":
                token, start = self._next()
            if b"\\" in token:
                raise _UnusualError
            self._quotes += [start, start + len(token) - 1]
            name = token[1:-1].decode()
            self._names.add(name)
            self._next()  # the colon
            begin = self._tokens[self._at][1]
            end = self._value(None if path is None or len(path) > 1 else (*path, name))
            if path == ():
                self._members[name] = begin, end
            token, start = self._next()
        return start + 1

    def _list(self) -> int:
        token, start = self._tokens[self._at]
        if token == b"]":
            self._at += 1
        while token != b"]":
            self._value(None)
            token, start = self._next()
        return start + 1
