"""The values of an element, made once for each distinct text of it: codes, categories and units repeat."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa

from fhirspace.fhir.status import Verdict
from fhirspace.json import JsonError, parse
from fhirspace.tables.text import TEXT
from fhirspace.views.notation.address import ShapeError
from fhirspace.views.plan import Part, Plan, Read, unmapped
from fhirspace.views.reading.blocks import Block, Fault, Items, Values, nothing

_MOST: Final = 5_000
"""Elements that are remembered, of at most so many bytes each:"""
_LONGEST: Final = 2_000
Cells = tuple[tuple[str | None, bool], ...]
"""The first text of each value, and whether there are several."""


class Element(NamedTuple):
    """What is read of one text of an element.

    Attributes:
        cells: its values in the order of `Part.reads`. items: those of its items in the order of `Part.items`.
        unmapped: paths that nobody reads. fault: what is wrong. verdicts: what it says of the record.
    """

    cells: Cells
    items: list[Cells]
    unmapped: tuple[str, ...] = ()
    fault: Fault | None = None
    verdicts: Sequence[Verdict] = ()


class Elements:
    """Reads the texts of one element, and remembers what it read.

    Args:
        plan: of the type. part: what is read of the element.
    """

    def __init__(self, plan: Plan, part: Part) -> None:
        self._plan, self.part = plan, part
        self._codes: dict[bytes, int] = {}
        self._found: list[Element] = []
        self._columns: list[_Column] = []
        self._fault: Fault | None = None

    def add(self, block: Block, raws: pa.Array, *, count: bool = True) -> None:
        """Adds the values of the element to a block.

        Args:
            block: it. raws: the bytes of the element in each resource, b"" where it is absent.
            count: count the paths in it that nobody reads.
        """
        encoded = raws if pa.types.is_dictionary(raws.type) else raws.dictionary_encode()
        if len(self._found) >= _MOST or not self._found:
            self._codes, self._found, self._columns = {}, [], [_Column() for _ in self.part.reads]
        codes, rows = [self._code(raw) for raw in encoded.dictionary.to_pylist()], encoded.indices
        found, places = [self._found[code] for code in codes], pa.array(codes, pa.int32()).take(rows)
        for name, column in zip(self.part.reads, self._columns, strict=True):
            block.values[name] = column.spread(places)
        if self.part.items:
            block.items[self.part.name] = self._items(found, rows)
        if count and any(each.unmapped for each in found):
            lists = list(dict.fromkeys(each.unmapped for each in found))
            numbers = {each: at for at, each in enumerate(lists)}
            codes = pa.array([numbers[each.unmapped] for each in found], pa.int32())
            block.unmapped.append((lists, codes.take(rows)))
        if any(each.fault or each.verdicts for each in found):
            _report(block, found, rows)

    def _code(self, raw: bytes) -> int:
        """The number of what is read of a text."""
        code = self._codes.get(raw)
        if code is None:
            code, found = len(self._found), self._read(raw)
            self._found.append(found)
            for column, cell in zip(self._columns, found.cells, strict=True):
                column.add(*cell)
            if len(raw) <= _LONGEST:
                self._codes[raw] = code
        return code

    def _read(self, raw: bytes) -> Element:
        part, self._fault = self.part, None
        value = self._parsed(raw)
        cells = self._cells(part.reads, None if value is None else {part.name: value})
        items = [self._cells(part.items, each) for each in value] if part.items and isinstance(value, list) else []
        tree = dict.fromkeys(unmapped(value, part.tree, f"{self._plan.kind}.{part.name}")) if part.tree else {}
        reported = self._plan.status({part.name: value}) if part.status and value is not None else ()
        return Element(cells, items, tuple(tree), self._fault, reported)

    def _parsed(self, raw: bytes) -> Any:
        if not raw:
            return None
        try:
            return parse(raw)
        except JsonError as error:
            self._fault = Fault(error.code, f"{self._plan.kind}.{self.part.name}")
            return None

    def _cells(self, reads: dict[str, Read], value: Any) -> Cells:
        made = list[tuple[str | None, bool]]()
        for read in reads.values():
            try:
                found = read.function(value) if value is not None else []
            except ShapeError as error:
                self._fault = Fault("FS414", f"{self._plan.kind}.{error.path}")
                found = []
            made.append((found[0] if found else None, len(found) > 1))
        return tuple(made)

    def _items(self, found: Sequence[Element], rows: pa.Array) -> Items:
        """The items of the element, row by row."""
        flat = [cells for each in found for cells in each.items]
        counts = np.array([len(each.items) for each in found], np.int64)
        starts, codes = np.cumsum(counts) - counts, rows.to_numpy()
        each = counts[codes]
        parents = np.repeat(np.arange(len(codes)), each)
        places = np.arange(len(parents)) - np.repeat(np.cumsum(each) - each, each) + np.repeat(starts[codes], each)
        taken = pa.array(places, pa.int32())
        values = {name: _spread([cells[at] for cells in flat], taken) for at, name in enumerate(self.part.items)}
        return Items(pa.array(parents, pa.int64()), values)


class _Column:
    """One value of each element that is remembered."""

    def __init__(self) -> None:
        self._texts: dict[str, int] = {}
        self._codes, self._many, self._several = array("i"), bytearray(), False
        self._made: tuple[pa.Array, pa.Array] | None = None

    def add(self, text: str | None, several: bool) -> None:
        """Adds the value of one more element."""
        self._codes.append(-1 if text is None else self._texts.setdefault(text, len(self._texts)))
        self._many.append(several)
        self._several |= several
        self._made = None

    def spread(self, rows: pa.Array) -> Values:
        """The values of some rows, by the numbers of their elements."""
        if not self._texts:
            return Values(nothing(len(rows)), None)
        if self._made is None:
            codes = np.array(self._codes)
            self._made = pa.array(codes, mask=codes < 0), pa.array(list(self._texts), TEXT)
        codes, texts = self._made
        many = pa.array(np.array(self._many, bool)).take(rows) if self._several else None
        return Values(pa.DictionaryArray.from_arrays(codes.take(rows), texts), many)


def _report(block: Block, found: Sequence[Element], rows: pa.Array) -> None:
    for at, code in enumerate(rows.to_pylist()):
        if (fault := found[code].fault) is not None:
            block.faults.setdefault(at, fault)
        if found[code].verdicts:
            block.verdicts.setdefault(at, []).extend(found[code].verdicts)


def _spread(cells: Sequence[tuple[str | None, bool]], rows: pa.Array) -> Values:
    if all(text is None for text, _ in cells):
        return Values(nothing(len(rows)), None)
    distinct = pa.array([text for text, _ in cells], TEXT).dictionary_encode()  # which has no null among its texts
    spread = pa.DictionaryArray.from_arrays(distinct.indices.take(rows), distinct.dictionary)
    many = [several for _, several in cells]
    return Values(spread, pa.array(many, pa.bool_()).take(rows) if any(many) else None)
