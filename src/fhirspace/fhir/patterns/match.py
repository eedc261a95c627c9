"""The lines of a block that are written alike, by the patterns of those before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa

from fhirspace.fhir.patterns.block import Block, Places, Span
from fhirspace.fhir.patterns.pattern import Pattern, pattern_of
from fhirspace.tables.text import TEXT

_FEW: Final = 20
"""Lines of which no pattern is made."""
_MOST_NEW: Final = 8
"""Patterns that are made for one block."""
_MOST_KNOWN: Final = 200


@dataclass(frozen=True, slots=True, eq=False)
class Alike:
    """The lines of a block that fit a pattern. `rows`: their numbers in the block, in order."""

    pattern: Pattern
    rows: Places
    _block: Block
    _marks: Places

    @property
    def escaped(self) -> bool:
        """Whether texts of the block have escapes."""
        return self._block.escaped

    def cells(self, span: Span, kind: pa.DataType = TEXT) -> pa.Array:
        """A part of each line, as it is written; a dictionary where it is the same in all lines."""
        places = self._block.places(self._marks, span)
        same = self._block.same(*places)
        if same is None:
            return self._block.cells(*places, kind)
        return pa.DictionaryArray.from_arrays(pa.array(np.zeros(len(self.rows), np.int32)), pa.array([same], kind))


class Patterns:
    """The patterns of lines so far.

    Args:
        usable: whether the caller can read the lines of a pattern.
    """

    def __init__(self, usable: Callable[[Pattern], bool]) -> None:
        self._usable = usable
        self._known: dict[int, list[Pattern]] = {}
        self._count = 0

    def divided(self, text: bytes) -> tuple[list[Alike], Places]:
        """The lines of a text (with a line end each) that are written alike, and the numbers of all others."""
        block = Block.of(text)
        if block is None:
            return [], np.arange(text.count(b"\n"))
        found, new = list[Alike](), _MOST_NEW
        for marks in np.unique(block.counts[~block.odd]).tolist():
            rows = np.flatnonzero((block.counts == marks) & ~block.odd)
            for pattern in self._known.get(marks, ()):
                rows = self._take(found, block, pattern, rows)
            while new and len(rows) >= _FEW and self._count < _MOST_KNOWN:
                new -= 1
                made = pattern_of(block.line(int(rows[0])))
                if made is None or not self._usable(made):
                    break
                self._known.setdefault(marks, []).append(made)
                self._count += 1
                rows = self._take(found, block, made, rows)
        rest = np.arange(len(block.starts))
        return found, np.delete(rest, np.concatenate([each.rows for each in found])) if found else rest

    def _take(self, found: list[Alike], block: Block, pattern: Pattern, rows: Places) -> Places:
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
