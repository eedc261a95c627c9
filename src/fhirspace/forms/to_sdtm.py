"""Records -> tabulation rows: the lines of a form are written and read back, and cells that did not come back are
carried.

A record with a fault makes no row in any dataset. What is read back from the rows is compared with the record cell by
cell, so that records -> rows -> records is exact whatever the mapping says. Records of views are not read back: their
resources stay where they are, and only cells that no variable has are carried.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.errors import Place, Problem
from fhirspace.forms.carried import Written, read_back, same, unused
from fhirspace.forms.columns import Columns, both, every
from fhirspace.forms.model import Document, FormMapping, Line
from fhirspace.forms.reduce import LeftOut, reduce, silent_ticks
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
Labels = dict[str, dict[str, str]]


class FormRows(NamedTuple):
    """What the records of one form made.

    Attributes:
        tables: by dataset, the rows: SDTM columns as text, ``@file`` and ``@row`` of the record.
        problems: in the order of the records.
        quarantined: the records that made nothing, unchanged.
        labels: by dataset and variable, the labels of the variables that are not standard.
        left_out: what the mapping declares not to convert.
        unmapped: by dataset, the variables that carry columns which no mapping names, and do not travel to FHIR.
    """

    tables: dict[str, pa.Table]
    problems: list[Problem]
    quarantined: pa.Table
    labels: Labels
    left_out: LeftOut
    unmapped: dict[str, set[str]]


def rows(form: FormMapping, table: pa.Table, *, reversible: bool = True) -> FormRows:
    """The rows that the records of a form make.

    Args:
        form: its mapping; table: its records as a text table (columns as in the EDC, ``@file``, ``@row``).
        reversible: whether the rows must give the records back as they are spelt.

    Returns:
        Rows, problems, quarantined records, labels and what was left out; records in = records that made rows +
        quarantined + skipped.
    """
    return _Writer(form, table, reversible).run()


class _Writer:
    def __init__(self, form: FormMapping, table: pa.Table, reversible: bool) -> None:
        self._reversible = reversible
        self._names = set(data_columns(table))
        self._given = table
        table, self._whole, self._left_out = reduce(form, table)
        self._form, self._table = form, table
        self._columns = Columns(table, silent_ticks(form, table))
        self._count = table.num_rows
        self._problems: dict[tuple[int, int, str, str], Problem] = {}
        self._bad = pa.repeat(pa.scalar(False), self._count)
        self._order = {name: at for at, name in enumerate(dict.fromkeys((*form.columns, *table.column_names)))}
        self._labels: Labels = {}
        self._unmapped: dict[str, set[str]] = {}

    def run(self) -> FormRows:
        if not self._columns_fit():
            return FormRows({}, list(self._problems.values()), self._given, {}, LeftOut(), {})
        self._check_keys()
        self._check_needs()
        written = [self._write(document, line) for document, line in self._form.lines]
        first = self._first_lines(written)
        self._mark("FS252", self._fresh(first.is_null()), "", "cells that make at least one row")
        self._check_read_keys(written)
        self._carry(written, first)
        tables = self._tables(written)
        problems = [problem for _, problem in sorted(self._problems.items(), key=lambda item: item[0])]
        bad = self._whole.filter(self._bad)
        return FormRows(tables, problems, bad, self._labels, self._left_out, self._unmapped)

    # -- checks of the unchanged record

    def _columns_fit(self) -> bool:
        """Whether the table has the columns that the mapping reads; reports missing and unknown columns.

        A header with none of them is no header of this form: its cells may be values, and are not quoted.
        """
        names = data_columns(self._table)
        if names and not any(name in self._names for name in self._form.columns):
            self._head("FS118", None, "names of columns in the first line, as the form has them")
            return False
        skip = self._form.declared.skip
        needed = dict.fromkeys((*self._form.columns, *(skip.columns() if skip else ())))
        only_carried = set(self._form.carried).difference(self._form.read)
        missing = [name for name in needed if name not in self._names and name not in only_carried]
        for name in missing:
            self._head("FS253", name, "the column in the header, or a mapping that does not read it")
        plain = (name for name in self._form.declared.own_drop if not set("*?") & set(name))
        for name in sorted({*only_carried, *plain} - self._names if names else ()):
            self._head("FS267", name, "a column of the form, or a mapping without this name")
        unmapped = [name for name in names if name not in self._form.columns]
        clashing = self._clashing(unmapped)
        for name in unmapped:
            travels = name not in clashing and not re.search(CONTROLS, name)
            if not travels:
                self._head("FS261", name, "a column that the mapping names")
            elif not self._form.declared.carry_unmapped:
                self._head("FS254", name, "a column that the mapping names")
            missing += [] if travels else [name]
        return not missing

    def _clashing(self, names: Iterable[str]) -> set[str]:
        """The unmapped columns that cannot have the variable made from their name: another column has it."""
        taken = {variable for variables in self._form.autos.values() for variable in variables.values()}
        made = {name: hashed_name(self._form.form, name) for name in names}
        counts = Counter(made.values())
        counts.update(name_variable(self._form.form, name) for name in made if not names_itself(name))
        return {name for name, variable in made.items() if variable in taken or counts[variable] > 1}

    def _head(self, code: str, column: str | None, expected: str) -> None:
        file = self._table[FILE][0].as_py() if self._count and has(self._table, FILE) else f"{self._form.form}.csv"
        at = self._order.get(column, -1) if column else -1
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

    def _write(self, document: Document, line: Line) -> Written:
        condition = both(self._columns.holds(document.when, document.given), self._columns.holds(line.when, line.given))
        for _, cell in line.cells:
            for code, column, expected, mask in self._columns.faults(cell):
                self._mark(code, both(condition, mask), column, expected)
        return Written(document, line, every([condition, self._filled(line)], self._count))

    def _filled(self, line: Line) -> Any:
        """Where one of the line's own variables has a value; None if it needs none."""
        cells, found = dict(line.cells), None
        for name in line.own or ():
            filled = self._columns.written(cells[name]).is_valid()
            found = filled if found is None else pc.or_(found, filled)
        return found

    def _first_lines(self, written: list[Written]) -> pa.Array:
        """For each record the line whose row has its carried cells; null where it made no row."""
        found = pa.nulls(self._count, pa.int32())
        for at in sorted(range(len(written)), key=lambda at: (_without_subjects(written[at].document), at)):
            found = pc.coalesce(
                found, pc.if_else(written[at].present, pa.scalar(at, pa.int32()), pa.scalar(None, pa.int32()))
            )
        return found

    def _check_read_keys(self, written: list[Written]) -> None:
        """Each row must give its record's key back: a key that has two spellings cannot be recognised."""
        fresh = pc.invert(self._bad)
        for each in written:
            given = dict((*each.document.given, *each.line.given))
            for name in self._form.key:
                if name not in given:
                    cell = next(cell for _, cell in each.line.cells if name in dict(cell.readable_columns()))
                    back = same(self._columns.cells(name), self._columns.read(cell)[name])
                    self._mark(
                        "FS256",
                        pc.and_(fresh, pc.and_(each.present, pc.invert(back))),
                        name,
                        "a cell that comes back unchanged",
                    )

    # -- what did not come back

    def _carry(self, written: list[Written], first: pa.Array) -> None:
        for name in data_columns(self._table):
            if name not in self._form.key:
                cells = self._columns.cells(name)
                lost = pc.invert(same(cells, read_back(self._form, self._columns, written, name)))
                lost = self._fresh(pc.and_(lost, first.is_valid()))
                nowhere = unused(self._columns, written, name) if pc.any(lost).as_py() else None
                if nowhere and not self._reversible:
                    lost = pc.and_(lost, nowhere[0])
                if pc.any(lost).as_py():
                    broken = pc.fill_null(pc.match_substring_regex(cells, CONTROLS), False)
                    self._mark("FS201", pc.and_(lost, broken), name, "text without control characters")
                    if nowhere:  # the supplemental qualifier alone has a cell for which there is a variable
                        self._note("FS264", self._fresh(pc.and_(lost, nowhere[0])), name, nowhere[1])
                    self._carry_column(name, pc.coalesce(spelt(cells), pa.scalar(EMPTY)), lost, (written, first))

    def _carry_column(self, name: str, cells: pa.Array, lost: pa.Array, lines: tuple[list[Written], pa.Array]) -> None:
        for at, each in enumerate(lines[0]):
            here = pc.and_(lost, pc.fill_null(pc.equal(lines[1], at), False))
            if pc.any(here).as_py():
                dataset = each.document.dataset
                variable = variable_of(self._form, dataset, name)
                each.carried[variable] = pc.if_else(here, cells, pa.scalar(None, TEXT))
                labels = self._labels.setdefault(dataset, {})
                labels[variable] = label_of(name, variable)
                if name in self._form.columns:
                    continue
                named = name_variable(self._form.form, name)
                if not names_itself(name):
                    each.carried[named] = pc.if_else(here, spelt(pa.array([name], TEXT))[0], pa.scalar(None, TEXT))
                    labels[named] = name_label(variable)
                if not self._form.declared.carry_unmapped:
                    self._unmapped.setdefault(dataset, set()).update((variable, named))

    # -- the tables

    def _tables(self, written: list[Written]) -> dict[str, pa.Table]:
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


def _without_subjects(document: Document) -> bool:
    """Whether a dataset has no subjects, hence no supplemental qualifiers: it carries cells only if no other can."""
    return sdtm.variable(document.dataset, "USUBJID") is None
