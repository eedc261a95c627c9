"""The elements of a structure as a tree: elements within elements, and the slices of each.

Source: FHIR, "ElementDefinition" (id, slicing), "Profiling FHIR" (differential and snapshot, re-slicing).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from fhirspace.standards.hl7.structures import ElementRule, Slicing, Structure

Find = Callable[[str], Structure | None]
"""Finds a structure by its address."""
_DEEPEST = 20
_URL = Slicing([("value", "url")])
_TYPE = Slicing([("type", "$this")])


class Node:
    """An element of a structure, or a slice of one.

    Attributes:
        name: as in the path (``value[x]``). slice: its name as a slice, else "". rule: what the structure says of it.
        children: the elements within it. slices: the slices of it, in their order.
    """

    __slots__ = ("children", "name", "rule", "slice", "slices")

    def __init__(self, name: str, piece: str = "") -> None:
        self.name = name
        self.slice = piece
        self.rule = ElementRule("")
        self.children: dict[str, Node] = {}
        self.slices: dict[str, Node] = {}

    def child(self, name: str) -> Node:
        """The element of this name within it, made where there is none."""
        return self.children.setdefault(name, Node(name))

    def sliced(self, name: str) -> Node:
        """The slice of this name, made where there is none; ``a/b`` is slice b of slice a."""
        first, _, rest = name.partition("/")
        found = self.slices.setdefault(first, Node(self.name, first))
        return found.sliced(rest) if rest else found

    def all_slices(self) -> Iterator[Node]:
        """Its slices and theirs."""
        for each in self.slices.values():
            yield each
            yield from each.all_slices()

    def within(self) -> Iterator[Node]:
        """All elements and slices within it."""
        for each in (*self.children.values(), *self.slices.values()):
            yield each
            yield from each.within()

    @property
    def slicing(self) -> Slicing | None:
        """How its slices are distinguished: as it says, or as it is understood for extensions and choices."""
        if self.rule.slicing is not None and self.rule.slicing.discriminators:
            return self.rule.slicing
        if self.name in ("extension", "modifierExtension"):
            return _URL
        return _TYPE if self.name.endswith("[x]") else self.rule.slicing


def tree(structure: Structure, find: Find) -> Node:
    """The root of a structure's elements. Args: the structure; `find` gives its base, if it is a differential only."""
    root = Node(structure.type)
    for rule in _elements(structure, find, _DEEPEST):
        node = _at(root, rule.id)
        node.rule = rule
    return root


def _at(root: Node, identity: str) -> Node:
    node = root
    for part in identity.split(".")[1:]:
        name, _, piece = part.partition(":")
        node = node.child(name)
        if piece:
            node = node.sliced(piece)
    return node


def at(root: Node, path: str) -> Node | None:
    """The node at a path of element names, None where the structure says nothing of it."""
    node: Node | None = root
    for part in path.split(".")[1:]:
        node = node.children.get(part) if node else None
    return node


def _elements(structure: Structure, find: Find, left: int) -> Iterable[ElementRule]:
    """The rules of a structure with those of its bases."""
    base = find(structure.base) if not structure.whole and left and structure.base else None
    if base is None:
        return structure.elements
    found = {each.id: each for each in _elements(base, find, left - 1)}
    for each in structure.elements:
        below = found.get(each.id)
        found[each.id] = _over(below, each) if below else each
    return found.values()


def _over(below: ElementRule, above: ElementRule) -> ElementRule:
    """A rule with what another says more or otherwise."""
    blank = ElementRule("")
    more: dict[str, Any] = {
        name: value for name in above.__struct_fields__ if (value := getattr(above, name)) != getattr(blank, name)
    }
    if below.constraints and above.constraints:
        more["constraints"] = [
            *below.constraints,
            *(each for each in above.constraints if each not in below.constraints),
        ]
    return msgspec.structs.replace(below, **more)
