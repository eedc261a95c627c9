"""Python source that walks decoded structs and gives a row's cells: one function a resource or nested item.

The source is plain: an ``if`` a field, a loop a list of several items, a variable a column. Whatever it does not
expect raises `Slow`, and the line is read by `extract` instead.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping as Table, Sequence
from dataclasses import dataclass, replace
from functools import partial
from sys import maxsize
from typing import Any

from fhirspace.json import resource_decoder
from fhirspace.mapping.model import Arr, Carried, Each, Mapping, Node, Obj, OneOf, dynamic, walk
from fhirspace.mapping.read import memo
from fhirspace.mapping.read.bind import Option, certain, certain_list, constant_test, presence_test, tagged
from fhirspace.mapping.read.code import Code
from fhirspace.mapping.read.extract import marks, nodes_of
from fhirspace.mapping.read.leaves import TOGETHER, Leaves, Uses, Watched, uses_of
from fhirspace.mapping.read.rows import Part
from fhirspace.mapping.read.shapes import (  # fmt: skip
    ANY,
    NEVER,
    Choice,
    Kept,
    Many,
    Member,
    Rec,
    Shape,
    type_of,
)
from fhirspace.mapping.read.witness import COMPARED, Keys
from fhirspace.template.slots import Leaf


@dataclass(frozen=True, slots=True)
class NestedList:
    """A list of nested items: the variable with their list, their domain, their struct."""

    name: str
    domain: str
    rec: Rec


@dataclass(frozen=True, slots=True)
class Folded:
    """An element that is read once for the same bytes: the variable of its index, its `Fold` by name, its columns."""

    name: str
    fold: str
    columns: tuple[str, ...]


class Walk(Leaves):
    """The body of one function: reads a struct made for a template into variables.

    Args:
        code: where the source goes; uses: the columns that are read (`uses_of`).
        items: the mappings of nested domains; watching: what is looked at beside slots.
        wanted: a list item that must be there; `wanted_flag` is then the variable that says so, or "" if none need.
        alone: tells which columns of an element are needed nowhere else.
    """

    def __init__(
        self,
        code: Code,
        uses: Uses,
        items: Table[str, Mapping],
        watching: Watched,
        *,
        wanted: Node | None = None,
        alone: Callable[[Uses], list[str]] = lambda _: [],
        together: int = TOGETHER,
    ) -> None:
        super().__init__(code, uses, watching, together)
        self._items = items
        self.flags: list[str] = []
        self.each: list[NestedList] = []
        self.folds: list[Folded] = []
        self.groups: list[tuple[str, tuple[str, ...]]] = []
        self._wanted, self.wanted_flag = wanted, ""
        self._alone = alone
        self._once_flags: dict[int, list[str]] = {}

    def held(self) -> dict[str, str]:
        """Of columns that have no variable, one that is filled if they are."""
        held = {name: fold.name for fold in self.folds for name in fold.columns}
        return held | {name: group for group, names in self.groups for name in names}

    def start(self) -> list[str]:
        """The lines that begin the variables."""
        names = [*self.flags, *(each.name for each in self.each)]
        rows = [*(name for name, _ in self.groups), *(each.name for each in self.folds)]
        empty = f"{' = '.join([*self.cells.values(), *names, *rows, 'carried'])} = None"
        return [empty, f"{' = '.join(self.missing)} = 0"] if self.missing else [empty]

    def best(self, columns: Collection[str] | None = None) -> dict[str, str]:
        """The variable of each column (of some), after lines that give it the cell of the least rank."""
        found: dict[str, str] = {}
        for column in dict.fromkeys(column for column, _ in self.cells if columns is None or column in columns):
            keys = sorted(key for key in self.cells if key[0] == column)
            if keys[0][1] < COMPARED:
                found[column] = self.cells[keys[0]]
                for key in keys[1:]:
                    self._second(found[column], key)
        return found

    def _second(self, first: str, key: Keys) -> None:
        """What another element says of a column: its cell where there is none, else it must agree."""
        other, slots = self.cells[key], self._uses[key]
        pairs = self.code.held("P", lambda *_: memo.Pairs(slots))
        look = f"if {pairs}[{first}] != {other}: {pairs}.look({first}, {other})"
        if key[1] < COMPARED:
            self.code.put(f"if {first} is None: {first} = {other}")
            with self.code.block(f"elif {other} is not None and {other} != {first}:"):
                self.code.put(look)
        else:
            with self.code.block(f"if {other} is not None:"):
                self.code.put(look)

    def object(self, template: Obj, rec: Rec, var: str, *, need: bool) -> None:
        """Read an object. `need`: the fields that distinguish it from others must be there (see `extract.fits`)."""
        own = {mark.name for mark in marks(template)} if need else set()
        if rec.members and not any(member.required for member in rec.members.values()):
            self.code.put(
                f"if {' is '.join([*(f'{var}.{each.attr}' for each in rec.members.values()), 'None'])}: raise Slow"
            )
        names = nodes_of(template)
        for name, node in template.fields:  # a constant by which the decoder chose the struct is no member
            if name not in rec.members and (hidden := self._watched.constants.get(id(node))) and isinstance(node, Leaf):
                self.put((hidden, 0), repr(node.constant), maybe=False)
        for name, member in rec.members.items():
            if name in names:
                self._member(names[name], member, var, must=name in own)
            elif member.shape is not ANY:
                self.code.put(f"if {var}.{member.attr} is not None: raise Slow")
        for _, node in template.fields:
            if isinstance(node, OneOf):
                self._alternatives(node, rec, var)

    def _member(self, nodes: Sequence[Node], member: Member, var: str, *, must: bool) -> None:
        inner = self.code.fresh("v")
        whole = isinstance(member.shape, Kept) or any(holds_rows(node) for node in nodes)
        own = [] if whole else self._alone(uses_of(nodes, self._watched))

        def write() -> None:
            self._value(nodes, member.shape, inner, need=must)

        grouped = partial(self._grouped, self.code.fresh("g"), own, write)
        body = self.code.inside(grouped if len(own) > 1 else write)
        doubt = self._watched.doubts.get(id(nodes[0])) if len(nodes) == 1 and not must else None
        if not body and (member.required or not (must or doubt)):
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
        elif doubt:
            self.without(doubt, f"{inner} is None")

    def _alternatives(self, node: OneOf, rec: Rec, var: str) -> None:
        """Look whether none of some alternatives is there, or a constant that each of them has."""
        names = dict.fromkeys(name for option in node.options for name in nodes_of(option))
        given = {name for option in node.options for name, inner in option.fields if name and dynamic(inner)}
        there = {name: f"{var}.{rec.members[name].attr}" for name in names if name in rec.members}
        some = [there[name] for name in there if name in given]
        for name in there if self._watched.doubts else ():
            if name not in given and some and all(name in nodes_of(option) for option in node.options):
                self.code.put(f"if {there[name]} is None and not ({' is '.join(some)} is None): raise Slow")
        doubt = self._watched.doubts.get(id(node))
        if doubt is None or len(there) < len(names):
            return
        if doubt.always:
            self.code.put(f"if {' is '.join(there.values())} is None: raise Slow")
        if doubt.tests:
            self.without(doubt._replace(always=False), f"{' is '.join(some or there.values())} is None")

    def _grouped(self, group: str, own: Sequence[str], write: Callable[[], None]) -> None:
        """What an element alone gives as one tuple, so that rows without it pay for one variable only."""
        flags, self.flags = self.flags, []
        alone, self._alone = self._alone, lambda _: []
        before, since = len(self.code.lines), len(self.raised)
        write()
        body, inner = self.code.lines[before:], self.flags
        del self.code.lines[before:]
        self.flags, self._alone = flags, alone
        mine = {key: name for key, name in self.cells.items() if key[0] in own}
        self.code.put(f"{' = '.join([*mine.values(), *inner])} = None")
        self.code.lines += body
        found = self.best(own)
        self.judge(found, since)
        self.code.put(f"{group} = ({', '.join(found[name] for name in own)})")
        self.groups.append((group, tuple(own)))
        for key in mine:
            del self.cells[key]

    def _value(self, nodes: Sequence[Node], shape: Shape, var: str, *, need: bool) -> None:
        leaves = [node for node in nodes if isinstance(node, Leaf)]
        objs = [node for node in nodes if isinstance(node, Obj)]
        arrs = [node for node in nodes if isinstance(node, Arr)]
        if isinstance(shape, Kept):
            self._folded(nodes, shape.shape, var, need=need)
        elif shape is NEVER or len(nodes) not in {len(leaves), len(objs), len(arrs)}:
            self.code.put("raise Slow")
        elif leaves:
            self.leaves(leaves, shape, var)
        elif objs:
            self._objects(objs, shape, var, need=need)
        elif len(arrs) == 1 and isinstance(shape, Many):
            self._list(arrs[0], shape.item, var)
        else:
            self._lists(arrs, shape, var)

    def _folded(self, nodes: Sequence[Node], shape: Shape, var: str, *, need: bool) -> None:
        """An element that is kept as bytes: read by a function of its own, once for the same bytes."""
        uses = uses_of(nodes, self._watched)
        head, inner = self.code.fresh("read_"), Walk(self.code, uses, self._items, self._watched, together=maxsize)
        with self.code.function(f"{head}(o)", inner.start):
            inner._value(nodes, shape, "o", need=need)
            own = self._alone(uses)
            cells = inner.best(own)
            inner.judge(cells)
            rest = {key: name for key, name in inner.cells.items() if key[0] not in own}
            missing = self.take_over(inner)
            given = [*(cells[name] for name in own), *rest.values(), *(missing or ())[:1]]
            self.code.put(f"return ({''.join(f'{name}, ' for name in given)})")
        decode = resource_decoder(type_of(shape))

        def fold(names: dict[str, Any], _parts: Sequence[Part]) -> memo.Fold:
            return memo.Fold(lambda raw: names[head](decode(raw)), tuple(own))

        held, index = self.code.held("FOLD", fold), self.code.fresh("i")
        self.folds.append(Folded(index, held, tuple(own)))
        for key in [key for key in self.cells if key[0] in own]:
            del self.cells[key]
        names = {key: self.code.fresh("x") for key in rest}
        seen = self.code.fresh("s")
        self.code.put(f"{seen} = {held}.last.next")
        self.code.put(f"if {var} == {seen}.raw: {held}.last = {seen}")
        self.code.put(f"else: {seen} = {held}.look({var})")
        self.code.put(f"{', '.join([index, *names.values(), *(missing or ())[1:]])} = {seen}.value")
        for key, name in names.items():
            self.put(key, name, maybe=True)

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
                f"{kind} is", {rec.ref: (tagged(sure, shape.tag, text), rec) for text, rec in shape.recs.items()}, var
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
        outside, self._looping = self._looping, True
        with self.code.block(f"for {item} in {var}:"):
            self._choose(list(self._options(arr)), shape, item, listed=True)
        self._looping = outside
        for each in arr.items:
            doubt, flags = self._watched.doubts.get(id(each)), self._once_flags.get(id(each))
            if doubt and flags:
                self.without(doubt, f"{' is '.join(flags)} is None")

    def _options(self, arr: Arr) -> Iterator[Option]:
        for index, item in enumerate(arr.items):
            if isinstance(item, Obj):
                yield Option(item, index, self._once(item))
            elif isinstance(item, Each) and item.domain in self._items:
                yield Option(self._items[item.domain].item, index, self._collects(item.domain), each=True)
            elif isinstance(item, Carried):
                yield Option(None, index, self._carries)

    def _once(self, obj: Obj) -> Callable[[Rec, str], None]:
        def act(rec: Rec, var: str) -> None:
            own = self._alone(uses_of([obj], self._watched))
            flag = self.code.fresh("f")
            self._once_flags.setdefault(id(obj), []).append(flag)
            if obj is self._wanted:
                self.wanted_flag = flag
            self.code.put(f"if {flag}: raise Slow")
            if len(own) > 1:
                self._grouped(flag, own, lambda: self.object(obj, rec, var, need=True))
                return
            self.flags.append(flag)
            self.code.put(f"{flag} = True")
            self.object(obj, rec, var, need=True)

        return act

    def _collects(self, domain: str) -> Callable[[Rec, str], None]:
        def act(rec: Rec, var: str) -> None:
            name = self.code.fresh("e")
            self.each.append(NestedList(name, domain, rec))
            self.code.put(f"if {name} is None: {name} = [{var}]")
            self.code.put(f"else: {name}.append({var})")

        return act

    def _carries(self, _rec: Rec, var: str) -> None:
        self.code.put(f"carried = (carried or []) + ({var}.extension or [])")


def holds_rows(node: Node) -> bool:
    """Whether rows of their own, or carried cells, are in or below a node."""
    return any(isinstance(inner, Each | Carried) for inner in walk(node))
