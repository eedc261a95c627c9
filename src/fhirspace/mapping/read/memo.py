"""Leaf texts to cells, each distinct text once: dictionaries that fill themselves up to a limit."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping as Table, Sequence
from typing import Any, Final

import msgspec

from fhirspace.json import number
from fhirspace.mapping.read.witness import all_agree, read_all
from fhirspace.template.slots import Leaf, Slot
from fhirspace.template.values import leaf_pattern, loose, slot_text

LIMIT: Final = 1 << 16
LONG: Final = 1 << 12
"""Bytes or letters of what is not remembered: it seldom comes again."""
_MOST_BYTES: Final = 1 << 26
_NUMBER: Final = re.compile(rb"-?[0-9][0-9.eE+-]*")


class Slow(ValueError):
    """This line cannot be read by the fast path: `extract` reads it."""


class Memo(dict[Any, Any]):
    """Cells by text (or bytes). `make` gives those of a new text or raises Slow; when full, it starts again."""

    __slots__ = ("make",)

    def __init__(self, make: Callable[[Any], Any]) -> None:
        super().__init__()
        self.make = make

    def __missing__(self, key: Any) -> Any:
        if len(key) > LONG:
            return self.make(key)
        if len(self) >= LIMIT:
            self.clear()
        made = self[key] = self.make(key)
        return made


class Seen:
    """An element's bytes that were met, what they give, and what came after them the last time."""

    __slots__ = ("next", "raw", "value")

    def __init__(self, raw: msgspec.Raw, value: Any) -> None:
        self.raw, self.value, self.next = raw, value, self


class Fold(dict[bytes, Seen]):
    """Cells of an element by its bytes, so that only distinct ones are decoded, and few cells become many by Arrow.

    The value is the index of its cells in `cells`, alone or with the cells among which the row must choose. Elements
    come in runs (a subject's) or in turns (the tests of a panel): what came after `last` before is compared first,
    which costs a third of copying bytes and looking them up. Generated code does so itself and calls `look` where it
    fails.

    Args:
        make: gives all cells of an element's bytes or raises; columns: those whose cells are in `cells`.
    """

    __slots__ = ("cells", "columns", "held", "last", "make")

    def __init__(self, make: Callable[[bytes], tuple[str | None, ...]], columns: tuple[str, ...]) -> None:
        super().__init__()
        self.make, self.columns = make, columns
        self.cells: list[tuple[str | None, ...]] = []
        self.held = 0
        self.last = _nothing()

    def __missing__(self, raw: bytes) -> Seen:
        made = self.make(raw)
        index, width = len(self.cells), len(self.columns)
        self.cells.append(made[:width])
        self.held += len(raw)
        seen = self[raw] = Seen(msgspec.Raw(raw), (index, *made[width:]) if len(made) > width else index)
        return seen

    def look(self, raw: msgspec.Raw) -> Seen:
        """What an element gives that is not the one expected."""
        seen = self[b"" + raw]  # as `bytes` of it, in half the time
        self.last.next = seen
        self.last = seen
        return seen

    def index(self, cells: Table[str, str]) -> int | None:
        """The index of the cells of a row that was not read from bytes; None where it has none."""
        mine = tuple(cells.get(name) or None for name in self.columns)
        if not any(mine):
            return None
        self.cells.append(mine)
        return len(self.cells) - 1

    def trim(self) -> None:
        """Forget all once there are too many; no index may be in use."""
        if len(self.cells) > LIMIT or self.held > _MOST_BYTES:
            self.clear()
            self.cells.clear()
            self.held = 0
            self.last = _nothing()


def _nothing() -> Seen:
    """The predecessor of the first element: its bytes equal no element's."""
    return Seen(msgspec.Raw(), None)


def slots_in(leaves: Sequence[Leaf]) -> list[Slot]:
    """The slots of some leaves, in order."""
    return [slot for leaf in leaves for slot in leaf.slots]


def of_text(leaves: Sequence[Leaf]) -> Memo:
    """From an element's text to its cells, those of the first leaf that can have written it.

    The value is the cell itself where the leaves have one slot, else a tuple with one of each, or None.
    """
    single = len(slots_in(leaves)) == 1

    def make(text: str) -> Any:
        cells = _cells(leaves, text)
        return cells[0] if single else cells

    return Memo(make)


def _cells(leaves: Sequence[Leaf], text: str) -> tuple[str | None, ...]:
    found: list[str | None] = []
    read = None
    for leaf in leaves:
        mine = read_all(leaf, text) if read is None else None
        read = read if mine is None else mine
        if mine is not None and len(mine) < len(leaf.slots):  # a row whose key is not whole
            raise Slow
        found += [None] * len(leaf.slots) if mine is None else [cell for _, cell in mine]
    if read is None or "" in found:
        raise Slow
    return tuple(found)


def of_number(leaves: Sequence[Leaf]) -> Memo:
    """The same from the bytes of a JSON number."""
    texts = of_text(leaves)

    def make(raw: bytes) -> Any:
        if not _NUMBER.fullmatch(raw) or len(raw) > LONG:  # `json` judges the size
            raise Slow
        text = raw.decode()
        number(text)
        return texts.make(text)

    return Memo(make)


def of_truth(leaves: Sequence[Leaf]) -> dict[bool, Any]:
    """The same from a JSON truth value; one that cannot be read is left out."""
    texts, found = of_text(leaves), {}
    for truth, text in ((True, "true"), (False, "false")):
        try:
            found[truth] = texts.make(text)
        except Slow:
            continue
    return found


class Pairs(dict[str, str | None]):
    """By a row's cell what another element says, which some slots read; the last text that was found to agree.

    Generated code compares it and calls `look` where it is another one.
    """

    __slots__ = ("agreed",)

    def __init__(self, slots: Sequence[Slot]) -> None:
        super().__init__()

        def make(pair: tuple[str, str]) -> bool:
            if not all_agree(slots, pair[1], pair[0]):
                raise Slow
            return True

        self.agreed = Memo(make)

    def __missing__(self, cell: str) -> None:
        return None

    def look(self, cell: str, text: str) -> None:
        """Raise Slow if a cell is not written as the element with this text."""
        if len(cell) + len(text) > LONG:
            self.agreed.make((cell, text))
        elif self.agreed[cell, text]:
            if len(self) >= LIMIT:
                self.clear()
            self[cell] = text


def of_written(slot: Slot) -> Memo:
    """Whether a slot has a text for a cell; one with the key of ids always has."""
    return Memo(lambda cell: slot.codec.keyed or slot_text(slot, cell, []) is not None)


def of_part(slot: Slot) -> Memo:
    """From the part of a text at one of its slots to the cell."""
    return of_text([Leaf((slot,), "string", 0)]) if loose(slot) else _checked(slot)


def _checked(slot: Slot) -> Memo:
    leaf = Leaf((slot,), "string", 0)
    texts, pattern = of_text([leaf]), leaf_pattern(leaf)

    def make(text: str) -> Any:
        if not pattern.fullmatch(text):
            raise Slow
        return texts.make(text)

    return Memo(make)


def splits(leaf: Leaf) -> tuple[str, Slot, str, Slot] | None:
    """Prefix, slot, separator, slot: of a leaf whose text is taken apart at the last separator.

    The first slot takes any text, so that the rightmost separator is where the pattern of `read_leaf` divides.
    """
    parts = leaf.parts if isinstance(leaf.parts[0], str) else ("", *leaf.parts)
    if len(parts) != 4 or len(leaf.slots) != 2:
        return None
    prefix, head, between, tail = parts
    if isinstance(prefix, str) and isinstance(head, Slot) and isinstance(between, str) and isinstance(tail, Slot):
        return (prefix, head, between, tail) if loose(head) and between else None
    return None
