"""Elements that give no cell but say something of one: codes beside a text, units in UCUM, ids, computed codes.

They are read as well and compared with the cells of the row: what was edited in one place only must not go unnoticed.
A *compared* slot can be written again from the row alone, so that is done where the row is read. What takes more (the
key of ids, other rows) is a *hidden* column of the table, under a reserved name, and is compared for whole tables.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final, NamedTuple, TypeAlias

from fhirspace.mapping.model import Arr, Mapping, Node, Obj, OneOf, children, dynamic, slots
from fhirspace.standards.units import canonical_number
from fhirspace.template.codecs import TEXT
from fhirspace.template.slots import Leaf, Slot, once
from fhirspace.template.values import Candidates, Fault, read_leaf, slot_text

Keys: TypeAlias = tuple[str, int]
"""A (real, virtual or hidden) column and the rank of the slots that it is read from."""
COMPARED: Final = 9
"""The rank of slots from which a column is never read."""
IS: Final = "@is:"
"""Before the path of a constant that was chosen by a condition: the hidden column with what the element says. Steps are
separated by ``/``: a point in the name of a column separates the parts of a form."""
_NAMES: Final = ("system", "url", "reference")
"""Elements that name something, and tell nothing of a row."""


def text_slot(column: str) -> Slot:
    """A slot of a hidden column."""
    return Slot(column, TEXT)


def compared(slot: Slot) -> bool:
    """Whether a slot gives no cell, but the cell gives its text."""
    return not (slot.readable or slot.derived or slot.codec.keyed)


def key(slot: Slot) -> Keys:
    """Where the text of a slot goes: to its column, to what is compared with it, or to a hidden column."""
    if slot.readable:
        return slot.column, slot.codec.rank
    return (slot.column, COMPARED) if compared(slot) else (hidden(slot), 0)


def hidden(slot: Slot) -> str:
    """The hidden column of a slot: ``@_LOINC`` of a computed one, ``@id:USUBJID`` of one with a key."""
    return f"@{slot.column}" if slot.derived else f"@{slot.codec.name}:{slot.column}"


def read_all(leaf: Leaf, text: str) -> Candidates | None:
    """What a leaf's text holds: of slots that can be read the cell, of others the text; None as of `read_leaf`."""
    return read_leaf(leaf, text, every=True)


def is_hidden(name: str) -> bool:
    """Whether a column is a hidden one (beside it, tables have ``@file``, ``@row`` and ``@element:X``)."""
    return name.startswith(("@_", "@id:", "@fhirid:", IS))


def label(name: str) -> str:
    """The name of a column in messages: of a hidden one, what it is made of or the path of its element."""
    if name.startswith(IS):
        return name.removeprefix(IS).replace("/", ".")
    return (name.partition(":")[2] or name.removeprefix("@")) if is_hidden(name) else name


def path_of(root: Obj, name: str) -> str:
    """The path of the first element of a hidden column, "" if it has none in a template."""
    if name.startswith(IS):
        return name.removeprefix(IS).replace("/", ".")
    return next(_paths(root, name, root.path), "")


def _paths(node: Node, name: str, path: str) -> Iterator[str]:
    if isinstance(node, Leaf) and any(key(slot)[0] == name for slot in node.slots):
        yield path
    for step, inner in node.fields if isinstance(node, Obj) else [("", each) for each in children(node)]:
        yield from _paths(inner, name, f"{path}.{step}" if step else path)


@once
def _slots_of(root: Obj) -> dict[str, list[Slot]]:
    found: dict[str, list[Slot]] = {}
    for _, slot in slots(root):
        found.setdefault(slot.column, []).append(slot)
    return found


def slots_of(mapping: Mapping, column: str) -> list[Slot]:
    """All slots of a mapping that a column fills."""
    return [slot for root in mapping.roots() for slot in _slots_of(root).get(column, ())]


def agrees(slot: Slot, cell: str, taken: str, every: Iterable[Slot]) -> bool:
    """Whether the cell that a row has would be written as the element from which another was read.

    Args:
        slot: the element's; cell: what was read from it (`read_all`); taken: the cell of the row.
        every: all slots of the column: alternatives write the same element from different cells.
    """
    text = _text(slot, cell) if slot.readable else cell
    return any(_text(each, taken) == text for each in (slot, *every) if not each.codec.keyed)


def all_agree(some: Sequence[Slot], cell: str, taken: str) -> bool:
    """The same where it is not known from which of some slots of one column the cell was read."""
    return all(agrees(slot, cell, taken, some) for slot in some)


def _text(slot: Slot, cell: str) -> str:
    """The text of a cell at a slot; spellings of one number are the same."""
    faults: list[Fault] = []
    text = slot_text(slot, cell, faults) or ""
    return canonical_number(text) or text


class Choice(NamedTuple):
    """A place of a template whose constants depend on the row: the node, and the paths below it by hidden column."""

    node: OneOf | Obj
    paths: dict[str, tuple[str, ...]]


@once
def choices(root: Obj) -> tuple[Choice, ...]:
    """Where constants tell something of a row: alternatives with different ones, objects that a condition writes."""
    return tuple(_choices(root, root.path))


def _choices(node: Node, path: str) -> Iterator[Choice]:
    if isinstance(node, OneOf):
        options = [_constants(option) for option in node.options]
        names = dict.fromkeys(inner for option in options for inner in option)
        different = [inner for inner in names if len({each[inner] for each in options if inner in each}) > 1]
    else:
        conditional = isinstance(node, Obj) and node.when and not dynamic(node)
        different = [inner for inner in _constants(node) if inner[-1] not in _NAMES] if conditional else []
    if different and isinstance(node, OneOf | Obj):
        yield Choice(node, {f"{IS}{path}.{'.'.join(inner)}".replace(".", "/"): inner for inner in different})
    elif isinstance(node, OneOf):
        for option in node.options:
            yield from _choices(replace(option, when=None), path)
    elif isinstance(node, Obj):
        for name, inner in node.fields:
            yield from _choices(inner, f"{path}.{name}" if name else path)
    elif isinstance(node, Arr):
        for item in node.items:
            yield from _choices(item, path)


def _constants(node: Node) -> dict[tuple[str, ...], str]:
    return {path: leaf.constant or "" for path, leaf in _constant_leaves(node)}


def _constant_leaves(node: Node, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Leaf]]:
    """The constants of an object and of what it always has inside, lists of one item looked through."""
    if isinstance(node, Leaf) and node.constant is not None and node.kind == "string":
        yield path, node
    elif isinstance(node, Arr) and len(node.items) == 1:
        yield from _constant_leaves(node.items[0], path)
    elif isinstance(node, Obj):
        for name, inner in node.fields:
            yield from _constant_leaves(inner, (*path, name))


@once
def chosen_constants(root: Obj) -> dict[int, str]:
    """The hidden columns of constants, by the identity of their leaves."""
    found: dict[int, str] = {}
    for node, paths in choices(root):
        names = {path: name for name, path in paths.items()}
        for option in node.options if isinstance(node, OneOf) else (node,):
            found |= {id(leaf): names[path] for path, leaf in _constant_leaves(option) if path in names}
    return found
