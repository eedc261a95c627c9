"""Rows whose key is not their own: two rows of one key, or a row without the number that its id is made from.

Each gets an ordinal among the rows of its key (`REPEAT`), from which its id and identifier are made: decision 0023.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.mapping.model import Mapping
from fhirspace.sdtm.columns import Groups, by_distinct, run_starts, text
from fhirspace.tables.text import data_columns
from fhirspace.template.codec import CellError
from fhirspace.template.slots import Leaf, Slot

REPEATING = frozenset({"FS726", "FS739", "FS765"})
"""What the check reports of such rows; where it does, nothing else needs to be reported of them."""


def ordinals(table: pa.Table, mapping: Mapping) -> pa.Array | None:
    """The ordinal of each row whose key is not its own, as text, null in all others; None if there is no such row.

    Of the rows of one key the first in the order of their cells has none: its id is that of a row with a key of its
    own. The order does not depend on that of the rows, so that tables in another order give the same ids.

    Args:
        table: all rows of some subjects; mapping: that of their dataset.
    """
    slots = identity(mapping)
    if not slots:
        return None
    names = [slot.column for slot in slots]
    keys = pa.table({slot.column: _key(slot, text(table, slot.column)) for slot in slots})
    groups = Groups(keys, names)
    unnumbered = keys[names[-1]].is_null().combine_chunks() if len(names) > 1 else pa.array([False] * len(table))
    if groups.count == len(table) and not pc.any(unnumbered).as_py():
        return None
    counts = pc.value_counts(groups.codes)
    several = counts.field("values").filter(pc.greater(counts.field("counts"), 1))
    wanted = pc.or_(unnumbered, pc.is_in(groups.codes, value_set=several))
    for name in names[:-1] if len(names) > 1 else names:
        wanted = pc.and_(wanted, keys[name].is_valid().combine_chunks())
    return _numbered(table, groups.codes, wanted, unnumbered) if pc.any(wanted).as_py() else None


def identity(mapping: Mapping) -> tuple[Slot, ...]:
    """The slots from which the ids of a mapping's rows are made; the last one numbers the rows of a subject."""
    for block in mapping.blocks:
        made = dict(block.root.fields).get("id")
        if not block.once and isinstance(made, Leaf):
            return made.slots
    return ()


def _key(slot: Slot, cells: pa.Array) -> pa.Array:
    """What a cell contributes to an id: spellings of one number are one; null if it contributes nothing."""

    def key(cell: str) -> str | None:
        try:
            return slot.codec.out(cell)
        except CellError:
            return None

    return by_distinct(cells, key, pa.string()) if slot.readable else cells


def _numbered(table: pa.Table, codes: pa.Array, wanted: pa.Array, unnumbered: pa.Array) -> pa.Array:
    rows = pc.indices_nonzero(wanted).cast(pa.int64())
    some = table.take(rows)
    sort = {f"c{at}": text(some, name) for at, name in enumerate(sorted(data_columns(some)))}
    order = pc.sort_indices(
        pa.table({"code": codes.take(rows), **sort}), [(name, "ascending") for name in ("code", *sort)]
    )
    placed = rows.take(order)
    sorted_codes = codes.take(placed)
    number = pc.add(pc.subtract(pa.array(range(len(placed)), pa.int64()), run_starts(sorted_codes)), 1)
    first = pc.and_(pc.equal(number, 1), pc.invert(unnumbered.take(placed)))
    texts = pc.if_else(first, pa.scalar(None, pa.string()), number.cast(pa.string()))
    back = pc.sort_indices(placed)
    return pc.replace_with_mask(pa.nulls(len(table), pa.string()), wanted, texts.take(back))
