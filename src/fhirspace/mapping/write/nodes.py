"""The nodes of a mapping as JSON text, for one row: what a mapping means, node by node.

This is the interface of the reference renderer and of the kernel, which both write rows by it: `render` writes a row
whole, the kernel writes parts of a line for distinct cells. Nothing else of the renderer is used elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping as Table, Sequence
from dataclasses import dataclass, field

from fhirspace.mapping.model import CARRIED_URL, Arr, Carried, Each, Mapping, Node, Obj, OneOf, dynamic
from fhirspace.template.codecs import json_string
from fhirspace.template.slots import Leaf
from fhirspace.template.values import Candidates, Fault, holds, leaf_text, read_leaf


@dataclass(slots=True)
class Row:
    """A row while it is written.

    Attributes:
        cells: its filled cells by column. each: the finished items of its child rows by domain.
        carried: the cells that no element can hold, which go into the extension; None before they are known.
        faults: what is wrong with the row, in the order of the nodes.
        candidates: what a reader would read back from the leaves written so far.
    """

    cells: dict[str, str]
    each: Table[str, Sequence[str]]
    carried: dict[str, str] | None = None
    faults: list[Fault] = field(default_factory=list)
    candidates: Candidates = field(default_factory=list)


def resources(mapping: Mapping, row: Row) -> list[tuple[str, str]]:
    """The resources of a row as (resource type, JSON text); of a nested domain the one item, without a type.

    `row.faults` and `row.candidates` grow. Nothing is raised for a faulty row: the caller looks at its faults.
    """
    made = []
    for block in mapping.blocks:
        if holds(block.when, row.cells):
            before = len(row.candidates)
            text, _ = _object(block.root, row, always=True)
            made.append((block.resource, text or ""))
            if block.once:  # made for one row of many: no row is read back from it
                del row.candidates[before:]
    if mapping.item is not None:
        text, _ = _object(mapping.item, row, always=True)
        made.append(("", text or ""))
    return made


def node_text(node: Node, row: Row) -> tuple[str | None, bool]:
    """The JSON text that a node has if its parent is written, and whether it makes the parent written."""
    if isinstance(node, Leaf):
        return _leaf(node, row)
    if isinstance(node, Obj):
        return _object(node, row)
    if isinstance(node, Arr):
        return _list(node, row)
    if isinstance(node, Each):
        items = row.each.get(node.domain, ())
        return (",".join(items), True) if items else (None, False)
    if isinstance(node, Carried):
        return (carried_extension(row.carried), True) if row.carried else (None, False)
    raise TypeError(node)


def _leaf(leaf: Leaf, row: Row) -> tuple[str | None, bool]:
    text = leaf_text(leaf, row.cells, row.faults)
    if text is None:
        return None, False
    row.candidates += read_leaf(leaf, text) or []
    return (text if leaf.kind != "string" else json_string(text)), bool(leaf.slots)


def _object(obj: Obj, row: Row, *, always: bool = False) -> tuple[str | None, bool]:
    if not holds(obj.when, row.cells):
        return None, False
    before = len(row.candidates)
    fields, written = object_fields(obj, row)
    if not (written or always or obj.always or (not dynamic(obj) and fields)):
        del row.candidates[before:]
        return None, False
    names = {name for name, _ in fields}
    row.faults += [
        Fault("FS210", need.column, f"a value for {obj.path}.{need.label}")
        for need in obj.required
        if not names & need.names
    ]
    return "{" + ",".join(f'"{name}":{text}' for name, text in fields) + "}", written


def object_fields(obj: Obj, row: Row) -> tuple[list[tuple[str, str]], bool]:
    """The fields of an object as (name, JSON text), and whether one of them makes the object written."""
    fields: list[tuple[str, str]] = []
    written = False
    for name, node in obj.fields:
        if isinstance(node, OneOf):
            chosen, triggers = choice_fields(node, row)
            fields += chosen
        else:
            text, triggers = node_text(node, row)
            if text is not None:
                fields.append((name, text))
        written = written or triggers
    return fields, written


def choice_fields(alternatives: OneOf, row: Row) -> tuple[list[tuple[str, str]], bool]:
    """The fields of the first option that is written, as `object_fields`; else those of the first constant option."""
    fallback: list[tuple[str, str]] = []
    for option in alternatives.options:
        if not holds(option.when, row.cells):
            continue
        before = len(row.candidates)
        fields, written = object_fields(option, row)
        if written:
            return fields, True
        del row.candidates[before:]
        if fields and not fallback and not dynamic(option):
            fallback = fields
    return fallback, False


def _list(arr: Arr, row: Row) -> tuple[str | None, bool]:
    texts: list[str] = []
    written = kept = False
    for item in arr.items:
        text, triggers = node_text(item, row)
        if text is not None:
            texts.append(text)
        written = written or triggers
        kept = kept or (isinstance(item, Obj) and item.always and text is not None)
    if not texts or not (written or kept or not dynamic(arr)):
        return None, False
    return "[" + ",".join(texts) + "]", written


def carried_extension(cells: Table[str, str]) -> str:
    """The extension that carries cells: one sub-extension a variable, in the order of the row's columns."""
    parts = ",".join(f'{{"url":{json_string(name)},"valueString":{json_string(cell)}}}' for name, cell in cells.items())
    return f'{{"url":"{CARRIED_URL}","extension":[{parts}]}}'
