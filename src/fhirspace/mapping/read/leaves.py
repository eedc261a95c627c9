"""Source that reads primitive elements into the variables of columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping as Table, Sequence
from functools import partial
from itertools import groupby
from typing import Final, NamedTuple, TypeAlias

from fhirspace.mapping.model import Node, Obj, children
from fhirspace.mapping.read import memo, witness
from fhirspace.mapping.read.code import Code
from fhirspace.mapping.read.doubts import Doubt, Test, as_source, doubts
from fhirspace.mapping.read.shapes import Prim, Shape
from fhirspace.template.codecs import TEXT
from fhirspace.template.slots import Leaf, Slot, once
from fhirspace.template.values import loose


def same_text(slot: Slot) -> bool:
    """Whether a slot's cell is its element's text unchanged."""
    return slot.codec.back is TEXT.back


def plainly(slot: Slot) -> bool:
    """Whether what is read from a slot is the text itself."""
    return not slot.readable or same_text(slot)


TOGETHER: Final = 6
"""Of how many elements one variable says which are missing: rows lack few of those that they may lack."""

Uses: TypeAlias = dict[witness.Keys, list[Slot]]
"""The slots that give each column at each rank."""


class Watched(NamedTuple):
    """What is looked at in a template beside its slots, by the identity of nodes.

    Attributes:
        constants: the hidden columns of constants that rows choose; doubts: elements that can be missing.
    """

    constants: dict[int, str]
    doubts: dict[int, Doubt]


def watched(root: Obj, *, notice: bool = True) -> Watched:
    """What is looked at in a template; `notice`: whether it is looked whether something is missing."""
    return Watched(witness.chosen_constants(root), doubts(root) if notice else {})


def uses_of(nodes: Iterable[Node], watching: Watched) -> Uses:
    """The slots of some templates by what they give; a constant that a row chose counts as one."""
    found: Uses = {}
    for node in nodes:
        for leaf in _leaves(node):
            for slot in leaf.slots:
                found.setdefault(witness.key(slot), []).append(slot)
            if name := watching.constants.get(id(leaf)):
                found.setdefault((name, 0), []).append(witness.text_slot(name))
    return found


@once
def _leaves(node: Node) -> tuple[Leaf, ...]:
    """The leaves in and below a node."""
    return (node,) if isinstance(node, Leaf) else tuple(leaf for child in children(node) for leaf in _leaves(child))


class Leaves:
    """Reads leaves: `cells` has the variable of each column at each rank, `uses` the slots that give it.

    `missing` has the variables whose bits say which elements are missing, of `together` elements each.
    """

    def __init__(self, code: Code, uses: Uses, watching: Watched, together: int = TOGETHER) -> None:
        self.code, self._uses, self._watched = code, uses, watching
        self.cells = {key: f"c{number}" for number, key in enumerate(uses)}
        self.raised: list[Doubt] = []
        self.missing: list[str] = []
        self._together = together
        self._room = 0
        self._bits: dict[int, tuple[str, int]] = {}
        self._left: dict[int, list[Test]] = {}
        self._given: set[witness.Keys] = set()
        self._looping = False

    def leaves(self, leaves: Sequence[Leaf], shape: Shape, var: str) -> None:
        """Lines that read a primitive from a variable: by a memo of its texts, or directly."""
        leaf = leaves[0]
        if any(other.kind != leaf.kind for other in leaves):
            self.code.put("raise Slow")
        elif all(each.constant is not None for each in leaves):
            self._constants(leaves, shape, var)
        elif leaf.kind == "boolean":
            self._assign(leaves, f"{self.code.held('B', lambda *_: memo.of_truth(leaves))}[{var}]")
        elif leaf.kind == "number":
            self._assign(leaves, f"{self.code.held('N', lambda *_: memo.of_number(leaves))}[b'' + {var}]")
        elif len(leaves) > 1 or not self._plain(leaf, var):
            self._assign(leaves, f"{self.code.held('M', lambda *_: memo.of_text(leaves))}[{var}]")

    def _constants(self, leaves: Sequence[Leaf], shape: Shape, var: str) -> None:
        texts = {leaf.constant or "" for leaf in leaves}
        if leaves[0].kind == "boolean":
            self.code.put(f"if {var} not in {[text == 'true' for text in sorted(texts)]}: raise Slow")
        elif leaves[0].kind == "number":
            self.code.put(f"if b'' + {var} not in {sorted(text.encode() for text in texts)}: raise Slow")
        elif not (isinstance(shape, Prim) and shape.constants is not None and shape.constants <= texts):
            self.code.put(f"if {var} not in {tuple(sorted(texts))}: raise Slow")
        if name := self._watched.constants.get(id(leaves[0])):
            self.put((name, 0), var, maybe=False)

    def _plain(self, leaf: Leaf, var: str) -> bool:
        """Read a text without a memo where it needs none: whole, behind a constant, or split in two."""
        if len(leaf.parts) == 1:
            slot = leaf.slots[0]
            if plainly(slot):
                self._set(slot, var)
            return plainly(slot)
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
        if loose(slot) and plainly(slot):
            self._set(slot, var)
        else:
            self._set(slot, f"{self.code.held('M', lambda *_: memo.of_part(slot))}[{var}]")

    def _assign(self, leaves: Sequence[Leaf], expression: str) -> None:
        read = memo.slots_in(leaves)
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
        self.put(witness.key(slot), expression, maybe=maybe)

    def put(self, key: witness.Keys, expression: str, *, maybe: bool) -> None:
        """Give a column its cell; where several places hold one, they must agree (else the order decides: slow).

        `maybe`: the expression can be None.
        """
        var = self.cells[key]
        if len(self._uses[key]) == 1:
            self.code.put(f"{var} = {expression}")
            return
        new = expression
        if not expression.isidentifier():
            new = self.code.fresh("x")
            self.code.put(f"{new} = {expression}")
        first = key not in self._given and not self._looping  # nothing gave the cell before
        self._given.add(key)
        if first:
            self.code.put(f"{var} = {new}")
            return
        self.code.put(f"if {var} is None: {var} = {new}")
        self.code.put(f"elif {f'{new} is not None and ' if maybe else ''}{new} != {var}: raise Slow")

    # -- elements that are not there

    def without(self, doubt: Doubt, test: str) -> None:
        """Note that an element is not there, or refuse its resource if it is always written."""
        if doubt.always:
            self.code.put(f"if {test}: raise Slow")
        else:
            variable, bit = self._bit(doubt)
            self.code.put(f"if {test}: {variable} |= {bit}")
            self.raised.append(doubt)

    def _bit(self, doubt: Doubt) -> tuple[str, int]:
        if doubt.number not in self._bits:
            if not self._room:
                self.missing.append(self.code.fresh("d"))
                self._room = self._together
            self._bits[doubt.number] = self.missing[-1], 1 << (self._together - self._room)
            self._room -= 1
        return self._bits[doubt.number]

    def take_over(self, inner: Leaves) -> tuple[str, str] | None:
        """The expression of what an inner function of one variable leaves open, and the variable that takes it."""
        left = [each for each in dict.fromkeys(inner.raised) if inner._left[each.number]]
        if not left:
            return None
        (given,), mine = inner.missing, self.code.fresh("d")
        bits = {each.number: inner._bits[each.number][1] for each in left}
        self.missing.append(mine)
        self._room = 0
        self._bits |= {number: (mine, bit) for number, bit in bits.items()}
        self._left |= {each.number: inner._left[each.number] for each in left}
        self.raised += left
        return f"{given} & {sum(bits.values())}", mine

    def judge(self, found: Table[str, str], since: int = 0, implied: Table[str, str] | None = None) -> None:
        """Refuse the resource if an element is missing, as far as the variables of columns show it.

        Args:
            found: the variables; since: the first of the doubts that were raised.
            implied: of columns without a variable, one that is filled if they are; given where nobody looks later.
        """
        for several, raised in groupby(dict.fromkeys(self.raised[since:]), self._variable):
            with self.code.block(f"if {several}:"):
                for doubt in raised:
                    self._judge_one(doubt, found, implied)

    def _variable(self, doubt: Doubt) -> str:
        return self._bits[doubt.number][0]

    def _judge_one(self, doubt: Doubt, found: Table[str, str], implied: Table[str, str] | None) -> None:
        variable, bit = self._bits[doubt.number]
        flag, left = f"{variable} & {bit}", self._left.get(doubt.number, list(doubt.tests))
        ready = [test for test in left if implied is not None or test.columns <= found.keys()]
        for test in ready:
            self._judge(flag, test, found, implied or {})
        left = [test for test in left if test not in ready]
        if left and all(test.when and test.deciding <= found.keys() for test in left):
            some = dict.fromkeys(" and ".join(as_source(test, found, {})) for test in left)
            self.code.put(f"if {flag} and not ({' or '.join(some)}): {variable} ^= {bit}")
            left = [test._replace(when=()) for test in left]
        self._left[doubt.number] = left

    def _judge(self, flag: str, test: Test, found: Table[str, str], implied: Table[str, str]) -> None:
        parts = [flag]
        for slot in test.slots:
            var = found.get(slot.column) or implied.get(slot.column)
            if var is None:  # never read from this resource
                return
            parts.append(f"{var} is not None")
            if slot.column in found and not same_text(slot):
                parts.append(f"{self.code.held('W', partial(_written, slot))}[{var}]")
        self.code.put(f"if {' and '.join([*parts, *as_source(test, found, implied)])}: raise Slow")


def _written(slot: Slot, *_: object) -> memo.Memo:
    return memo.of_written(slot)
