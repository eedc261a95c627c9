"""Rows while a batch is read, and the Arrow table that they become."""

from __future__ import annotations

from collections.abc import Iterable, Mapping as Table, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pyarrow as pa

from fhirspace.mapping.reader_shapes import Cell

CARRIED_PART = -1
"""The part of a domain with several row-giving blocks that holds its carried cells, beside the blocks' own."""


class Held(NamedTuple):
    """A carried cell of a row that was read by `extract` (as `Cell`, made by the decoder, of the others)."""

    url: str
    valueString: str  # noqa: N815 - FHIR's name


@dataclass(slots=True)
class Part:
    """The rows of one domain that come from one block, or of an attached domain.

    Attributes:
        columns: the columns of `rows`, in order; key: those that identify a row (for the part of carried cells).
        on: columns that are the parent's, which a carried cell never replaces.
        lines: the line of each row; carried: (index of the row, its carried cells).
    """

    columns: tuple[str, ...]
    key: tuple[str, ...] = ()
    on: frozenset[str] = frozenset()
    rows: list[tuple[str | None, ...]] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    carried: list[tuple[int, Sequence[Cell | Held]]] = field(default_factory=list)

    def add(self, cells: Table[str, str], line: int, carried: Iterable[str] = ()) -> None:
        """Add a row given as cells by column; `carried` are the columns whose cells were carried."""
        rest = [name for name in cells if name not in self.columns]
        held = [Held(name, cells[name]) for name in dict.fromkeys((*rest, *carried)) if cells[name] != ""]
        if held:
            self.carried.append((len(self.rows), held))
        self.rows.append(tuple(cells.get(name) or None for name in self.columns))
        self.lines.append(line)

    def cut(self, rows: int) -> None:
        """Take back all rows but the first ones."""
        del self.rows[rows:], self.lines[rows:]
        while self.carried and self.carried[-1][0] >= rows:
            self.carried.pop()

    def take(self, file: str) -> tuple[pa.Table | None, pa.Table | None]:
        """The rows, and where there is a key their carried cells with it; the part is empty afterwards.

        A carried column whose name is reserved (``@row``, ``_X``) is left out: see `refused`.
        """
        if not self.rows:
            return None, None
        columns: dict[str, Sequence[str | None]] = dict(zip(self.columns, zip(*self.rows, strict=True), strict=True))
        patches = self._patches(columns)
        made = text_table(columns | patches, self.lines, file)
        carried = self._carried(columns | patches, file) if self.key and self.carried else None
        self.rows.clear()  # the lists stay the same objects: generated code holds them
        self.lines.clear()
        self.carried.clear()
        return made, carried

    def refused(self) -> list[int]:
        """The lines of rows that carry a column of a reserved name."""
        return [
            self.lines[row]
            for row, cells in self.carried
            if any(_reserved(cell.url) for cell in cells)
        ]  # fmt: skip

    def _patches(self, columns: Table[str, Sequence[str | None]]) -> dict[str, list[str | None]]:
        """The columns in which carried cells stand, whole."""
        patches: dict[str, list[str | None]] = {}
        for row, cells in self.carried:
            for cell in cells:
                column = patches.get(cell.url)
                if column is None:
                    column = patches[cell.url] = list(columns.get(cell.url) or [None] * len(self.rows))
                column[row] = cell.valueString
        return {name: cells for name, cells in patches.items() if not (name in self.on or _reserved(name))}

    def _carried(self, columns: Table[str, Sequence[str | None]], file: str) -> pa.Table:
        rows = [row for row, _ in self.carried]
        made: dict[str, list[str | None]] = {name: [columns[name][row] for row in rows] for name in self.key}
        for position, (_, cells) in enumerate(self.carried):
            for cell in cells:
                if cell.url in columns:
                    made.setdefault(cell.url, [None] * len(rows))[position] = cell.valueString
        return text_table(made, [self.lines[row] for row in rows], file)


def _reserved(name: str) -> bool:
    """Whether no column of data can have a name (see `fhirspace.tables.text`)."""
    return not name or name.startswith(("@", "_"))


def text_table(columns: Table[str, Sequence[str | None]], lines: Sequence[int], file: str) -> pa.Table:
    """A text table of the columns that hold a cell, with `@file` and `@row` (the line)."""
    made: dict[str, Any] = {
        name: pa.array(cells, pa.string()) for name, cells in columns.items() if any(cells)
    }  # fmt: skip
    made["@file"] = pa.DictionaryArray.from_arrays(pa.array([0] * len(lines), pa.int32()), [file])
    made["@row"] = pa.array(lines, pa.int64())
    return pa.table(made)
