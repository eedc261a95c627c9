"""Which cells of a record its rows do not give back, so that they have to be carried."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.forms.columns import Columns
from fhirspace.forms.model import Document, FormMapping, Line, Source
from fhirspace.tables.text import TEXT

SAYS_UNKNOWN = r"^(?i:UN|UNK|UNKN|UNKNOWN|NK|XX+|[^0-9A-Za-z])+$"
"""Cells of which nothing is known (``UN UNK UNKN``, ``--:--``): an empty variable says as much."""
_HINTS = {
    "DTC": "an ISO 8601 date, or the shape of the dates in the mapping, as in day(DD/MM/YYYY)",
    "Num": "a number, with a point and no thousands mark",
    "Char": "a cell that the codec of its variable takes, and that meets the conditions of the mapping",
}


@dataclass(slots=True)
class Written:
    """One line written for all records: where it has a row, and its supplemental variables with carried cells."""

    document: Document
    line: Line
    present: pa.Array
    carried: dict[str, pa.Array] = field(default_factory=dict)


def same(cells: pa.Array, read: pa.Array) -> pa.Array:
    """Where two cells are equal, or both are empty."""
    return pc.or_(pc.fill_null(pc.equal(cells, read), False), pc.and_(cells.is_null(), read.is_null()))


def read_back(form: FormMapping, columns: Columns, written: list[Written], name: str) -> pa.Array:
    """A column as it would be read from the rows."""
    found = pa.nulls(columns.count, TEXT)
    for source in form.sources.get(name, ()):
        if not found.null_count:
            break
        each = written[source.line]
        cells = pc.if_else(each.present, _cells_from(source, columns), pa.scalar(None, TEXT))
        found = pc.coalesce(found, cells)
    return pc.fill_null(found, form.ticks[name]) if name in form.ticks else found


def _cells_from(source: Source, columns: Columns) -> Any:
    if source.cell is None:
        return pa.scalar(source.text, TEXT)
    if source.text is not None:
        return pc.if_else(columns.written(source.cell).is_null(), source.text, pa.scalar(None, TEXT))
    return columns.read(source.cell)[source.column]


def unused(columns: Columns, written: list[Written], name: str) -> tuple[pa.Array, str] | None:
    """Where a column has a filled cell that is in no variable though one has a slot for it, and what was expected.

    None where no variable has a slot for the column. Cells that say that nothing is known are none.
    """
    used, kinds = None, set[str]()
    for each in written:
        for cell in {id(cell): cell for _, cell in each.line.cells}.values():
            here = columns.used(cell, name)
            if here is not None:
                kinds.add(cell.kind)
                here = pc.and_(here, pc.fill_null(each.present, False))
                used = here if used is None else pc.or_(used, here)
    if used is None:
        return None
    silent = pc.fill_null(pc.match_substring_regex(columns.cells(name), SAYS_UNKNOWN), True)
    expected = next((hint for kind, hint in _HINTS.items() if kind in kinds), _HINTS["Char"])
    return pc.invert(pc.or_(used, silent)), expected
