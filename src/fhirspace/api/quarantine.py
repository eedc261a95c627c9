"""The quarantine of an output folder as tables."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pyarrow as pa


def quarantined_tables(folder: Path) -> dict[str, pa.Table]:
    """What ``quarantine/`` holds, by the name of the table or file.

    Rows of tables are tables of text, cells as they are in the file; a row may have more cells than there are columns,
    which are in columns ``@1``, ``@2`` and so on. Of FHIR, and of files that cannot be read, each line is a row.
    """
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    return {path.name.removesuffix(".csv"): _table(path) for path in files}


def _table(path: Path) -> pa.Table:
    text = path.read_bytes().decode("utf-8", "replace")
    if path.suffix != ".csv":
        return pa.table({"line": text.splitlines()})
    try:
        header, *rows = list(csv.reader(io.StringIO(text, newline="")))
    except (csv.Error, ValueError):  # the whole of a file that could not be read, or a very long cell
        return pa.table({"line": text.splitlines()})
    widest = max(map(len, rows), default=0)
    names = [*header, *(f"@{number}" for number in range(1, widest - len(header) + 1))]
    columns = [[row[at] or None if at < len(row) else None for row in rows] for at in range(len(names))]
    return pa.Table.from_arrays([pa.array(cells, pa.string()) for cells in columns], names=names)
