"""The compiled reader of one block: decoder types and a generated function, including nested rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping as Table, Sequence
from dataclasses import dataclass
from types import CodeType
from typing import Any, Final

import msgspec

from fhirspace.json import JsonError, decoder, resource_decoder
from fhirspace.mapping.cells import implied
from fhirspace.mapping.model import Arr, Block, Each, Mapping, Obj, slots, walk
from fhirspace.mapping.read.code import Code, Make
from fhirspace.mapping.read.doubts import deciding
from fhirspace.mapping.read.extract import fragments, nodes_of
from fhirspace.mapping.read.leaves import Uses, uses_of, watched
from fhirspace.mapping.read.rows import Part, plain
from fhirspace.mapping.read.shapes import Rec, Shapes, attr
from fhirspace.mapping.read.source import Folded, NestedList, Walk, holds_rows
from fhirspace.mapping.read.witness import COMPARED, chosen_constants, key
from fhirspace.template.slots import Leaf, Slot, once

Parts = Callable[[str, int], Part]
"""The target of rows: the part of a domain and a block's index (0 for a nested domain)."""


_VARIANTS: Final = 16
"""The most readers that are remembered of one block: elements that repeat differ from input to input."""
MANY: Final = 64
"""The least number of elements from which it is judged whether they repeat."""


@dataclass(frozen=True, slots=True)
class Program:
    """`decode` makes a struct of a line, `read(struct, line number)` puts its rows into `parts`; both raise ValueError,
    LookupError, AttributeError or TypeError where the line is for `extract`. `source` is what was compiled."""

    decode: Callable[[bytes], Any]
    read: Callable[[Any, int], None]
    parts: tuple[Part, ...]
    source: str


def columns_of(mapping: Mapping, template: Obj) -> tuple[str, ...]:
    """The columns that can be read from a template: shared and implied ones first, then in its order."""
    found = (key(slot) for _, slot in slots(template))
    read = (column.partition(".")[0] for column, rank in found if rank < COMPARED)
    shared = mapping.attach.on if mapping.attach else ()
    return tuple(dict.fromkeys((*shared, *implied(mapping), *read, *chosen_constants(template).values())))


def compiled(
    mapping: Mapping,
    index: int,
    items: Table[str, Mapping],
    parts: Parts,
    *,
    notice: bool,
    kept: Collection[str] = (),
) -> Program:
    """The program of a block.

    Args:
        mapping: the domain's mapping; index: which of its blocks; items: the mappings of nested domains.
        parts: gives the part into which rows go; notice: whether unknown elements are noticed.
        kept: elements of the resource whose bytes repeat: they are decoded once for the same bytes.
    """
    known, root = _known(mapping.blocks[index].root), mapping.blocks[index].root
    used = (mapping, *(items[domain] for domain in dict.fromkeys(below(root, items))))
    key = (index, notice, tuple(kept), *map(id, used))
    if key not in known:
        if len(known) >= _VARIANTS:
            known.clear()
        known[key] = _recipe(mapping, index, items, parts, notice=notice, kept=kept, used=used)
    return known[key].program(parts)


@dataclass(frozen=True, slots=True)
class _Layout:
    """The part of a row: its domain and block, the columns of its groups, the names and columns of its folds."""

    domain: str
    index: int
    groups: tuple[tuple[str, ...], ...]
    folds: tuple[Folded, ...]


@dataclass(frozen=True, slots=True)
class _Recipe:
    """A compiled reader without what belongs to one who reads: the rows, and the cells that it remembers.

    `used`: the mappings that it was made for; they stay alive with it, so that none other has their identity.
    """

    source: str
    code: CodeType
    decode: Callable[[bytes], Any]
    names: dict[str, Any]
    makers: tuple[tuple[str, Make], ...]
    layouts: tuple[_Layout, ...]
    used: tuple[Mapping, ...]

    def program(self, parts: Parts) -> Program:
        """The reader of one who reads."""
        names = dict(self.names)
        mine = [parts(each.domain, each.index) for each in self.layouts]
        names |= {name: make(names, mine) for name, make in self.makers}
        for each, part in zip(self.layouts, mine, strict=True):
            part.lay_out(list(each.groups), [names[fold.fold] for fold in each.folds])
        exec(self.code, names)  # noqa: S102  # nosec B102  # our own source, made from a checked mapping
        return Program(self.decode, names["read"], tuple(mine), self.source)


@once
def _known(_root: Obj) -> dict[tuple[Any, ...], _Recipe]:
    """The readers of a block that were made before: whoever reads it again need not make one."""
    return {}


def _recipe(
    mapping: Mapping, index: int, items: Table[str, Mapping], parts: Parts,
    *, notice: bool, kept: Collection[str], used: tuple[Mapping, ...],
) -> _Recipe:  # fmt: skip
    maker = _Maker(items, parts, notice=notice)
    rec = maker.root(mapping, index, mapping.blocks[index], kept)
    source = "\n".join(maker.code.functions)
    code = compile(source, f"<reader of {mapping.domain!r}, block {index}>", "exec")
    # Unknown members are skipped unless they are noticed, and then nobody can say whether one of them came twice.
    decode = resource_decoder(rec.struct) if notice else msgspec.json.Decoder(rec.struct).decode
    return _Recipe(source, code, decode, maker.code.names, tuple(maker.code.makers), tuple(maker.layouts), used)


def below(template: Obj, items: Table[str, Mapping]) -> Iterator[str]:
    """The nested domains at any depth below a template."""
    for node in walk(template):
        if isinstance(node, Each) and node.domain in items:
            yield node.domain
            item = items[node.domain].item
            yield from below(item, items) if item else ()


def keepable(template: Obj) -> list[str]:
    """The elements of a resource that can be kept as bytes: not its identifier, nor what holds rows of their own."""
    return [
        name
        for name, nodes in nodes_of(template).items()
        if name != "identifier" and not any(isinstance(node, Leaf) or holds_rows(node) for node in nodes)
    ]


def repeated(template: Obj, lines: Sequence[bytes]) -> list[str]:
    """The elements of a resource whose bytes repeat so much in some of its lines that they are worth keeping."""
    names = {name: attr(name) for name in keepable(template)}
    fields = [(inner, msgspec.Raw, None) for inner in names.values()]
    struct = msgspec.defstruct("Sample", fields, rename={inner: name for name, inner in names.items()})
    decode = decoder(struct)
    seen: dict[str, Counter[bytes]] = {name: Counter() for name in names}
    for line in lines:
        try:
            sample = decode(line)
        except JsonError:
            continue
        for name, inner in names.items():
            raw = getattr(sample, inner)
            if raw is not None:
                seen[name][bytes(raw)] += 1
    return [name for name, texts in seen.items() if texts.total() >= MANY and len(texts) * 4 <= texts.total()]


class _Maker:
    def __init__(self, items: Table[str, Mapping], parts: Parts, *, notice: bool) -> None:
        self._items, self._part, self._notice = items, parts, notice
        self._shapes = Shapes(items, notice=notice)
        self.code = Code()
        self.layouts: list[_Layout] = []

    def root(self, mapping: Mapping, index: int, block: Block, kept: Collection[str]) -> Rec:
        rec = self._shapes.root(block.root, kept)
        shared = list(dict.fromkeys(name for domain in below(block.root, self._items) for name in self._on(domain)))
        watching = watched(block.root, notice=self._notice)
        uses = uses_of([block.root], watching)
        total, needed = _bases(uses), deciding(watching.doubts.values())

        def alone(inner: Uses) -> list[str]:
            """The columns that no other element gives, no form joins, and nobody needs in the row."""
            mine = _bases(inner)
            held = {*shared, *mapping.key, *mapping.forms, *implied(mapping), *_never_read(uses), *needed}
            return [name for name, count in mine.items() if count == total[name] and name not in held]

        walker = Walk(self.code, uses, self._items, watching, wanted=_identifier(block), alone=alone)
        with self.code.function("read(o, line)", walker.start):
            walker.object(block.root, rec, "o", need=False)
            for name in [each for each in fragments(block.root) if {each, "contained"} <= rec.members.keys()]:
                there = [f"o.{rec.members[each].attr}" for each in ("contained", name)]
                self.code.put(f"if {there[0]} is None and {there[1]} is not None: raise Slow")
            if walker.wanted_flag:
                self.code.put(f"if not {walker.wanted_flag}: raise Slow")
            cells = BestCells(self.code, mapping, walker)
            walker.judge(cells.found, implied=walker.held())
            for name in block.once:  # no row is without them, so that nobody would see it
                self.code.put(f"if {cells.variable(name)} is None: raise Slow")
            if walker.each:
                with self.code.block(f"if {' or '.join(each.name for each in walker.each)}:"):
                    self._guarded(walker.each, [cells.variable(name) or "None" for name in shared], tuple(shared))
            self._add(mapping.domain, index, walker, cells.text)
        for each in walker.each:
            self._item(each, shared)
        self.code.names |= self._shapes.structs
        return rec

    def _guarded(self, found_lists: list[NestedList], shared: list[str], names: tuple[str, ...]) -> None:
        """Rows of nested items, all or none; their parent's columns in them must be there, and not carried."""
        for var in shared:
            self.code.put(f"if {var} is None: raise Slow")
        self.code.put(f"if carried and any(cell.url in {names} for cell in carried): raise Slow")
        parts = self.code.held("PARTS", lambda _, mine: mine)
        self.code.put(f"marks = [len(part.rows) for part in {parts}]")
        with self.code.block("try:"):
            self._nested(found_lists, shared)
        with self.code.block("except Exception:"):
            self.code.put(f"for part, mark in zip({parts}, marks): part.cut(mark)")
            self.code.put("raise")

    def _nested(self, found_lists: list[NestedList], shared: list[str]) -> None:
        for each in found_lists:
            with self.code.block(f"if {each.name} is not None:"), self.code.block(f"for item in {each.name}:"):
                self.code.put(f"read_{each.name}({', '.join(['item', 'line', *shared])})")

    def _item(self, found_lists: NestedList, shared: list[str]) -> None:
        """The function of a nested item: its row with the columns that it shares with the root's."""
        mapping = self._items[found_lists.domain]
        if mapping.item is None:
            return
        given = {name: f"a{number}" for number, name in enumerate(shared)}
        own = {name: given[name] for name in self._on(found_lists.domain)}
        watching = watched(mapping.item, notice=self._notice)
        walker = Walk(self.code, uses_of([mapping.item], watching), self._items, watching)
        with self.code.function(f"read_{found_lists.name}({', '.join(['o', 'line', *given.values()])})", walker.start):
            walker.object(mapping.item, found_lists.rec, "o", need=True)
            cells = BestCells(self.code, mapping, walker)
            walker.judge(cells.found, implied=walker.held())
            self._nested(walker.each, list(given.values()))
            self._add(mapping.domain, 0, walker, lambda name: own.get(name) or cells.text(name))
        for each in walker.each:
            self._item(each, shared)

    def _add(self, domain: str, index: int, walker: Walk, text: Callable[[str], str]) -> None:
        """The lines that add the row, once nothing can be refused any more."""
        place, groups = len(self.layouts), tuple(columns for _, columns in walker.groups)
        self.layouts.append(_Layout(domain, index, groups, tuple(walker.folds)))
        apart = plain(self._part(domain, index).columns, (*groups, *(each.columns for each in walker.folds)))
        rows = self.code.held("ROWS", lambda _, mine: mine[place].rows)
        carried = self.code.held("CARRIED", lambda _, mine: mine[place].carried)
        lines = self.code.held("LINES", lambda _, mine: mine[place].lines)
        several = [*(name for name, _ in walker.groups), *(each.name for each in walker.folds if each.columns)]
        self.code.put(f"if carried: {carried}.append((len({rows}), carried))")
        self.code.put(f"{rows}.append(({', '.join([*map(text, apart), *several])},))")
        self.code.put(f"{lines}.append(line)")

    def _on(self, domain: str) -> tuple[str, ...]:
        attach = self._items[domain].attach
        return attach.on if attach else ()


class BestCells:
    """A row's cells from the variables of a `Walk`: the least rank first, parts of forms joined (`best_cells`)."""

    def __init__(self, code: Code, mapping: Mapping, walker: Walk) -> None:
        self._code = code
        self._implied = implied(mapping)
        self.found = walker.best()
        for column in mapping.forms:
            self._form(mapping, column)

    def variable(self, column: str) -> str | None:
        """The variable of a column, None where it is never read."""
        return self.found.get(column)

    def text(self, column: str) -> str:
        """The expression of a column's cell."""
        name, constant = self.found.get(column), self._implied.get(column)
        if name is None or constant is None:
            return name or repr(constant)
        return f"{constant!r} if {name} is None else {name}"

    def _form(self, mapping: Mapping, column: str) -> None:
        """The lines that join the parts of the form that was read; a value in two forms is one for `extract`."""
        branches: list[tuple[list[str], str]] = []
        for form in mapping.forms[column]:
            name = f"{column}.{form.name}"
            if whole := self.found.get(name):
                branches.append(([whole], whole))
            parts = [part if isinstance(part, str) else self.found.get(f"{name}.{part.column}") for part in form.parts]
            read = [var for part, var in zip(form.parts, parts, strict=True) if isinstance(part, Slot) and var]
            if read:
                texts = [
                    repr(part) if isinstance(part, str) else f"({var} or '')"
                    for part, var in zip(form.parts, parts, strict=True)
                    if isinstance(part, str) or var
                ]
                branches.append((read, " + ".join(texts)))
        if not branches:
            return
        if column not in self.found:
            self.found[column] = self._code.fresh("w")
            self._code.put(f"{self.found[column]} = None")
        result = self.found[column]
        with self._code.block(f"if {result} is None:"):
            for number, (read, text) in enumerate(branches):
                test = " or ".join(f"{var} is not None" for var in read)
                others = [var for later, _ in branches[number + 1 :] for var in later]
                with self._code.block(f"{'elif' if number else 'if'} {test}:"):
                    if others:
                        self._code.put(f"if not ({' is '.join([*others, 'None'])}): raise Slow")
                    self._code.put(f"{result} = {text}")


def _bases(uses: Uses) -> Counter[str]:
    """How many slots give each column, virtual ones counted as what they are a part of."""
    found: Counter[str] = Counter()
    for (column, _), some in uses.items():
        found[column.partition(".")[0]] += len(some)
    return found


def _never_read(uses: Uses) -> set[str]:
    """The columns that are compared with elements and read from none."""
    return {column for column, _ in uses} - {column for column, rank in uses if rank < COMPARED}


def _identifier(block: Block) -> Obj | None:
    """The identifier by which the block's resources are known."""
    identifiers = dict(block.root.fields).get("identifier")
    for item in identifiers.items if isinstance(identifiers, Arr) else ():
        system = dict(item.fields).get("system") if isinstance(item, Obj) else None
        if isinstance(item, Obj) and isinstance(system, Leaf) and system.constant == block.system:
            return item
    return None
