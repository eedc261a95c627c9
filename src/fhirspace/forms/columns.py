"""Whole columns of a form at once: conditions, templates and readings as Arrow vectors, codecs on distinct values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.forms.model import Cell, Given, Option, reader
from fhirspace.forms.supplemental import CONTROLS
from fhirspace.standards import iso8601
from fhirspace.tables.text import TEXT, decode, has
from fhirspace.template.codec import CellError
from fhirspace.template.slots import Cond, Leaf, Slot


@dataclass(frozen=True, slots=True)
class SlotTexts:
    """What a codec makes of a column: its texts, and the faulty rows with a catalogue code and what was expected."""

    texts: pa.Array
    faults: tuple[tuple[str, str, pa.Array], ...] = ()


def column(table: pa.Table, name: str) -> pa.Array:
    """A column as one string array, null throughout where the table has no such column."""
    if not has(table, name):
        return pa.nulls(table.num_rows, TEXT)
    found = decode(table[name])
    return found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found


def both(first: Any, second: Any) -> Any:
    """Two masks joined by "and", where None means true throughout."""
    return second if first is None else first if second is None else pc.and_(first, second)


def every(masks: Iterable[Any], count: int) -> pa.Array:
    """Masks joined by "and"; true throughout without any."""
    found = None
    for mask in masks:
        found = both(found, mask)
    return pa.repeat(pa.scalar(True), count) if found is None else found


def equals(cells: pa.Array, text: str) -> pa.Array:
    """Where cells are a text; ``""`` means empty."""
    return pc.fill_null(pc.equal(cells, text), False) if text else cells.is_null()


class Columns:
    """The columns of one table of a form, with everything that is computed from them, each once.

    Args:
        table: the records; silent: by column, where its cell says nothing and is in no variable.
    """

    def __init__(self, table: pa.Table, silent: Mapping[str, pa.Array] | None = None) -> None:
        self.table, self.count, self._silent = table, table.num_rows, dict(silent or {})
        self._cells: dict[str, pa.Array] = {}
        self._slots: dict[tuple[str, int], SlotTexts] = {}
        self._readings: dict[Cell, dict[str, pa.Array]] = {}
        self._written: dict[Cell, pa.Array] = {}

    def cells(self, name: str) -> pa.Array:
        """A column of the form."""
        if name not in self._cells:
            self._cells[name] = column(self.table, name)
        return self._cells[name]

    def holds(self, when: Cond | None, given: Given) -> Any:
        """Where the conditions are true; None where there is none."""
        found = None if when is None else self._holds(when)
        for name, text in given:
            found = both(found, equals(self.cells(name), text))
        return found

    def _holds(self, condition: Cond) -> pa.Array:
        match condition.op:
            case "filled":
                return self.cells(condition.column).is_valid()
            case "is":
                return pc.is_in(self.cells(condition.column), value_set=pa.array(sorted(condition.values), TEXT))
            case "not":
                return pc.invert(self._holds(condition.args[0]))
            case op:
                masks = [self._holds(arg) for arg in condition.args]
                joined = masks[0]
                for mask in masks[1:]:
                    joined = pc.and_(joined, mask) if op == "and" else pc.or_(joined, mask)
                return joined

    def slot(self, slot: Slot) -> SlotTexts:
        """A column through a codec."""
        known = (slot.column, id(slot.codec))
        if known not in self._slots:
            cells = self.cells(slot.column)
            if slot.column in self._silent:
                cells = pc.if_else(self._silent[slot.column], pa.scalar(None, TEXT), cells)
            self._slots[known] = _through(cells, slot)
        return self._slots[known]

    def written(self, cell: Cell) -> pa.Array:
        """The texts of a variable, null where nothing is written."""
        if cell not in self._written:
            texts = [self._option(option, cell) for option in cell.options]
            self._written[cell] = texts[0] if len(texts) == 1 else pc.coalesce(*texts)
        return self._written[cell]

    def used(self, cell: Cell, name: str) -> pa.Array | None:
        """Where the text of a variable holds a column of the form; None where no alternative has a slot for it."""
        found, left = None, pa.repeat(pa.scalar(True), self.count)
        for option in cell.options:
            filled = pc.and_(left, self._option(option, cell).is_valid())
            if any(slot.column == name for slot in option.leaf.slots):
                found = filled if found is None else pc.or_(found, filled)
            left = pc.and_not(left, filled)
        return found

    def _option(self, option: Option, cell: Cell) -> pa.Array:
        texts = self._leaf(option.leaf, cell)
        mask = self.holds(option.when, option.given)
        return texts if mask is None else pc.if_else(mask, texts, pa.scalar(None, TEXT))

    def _leaf(self, leaf: Leaf, cell: Cell) -> pa.Array:
        if leaf.constant is not None:
            return _legal_texts(pa.repeat(pa.scalar(leaf.constant, TEXT), self.count), cell)
        parts = [pa.scalar(part, TEXT) if isinstance(part, str) else self.slot(part).texts for part in leaf.parts]
        if len(parts) > 1:
            return _legal_texts(pc.binary_join_element_wise(*parts, pa.scalar("", TEXT)), cell)
        day = leaf.slots[0].codec.name.partition("(")[0] == "day"
        return parts[0] if day else _legal_texts(parts[0], cell)

    def read(self, cell: Cell) -> dict[str, pa.Array]:
        """The form columns read back from the texts of `written`."""
        if cell not in self._readings:
            self._readings[cell] = read_texts(cell, self.written(cell))
        return self._readings[cell]

    def faults(self, cell: Cell) -> Iterator[tuple[str, str, str, pa.Array]]:
        """The faults of a variable's slots: catalogue code, column, what was expected, the rows."""
        for option in cell.options:
            mask = None
            for slot in option.leaf.slots:
                for code, expected, rows in self.slot(slot).faults:
                    mask = self.holds(option.when, option.given) if mask is None else mask
                    yield code, slot.column, expected, both(mask, rows)


def _through(cells: pa.Array, slot: Slot) -> SlotTexts:
    codec = slot.codec
    if codec.name == "text" and not pc.any(pc.match_substring_regex(cells, CONTROLS)).as_py():
        return SlotTexts(cells)
    encoded = cells.dictionary_encode()
    texts: list[str | None] = []
    faults: dict[tuple[str, str], list[bool]] = {}
    for at, cell in enumerate(encoded.dictionary.to_pylist()):
        try:
            texts.append(codec.out(cell) or None)
        except CellError as error:
            texts.append(None)
            if not codec.open:
                faults.setdefault((error.code, error.expected), [False] * len(encoded.dictionary))[at] = True
    spread = tuple((*key, pc.fill_null(pa.array(marks).take(encoded.indices), False)) for key, marks in faults.items())
    return SlotTexts(pa.array(texts, TEXT).take(encoded.indices), spread)


def _legal_texts(texts: pa.Array, cell: Cell) -> pa.Array:
    """The texts as the variable stores them; a text that is not legal there is omitted."""
    if cell.kind == "Char" and not pc.any(pc.ends_with(texts, " ")).as_py():
        return texts
    encoded = texts.dictionary_encode()
    legal = [_legal(text, cell) for text in encoded.dictionary.to_pylist()]
    return pa.array(legal, TEXT).take(encoded.indices)


def _legal(text: str, cell: Cell) -> str | None:
    if cell.kind == "DTC":
        text = _GAP.sub(_hyphens, text.rstrip(" "))
        return text if iso8601.valid(text) else None
    return cell.fitting(text)


_GAP = re.compile(r"^([0-9]{4})(-[0-9]{2})?T")


def _hyphens(found: re.Match[str]) -> str:
    """``2025-03T`` of a date without its day and a time of day, as ISO 8601 has it: ``2025-03--T``."""
    return f"{found[1]}{found[2] or '--'}--T"


Memo = dict[Cell, dict[str, dict[str, str]]]
"""Results for a cell's texts: lines with the same cell read each text once."""


def read_texts(cell: Cell, texts: pa.Array, memo: Memo | None = None) -> dict[str, pa.Array]:
    """The form columns read from a variable's texts: one array per column, null where a text gives nothing."""
    leaf = cell.options[0].leaf
    if len(cell.options) == 1 and len(leaf.parts) == 1 and leaf.slots and leaf.slots[0].codec.name == "text":
        return {leaf.slots[0].column: texts} if not cell.options[0].given else _read_distinct(cell, texts, {})
    return _read_distinct(cell, texts, {} if memo is None else memo.setdefault(cell, {}))


def _read_distinct(cell: Cell, texts: pa.Array, known: dict[str, dict[str, str]]) -> dict[str, pa.Array]:
    names = dict.fromkeys(name for name, _ in cell.readable_columns())
    if not names:
        return {}
    encoded = texts.dictionary_encode()
    read = reader(cell)
    distinct = encoded.dictionary.to_pylist()
    known.update((text, read(text)) for text in distinct if text not in known)
    found = [known[text] for text in distinct]
    return {name: pa.array([each.get(name) for each in found], TEXT).take(encoded.indices) for name in names}
