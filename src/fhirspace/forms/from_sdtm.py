"""Tabulation rows -> records: rows recognised by their constants, cells read back, rows of one record joined.

A row belongs to the line whose constants it has. Its key cells identify its record; each form column is taken
from the best place where it can be read, and an automatic supplemental variable wins over all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.errors import Problem
from fhirspace.forms.columns import Memo, column, equals, every, read_texts
from fhirspace.forms.model import Document, FormMapping, Line, Source
from fhirspace.forms.supplemental import hashed_name, name_variable, named_by, unspelt, variable_of
from fhirspace.forms.to_sdtm import Labels
from fhirspace.tables.text import TEXT, has, place, row_column, with_provenance

Absent = Mapping[tuple[str, int], tuple[str, ...]]
"""Form and place of a line -> variables that must be empty in its rows to distinguish it from another line."""


class FormRecords(NamedTuple):
    """The records of one form, the rows that were used (by dataset, a mask) and the problems found."""

    table: pa.Table
    used: dict[str, pa.Array]
    problems: list[Problem]


@dataclass(frozen=True, slots=True)
class _Claim:
    """The rows of a dataset that belong to one line; `inverse` has the row of each record, null where it has none."""

    document: Document
    table: pa.Table
    inverse: pa.Array
    memo: Memo
    readings: dict[str, dict[str, pa.Array]] = field(default_factory=dict)

    def cells(self, source: Source) -> pa.Array:
        """The cells of a form column as read from the rows at one place."""
        if source.cell is None:
            return pa.repeat(pa.scalar(source.text, TEXT), self.table.num_rows)
        if source.text is not None:
            return pc.if_else(column(self.table, source.variable).is_null(), source.text, pa.scalar(None, TEXT))
        if source.variable not in self.readings:
            self.readings[source.variable] = read_texts(source.cell, column(self.table, source.variable), self.memo)
        return self.readings[source.variable][source.column]


def records(form: FormMapping, tables: Mapping[str, pa.Table], labels: Labels, absent: Absent) -> FormRecords:
    """The records of a form out of tabulations.

    Args:
        form: its mapping; tables: by dataset, supplemental qualifiers joined back as columns;
        labels: by dataset and variable, the labels of variables that are not standard (a column that the mapping does
            not know is found by its label); absent: see `Absent`.
    """
    return _Reader(form, tables, labels, absent).run()


class _Reader:
    def __init__(self, form: FormMapping, tables: Mapping[str, pa.Table], labels: Labels, absent: Absent) -> None:
        self._form, self._tables, self._labels, self._absent = form, tables, labels, absent
        self._used = {name: pa.repeat(pa.scalar(False), table.num_rows) for name, table in tables.items()}
        self._problems: list[Problem] = []
        self._memo: Memo = {}

    def run(self) -> FormRecords:
        found = [self._claimed(at, document, line) for at, (document, line) in enumerate(self._form.lines)]
        claims, keys = self._joined(found)
        count = keys.num_rows
        cells = {name: column(keys, f"#{name}") for name in self._form.key}
        known = [name for name in self._form.columns if name not in self._form.key]
        for name in (*known, *self._unknown(claims)):
            cells[name] = self._column(name, claims, count)
        return FormRecords(self._ordered(pa.table(cells)), self._used, self._problems)

    # -- whose row it is

    def _claimed(self, at: int, document: Document, line: Line) -> pa.Table | None:
        """The rows that have the line's constants, with `#key` columns."""
        table = self._tables.get(document.dataset)
        if table is None:
            return None
        free = pc.invert(self._used[document.dataset])
        mask = every(
            [free, *_recognised(table, line, document, self._form, self._absent.get((self._form.form, at), ()))],
            table.num_rows,
        )
        rows = pc.indices_nonzero(mask)
        if not len(rows):
            return None
        part = table.take(rows)
        keys = self._read_key(part, document, line)
        whole = every(
            [keys[name].is_valid() for name in self._form.key if name not in self._form.optional], part.num_rows
        )
        if not pc.all(whole).as_py():
            mask = pc.is_in(row_column(0, table.num_rows), value_set=rows.filter(whole).cast(pa.int64()))
        self._used[document.dataset] = pc.or_(self._used[document.dataset], mask)
        for name in self._form.key:
            part = part.append_column(f"#{name}", keys[name])
        return part.filter(whole)

    def _read_key(self, part: pa.Table, document: Document, line: Line) -> dict[str, pa.Array]:
        given = dict((*document.given, *line.given))
        keys = {
            name: pa.repeat(pa.scalar(text or None, TEXT), part.num_rows)
            for name, text in given.items()
            if name in self._form.key
        }
        for variable, cell in line.cells:
            if any(name in self._form.key for name, _ in cell.readable_columns()):
                for name, texts in read_texts(cell, column(part, variable), self._memo).items():
                    keys[name] = pc.coalesce(keys[name], texts) if name in keys else texts
        return keys

    def _joined(self, found: list[pa.Table | None]) -> tuple[list[_Claim | None], pa.Table]:
        """The claims with the number of each row's record, and the distinct keys as `#key` columns."""
        parts = [part for part in found if part is not None and part.num_rows]
        columns = [f"#{name}" for name in self._form.key]
        if not parts:
            return [None] * len(found), pa.table({name: pa.array([], TEXT) for name in columns})
        together = pa.concat_tables([part.select(columns) for part in parts]).combine_chunks()
        texts = [pc.fill_null(together[name], "\x00") for name in columns]
        keys = pc.binary_join_element_wise(*texts, pa.scalar("\x00")).combine_chunks().dictionary_encode()
        first = pc.index_in(row_column(0, len(keys.dictionary)), value_set=keys.indices.cast(pa.int64()))
        return self._claims(found, keys.indices, len(first)), together.take(first)

    def _claims(self, found: list[pa.Table | None], records: pa.Array, count: int) -> list[_Claim | None]:
        claims: list[_Claim | None] = []
        numbers, start = row_column(0, count), 0
        for part, (document, _) in zip(found, self._form.lines, strict=True):
            if part is None or not part.num_rows:
                claims.append(None)
                continue
            mine = records.slice(start, part.num_rows)
            start += part.num_rows
            inverse = pc.index_in(numbers, value_set=mine.cast(pa.int64()))
            self._report_twice(part, mine, document.dataset)
            claims.append(_Claim(document, part, inverse, self._memo))
        return claims

    def _report_twice(self, part: pa.Table, mine: pa.Array, dataset: str) -> None:
        if len(mine.unique()) == len(mine):
            return
        seen: set[int] = set()
        for at, record in enumerate(mine.to_pylist()):
            if record in seen:
                expected = f"one row of {dataset} for this line of the form and record"
                self._problems.append(Problem("FS260", place(part, at), expected, dataset))
            seen.add(record)

    # -- what its cells are

    def _column(self, name: str, claims: list[_Claim | None], count: int) -> pa.Array:
        found = pa.nulls(count, TEXT)
        for source in self._form.sources.get(name, ()):
            claim = claims[source.line]
            if claim is not None and found.null_count:
                found = pc.coalesce(found, claim.cells(source).take(claim.inverse))
        found = pc.fill_null(found, self._form.ticks[name]) if name in self._form.ticks else found
        return self._carried(name, claims, found)

    def _carried(self, name: str, claims: Iterable[_Claim | None], found: pa.Array) -> pa.Array:
        for claim in claims:
            if claim is None:
                continue
            auto = variable_of(self._form, claim.document.dataset, name)
            if has(claim.table, auto):
                cells, speaks = unspelt(column(claim.table, auto))
                speaks = pc.fill_null(speaks.take(claim.inverse), False)
                found = pc.if_else(speaks, cells.take(claim.inverse), found)
        return found

    def _unknown(self, claims: Iterable[_Claim | None]) -> Iterator[str]:
        """The columns that the mapping does not know: automatic variables whose label gives their name.

        Where the label has a part of the name only, the name is in a variable of its own.
        """
        seen: dict[str, None] = {}
        for claim in claims:
            for variable, label in self._labels.get(claim.document.dataset, {}).items() if claim else ():
                seen.update(
                    (name, None) for name in _names(claim, variable, label) if self._is_of(name, variable, label)
                )
        yield from seen

    def _is_of(self, name: str, variable: str, label: str) -> bool:
        of = named_by(label)
        made = hashed_name(self._form.form, name) if of is None else name_variable(self._form.form, name)
        own = of is None or hashed_name(self._form.form, name) == of
        return name not in self._form.columns and made == variable and own

    def _ordered(self, table: pa.Table) -> pa.Table:
        """The records in the order of their keys, whole numbers by size, with the form's own provenance."""
        keys = {f"#{name}{part}": rank for name in self._form.key for part, rank in enumerate(_ranks(table[name]))}
        if table.num_rows:
            order = pc.sort_indices(pa.table(keys), sort_keys=[(name, "ascending") for name in keys])
            table = table.take(order)
        return with_provenance(table, f"{self._form.form}.csv")


def _recognised(
    table: pa.Table, line: Line, document: Document, form: FormMapping, absent: Iterable[str]
) -> Iterator[Any]:
    """The masks that a row of a line must pass."""
    for variable, cell in line.cells:
        texts = cell.known_texts()
        if cell.constant is not None:
            yield equals(column(table, variable), cell.fitting(cell.constant) or "")
        elif texts is not None:
            cells = column(table, variable)
            yield pc.or_(cells.is_null(), pc.is_in(cells, value_set=pa.array(sorted(texts), TEXT)))
    for variable in absent:
        yield column(table, variable).is_null()
    if document.one_per:
        shown = [*(line.own or ()), *form.autos[document.dataset].values()]
        filled = [column(table, variable).is_valid() for variable in shown if has(table, variable)]
        yield _any(filled, table.num_rows)


def _names(claim: _Claim | None, variable: str, label: str) -> list[str]:
    """What a variable says to be the name of a column: its label, or its cells."""
    if claim is None or named_by(label) is None:
        return [label]
    cells = unspelt(column(claim.table, variable))[0].unique().to_pylist()
    return [name for name in cells if name]


def _any(masks: list[pa.Array], count: int) -> pa.Array:
    found = pa.repeat(pa.scalar(False), count)
    for mask in masks:
        found = pc.or_(found, mask)
    return found


def _ranks(cells: pa.ChunkedArray) -> Iterator[pa.ChunkedArray]:
    """Sort keys of a key column: its whole numbers by size, before its other texts by their characters."""
    whole = pc.fill_null(pc.match_substring_regex(cells, r"^[0-9]{1,18}$"), False)
    numbers = pc.if_else(whole, cells, pa.scalar(None, TEXT)).cast(pa.int64())
    yield pc.if_else(whole, 0, pc.if_else(cells.is_valid(), 1, -1))
    yield pc.fill_null(numbers, -1)
    yield pc.fill_null(cells, "")


def leftover(tables: Mapping[str, pa.Table], used: Mapping[str, pa.Array], made: Iterable[str]) -> list[Problem]:
    """The rows that no form recognises: one problem a row, or one a dataset that no form makes."""
    problems, made = list[Problem](), set(made)
    for name, table in tables.items():
        lost = pc.indices_nonzero(pc.invert(used[name])).to_pylist()
        if name not in made and lost:
            problems.append(Problem("FS259", place(table, 0), "a form that makes this dataset", name))
        elif lost:
            expected = "the constants and the key of a line of a form"
            problems += [Problem("FS258", place(table, at), expected, name) for at in lost]
    return problems
