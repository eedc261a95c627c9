"""Python source that walks decoded structs and gives a row's cells: one function a resource or attached item.

The source is plain: an ``if`` a field, a loop a list of several items, a variable a column. Whatever it does not
expect raises `Slow`, and the line is read by `extract` instead.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping as Table, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from fhirspace.mapping import reader_memo as memo
from fhirspace.mapping.codecs import codec
from fhirspace.mapping.extract import marks, nodes_of
from fhirspace.mapping.reader_bind import Option, certain, certain_list, constant_test, presence_test
from fhirspace.mapping.reader_shapes import ANY, NEVER, Choice, Many, Member, Prim, Rec, Shape, constants
from fhirspace.mapping.tree import CARRIED_URL, Arr, Carried, Each, Leaf, Mapping, Node, Obj, Slot, slots

_TEXT = codec("text")


def same_text(slot: Slot) -> bool:
    """Whether a slot's cell is its element's text as it stands."""
    return _TEXT is not None and slot.codec.back is _TEXT.back


class Code:
    """Lines of source with their indentation, and the objects that they name."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.names: dict[str, Any] = {"Slow": memo.Slow}
        self._depth = 1
        self._count = 0

    def put(self, line: str) -> None:
        """Add a line at the present indentation."""
        self.lines.append("    " * self._depth + line)

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        """Add a line that opens a block, and indent what follows; an empty block passes."""
        self.put(head)
        self._depth += 1
        before = len(self.lines)
        yield
        if len(self.lines) == before:
            self.put("pass")
        self._depth -= 1

    def fresh(self, prefix: str) -> str:
        """A name not used before."""
        self._count += 1
        return f"{prefix}{self._count}"

    def held(self, prefix: str, value: Any) -> str:
        """The name under which the source sees an object."""
        name = self.fresh(prefix)
        self.names[name] = value
        return name

    def inside(self, write: Callable[[], None]) -> list[str]:
        """The lines that a function adds one indentation deeper, kept out of the source."""
        before = len(self.lines)
        self._depth += 1
        write()
        self._depth -= 1
        added = self.lines[before:]
        del self.lines[before:]
        return added


@dataclass(frozen=True, slots=True)
class Gathered:
    """Attached items met: the variable with their list, their domain, their struct."""

    name: str
    domain: str
    rec: Rec


class Walk:
    """The body of one function: reads a struct made for a template into variables.

    Args:
        code: where the source goes; template: the object that is read; items: the mappings of attached domains;
            wanted: a list item that must be there; `wanted_flag` is then the variable that says so, "" where it must
            be there anyway.
    """

    def __init__(self, code: Code, template: Obj, items: Table[str, Mapping], wanted: Node | None = None) -> None:
        self.code, self._items = code, items
        self._uses = Counter((slot.column, slot.codec.rank) for _, slot in slots(template) if slot.readable)
        self.cells = {key: f"c{number}" for number, key in enumerate(self._uses)}
        self.flags: list[str] = []
        self.each: list[Gathered] = []
        self._wanted, self.wanted_flag = wanted, ""

    def ranks(self, column: str) -> list[str]:
        """The variables of a (real or virtual) column, the first that counts first."""
        return [self.cells[key] for key in sorted(key for key in self.cells if key[0] == column)]

    def start(self) -> list[str]:
        """The variables that begin as None."""
        return [*self.cells.values(), *self.flags, *(each.name for each in self.each), "carried"]

    def object(self, template: Obj, rec: Rec, var: str, *, need: bool) -> None:
        """Read an object. `need`: the fields that tell it from others must be there (see `extract.fits`)."""
        own = {mark.name for mark in marks(template)} if need else set()
        names = nodes_of(template)
        for name, member in rec.members.items():
            if name in names:
                self._member(names[name], member, var, must=name in own)
            elif member.shape is not ANY:
                self.code.put(f"if {var}.{member.attr} is not None: raise Slow")

    def _member(self, nodes: Sequence[Node], member: Member, var: str, *, must: bool) -> None:
        inner = self.code.fresh("v")
        body = self.code.inside(lambda: self._value(nodes, member.shape, inner, need=must))
        if not body and (member.required or not must):
            return
        self.code.put(f"{inner} = {var}.{member.attr}")
        if member.required:
            self.code.lines += [line[4:] for line in body]
            return
        if body:
            self.code.put(f"if {inner} is not None:")
            self.code.lines += body
        if must:
            self.code.put(f"if {inner} is None: raise Slow")

    def _value(self, nodes: Sequence[Node], shape: Shape, var: str, *, need: bool) -> None:
        leaves = [node for node in nodes if isinstance(node, Leaf)]
        objs = [node for node in nodes if isinstance(node, Obj)]
        arrs = [node for node in nodes if isinstance(node, Arr)]
        if shape is NEVER or len(nodes) not in {len(leaves), len(objs), len(arrs)}:
            self.code.put("raise Slow")
        elif leaves:
            self._leaves(leaves, shape, var)
        elif objs:
            self._objects(objs, shape, var, need=need)
        elif len(arrs) == 1 and isinstance(shape, Many):
            self._list(arrs[0], shape.item, var)
        else:
            self._lists(arrs, shape, var)

    # -- objects

    def _objects(self, objs: Sequence[Obj], shape: Shape, var: str, *, need: bool) -> None:
        if len(objs) == 1 and isinstance(shape, Rec):
            self.object(objs[0], shape, var, need=need)
        else:
            options = [Option(obj, index, self._reads(obj)) for index, obj in enumerate(objs)]
            self._choose(options, shape, var, listed=False)

    def _reads(self, obj: Obj) -> Callable[[Rec, str], None]:
        return lambda rec, var: self.object(obj, rec, var, need=True)

    def _choose(self, options: Sequence[Option], shape: Shape, var: str, *, listed: bool) -> None:
        """Take the option that an object is; one that is not certain to be the one of `extract` is never taken."""
        sure = [
            option if certain(option, options, listed=listed) else replace(option, act=self._slow)
            for option in options
        ]  # fmt: skip
        if isinstance(shape, Rec):
            self._decide(sure, shape, var)
        elif isinstance(shape, Choice):
            kind = self.code.fresh("t")
            self.code.put(f"{kind} = type({var})")
            self._chain(
                f"{kind} is", {rec.ref: (_tagged(sure, shape.tag, text), rec) for text, rec in shape.recs.items()}, var
            )
        else:
            self.code.put("raise Slow")

    def _slow(self, _rec: Rec, _var: str) -> None:
        self.code.put("raise Slow")

    def _chain(self, test: str, branches: Table[str, tuple[Sequence[Option], Rec]], var: str) -> None:
        word = "if"
        for literal, (options, rec) in branches.items():
            if options:
                with self.code.block(f"{word} {test} {literal}:"):
                    self._decide(options, rec, var)
                word = "elif"
        self.code.put("else: raise Slow" if word == "elif" else "raise Slow")

    def _decide(self, options: Sequence[Option], rec: Rec, var: str) -> None:
        """Tell options of one struct apart by a constant, or else by a field that only one of them has."""
        if len(options) == 1:
            options[0].act(rec, var)
        elif (test := constant_test(options, rec)) is not None:
            value = self.code.fresh("k")
            self.code.put(f"{value} = {test.expression.format(x=var)}")
            self._chain(f"{value} {test.same}", {text: (some, rec) for text, some in test.literals.items()}, var)
        elif (found := presence_test(options, rec)) is not None:
            name, option = found
            with self.code.block(f"if {var}.{name} is not None:"):
                option.act(rec, var)
            with self.code.block("else:"):
                self._decide([other for other in options if other is not option], rec, var)
        else:
            self.code.put("raise Slow")

    # -- lists

    def _list(self, arr: Arr, shape: Shape, var: str) -> None:
        first = arr.items[0]
        if len(arr.items) > 1 or isinstance(first, Each | Carried):
            self._several(arr, shape, var)
            return
        item = self.code.fresh("v")
        body = self.code.inside(lambda: self._value([first], shape, item, need=True))
        self.code.put(f"({item},) = {var}")
        self.code.lines += [line[4:] for line in body]

    def _lists(self, arrs: Sequence[Arr], shape: Shape, var: str) -> None:
        """Alternative lists under one name: only of one object each."""
        objs = [arr.items[0] for arr in arrs if len(arr.items) == 1]
        options = [
            Option(obj, index, self._reads(obj) if certain_list(arrs, index) else self._slow)
            for index, obj in enumerate(objs)
            if isinstance(obj, Obj)
        ]
        if len(options) < len(arrs) or not isinstance(shape, Many):
            self.code.put("raise Slow")
            return
        item = self.code.fresh("v")
        self.code.put(f"({item},) = {var}")
        self._choose(options, shape.item, item, listed=False)

    def _several(self, arr: Arr, shape: Shape, var: str) -> None:
        if any(isinstance(item, Leaf) for item in arr.items):
            self.code.put("raise Slow")
            return
        item = self.code.fresh("v")
        with self.code.block(f"for {item} in {var}:"):
            self._choose(list(self._options(arr)), shape, item, listed=True)

    def _options(self, arr: Arr) -> Iterator[Option]:
        for index, item in enumerate(arr.items):
            if isinstance(item, Obj):
                yield Option(item, index, self._once(item))
            elif isinstance(item, Each) and item.domain in self._items:
                yield Option(self._items[item.domain].item, index, self._gathers(item.domain), each=True)
            elif isinstance(item, Carried):
                yield Option(None, index, self._carries)

    def _once(self, obj: Obj) -> Callable[[Rec, str], None]:
        def act(rec: Rec, var: str) -> None:
            flag = self.code.fresh("f")
            self.flags.append(flag)
            if obj is self._wanted:
                self.wanted_flag = flag
            self.code.put(f"if {flag}: raise Slow")
            self.code.put(f"{flag} = True")
            self.object(obj, rec, var, need=True)

        return act

    def _gathers(self, domain: str) -> Callable[[Rec, str], None]:
        def act(rec: Rec, var: str) -> None:
            name = self.code.fresh("e")
            self.each.append(Gathered(name, domain, rec))
            self.code.put(f"if {name} is None: {name} = [{var}]")
            self.code.put(f"else: {name}.append({var})")

        return act

    def _carries(self, _rec: Rec, var: str) -> None:
        self.code.put(f"carried = (carried or []) + ({var}.extension or [])")

    # -- leaves

    def _leaves(self, leaves: Sequence[Leaf], shape: Shape, var: str) -> None:
        leaf = leaves[0]
        if any(other.kind != leaf.kind for other in leaves):
            self.code.put("raise Slow")
        elif all(each.constant is not None for each in leaves):
            self._constants(leaves, shape, var)
        elif leaf.kind == "boolean":
            self._assign(leaves, f"{self.code.held('B', memo.of_truth(leaves))}[{var}]")
        elif leaf.kind == "number":
            self._assign(leaves, f"{self.code.held('N', memo.of_number(leaves))}[bytes({var})]")
        elif len(leaves) > 1 or not self._plain(leaf, var):
            self._assign(leaves, f"{self.code.held('M', memo.of_text(leaves))}[{var}]")

    def _constants(self, leaves: Sequence[Leaf], shape: Shape, var: str) -> None:
        texts = {leaf.constant or "" for leaf in leaves}
        if leaves[0].kind == "boolean":
            self.code.put(f"if {var} not in {[text == 'true' for text in sorted(texts)]}: raise Slow")
        elif leaves[0].kind == "number":
            self.code.put(f"if bytes({var}) not in {sorted(text.encode() for text in texts)}: raise Slow")
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
        if memo.loose(slot) and (not slot.readable or same_text(slot)):
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
                self._set(slot, name)
        else:
            self.code.put(expression)

    def _set(self, slot: Slot, expression: str) -> None:
        """Give a column its cell; where several places hold one, they must agree (else the order decides: slow)."""
        key = (slot.column, slot.codec.rank)
        var = self.cells[key]
        if self._uses[key] == 1:
            self.code.put(f"{var} = {expression}")
            return
        new = expression
        if not expression.isidentifier():
            new = self.code.fresh("x")
            self.code.put(f"{new} = {expression}")
        self.code.put(f"if {var} is None: {var} = {new}")
        self.code.put(f"elif {new} is not None and {new} != {var}: raise Slow")


def _tagged(options: Sequence[Option], tag: str, text: str) -> list[Option]:
    """The options whose constant in the field of the tag is a text."""
    return [
        option
        for option in options
        if text == (CARRIED_URL if option.template is None else constants(option.template).get(tag))
    ]
