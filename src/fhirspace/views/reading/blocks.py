"""The values of a block of resources, and how those of several blocks are put together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa

from fhirspace.fhir.status import Verdict
from fhirspace.tables.text import TEXT
from fhirspace.views.definition.rows import Table
from fhirspace.views.plan import Part

_INT: Final = pa.int32()


@lru_cache(maxsize=4)
def nothing(count: int) -> pa.Array:
    """No text for any of some rows; most of what a plan names is in no resource, so that one array serves for it."""
    return pa.nulls(count, TEXT)


class Values(NamedTuple):
    """One value of each row: its text (the first one of several), and whether there are several."""

    texts: pa.Array
    many: pa.Array | None


class Fault(NamedTuple):
    """What is wrong in one resource: a catalogue code, the path of the element."""

    code: str
    path: str


class Items(NamedTuple):
    """The items of an element of all rows: the row of each, and its values by name."""

    rows: pa.Array
    values: dict[str, Values]


@dataclass(slots=True)
class Block:
    """The values of a block of resources of one type.

    Attributes:
        values: by name. items: by element. faults, verdicts: by row.
        unmapped: lists of paths that nobody reads, and the number of the list of each row.
        contained: resources within others, with the row of these. tables: those of ViewDefinitions by name.
    """

    count: int
    values: dict[str, Values] = field(default_factory=dict)
    items: dict[str, Items] = field(default_factory=dict)
    faults: dict[int, Fault] = field(default_factory=dict)
    verdicts: dict[int, list[Verdict]] = field(default_factory=dict)
    unmapped: list[tuple[list[tuple[str, ...]], pa.Array]] = field(default_factory=list)
    contained: list[tuple[int, bytes]] = field(default_factory=list)
    tables: dict[str, Table] = field(default_factory=dict)

    def add_nothing(self, part: Part) -> None:
        """Adds an element that no resource of the block has."""
        self.values |= {name: Values(nothing(self.count), None) for name in part.reads}
        if part.items:
            none = pa.nulls(0, TEXT)
            values = {name: Values(none, None) for name in part.items}
            self.items[part.name] = Items(pa.array([], pa.int64()), values)


def together(parts: Sequence[tuple[Any, Block]]) -> Block:
    """One block of several without tables, each with the rows that its resources have in it."""
    if len(parts) == 1:
        return parts[0][1]
    made = Block(sum(block.count for _, block in parts))
    order = pa.array(np.argsort(np.concatenate([rows for rows, _ in parts]), kind="stable"))
    for name in parts[0][1].values:
        made.values[name] = taken(concatenated([block.values[name] for _, block in parts]), order)
    for name in parts[0][1].items:
        made.items[name] = _items([(rows, block.items[name]) for rows, block in parts])
    faults, verdicts, contained = list[tuple[int, Fault]](), list[tuple[int, list[Verdict]]](), made.contained
    for rows, block in parts:
        faults += [(int(rows[at]), each) for at, each in block.faults.items()]
        verdicts += [(int(rows[at]), each) for at, each in block.verdicts.items()]
        contained += [(int(rows[at]), raw) for at, raw in block.contained]
        for lists, numbers in block.unmapped:
            spread = np.zeros(made.count, np.int32)
            spread[rows] = numbers.to_numpy(zero_copy_only=False) + 1
            made.unmapped.append(([(), *lists], pa.array(spread)))
    made.faults, made.verdicts = dict(sorted(faults)), dict(sorted(verdicts, key=lambda each: each[0]))
    contained.sort(key=lambda each: each[0])
    return made


def _items(parts: list[tuple[Any, Items]]) -> Items:
    found = np.concatenate([rows[items.rows.to_numpy()] for rows, items in parts])
    order = np.argsort(found, kind="stable")
    values = {
        name: taken(concatenated([items.values[name] for _, items in parts]), pa.array(order))
        for name in parts[0][1].values
    }
    return Items(pa.array(found[order]), values)


def taken(values: Values, rows: pa.Array) -> Values:
    """The values of some rows."""
    return Values(values.texts.take(rows), None if values.many is None else values.many.take(rows))


def concatenated(parts: Sequence[Values]) -> Values:
    """The values of several blocks, one after the other."""
    arrays = [each.texts for each in parts]
    if all(each.null_count == len(each) for each in arrays):
        texts = nothing(sum(map(len, arrays)))
    elif len(arrays) == 1:
        texts = arrays[0]
    elif all(pa.types.is_dictionary(each.type) for each in arrays):
        texts = pa.chunked_array(arrays, pa.dictionary(_INT, TEXT)).unify_dictionaries().combine_chunks()
    else:
        texts = pa.concat_arrays([each if each.type == TEXT else each.cast(TEXT) for each in arrays])
    many = None
    if any(each.many is not None for each in parts):
        flags = [each.many if each.many is not None else pa.repeat(pa.scalar(False), len(each.texts)) for each in parts]
        many = pa.concat_arrays(flags)
    return Values(texts, many)
