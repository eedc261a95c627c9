"""Dataset-JSON to text tables: the good rows as a table, each bad row with all that is wrong with it.

A row is bad if it is no array of plain values, has too many or too few of them, or one of another type than its column.
A file is refused where it is no Dataset-JSON, or has more or fewer rows than it says: it may be cut short.

Source: CDISC Dataset-JSON 1.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import pyarrow as pa

from fhirspace.errors import InputError, Place, Problem
from fhirspace.foreign import counted
from fhirspace.limits import limit, too_much
from fhirspace.tables.csv import Rejected, RejectedRow
from fhirspace.tables.datasetjson import cells
from fhirspace.tables.datasetjson.header import DATES, Variable
from fhirspace.tables.datasetjson.rows import Block, NoRow, opened
from fhirspace.tables.description import described
from fhirspace.tables.slices import Account
from fhirspace.tables.text import FILE, ROW, TEXT, blank_to_null, encode, file_column, repeats

_PLAIN: Final = (str, int, float, bool, type(None))


class Read(NamedTuple):
    """A dataset as read: its good rows, its bad rows, and what was noticed."""

    table: pa.Table
    rejected: Rejected
    problems: list[Problem]


def read(path: Path, *, empty: bool = False) -> Read:
    """Reads a Dataset-JSON file into memory. Numbers keep their digits; one with an exponent is spelt out.

    Args:
        path: the file: JSON, NDJSON or DSJC, by its name. empty: one without rows is a table without rows.

    Returns:
        The good rows as a text table with ``@file``, ``@row`` (the first row is 2) and its description; the bad rows;
        FS158 for each variable of dates that the file means as numbers: they come as ISO 8601 text.

    Raises:
        InputError: FS101 to FS103, FS107, FS108, FS116, FS160, FS165 (no Dataset-JSON), FS166 (another number of rows
            than it says), FS401 to FS403, FS414 (no JSON).
    """
    with opened(path) as (header, blocks):
        reader = _Reader(path, header.variables)
        tables = [*map(reader.table, blocks)] or [reader.table([])]
    if reader.seen != header.records:
        raise InputError("FS166", Place(path.name), f"{header.records:,} rows", f"it has {reader.seen:,}")
    if not reader.seen and not empty:
        raise InputError("FS103", Place(path.name), "at least one row")
    table = pa.concat_tables(tables).unify_dictionaries()
    notes = [_dates_read(each, path.name) for each in header.variables if each.type in DATES and each.target]
    return Read(described(table, header.description), reader.rejected, notes)


def names(path: Path) -> list[str]:
    """The names of the columns. Raises InputError as `read`, but for what the rows show."""
    with opened(path) as (header, _):
        return [variable.name for variable in header.variables]


def _dates_read(variable: Variable, file: str) -> Problem:
    detail = f"its targetDataType is {variable.target}"
    return Problem("FS158", Place(file, None, variable.name), "ISO 8601 text", detail)


class _Reader:
    """The state of reading one file. Attributes: the rows `seen`, and those that are `rejected`."""

    def __init__(self, path: Path, variables: Sequence[Variable]) -> None:
        self._file, self._variables = path.name, variables
        self._account = Account(path.name, path.stat().st_size)
        self._types: dict[str, Any] = {}
        self.seen = 0
        self.rejected = Rejected(tuple(variable.name for variable in variables))

    def table(self, block: Block) -> pa.Table:
        """The good rows of a block; the others are rejected."""
        first = self.seen + 2
        self.seen += len(block)
        if self.seen > limit("rows"):
            raise too_much("rows", Place(self._file, first))
        rows: dict[int, Any] = dict(enumerate(block, first))
        if set(map(type, block)) != {list} or set(map(len, block)) != {len(self._variables)}:
            rows = {at: row for at, row in rows.items() if not self._is_bad(at, row)}
        columns = self._columns([*rows.values()])
        if columns is None:
            rows = {at: row for at, row in rows.items() if not self._has_bad_cells(at, row)}
            columns = self._columns([*rows.values()]) or []
            self.rejected.rows.sort(key=lambda rejected: rejected.row)
        arrays = [blank_to_null(pa.array(column, TEXT)) for column in columns]
        made = pa.RecordBatch.from_arrays(arrays, list(self.rejected.columns))
        for _ in self._account.parts(made, first):
            pass
        return self._encoded(made, [*rows])

    def _columns(self, rows: Sequence[Any]) -> list[list[str | None]] | None:
        """The cells of rows of the right width by column; None where one does not fit."""
        values = zip(*rows, strict=True) if rows else ([] for _ in self._variables)
        columns = []
        for variable, column in zip(self._variables, values, strict=True):
            made = cells.texts(column, variable)
            if made is None:
                return None
            columns.append(made)
        return columns

    def _is_bad(self, at: int, row: list[Any] | NoRow) -> bool:
        """Whether a row is no array of the right width; it is rejected then."""
        place = Place(self._file, at)
        if isinstance(row, NoRow):
            self._reject(at, (row.text,), [Problem(row.code, place, row.expected)])
        elif len(row) != len(self._variables):
            problem = Problem("FS167", place, counted(len(self._variables), "value"), f"it has {len(row)}")
            self._reject(at, map(_field, row), [problem])
        else:
            return False
        return True

    def _has_bad_cells(self, at: int, row: Any) -> bool:
        problems = [
            Problem("FS167", Place(self._file, at, variable.name), cells.expected(variable))
            for variable, value in zip(self._variables, row, strict=True)
            if cells.texts([value] if isinstance(value, _PLAIN) else [row], variable) is None
        ]
        if problems:
            self._reject(at, map(_field, row), problems)
        return bool(problems)

    def _reject(self, at: int, fields: Any, problems: list[Problem]) -> None:
        self.rejected.rows.append(RejectedRow(at, tuple(fields), tuple(problems)))
        if len(self.rejected) > limit("bad-rows"):
            raise too_much("bad-rows", Place(self._file, at))

    def _encoded(self, batch: pa.RecordBatch, rows: list[int]) -> pa.Table:
        """The first rows decide which columns are dictionaries; the others follow, so that all fit together."""
        table = pa.Table.from_batches([batch])
        if not self._types and rows:
            self._types = {name: repeats(table[name]) for name in self.rejected.columns}
        columns = {name: encode(table[name]) if self._types.get(name) else table[name] for name in table.column_names}
        return pa.table({**columns, FILE: file_column(self._file, len(rows)), ROW: pa.array(rows, pa.int64())})


def _field(value: Any) -> str:
    """A value of a bad row, for the quarantine."""
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
