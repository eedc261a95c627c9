"""The template divided into atoms: parts of a line in order, each a function of a few columns and a state."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from fhirspace.mapping.model import Arr, Mapping, Node, Obj, OneOf, Required, children, dynamic, slots
from fhirspace.mapping.write import nodes
from fhirspace.mapping.write.placeholders import depends, looked_at
from fhirspace.template.slots import Cond, Leaf, once
from fhirspace.template.values import Fault, holds

ROOT_BEGUN: Final = 1
LIST_BEGUN: Final = 2


@dataclass(slots=True)
class Writer:
    """The texts written so far, and the state for later parts: whether the object and the list have begun."""

    state: int
    texts: list[str] = field(default_factory=list)

    def add_field(self, name: str, text: str) -> None:
        """A field of the root object."""
        self.texts.append(f'{"," if self.state & ROOT_BEGUN else ""}"{name}":{text}')
        self.state |= ROOT_BEGUN

    def add_item(self, name: str, text: str) -> None:
        """An item of the list that is a field of the root object."""
        if self.state & LIST_BEGUN:
            self.texts.append("," + text)
        else:
            self.add_field(name, "[" + text)
            self.state |= LIST_BEGUN

    def close(self, text: str) -> None:
        """The end of a list, if it has begun; the state tells on that it had."""
        if self.state & LIST_BEGUN:
            self.texts.append(text)

    def end(self, text: str) -> None:
        """The end of a list, if it has begun, before the next field."""
        self.close(text)
        self.state &= ~LIST_BEGUN


Write = Callable[[nodes.Row, Writer], None]


@dataclass(frozen=True, slots=True)
class Atom:
    """A part of a line: the columns on which it depends, how it is written, the nodes that it writes."""

    columns: frozenset[str]
    write: Write
    nodes: tuple[Node, ...] = ()
    column: str = ""


def line(obj: Obj, end: str) -> Iterator[Atom]:
    """The atoms of a block's or an item's root object."""
    yield _constant("{")
    waiting = [(need, _fulfilling(obj, need)) for need in obj.required]
    for name, node in obj.fields:
        if isinstance(node, Arr) and _divisible(node):
            yield from (_item(name, item) for item in node.items)
            yield Atom(frozenset(), lambda _row, writer: writer.end("]"))
        elif isinstance(node, OneOf):
            yield _choice(node)
        else:
            yield _field(name, node)
        yield from (_check(obj.path, need, fields) for need, fields in waiting if fields and fields[-1][1] is node)
    yield _constant("}" + end)


def _constant(text: str) -> Atom:
    return Atom(frozenset(), lambda _row, writer: writer.texts.append(text))


def _field(name: str, node: Node) -> Atom:
    def write(row: nodes.Row, writer: Writer) -> None:
        text, _ = nodes.node_text(node, row)
        if text is not None:
            writer.add_field(name, text)

    return Atom(depends(node), write, (node,))


def _choice(node: OneOf) -> Atom:
    def write(row: nodes.Row, writer: Writer) -> None:
        for name, text in nodes.choice_fields(node, row)[0]:
            writer.add_field(name, text)

    return Atom(depends(node), write, (node,))


def _item(name: str, node: Node) -> Atom:
    def write(row: nodes.Row, writer: Writer) -> None:
        text, _ = nodes.node_text(node, row)
        if text is not None:
            writer.add_item(name, text)

    return Atom(depends(node), write, (node,))


def _divisible(arr: Arr) -> bool:
    """Whether each item is written independently of the others."""
    return all((isinstance(item, Obj) and item.always) or dynamic(item) for item in arr.items)


def _fulfilling(obj: Obj, need: Required) -> list[tuple[str, Node]]:
    return [
        (name, node)
        for name, node in obj.fields
        if name in need.names
        or (
            isinstance(node, OneOf)
            and any(inner in need.names for option in node.options for inner, _ in option.fields)
        )
    ]


def _check(path: str, need: Required, fields: list[tuple[str, Node]]) -> Atom:
    """No text: a fault if none of the fields that fulfil a requirement is written."""

    def write(row: nodes.Row, _writer: Writer) -> None:
        alone = nodes.Row(row.cells, row.each)
        names = {name for name, _ in nodes.object_fields(Obj(tuple(fields), 0, path), alone)[0]}
        if not names & need.names:
            row.faults.append(Fault("FS210", need.column, ""))

    return Atom(frozenset().union(*(depends(node) for _, node in fields)), write, tuple(node for _, node in fields))


def deciding_columns(mapping: Mapping) -> dict[str, frozenset[str]]:
    """By column, the columns that decide whether its cell can be read back: of its leaves and of all choices above."""
    found: dict[str, frozenset[str]] = {}
    for block in mapping.blocks:
        for column, own in _deciding_in(block.root).items():
            found[column] = found.get(column, frozenset()) | own | looked_at(block.when)
    return found if mapping.item is None else _deciding_in(mapping.item)


@once
def _deciding_in(root: Obj) -> dict[str, frozenset[str]]:
    found: dict[str, frozenset[str]] = {}
    _decide(root, frozenset(), found)
    return found


def _decide(node: Node, above: frozenset[str], found: dict[str, frozenset[str]]) -> None:
    if isinstance(node, Leaf):
        own = above | {slot.base for slot in node.slots}
        for slot in node.slots:
            if slot.readable:
                found[slot.base] = found.get(slot.base, frozenset()) | own
    elif isinstance(node, OneOf):
        for option in node.options:
            _decide(option, above, found)
            above |= depends(option)
    else:
        inside = above | looked_at(node.when) if isinstance(node, Obj) else above
        for child in children(node):
            _decide(child, inside, found)


def reading(mapping: Mapping, columns: frozenset[str]) -> Mapping:
    """The mapping with only those leaves from which the columns are read back, and all choices above them.

    Whether a leaf is written does not depend on its neighbours, except for the options of a choice, which are kept.
    """

    def kept(node: Node) -> bool:
        return not columns.isdisjoint(_read_back(node))

    def cut(node: Node) -> Node:
        if isinstance(node, Obj):
            return cut_object(node)
        if isinstance(node, Arr):
            return replace(node, items=tuple(cut(item) for item in node.items if kept(item)))  # type: ignore[misc]
        return node

    def cut_object(obj: Obj) -> Obj:
        return replace(obj, fields=tuple((name, cut(node)) for name, node in obj.fields if kept(node)), required=())

    return replace(
        mapping,
        blocks=tuple(replace(block, root=cut_object(block.root)) for block in mapping.blocks),
        item=cut_object(mapping.item) if mapping.item else None,
    )


@once
def _read_back(node: Node) -> frozenset[str]:
    """The columns whose cells are read back from leaves in and below a node."""
    return frozenset(slot.base for _, slot in slots(node) if slot.readable)


def condition(when: Cond) -> Atom:
    """The condition of a block as the state that it leaves."""

    def write(row: nodes.Row, writer: Writer) -> None:
        writer.state = int(holds(when, row.cells))

    return Atom(looked_at(when), write)
