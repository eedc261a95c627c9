"""SAS transport files of version 5 to text tables and back, by way of pyreadstat.

The layout is that of the SAS technical note TS-140: records of 80 bytes; six header records, the variables at 140 bytes
each, a header record, and the rows without separators, filled up with blanks.
"""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.errors import InputError, Place, Problem
from fhirspace.tables.text import TEXT, blank_to_null, decode, encode, number_text, repeats, with_provenance
from fhirspace.tables.xpt.checks import Checked, Variable, check, lengths
from fhirspace.tables.xpt.headers import LINE, MAGIC, MEMBER, Layout, layout

__all__ = ["MAGIC", "Checked", "Layout", "Variable", "check", "layout", "read", "write"]

_DATES = (144, 160, 464, 480)
"""The positions of the creation and change times of the library and of the dataset, 16 bytes each."""
_MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
_LAST = "WINDOWS-1252"
"""The encoding of texts that are not UTF-8."""
_CHUNK = 250_000
_CELLS = 1 << 21
"""Rows, and cells, that are read at a time."""


def read(path: Path) -> tuple[pa.Table, list[Problem]]:
    """Reads a transport file to text: numbers as their shortest exact text, text without trailing blanks.

    Each field of the table's schema holds the variable's ``label``, ``type`` (Char or Num) and ``length`` as metadata,
    the schema the dataset's ``name`` and ``label``. Missing numbers, the special ones (.A to .Z) too, become null.

    Returns:
        The text table with ``@file`` and ``@row`` (the first row is 2), and what was noticed: FS138 when the text was
        not UTF-8 and was read as Windows-1252, FS130 for each special missing value.

    Raises:
        InputError: FS101 (no file), FS103 (no row), FS104 (cut short), FS131 (not version 5 with one dataset), FS132,
            FS160 (more than a bound allows).
    """
    place = layout(path)
    problems: list[Problem] = []
    try:
        table = _read(path, "UTF-8", place.columns)
    except UnicodeDecodeError:
        table = _read(path, _LAST, place.columns)
        problems = [Problem("FS138", Place(path.name), "UTF-8")]
    _check_end(path, place, table.num_rows)
    if not table.num_rows:
        raise InputError("FS103", Place(path.name), "at least one row")
    problems += _special_missing(path, place, table)
    return with_provenance(table, path.name), problems


def _check_end(path: Path, place: Layout, rows: int) -> None:
    """Refuses a file with a second dataset, or with a part of a row at its end: both would be lost silently."""
    if rows * place.width > place.size:
        raise InputError("FS104", Place(path.name), "as many bytes as its rows take")
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        second = content.find(MEMBER, place.start)
        if second >= 0 and second % LINE == 0:
            raise InputError("FS131", Place(path.name), "one dataset")
        rest = content[place.start + rows * place.width :]
    if rest.strip(b" ") or place.size % LINE:
        raise InputError("FS104", Place(path.name, rows + 2), "a whole row, and blanks up to a multiple of 80 bytes")


def _special_missing(path: Path, place: Layout, table: pa.Table) -> Iterator[Problem]:
    """The missing numbers that are not the plain ``.``, which pyreadstat does not distinguish."""
    offset = place.start
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        for field, column in zip(table.schema, table.columns, strict=True):
            if field.metadata[b"type"] == b"Num" and column.null_count:
                for row in pc.indices_nonzero(pc.is_null(column)).to_pylist():
                    if content[offset + row * place.width] != ord("."):
                        yield Problem(
                            "FS130", Place(path.name, row + 2, field.name), "a number or the plain missing value"
                        )
            offset += int(field.metadata[b"length"])


def _read(path: Path, encoding: str, columns: int) -> pa.Table:
    """The rows without provenance, some at a time: as Python's numbers and texts they take many times their bytes."""
    reader, at_once = _pyreadstat(), max(1, min(_CHUNK, _CELLS // columns))
    arrays: dict[str, list[pa.Array]] = {}
    done = 0
    while True:
        try:
            cells, meta = reader.read_xport(
                path,
                encoding=encoding,
                output_format="dict",
                disable_datetime_conversion=True,
                row_limit=at_once,
                row_offset=done,
            )
        except Exception as error:  # of its own, and what a damaged header makes of it (TypeError, MemoryError ...)
            if isinstance(error, UnicodeDecodeError) and encoding != _LAST:
                raise
            raise InputError("FS131", Place(path.name), "the header records of version 5") from None
        if len(meta.readstat_variable_types) != columns:
            raise InputError("FS131", Place(path.name), "one variable of each name")
        for name, kind in meta.readstat_variable_types.items():
            arrays.setdefault(name, []).append((_texts if kind == "string" else _numbers)(cells[name]))
        count = len(next(iter(cells.values())))
        done += count
        if count < at_once:
            return _table(arrays, meta)


def _table(parts: dict[str, list[pa.Array]], meta: Any) -> pa.Table:
    arrays, fields = [], []
    for name, chunks in parts.items():
        column = pa.chunked_array(chunks, TEXT)
        arrays.append(encode(column) if repeats(column) else column)
        described = {
            "label": meta.column_names_to_labels[name] or "",
            "type": "Char" if meta.readstat_variable_types[name] == "string" else "Num",
            "length": str(meta.variable_storage_width[name]),
        }
        fields.append(pa.field(name, arrays[-1].type, metadata=described))
    names = {"name": meta.table_name or "", "label": meta.file_label or ""}
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields, metadata=names))


def _texts(cells: list[str]) -> pa.Array:
    return blank_to_null(pc.utf8_rtrim(pa.array(cells, TEXT), " "))


def _numbers(cells: list[float]) -> pa.Array:
    coded = pa.array(cells, pa.float64(), from_pandas=True).dictionary_encode()
    return pc.take(pa.array([number_text(value) for value in coded.dictionary.to_pylist()], TEXT), coded.indices)


def write(
    table: pa.Table,
    path: Path,
    *,
    name: str,
    label: str,
    variables: Sequence[Variable],
    checked: Checked | None = None,
) -> None:
    """Writes a text table as a transport file of version 5; same table, same bytes.

    The times in the header are those of the environment's SOURCE_DATE_EPOCH, else the start of 1970.

    Args:
        table: a text table with a column for each variable.
        path: the file, which is replaced.
        name: the name of the dataset, at most 8 characters.
        label: its label, at most 40 bytes.
        variables: (name, label, ``"Char"`` or ``"Num"``, length in bytes or None for the longest cell) in their order.
        checked: the columns of this very table whose cells were checked before; names and labels are checked always.

    Raises:
        InputError: the first of the problems that `check` finds (FS106, FS133-FS137, FS139, FS140), or FS132.
    """
    for problem in check(table, path.name, name=name, label=label, variables=variables, checked=checked):
        raise InputError(problem.code, problem.place, problem.expected, problem.detail)
    pyreadstat, frame = _pyreadstat(), _frame(table, variables)
    pyreadstat.write_xport(
        frame,
        path,
        file_label=label,
        column_labels=[variable[1] for variable in variables],
        table_name=name,
        file_format_version=5,
    )
    _finish(path, table.num_rows)


def _frame(table: pa.Table, variables: Sequence[Variable]) -> Any:
    """The rows as pandas wants them, and one more that is as long as each variable is to be.

    pyreadstat takes the type and the length of a variable from its cells, which says nothing where none is filled; so
    the row is written with the others and cut off in `_finish`.
    """
    import pandas as pd  # noqa: PLC0415 - loaded only where it is needed: it is slow

    columns = {}
    for (name, _, kind, _), length in zip(variables, lengths(table, variables), strict=True):
        cells = decode(table.column(name)).to_pylist()
        if kind == "Num":
            columns[name] = pd.Series([float("nan") if c is None else float(c) for c in cells] + [0.0], dtype="float64")
        else:
            columns[name] = pd.Series([c or "" for c in cells] + ["x" * length], dtype="object")
    return pd.DataFrame(columns)


def _finish(path: Path, rows: int) -> None:
    place = layout(path)
    end = place.start + rows * place.width
    with path.open("r+b") as stream:
        stream.truncate(end)
        stream.seek(end)
        stream.write(b" " * (-end % LINE))
        for offset in _DATES:
            stream.seek(offset)
            stream.write(_timestamp())


def _timestamp() -> bytes:
    when = time.gmtime(int(os.environ.get("SOURCE_DATE_EPOCH", "0")))
    day = f"{when.tm_mday:02}{_MONTHS[when.tm_mon - 1]}{when.tm_year % 100:02}"  # strftime's months follow the locale
    return f"{day}:{when.tm_hour:02}:{when.tm_min:02}:{when.tm_sec:02}".encode()


def _pyreadstat() -> Any:
    try:
        import pyreadstat  # noqa: PLC0415 - loads pandas, which is slow
    except ImportError:
        raise InputError("FS132", Place("xpt"), "pyreadstat and pandas") from None
    return pyreadstat
