"""FHIR to rows, resource by resource: the meaning of reading, and the path of resources with unmapped content.

The compiled reader makes the same rows many times faster; tests compare the two.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping as Table
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from fhirspace.foreign import member
from fhirspace.json import Number
from fhirspace.mapping.cells import best_cells, implied, joined, least_ranked
from fhirspace.mapping.model import CARRIED_URL, Arr, Block, Carried, Each, Mapping, Node, Obj, OneOf, dynamic
from fhirspace.mapping.read.absent import absent
from fhirspace.mapping.read.witness import agrees, chosen_constants, compared, hidden, key, read_all, slots_of
from fhirspace.template.slots import Leaf, once
from fhirspace.template.values import Candidates, read_leaf

ORDINAL = "row-ordinal"
"""The name of the cell with the ordinal of a row, where several resources make one row: no SAS name."""

SERVER_META = frozenset({"versionId", "lastUpdated", "source"})
"""What a server adds to ``meta``; never content."""

_INDEX: Final = re.compile(r"\[\d+\]")


class Cells(dict[str, str]):
    """The cells of a row by column.

    Attributes:
        elements: what the elements say of columns whose cells were carried, or None.
        hidden: the cells of hidden columns (`witness`).
    """

    __slots__ = ("elements", "hidden")

    def __init__(
        self, cells: Table[str, str], elements: Table[str, str | None], hidden: Table[str, str] | None = None
    ) -> None:
        super().__init__(cells)
        self.elements = dict(elements)
        self.hidden = dict(hidden or {})


@dataclass(slots=True)
class Extracted:
    """What one resource gives: the row's cells, rows of nested domains, and the paths of unmapped content.

    `carried` are the columns whose cells were carried, `contradictory` those of which elements differ, `absent` the
    paths of elements that the row would be written with and that are not there.
    """

    cells: Cells
    nested: dict[str, list[Cells]] = field(default_factory=dict)
    unmapped: list[str] = field(default_factory=list)
    carried: frozenset[str] = frozenset()
    contradictory: tuple[str, ...] = ()
    absent: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Found:
    root: Obj
    there: set[int] = field(default_factory=set)
    absent: list[str] = field(default_factory=list)
    candidates: Candidates = field(default_factory=list)
    others: Candidates = field(default_factory=list)
    hidden: list[tuple[str, str]] = field(default_factory=list)
    contradictory: list[str] = field(default_factory=list)
    chosen_constants: Table[int, str] = field(default_factory=dict)
    carried: dict[str, str] = field(default_factory=dict)
    nested: dict[str, list[Cells]] = field(default_factory=dict)
    unmapped: list[str] = field(default_factory=list)


def extract(
    mapping: Mapping, block: Block, resource: Table[str, Any], items: Table[str, Mapping] | None = None
) -> Extracted:
    """The cells that a resource holds for the row of a block, and its nested rows.

    Args:
        mapping: the domain's mapping; block: the one of its blocks that this resource is.
        resource: the parsed resource (`parse`).
        items: the mappings of the domains whose rows are nested in it, at any depth, by domain.
    """
    found = _Found(block.root, chosen_constants=chosen_constants(block.root))
    items = items or {}
    plain, ordinal = unrepeated(block, resource)
    _object(block.root, plain, block.resource, found, items)
    found.unmapped += _dangling(block, plain)
    extracted = _extracted(mapping, found)
    if any(name not in extracted.cells for name in block.once):
        extracted.absent.append(f"{block.resource}.identifier")
    if ordinal and sum(not each.once for each in mapping.blocks) > 1:
        extracted.cells[ORDINAL] = ordinal
    for domain, rows in list(extracted.nested.items()):
        attach = items[domain].attach
        shared = {name: extracted.cells[name] for name in (attach.on if attach else ()) if name in extracted.cells}
        extracted.nested[domain] = [
            Cells(row | shared, {name: cell for name, cell in row.elements.items() if name not in shared}, row.hidden)
            for row in rows
        ]
    return extracted


@once
def fragments(root: Obj) -> dict[str, str]:
    """The elements of a template that refer to a contained resource, with its id."""
    leaves = ((name, dict(node.fields).get("reference")) for name, node in root.fields if isinstance(node, Obj))
    constants = {name: leaf.constant for name, leaf in leaves if isinstance(leaf, Leaf) and leaf.constant}
    return {name: text[1:] for name, text in constants.items() if text.startswith("#")}


def _dangling(block: Block, resource: Table[str, Any]) -> Iterator[str]:
    """The paths of references to a contained resource that is not there."""
    for name, own in fragments(block.root).items():
        held, contained = resource.get(name), resource.get("contained")
        there = [each.get("id") for each in contained if isinstance(each, dict)] if isinstance(contained, list) else []
        if isinstance(held, dict) and held.get("reference") == f"#{own}" and own not in there:
            yield f"{block.resource}.{name}.reference"


def unrepeated(block: Block, resource: Table[str, Any]) -> tuple[Table[str, Any], str]:
    """A resource as if its row had a key of its own, and the ordinal that its identifier has, "" without one."""
    held = resource.get("identifier")
    for position, each in enumerate(held if isinstance(held, list) else [held]):
        system = each.get("system") if isinstance(each, dict) else None
        base, ordinal = without_ordinal(system) if isinstance(system, str) else ("", "")
        if ordinal and base == block.system:
            own = {**each, "system": base}
            others = [*held[:position], own, *held[position + 1 :]] if isinstance(held, list) else own
            return {**resource, "identifier": others}, ordinal
    return resource, ""


def without_ordinal(system: str) -> tuple[str, str]:
    """The system of an identifier and the ordinal after it: ``https://fhirspace.org/AE#2``; "" without one."""
    base, separator, ordinal = system.rpartition("#")
    return (base, ordinal) if separator and ordinal.isdecimal() else (system, "")


def _extracted(mapping: Mapping, found: _Found) -> Extracted:
    stated = implied(mapping) | best_cells(mapping, found.candidates)
    marked = {name: stated.get(name) for name in found.carried}
    cells = Cells(stated | found.carried, marked, dict(reversed(found.hidden)))
    contradictory = tuple(dict.fromkeys([*_contradictory(mapping, found), *found.contradictory]))
    there = {_INDEX.sub("", path) for path in found.unmapped}
    missing = [
        path
        for path in absent(mapping, found.root, stated, cells.hidden, found.there)
        if not any(f"{other}.".startswith(f"{path}.") for other in there)  # it is reported as unmapped
    ]
    missing += found.absent
    return Extracted(cells, found.nested, found.unmapped, frozenset(found.carried), contradictory, missing)


def _contradictory(mapping: Mapping, found: _Found) -> Iterator[str]:
    """The columns that would not give one of the elements again that are written from them."""
    best = least_ranked(found.candidates)
    for slot, cell in (*found.candidates, *found.others):
        _, taken = best.get(slot.column, (0, found.carried.get(slot.column, "")))
        same = slot.readable and cell == taken
        if not same and not agrees(slot, cell, taken, slots_of(mapping, slot.column)):
            yield slot.base
    for column, forms in mapping.forms.items():
        if len(set(joined(column, forms, best))) > 1:
            yield column
    first = dict(reversed(found.hidden))
    yield from (name for name, text in found.hidden if first[name] != text)


def fits(template: Obj, value: Any) -> bool:
    """Whether an object can have been written by a template: all constants that it always has are there and equal."""
    return isinstance(value, dict) and all(_holds(mark, value.get(mark.name)) for mark in marks(template))


class Mark(NamedTuple):
    """A field that distinguishes a template from others; `certain`: its content is always written with the template."""

    name: str
    node: Leaf | Obj | Arr
    certain: bool


@once
def marks(template: Obj) -> tuple[Mark, ...]:
    """The fields of a template that distinguish it from others: those that are always written with it and hold
    constants.

    The only field with slots of an object is written whenever the object is, with the constants in it.
    """
    moving = [node for _, node in template.fields if dynamic(node)]
    sole = moving[0] if len(moving) == 1 and not template.always else None
    fields = [Mark(name, node, node is sole) for name, node in template.fields if isinstance(node, Leaf | Obj | Arr)]
    return tuple(mark for mark in fields if _marked(mark))


def _marked(mark: Mark) -> bool:
    node = mark.node
    if isinstance(node, Leaf):
        return node.constant is not None
    if isinstance(node, Obj):
        return node.when is None and (mark.certain or not dynamic(node)) and bool(marks(node))
    kept = any(isinstance(item, Obj) and item.always for item in node.items)
    return bool(firm(node, mark.certain)) and (mark.certain or kept or not dynamic(node))


@once
def firm(arr: Arr, certain: bool) -> tuple[Leaf | Obj, ...]:
    """The items that are always written with their list; `certain`: the list is always written with its parent."""
    found: list[Leaf | Obj] = []
    for item in arr.items:
        if isinstance(item, Leaf):
            found += [item] if item.constant is not None else []
        elif isinstance(item, Obj) and item.when is None:
            only = certain and len(arr.items) == 1 and bool(marks(item))
            found += [item] if item.always or only or not dynamic(item) else []
    return tuple(found)


def _holds(mark: Mark, value: Any) -> bool:
    if isinstance(mark.node, Leaf):
        return text_of(value) == mark.node.constant
    if isinstance(mark.node, Obj):
        return fits(mark.node, value)
    return isinstance(value, list) and all(
        any(_is(item, each) for each in value) for item in firm(mark.node, mark.certain)
    )


def _is(item: Leaf | Obj, value: Any) -> bool:
    return text_of(value) == item.constant if isinstance(item, Leaf) else fits(item, value)


def text_of(value: Any) -> str | None:
    """The text of a JSON primitive, None of anything else."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str) else None


def _object(template: Obj, value: Any, path: str, found: _Found, items: Table[str, Mapping]) -> None:
    if not isinstance(value, dict):
        found.unmapped.append(path)
        return
    nodes = nodes_of(template)
    for at, (name, inner) in enumerate(value.items(), 1):
        if name == "meta" and "." not in path and isinstance(inner, dict):
            inner = {key: each for key, each in inner.items() if key not in SERVER_META}  # noqa: PLW2901
            if not inner:
                continue
        node = _chosen(nodes.get(name, ()), inner)
        if node is None:
            found.unmapped.append(f"{path}.{member(name, at)}")
        else:
            _node(node, inner, f"{path}.{name}", found, items)


@once
def nodes_of(template: Obj) -> dict[str, tuple[Node, ...]]:
    """The nodes that can be under each name, alternatives included."""
    nodes: dict[str, tuple[Node, ...]] = {}
    for name, node in template.fields:
        inner = (
            [pair for option in node.options for pair in nodes_of(option).items()]
            if isinstance(node, OneOf)
            else [(name, (node,))]
        )
        for each, several in inner:
            nodes[each] = nodes.get(each, ()) + several
    return nodes


def _chosen(nodes: tuple[Node, ...], value: Any) -> Node | None:
    """Of the alternatives that share a name, one whose constants are there; first one that knows all names."""
    if len(nodes) < 2:
        return nodes[0] if nodes else None
    could = [node for node in nodes if _could(node, value)]
    return next((node for node in could if _knows(node, value)), could[0] if could else None)


def _knows(node: Node, value: Any) -> bool:
    """Whether a template has all names of an object."""
    return not isinstance(node, Obj) or (isinstance(value, dict) and value.keys() <= nodes_of(node).keys())


def _could(node: Node, value: Any) -> bool:
    if isinstance(node, Leaf):
        text = text_of(value)
        return text is not None and read_leaf(node, text) is not None
    return _holds(Mark("", node, False), value) if isinstance(node, Obj | Arr) else True


def _node(node: Node, value: Any, path: str, found: _Found, items: Table[str, Mapping]) -> None:
    found.there.add(id(node))
    if isinstance(node, Leaf):
        text = text_of(value)
        read = None if text is None or isinstance(value, Number) != (node.kind == "number") else read_all(node, text)
        if read is None:
            found.unmapped.append(path)
        else:
            if marked := found.chosen_constants.get(id(node)):
                found.hidden.append((marked, str(text)))
            found.candidates += [(slot, cell) for slot, cell in read if slot.readable]
            found.others += [(slot, cell) for slot, cell in read if compared(slot)]
            found.hidden += [(hidden(slot), cell) for slot, cell in read if key(slot)[0].startswith("@")]
    elif isinstance(node, Obj):
        _object(node, value, path, found, items)
    elif isinstance(node, Arr):
        _list(node, value, path, found, items)


def _list(arr: Arr, value: Any, path: str, found: _Found, items: Table[str, Mapping]) -> None:
    if not isinstance(value, list):
        found.unmapped.append(path)
        return
    used: set[int] = set()
    for position, each in enumerate(value):
        where = f"{path}[{position}]"
        if (
            isinstance(each, dict)
            and each.get("url") == CARRIED_URL
            and any(isinstance(item, Carried) for item in arr.items)
        ):
            _carried(each, where, found)
            continue
        index = _bind(arr, each, used, items)
        if index is None:
            found.unmapped.append(where)
            continue
        item = arr.items[index]
        if isinstance(item, Each):
            _nested(items[item.domain], each, where, found, items)
        else:
            used.add(index)
            _node(item, each, where, found, items)


def _bind(arr: Arr, value: Any, used: set[int], items: Table[str, Mapping]) -> int | None:
    """The template item that a list item is: by its constants; the one with most of them of several."""
    fitting = []
    for index, item in enumerate(arr.items):
        if isinstance(item, Each):
            nested = items.get(item.domain)
            if nested is not None and nested.item is not None and fits(nested.item, value):
                fitting.append((len(marks(nested.item)), -index))
        elif index not in used and not isinstance(item, Carried) and _could(item, value):
            score = len(marks(item)) if isinstance(item, Obj) else 1
            fitting.append((score if _knows(item, value) else -1, -index))
    return -max(fitting)[1] if fitting else None


def _nested(mapping: Mapping, value: Any, path: str, found: _Found, items: Table[str, Mapping]) -> None:
    if mapping.item is None:
        return
    inner = _Found(mapping.item, chosen_constants=chosen_constants(mapping.item))
    _object(mapping.item, value, path, inner, items)
    extracted = _extracted(mapping, inner)
    for domain, rows in ((mapping.domain, [extracted.cells]), *extracted.nested.items()):
        found.nested.setdefault(domain, []).extend(rows)
    found.unmapped += extracted.unmapped
    found.contradictory += extracted.contradictory
    found.absent += extracted.absent


def _carried(value: dict[str, Any], path: str, found: _Found) -> None:
    held = value.get("extension", [])
    found.unmapped += [f"{path}.{name}" for name in value if name not in ("url", "extension")]
    if not isinstance(held, list):
        found.unmapped.append(f"{path}.extension")
        return
    for position, each in enumerate(held):
        if (
            isinstance(each, dict)
            and each.keys() == {"url", "valueString"}
            and all(isinstance(text, str) for text in each.values())
        ):
            name, text = str(each["url"]), str(each["valueString"])
            if found.carried.setdefault(name, text) != text:
                found.contradictory.append(name)
        else:
            found.unmapped.append(f"{path}.extension[{position}]")
