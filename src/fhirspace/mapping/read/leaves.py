"""Source that reads primitive elements into the variables of columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from fhirspace.mapping.model import Node, slots
from fhirspace.mapping.read import memo
from fhirspace.mapping.read.code import Code
from fhirspace.mapping.read.shapes import Prim, Shape
from fhirspace.template.codecs import codec
from fhirspace.template.slots import Leaf, Slot
from fhirspace.template.values import loose

_TEXT = codec("text")


def same_text(slot: Slot) -> bool:
    """Whether a slot's cell is its element's text unchanged."""
    return _TEXT is not None and slot.codec.back is _TEXT.back


Keys: TypeAlias = tuple[str, int]
"""A (real or virtual) column and the rank of the slots that it is read from."""


def uses_of(nodes: Iterable[Node]) -> Counter[Keys]:
    """How many slots of some templates give a column at a rank."""
    return Counter(
        (slot.column, slot.codec.rank) for node in nodes for _, slot in slots(node) if slot.readable
    )  # fmt: skip


class Leaves:
    """Reads leaves: `cells` has the variable of each column at each rank, `uses` how many slots give it."""

    def __init__(self, code: Code, uses: Counter[Keys]) -> None:
        self.code, self._uses = code, uses
        self.cells = {key: f"c{number}" for number, key in enumerate(uses)}

    def leaves(self, leaves: Sequence[Leaf], shape: Shape, var: str) -> None:
        """Lines that read a primitive from a variable: by a memo of its texts, or directly."""
        leaf = leaves[0]
        if any(other.kind != leaf.kind for other in leaves):
            self.code.put("raise Slow")
        elif all(each.constant is not None for each in leaves):
            self._constants(leaves, shape, var)
        elif leaf.kind == "boolean":
            self._assign(leaves, f"{self.code.held('B', memo.of_truth(leaves))}[{var}]")
        elif leaf.kind == "number":
            self._assign(leaves, f"{self.code.held('N', memo.of_number(leaves))}[b'' + {var}]")
        elif len(leaves) > 1 or not self._plain(leaf, var):
            self._assign(leaves, f"{self.code.held('M', memo.of_text(leaves))}[{var}]")

    def _constants(self, leaves: Sequence[Leaf], shape: Shape, var: str) -> None:
        texts = {leaf.constant or "" for leaf in leaves}
        if leaves[0].kind == "boolean":
            self.code.put(f"if {var} not in {[text == 'true' for text in sorted(texts)]}: raise Slow")
        elif leaves[0].kind == "number":
            self.code.put(f"if b'' + {var} not in {sorted(text.encode() for text in texts)}: raise Slow")
        elif not (isinstance(shape, Prim) and shape.constants is not None and shape.constants <= texts):
            self.code.put(f"if {var} not in {tuple(sorted(texts))}: raise Slow")

    def _plain(self, leaf: Leaf, var: str) -> bool:
        """Read a text without a memo where it needs none: whole, behind a constant, or split in two."""
        if len(leaf.parts) == 1:
            slot = leaf.slots[0]
            if slot.readable and same_text(slot):
                self._set(slot, var)
            return not slot.readable or same_text(slot)
        split = memo.splits(leaf)
        if split is None:
            return False
        prefix, head, between, tail = split
        left, right = self.code.fresh("p"), self.code.fresh("p")
        if prefix:
            self.code.put(f"if not {var}.startswith({prefix!r}): raise Slow")
        rest = f"{var}[{len(prefix)}:]" if prefix else var
        self.code.put(f"{left}, _, {right} = {rest}.rpartition({between!r})")
        self.code.put(f"if not {left} or not {right}: raise Slow")
        self._part(head, left)
        self._part(tail, right)
        return True

    def _part(self, slot: Slot, var: str) -> None:
        if loose(slot) and (not slot.readable or same_text(slot)):
            if slot.readable:
                self._set(slot, var)
            return
        name = self.code.held("M", memo.of_part(slot))
        if slot.readable:
            self._set(slot, f"{name}[{var}]")
        else:
            self.code.put(f"{name}[{var}]")

    def _assign(self, leaves: Sequence[Leaf], expression: str) -> None:
        read = memo.readable(leaves)
        if len(read) == 1:
            self._set(read[0], expression)
        elif read:
            names = [self.code.fresh("x") for _ in read]
            self.code.put(f"{', '.join(names)} = {expression}")
            for slot, name in zip(read, names, strict=True):
                self._set(slot, name, maybe=True)
        else:
            self.code.put(expression)

    def _set(self, slot: Slot, expression: str, *, maybe: bool = False) -> None:
        self.put((slot.column, slot.codec.rank), expression, maybe=maybe)

    def put(self, key: Keys, expression: str, *, maybe: bool) -> None:
        """Give a column its cell; where several places hold one, they must agree (else the order decides: slow).

        `maybe`: the expression can be None.
        """
        var = self.cells[key]
        if self._uses[key] == 1:
            self.code.put(f"{var} = {expression}")
            return
        new = expression
        if not expression.isidentifier():
            new = self.code.fresh("x")
            self.code.put(f"{new} = {expression}")
        self.code.put(f"if {var} is None: {var} = {new}")
        self.code.put(f"elif {f'{new} is not None and ' if maybe else ''}{new} != {var}: raise Slow")
