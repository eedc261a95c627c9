"""Rows to FHIR, row by row: the meaning of a mapping, and the path of rows that are wrong.

The kernel makes the same bytes many times faster; tests hold the two equal.
"""

from __future__ import annotations

from collections.abc import Mapping as Table, Sequence
from dataclasses import dataclass, field

from fhirspace.foreign import counted
from fhirspace.mapping.cells import implied, settle, with_forms
from fhirspace.mapping.model import CARRIED_URL, Arr, Carried, Each, Mapping, Node, Obj, OneOf, dynamic
from fhirspace.template.codecs import json_string
from fhirspace.template.slots import Leaf
from fhirspace.template.values import Candidates, Fault, holds, leaf_text, read_leaf


class BadRow(Exception):
    """A row that cannot be written: all its faults at once."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = list(dict.fromkeys(faults))
        super().__init__(counted(len(self.faults), "fault"))


@dataclass(slots=True)
class _Row:
    """A row while it is rendered: its cells, the finished items that hang into it, and what came of it."""

    cells: dict[str, str]
    each: Table[str, Sequence[str]]
    carried: dict[str, str] | None = None
    faults: list[Fault] = field(default_factory=list)
    candidates: Candidates = field(default_factory=list)


def render(
    mapping: Mapping, cells: Table[str, str], each: Table[str, Sequence[str]] | None = None
) -> list[tuple[str, str]]:
    """The resources of a row as (resource type, JSON text without line end); of an attached domain the one item.

    Args:
        mapping: the domain's mapping.
        cells: the filled cells of the row by column, computed helpers (``_X``) among them.
        each: the JSON texts of the items that hang into this row, by domain, in order.

    Raises:
        BadRow: with every fault of the row.
    """
    row = _Row(with_forms(mapping, cells), each or {})
    made = _render(mapping, row)
    if not row.faults:
        back = implied(mapping) | settle(mapping, row.candidates)
        shared = mapping.attach.on if mapping.attach else ()
        carried = {
            name: cell
            for name, cell in cells.items()
            if name[0] not in "_@" and name not in shared and back.get(name) != cell
        }
        if carried:
            row = _Row(row.cells, row.each, carried)
            made = _render(mapping, row)
    if row.faults:
        raise BadRow(row.faults)
    return made


def _render(mapping: Mapping, row: _Row) -> list[tuple[str, str]]:
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


def _node(node: Node, row: _Row) -> tuple[str | None, bool]:
    """The JSON text that a node has if its parent stands, and whether it makes the parent stand."""
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
        return (_carried(row.carried), True) if row.carried else (None, False)
    raise TypeError(node)


def _leaf(leaf: Leaf, row: _Row) -> tuple[str | None, bool]:
    text = leaf_text(leaf, row.cells, row.faults)
    if text is None:
        return None, False
    row.candidates += read_leaf(leaf, text) or []
    return (text if leaf.kind != "string" else json_string(text)), bool(leaf.slots)


def _object(obj: Obj, row: _Row, *, always: bool = False) -> tuple[str | None, bool]:
    if not holds(obj.when, row.cells):
        return None, False
    before = len(row.candidates)
    fields, stands = _fields(obj, row)
    if not (stands or always or obj.always or (not dynamic(obj) and fields)):
        del row.candidates[before:]
        return None, False
    names = {name for name, _ in fields}
    row.faults += [
        Fault("FS210", need.column, f"a cell: {obj.path} needs {need.label}")
        for need in obj.required
        if not names & need.names
    ]
    return "{" + ",".join(f'"{name}":{text}' for name, text in fields) + "}", stands


def _fields(obj: Obj, row: _Row) -> tuple[list[tuple[str, str]], bool]:
    fields: list[tuple[str, str]] = []
    stands = False
    for name, node in obj.fields:
        if isinstance(node, OneOf):
            chosen, triggers = _one_of(node, row)
            fields += chosen
        else:
            text, triggers = _node(node, row)
            if text is not None:
                fields.append((name, text))
        stands = stands or triggers
    return fields, stands


def _one_of(alternatives: OneOf, row: _Row) -> tuple[list[tuple[str, str]], bool]:
    fallback: list[tuple[str, str]] = []
    for option in alternatives.options:
        if not holds(option.when, row.cells):
            continue
        before = len(row.candidates)
        fields, stands = _fields(option, row)
        if stands:
            return fields, True
        del row.candidates[before:]
        if fields and not fallback and not dynamic(option):
            fallback = fields
    return fallback, False


def _list(arr: Arr, row: _Row) -> tuple[str | None, bool]:
    texts: list[str] = []
    stands = kept = False
    for item in arr.items:
        text, triggers = _node(item, row)
        if text is not None:
            texts.append(text)
        stands = stands or triggers
        kept = kept or (isinstance(item, Obj) and item.always and text is not None)
    if not texts or not (stands or kept or not dynamic(arr)):
        return None, False
    return "[" + ",".join(texts) + "]", stands


def _carried(cells: Table[str, str]) -> str:
    """The extension that carries cells: one sub-extension a variable, in the order of the row's columns."""
    parts = ",".join(f'{{"url":{json_string(name)},"valueString":{json_string(cell)}}}' for name, cell in cells.items())
    return f'{{"url":"{CARRIED_URL}","extension":[{parts}]}}'
