"""Small text tables for the tests of SDTM derivations."""

from __future__ import annotations

import pyarrow as pa


def table(header: str, *rows: str) -> pa.Table:
    """A text table out of lines; cells are split by "|" and trimmed, an empty one is missing."""
    names = [name.strip() for name in header.split("|")]
    cells = [[cell.strip() or None for cell in row.split("|")] for row in rows]
    return pa.table({name: pa.array([row[at] for row in cells], pa.string()) for at, name in enumerate(names)})


def cells(table: pa.Table, *names: str) -> list[str]:
    """The rows of some columns as lines, a missing cell as "-"."""
    columns = [table[name].to_pylist() if name in table.column_names else [None] * table.num_rows for name in names]
    return ["|".join("-" if cell is None else str(cell) for cell in row) for row in zip(*columns, strict=True)]
