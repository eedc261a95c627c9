"""A pattern: made of one line, and compared with others."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from fhirspace.fhir.patterns.block import Block, Place, Places, Span, offsets, word
from fhirspace.json import JsonError, parse

_NUMBER: Final = r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?$"
_DIGITS: Final = 300
"""Signs of a number that a double can hold in any case. Longer ones, and exponents, are left to `parse`."""
_TOKEN: Final = re.compile(rb'\s*("(?:[^"\\]|\\.)*"|[][{}:,]|[^][{}:,\s"]+)', re.DOTALL)
_TYPE: Final = ("resourceType",)
"""A text that is a part of the pattern, so that its lines are of one type."""
_ROWS: Final = 256
"""Lines that are compared at once, so that what is between stays in the cache of the processor."""


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

    def fits(self, block: Block, starts: Places, marks: Places) -> NDArray[np.bool_]:
        """Which of some lines of a block are written like this, from their starts and marks (see `Block`)."""
        return self._proof.fits(block, starts, marks)


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
        counted = set(numbers)
        self._digits = np.flatnonzero([span in counted for span, _, _ in spans])
        self._from = _columns([span.end for span, _, _ in spans])
        self._to = _columns([*(span.start for span, _, _ in spans), Place(last, 0)])
        words = [(at, offset, *word(run, offset)) for at, run in enumerate(runs) for offset in offsets(len(run))]
        self._runs, self._offsets = (np.array([each[at] for each in words]) for at in (0, 1))
        self._texts, self._masks = (np.concatenate([each[at] for each in words]) for at in (2, 3))

    def fits(self, block: Block, starts: Places, marks: Places) -> NDArray[np.bool_]:
        """Which of some lines are as the one that the pattern is made of."""
        fits = np.concatenate(
            [self._alike(block, starts[at : at + _ROWS], marks[at : at + _ROWS]) for at in range(0, len(marks), _ROWS)]
        )
        for each in self._numbers:
            rows = np.flatnonzero(fits)
            if len(rows):
                cells = block.cells(*block.places(marks if len(rows) == len(marks) else marks[rows], each))
                right = pc.and_(pc.match_substring_regex(cells, _NUMBER), pc.less(pc.binary_length(cells), _DIGITS))
                fits[rows] = right.to_numpy(zero_copy_only=False)
        return fits

    def _alike(self, block: Block, starts: Places, marks: Places) -> NDArray[np.bool_]:
        """Which of some lines have the same bytes between their values."""
        begin = np.empty((len(marks), len(self._lengths)), np.int64)
        begin[:, 0] = starts
        begin[:, 1:] = np.take(marks, self._from[0], axis=1) + self._from[1]
        ends = np.take(marks, self._to[0], axis=1)
        ends += self._to[1]
        fits: NDArray[np.bool_] = (ends - begin == self._lengths).all(axis=1)
        # Where a number is missing, what has to be before and after it may overlap.
        fits &= (begin[:, self._digits + 1] > ends[:, self._digits]).all(axis=1)
        rows = np.flatnonzero(fits)
        places = np.take(begin if len(rows) == len(marks) else begin[rows], self._runs, axis=1)
        places += self._offsets
        words = block.words_at(places)
        words &= self._masks
        fits[rows] = (words == self._texts).all(axis=1)
        return fits


def _columns(places: Sequence[Place]) -> tuple[Places, Places]:
    return np.array([each.mark for each in places], np.int64), np.array([each.offset for each in places], np.int64)


def pattern_of(line: bytes) -> Pattern | None:
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
        before = bisect_right(self._numbers, at, key=lambda each: each[1]) - 1
        if before >= 0 and self._quotes[mark] < self._numbers[before][0]:
            mark += 1
        return Place(mark, at - (self._quotes[mark] if mark < len(self._quotes) else len(self._line)))

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
            if path != _TYPE:
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
