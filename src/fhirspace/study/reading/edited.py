"""FHIR that was changed after it was written: its elements win over carried cells and over what was derived from them.

A carried cell is used only while writing it again gives the elements as they are. Of variables that elements hold or
the extension carries, but that were derived from other cells (study days, standard results), a digest of these cells
says whether they changed (`fhirspace.sdtm.derive.basis`): then they are derived again. Decision 0019 says why.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping as Table, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.errors import Problem
from fhirspace.foreign import counted
from fhirspace.mapping.cells import best_cells, implied, with_forms
from fhirspace.mapping.library import Library
from fhirspace.mapping.model import Mapping, Obj, OneOf, slots, walk
from fhirspace.mapping.read.rows import ELEMENT
from fhirspace.mapping.read.witness import is_hidden
from fhirspace.mapping.write.nodes import Row, resources
from fhirspace.sdtm import columns
from fhirspace.sdtm.derive import basis
from fhirspace.sdtm.derive.derive import derive
from fhirspace.sdtm.zones import LOCAL, without_offsets
from fhirspace.standards.units import canonical_number
from fhirspace.study.reading.witnesses import contradictions
from fhirspace.tables.text import data_columns, place
from fhirspace.template.dates import upto
from fhirspace.template.slots import Leaf, once
from fhirspace.template.values import Candidates, leaf_text, read_leaf, virtual_cells


@dataclass(slots=True)
class Reconciled:
    """The tables as their elements say, and what was found."""

    tables: dict[str, pa.Table]
    problems: list[Problem] = field(default_factory=list)


@dataclass(slots=True)
class _Mark:
    """Of one group of a dataset: the rows whose basis changed, those of which nothing says whether it did."""

    changed: pa.Array
    unsure: pa.Array


def reconcile(
    tables: Table[str, pa.Table],
    library: Library,
    once: Iterable[tuple[str, pa.Table]] = (),
    zones: Collection[str] = (),
) -> Reconciled:
    """Tables in which what the elements say has won, with the local times that their cells had.

    Args:
        tables: of all datasets that were read, as `Collector.tables` gives them.
        library: the mappings by which they were read.
        once: what resources say that are made once for many rows (`Collector.once`).
        zones: the time zones that the study declares.
    """
    done = Reconciled(dict(tables))
    marks: dict[str, list[_Mark]] = {}
    seen: dict[str, pa.Table] = {}
    for domain in tables:
        stale = _elements_win(done, domain, library.mappings[domain])
        table = seen[domain] = done.tables[domain]
        if marked := _marks(domain, table, stale):
            marks[domain] = marked
        extra = [
            each for each in table.column_names if each.startswith(ELEMENT) or each == basis.DIGEST or is_hidden(each)
        ]
        done.tables[domain] = table.drop_columns(extra) if extra else table
    done.problems += contradictions(seen, once, library)
    done.tables = without_offsets(done.tables, zones)
    if marks:
        _derive_again(done, marks)
    return done


_NOTHING = pa.scalar(None, pa.string())


# -- carried cells


def _elements_win(done: Reconciled, domain: str, mapping: Mapping) -> dict[str, pa.Array]:
    """Put what the elements say in place of stale carried cells; by column the rows in which that was done."""
    table, found = done.tables[domain], dict[str, pa.Array]()
    for name in [each.removeprefix(ELEMENT) for each in table.column_names if each.startswith(ELEMENT)]:
        stale = _stale(mapping, table, name)
        if pc.any(stale).as_py():
            found[name] = stale
            done.problems.append(_finding("FS445", domain, table, name, stale))
            stated = pc.if_else(pc.equal(table[ELEMENT + name], ""), _NOTHING, table[ELEMENT + name])
            table = columns.put(table, name, pc.if_else(stale, stated, columns.text(table, name)))
    done.tables[domain] = table
    return found


def _stale(mapping: Mapping, table: pa.Table, name: str) -> pa.Array:
    """The rows in which writing the carried cell of a column would not give the element as it is."""
    rows = pc.indices_nonzero(pc.is_valid(table[ELEMENT + name]))
    some = table.take(rows)
    pairs = columns.Groups(some, (name, ELEMENT + name))
    leaves = _leaves(mapping, name)
    fine = [_plainly(mapping, leaves, name, cell or "", stated or "") for cell, stated in pairs.cells]
    if not all(fine):
        keys = _keys(mapping, some, name)
        deciding = columns.Groups(keys, keys.column_names)
        sure = pairs.flags(fine).to_pylist()
        judged = [sure[row] or _exactly(mapping, some, row, name) for row in deciding.first_rows()]
        good = deciding.flags(judged)
    else:
        good = pairs.flags(fine)
    wrong = rows.filter(pc.invert(good)).cast(pa.int64())
    return pc.is_in(pa.array(range(table.num_rows), pa.int64()), value_set=wrong)


def _plainly(mapping: Mapping, leaves: Sequence[Leaf], name: str, cell: str, stated: str) -> bool:
    """Whether a cell alone is written as an element that states this; False leaves it to `_exactly`."""
    cells = with_forms(mapping, {name: cell}) if name in mapping.forms else {name: cell}
    found: Candidates = []
    for leaf in leaves:
        text = leaf_text(leaf, cells, [])
        found += read_leaf(leaf, text) or [] if text is not None else []
    return best_cells(mapping, found).get(name, "") == stated


def _leaves(mapping: Mapping, name: str) -> list[Leaf]:
    """The leaves that a column alone fills, and from which it is read."""
    found = (each for root in mapping.roots() for each in slots(root))
    return [leaf for leaf, slot in found if slot.base == name and slot.readable and len(leaf.slots) == 1]


def _exactly(mapping: Mapping, table: pa.Table, row: int, name: str) -> bool:
    """Whether the row, written, has elements that say of a column what they say now."""
    names = [each for each in data_columns(table) if each not in (basis.DIGEST, LOCAL)]
    cells = {each: cell for each in names if (cell := table[each][row].as_py())}
    stated = table[ELEMENT + name][row].as_py() or ""
    return any(_back(mapping, cells | helpers).get(name, "") == stated for helpers in _helpers(mapping, cells))


def _back(mapping: Mapping, cells: dict[str, str]) -> dict[str, str]:
    """What would be read from the elements of a row that is written."""
    row = Row(with_forms(mapping, cells), {})
    resources(mapping, row)
    return implied(mapping) | best_cells(mapping, row.candidates)


def _helpers(mapping: Mapping, cells: dict[str, str]) -> Iterator[dict[str, str]]:
    """The helper columns on which conditions of a mapping rest: a visit may have been part of the study, or not."""
    names = {name for name in _conditions(mapping) if name.startswith("_")}
    ends = {
        name: "Y"
        for name in names
        if name.startswith("_upto_") and upto(*(cells.get(part) for part in name.split("_")[2:]))
    }
    yield ends
    yield ends | {name: "Y" for name in names if name.startswith("_has_")}


def _conditions(mapping: Mapping) -> set[str]:
    found: set[str] = set()
    for block in mapping.blocks:
        found |= set(block.when.columns()) if block.when else set()
    for root in mapping.roots():
        found |= _in_template(root)
    return found


@once
def _in_template(root: Obj) -> frozenset[str]:
    """The columns of the conditions in a template: asked for each row that is looked at closely."""
    conditions = (node.when for node in walk(root) if isinstance(node, Obj) and node.when)
    return frozenset(column for when in conditions for column in when.columns())


def _deciding(mapping: Mapping) -> list[str]:
    """The columns on which it depends whether an element of another column is written."""
    found: set[str] = set()
    for name in _conditions(mapping):
        found |= set(name.split("_")[2:]) if name.startswith("_upto_") else {name.partition(".")[0]}
    for root in mapping.roots():
        for node in walk(root):
            if isinstance(node, OneOf):
                # An id is always written: it decides nothing.
                found |= {slot.base for _, slot in slots(node) if slot.codec.name != "id"}
    return sorted(name for name in found if not name.startswith("_"))


def _keys(mapping: Mapping, table: pa.Table, name: str) -> pa.Table:
    """The deciding columns of rows, a column with forms by the name of its form, and what is to be decided."""
    made = {
        "pair": pc.binary_join_element_wise(
            columns.text(table, name), table[ELEMENT + name].cast(pa.string()).combine_chunks(), "\x1f"
        )
    }
    for each in _deciding(mapping):
        cells = columns.text(table, each)
        forms = mapping.forms.get(each)

        def form(cell: str, each: str = each, forms: Any = forms) -> str:
            return next(iter(virtual_cells(each, forms, cell)), "")

        made[each] = columns.by_distinct(cells, form, pa.string()) if forms else cells
    return pa.table(made)


# -- derived cells


def _marks(domain: str, table: pa.Table, stale: Table[str, pa.Array]) -> list[_Mark]:
    """The rows of each group that are to be derived again; empty where there are none."""
    nothing = pa.repeat(pa.scalar(False), table.num_rows)
    there = [[name for name in basis.names(group, domain)[1] if columns.filled(table, name)] for group in basis.GROUPS]
    if not any(there):
        return []
    before, now = columns.text(table, basis.DIGEST), basis.digests(table, domain)
    found: list[_Mark] = []
    for number, group in enumerate(basis.GROUPS):
        changed = pc.fill_null(pc.not_equal(basis.half(number, before), basis.half(number, now)), False)
        for name in stale.keys() & set(basis.names(group, domain)[0]):
            changed = pc.or_(changed, stale[name])
        unsure = pc.and_(pc.and_(pc.is_null(before), pc.is_valid(now)), pc.invert(changed))
        found.append(_Mark(changed, unsure) if there[number] else _Mark(nothing, nothing))
    return found if any(pc.any(each).as_py() for mark in found for each in (mark.changed, mark.unsure)) else []


def _derive_again(done: Reconciled, marks: Table[str, list[_Mark]]) -> None:
    """Derive what rests on changed cells, and look at what may."""
    cleared = dict(done.tables)
    for domain, groups in marks.items():
        for name, mark in _derived(domain, groups, done.tables[domain]):
            gone = pc.or_(mark.changed, mark.unsure)
            cleared[domain] = columns.put(
                cleared[domain], name, pc.if_else(gone, _NOTHING, columns.text(cleared[domain], name))
            )
    made = derive(cleared).tables
    for domain, groups in marks.items():
        table = done.tables[domain]
        for name, mark in _derived(domain, groups, table):
            old, new = columns.text(done.tables[domain], name), columns.text(made[domain], name)
            other = _differ(old, new)
            again = pc.or_(mark.changed, pc.and_(mark.unsure, pc.and_(other, pc.is_valid(new))))
            table = columns.put(table, name, pc.if_else(again, pc.if_else(other, new, old), columns.text(table, name)))
            lost = pc.and_(again, other)
            if pc.any(lost).as_py():
                done.problems.append(_finding("FS446", domain, done.tables[domain], name, lost))
        done.tables[domain] = table


def _derived(domain: str, groups: Iterable[_Mark], table: pa.Table) -> Iterator[tuple[str, _Mark]]:
    """The derived variables that are filled, and the rows that are to be derived again."""
    for group, mark in zip(basis.GROUPS, groups, strict=True):
        for name in basis.names(group, domain)[1]:
            if not columns.filled(table, name):
                continue
            if name == "AGE":  # collected where there is no date of birth
                born = pc.is_valid(columns.text(table, "BRTHDTC"))
                yield name, _Mark(pc.and_(mark.changed, born), pc.and_(mark.unsure, born))
            elif name.endswith(("LOBXFL", "BLFL")):
                yield name, _Mark(_tests(table, domain, mark.changed), pc.and_(mark.unsure, False))
            else:
                yield name, mark


def _tests(table: pa.Table, domain: str, rows: pa.Array) -> pa.Array:
    """All rows of the subjects and tests of some rows: a flag that one of them loses may go to another."""
    tests = columns.Groups(table, ("USUBJID", f"{domain[:2]}TESTCD")).codes
    return pc.is_in(tests, value_set=tests.filter(rows).unique())


def _differ(old: pa.Array, new: pa.Array) -> pa.Array:
    """Where two columns hold different cells; spellings of the same number are none."""
    other = pc.or_(pc.fill_null(pc.not_equal(old, new), False), pc.xor(pc.is_null(old), pc.is_null(new)))
    both = [columns.by_distinct(each, canonical_number, pa.string()) for each in (old, new)]
    return pc.and_(other, pc.invert(pc.fill_null(pc.equal(*both), False)))


def _finding(code: str, domain: str, table: pa.Table, name: str, rows: pa.Array) -> Problem:
    at = pc.indices_nonzero(rows)
    return Problem(code, place(table, at[0].as_py(), name), table=domain, detail=counted(len(at), "row"))
