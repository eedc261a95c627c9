"""FHIR that was changed after it was written: its elements win over carried cells and over what was derived from them.

A carried cell is used only while writing it again gives the elements as they are. Of variables that elements hold or
the extension carries, but that were derived from other cells (study days, standard results), a digest of these cells
says whether they changed (`fhirspace.sdtm.derive.basis`): then they are derived again. Decision 0019 says why.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping as Table, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.errors import Problem
from fhirspace.foreign import counted
from fhirspace.mapping.library import Library
from fhirspace.mapping.model import Mapping
from fhirspace.mapping.read.rows import ELEMENT
from fhirspace.mapping.read.witness import is_hidden
from fhirspace.sdtm import columns
from fhirspace.sdtm.derive import basis
from fhirspace.sdtm.derive.derive import derive
from fhirspace.sdtm.zones import without_offsets
from fhirspace.standards.units import canonical_number
from fhirspace.study.reading.carried import Comparison
from fhirspace.study.reading.moved_visits import misplaced
from fhirspace.study.reading.witnesses import contradictions
from fhirspace.tables.text import place


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

    def __or__(self, other: _Mark) -> _Mark:
        """The rows that one of two marks has."""
        return _Mark(pc.or_(self.changed, other.changed), pc.or_(self.unsure, other.unsure))


def reconcile(
    tables: Table[str, pa.Table],
    library: Library,
    once: Iterable[tuple[str, int, pa.Table]] = (),
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
    stale = {domain: _elements_win(done, domain, library.mappings[domain]) for domain in tables}
    seen = dict(done.tables)
    digests = basis.digests(seen)
    marks, moved = _marks(seen, stale, digests)
    done.problems += misplaced(seen, digests)
    for domain, table in seen.items():
        extra = [
            each for each in table.column_names if each.startswith(ELEMENT) or each == basis.DIGEST or is_hidden(each)
        ]
        done.tables[domain] = table.drop_columns(extra) if extra else table
    done.problems += contradictions(seen, once, library)
    done.tables = without_offsets(done.tables, zones)
    if marks or moved:
        _derive_again(done, marks, moved)
    return done


_NOTHING = pa.scalar(None, pa.string())
_DECIDING: Final = {"DM": ("RFSTDTC",), "SE": ("SESTDTC", "SEENDTC")}
"""The dates of a subject on which variables of its other datasets rest."""
_RESTING: Final = {"DM": ("--DY", "--STDY", "--ENDY"), "SE": ("EPOCH", "TAETORD")}


# -- carried cells


def _elements_win(done: Reconciled, domain: str, mapping: Mapping) -> dict[str, pa.Array]:
    """Put what the elements say in place of stale carried cells; by column the rows in which that was done."""
    table, found = done.tables[domain], dict[str, pa.Array]()
    comparison = Comparison(mapping)
    for name in [each.removeprefix(ELEMENT) for each in table.column_names if each.startswith(ELEMENT)]:
        stale = comparison.stale(table, name)
        if stale is not None:
            found[name] = stale
            done.problems.append(_finding("FS445", domain, table, name, stale))
            stated = pc.if_else(pc.equal(table[ELEMENT + name], ""), _NOTHING, table[ELEMENT + name])
            table = columns.put(table, name, pc.if_else(stale, stated, columns.text(table, name)))
    done.tables[domain] = table
    return found


# -- derived cells


_Marks: TypeAlias = dict[str, list[_Mark]]
"""By dataset the rows of each group that are to be derived again."""
_Moved: TypeAlias = dict[str, dict[str, _Mark]]
"""By dataset and variable the rows that rest on changed dates of another dataset."""


def _marks(
    tables: Table[str, pa.Table], stale: Table[str, Table[str, pa.Array]], digests: Table[str, pa.Array]
) -> tuple[_Marks, _Moved]:
    """What is to be derived again: where digests are no longer those of the cells, or the elements won over cells."""
    moved: _Moved = {}
    for source in (each for each in _DECIDING if each in tables):
        for domain, found in _beyond(source, tables, stale[source], digests[source]).items():
            moved.setdefault(domain, {}).update(found)
    marks = {domain: _marked(domain, table, stale[domain], digests[domain]) for domain, table in tables.items()}
    return {domain: some for domain, some in marks.items() if some}, moved


def _marked(domain: str, table: pa.Table, stale: Table[str, pa.Array], now: pa.Array) -> list[_Mark]:
    """The rows of each group of a dataset with these digests; empty where there are none."""
    before = columns.text(table, basis.DIGEST)
    if not stale and before.equals(now):
        return []
    there = basis.derived(table, domain)
    nothing = pa.repeat(pa.scalar(False), table.num_rows)
    found: list[_Mark] = []
    for number, group in enumerate(basis.GROUPS):
        changed = pc.fill_null(pc.not_equal(basis.half(number, before), basis.half(number, now)), False)
        for name in stale.keys() & set(basis.names(group, domain)[0]):
            changed = pc.or_(changed, stale[name])
        unsure = pc.and_(pc.and_(pc.is_null(before), pc.is_valid(now)), pc.invert(changed))
        found.append(_Mark(changed, unsure) if there[number] else _Mark(nothing, nothing))
    return found if any(pc.any(each).as_py() for mark in found for each in (mark.changed, mark.unsure)) else []


def _beyond(
    source: str, tables: Table[str, pa.Table], stale: Table[str, pa.Array], now: pa.Array
) -> dict[str, dict[str, _Mark]]:
    """By dataset and variable the rows that rest on changed dates of another dataset, DM or SE.

    The digest of DM says of several dates that one of them was changed: then it is not sure that it was day 1.
    """
    table = tables[source]
    before = columns.text(table, basis.DIGEST)
    moved = [stale[name] for name in _DECIDING[source] if name in stale]
    if not (moved or "RFXSTDTC" in stale) and before.equals(now):
        return {}
    other = pc.fill_null(pc.not_equal(basis.half(1, before), basis.half(1, now)), False)
    sure = other if source == "SE" else pc.and_(other, pc.is_null(columns.text(table, "RFSTDTC")))
    for each in moved:
        sure = pc.or_(sure, each)
    names = columns.text(table, "USUBJID")
    found: dict[str, dict[str, _Mark]] = {}
    several = names.filter(sure), names.filter(pc.and_(other, pc.invert(sure)))
    _resting(found, tables, source, _RESTING[source], several)
    if source == "DM":
        exposed = names.filter(_exposed_otherwise(before, now, stale))
        _resting(found, tables, source, ("--LOBXFL",), (exposed, exposed.slice(0, 0)))
    return found


def _exposed_otherwise(before: pa.Array, now: pa.Array, stale: Table[str, pa.Array]) -> pa.Array:
    """The subjects with another first exposure than when they were written; older digests say nothing of it."""
    was, this = basis.half(0, before), basis.half(0, now)
    moved = pc.fill_null(pc.and_(pc.not_equal(was, this), pc.not_equal(was, basis.NO_CELLS)), False)
    return pc.or_(moved, stale["RFXSTDTC"]) if "RFXSTDTC" in stale else moved


def _resting(
    found: dict[str, dict[str, _Mark]],
    tables: Table[str, pa.Table],
    source: str,
    variables: Sequence[str],
    subjects: tuple[pa.Array, pa.Array],
) -> None:
    """Add the marks of variables of other datasets, of subjects of which a date changed, and of which it may have."""
    for domain in tables.keys() - {source} if any(map(len, subjects)) else ():
        of = columns.text(tables[domain], "USUBJID")
        for name in (each.replace("--", domain[:2]) for each in variables):
            if columns.filled(tables[domain], name):
                mark = _Mark(*(pc.is_in(of, value_set=each) for each in subjects))
                found.setdefault(domain, {})[name] = mark


def _derive_again(done: Reconciled, marks: Table[str, list[_Mark]], moved: Table[str, Table[str, _Mark]]) -> None:
    """Derive what rests on changed cells, and look at what may."""
    cleared, concerned = dict(done.tables), [name for name in done.tables if name in marks or name in moved]
    for domain in concerned:
        for name, mark in _derived(domain, marks.get(domain), moved.get(domain, {}), done.tables[domain]):
            gone = pc.or_(mark.changed, mark.unsure)
            cleared[domain] = columns.put(
                cleared[domain], name, pc.if_else(gone, _NOTHING, columns.text(cleared[domain], name))
            )
    made = derive(cleared).tables
    for domain in concerned:
        table = done.tables[domain]
        for name, mark in _derived(domain, marks.get(domain), moved.get(domain, {}), table):
            old, new = columns.text(done.tables[domain], name), columns.text(made[domain], name)
            other = _differ(old, new)
            again = pc.or_(mark.changed, pc.and_(mark.unsure, pc.and_(other, pc.is_valid(new))))
            table = columns.put(table, name, pc.if_else(again, pc.if_else(other, new, old), columns.text(table, name)))
            lost = pc.and_(again, other)
            if pc.any(lost).as_py():
                done.problems.append(_finding("FS446", domain, done.tables[domain], name, lost))
        done.tables[domain] = table


def _derived(
    domain: str, groups: Sequence[_Mark] | None, moved: Table[str, _Mark], table: pa.Table
) -> Iterator[tuple[str, _Mark]]:
    """The derived variables that are filled, and the rows that are to be derived again."""
    nothing = _Mark(*[pa.repeat(pa.scalar(False), table.num_rows)] * 2)
    for number, group in enumerate(basis.GROUPS):
        mark = groups[number] if groups else nothing
        for name in basis.names(group, domain)[1]:
            if not columns.filled(table, name):
                continue
            if name == "AGE":  # collected where there is no date of birth
                born = pc.is_valid(columns.text(table, "BRTHDTC"))
                yield name, _Mark(pc.and_(mark.changed, born), pc.and_(mark.unsure, born))
            elif name.endswith(("LOBXFL", "BLFL")):
                flags = _Mark(_tests(table, domain, mark.changed), pc.and_(mark.unsure, False))
                yield name, flags | moved[name] if name in moved else flags
            else:
                yield name, mark | moved[name] if name in moved else mark


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
