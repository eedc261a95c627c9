"""Records -> tabulation rows: the lines of a form are written and read back, and cells that did not come back are
carried.

A record with a fault makes no row in any dataset. What is read back from the rows is compared with the record cell by
cell, so that records -> rows -> records is exact whatever the mapping says.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.errors import Place, Problem
from fhirspace.forms.columns import Columns, both, every
from fhirspace.forms.model import Document, FormMapping, Line, Source
from fhirspace.forms.supplemental import (
    CONTROLS,
    EMPTY,
    hashed_name,
    label_of,
    name_label,
    name_variable,
    names_itself,
    spelt,
    variable_of,
)
from fhirspace.standards import sdtm
from fhirspace.tables.text import FILE, ROW, TEXT, data_columns, encode, has, place, repeats, row_column

RECORD = "@record"
SAYS_UNKNOWN = r"^(?i:UN|UNK|UNKN|UNKNOWN|NK|XX+|[^0-9A-Za-z])+$"
"""Cells of which nothing is known (``UN UNK UNKN``, ``--:--``): an empty variable says as much."""
_HINTS = {
    "DTC": "an ISO 8601 date, or the shape of the dates in the mapping, as in day(DD/MM/YYYY)",
    "Num": "a number, with a point and no thousands mark",
    "Char": "a cell that the codec of its variable takes, and that meets the conditions of the mapping",
}
Labels = dict[str, dict[str, str]]


class FormRows(NamedTuple):
    """What the records of one form made.

    Attributes:
        tables: by dataset, the rows: SDTM columns as text, ``@file`` and ``@row`` of the record.
        problems: in the order of the records.
        quarantined: the records that made nothing, unchanged.
        labels: by dataset and variable, the labels of the variables that are not standard.
    """

    tables: dict[str, pa.Table]
    problems: list[Problem]
    quarantined: pa.Table
    labels: Labels


@dataclass(slots=True)
class _Written:
    """One line written for all records: where it has a row, and its supplemental variables with carried cells."""

    document: Document
    line: Line
    present: pa.Array
    carried: dict[str, pa.Array] = field(default_factory=dict)


def rows(form: FormMapping, table: pa.Table) -> FormRows:
    """The rows that the records of a form make.

    Args:
        form: its mapping; table: its records as a text table (columns as in the EDC, ``@file``, ``@row``).

    Returns:
        Rows, problems, quarantined records and labels; records in = records that made rows + quarantined.
    """
    return _Writer(form, table).run()


class _Writer:
    def __init__(self, form: FormMapping, table: pa.Table) -> None:
        self._form, self._table = form, table
        self._columns = Columns(table)
        self._count = table.num_rows
        self._problems: dict[tuple[int, int, str, str], Problem] = {}
        self._bad = pa.repeat(pa.scalar(False), self._count)
        self._order = {name: at for at, name in enumerate(dict.fromkeys((*form.columns, *table.column_names)))}
        self._labels: Labels = {}

    def run(self) -> FormRows:
        if not self._columns_fit():
            return FormRows({}, list(self._problems.values()), self._table, {})
        self._check_keys()
        self._check_needs()
        written = [self._write(document, line) for document, line in self._form.lines]
        first = self._first_lines(written)
        self._mark("FS252", self._fresh(first.is_null()), "", "cells that make at least one row")
        self._check_read_keys(written)
        self._carry(written, first)
        tables = self._tables(written)
        problems = [problem for _, problem in sorted(self._problems.items(), key=lambda item: item[0])]
        return FormRows(tables, problems, self._table.filter(self._bad), self._labels)

    # -- checks of the unchanged record

    def _columns_fit(self) -> bool:
        """Whether the table has the columns that the mapping reads; reports missing and unknown columns.

        A header with none of them is no header of this form: its cells may be values, and are not quoted.
        """
        names = data_columns(self._table)
        if names and not any(name in names for name in self._form.columns):
            self._head("FS118", None, "names of columns in the first line, as the form has them")
            return False
        missing = [name for name in self._form.columns if name not in names and name not in self._form.carried]
        for name in missing:
            self._head("FS253", name, "the column in the header, or a mapping that does not read it")
        unmapped = [name for name in names if name not in self._form.columns]
        clashing = self._clashing(unmapped)
        for name in unmapped:
            travels = name not in clashing and not re.search(CONTROLS, name)
            self._head("FS254" if travels else "FS261", name, "a column that the mapping names")
            missing += [] if travels else [name]
        return not missing

    def _clashing(self, names: Iterable[str]) -> set[str]:
        """The unmapped columns that cannot have the variable made from their name: another column has it."""
        taken = {variable for variables in self._form.autos.values() for variable in variables.values()}
        made = {name: hashed_name(self._form.form, name) for name in names}
        counts = Counter(made.values())
        return {name for name, variable in made.items() if variable in taken or counts[variable] > 1}

    def _head(self, code: str, column: str | None, expected: str) -> None:
        file = self._table[FILE][0].as_py() if self._count and has(self._table, FILE) else f"{self._form.form}.csv"
        at = self._order[column] if column else -1
        self._problems[-1, at, code, column or ""] = Problem(code, Place(file, 1, column), expected, self._form.form)

    def _mark(self, code: str, mask: Any, column: str, expected: str) -> None:
        """An error for each record of a mask; they are quarantined."""
        self._note(code, mask, column, expected)
        self._bad = pc.or_(self._bad, mask)

    def _note(self, code: str, mask: Any, column: str, expected: str) -> None:
        """A problem for each record of a mask."""
        for at in pc.indices_nonzero(mask).to_pylist():
            known = (at, self._order.get(column, -1), code, column)
            self._problems[known] = Problem(code, place(self._table, at, column or None), expected, self._form.form)

    def _fresh(self, mask: Any) -> Any:
        """A mask without the records that have a fault already: its consequences need no problem of their own."""
        return pc.and_(mask, pc.invert(self._bad))

    def _check_keys(self) -> None:
        for name in self._form.key:
            if name not in self._form.optional:
                self._mark("FS255", self._columns.cells(name).is_null(), name, "a cell of the record's key")
        cells = [pc.fill_null(self._columns.cells(name), "\x00") for name in self._form.key]
        keys = pc.binary_join_element_wise(*cells, pa.scalar("\x00")).dictionary_encode()
        counts = pc.value_counts(keys.indices)
        repeated = counts.filter(pc.greater(counts.field("counts"), 1)).field("values")
        self._mark(
            "FS251", pc.is_in(keys.indices, value_set=repeated), self._form.key[-1],
            "one record for each combination of " + ", ".join(self._form.key),
        )  # fmt: skip

    def _check_needs(self) -> None:
        for name, needed in self._form.needs:
            lacking = pc.and_(self._columns.cells(name).is_valid(), self._columns.cells(needed).is_null())
            self._mark("FS250", lacking, needed, f"a cell in {needed} where {name} is filled")

    # -- lines

    def _write(self, document: Document, line: Line) -> _Written:
        condition = both(self._columns.holds(document.when, document.given), self._columns.holds(line.when, line.given))
        for _, cell in line.cells:
            for code, column, expected, mask in self._columns.faults(cell):
                self._mark(code, both(condition, mask), column, expected)
        return _Written(document, line, every([condition, self._filled(line)], self._count))

    def _filled(self, line: Line) -> Any:
        """Where one of the line's own variables has a value; None if it needs none."""
        cells, found = dict(line.cells), None
        for name in line.own or ():
            filled = self._columns.written(cells[name]).is_valid()
            found = filled if found is None else pc.or_(found, filled)
        return found

    def _first_lines(self, written: list[_Written]) -> pa.Array:
        """For each record the line whose row has its carried cells; null where it made no row."""
        found = pa.nulls(self._count, pa.int32())
        for at in sorted(range(len(written)), key=lambda at: (_without_subjects(written[at].document), at)):
            found = pc.coalesce(
                found, pc.if_else(written[at].present, pa.scalar(at, pa.int32()), pa.scalar(None, pa.int32()))
            )
        return found

    def _check_read_keys(self, written: list[_Written]) -> None:
        """Each row must give its record's key back: a key that has two spellings cannot be recognised."""
        fresh = pc.invert(self._bad)
        for each in written:
            given = dict((*each.document.given, *each.line.given))
            for name in self._form.key:
                if name not in given:
                    cell = next(cell for _, cell in each.line.cells if name in dict(cell.readable_columns()))
                    same = _same(self._columns.cells(name), self._columns.read(cell)[name])
                    self._mark(
                        "FS256",
                        pc.and_(fresh, pc.and_(each.present, pc.invert(same))),
                        name,
                        "a cell that comes back unchanged",
                    )

    # -- what did not come back

    def _carry(self, written: list[_Written], first: pa.Array) -> None:
        for name in data_columns(self._table):
            if name not in self._form.key:
                cells = self._columns.cells(name)
                lost = pc.invert(_same(cells, self._read_back(name, written)))
                lost = self._fresh(pc.and_(lost, first.is_valid()))
                if pc.any(lost).as_py():
                    broken = pc.fill_null(pc.match_substring_regex(cells, CONTROLS), False)
                    self._mark("FS201", pc.and_(lost, broken), name, "text without control characters")
                    self._note_unused(name, self._fresh(lost), written)
                    self._carry_column(name, pc.coalesce(spelt(cells), pa.scalar(EMPTY)), lost, (written, first))

    def _note_unused(self, name: str, lost: pa.Array, written: list[_Written]) -> None:
        """A warning for each cell that has a variable, but is in none: the supplemental qualifier alone has it."""
        used, kinds = None, set[str]()
        for each in written:
            for cell in {id(cell): cell for _, cell in each.line.cells}.values():
                here = self._columns.used(cell, name)
                if here is not None:
                    kinds.add(cell.kind)
                    here = pc.and_(here, pc.fill_null(each.present, False))
                    used = here if used is None else pc.or_(used, here)
        if used is None:
            return
        cells = self._columns.cells(name)
        silent = pc.fill_null(pc.match_substring_regex(cells, SAYS_UNKNOWN), True)
        expected = next((hint for kind, hint in _HINTS.items() if kind in kinds), _HINTS["Char"])
        self._note("FS264", pc.and_(lost, pc.invert(pc.or_(used, silent))), name, expected)

    def _carry_column(self, name: str, cells: pa.Array, lost: pa.Array, lines: tuple[list[_Written], pa.Array]) -> None:
        for at, each in enumerate(lines[0]):
            here = pc.and_(lost, pc.fill_null(pc.equal(lines[1], at), False))
            if pc.any(here).as_py():
                dataset = each.document.dataset
                variable = variable_of(self._form, dataset, name)
                each.carried[variable] = pc.if_else(here, cells, pa.scalar(None, TEXT))
                labels = self._labels.setdefault(dataset, {})
                labels[variable] = label_of(name, variable)
                if name not in self._form.columns and not names_itself(name):
                    named = name_variable(self._form.form, name)
                    each.carried[named] = pc.if_else(here, spelt(pa.array([name], TEXT))[0], pa.scalar(None, TEXT))
                    labels[named] = name_label(variable)

    def _read_back(self, name: str, written: list[_Written]) -> pa.Array:
        """A column as it would be read from the rows."""
        found = pa.nulls(self._count, TEXT)
        for source in self._form.sources.get(name, ()):
            if not found.null_count:
                break
            each = written[source.line]
            found = pc.coalesce(found, pc.if_else(each.present, self._cells_from(source), pa.scalar(None, TEXT)))
        return found

    def _cells_from(self, source: Source) -> Any:
        if source.cell is None:
            return pa.scalar(source.text, TEXT)
        if source.text is not None:
            return pc.if_else(self._columns.written(source.cell).is_null(), source.text, pa.scalar(None, TEXT))
        return self._columns.read(source.cell)[source.column]

    # -- the tables

    def _tables(self, written: list[_Written]) -> dict[str, pa.Table]:
        good, parts = pc.invert(self._bad), dict[str, list[pa.Table]]()
        numbers = row_column(0, self._count)
        for at, each in enumerate(written):
            chosen = pc.indices_nonzero(pc.and_(each.present, good))
            labels = self._labels.setdefault(each.document.dataset, {})
            labels.update((name, label) for name, label in each.document.supplemental if name in dict(each.line.cells))
            if len(chosen):
                arrays = {name: self._columns.written(cell).take(chosen) for name, cell in each.line.cells}
                arrays |= {name: cells.take(chosen) for name, cells in each.carried.items()}
                arrays |= {
                    name: self._table[name].combine_chunks().take(chosen)
                    for name in (FILE, ROW)
                    if has(self._table, name)
                }
                arrays[RECORD] = numbers.take(chosen)
                arrays["@line"] = pa.repeat(pa.scalar(at, pa.int32()), len(chosen))
                parts.setdefault(each.document.dataset, []).append(pa.table(arrays))
        return {name: _joined(tables) for name, tables in parts.items()}


def _joined(tables: list[pa.Table]) -> pa.Table:
    """The lines of a dataset as one table in the order of the records."""
    joined = pa.concat_tables(tables, promote_options="default")
    order = pc.sort_indices(joined, sort_keys=[(RECORD, "ascending"), ("@line", "ascending")])
    return (
        joined.drop_columns(["@line"]).take(order).combine_chunks()
        if len(tables) > 1
        else joined.drop_columns(["@line"])
    )


def encoded(table: pa.Table) -> pa.Table:
    """The table with its repeating columns as dictionaries."""
    for at, name in enumerate(table.column_names):
        if table[name].type == TEXT and repeats(table[name]):
            table = table.set_column(at, name, encode(table[name]))
    return table


def _same(cells: pa.Array, read: pa.Array) -> pa.Array:
    return pc.or_(pc.fill_null(pc.equal(cells, read), False), pc.and_(cells.is_null(), read.is_null()))


def _without_subjects(document: Document) -> bool:
    """Whether a dataset has no subjects, hence no supplemental qualifiers: it carries cells only if no other can."""
    return sdtm.variable(document.dataset, "USUBJID") is None
