"""Helpers over text columns: Python sees distinct values, Arrow sees rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from functools import cached_property
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.errors import Place
from fhirspace.standards.units import canonical_number
from fhirspace.tables.text import has

Cells = tuple[str | None, ...]
FEW: Final = 256
"""Rows up to which Python groups faster than Arrow."""
_MOST_CODES: Final = 1 << 62


def text(table: pa.Table, name: str) -> pa.Array:
    """A column as one string array, null throughout where the table has no such column."""
    if not has(table, name):
        return pa.nulls(table.num_rows, pa.string())
    column = table[name]
    if column.type != pa.string():
        column = column.cast(pa.string())
    if not isinstance(column, pa.ChunkedArray):
        return column
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def together(several: Iterable[tuple[pa.Table | pa.RecordBatch, str]]) -> pa.ChunkedArray:
    """A column of each of some tables, one after the other, null where a table has none."""
    chunks: list[pa.Array] = []
    for table, name in several:
        at = table.schema.get_field_index(name)
        cells = table.column(at) if at >= 0 else pa.nulls(table.num_rows, pa.string())
        cells = cells if cells.type == pa.string() else cells.cast(pa.string())
        chunks += cells.chunks if isinstance(cells, pa.ChunkedArray) else [cells]
    return pa.chunked_array(chunks, pa.string())


def distinct(cells: pa.ChunkedArray) -> list[str]:
    """The texts that a column has, each once."""
    texts = cells if cells.type == pa.string() else cells.cast(pa.string())
    return [cell for cell in texts.unique().to_pylist() if cell is not None]


def filled(table: pa.Table, name: str) -> bool:
    """Whether the table has the column and at least one of its cells is filled."""
    return has(table, name) and table[name].null_count < table.num_rows


def filled_columns(tables: Mapping[str, pa.Table]) -> dict[str, frozenset[str]]:
    """By dataset, its columns with at least one filled cell; a dataset without rows has none."""
    return {
        name: frozenset(column for column in table.column_names if filled(table, column))
        for name, table in tables.items()
    }


def fill(table: pa.Table, name: str, values: pa.Array) -> tuple[pa.Table, int]:
    """Fill the empty cells of a column, adding it where it is missing; a filled cell is never changed.

    Returns:
        The table and how many cells were filled (none: the table as it was).
    """
    before = text(table, name)
    after = pc.coalesce(before, values)
    count = before.null_count - after.null_count
    if not count:
        return table, 0
    return put(table, name, after), count


def put(table: pa.Table, name: str, values: pa.Array) -> pa.Table:
    """The table with a column replaced, or appended where it is new."""
    if has(table, name):
        return table.set_column(table.schema.get_field_index(name), name, values)
    return table.append_column(name, values)


class Groups:
    """Rows grouped by the cells of some columns: `codes` numbers each row's group, from 0 to `count`, as they come."""

    def __init__(self, table: pa.Table, names: Sequence[str]) -> None:
        self._group([text(table, name) for name in names], table.num_rows)

    @classmethod
    def of(cls, arrays: Sequence[pa.Array], rows: int) -> Groups:
        """Rows grouped by arrays of texts or truth values."""
        made = cls.__new__(cls)
        made._group(arrays, rows)
        return made

    def _group(self, arrays: Sequence[pa.Array], rows: int) -> None:
        self._columns, self._rows = arrays, rows
        self._few: list[Cells] | None = None
        if arrays and rows <= FEW:
            self._index, self._few = _numbered_few(arrays)
            self.count = len(self._few)
        else:
            self._index, self.count = _numbered(arrays, rows)

    @cached_property
    def codes(self) -> pa.Array:
        """The number of each row's group."""
        return pa.array(self._index, pa.int64())

    @cached_property
    def distinct(self) -> list[pa.Array]:
        """The cells of each group, column by column."""
        firsts = pa.array(_first_rows(self._index, self.count))
        return [column.take(firsts) for column in self._columns]

    @cached_property
    def cells(self) -> list[Cells]:
        """The cells of each group."""
        if self._few is not None:
            return self._few
        return list(zip(*(column.to_pylist() for column in self.distinct), strict=True))

    def spread(self, values: Iterable[str | None]) -> pa.Array:
        """One value a group -> a string array with one value a row."""
        return pa.array(list(values), pa.string()).take(self.codes)

    def flags(self, values: Iterable[bool]) -> pa.Array:
        """One truth value a group -> a boolean array with one value a row."""
        return pa.array(list(values), pa.bool_()).take(self.codes)

    def sizes(self) -> list[int]:
        """The number of rows of each group."""
        counts: list[int] = np.bincount(self._index, minlength=self.count).tolist()
        return counts

    def first_rows(self) -> list[int]:
        """The first row of each group."""
        rows: list[int] = _first_rows(self._index, self.count).tolist()
        return rows


def _numbered_few(arrays: Sequence[pa.Array]) -> tuple[np.ndarray[Any, Any], list[Cells]]:
    """The number of each row's group, and the cells of each, of few rows: calls of Arrow would cost more."""
    numbers: dict[Cells, int] = {}
    rows = zip(*(array.to_pylist() for array in arrays), strict=True)
    codes = [numbers.setdefault(cells, len(numbers)) for cells in rows]
    return np.array(codes, np.int64), list(numbers)


def _numbered(arrays: Sequence[pa.Array], rows: int) -> tuple[np.ndarray[Any, Any], int]:
    """The same of any rows."""
    index, count, dense = np.zeros(rows, np.int64), min(rows, 1), True
    known: list[np.ndarray[Any, Any]] = []
    for array in arrays:
        encoded = pc.dictionary_encode(array, null_encoding="encode")
        size, codes = len(encoded.dictionary), encoded.indices.to_numpy()
        if size < 2 or any(np.array_equal(codes, each) for each in known):
            continue  # it divides no group
        if count * size > _MOST_CODES:
            index, count = _dense(index)
        index, count, dense = index * size + codes, count * size, not known
        known.append(codes)
    return (index, count) if dense else _dense(index)


def _dense(index: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], int]:
    """Numbers from 0 on, as they come."""
    encoded = pa.array(index).dictionary_encode()
    return encoded.indices.to_numpy().astype(np.int64), len(encoded.dictionary)


def first_rows(codes: pa.Array, count: int) -> list[int]:
    """The first row of each of `count` codes; 0 of one that no row has."""
    rows: list[int] = _first_rows(codes.to_numpy(), count).tolist()
    return rows


def _first_rows(codes: np.ndarray[Any, Any], count: int) -> np.ndarray[Any, Any]:
    found = np.zeros(count, np.int64)
    found[codes[::-1]] = np.arange(len(codes) - 1, -1, -1)  # of equal numbers, the last one's is what is left
    return found


def by_distinct(values: pa.Array, function: Callable[[str], Any], kind: pa.DataType) -> pa.Array:
    """A function applied to each distinct cell; null stays null."""
    encoded = values.dictionary_encode()
    results = pa.array([function(value) for value in encoded.dictionary.to_pylist()], kind)
    return results if len(results) == len(values) else results.take(encoded.indices)  # no two cells are alike


def ranks(values: pa.Array, *, numeric: bool) -> pa.Array:
    """The order of each cell as an integer: null first, numbers by size, other texts by their bytes after them."""
    encoded = values.dictionary_encode()
    distinct = encoded.dictionary
    if numeric:
        texts = distinct.to_pylist()
        order = pa.array(sorted(range(len(texts)), key=lambda at: _number_order(texts[at])), pa.int64())
    else:
        order = pc.sort_indices(distinct).cast(pa.int64())
    places = pc.sort_indices(order).cast(pa.int64())  # the inverse of a permutation is its own sort order
    return pc.fill_null(places.take(encoded.indices), -1)


def _number_order(cell: str) -> tuple[int, Decimal, str]:
    number = canonical_number(cell)
    return (0, Decimal(number), cell) if number is not None else (1, Decimal(0), cell)


def run_starts(sorted_codes: pa.Array) -> pa.Array:
    """For codes in sorted order (at least one): the position at which the run of each row starts."""
    runs = pc.run_end_encode(sorted_codes, run_end_type=pa.int64())
    ends = runs.run_ends
    starts = pa.concat_arrays([pa.array([0], pa.int64()), ends.slice(0, len(ends) - 1)])
    return pc.run_end_decode(pa.RunEndEncodedArray.from_arrays(ends, starts))


def places(table: pa.Table, dataset: str, rows: Sequence[int], column: str | None = None) -> list[Place]:
    """Where rows of a table came from: its ``@file`` and ``@row``, or the dataset and the row's own number."""
    if not rows:
        return []
    at = pa.array(rows, pa.int64())
    files = text(table, "@file").take(at).to_pylist()
    numbers = table["@row"].take(at).to_pylist() if has(table, "@row") else [row + 2 for row in rows]
    return [Place(file or dataset, number, column) for file, number in zip(files, numbers, strict=True)]


def lookup(table: pa.Table, key: str, value: str) -> Mapping[str, str]:
    """Key cell -> value cell where both are filled; the first row of a key wins."""
    found: dict[str, str] = {}
    for name, cell in zip(text(table, key).to_pylist(), text(table, value).to_pylist(), strict=True):
        if name is not None and cell is not None:
            found.setdefault(name, cell)
    return found
