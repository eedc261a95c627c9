"""Cells that a SAS transport file cannot store losslessly.

Found by splitting and rejoining long texts before anything is written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.sdtm import columns
from fhirspace.sdtm.longtext.divide import Divided, divide, long_rows
from fhirspace.sdtm.longtext.rejoin import join
from fhirspace.tables.text import data_columns


def lossy_cells(tables: Mapping[str, pa.Table], divided: Divided | None = None) -> Iterator[tuple[str, str, int]]:
    """The cells (dataset, column, row from 0) that do not fit and cannot be cut, or would not be joined as they were.

    The latter are rare: qualifiers of one's own that look just like the parts of a text. Blanks at an end do not count.

    Args:
        tables: the tabulations; divided: what `divide` makes of them, where the caller has it already.
    """
    divided = divide(tables) if divided is None else divided
    for name, table in divided.heads.items():
        yield from ((name, column, row) for column in data_columns(table) for row in long_rows(table, column))
    joined = join(divided.whole())
    if not divided.cuts and not joined.joins:
        return
    for name, table in tables.items():
        other = joined.tables.get(name, table.slice(0, 0))
        find = _other_qualifiers if name.startswith("SUPP") else _other_cells
        yield from ((name, column, row) for column, row in find(table, other))


def _other_cells(table: pa.Table, other: pa.Table) -> Iterator[tuple[str, int]]:
    for column in data_columns(table):
        same = pc.equal(*(pc.fill_null(_plain(each, column), "") for each in (table, other)))
        yield from ((column, row) for row in pc.indices_nonzero(pc.invert(same)).to_pylist())


def _other_qualifiers(table: pa.Table, other: pa.Table) -> Iterator[tuple[str, int]]:
    """Rows that are not in the other table, whatever the order."""
    left, right = (
        list(zip(*(_plain(each, column).to_pylist() for column in data_columns(table)), strict=True))
        for each in (table, other)
    )
    there = Counter(right)
    yield from (("QVAL", row) for row, cells in enumerate(left) if not there[cells])


def _plain(table: pa.Table, column: str) -> pa.Array:
    return pc.utf8_rtrim(columns.text(table, column), " ")
