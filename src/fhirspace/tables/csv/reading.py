"""CSV files (RFC 4180, UTF-8) to text tables and back. Everything is text and nothing is guessed.

`read` and `blocks` give the good rows as a text table and each bad row whole, with all that is wrong with it and its
place. A file that cannot be read as CSV at all raises an `InputError`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.errors import InputError, Place, Problem
from fhirspace.limits import allowed, limit, too_much
from fhirspace.tables.csv import fast as csv_fast
from fhirspace.tables.csv.head import enough, looks_like_data
from fhirspace.tables.csv.opening import Header, open_csv, undecodable
from fhirspace.tables.csv.scan import Record, check, scan
from fhirspace.tables.csv.writing import write
from fhirspace.tables.text import DICTIONARY, FILE, ROW, TEXT, blank_to_null, file_column, repeats, row_column

__all__ = ["Rejected", "RejectedRow", "blocks", "read", "write"]

BLOCK = 1 << 22
"""Bytes read at a time."""


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """A row that could not be read: its number, its unchanged fields, and everything that is wrong with it."""

    row: int
    fields: tuple[str, ...]
    problems: tuple[Problem, ...]


@dataclass(slots=True)
class Rejected:
    """The rows of one file that could not be read, in the order of the file, under the columns of its header."""

    columns: tuple[str, ...] = ()
    rows: list[RejectedRow] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def problems(self) -> list[Problem]:
        """The problems of all rows."""
        return [problem for row in self.rows for problem in row.problems]


def read(path: Path, *, delimiter: str | None = None, empty: bool = False) -> tuple[pa.Table, Rejected]:
    """Reads a CSV file into memory.

    Args:
        path: the file.
        delimiter: one character; when absent, the one that the header uses.
        empty: a file without records is a table without rows, instead of an error.

    Returns:
        The good rows as a text table with ``@file`` and ``@row``, and the bad rows. Columns whose values repeat come
        as dictionaries.

    Raises:
        InputError: FS101-FS105, FS107, FS108, FS113, FS114, FS116, FS118, FS160: nothing of the file can be used.
    """
    tables, rejected = [], Rejected()
    for table, bad in blocks(path, delimiter=delimiter, empty=empty):
        tables.append(table)
        rejected.columns = bad.columns
        rejected.rows += bad.rows
    return pa.concat_tables(tables).unify_dictionaries(), rejected


def blocks(path: Path, *, delimiter: str | None = None, empty: bool = False) -> Iterator[tuple[pa.Table, Rejected]]:
    """Reads a CSV file block by block, in bounded memory; see `read` for what each block holds."""
    with open_csv(path, delimiter) as (stream, header):
        yield from _Reader(stream, header).blocks(empty=empty)


class _Reader:
    """The state of reading one file: the bytes left from the last block, the next row and the next line."""

    def __init__(self, stream: BinaryIO, header: Header) -> None:
        self.stream, self.header = stream, header
        self.row, self.line, self.bad = 2, 1 + header.lines, 0
        self.types: dict[str, Any] = {}

    def blocks(self, *, empty: bool) -> Iterator[tuple[pa.Table, Rejected]]:
        carried, final, seen = self.header.rest, False, 0
        while not final:
            chunk = self.stream.read(BLOCK)
            final = len(chunk) < BLOCK
            block = carried + chunk
            table, rejected, used = self._block(block, final)
            if not seen:
                self._check_names(table, rejected)
            carried = block[used:]
            if len(carried) > limit("record-bytes"):
                raise InputError("FS113", Place(self.header.file, self.row), allowed("record-bytes"))
            self.line += block.count(b"\n", 0, used)
            seen += table.num_rows + len(rejected)
            if seen > limit("rows"):
                raise too_much("rows", Place(self.header.file, self.row))
            if final and not seen and not empty:
                raise InputError("FS103", Place(self.header.file, 2), "at least one record")
            yield table, rejected

    def _check_names(self, table: pa.Table, rejected: Rejected) -> None:
        """Raises FS118 where the first line is data like what follows: its cells must not be quoted as names."""
        names = self.header.names
        columns = [column.to_pylist() for column in table.slice(0, enough(len(names))).select(names).columns]
        if looks_like_data(names, chain(zip(*columns, strict=True), (row.fields for row in rejected.rows))):
            raise InputError("FS118", Place(self.header.file, 1), "names of columns in the first line")

    def _block(self, block: bytes, final: bool) -> tuple[pa.Table, Rejected, int]:
        whole = csv_fast.cut(block, self.header.delimiter, final)
        if whole is not None and (table := self._fast(*whole)) is not None:
            table = self._placed(table, row_column(self.row, table.num_rows))
            self.row += table.num_rows
            return table, Rejected(self.header.names), len(whole[0])
        return self._strict(block, final)

    def _fast(self, block: bytes, line_breaks: bool) -> pa.Table | None:
        types = self.types or dict.fromkeys(self.header.names, TEXT)
        table = csv_fast.parse(block, types, self.header.delimiter, line_breaks)
        return table if table is None else self._encoded(table)

    def _encoded(self, table: pa.Table) -> pa.Table:
        """The first block decides which columns are dictionaries; the others follow, so that all fit together."""
        if not self.types:
            repeating = {name: repeats(table.column(name)) for name in self.header.names}
            self.types = {name: DICTIONARY if repeating[name] else TEXT for name in self.header.names}
        columns = {name: table.column(name) for name in self.header.names}
        return pa.table(
            {name: pc.dictionary_encode(column) if self.types[name] != column.type else column
             for name, column in columns.items()}
        )  # fmt: skip

    def _strict(self, block: bytes, final: bool) -> tuple[pa.Table, Rejected, int]:
        text = self._decoded(block, final)
        rejected = Rejected(self.header.names)
        good: list[list[str]] = []
        numbers: list[int] = []
        end, most = 0, limit("columns")
        for record in scan(text, self.header.delimiter):
            if len(record.fields) > most:
                raise too_much("columns", Place(self.header.file, self.row))
            if not final and (not record.ended or (text.endswith("\r", 0, record.end) and record.end == len(text))):
                break  # more of it, or the second half of its line break, follows in the next block
            end = record.end
            if not record.blank:
                self._sort(record, good, numbers, rejected)
            self.row += 1
        cells = zip(*good, strict=True) if good else ([] for _ in self.header.names)
        arrays = {name: blank_to_null(pa.array(c, TEXT)) for name, c in zip(self.header.names, cells, strict=True)}
        table = self._placed(self._encoded(pa.table(arrays)), pa.array(numbers, pa.int64()))
        return table, rejected, len(text[:end].encode())

    def _sort(self, record: Record, good: list[list[str]], numbers: list[int], rejected: Rejected) -> None:
        problems = check(record, self.header.names, Place(self.header.file, self.row))
        if problems:
            self.bad += 1
            if self.bad > limit("bad-rows"):
                raise too_much("bad-rows", Place(self.header.file, self.row))
            rejected.rows.append(RejectedRow(self.row, tuple(record.fields), tuple(problems)))
        else:
            good.append(record.fields)
            numbers.append(self.row)

    def _decoded(self, block: bytes, final: bool) -> str:
        if not final:  # a character may be cut in two at the end of a block, a line not
            block = block[: max(block.rfind(b"\n"), block.rfind(b"\r")) + 1]
        try:
            return block.decode("utf-8")
        except UnicodeDecodeError as fault:
            raise undecodable(block, fault.start, self.line, self.header.file) from None

    def _placed(self, table: pa.Table, numbers: pa.Array) -> pa.Table:
        file = file_column(self.header.file, table.num_rows)
        return table.append_column(FILE, file).append_column(ROW, numbers)
