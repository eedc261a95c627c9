"""Sections: neighbouring atoms whose text is looked up by one key, rendered once a key by the renderer's functions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.mapping.cells import best_cells, implied
from fhirspace.mapping.model import Node, children
from fhirspace.mapping.write import nodes
from fhirspace.mapping.write.atoms import LIST_BEGUN, Atom, Writer, reading
from fhirspace.mapping.write.columns import NOTHING, Coded, GivenColumn, StableColumn, VolatileColumn
from fhirspace.mapping.write.parts import Few, Part
from fhirspace.mapping.write.placeholders import ABSENT, SLOW, Stage, cut, depends, each_column, mark, sound
from fhirspace.template.slots import Leaf

Column = StableColumn | VolatileColumn | GivenColumn
_WORD: Final = 60
_STATE_BITS: Final = 2
_TABLE: Final = 50_000


@dataclass(slots=True)
class Entry:
    """The text of one key: fragments around marks, columns without a cell, the state; or the renderer decides."""

    fragments: list[str]
    numbers: tuple[int, ...]
    empty: frozenset[str]
    state: int
    slow: bool = False
    aligned: tuple[str, ...] = ()
    shape: int = 0


@dataclass(slots=True)
class Ran:
    """What a section says of a batch: the entries that occur and which of them each row has (None: all the first)."""

    entries: list[Entry]
    index: pa.Array | None

    def slow(self) -> pa.Array | bool:
        """The rows that the renderer has to decide, as a mask or one answer for all."""
        return self._each([entry.slow for entry in self.entries], pa.bool_())

    def state(self) -> pa.Array | int:
        """The state that the section leaves, by row or one for all."""
        return self._each([entry.state for entry in self.entries], pa.int64())

    def _each(self, values: list[int], type_: pa.DataType) -> pa.Array | int:
        if self.index is None or len(set(values)) <= 1:
            return values[0] if values else 0
        return pa.array(values, type_).take(self.index)


class Section:
    """Neighbouring atoms with one key.

    Args:
        stage: the prepared mapping; atoms: its parts; columns: all columns by name, the section's own among them.
    """

    def __init__(self, stage: Stage, atoms: Sequence[Atom], columns: dict[str, Column]) -> None:
        self.atoms = list(atoms)
        self.names = sorted(frozenset().union(*(atom.columns for atom in atoms)) & columns.keys())
        self.rendered = 0
        self._stage = stage
        self._columns = [columns[name] for name in self.names]
        self._bits: list[int] = []
        self._table: dict[int, Entry] = {}
        self._words: list[dict[int, int]] = []
        self._order: list[int] = []
        self._shapes: dict[tuple[tuple[int, ...], frozenset[str]], int] = {}
        self._mixed = [each for atom in atoms for node in atom.nodes for each in self._leaves(node)]

    def _leaves(self, node: Node) -> Iterator[tuple[Leaf, str]]:
        """The leaves of several slots, some volatile, in and below a node, each with the pattern of its texts."""
        if not isinstance(node, Leaf):
            below = () if self._stage.volatile.isdisjoint(depends(node)) else children(node)
            yield from (each for child in below for each in self._leaves(child))
        elif node in self._stage.mixed:
            yield node, self._stage.mixed[node]

    # -- keys

    def run(self, coded: dict[str, Coded], state: pa.Array | int, dead: pa.Array | None) -> Ran:
        """The entries of a batch; rows that are `dead` (a mask) get none."""
        own = [coded.get(name, NOTHING) for name in self.names]
        key = self._key(own, state)
        if isinstance(key, int):
            return Ran([self._entry(key, own, state, 0)], None)
        if dead is not None:
            key = pc.if_else(dead, None, key)
        made = key.dictionary_encode()
        found = [self._table.get(each) for each in made.dictionary.to_pylist()]
        entries = [
            entry or self._entry(each.as_py(), own, state, pc.index(key, each).as_py())
            for entry, each in zip(found, made.dictionary, strict=True)
        ] if None in found else found  # fmt: skip
        if not entries:
            return Ran([Entry([""], (), frozenset(), 0, slow=True)], None)
        return Ran(entries, made.indices.fill_null(0) if dead is not None else made.indices)  # type: ignore[arg-type]

    def _key(self, own: list[Coded], state: pa.Array | int) -> pa.Array | int:
        if not self._bits or any(
            len(column.known) >= 1 << bits for column, bits in zip(self._columns, self._bits, strict=True)
        ) or len(self._table) > _TABLE:  # fmt: skip
            self._table, self._words = {}, []
            self._bits = [max(4, (len(column.known) * 3).bit_length()) for column in self._columns]
        words: list[pa.Array | int] = []
        word, room = state, _WORD - _STATE_BITS
        shift = _STATE_BITS
        for column, bits in zip(own, self._bits, strict=True):
            if bits > room:
                words.append(word)
                word, room, shift = 0, _WORD, 0
            word = _plus(word, _times(column.codes, 1 << shift))
            shift, room = shift + bits, room - bits
        return self._short([*words, word])

    def _short(self, words: list[pa.Array | int]) -> pa.Array | int:
        """One key out of several words: each but the last numbered as it comes."""
        key = words[0]
        for place, word in enumerate(words[1:]):
            if len(self._words) < 2 * (place + 1):
                self._words += [{}, {}]
            first = _numbered(key, self._words[2 * place])
            key = _plus(_times(first, 1 << 30), _numbered(word, self._words[2 * place + 1]))
        return key

    # -- entries

    def _entry(self, key: int, own: list[Coded], state: pa.Array | int, row: int) -> Entry:
        entry = self._table.get(key)
        if entry is None:
            codes = [column.at(row) for column in own]
            before = state if isinstance(state, int) else int(state[row].as_py())
            entry = self._table[key] = self._render(codes, before)
            new = set(entry.numbers).difference(self._order)
            if new:
                self._order = sorted([*self._order, *new])
            entry.shape = self._shapes.setdefault((entry.numbers, entry.empty), len(self._shapes))
            self.rendered += 1
        return entry

    def _render(self, codes: list[int], before: int) -> Entry:
        empty = frozenset(name for name, code in zip(self.names, codes, strict=True) if code == ABSENT)
        cells: dict[str, str] = {}
        each: dict[str, list[str]] = {}
        for name, column, code in zip(self.names, self._columns, codes, strict=True):
            if code == ABSENT:
                continue
            if isinstance(column, GivenColumn):
                each.update(
                    (f"{domain} {number}", [mark(number)])
                    for number, domain in self._stage.eaches.items()
                    if each_column(domain) == name
                )
            else:
                cells.update(column.known[code].cells)
                self._stage.current[name] = column.known[code]
        if SLOW in codes or not all(sound(leaf, pattern, cells) for leaf, pattern in self._mixed):
            return Entry([""], (), empty, before, slow=True)
        writer = Writer(before)
        row = nodes.Row(cells, each)
        self._write(row, writer)
        fragments, numbers = cut("".join(writer.texts))
        return Entry(fragments, tuple(numbers), empty, writer.state, slow=bool(row.faults))

    def _write(self, row: nodes.Row, writer: Writer) -> None:
        for atom in self.atoms:
            atom.write(row, writer)

    # -- parts

    def parts(self, ran: Ran) -> Iterator[tuple[Part, int, pa.Array | None]]:
        """The texts of a batch, each with the number of the mark after it (-1: none) and the rows that have it."""
        sure = [entry for entry in ran.entries if not entry.slow]
        if not sure:
            return
        entries = (
            ran.entries if len(sure) == len(ran.entries) else [sure[0] if each.slow else each for each in ran.entries]
        )
        length = len(self._order) + 1
        for entry in sure:
            if len(entry.aligned) != length:
                entry.aligned = _aligned(entry, self._order)
        shapes = {entry.shape: entry for entry in sure}
        for place, texts in enumerate(zip(*[entry.aligned for entry in entries], strict=True)):
            part: Part = texts[0] if ran.index is None or texts.count(texts[0]) == len(texts) else Few(texts, ran.index)
            number = self._order[place] if place < length - 1 else -1
            having = {shape for shape, entry in shapes.items() if number in entry.numbers}
            if not having:
                yield part, -1, None
                continue
            column = self._stage.column_of(number)
            if all(shape in having or column in entry.empty for shape, entry in shapes.items()):
                yield part, number, None
            else:
                yield part, number, pa.array([entry.shape in having for entry in entries]).take(ran.index)


class CarriedSection(Section):
    """Neighbouring columns of the extension that carries cells: those whose cells cannot be read back."""

    def __init__(self, stage: Stage, atoms: Sequence[Atom], columns: dict[str, Column]) -> None:
        super().__init__(stage, atoms, columns)
        self._reading = reading(stage.mapping, frozenset(atom.column for atom in atoms))
        self._mixed = [each for root in self._reading.roots() for each in self._leaves(root)]

    def _write(self, row: nodes.Row, writer: Writer) -> None:
        read = nodes.Row(row.cells, {})
        nodes.resources(self._reading, read)
        back = implied(self._reading) | best_cells(self._reading, read.candidates)
        for atom in self.atoms:
            cell = row.cells.get(atom.column)
            if not atom.column:
                atom.write(row, writer)
            elif cell is not None and back.get(atom.column) != cell:
                whole = nodes.carried_extension({atom.column: cell})
                item = whole[len(BEGIN) : -len(END)]
                writer.texts.append(("," if writer.state & LIST_BEGUN else BEGIN) + item)
                writer.state |= LIST_BEGUN


BEGIN: Final = nodes.carried_extension({})[:-2]
END: Final = "]}"


def _aligned(entry: Entry, order: list[int]) -> tuple[str, ...]:
    """An entry's fragments with "" after each mark that it has not."""
    fragments = iter(entry.fragments)
    made = [next(fragments)]
    made += [next(fragments) if number in entry.numbers else "" for number in order]
    return tuple(made)


def _plus(one: pa.Array | int, two: pa.Array | int) -> pa.Array | int:
    if isinstance(one, int) and isinstance(two, int):
        return one + two
    if isinstance(one, int):
        one, two = two, one
    return one if isinstance(two, int) and two == 0 else pc.add(one, two)


def _times(one: pa.Array | int, factor: int) -> pa.Array | int:
    return one * factor if isinstance(one, int) else pc.multiply(one, pa.scalar(factor, pa.int64()))


def _numbered(word: pa.Array | int, numbers: dict[int, int]) -> pa.Array | int:
    if isinstance(word, int):
        return numbers.setdefault(word, len(numbers))
    made = word.dictionary_encode()
    given = [numbers.setdefault(each, len(numbers)) for each in made.dictionary.to_pylist()]
    return pa.array(given, pa.int64()).take(made.indices)
