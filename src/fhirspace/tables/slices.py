"""How much text a batch holds when its repeated values are spelt out, and slices of it that fit into memory.

A dictionary keeps a long text once for any number of rows, but whatever is made of these rows spells it out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.errors import InputError, Place
from fhirspace.limits import expands_too_far, limit, too_much
from fhirspace.tables.text import TEXT

BUDGET = 1 << 25
"""The most bytes of text in a slice, unless it has one row only."""
CELLS = 1 << 22
"""The most cells in a slice: the output for a cell of a column that no mapping names takes some hundred bytes."""
_SHORT = 64
"""Texts up to this length are not counted one by one: their number times the longest is near enough."""


def check_utf8(column: Any, place: Place) -> None:
    """Refuses a column with a text that is no UTF-8: FS105 at `place`, the file, its first row and its name."""
    texts = _texts(column)
    if not _is_ascii(texts):
        try:
            texts.validate(full=True)
        except pa.ArrowInvalid:
            raise InputError("FS105", place, "text in UTF-8") from None


def slices(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """The batch, or slices of it with at most `BUDGET` bytes of text when spelt out, and `CELLS` cells (or one row)."""
    columns = [column for column in batch.columns if _is_text(column)]
    longest = list(map(_longest, columns))
    return _cut(batch, sum(map(_spelt_out, columns, longest)), sum(longest))


class Account:
    """Looks at the batches of a file: at each text, and at what all hold, which must be in proportion to the file.

    Args:
        file: its name; size: its bytes.
    """

    def __init__(self, file: str, size: int) -> None:
        self._file, self._size, self._held = file, size, 0

    def parts(self, batch: pa.RecordBatch, row: int) -> Iterator[pa.RecordBatch]:
        """The slices of a batch (see `slices`) whose first row is `row`.

        Raises:
            InputError: FS160, a cell is too long, or the file expands too far.
        """
        held = width = 0
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            if _is_text(column):
                longest = _checked(column, Place(self._file, row, name))
                held, width = held + _spelt_out(column, longest), width + longest
        self._held += held
        if expands_too_far(self._held, self._size):
            raise too_much("expansion", Place(self._file, row))
        return _cut(batch, held, width)


def _checked(column: Any, place: Place) -> int:
    """The longest text of a column; place: the file, the row of the first cell, and its name."""
    most, longest = limit("cell-bytes"), _longest(column)
    if longest > most:
        at = pc.index(pc.greater(_sizes(column), most), True).as_py()
        if at >= 0:  # a dictionary may have a text that no row names
            raise too_much("cell-bytes", Place(place.file, (place.row or 0) + at, place.column))
    return longest


def _longest(column: Any) -> int:
    """The bytes of the longest text of a column, of its dictionary where it has one."""
    return pc.max(pc.binary_length(_texts(column))).as_py() or 0


def _spelt_out(column: Any, longest: int) -> int:
    """About how many bytes a column holds when each cell is spelt out: never less than there are."""
    return len(column) * longest if longest <= _SHORT else pc.sum(_sizes(column)).as_py() or 0


def _cut(batch: pa.RecordBatch, held: int, width: int) -> Iterator[pa.RecordBatch]:
    """The batch in slices, given its size and the size of its longest texts together."""
    cells = CELLS // max(1, batch.num_columns)
    if held <= BUDGET and batch.num_rows <= cells:
        yield batch
        return
    rows = max(1, min(cells, BUDGET // max(1, width) if held > BUDGET else cells))
    for start in range(0, batch.num_rows, rows):
        yield batch.slice(start, rows)


def joined(batches: Iterable[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
    """Small batches joined to batches of so many rows, or of fewer if they are large."""
    held: list[pa.RecordBatch] = []
    count = size = 0
    for batch in batches:
        held.append(batch)
        count, size = count + batch.num_rows, size + batch.nbytes
        if count >= rows or size >= BUDGET:
            yield _one(held)
            held, count, size = [], 0, 0
    if held:
        yield _one(held)


def _one(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    table = pa.Table.from_batches(batches).unify_dictionaries().combine_chunks()
    return table.to_batches()[0]


def _is_text(column: Any) -> bool:
    return bool(pa.types.is_dictionary(column.type) or column.type == TEXT)


def _texts(column: Any) -> Any:
    return column.dictionary if pa.types.is_dictionary(column.type) else column


def _sizes(column: Any) -> Any:
    sizes = pc.binary_length(_texts(column))
    return pc.take(sizes, column.indices) if pa.types.is_dictionary(column.type) else sizes


def _is_ascii(texts: pa.StringArray) -> bool:
    """Whether no byte of the texts is beyond ASCII; a fast check of their buffers."""
    _, offsets, data = texts.buffers()
    if data is None or not len(texts):
        return True
    places = memoryview(offsets).cast("i")
    return bytes(memoryview(data)[places[texts.offset] : places[texts.offset + len(texts)]]).isascii()
