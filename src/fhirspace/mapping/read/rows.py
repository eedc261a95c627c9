"""Rows while a batch is read, and the Arrow table that they become."""

from __future__ import annotations

from collections.abc import Iterable, Mapping as Table, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import pyarrow as pa

from fhirspace.mapping.read.extract import ORDINAL, Cells
from fhirspace.mapping.read.memo import Fold
from fhirspace.mapping.read.shapes import Cell

Column: TypeAlias = Sequence[str | None] | pa.Array

CARRIED_PART = -1
"""The part of a domain with several row-giving blocks that holds its carried cells, beside the blocks' own."""

ELEMENT = "@element:"
"""Before a column's name: the column of what the elements say where its cell was carried; "" where they say nothing."""


class CarriedCell(NamedTuple):
    """A carried cell of a row that was read by `extract` (as `Cell`, made by the decoder, of the others)."""

    url: str
    valueString: str  # noqa: N815 - FHIR's name


def plain(columns: Sequence[str], several: Iterable[Sequence[str]]) -> tuple[str, ...]:
    """The columns that stand alone in a row: those that are in none of several."""
    apart = {name for names in several for name in names}
    return tuple(name for name in columns if name not in apart)


@dataclass(slots=True)
class Part:
    """The rows of one domain that come from one block, or of a nested domain.

    Attributes:
        columns: the columns, in order; key: those that identify a row (for the part of carried cells).
        on: columns that are the parent's, which a carried cell never replaces.
        rows: of each row the cells of the `plain` columns, a tuple of cells (or None) for each of `groups`, then the
            index of the cells (or None) for each of `folds` that has columns.
        lines: the line of each row; carried: (index of the row, its carried cells).
        twice: (line, column) of cells that are carried twice with different texts, found by `take`.
    """

    columns: tuple[str, ...]
    key: tuple[str, ...] = ()
    on: frozenset[str] = frozenset()
    rows: list[tuple[Any, ...]] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    carried: list[tuple[int, Sequence[Cell | CarriedCell]]] = field(default_factory=list)
    twice: list[tuple[int, str]] = field(default_factory=list)
    plain: tuple[str, ...] = ()
    groups: list[tuple[str, ...]] = field(default_factory=list)
    folds: list[Fold] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.plain = self.columns

    def lay_out(self, groups: list[tuple[str, ...]], folds: list[Fold]) -> None:
        """Say which columns come in tuples and which by index; only while there are no rows."""
        self.groups, self.folds = groups, folds
        self.plain = plain(self.columns, (*groups, *(fold.columns for fold in folds)))

    def add(self, row: Cells, line: int) -> None:
        """Add a row that `extract` read."""
        rest = [name for name in row if name not in self.columns]
        held = [CarriedCell(name, row[name]) for name in dict.fromkeys((*rest, *row.elements)) if row[name] != ""]
        if held:
            self.carried.append((len(self.rows), held))
        cells = {**row, **{cell.url: row.elements.get(cell.url) or "" for cell in held}, **row.hidden}
        plain = [cells.get(name) or None for name in self.plain]
        groups = [tuple(cells.get(name) or None for name in names) for names in self.groups]
        self.rows.append((*plain, *groups, *(fold.index(cells) for fold in self.folds if fold.columns)))
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
        columns = self._columns()
        columns |= self._patches(columns)
        made = text_table(
            {name: columns.get(name, ()) for name in dict.fromkeys((*self.columns, *columns))}, self.lines, file
        )
        carried = self._carried(columns, file) if self.key and self.carried else None
        self.rows.clear()  # the lists stay the same objects: generated code holds them
        self.lines.clear()
        self.carried.clear()
        return made, carried

    def _columns(self) -> dict[str, Column]:
        found_lists = zip(*self.rows, strict=True)
        columns: dict[str, Column] = dict(zip(self.plain, found_lists, strict=False))
        for names in self.groups:
            groups = next(found_lists)
            if any(groups):
                empty = (None,) * len(names)
                columns.update(zip(names, zip(*[group or empty for group in groups], strict=True), strict=True))
        for fold in self.folds:
            columns |= _unfolded(fold, next(found_lists)) if fold.columns else {}
            fold.trim()
        return columns

    def refused(self) -> list[int]:
        """The lines of rows that carry a column of a reserved name."""
        return [
            self.lines[row]
            for row, cells in self.carried
            if any(_reserved(cell.url) for cell in cells)
        ]  # fmt: skip

    def _patches(self, columns: Table[str, Column]) -> dict[str, list[str | None]]:
        """The columns with carried cells, whole, and beside them what the elements say (`ELEMENT`)."""
        patches: dict[str, list[str | None]] = {}
        stated: dict[str, list[str | None]] = {}
        known = set(self.columns)
        for row, cells in self.carried:
            for cell in cells:
                name = cell.url
                column = patches.get(name)
                if column is None:
                    column = patches[name] = self._listed(columns.get(name))
                    if name in known:
                        stated[name] = [None] * len(self.rows)
                states = stated.get(name, column)  # what is in it for this row came from a carried cell
                if states[row] is None:
                    states[row], column[row] = column[row] or "", cell.valueString
                elif column[row] != cell.valueString:
                    self.twice.append((self.lines[row], name))
        left = {name: cells for name, cells in patches.items() if not (name in self.on or _reserved(name))}
        return left | {ELEMENT + name: cells for name, cells in stated.items() if name in left}

    def _listed(self, column: Column | None) -> list[str | None]:
        if column is None:
            return [None] * len(self.rows)
        return column.to_pylist() if isinstance(column, pa.Array) else list(column)

    def _carried(self, columns: Table[str, Column], file: str) -> pa.Table | None:
        held = [each for each in self.carried if any(cell.url != ORDINAL for cell in each[1])]
        if not held:
            return None
        rows = [row for row, _ in held]
        made: dict[str, list[str | None]] = {name: [columns[name][row] for row in rows] for name in self.key}
        for position, (_, cells) in enumerate(held):
            for cell in reversed(cells):  # the first of two counts
                if cell.url in columns:
                    made.setdefault(cell.url, [None] * len(rows))[position] = cell.valueString
        return text_table(made, [self.lines[row] for row in rows], file)


def _reserved(name: str) -> bool:
    """Whether no column of data can have a name (see `fhirspace.tables.text`)."""
    return not name or name.startswith(("@", "_"))


def _unfolded(fold: Fold, indices: Sequence[int | None]) -> dict[str, Column]:
    """The columns of a fold: its distinct cells taken by the rows' indices."""
    taken = pa.array(indices, pa.int32())
    made: dict[str, Column] = {}
    for name, cells in zip(fold.columns, zip(*fold.cells, strict=True), strict=False):
        if any(cells):
            made[name] = pa.array(cells, pa.string()).take(taken)
    return made


def text_table(columns: Table[str, Column], lines: Sequence[int], file: str) -> pa.Table:
    """A text table of the columns that hold a cell, with `@file` and `@row` (the line)."""
    made: dict[str, Any] = {}
    for name, cells in columns.items():
        if isinstance(cells, pa.Array):
            made |= {name: cells} if cells.null_count < len(cells) else {}
        elif any(cells) or (name.startswith(ELEMENT) and any(cell is not None for cell in cells)):
            made[name] = pa.array(cells, pa.string())
    made["@file"] = pa.DictionaryArray.from_arrays(pa.array([0] * len(lines), pa.int32()), [file])
    made["@row"] = pa.array(lines, pa.int64())
    return pa.table(made)
