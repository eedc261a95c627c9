"""Elements that were written and are not there any more, although their row has all its cells from others.

An element whose absence takes a cell away needs no look: the row changes. Of the others `absent` says exactly which
the row would be written with; `fhirspace.mapping.read.doubts` says what the compiled reader looks at.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping as Table
from dataclasses import replace
from typing import Final

from fhirspace.mapping.cells import with_forms
from fhirspace.mapping.model import Arr, Mapping, Node, Obj, OneOf, dynamic, walk
from fhirspace.mapping.write.nodes import Row, choice_fields, node_text
from fhirspace.template.dates import upto
from fhirspace.template.slots import Leaf, Slot, once

SERVERS: Final = ("id", "meta")
"""Elements of a resource that a server may give, change or leave out: ids of its own, tags and profiles."""
ROWS: Final = ("_RECORD", "_CELLS")
"""The helper columns that identify rows without a key: they are always filled."""
NEVER: Final = "_NEVER"
"""The condition of elements of older output. They are read, never written; what is written now they are without."""


# -- one resource, exactly


def absent(
    mapping: Mapping, root: Obj, cells: Table[str, str], hidden: Table[str, str], there: Collection[int]
) -> list[str]:
    """The paths of elements that the row of a resource would be written with and that are not there.

    What depends on other rows is left out (`fhirspace.study.reading.witnesses` compares it). A resource that has an
    element which its row is not written with (of older output, or an alternative that only other systems write) has
    not the form in which it would be written, so that nothing is reported.

    Args:
        mapping: the dataset's; root: the template of the resource or nested item.
        cells: what its elements say; hidden: the cells of hidden columns.
        there: the identities of the nodes that were found in the resource.
    """
    if any(id(node) in there for node in _older(root)):
        return []
    filled = with_forms(mapping, cells)
    filled |= {name[1:]: text for name, text in hidden.items() if name.startswith("@_")}
    filled |= dict.fromkeys(ROWS, "0")
    conditions = _conditions(root)
    filled |= {name: "Y" for name in conditions if name.startswith("_upto_") and upto(*_both(name, cells))}
    maybe = {name: "Y" for name in conditions if name.startswith("_has_")}
    try:
        found = list(_missing(root, _without_keys(root), Row(filled, {}), there, root.path))
        if found and maybe:
            other = set(_missing(root, _without_keys(root), Row(filled | maybe, {}), there, root.path))
            found = [path for path in found if path in other]
    except _OtherFormError:
        return []
    return found


class _OtherFormError(Exception):
    """A resource has an alternative that its row is not written with."""


def _both(name: str, cells: Table[str, str]) -> list[str | None]:
    return [cells.get(part) for part in name.split("_")[2:]]


@once
def _conditions(root: Obj) -> frozenset[str]:
    """The columns of the conditions in a template."""
    return frozenset(name for node in walk(root) if isinstance(node, Obj) and node.when for name in node.when.columns())


@once
def _older(root: Obj) -> tuple[Obj, ...]:
    return tuple(node for node in walk(root) if isinstance(node, Obj) and node.when and NEVER in node.when.columns())


@once
def _without_keys(root: Obj) -> Obj:
    """A template of the same form that is written without the key of ids."""
    return replace(root, fields=tuple((name, _open(node)) for name, node in root.fields))


def _open(node: Node) -> Node:
    if isinstance(node, Leaf):
        return replace(node, parts=tuple(_open_slot(part) if isinstance(part, Slot) else part for part in node.parts))
    if isinstance(node, Obj):
        return replace(node, fields=tuple((name, _open(inner)) for name, inner in node.fields))
    if isinstance(node, Arr):
        return replace(node, items=tuple(_open(item) for item in node.items))  # type: ignore[misc]
    if isinstance(node, OneOf):
        return replace(node, options=tuple(_open(option) for option in node.options))  # type: ignore[misc]
    return node


def _open_slot(slot: Slot) -> Slot:
    return replace(slot, codec=replace(slot.codec, out=lambda _: "0")) if slot.codec.keyed else slot


def _missing(obj: Obj, twin: Obj, row: Row, there: Collection[int], path: str) -> Iterator[str]:
    """Of an object that is there; `twin` is the same without keys."""
    for (name, node), (_, open_node) in zip(obj.fields, twin.fields, strict=True):
        if isinstance(node, OneOf) and isinstance(open_node, OneOf):
            yield from _missing_choice(node, open_node, row, there, path)
        elif not (name in SERVERS and "." not in path):
            yield from _missing_node(node, open_node, row, there, f"{path}.{name}")


def _missing_choice(node: OneOf, twin: OneOf, row: Row, there: Collection[int], path: str) -> Iterator[str]:
    names = {name for option in node.options for name, inner in option.fields if id(inner) in there}
    if not names:
        fields, _ = choice_fields(twin, row)
        yield from (f"{path}.{name}" for name, _ in fields)
        return
    option, other = max(zip(node.options, twin.options, strict=True), key=lambda pair: _likely(pair[0], there, names))
    given = [name for name, inner in option.fields if dynamic(inner) and id(inner) in there]
    chosen = dict(choice_fields(twin, row)[0])
    if given and chosen and not any(name in chosen for name in given):
        raise _OtherFormError
    for (name, inner), (_, open_node) in zip(option.fields, other.fields, strict=True):
        if isinstance(inner, OneOf) and isinstance(open_node, OneOf):
            yield from _missing_choice(inner, open_node, row, there, path)
        elif id(inner) in there or name not in names:
            yield from _missing_node(inner, open_node, row, there, f"{path}.{name}")


def _likely(option: Obj, there: Collection[int], names: Collection[str]) -> tuple[int, int]:
    """How much of an option is there; a constant that several options have tells less than what rows give."""
    given = sum(dynamic(inner) and id(inner) in there for _, inner in option.fields)
    return given, sum(name in names for name, _ in option.fields)


def _missing_node(node: Node, twin: Node, row: Row, there: Collection[int], path: str) -> Iterator[str]:
    if id(node) not in there:
        if node_text(twin, row)[0] is not None:
            yield path
    elif isinstance(node, Obj) and isinstance(twin, Obj):
        yield from _missing(node, twin, row, there, path)
    elif isinstance(node, Arr) and isinstance(twin, Arr):
        for item, other in zip(node.items, twin.items, strict=True):
            if isinstance(item, Obj | Leaf):
                yield from _missing_node(item, other, row, there, path)
