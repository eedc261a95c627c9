"""Carried cells compared with the elements beside them: a cell is used if writing it gives the element as it is.

Most carried cells are local times, of which FHIR can hold the day only: a column of them is compared by Arrow
(`is_its_day`). Another pair of a cell and what is stated is looked at once, by the cell alone or, where it depends on
the rest of the row (a unit beside NOT DONE, an end date before its start), by the reference renderer, once for each
combination of the columns that decide.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.mapping.cells import best_cells, implied, with_forms
from fhirspace.mapping.model import Mapping, Obj, OneOf, slots, walk
from fhirspace.mapping.read.rows import ELEMENT
from fhirspace.mapping.write.nodes import Row, resources
from fhirspace.sdtm import columns
from fhirspace.sdtm.derive import basis
from fhirspace.sdtm.zones import LOCAL
from fhirspace.tables.text import data_columns
from fhirspace.template.dates import datetime_out, upto
from fhirspace.template.slots import Leaf, once
from fhirspace.template.values import Candidates, leaf_text, read_leaf, virtual_cells

_LOCAL_TIME: Final = r"^\d{4}-\d{2}-\d{2}T([01]\d|2[0-3]):[0-5]\d(:[0-5]\d)?$"
"""A time of day without an offset, to the minute or second."""
_DAY: Final = 10


class Comparison:
    """Compares the carried cells of one dataset.

    Args:
        mapping: by which it was read.
    """

    def __init__(self, mapping: Mapping) -> None:
        self._mapping = mapping
        self._written: dict[tuple[tuple[str, str], ...], list[dict[str, str]]] = {}

    def stale(self, table: pa.Table, name: str) -> pa.Array | None:
        """The rows in which writing the carried cell of a column would not give the element as it is.

        Args:
            table: the dataset, with what its elements say of the column (`ELEMENT`).

        Returns:
            A truth value a row, None where there is no such row.
        """
        stated = columns.text(table, ELEMENT + name)
        rows = pc.indices_nonzero(pc.is_valid(stated))
        pairs = columns.Groups(
            pa.table({"cell": columns.text(table, name).take(rows), "stated": stated.take(rows)}), ("cell", "stated")
        )
        fine = self._fine(name, pairs)
        if pc.all(fine).as_py():
            return None
        doubtful = rows.filter(pc.invert(fine.take(pairs.codes)))
        wrong = doubtful.filter(self._otherwise(table.take(doubtful), name)).cast(pa.int64())
        if not len(wrong):
            return None
        return pc.is_in(pa.array(range(table.num_rows), pa.int64()), value_set=wrong)

    def _fine(self, name: str, pairs: columns.Groups) -> pa.Array:
        """The pairs of a cell and what is stated that fit whatever else is in their row."""
        leaves = leaves_of(self._mapping, name)
        if _of_times(self._mapping, name, leaves):
            quick = is_its_day(*pairs.distinct).to_pylist()
            if all(quick):
                return pa.array(quick, pa.bool_())
        else:
            quick = [False] * pairs.count
        return pa.array(
            (
                known or fits_alone(self._mapping, leaves, name, cell or "", stated or "")
                for known, (cell, stated) in zip(quick, pairs.cells, strict=True)
            ),
            pa.bool_(),
        )

    def _otherwise(self, table: pa.Table, name: str) -> pa.Array:
        """The rows that, written, have elements that do not say of a column what they say now."""
        keys = self._keys(table, name)
        groups = columns.Groups(keys, keys.column_names)
        return groups.flags(not self._exactly(table, row, name) for row in groups.first_rows())

    def _exactly(self, table: pa.Table, row: int, name: str) -> bool:
        """Whether a row, written, has elements that say of a column what they say now."""
        names = [each for each in data_columns(table) if each not in (basis.DIGEST, LOCAL)]
        cells = {each: cell for each in names if (cell := table[each][row].as_py())}
        stated = table[ELEMENT + name][row].as_py() or ""
        found = tuple(cells.items())
        if found not in self._written:
            several = _helpers(self._conditions, cells)
            self._written[found] = [_back(self._mapping, cells | helpers) for helpers in several]
        return any(back.get(name, "") == stated for back in self._written[found])

    @cached_property
    def _conditions(self) -> set[str]:
        found: set[str] = set()
        for block in self._mapping.blocks:
            found |= set(block.when.columns()) if block.when else set()
        for root in self._mapping.roots():
            found |= _in_template(root)
        return found

    @cached_property
    def _deciding(self) -> list[str]:
        """The columns on which it depends whether an element of another column is written."""
        found: set[str] = set()
        for name in self._conditions:
            found |= set(name.split("_")[2:]) if name.startswith("_upto_") else {name.partition(".")[0]}
        for root in self._mapping.roots():
            for node in walk(root):
                if isinstance(node, OneOf):
                    # An id is always written: it decides nothing.
                    found |= {slot.base for _, slot in slots(node) if slot.codec.name != "id"}
        return sorted(name for name in found if not name.startswith("_"))

    def _keys(self, table: pa.Table, name: str) -> pa.Table:
        """The deciding columns of rows, a column with forms by the name of its form, and what is to be decided."""
        made = {
            "pair": pc.binary_join_element_wise(
                columns.text(table, name), table[ELEMENT + name].cast(pa.string()).combine_chunks(), "\x1f"
            )
        }
        for each in self._deciding:
            cells = columns.text(table, each)
            forms = self._mapping.forms.get(each)

            def form(cell: str, each: str = each, forms: Any = forms) -> str:
                return next(iter(virtual_cells(each, forms, cell)), "")

            made[each] = columns.by_distinct(cells, form, pa.string()) if forms else cells
        return pa.table(made)


def is_its_day(cells: pa.Array, stated: pa.Array) -> pa.Array:
    """Where a cell is a local time that exists, and what is stated is its day: what `datetime_out` makes of it."""
    times = pc.match_substring_regex(cells, _LOCAL_TIME)
    same = pc.equal(pc.utf8_slice_codeunits(cells, 0, _DAY), stated)
    both = pc.fill_null(pc.and_(times, same), False)
    # Whether there is a day 30 or 31 is looked up once for each day.
    days = columns.by_distinct(pc.if_else(both, stated, pa.scalar(None, pa.string())), _is_day, pa.bool_())
    return pc.fill_null(days, False)


def _is_day(text: str) -> bool:
    try:
        datetime.date.fromisoformat(text)
    except ValueError:
        return False
    return True


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
    return best_cells(mapping, found).get(name, "") == stated


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


def _back(mapping: Mapping, cells: dict[str, str]) -> dict[str, str]:
    """What would be read from the elements of a row that is written."""
    row = Row(with_forms(mapping, cells), {})
    resources(mapping, row)
    return implied(mapping) | best_cells(mapping, row.candidates)


def _helpers(conditions: set[str], cells: dict[str, str]) -> Iterator[dict[str, str]]:
    """The helper columns on which conditions of a mapping rest: a visit may have been part of the study, or not."""
    names = {name for name in conditions if name.startswith("_")}
    ends = {
        name: "Y"
        for name in names
        if name.startswith("_upto_") and upto(*(cells.get(part) for part in name.split("_")[2:]))
    }
    yield ends
    yield ends | {name: "Y" for name in names if name.startswith("_has_")}


@once
def _in_template(root: Obj) -> frozenset[str]:
    """The columns of the conditions in a template."""
    conditions = (node.when for node in walk(root) if isinstance(node, Obj) and node.when)
    return frozenset(column for when in conditions for column in when.columns())
