"""Text tables to CSV (RFC 4180, UTF-8, LF), column by column; same table, same bytes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.errors import InputError, Place, Problem
from fhirspace.limits import limit
from fhirspace.tables.csv.fast import formulas
from fhirspace.tables.csv.scan import check_cell
from fhirspace.tables.text import FILE, ROW, TEXT, data_columns, place

Formulas = Literal["refuse", "keep"]
_BATCH = 32_768
_CONTROL = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x{9f}]"


def write(table: pa.Table, path: Path, *, formulas: Formulas = "refuse") -> None:
    """Writes the data columns of a text table; a missing cell is empty, and a cell is quoted only where it must be.

    Args:
        table: a text table with at least one data column.
        path: the file, which is replaced.
        formulas: whether to refuse cells that a spreadsheet would run. `read` refuses such cells, so that a file
            with them would not read back.

    Raises:
        InputError: FS106 for a control character, FS111 for a formula, FS108 for no column; the place is that of
            the row in the table and nothing is written.
    """
    names = data_columns(table)
    if not names:
        raise InputError("FS108", Place(path.name), "at least one data column")
    for name in names:
        for code, expected in check_cell(name):
            raise InputError(code, Place(path.name, 1), expected)
    _check(table, names, formulas)
    with path.open("wb") as stream:
        stream.write(",".join(quoted(name) for name in names).encode() + b"\n")
        for batch in table.select(names).to_batches(max_chunksize=_BATCH):
            stream.write(_lines(batch))


def quoted(cell: str) -> str:
    """One cell as it is written to the file."""
    return '"' + cell.replace('"', '""') + '"' if any(sign in cell for sign in '",\r\n') else cell


def _check(table: pa.Table, names: list[str], formulas_allowed: Formulas) -> None:
    origin = table.select([name for name in (FILE, ROW) if name in table.schema.names])
    for name in names:
        start = 0
        for chunk in table.column(name).chunks:
            at = _first_fault(chunk, formulas_allowed)
            if at is not None:
                cell = chunk[at].as_py()
                fault = next(item for item in check_cell(cell) if item[0] != "FS111" or formulas_allowed == "refuse")
                raise InputError(fault[0], place(origin, start + at, name), fault[1])
            start += len(chunk)


def unwritable(table: pa.Table) -> Iterator[tuple[int, str, Problem]]:
    """The row, the column and the fault of each cell that `write` refuses; the place is that of the row."""
    origin = table.select([name for name in (FILE, ROW) if name in table.schema.names])
    for name in data_columns(table):
        start = 0
        for chunk in table.column(name).chunks:
            for at in pc.indices_nonzero(_faulty(chunk, "refuse")).to_pylist():
                code, expected = check_cell(chunk[at].as_py())[0]
                yield start + at, name, Problem(code, place(origin, start + at, name), expected)
            start += len(chunk)


def _first_fault(chunk: pa.Array, formulas_allowed: Formulas) -> int | None:
    """The first cell of a chunk that must not be written."""
    at = pc.index(_faulty(chunk, formulas_allowed), True).as_py()
    return None if at < 0 else int(at)


def _faulty(chunk: pa.Array, formulas_allowed: Formulas) -> pa.Array:
    """Which cells of a chunk must not be written; distinct values are looked at once."""
    values = chunk.dictionary if pa.types.is_dictionary(chunk.type) else chunk
    bad = pc.or_(pc.match_substring_regex(values, _CONTROL), pc.greater(pc.binary_length(values), limit("cell-bytes")))
    risky = formulas(values) if formulas_allowed == "refuse" else None
    bad = pc.fill_null(bad if risky is None else pc.or_(bad, risky), False)
    return bad if values is chunk else pc.fill_null(pc.take(bad, chunk.indices), False)


def _lines(batch: pa.RecordBatch) -> Any:
    """The buffer with the lines of a batch."""
    columns = [_quoted(column) for column in batch.columns]
    if len(columns) == 1:  # an empty line would be no record
        columns[0] = pc.fill_null(columns[0], '""')
    columns[-1] = pc.binary_join_element_wise(columns[-1], "\n", "", null_handling="replace", null_replacement="")
    joined = columns[0]
    if len(columns) > 1:
        joined = pc.binary_join_element_wise(*columns, ",", null_handling="replace", null_replacement="")
    # The lines are contiguous in the array's own buffer.
    return joined.buffers()[2].slice(0, pc.sum(pc.binary_length(joined)).as_py())


def _quoted(column: pa.Array) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        return pc.take(_quoted(column.dictionary), column.indices)
    needed = pc.match_substring_regex(column.cast(TEXT), '[",\r\n]')
    if not pc.any(needed).as_py():
        return column
    return pc.if_else(needed, pc.binary_join_element_wise("", pc.replace_substring(column, '"', '""'), "", '"'), column)
