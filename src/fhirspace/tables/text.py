"""The conventions of a text table, and the few operations on it that every format shares.

A text table is a `pyarrow.Table` whose data columns are ``string`` or ``dictionary<int32, string>``. A missing cell is
null, never ``""``, and a cell of blanks only is missing, as in SAS. Two reserved columns say where a row came from:
``@file`` and ``@row`` (the header is row 1, the first record row 2, as a spreadsheet counts). Columns whose name starts
with ``@`` or ``_`` are never written to an output format.
"""

from __future__ import annotations

from array import array as machine_array
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from math import isfinite
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.errors import Place
from fhirspace.foreign import in_utf8

FILE = "@file"
ROW = "@row"
FORM = "@form"
"""The column with the form that made a row, where forms have time zones of their own."""
TEXT = pa.string()
DICTIONARY = pa.dictionary(pa.int32(), pa.string())
_FEW, SAMPLE = 1_000, 20_000


def is_reserved(name: str) -> bool:
    """Whether a column is of ours (``@file``, ``@row``, a derived ``_X``) and must not reach an output format."""
    return name.startswith(("@", "_"))


def has(table: pa.Table | pa.RecordBatch, name: str) -> bool:
    """Whether a table has a column; the time does not depend on the number of its columns."""
    return bool(table.schema.get_field_index(name) >= 0)


def data_columns(table: pa.Table | pa.RecordBatch) -> list[str]:
    """The names of the columns that hold data, in the order of the table."""
    return [name for name in table.schema.names if not is_reserved(name)]


def without_reserved(table: pa.Table) -> pa.Table:
    """The table with its data columns only."""
    return table.select(data_columns(table))


def from_columns(
    columns: Mapping[str, Sequence[str | None]], *, file: str, rows: Sequence[int] | None = None
) -> pa.Table:
    """A text table out of Python lists; empty and blank cells become null.

    Args:
        columns: the cells of each column, all of one length.
        file: the file name that ``@file`` shows.
        rows: the row numbers that ``@row`` shows; 2, 3, 4 ... when absent.
    """
    arrays = {name: blank_to_null(pa.array(cells, TEXT)) for name, cells in columns.items()}
    count = len(next(iter(arrays.values()))) if arrays else len(rows or ())
    numbers = row_column(2, count) if rows is None else pa.array(rows, pa.int64())
    return pa.table({**arrays, FILE: file_column(file, count), ROW: numbers})


def with_provenance(table: pa.Table, file: str, first_row: int = 2) -> pa.Table:
    """The table with ``@file`` and ``@row`` (counting from `first_row`) set; those it had are replaced."""
    kept = table.select([name for name in table.schema.names if name not in (FILE, ROW)])
    count = table.num_rows
    return kept.append_column(FILE, file_column(file, count)).append_column(ROW, row_column(first_row, count))


def file_column(file: str, count: int) -> pa.DictionaryArray:
    """The ``@file`` column: one file name for `count` rows."""
    return pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int32()), count), pa.array([in_utf8(file)], TEXT))


def row_column(first: int, count: int) -> pa.Int64Array:
    """The ``@row`` column: `count` numbers from `first` on."""
    numbers = machine_array("q", range(first, first + count))
    return pa.Array.from_buffers(pa.int64(), count, [None, pa.py_buffer(numbers)])


def encode(array: Any) -> Any:
    """A column as ``dictionary<int32, string>``, with one dictionary over all chunks."""
    if not pa.types.is_dictionary(array.type):
        return pc.dictionary_encode(array)
    array = array if array.type == DICTIONARY else array.cast(DICTIONARY)
    return array.unify_dictionaries() if isinstance(array, pa.ChunkedArray) else array


def repeats(column: pa.ChunkedArray) -> bool:
    """Whether the values of a text column recur so often (four times and more) that a dictionary pays."""
    sample = column.slice(0, SAMPLE)
    return len(sample) >= _FEW and pc.count_distinct(sample).as_py() * 4 <= len(sample)


def compact(array: Any) -> Any:
    """A dictionary column as ``string`` where its values recur too seldom for a dictionary to pay."""
    few = pa.types.is_dictionary(array.type) and len(array) >= _FEW and len(array.dictionary) * 4 <= len(array)
    return array if few else decode(array)


def decode(array: Any) -> Any:
    """A column as ``string``."""
    return array if array.type == TEXT else array.cast(TEXT)


def blank_to_null(array: Any) -> Any:
    """The column (array or chunked array) with null for each cell that is empty or holds blanks only."""
    if isinstance(array, pa.ChunkedArray):
        return pa.chunked_array([blank_to_null(chunk) for chunk in array.chunks], array.type)
    if pa.types.is_dictionary(array.type):
        return _blank_dictionary(array)
    # Most columns hold no such cell: two scans that do not allocate text tell so before a pattern is tried.
    if not _any(pc.equal(array, "")) and not _any(pc.starts_with(array, " ")):
        return array
    return pc.if_else(pc.fill_null(_is_blank(array), False), pa.scalar(None, TEXT), array)


def _blank_dictionary(array: pa.DictionaryArray) -> pa.DictionaryArray:
    blank = pc.fill_null(_is_blank(array.dictionary), True)
    if not _any(blank):
        return array
    kept = array.dictionary.filter(pc.invert(blank))
    positions = pc.index_in(array.dictionary, value_set=kept, skip_nulls=True)
    indices = pc.take(positions, array.indices).cast(pa.int32())
    return pa.DictionaryArray.from_arrays(indices, kept)


def _is_blank(array: pa.Array) -> pa.Array:
    return pc.equal(pc.utf8_ltrim(array, " "), "")


def _any(flags: Any) -> bool:
    return bool(pc.any(flags).as_py())


def as_rows(table: pa.Table, columns: Sequence[str] | None = None) -> Iterator[dict[str, str]]:
    """Each row as a dict of its filled cells, in the order of the columns.

    Args:
        table: a text table.
        columns: the columns to give; the data columns when absent.
    """
    names = data_columns(table) if columns is None else list(columns)
    for batch in table.select(names).to_batches(max_chunksize=8192):
        cells = [column.to_pylist() for column in batch.columns]
        if not cells:
            yield from ({} for _ in range(batch.num_rows))
        for row in zip(*cells, strict=True):
            yield {name: cell for name, cell in zip(names, row, strict=True) if cell is not None and cell.strip(" ")}


def place(table: pa.Table | pa.RecordBatch, i: int, column: str | None = None) -> Place:
    """Where row `i` (counting from 0) of a text table came from."""
    file = table.column(FILE)[i].as_py() if has(table, FILE) else ""
    row = table.column(ROW)[i].as_py() if has(table, ROW) else i + 2
    return Place(file, row, column)


def number_text(value: float) -> str | None:
    """The shortest decimal text that reads back to the same number, without exponent; None for NaN and infinities.

    ``1.0`` gives ``"1"``, ``5.5`` gives ``"5.5"``, ``1e-7`` gives ``"0.0000001"``.
    """
    if not isfinite(value):
        return None
    if value == 0:
        return "0"
    text = format(Decimal(repr(value)), "f")
    return text.removesuffix(".0")
