"""A whole study's rows out of the batches of a `Reader`: parts of the same row joined on the mapping's key."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.errors import Problem
from fhirspace.mapping.library import Library
from fhirspace.mapping.model import Mapping, Obj, slots
from fhirspace.mapping.read.extract import ORDINAL
from fhirspace.mapping.read.rows import CARRIED_PART, ELEMENT
from fhirspace.template.slots import once

_PLACE = ("@file", "@row")
_NEVER = 9
"""The rank of a column in a part from which it is never read."""


@dataclass(slots=True)
class ReadBatch:
    """What some lines gave.

    Attributes:
        tables: by domain, and in it by part: the index of the block whose resources the rows come from (0 for nested
            domains), `CARRIED_PART` for carried cells of a domain with several row-giving blocks. Text tables with the
            columns that hold a cell; `@row` is the line.
        once: by domain and the index of its block, what resources say that are made once for many rows: it is
            compared with them only.
        unmapped: (line, JSON path) of unmapped content; never its value.
        empty: (line, JSON path) of values that are null or empty; they are read as if they were left out.
        foreign: lines of resources that no block claims.
        contradictory: (line, column) where two elements say different things of a column.
        absent: (line, JSON path) of elements that the row would be written with and that are not there.
        problems: lines that are no JSON object (FS401, FS402, FS403, FS414), or have no resource type (FS410).
        slow: how many lines were read by `extract`; extracted: those of them that a block claims.
    """

    tables: dict[str, dict[int, pa.Table]] = field(default_factory=dict)
    unmapped: list[tuple[int, str]] = field(default_factory=list)
    empty: list[tuple[int, str]] = field(default_factory=list)
    once: list[tuple[str, int, pa.Table]] = field(default_factory=list)
    foreign: list[int] = field(default_factory=list)
    contradictory: list[tuple[int, str]] = field(default_factory=list)
    absent: list[tuple[int, str]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    slow: int = 0
    extracted: list[int] = field(default_factory=list)


class Collector:
    """Collects batches, of one file or many, with all their rows in memory.

    Args:
        library: the mappings by which the batches were read.
    """

    def __init__(self, library: Library) -> None:
        self._mappings = library.mappings
        self._parts: dict[str, dict[int, list[pa.Table]]] = {}
        self.once: list[tuple[str, int, pa.Table]] = []

    def add(self, batch: ReadBatch) -> None:
        """Take the rows of a batch."""
        self.once += batch.once
        for domain, parts in batch.tables.items():
            for index, table in parts.items():
                self._parts.setdefault(domain, {}).setdefault(index, []).append(table)

    def tables(self) -> dict[str, pa.Table]:
        """The text table of each domain that has rows, by name: one row for each row that was written."""
        return {domain: self._table(domain) for domain in sorted(self._parts)}

    def _table(self, domain: str) -> pa.Table:
        parts = [
            (index, pa.concat_tables(tables, promote_options="default"))
            for index, tables in sorted(self._parts[domain].items())
        ]
        mapping = self._mappings[domain]
        if sum(not block.once for block in mapping.blocks) > 1:
            return merge(parts, mapping)
        return _placed(parts[0][1])


def merge(parts: Sequence[tuple[int, pa.Table]], mapping: Mapping) -> pa.Table:
    """Join the partial rows that several blocks' resources give, on the mapping's key.

    A carried cell has priority; else the cell that is read verbatim, else that of the first block (as in
    `values.best_cells`). The n-th partial row of a key joins the n-th of the others, so that none is lost; one without
    a whole key stays alone.

    Args:
        parts: block index (or `CARRIED_PART`) and its partial rows, all columns of the key among them if ever read.
        mapping: the domain's mapping.

    Returns:
        The rows, in the order in which the blocks in their order have them, with `@file` and `@row` of the first part.
    """
    ordered = sorted(((index, table) for index, table in parts if table.num_rows), key=lambda part: part[0])
    placed = [part for part in ordered if part[0] != CARRIED_PART] + [
        part for part in ordered if part[0] == CARRIED_PART
    ]
    rows: dict[tuple[object, ...], list[int | None]] = {}
    for position, (_, table) in enumerate(placed):
        for row, key in enumerate(_keys(table, mapping.key, position)):
            rows.setdefault(key, [None] * len(placed))[position] = row
    taken = {
        index: table.take(pa.array([found[position] for found in rows.values()], pa.int64()))
        for position, (index, table) in enumerate(placed)
    }
    apart = (*_PLACE, ORDINAL)
    names = dict.fromkeys(name for table in taken.values() for name in table.column_names if name not in apart)
    columns = {name: _coalesced(name, taken, _order(mapping, name, list(taken))) for name in (*names, *_PLACE)}
    return pa.table(columns | _stated(taken, mapping, columns))


def _stated(tables: dict[int, pa.Table], mapping: Mapping, columns: dict[str, pa.Array]) -> dict[str, pa.Array]:
    """What the elements of the other parts say of the columns that one part carries."""
    found: dict[str, pa.Array] = {}
    if CARRIED_PART not in tables:
        return found
    carried = tables[CARRIED_PART]
    for name in carried.column_names:
        apart = [
            table
            for index, table in tables.items()
            if index != CARRIED_PART
            and _rank(mapping, name, index) < _NEVER
            and ELEMENT + name not in table.column_names
        ]
        others = [table[name] for table in apart if name in table.column_names]
        if others and name not in (*mapping.key, *_PLACE, ORDINAL):
            own = columns.get(ELEMENT + name)
            first = [pc.if_else(pc.equal(own, ""), pa.scalar(None, pa.string()), own)] if own is not None else []
            stated = pc.coalesce(*first, *others, "")
            there = pc.is_valid(carried[name])
            found[ELEMENT + name] = pc.if_else(there, stated, pa.scalar(None, pa.string()))
    return found


def _keys(table: pa.Table, key: Iterable[str], position: int) -> Iterator[tuple[object, ...]]:
    """The key of each row and which of its rows it is; a row without a whole key has one of its own."""
    columns = [_listed(table, name) for name in key]
    columns.append([ordinal or "" for ordinal in _listed(table, ORDINAL)])
    seen: Counter[tuple[object, ...]] = Counter()
    for row, cells in enumerate(zip(*columns, strict=True)):
        if None in cells:
            yield (position, row)
            continue
        seen[cells] += 1
        yield (*cells, seen[cells])


def _listed(table: pa.Table, name: str) -> list[str | None]:
    cells: list[str | None] = table[name].to_pylist() if name in table.column_names else [None] * table.num_rows
    return cells


def _order(mapping: Mapping, column: str, indices: Sequence[int]) -> list[int]:
    """The parts in the order in which their cells of a column count."""
    if column in _PLACE:
        return [index for index in indices if index != CARRIED_PART] + [CARRIED_PART] * (CARRIED_PART in indices)
    return sorted(indices, key=lambda index: (index != CARRIED_PART, _rank(mapping, column, index), index))


def _rank(mapping: Mapping, column: str, index: int) -> int:
    if index == CARRIED_PART:
        return 0
    return _ranks(mapping.blocks[index].root).get(column, _NEVER)


@once
def _ranks(root: Obj) -> dict[str, int]:
    """The least rank of the slots from which each column is read."""
    found: dict[str, int] = {}
    for _, slot in slots(root):
        if slot.readable:
            found[slot.base] = min(slot.codec.rank, found.get(slot.base, _NEVER))
    return found


def _coalesced(name: str, tables: dict[int, pa.Table], order: Sequence[int]) -> pa.ChunkedArray:
    columns = [tables[index][name] for index in order if name in tables[index].column_names]
    if name == "@file":
        return pc.coalesce(*(column.cast(pa.string()) for column in columns)).dictionary_encode()
    return pc.coalesce(*columns) if len(columns) > 1 else columns[0]


def _placed(table: pa.Table) -> pa.Table:
    """The table with `@file` and `@row` last, and one dictionary of files."""
    names = [name for name in table.column_names if name not in _PLACE]
    return table.select([*names, *_PLACE]).unify_dictionaries()
