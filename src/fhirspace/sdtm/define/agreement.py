"""Whether a define.xml and its datasets agree: datasets, variables, labels, types, lengths, codelists, keys.

One finding for each variable and kind of difference, with the first row and how many values differ. No value of the
data is in a finding.

Source: CDISC Define-XML 2.1, section 5; the agreement that a reviewer's validator asks for first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.errors import Place, Problem
from fhirspace.foreign import counted
from fhirspace.sdtm import columns
from fhirspace.sdtm.define import kinds, words
from fhirspace.sdtm.define.conditions import Cells, asked, by_cells, meets
from fhirspace.sdtm.define.links import dangling
from fhirspace.sdtm.define.model import Define, Item, ItemGroup, ItemRef
from fhirspace.standards.units import canonical_number
from fhirspace.tables.text import data_columns

_MOST: Final = 20_000_000
"""Comparisons of cells with the values of where clauses, for one variable: some seconds."""


def keyed(define: Define) -> frozenset[str]:
    """The datasets whose key the define.xml gives, with which `check` compares their records."""
    groups = define.groups.values()
    return frozenset(group.name for group in groups if any(ref.key for ref in group.refs))


def check(define: Define, tables: Mapping[str, pa.Table], file: str = "define.xml") -> Iterator[Problem]:
    """The differences between a define.xml and the datasets of its package.

    Args:
        define: what the file says. tables: all datasets of the package by name, as they are in their files.
        file: its name, for places.
    """
    for oid, at in dangling(define):
        yield Problem("FS781", Place(file, None, oid), "a definition with this OID", at)
    described = {group.name: group for group in define.groups.values()}
    for name, group in described.items():
        if name not in tables and not group.no_data:
            yield Problem("FS771", Place(file, None, name), "a file with this dataset", name)
    for name in sorted(tables):
        if name not in described:
            yield Problem("FS772", Place(file, None, name), "an ItemGroupDef of this name", name)
        else:
            yield from _Dataset(define, described[name], tables[name], file).check()


class _Part(NamedTuple):
    """The rows (as flags) that a value-level item is about."""

    item: str
    rows: pa.Array


@dataclass(frozen=True, slots=True)
class _Dataset:
    define: Define
    group: ItemGroup
    table: pa.Table
    file: str

    def check(self) -> Iterator[Problem]:
        variables = self.define.variables(self.group)
        names = [item.name for _, item in variables]
        present = data_columns(self.table)
        for ref, item in variables:
            if item.name not in present and not ref.no_data:
                yield self._problem("FS773", item.name, "a column of this name in the dataset")
        for name in present:
            if name not in names:
                yield self._problem("FS774", name, "an ItemRef with an ItemDef of this name")
        common = [name for name in present if name in names]
        if common != [name for name in names if name in present]:
            yield self._problem("FS780", None, "the order of the ItemRefs")
        for _, item in variables:
            if item.name in present:
                yield from self._variable(item)
        yield from self._key(variables)

    def _problem(self, code: str, column: str | None, expected: str, detail: str = "") -> Problem:
        return Problem(code, Place(self.file, None, column), expected, self.group.name, detail)

    def _variable(self, item: Item) -> Iterator[Problem]:
        about = self.table.schema.field(item.name).metadata or {}
        label = about.get(b"label", b"").decode("utf-8", "replace")
        if label and item.label and label != item.label:
            yield self._problem("FS775", item.name, "the same label in the dataset and in the define.xml")
        numeric = about.get(b"type", b"").decode("utf-8", "replace")
        if numeric and (numeric == "Num") != (item.type in words.NUMBER_TYPES) and self._filled(item.name):
            kind = "a number" if numeric == "Num" else "text"
            yield self._problem("FS776", item.name, f"the data type {item.type}", f"it is {kind} in the dataset")
        values = columns.text(self.table, item.name).unique().drop_null().to_pylist()
        yield from self._values(item, item.name, values)
        yield from self._value_level(item)

    def _filled(self, name: str) -> bool:
        return columns.filled(self.table, name)

    def _values(self, item: Item, variable: str, values: list[str], part: _Part | None = None) -> Iterator[Problem]:
        """The values of a variable, or of the part of it that a value-level item is about, against their definition."""
        wrong = [value for value in values if not kinds.fits(item.type, value)]
        yield from self._faulty("FS776", variable, wrong, f"values of the data type {item.type}", part)
        if item.length is not None:
            long = [value for value in values if kinds.size(item.type, value) > item.length]
            yield from self._faulty("FS777", variable, long, f"at most {item.length}, the Length", part)
        terms = self._terms(item)
        if terms is not None:
            strange = [value for value in values if value not in terms and canonical_number(value) not in terms]
            yield from self._faulty("FS778", variable, strange, f"a term of the codelist {item.codelist}", part)

    def _terms(self, item: Item) -> set[str] | None:
        """The values that an item may have; numbers in their shortest spelling as well. None where there is no list."""
        codelist = self.define.codelists.get(item.codelist)
        if codelist is None or codelist.dictionary or not codelist.terms:
            return None
        values = {term.value for term in codelist.terms}
        return values | {number for value in values if (number := canonical_number(value)) is not None}

    def _faulty(
        self, code: str, variable: str, values: list[str], expected: str, part: _Part | None
    ) -> Iterator[Problem]:
        if not values:
            return
        flags = pc.is_in(columns.text(self.table, variable), value_set=pa.array(values, pa.string()))
        rows = pc.indices_nonzero(pc.and_(flags, part.rows) if part else flags).to_pylist()
        place = columns.places(self.table, self.group.name, rows[:1], variable)[0]
        detail = counted(len(values), "value", "values") + (f", by {part.item}" if part else "")
        yield Problem(code, place, expected, self.group.name, detail)

    def _value_level(self, item: Item) -> Iterator[Problem]:
        values = self.define.value_lists.get(item.values)
        groups: dict[tuple[str, ...], dict[Cells, set[str]]] = {}
        work = 0
        for ref in values.refs if values else ():
            narrow = self.define.items.get(ref.item)
            clauses = [self.define.wheres[oid] for oid in ref.where if oid in self.define.wheres]
            names = asked(self.define, self.group, self.table, clauses)
            if narrow is None or names is None:
                continue
            key = tuple(names)
            if key not in groups:  # most items of a value list ask for the same variable
                groups[key] = by_cells(self.table, names, item.name)
            work += len(groups[key]) * sum(len(check.values) for clause in clauses for check in clause.checks)
            if work > _MOST:
                yield self._problem("FS782", item.name, f"at most {_MOST:,} comparisons of cells with where clauses")
                return
            met = [cells for cells in groups[key] if meets(self.define, clauses, names, cells)]
            values_there = sorted(set().union(*(groups[key][cells] for cells in met)))
            yield from self._values(narrow, item.name, values_there, _Part(narrow.oid, self._rows(names, met)))

    def _rows(self, names: list[str], met: list[Cells]) -> pa.Array:
        """Flags of the rows that have one of some combinations of cells."""
        found = columns.Groups(self.table, names)
        return found.flags(cells in set(met) for cells in found.cells)

    def _key(self, variables: list[tuple[ItemRef, Item]]) -> Iterator[Problem]:
        keys = [item.name for ref, item in sorted(variables, key=lambda pair: pair[0].key or 0) if ref.key]
        if not keys or not set(keys) <= set(self.table.column_names):
            return
        repeated = self.table.num_rows - columns.Groups(self.table, keys).count
        if repeated:
            detail = counted(repeated, "row repeats", "rows repeat") + " the key of another one"
            yield self._problem("FS779", keys[-1], "records apart in " + ", ".join(keys), detail)
