"""Carried cells compared with the elements beside them: a cell is used if writing it gives the element as it is.

Most carried cells are local times, of which FHIR can hold the day only: a column of them is compared with the days of
its distinct cells (`is_its_day`). Another pair of a cell and what is stated is looked at once, by the cell alone or,
where it depends on the rest of the row (a unit beside NOT DONE, an end date before its start), by the reference
renderer, once for each combination of the columns that decide.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.mapping.cells import best_cells, implied, with_forms
from fhirspace.mapping.model import Arr, Mapping, Node, Obj, OneOf, slots, walk
from fhirspace.mapping.read.rows import ELEMENT
from fhirspace.mapping.write.nodes import Row, resources
from fhirspace.sdtm import columns
from fhirspace.standards.iso8601 import FIRST_YEAR, instant
from fhirspace.tables.text import has
from fhirspace.template.dates import datetime_out, upto
from fhirspace.template.slots import Leaf, once
from fhirspace.template.values import Candidates, leaf_text, read_leaf, virtual_cells

_LOCAL_TIME: Final = re.compile(r"(\d{4}-\d{2}-\d{2})T(?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d)?", re.ASCII)
"""A day, and a time of day without an offset, to the minute or second."""


class Comparison:
    """Compares the carried cells of one dataset.

    Args:
        mapping: by which it was read.
    """

    def __init__(self, mapping: Mapping) -> None:
        self._mapping = mapping

    def stale(self, table: pa.Table, name: str) -> pa.Array | None:
        """The rows in which writing the carried cell of a column would not give the element as it is.

        Args:
            table: the dataset, with what its elements say of the column (`ELEMENT`).

        Returns:
            A truth value a row, None where there is no such row.
        """
        cells, stated = columns.text(table, name), columns.text(table, ELEMENT + name)
        leaves = leaves_of(self._mapping, name)
        there = pc.is_valid(stated)
        if _of_times(self._mapping, name, leaves):
            there = pc.and_(there, pc.invert(is_its_day(cells, stated)))
        rows = pc.indices_nonzero(there)
        if not len(rows):
            return None
        pairs = columns.Groups.of([cells.take(rows), stated.take(rows)], len(rows))
        fine = [fits_alone(self._mapping, leaves, name, cell or "", element or "") for cell, element in pairs.cells]
        if all(fine):
            return None
        doubtful = rows.filter(pc.invert(pairs.flags(fine))) if any(fine) else rows
        wrong = self._otherwise(table, doubtful, name)
        if not any(wrong):
            return None
        flags = np.zeros(table.num_rows, bool)
        flags[doubtful.to_numpy()] = wrong
        return pa.array(flags)

    def _otherwise(self, table: pa.Table, rows: pa.Array, name: str) -> Sequence[bool]:
        """Which of some rows, written, have elements that do not say of a column what they say now."""
        part = _part(self._mapping, name)
        keys = dict.fromkeys([name, ELEMENT + name, *(each for each in part.deciding if has(table, each))])
        groups = columns.Groups.of([self._key(table, each, rows) for each in keys], len(rows))
        several = {each: columns.text(table, each) for each in part.columns if has(table, each)}
        stated, wrong = columns.text(table, ELEMENT + name), []
        for row in groups.first_rows():
            at = rows[row].as_py()
            cells = {each: cell for each, column in several.items() if (cell := column[at].as_py())}
            written, text = part.written(name, cells), stated[at].as_py() or ""
            wrong.append(not any(_same(each, text) for each in written))
        return groups.flags(wrong).to_pylist() if any(wrong) else []

    def _key(self, table: pa.Table, name: str, rows: pa.Array) -> pa.Array:
        """A column of some rows, that tells them apart; one with forms by the name of a cell's form."""
        cells, forms = columns.text(table, name).take(rows), self._mapping.forms.get(name)
        if forms is None:
            return cells
        return columns.by_distinct(cells, lambda cell: next(iter(virtual_cells(name, forms, cell)), ""), pa.string())


@dataclass(frozen=True, slots=True)
class _Part:
    """Those elements of a mapping's resources that hold a column.

    Attributes:
        mapping: the mapping with nothing but them; conditions: the columns of its conditions.
        deciding: the columns on which it depends whether they are written; columns: all that are written in them.
    """

    mapping: Mapping
    conditions: frozenset[str]
    deciding: tuple[str, ...]
    columns: tuple[str, ...]

    def written(self, name: str, cells: dict[str, str]) -> set[str]:
        """What would be read of a column, of which the element holds it, if a row was written; "" for nothing."""
        several = _helpers(self.conditions, cells)
        return {_back(self.mapping, cells | helpers).get(name, "") for helpers in several}


def _part(mapping: Mapping, name: str) -> _Part:
    """The part of a mapping that holds a column, made once."""
    known = _parts(next(mapping.roots()))
    if (mapping.domain, name) not in known:
        known[mapping.domain, name] = _made(mapping, name)
    return known[mapping.domain, name]


@once
def _parts(_root: Obj) -> dict[tuple[str, str], _Part]:
    """The parts that were made of mappings with a template, by dataset and column."""
    return {}


def _made(mapping: Mapping, name: str) -> _Part:
    blocks = tuple(replace(block, root=_cut(block.root, name)) for block in mapping.blocks)
    part = replace(mapping, blocks=blocks, item=_cut(mapping.item, name) if mapping.item else None)
    roots = list(part.roots())
    conditions = frozenset(column for block in blocks if block.when for column in block.when.columns())
    conditions = conditions.union(*map(_in_template, roots))
    deciding = set[str]().union(*map(_in_choices, roots))
    for each in conditions:
        deciding |= set(each.split("_")[2:]) if each.startswith("_upto_") else {each.partition(".")[0]}
    deciding = {each for each in deciding if not each.startswith("_")}
    held = {slot.base for root in roots for _, slot in slots(root)}
    return _Part(part, conditions, tuple(sorted(deciding)), tuple(sorted(deciding | held)))


def is_its_day(cells: pa.Array, stated: pa.Array) -> pa.Array:
    """Where a cell is a local time that exists, and what is stated is its day: what `datetime_out` makes of it."""
    return pc.fill_null(pc.equal(columns.by_distinct(cells, _day_of, pa.string()), stated), False)


def _day_of(cell: str) -> str | None:
    """The day of a local time; None of one that is none, or is on a day that does not exist."""
    found = _LOCAL_TIME.fullmatch(cell)
    if found is None or cell < FIRST_YEAR:
        return None
    try:
        return datetime.date.fromisoformat(found[1]).isoformat()
    except ValueError:
        return None


def _of_times(mapping: Mapping, name: str, leaves: Sequence[Leaf]) -> bool:
    """Whether a column fills only elements that are what `datetime_out` makes of its cell."""
    return (
        name not in mapping.forms
        and bool(leaves)
        and all(
            leaf.slots[0].codec.out is datetime_out and len(leaf.parts) == 1 and not leaf.pattern for leaf in leaves
        )
    )


def fits_alone(mapping: Mapping, leaves: Sequence[Leaf], name: str, cell: str, stated: str) -> bool:
    """Whether a cell alone is written as an element that states this; False leaves it to the whole row."""
    cells = with_forms(mapping, {name: cell}) if name in mapping.forms else {name: cell}
    found: Candidates = []
    for leaf in leaves:
        text = leaf_text(leaf, cells, [])
        found += read_leaf(leaf, text) or [] if text is not None else []
    return _same(best_cells(mapping, found).get(name, ""), stated)


def _same(written: str, stated: str) -> bool:
    """Whether two elements say the same: equal texts, or the same moment with another offset."""
    return written == stated or ("T" in stated and instant(written) is not None and instant(written) == instant(stated))


def leaves_of(mapping: Mapping, name: str) -> list[Leaf]:
    """The leaves that a column alone fills, and from which it is read."""
    return [leaf for root in mapping.roots() for leaf in _alone(root).get(name, ())]


@once
def _alone(root: Obj) -> dict[str, list[Leaf]]:
    found: dict[str, list[Leaf]] = {}
    for leaf, slot in slots(root):
        if slot.readable and len(leaf.slots) == 1:
            found.setdefault(slot.base, []).append(leaf)
    return found


def _cut(root: Obj, name: str) -> Obj:
    """The root of a template without the elements, and items of its lists, in which no slot holds a column."""
    fields = (root.fields[at] for at in _elements(root).get(name, ()))
    return replace(root, fields=tuple((step, _cut_list(node, name)) for step, node in fields))


def _cut_list(node: Node, name: str) -> Node:
    if not isinstance(node, Arr):
        return node
    return replace(node, items=tuple(item for item in node.items if any(slot.base == name for _, slot in slots(item))))


@once
def _elements(root: Obj) -> dict[str, dict[int, None]]:
    """By column, which fields of a template hold it."""
    found: dict[str, dict[int, None]] = {}
    for at, (_, node) in enumerate(root.fields):
        for _, slot in slots(node):
            found.setdefault(slot.base, {})[at] = None
    return found


def _back(mapping: Mapping, cells: dict[str, str]) -> dict[str, str]:
    """What would be read from the elements of a row that is written."""
    row = Row(with_forms(mapping, cells), {})
    resources(mapping, row)
    return implied(mapping) | best_cells(mapping, row.candidates)


def _helpers(conditions: Iterable[str], cells: dict[str, str]) -> Iterator[dict[str, str]]:
    """The helper columns on which conditions of a mapping rest: a visit may have been part of the study, or not."""
    names = {name for name in conditions if name.startswith("_")}
    ends = {
        name: "Y"
        for name in names
        if name.startswith("_upto_") and upto(*(cells.get(part) for part in name.split("_")[2:]))
    }
    yield ends
    if having := {name: "Y" for name in names if name.startswith("_has_")}:
        yield ends | having


def _in_choices(root: Obj) -> frozenset[str]:
    """The columns in the alternatives of a template; an id is always written and decides nothing."""
    several = (node for node in walk(root) if isinstance(node, OneOf))
    return frozenset(slot.base for node in several for _, slot in slots(node) if slot.codec.name != "id")


def _in_template(root: Obj) -> frozenset[str]:
    """The columns of the conditions in a template."""
    conditions = (node.when for node in walk(root) if isinstance(node, Obj) and node.when)
    return frozenset(column for when in conditions for column in when.columns())
