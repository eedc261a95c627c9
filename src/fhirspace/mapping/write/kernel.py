"""Rows to FHIR as Arrow: the bytes of `render` for whole batches.

Each distinct text is rendered once, in Python and by the renderer's own functions; Arrow assembles the rows. See
`placeholders` for the idea, `plan` for what is decided by batch, docs/decisions/0006-kernel.md for the gain.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping as Table
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.mapping.cells import with_forms
from fhirspace.mapping.model import Mapping
from fhirspace.mapping.write.columns import Coded, count
from fhirspace.mapping.write.parts import Few, Many, Part, assemble, merged
from fhirspace.mapping.write.placeholders import CARRIED, SLOW, each_column
from fhirspace.mapping.write.plan import Line, Plan, Tuning
from fhirspace.mapping.write.render import BadRow, render
from fhirspace.mapping.write.sections import Ran, Section
from fhirspace.template.slots import REPEAT
from fhirspace.template.values import Fault, holds

_LIMIT = 2**31 - 1
_SAMPLE = 512
_SPARE = 1.05


@dataclass(frozen=True)
class Rendered:
    """The lines of a batch.

    Attributes:
        texts: by block of the mapping (one for the item of a nested domain), binary or large_binary, a value a row;
            a block's lines end with a line end. Null where the block's condition does not hold, where a block that is
            made once has been made before, and where the row is bad. Nulls have no bytes.
        faults: (row of the batch, fault), all faults of each bad row, in order.
        tolerated: (row of the batch, fault), of cells that no element can hold and that are carried.
    """

    texts: list[pa.Array]
    faults: list[tuple[int, Fault]]
    tolerated: list[tuple[int, Fault]]

    def lines(self, block: int) -> pa.Buffer:
        """The bytes of all lines of a block, one after the other, ready to be written."""
        array = self.texts[block]
        if not len(array):
            return pa.py_buffer(b"")
        type_ = pa.int64() if pa.types.is_large_binary(array.type) else pa.int32()
        offsets = pa.Array.from_buffers(type_, len(array) + 1, [None, array.buffers()[1]], offset=array.offset)
        start = offsets[0].as_py()
        return array.buffers()[2].slice(start, offsets[-1].as_py() - start)


class Kernel:
    """Renders batches of one domain; tables of distinct values are kept from batch to batch.

    Args:
        mapping: the domain's mapping.
        tuning: thresholds, for tests and measurements.
        strict: a row with a cell that no element can hold is a bad row; otherwise the cell is carried.
    """

    def __init__(self, mapping: Mapping, tuning: Tuning | None = None, *, strict: bool = True) -> None:
        self._mapping, self._strict = mapping, strict
        self._tuning = tuning or Tuning()
        self._plan: Plan | None = None
        self._strained = 0
        self._patience = 2
        self._made: list[set[tuple[str | None, ...]]] = [set() for _ in mapping.blocks]

    def run(self, batch: pa.RecordBatch | pa.Table, each: Table[str, pa.Array] | None = None) -> Rendered:
        """The lines of a batch, byte for byte those of `render` row by row.

        Args:
            batch: text columns (string or dictionary of strings), null for a missing cell; ``@X`` columns are ignored,
                ``_X`` columns are helpers; a column that the mapping knows and the batch has not counts as missing.
            each: by nested domain, the JSON items nested in each row's resource, joined by commas, null for none.
        """
        whole = pa.Table.from_batches([batch]) if isinstance(batch, pa.RecordBatch) else batch
        texts: list[list[pa.Array]] = [[] for _ in self._mapping.blocks or [None]]
        faults: list[tuple[int, Fault]] = []
        tolerated: list[tuple[int, Fault]] = []
        start = 0
        for piece in whole.to_batches(max_chunksize=self._tuning.rows):
            items = {domain: _part(array, start, len(piece)) for domain, array in (each or {}).items()}
            made = self._piece(piece, items)
            for block, array in zip(texts, made.texts, strict=True):
                block.append(array)
            faults += [(start + row, fault) for row, fault in made.faults]
            tolerated += [(start + row, fault) for row, fault in made.tolerated]
            start += len(piece)
        return Rendered([_concatenated(arrays) for arrays in texts], faults, tolerated)

    def _piece(self, batch: pa.RecordBatch, items: dict[str, pa.Array]) -> Rendered:
        plan = self._planned(batch)
        before = plan.rendered
        made = _Batch(self._mapping, plan, batch, items, strict=self._strict).run(self._made)
        strained = len(batch) > 256 and plan.rendered - before > len(batch) // 8
        self._strained = self._strained + 1 if strained else 0
        return made

    def _planned(self, batch: pa.RecordBatch) -> Plan:
        """The plan in force; a new one for other columns, a much larger batch, or when too little repeats under it."""
        plan = self._plan
        names = tuple(name for name in batch.schema.names if name[0] != "@")
        tired = self._strained >= self._patience
        if (
            plan is None
            or plan.names != names
            or len(batch) > 8 * plan.rows
            or tired
            or plan.known > self._tuning.table
        ):
            if tired:
                self._strained, self._patience = 0, self._patience * 2
            plan = self._plan = Plan(self._mapping, batch, self._tuning)
        return plan


def _part(array: pa.Array | pa.ChunkedArray, start: int, length: int) -> pa.Array:
    part = array.slice(start, length)
    part = part.combine_chunks() if isinstance(part, pa.ChunkedArray) else part
    return part.cast(pa.string())


def _concatenated(arrays: list[pa.Array]) -> pa.Array:
    if len(arrays) == 1:
        return arrays[0]
    if sum(each.nbytes for each in arrays) > _LIMIT:
        arrays = [each.cast(pa.large_binary()) for each in arrays]
    return pa.concat_arrays(arrays) if arrays else pa.array([], pa.binary())


class _Batch:
    """One batch while a plan is applied to it."""

    def __init__(
        self, mapping: Mapping, plan: Plan, batch: pa.RecordBatch, items: dict[str, pa.Array], *, strict: bool
    ) -> None:
        self._mapping, self._plan, self._batch, self._items = mapping, plan, batch, items
        self._strict = strict
        self._rows = len(batch)
        self._coded = plan.code(batch, {each_column(domain): array for domain, array in items.items()})
        self._slow: pa.Array | None = None
        self._carried: list[tuple[Section, Ran]] = []

    def run(self, made_before: list[set[tuple[str | None, ...]]]) -> Rendered:
        plan = self._plan
        if not self._rows:
            return Rendered([pa.array([], pa.binary()) for _ in plan.lines], [], [])
        self._find_slow_cells()
        self._carried, state = self._chain(plan.carried, None)
        self._coded[each_column(CARRIED)] = Coded(state)
        whens = [self._when(each) for each in plan.lines]
        chains = [self._chain(each.sections, when)[0] for each, when in zip(plan.lines, whens, strict=True)]
        slow = self._slow_rows(len(plan.lines))
        texts = []
        for place, (each, when, chain) in enumerate(zip(plan.lines, whens, chains, strict=True)):
            alive = self._alive(when, slow, place)
            if each.once:
                alive = self._first(each, alive, made_before[place])
            texts.append(self._assembled(each, chain, alive, slow.at[place]))
        return Rendered(texts, slow.faults, slow.tolerated)

    # -- keys

    def _find_slow_cells(self) -> None:
        """Rows with a cell or an identity that only the renderer can decide need no keys."""
        if REPEAT in self._batch.schema.names:
            self._mark_slow(self._batch.column(REPEAT).is_valid(), None)
        for coded in self._coded.values():
            if coded.odd:
                whole = isinstance(coded.codes, int)
                self._mark_slow(True if whole else pc.equal(coded.codes, pa.scalar(SLOW, pa.int64())), None)

    def _mark_slow(self, slow: pa.Array | bool, where: pa.Array | bool | None) -> None:
        if isinstance(slow, bool):
            if not slow:
                return
            slow = pa.repeat(pa.scalar(True), self._rows)
        if where is False:
            return
        if isinstance(where, pa.Array):
            slow = pc.and_(slow, where)
        self._slow = slow if self._slow is None else pc.or_(self._slow, slow)

    def _chain(
        self, sections: list[Section], where: pa.Array | bool | None
    ) -> tuple[list[tuple[Section, Ran]], pa.Array | int]:
        """Section after section, the state that each leaves going into the next."""
        state: pa.Array | int = 0
        ran: list[tuple[Section, Ran]] = []
        for section in sections:
            made = section.run(self._coded, state, self._slow)
            self._mark_slow(made.slow(), where)
            state = made.state()
            ran.append((section, made))
        return ran, state

    def _when(self, each: Line) -> pa.Array | bool:
        if each.when is None:
            return True
        _, state = self._chain([each.when], False)
        return bool(state) if isinstance(state, int) else pc.equal(state, pa.scalar(1, pa.int64()))

    # -- rows that the renderer decides

    def _slow_rows(self, lines: int) -> _Slow:
        found = _Slow([None] * lines, [], [])
        if self._slow is None or not pc.any(self._slow).as_py():
            self._slow = None
            return found
        places = count(self._rows).filter(self._slow)
        names = list(self._plan.names)
        each = {domain: array.take(places).to_pylist() for domain, array in self._items.items()}
        texts: list[list[str | None]] = [[] for _ in range(lines)]
        columns = [self._batch.column(name).take(places).to_pylist() for name in names]
        for order, place in enumerate(places.to_pylist()):
            cells = {
                name: column[order] for name, column in zip(names, columns, strict=True) if column[order] is not None
            }
            items = {domain: [array[order]] for domain, array in each.items() if array[order] is not None}
            made = self._one(cells, items, found, place)
            for block, text in zip(texts, made or [None] * lines, strict=True):
                block.append(text)
        index = pc.replace_with_mask(pa.nulls(self._rows, pa.int32()), self._slow, count(len(places)))
        found.at = [Many(pa.array(block, pa.string()), index) for block in texts]
        return found

    def _alive(self, when: pa.Array | bool, slow: _Slow, place: int) -> pa.Array | bool:
        """The rows that have a line: where the block's condition holds, and those the renderer gave one."""
        own = slow.at[place]
        if own is None or self._slow is None:
            return when
        given = own.texts.is_valid()
        if when is True and pc.all(given).as_py():
            return True
        rows = pa.repeat(pa.scalar(when), self._rows) if isinstance(when, bool) else when
        return pc.replace_with_mask(rows, self._slow, given)

    def _one(
        self, cells: dict[str, str], items: dict[str, list[str]], found: _Slow, row: int
    ) -> list[str | None] | None:
        tolerated: list[Fault] | None = None if self._strict else []
        try:
            made = iter(render(self._mapping, cells, items, tolerated=tolerated))
        except BadRow as bad:
            found.faults += [(row, fault) for fault in bad.faults]
            return None
        found.tolerated += [(row, fault) for fault in tolerated or ()]
        if not self._mapping.blocks:
            return [next(made)[1]]
        conditional = any(block.when for block in self._mapping.blocks)
        known = with_forms(self._mapping, cells) if conditional else cells
        return [next(made)[1] + "\n" if holds(block.when, known) else None for block in self._mapping.blocks]

    # -- lines

    def _first(self, each: Line, alive: pa.Array | bool, before: set[tuple[str | None, ...]]) -> pa.Array:
        """The rows that are the first of their combination; they are remembered."""
        names = [name for name in each.once if name in self._plan.names]
        columns = [_plain(self._batch.column(name)) for name in names]
        rows = count(self._rows)
        table = pa.table([*columns, rows], names=[*names, "@first"])
        if not isinstance(alive, bool):
            table = table.filter(alive)
        elif not alive:
            table = table.slice(0, 0)
        firsts = table.group_by(names, use_threads=False).aggregate([("@first", "min")]) if names else table.slice(0, 1)
        chosen: list[int] = []
        for row in firsts.sort_by([(firsts.schema.names[-1], "ascending")]).to_pylist():
            *combination, place = (row[name] for name in (*names, "@first_min" if names else "@first"))
            if tuple(combination) not in before:
                before.add(tuple(combination))
                chosen.append(place)
        return pc.is_in(rows, value_set=pa.array(chosen, pa.int32()))

    def _assembled(
        self, each: Line, chain: list[tuple[Section, Ran]], alive: pa.Array | bool, slow: Many | None
    ) -> pa.Array:
        """The lines of a block: null, and without bytes, where a row is not alive."""
        if alive is False:
            return pa.nulls(self._rows, pa.binary())
        parts: list[Part] = [part for section, ran in chain for part in self._spliced(section, ran)]
        own: list[Part] = [] if slow is None else [slow]
        dead, length = self._slow, self._rows
        if isinstance(alive, pa.Array) and pc.sum(alive).as_py() * 8 < self._rows:
            rows = count(self._rows).filter(alive)
            length, dead = len(rows), None if dead is None else dead.take(rows)
            parts, own = [_of_rows(part, rows) for part in parts], [_of_rows(part, rows) for part in own]
        elif isinstance(alive, pa.Array):
            dead = pc.invert(alive) if dead is None else pc.or_(dead, pc.invert(alive))
            own = [_masked(part, alive) for part in own]
        parts = merged(parts, length)
        if not each.width and length > _SAMPLE:
            each.width = _width(parts, dead, length)
        array = assemble(parts, own, length, dead, int(each.width * length * _SPARE))
        each.width = max(each.width * 0.9, array.buffers()[2].size / length) if length else each.width
        return _scattered(array, alive) if isinstance(alive, pa.Array) else array

    def _spliced(self, section: Section, ran: Ran) -> Iterator[Part]:
        stage = self._plan.stage
        for part, number, having in section.parts(ran):
            yield part
            if number < 0:
                continue
            if stage.eaches.get(number) == CARRIED:
                for inner, own in self._carried:
                    yield from (_masked(each, having) for each in self._spliced(inner, own))
                continue
            coded = self._coded[stage.column_of(number)]
            if coded.looked is None:
                raise TypeError("only a column of distinct values is spliced in")
            yield _masked(Many(coded.looked.at(number), coded.index), having)


@dataclass(slots=True)
class _Slow:
    """The result of the slow rows: a part for each block, and their faults."""

    at: list[Many | None]
    faults: list[tuple[int, Fault]]
    tolerated: list[tuple[int, Fault]]


def _plain(column: pa.Array) -> pa.Array:
    return column.cast(pa.string()) if pa.types.is_dictionary(column.type) else column


def _masked(part: Part, having: pa.Array | None) -> Part:
    """A part only in the rows of a mask."""
    if having is None:
        return part
    if isinstance(part, str):
        return Few([part], pc.if_else(having, pa.scalar(0, pa.int32()), None))
    index = count(len(having)) if part.index is None else part.index
    return type(part)(part.texts, pc.if_else(having, index, None))


def _of_rows(part: Part, rows: pa.Array) -> Part:
    """A part for some of the rows."""
    if isinstance(part, str):
        return part
    return type(part)(part.texts, rows if part.index is None else part.index.take(rows))


def _width(parts: list[Part], dead: pa.Array | None, rows: int) -> float:
    """About how many bytes a line has: the mean of some."""
    some = pc.multiply(count(_SAMPLE), pa.scalar(rows // _SAMPLE, pa.int32()))
    texts = assemble([_of_rows(part, some) for part in parts], [], _SAMPLE, None if dead is None else dead.take(some))
    return float(texts.buffers()[2].size / _SAMPLE)


def _scattered(array: pa.Array, alive: pa.Array) -> pa.Array:
    """Lines at the rows that are alive, nulls elsewhere; of as many lines as rows, or only of those that are alive."""
    _, offsets, data = array.buffers()
    if len(array) < len(alive):
        before = pa.concat_arrays([pa.array([0], pa.int32()), pc.cumulative_sum(alive.cast(pa.int32()))])
        offsets = pa.Array.from_buffers(pa.int32(), len(array) + 1, [None, offsets]).take(before).buffers()[1]
    valid = pa.concat_arrays([alive]) if alive.offset else alive
    return pa.Array.from_buffers(pa.binary(), len(alive), [valid.buffers()[1], offsets, data])
