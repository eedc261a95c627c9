"""Placeholders: a text is rendered once for all cells of a class, and split where each row's own text is inserted.

A column whose cells hardly repeat is *volatile*: instead of its cell, the renderer gets a placeholder, and instead of
its codecs ones that return a mark. The results of all its codecs for a cell, in both directions, are the cell's
*class*; cells of one class make the same text except at the marks. Values of other columns are given to the renderer
unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping as Table
from dataclasses import dataclass, field, replace
from typing import Final

from fhirspace.mapping.model import Arr, Carried, Each, Mapping, Node, Obj, OneOf, children, walk
from fhirspace.template.codecs import json_string
from fhirspace.template.slots import Cond, Form, Leaf, Slot, once
from fhirspace.template.values import Fault, leaf_text, read_leaf, slot_text, virtual_cells

MARK: Final = "\ufdd0"
_FIRST: Final = 0xF0000
_CUT: Final = re.compile(f"{MARK}(.)", re.DOTALL)
CARRIED: Final = "@carried"
ABSENT, SLOW = 0, 1
"""Codes of every column: no cell; a cell whose row the row-by-row renderer has to decide."""
_NONE, _SAME, _OTHER, _NOT_READ = "none", "same", "other", "unread"


def mark(number: int) -> str:
    """The text of a placeholder or of what a volatile slot writes."""
    return MARK + chr(_FIRST + number)


def cut(text: str) -> tuple[list[str], list[int]]:
    """A rendered text as the fragments around its marks, and the marks' numbers."""
    parts = _CUT.split(text)
    return parts[::2], [ord(each) - _FIRST for each in parts[1::2]]


def each_column(domain: str) -> str:
    """The name under which the nested items of a domain are treated as a column."""
    return f"@each:{domain}"


def base(column: str) -> str:
    """The real column of a virtual one."""
    return column if column.startswith("@") else column.partition(".")[0]


@dataclass(slots=True)
class Known:
    """What the renderer gets for a code of a column: its cells, virtual ones too, and what its slots answer."""

    cells: dict[str, str]
    answers: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Use:
    """A slot of a volatile column in the template: the number of its mark, and its leaf."""

    number: int
    leaf: Leaf
    slot: Slot

    @property
    def alone(self) -> bool:
        """Whether it is its leaf's only slot, so that the leaf's text is a function of the cell."""
        return len(self.leaf.slots) == 1

    def answer(self, cell: str) -> tuple[str, str | None] | None:
        """The slot's answer for a cell and the text that it writes; None if only whole rows decide."""
        faults: list[Fault] = []
        text = slot_text(self.slot, cell, faults)
        if faults:
            return None
        if text is None:
            return _NONE, None
        if self.alone:
            return self._alone(cell, text)
        if not self._plain(text):
            return None
        back = self.slot.codec.back(text) if self.slot.readable else None
        return (_NOT_READ if back is None else _SAME if back == cell else _OTHER), text

    def _plain(self, text: str) -> bool:
        """Whether a text beside others in a leaf can be separated from them, and certainly fits the leaf's pattern."""
        codec = self.slot.codec
        if not text or "\n" in text or any(letter in text for letter in inner(self.leaf)):
            return False
        if codec.verbatim and codec.name != "text" and not re.fullmatch(codec.pattern, text):
            return False
        fits = len(text) <= longest(self.slot) and re.fullmatch(r"[A-Za-z0-9.-]*", text)
        return not self.leaf.pattern or bool(fits)

    def _alone(self, cell: str, text: str) -> tuple[str, str | None]:
        whole = leaf_text(self.leaf, {self.slot.column: cell}, [])
        if whole is None:
            return _NONE, None
        read = read_leaf(self.leaf, whole)
        return (_SAME if read[0][1] == cell else _OTHER) if read else _NOT_READ, text


def longest(slot: Slot) -> int:
    """The bound to the length of a slot's text in an id that several slots make."""
    return {"id": 32, "integer": 10}.get(slot.codec.name, 12)


def inner(leaf: Leaf) -> str:
    """The first letters of the constants between a leaf's slots.

    Where no slot's text holds one of them, the leaf's text can be read back in one way only.
    """
    places = [index for index, part in enumerate(leaf.parts) if isinstance(part, Slot)]
    between = leaf.parts[places[0] + 1 : places[-1]]
    return "".join(dict.fromkeys(part[0] for part in between if isinstance(part, str) and part))


def sound(leaf: Leaf, pattern: str, cells: Table[str, str]) -> bool:
    """Whether a leaf of several slots, some volatile, is read back in one way only and fits its pattern for sure."""
    shown = [(part, part if isinstance(part, str) else _shown(part, cells)) for part in leaf.parts]
    if any(text is None for _, text in shown):
        return True
    plain = [text for part, text in shown if isinstance(part, Slot) and text is not None and MARK not in text]
    if any(not text or "\n" in text or any(letter in text for letter in inner(leaf)) for text in plain):
        return False
    widest = "".join(
        "a" * longest(part) if isinstance(part, Slot) and MARK in (text or "") else text or "" for part, text in shown
    )
    return not pattern or re.fullmatch(pattern, widest, re.ASCII) is not None


def _shown(slot: Slot, cells: Table[str, str]) -> str | None:
    cell = cells.get(slot.column)
    return None if cell is None else slot_text(slot, cell, [])


class Stage:
    """A mapping prepared for placeholders: its template with the slots of the volatile columns replaced.

    Args:
        mapping: the mapping.
        volatile: the columns that get placeholders; columns of nested items and the carried cells always do.
        columns: the columns of the tables to come, in order.
    """

    def __init__(self, mapping: Mapping, volatile: frozenset[str], columns: tuple[str, ...]) -> None:
        self.volatile = volatile
        self.uses: dict[int, Use] = {}
        self.raw: dict[str, int] = {}
        self.eaches: dict[int, str] = {}
        self.mixed: dict[Leaf, str] = {}
        self.current: dict[str, Known] = {}
        self._count = 0
        self._owners: dict[int, str] = {}
        self._exchanged = volatile.union(name for root in mapping.roots() for name in depends(root) if name[0] == "@")
        self._number_raw(mapping, columns)
        self.mapping = replace(
            mapping,
            blocks=tuple(replace(block, root=self._object(block.root)) for block in mapping.blocks),
            item=self._object(mapping.item) if mapping.item else None,
        )
        self.by_column: dict[str, list[Use]] = {}
        for use in self.uses.values():
            self.by_column.setdefault(use.slot.base, []).append(use)

    def column_of(self, number: int) -> str:
        """The column whose text goes to a mark."""
        return self._owners[number]

    def _next(self) -> int:
        self._count += 1
        return self._count - 1

    def _number_raw(self, mapping: Mapping, columns: tuple[str, ...]) -> None:
        for column in columns:
            if column in self.volatile:
                for name in (column, *_parts(column, mapping.forms.get(column, ()))):
                    self.raw[name] = self._next()
                    self._owners[self.raw[name]] = column

    def _object(self, obj: Obj) -> Obj:
        return replace(obj, fields=tuple((name, self._node(node)) for name, node in obj.fields))

    def _node(self, node: Node) -> Node:
        if self._exchanged.isdisjoint(depends(node)):
            return node
        if isinstance(node, Leaf):
            return self._leaf(node)
        if isinstance(node, Obj):
            return self._object(node)
        if isinstance(node, OneOf):
            return OneOf(tuple(self._object(option) for option in node.options))
        if isinstance(node, Arr):
            return replace(node, items=tuple(self._node(item) for item in node.items))  # type: ignore[misc]
        domain = CARRIED if isinstance(node, Carried) else node.domain
        number = self._next()
        self.eaches[number] = domain
        self._owners[number] = each_column(domain)
        return Each(f"{domain} {number}")

    def _leaf(self, leaf: Leaf) -> Leaf:
        parts = tuple(
            self._slot(leaf, part) if isinstance(part, Slot) and part.base in self.volatile else part
            for part in leaf.parts
        )
        made = replace(leaf, parts=parts, pattern="")
        if len(leaf.slots) > 1:
            self.mixed[made] = leaf.pattern
        return made

    def _slot(self, leaf: Leaf, slot: Slot) -> Slot:
        number = self._next()
        self.uses[number] = Use(number, leaf, slot)
        self._owners[number] = slot.base
        column, text = slot.base, mark(number)

        def out(_cell: str) -> str | None:
            return None if self.current[column].answers[number] == _NONE else text

        def back(_text: str) -> str | None:
            known = self.current[column]
            answer = known.answers[number]
            return None if answer == _NOT_READ else known.cells[slot.column] if answer == _SAME else MARK

        return replace(slot, codec=replace(slot.codec, out=out, back=back, verbatim=False, pattern=".+"))


def _parts(column: str, forms: tuple[Form, ...]) -> Iterator[str]:
    for form in forms:
        for part in form.parts:
            if isinstance(part, Slot):
                yield f"{column}.{form.name}.{part.column}"


Profile = tuple[object, ...]


class Profiler:
    """Classes of the cells of one volatile column, one cell at a time."""

    def __init__(self, mapping: Mapping, stage: Stage, column: str) -> None:
        self._forms = mapping.forms.get(column, ())
        self._stage, self._column = stage, column
        self.uses = stage.by_column.get(column, [])
        self.classes: dict[Profile, int] = {}
        self.known: list[Known] = [Known({}), Known({})]

    def look(self, cell: str) -> tuple[int, dict[int, str]]:
        """The class of a cell and the JSON text of it at each mark."""
        virtual = virtual_cells(self._column, self._forms, cell)
        cells = {self._column: cell} | virtual
        answers: dict[int, str] = {}
        texts: dict[int, str] = {}
        for use in self.uses:
            if use.slot.column not in cells:
                continue
            answer = use.answer(cells[use.slot.column])
            if answer is None or (answer[0] == _OTHER and "." in use.slot.column):
                return SLOW, {}
            answers[use.number] = answer[0]
            if answer[1] is not None:
                texts[use.number] = json_string(answer[1])[1:-1] if use.leaf.kind == "string" else answer[1]
        texts.update(
            (self._stage.raw[name], json_string(text)[1:-1]) for name, text in cells.items() if name in self._stage.raw
        )
        return self._class((tuple(cells), tuple(answers.items())), virtual, answers), texts

    def _class(self, profile: Profile, virtual: dict[str, str], answers: dict[int, str]) -> int:
        code = self.classes.get(profile)
        if code is None:
            code = self.classes[profile] = len(self.known)
            self.known.append(Known(self._cells(virtual), answers))
        return code

    def _cells(self, virtual: dict[str, str]) -> dict[str, str]:
        """The placeholders of a class: of the whole cell, its parts joined again, as `best_cells` does."""
        raw = self._stage.raw
        for form in self._forms:
            name = f"{self._column}.{form.name}"
            if name in virtual:
                parts = {
                    f"{name}.{part.column}": mark(raw[f"{name}.{part.column}"])
                    for part in form.parts
                    if isinstance(part, Slot) and f"{name}.{part.column}" in virtual
                }
                whole = "".join(
                    part if isinstance(part, str) else parts.get(f"{name}.{part.column}", "") for part in form.parts
                )
                return {self._column: whole, name: whole} | parts
        return {self._column: mark(raw[self._column])}


@once
def compared(node: Node) -> frozenset[str]:
    """The columns whose very values conditions in and below a node look at: they are never volatile."""
    conditions = (inner.when for inner in walk(node) if isinstance(inner, Obj))
    return frozenset(name for when in conditions for name in valued(when))


def valued(condition: Cond | None) -> Iterator[str]:
    """The columns whose very values a condition looks at."""
    if condition is None:
        return
    if condition.op == "is":
        yield base(condition.column)
    for arg in condition.args:
        yield from valued(arg)


def looked_at(condition: Cond | None) -> frozenset[str]:
    """The (real) columns that a condition looks at."""
    return frozenset(base(column) for column in condition.columns()) if condition else frozenset()


@once
def depends(node: Node) -> frozenset[str]:
    """All (real) columns on which the text of a node depends, nested items and carried cells among them."""
    if isinstance(node, Leaf):
        return frozenset(slot.base for slot in node.slots)
    if isinstance(node, Each):
        return frozenset({each_column(node.domain.partition(" ")[0])})
    if isinstance(node, Carried):
        return frozenset({each_column(CARRIED)})
    own = looked_at(node.when) if isinstance(node, Obj) else frozenset()
    return own.union(*(depends(child) for child in children(node)))
