"""Where the compiled reader must look whether an element is missing: the others take a cell with them.

A doubt may be raised too often, never too seldom: `absent` decides.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping as Table
from typing import Final, NamedTuple

from fhirspace.mapping.model import Arr, Each, Node, Obj, OneOf, children, dynamic, walk
from fhirspace.mapping.read.absent import NEVER, ROWS, SERVERS
from fhirspace.template.slots import Cond, Leaf, Slot, once


class Test(NamedTuple):
    """A leaf of an absent element: its slots, whose cells are elsewhere in the row, and the conditions above it."""

    slots: tuple[Slot, ...]
    when: tuple[Cond, ...]

    @property
    def deciding(self) -> set[str]:
        """The columns of its conditions."""
        return {name for each in self.when for name in each.columns()}

    @property
    def columns(self) -> set[str]:
        """All columns on which it rests."""
        return {slot.column for slot in self.slots} | self.deciding


ALWAYS: Final = Test((), ())


class Doubt(NamedTuple):
    """An element whose absence may take no cell away: it would be written if a test is true.

    `number` tells those of a template apart; `always`: it is written with its parent whatever the row has.
    """

    number: int
    tests: tuple[Test, ...]
    always: bool


@once
def doubts(root: Obj) -> dict[int, Doubt]:
    """The doubts of a template, by the identity of their nodes: fields, items of lists, alternatives."""
    total, found = _given(root), dict[int, Doubt]()
    for node in _places(root, SERVERS):
        tests = dict.fromkeys(each for each in _tests(node, total) if NEVER not in each.columns)
        if tests:
            some = tuple(each for each in tests if each != ALWAYS)
            found[id(node)] = Doubt(len(found), some, ALWAYS in tests)
    return found


def _given(node: Node) -> Counter[str]:
    """How many slots give the cell of each column."""
    leaves = (inner for inner in walk(node) if isinstance(inner, Leaf))
    return Counter(slot.column for leaf in leaves for slot in leaf.slots if slot.readable)


def _places(node: Node, without: Collection[str] = ()) -> Iterator[Node]:
    """The nodes that can be absent while what contains them is there."""
    if isinstance(node, Obj):
        for name, inner in node.fields:
            if name not in without:
                yield inner
                yield from _places(inner)
    elif isinstance(node, Arr):
        for item in node.items:
            if len(node.items) > 1:
                yield item
            yield from _places(item)
    elif isinstance(node, OneOf):
        for option in node.options:
            for _, inner in option.fields:
                yield from _places(inner)


def _tests(node: Node, total: Counter[str]) -> Iterator[Test]:
    own = _given(node)
    for each in _constant(node):
        yield Test((), (each.when,) if isinstance(each, Obj) and each.when else ())
    for leaf, when in leaves(node, ()):
        if leaf.slots and all(slot.column in ROWS for slot in leaf.slots):
            yield Test((), when)
        evident = any(slot.derived or own[slot.column] == total[slot.column] > 0 for slot in leaf.slots)
        if leaf.slots and not evident:
            yield Test(leaf.slots, when)


def _constant(node: Node) -> list[Node]:
    """What is written with the parent of a node, or by its condition alone, of the node or its items and options."""
    if isinstance(node, OneOf):
        return [option for option in node.options if option.fields and not dynamic(option)]
    if not dynamic(node) or (isinstance(node, Obj) and node.always):
        return [node]
    return [item for item in node.items if isinstance(item, Obj) and item.always] if isinstance(node, Arr) else []


def leaves(node: Node, when: tuple[Cond, ...]) -> Iterator[tuple[Leaf, tuple[Cond, ...]]]:
    """The leaves in and below a node, with the conditions between."""
    if isinstance(node, Leaf):
        yield node, when
        return
    if isinstance(node, Obj):
        when = (*when, node.when) if node.when else when
    for inner in () if isinstance(node, Each) else children(node):
        yield from leaves(inner, when)


def deciding(several: Iterable[Doubt]) -> set[str]:
    """The columns whose cells decide whether an element is missing, those of helpers under their hidden names."""
    tests = [test for doubt in several for test in doubt.tests]
    helpers = {f"@{name}" for test in tests for name in test.deciding if name.startswith("_")}
    return helpers.union(*(_compared(each) for test in tests if not test.slots for each in test.when))


def _compared(when: Cond) -> set[str]:
    """The columns whose cell a condition compares."""
    return {when.column} if when.op == "is" else set[str]().union(*map(_compared, when.args))


# -- tests as source


def as_source(test: Test, found: Table[str, str], implied: Table[str, str]) -> list[str]:
    """The conditions of a test as Python expressions; what cannot be known is left out.

    Args:
        found: the variables of columns; implied: of columns without one, a variable that is filled if they are.
    """
    return [text for each in test.when if (text := _condition(each, found, implied)) is not None]


def _condition(when: Cond, found: Table[str, str], implied: Table[str, str]) -> str | None:
    """An expression that is true whenever a condition is; None if nothing is known."""
    if when.op in ("and", "or"):
        parts = [_condition(each, found, implied) for each in when.args]
        known = [each for each in parts if each is not None]
        if not known or (when.op == "or" and len(known) < len(parts)):
            return None
        return f"({f' {when.op} '.join(known)})"
    if when.op == "not":
        inner = _condition(when.args[0], found, {})
        exact = all(name in found or f"@{name}" in found for name in when.columns())
        return f"not {inner}" if inner and exact else None
    if when.op == "is" and when.column in found:
        return f"{found[when.column]} in {tuple(sorted(when.values))!r}"
    several = [var for name, var in {**implied, **found}.items() if _is_filled(name, when.column)]
    return f"({' or '.join(f'{var} is not None' for var in dict.fromkeys(several))})" if several else None


def _is_filled(name: str, column: str) -> bool:
    """Whether a variable is filled only if a column is: a helper's is hidden, a form's is one of a part."""
    return name in (column, f"@{column}") or ("." in column and name.startswith(f"{column}."))
