"""Rows that are nested in their parent row's resource: their finished items, found by the key of both."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.mapping.model import Attach
from fhirspace.sdtm.columns import by_distinct, text
from fhirspace.standards.units import canonical_number
from fhirspace.study.dataset import Tabulation
from fhirspace.tables.text import row_column
from fhirspace.template.slots import REPEAT

_GLUE = "\x1f"


class NestedRows:
    """The items of one dataset of nested rows, joined in order for each parent row.

    Args:
        attach: how its rows find their parents; table: its rows; items: the item of each row, null where the row is
            bad.
        parents: all parent rows: where one has a value letter by letter (01), a row does not find another spelling (1).
        shared: whether the parent's resource is made once for many rows, so that each of them gets the items; else the
            first parent row with a key gets them.
    """

    def __init__(
        self,
        attach: Attach,
        table: pa.Table,
        items: pa.Array,
        *,
        parents: Tabulation | None = None,
        shared: bool = False,
    ) -> None:
        self._groups = [
            _Group(attach, linked, table, items, found, shared=shared, letters=letters)
            for linked, rows in _kinds(attach, table)
            for letters, found in _by_letters(attach, linked, table, rows, parents)
        ]

    def texts(self, batch: pa.RecordBatch) -> pa.Array:
        """For each row of a parent batch its comma-joined nested items, null without any."""
        joined = pa.nulls(batch.num_rows, pa.string())
        for group in self._groups:
            found = group.texts(batch)
            both = pc.binary_join_element_wise(joined, found, ",", null_handling="emit_null")
            joined = pc.coalesce(both, joined, found)
        return joined

    def rows_in(self, parents: Sequence[int]) -> Iterator[int]:
        """The nested rows that some rows of the last parent batch got (`texts`)."""
        for group in self._groups:
            yield from group.rows_in(parents)

    def rows_at(self, batch: pa.RecordBatch, parents: Sequence[int]) -> Iterator[int]:
        """The nested rows with the keys of some rows of a parent batch."""
        for group in self._groups:
            yield from group.rows_at(batch, parents)

    def orphans(self) -> Iterator[int]:
        """The rows without a parent row in any batch so far."""
        for group in self._groups:
            yield from group.orphans()


class _Group:
    """The rows that find their parent by the same columns: those in `on`, and the one that IDVAR names, if any."""

    def __init__(
        self,
        attach: Attach,
        linked: str | None,
        table: pa.Table,
        items: pa.Array,
        rows: pa.Array,
        *,
        shared: bool,
        letters: bool,
    ) -> None:
        self._on, self._linked, self._shared, self._letters = attach.on, linked, shared, letters
        value = text(table, attach.via[1]) if attach.via and linked else None
        keys = _keys([text(table, name) for name in attach.on], value, letters=letters).take(rows).to_pylist()
        self._rows: dict[str, list[int]] = {}
        for row, key in zip(rows.to_pylist(), keys, strict=True):
            self._rows.setdefault(key or "", []).append(row)
        self._keys = pa.array(list(self._rows), pa.string())
        by_row = dict(zip(rows.to_pylist(), items.take(rows).to_pylist(), strict=True))
        self._texts = pa.array([_joined(by_row[row] for row in some) for some in self._rows.values()], pa.string())
        self._used: set[int | None] = set()
        self._given: list[int | None] = []

    def texts(self, batch: pa.RecordBatch) -> pa.Array:
        found = pc.index_in(self._parent_keys(batch), value_set=self._keys).to_pylist()
        given: list[int | None] = found if self._shared else [None] * len(found)
        for row in () if self._shared else _own_keys_first(batch):
            if found[row] is not None and found[row] not in self._used:
                given[row] = found[row]
                self._used.add(found[row])
        self._used.update(found)
        self._given = given
        return self._texts.take(pa.array(given, pa.int32()))

    def rows_at(self, batch: pa.RecordBatch, parents: Sequence[int]) -> Iterator[int]:
        picked = batch.take(pa.array(parents, pa.int64()))
        for key in () if self._shared else self._parent_keys(picked).to_pylist():
            yield from self._rows.get(key or "", ())

    def rows_in(self, parents: Sequence[int]) -> Iterator[int]:
        listed = list(self._rows.values())
        for row in () if self._shared else parents:
            index = self._given[row]
            yield from listed[index] if index is not None else ()

    def orphans(self) -> Iterator[int]:
        for index, rows in enumerate(self._rows.values()):
            if index not in self._used:
                yield from rows

    def _parent_keys(self, batch: pa.RecordBatch) -> pa.Array:
        table = pa.Table.from_batches([batch])
        linked = text(table, self._linked) if self._linked else None
        return _keys([text(table, name) for name in self._on], linked, letters=self._letters)


def _own_keys_first(batch: pa.RecordBatch) -> Iterable[int]:
    """The rows of a batch, those whose key is their own before others with the same key."""
    if REPEAT not in batch.schema.names:
        return range(batch.num_rows)
    own = batch.column(REPEAT).is_null()
    return [*pc.indices_nonzero(own).to_pylist(), *pc.indices_nonzero(pc.invert(own)).to_pylist()]


def _joined(texts: Iterable[str | None]) -> str | None:
    return ",".join(text for text in texts if text is not None) or None


def _kinds(attach: Attach, table: pa.Table) -> Iterator[tuple[str | None, pa.Array]]:
    """The parent's own key column and the rows (in order) that use it: one kind, or one for each IDVAR."""
    order = _order(attach, table)
    if attach.via is None:
        yield None, order
        return
    variable = text(table, attach.via[0]).take(order)
    for name in variable.unique().to_pylist():
        chosen = pc.is_null(variable) if name is None else pc.equal(variable, name)
        yield name, order.filter(pc.fill_null(chosen, False))


def _by_letters(
    attach: Attach, linked: str | None, table: pa.Table, rows: pa.Array, parents: Tabulation | None
) -> Iterator[tuple[bool, pa.Array]]:
    """The rows whose parent has their value letter by letter, and those that find one as a number (1 and 1.0)."""
    if parents is None or not linked or linked.endswith("SEQ") or not attach.via or linked not in parents.columns:
        yield False, rows
        return
    known = parents.table([*attach.on, linked])
    cells = text(known, linked)
    if cells.equals(by_distinct(cells, _plain, pa.string())):  # no number has two spellings there
        yield False, rows
        return
    own = _keys([text(table, name) for name in attach.on], text(table, attach.via[1]), letters=True).take(rows)
    same = pc.is_in(own, value_set=_keys([text(known, name) for name in attach.on], cells, letters=True))
    yield True, rows.filter(same)
    yield False, rows.filter(pc.invert(same))


def _order(attach: Attach, table: pa.Table) -> pa.Array:
    """The rows in the order of their items: numbers by size, then texts; equal ones as they came."""
    keys = {}
    for number, name in enumerate(attach.order):
        cells = text(table, name)
        keys[f"n{number}"] = by_distinct(cells, _number, pa.float64())
        keys[f"t{number}"] = cells
    keys["row"] = row_column(0, table.num_rows)
    return pc.sort_indices(pa.table(keys), sort_keys=[(name, "ascending") for name in keys])


def _number(cell: str) -> float | None:
    return float(cell) if canonical_number(cell) else None


def _keys(shared: Sequence[pa.Array], linked: pa.Array | None, *, letters: bool) -> pa.Array:
    """Key texts; the linked value counts as a number where it is one, so that 1 and 1.0 meet, unless `letters` count.

    A column that both rows leave empty is shared, too: a device and its supplemental qualifiers have no subject.
    """
    cells = [
        *(pc.fill_null(each, "") for each in shared),
        *([] if linked is None else [linked if letters else by_distinct(linked, _plain, pa.string())]),
    ]
    return pc.binary_join_element_wise(*cells, _GLUE, null_handling="emit_null")


def _plain(cell: str) -> str:
    return canonical_number(cell) or cell
