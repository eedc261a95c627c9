"""Checks of a mapping beyond its elements' types: readable back, items distinguishable, nested without cycles."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from itertools import combinations

from fhirspace.errors import MappingError, Place
from fhirspace.mapping.model import Arr, Carried, Each, Mapping, Node, Obj, slots, walk
from fhirspace.mapping.read.extract import Mark, firm, marks
from fhirspace.template.slots import Leaf, Slot

_COUNTED = re.compile(r"[A-Z0-9]{0,4}SEQ|VISITNUM|TAETORD")
"""Columns of numbers that count rows or visits."""


def check(mappings: dict[str, Mapping], new: Collection[str] | None = None) -> None:
    """All checks over the mappings of a release. Raises MappingError with file, line and what was expected.

    Args:
        mappings: all of them; new: the names of those that are to be checked, where the others were before.
    """
    known: dict[tuple[str, str], str] = {}
    for mapping in mappings.values():
        _identified(mapping, known)
    for mapping in (each for name, each in mappings.items() if new is None or name in new):
        _pseudonymous(mapping)
        _nested(mapping, mappings)
        _carries(mapping)
        _forms(mapping)
        _key(mapping)
        _contained(mapping)
        for root in mapping.roots():
            for node in walk(root):
                if isinstance(node, Arr):
                    _apart(mapping, node, mappings)
                elif isinstance(node, Leaf):
                    _separated(mapping, node)


def _identified(mapping: Mapping, known: dict[tuple[str, str], str]) -> None:
    """Each block's resources are recognised by the constant system of an identifier that no other block has."""
    for block in mapping.blocks:
        kind = (block.resource, block.system)
        if not block.system or kind in known:
            other = f"; {known[kind]} has this one" if kind in known else ""
            place = Place(mapping.file, block.root.line, f"{block.resource}.identifier")
            raise MappingError("FS346", place, f"an identifier with a constant system of its own{other}")
        known[kind] = mapping.domain


def _pseudonymous(mapping: Mapping) -> None:
    """URLs and logs show ids: only hashes, numbers of rows and visits, and codes of a list may be a part of one."""
    for block in mapping.blocks:
        made = dict(block.root.fields).get("id")
        for slot in made.slots if isinstance(made, Leaf) else ():
            codec = slot.codec
            hashed = codec.name.removesuffix("+") in ("id", "fhirid")
            counted = codec.name in ("integer", "decimal", "number") and _COUNTED.fullmatch(slot.column)
            if not hashed and not counted and codec.outputs is None:
                hint = f"<{slot.column} id> or <{slot.column} fhirid>, so that the cell cannot be read from the id"
                raise MappingError("FS349", Place(mapping.file, block.root.line, f"{block.resource}.id"), hint)


def _nested(mapping: Mapping, mappings: dict[str, Mapping]) -> None:
    seen = [mapping.domain]
    current = mapping
    while current.attach is not None:
        if current.attach.to in seen:
            chain = f"`attach:` leads from {' to '.join([*seen, current.attach.to])}"
            raise MappingError("FS303", Place(mapping.file, None, "attach"), detail=chain)
        found = mappings.get(current.attach.to)
        if found is None:
            raise MappingError(
                "FS340", Place(mapping.file, None, "attach"), "a dataset that has a mapping: " + ", ".join(mappings)
            )
        seen.append(found.domain)
        current = found
    for root in mapping.roots():
        for node in walk(root):
            if isinstance(node, Each):
                child = mappings.get(node.domain)
                if child is None or child.attach is None or child.attach.to != mapping.domain:
                    raise MappingError(
                        "FS340",
                        Place(mapping.file, root.line, f"<each {node.domain}>"),
                        f"a mapping of {node.domain} with `attach: {{to: {mapping.domain}}}`",
                    )
                if child.item is not None and child.item.path != node.path:
                    raise MappingError(
                        "FS340",
                        Place(mapping.file, root.line, f"<each {node.domain}>"),
                        f"a place for items of {child.item.path} in {mapping.release}, not of {node.path}",
                    )
    if mapping.attach and not any(
        isinstance(node, Each) and node.domain == mapping.domain
        for root in mappings[mapping.attach.to].roots()
        for node in walk(root)
    ):
        raise MappingError(
            "FS340",
            Place(mapping.file, None, "attach"),
            f"a place <each {mapping.domain}> in the mapping of {mapping.attach.to} for {mapping.release}",
        )


def _carries(mapping: Mapping) -> None:
    places = [node for root in mapping.roots() for node in walk(root) if isinstance(node, Carried)]
    if len(places) != 1:
        raise MappingError(
            "FS341", Place(mapping.file, None, mapping.domain), "one place <carried>, in the extensions of one resource"
        )


def _contained(mapping: Mapping) -> None:
    """A contained resource and each ``#ref`` to it are written together: under the same condition, or always."""
    for block in mapping.blocks:
        held = dict(block.root.fields).get("contained")
        inside = (
            {_constant(item, "id"): item for item in held.items if isinstance(item, Obj)}
            if isinstance(held, Arr)
            else {}
        )
        refs = {}
        for node in walk(block.root):
            if isinstance(node, Obj) and (text := _constant(node, "reference")).startswith("#"):
                refs[text[1:]] = node
        for name in inside.keys() | refs.keys():
            item, ref = inside.get(name), refs.get(name)
            if item is None or ref is None or not item.always or item.when != ref.when:
                place = Place(mapping.file, (item or ref or block.root).line, "contained")
                raise MappingError(
                    "FS347", place, f"`always:` around the contained resource {name}, and its `when:` at the #{name}"
                )


def _constant(obj: Obj, name: str) -> str:
    node = dict(obj.fields).get(name)
    return (node.constant or "") if isinstance(node, Leaf) else ""


def _forms(mapping: Mapping) -> None:
    """Each virtual column that is used is one of a form."""
    known = {
        f"{column}.{form.name}{part}"
        for column, forms in mapping.forms.items()
        for form in forms
        for part in ("", *(f".{part.column}" for part in form.parts if isinstance(part, Slot)))
    }
    for line, column in _columns(mapping):
        if "." in column and column not in known:
            place = Place(mapping.file, line, column)
            raise MappingError(
                "FS342", place, "one of " + (", ".join(sorted(known)) or "the columns; no forms are given")
            )


def _columns(mapping: Mapping) -> Iterator[tuple[int, str]]:
    """All columns that slots and conditions name, with their lines."""
    for root in mapping.roots():
        for node in walk(root):
            if isinstance(node, Leaf):
                yield from ((node.line, slot.column) for slot in node.slots)
            elif isinstance(node, Obj) and node.when:
                yield from ((node.line, column) for column in node.when.columns())


def _key(mapping: Mapping) -> None:
    """Each column of the key can be read back."""
    shared = mapping.attach.on if mapping.attach else ()
    readable = {slot.base for root in mapping.roots() for _, slot in slots(root) if slot.readable} | set(shared)
    for column in mapping.key:
        if column not in readable:
            raise MappingError(
                "FS343",
                Place(mapping.file, None, column),
                f"a slot from which {column} can be read back, such as an identifier's value",
            )


def _separated(mapping: Mapping, leaf: Leaf) -> None:
    """Between two slots of a text there is a constant that shows where one ends."""
    for left, right in zip(leaf.parts, leaf.parts[1:], strict=False):
        if not isinstance(left, str) and not isinstance(right, str) and left.readable and right.readable:
            raise MappingError(
                "FS344", Place(mapping.file, leaf.line), "a constant between two slots, as in <USUBJID>|<AESEQ integer>"
            )


def _apart(mapping: Mapping, arr: Arr, mappings: dict[str, Mapping]) -> None:
    """Any two items of a list can be distinguished: one always has a constant that the other cannot have."""
    items = [item for item in (_item(each, mappings) for each in arr.items) if item is not None]
    for left, right in combinations(items, 2):
        if not (_excludes(left, right) or _excludes(right, left)):
            line = max(left.line, right.line)
            raise MappingError(
                "FS345",
                Place(mapping.file, line),
                "list items that differ in a constant such as url, system or code "
                f"(the other is at line {min(left.line, right.line)})",
            )


def _item(node: Node, mappings: dict[str, Mapping]) -> Obj | Leaf | None:
    if isinstance(node, Each):
        nested = mappings.get(node.domain)
        return nested.item if nested else None
    return node if isinstance(node, Obj | Leaf) else None


def _excludes(left: Obj | Leaf, right: Obj | Leaf) -> bool:
    """Whether `left` always has a constant that `right` can never have."""
    if isinstance(left, Leaf) or isinstance(right, Leaf):
        return (
            isinstance(left, Leaf) and isinstance(right, Leaf) and left.constant is not None and not _same(right, left)
        )
    fields = dict(right.fields)
    if "" in fields:
        fields |= dict(_alternatives(right))
    return any(not _can_be(fields.get(mark.name), mark) for mark in marks(left))


def _alternatives(obj: Obj) -> Iterator[tuple[str, Node]]:
    for name, node in obj.fields:
        if name == "":
            for option in getattr(node, "options", ()):
                yield from _alternatives(option)
        else:
            yield name, node


def _can_be(node: Node | None, mark: Mark) -> bool:
    """Whether a template node (None: absent) can write what another always writes."""
    wanted = mark.node
    if node is None or type(node) is not type(wanted):
        return False
    if isinstance(node, Arr) and isinstance(wanted, Arr):
        return all(any(_same(mine, other) for mine in node.items) for other in firm(wanted, mark.certain))
    return _same(node, wanted)


def _same(node: Node, wanted: Node) -> bool:
    if isinstance(node, Leaf) and isinstance(wanted, Leaf):
        return node.constant == wanted.constant if node.constant is not None else True
    if isinstance(node, Obj) and isinstance(wanted, Obj):
        fields = dict(_alternatives(node))
        return all(_can_be(fields.get(mark.name), mark) for mark in marks(wanted))
    return False
