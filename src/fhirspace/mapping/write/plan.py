"""Plans: which columns are volatile and where the template is cut into sections, as a batch suggests.

A plan affects speed and nothing else: whatever is volatile and wherever the cuts are, the bytes are the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.mapping.cells import implied
from fhirspace.mapping.model import Mapping
from fhirspace.mapping.write.atoms import Atom, condition, deciding_columns, line
from fhirspace.mapping.write.columns import NOTHING, Coded, GivenColumn, StableColumn, VolatileColumn, distinct, encoded
from fhirspace.mapping.write.placeholders import CARRIED, Stage, compared, depends, each_column, looked_at, valued
from fhirspace.mapping.write.sections import END, CarriedSection, Column, Section


@dataclass(frozen=True, slots=True)
class Tuning:
    """The thresholds of the kernel; they change the speed, never the bytes.

    Attributes:
        few: a column with no more distinct values in a batch is never volatile.
        many: one with more always is.
        growth: in between, one is if more than this proportion of its distinct values first occur in the second half.
        keys: a section has at most this proportion of the rows as distinct keys.
        rows: rows handled at once.
        table: distinct values of stable columns that are remembered before all tables are cleared.
    """

    few: int = 48
    many: int = 4000
    growth: float = 0.25
    keys: float = 1 / 64
    rows: int = 32_768
    table: int = 200_000


_LEAST_KEYS: Final = 32


@dataclass(slots=True)
class Line:
    """The sections of a block: its condition, its line, the columns whose combinations make it once.

    `width` is about how many bytes its lines have.
    """

    when: Section | None
    sections: list[Section]
    once: tuple[str, ...]
    width: float = 0.0


class Plan:
    """The template of a mapping, staged and cut for tables like one batch.

    Args:
        mapping: the mapping; batch: a batch like those to come; tuning: see there.
    """

    def __init__(self, mapping: Mapping, batch: pa.RecordBatch, tuning: Tuning) -> None:
        self.names = tuple(name for name in batch.schema.names if name[0] != "@")
        self.rows = len(batch)
        self._mapping, self._tuning = mapping, tuning
        self._least = max(_LEAST_KEYS, int(len(batch) * tuning.keys))
        fixed = _compared(mapping)
        needed = self._needed()
        volatile = {name for name in needed - fixed if name[0] != "@" and self._hardly_repeats(batch.column(name))}
        while True:
            self._stage(frozenset(volatile), needed)
            coded = self.code(batch, {})
            more = self._cut(coded, fixed | volatile)
            if not more:
                break
            volatile |= more

    @property
    def rendered(self) -> int:
        """How many texts were rendered up to now."""
        return sum(section.rendered for section in self.sections())

    @property
    def known(self) -> int:
        """How many values and classes are remembered."""
        return sum(len(column.known) for column in self.columns.values())

    def sections(self) -> Iterable[Section]:
        """All sections."""
        yield from self.carried
        for each in self.lines:
            yield from each.sections

    def code(self, batch: pa.RecordBatch, each: dict[str, pa.Array]) -> dict[str, Coded]:
        """The columns of a batch that the plan needs, and the nested items, coded."""
        coded: dict[str, Coded] = {}
        for name, column in self.columns.items():
            if isinstance(column, GivenColumn):
                if name in each:
                    coded[name] = column.code(None, each[name])
            else:
                coded[name] = column.code(
                    *(distinct if isinstance(column, VolatileColumn) else encoded)(batch.column(name))
                )
        return coded

    # -- making one

    def _needed(self) -> set[str]:
        """The columns of the batch that some text depends on."""
        shared = self._mapping.attach.on if self._mapping.attach else ()
        needed = {name for root in self._mapping.roots() for name in depends(root)}
        needed |= {name for block in self._mapping.blocks for name in looked_at(block.when)}
        if each_column(CARRIED) in needed:
            needed |= {name for name in self.names if name[0] != "_" and name not in shared}
        names = frozenset(self.names)
        return {name for name in needed if name in names or name[0] == "@"}

    def _hardly_repeats(self, column: pa.Array) -> bool:
        index, _ = encoded(column)
        count = pc.count_distinct(index).as_py()
        if count <= self._tuning.few or count > self._tuning.many:
            return bool(count > self._tuning.few)
        first = pc.count_distinct(index.slice(0, len(index) // 2)).as_py()
        return bool(count - first > self._tuning.growth * count)

    def _stage(self, volatile: frozenset[str], needed: set[str]) -> None:
        self.stage = Stage(self._mapping, volatile, self.names)
        self.columns: dict[str, Column] = {}
        for name in sorted(needed):
            if name[0] == "@":
                self.columns[name] = GivenColumn()
            elif name in volatile:
                self.columns[name] = VolatileColumn(self._mapping, self.stage, name)
            else:
                self.columns[name] = StableColumn(self._mapping, name)

    def _atoms(self, stage: Stage) -> list[list[Atom]]:
        """The atoms of each block, or of the item, the conditions of blocks first."""
        mapping = stage.mapping
        made = [[*([condition(block.when)] if block.when else []), *line(block.root, "\n")] for block in mapping.blocks]
        return made or [list(line(mapping.item, ""))] if mapping.item else made

    def _carried_atoms(self) -> list[Atom]:
        shared = self._mapping.attach.on if self._mapping.attach else ()
        found = deciding_columns(self._mapping)
        atoms = [
            Atom(found.get(name, frozenset()) | {name}, lambda _row, _writer: None, (), name)
            for name in self.names
            if name[0] != "_" and name not in shared
        ]
        return [*atoms, Atom(frozenset(), lambda _row, writer: writer.close(END))] if atoms else []

    def _cut(self, coded: dict[str, Coded], fixed: set[str]) -> set[str]:
        """Cuts into sections; where an atom alone has too many keys, the column that should be volatile instead."""
        cutter = _Cutter(coded, self.rows, self._least, fixed)
        self.carried: list[Section] = []
        if each_column(CARRIED) in self.columns:
            self.carried = [
                CarriedSection(self.stage, atoms, self.columns) for atoms in cutter.cut(self._carried_atoms())
            ]
        self.lines: list[Line] = []
        blocks = self._mapping.blocks
        for place, atoms in enumerate(self._atoms(self.stage)):
            block = blocks[place] if blocks else None
            when = Section(self.stage, atoms[:1], self.columns) if block and block.when else None
            rest = atoms[1:] if when else atoms
            sections = [Section(self.stage, each, self.columns) for each in cutter.cut(rest)]
            self.lines.append(Line(when, sections, block.once if block else ()))
        return cutter.too_many


def _compared(mapping: Mapping) -> set[str]:
    """Columns whose very values matter: conditions look at them, or they say what is known anyway (DOMAIN)."""
    found = set(implied(mapping)).union(*(compared(root) for root in mapping.roots()))
    return found.union(*(valued(block.when) for block in mapping.blocks))


class _Cutter:
    """Joins neighbouring atoms as long as the rows of a batch have few distinct keys."""

    def __init__(self, coded: dict[str, Coded], rows: int, least: int, fixed: set[str]) -> None:
        self._coded, self._rows, self._least, self._fixed = coded, rows, least, fixed
        self.too_many: set[str] = set()

    def cut(self, atoms: Sequence[Atom]) -> list[list[Atom]]:
        made: list[list[Atom]] = []
        key: pa.Array | None = None
        names: set[str] = set()
        for atom in atoms:
            longer = self._with(key, atom.columns - names)
            if made and (longer is key or self._good(longer)):
                made[-1].append(atom)
                key = longer
                names |= atom.columns
                continue
            made.append([atom])
            key, names = self._with(None, atom.columns), set(atom.columns)
            if not self._good(key):
                self._choose_volatile(atom.columns)
        return made

    def _with(self, key: pa.Array | None, names: Iterable[str]) -> pa.Array | None:
        for name in sorted(names):
            codes = self._coded.get(name, NOTHING).codes
            if isinstance(codes, int):
                continue
            if key is not None:
                codes = pc.add(pc.multiply(key, pa.scalar(1 << 30, pa.int64())), codes)
            key = codes.dictionary_encode().indices.cast(pa.int64())
        return key

    def _good(self, key: pa.Array | None) -> bool:
        """Whether a key has few values, and most of them seen in the first half of the rows."""
        if key is None or not self._rows:
            return True
        whole = pc.max(key).as_py() + 1
        if whole <= _LEAST_KEYS:
            return True
        half = pc.count_distinct(key.slice(0, self._rows // 2)).as_py()
        return bool(whole <= self._least and whole - half <= 0.4 * whole)

    def _choose_volatile(self, names: Iterable[str]) -> None:
        """Of columns that have too many keys together, the one with the most values becomes volatile."""
        counts = {
            name: pc.count_distinct(codes).as_py()
            for name in sorted(names)
            if name not in self._fixed
            and name[0] != "@"
            and not isinstance(codes := self._coded.get(name, NOTHING).codes, int)
        }
        most = max(counts, key=lambda name: counts[name], default=None)
        if most is not None and counts[most] > 8:
            self.too_many.add(most)
