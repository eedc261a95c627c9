"""Resources of one type as columns: each value that a plan names, for a block of resources at a time.

An element's values are made for each distinct text of it. Rows are put together by Arrow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import msgspec
import pyarrow as pa

from fhirspace.fhir.status import Verdict
from fhirspace.json import JsonError, decoder, parse, resource_decoder
from fhirspace.tables.text import TEXT
from fhirspace.views.definition.rows import Table, table
from fhirspace.views.notation.address import ShapeError
from fhirspace.views.objects import fast
from fhirspace.views.plan import RARE, Part, Plan, Read, unmapped
from fhirspace.views.shapes import Shapes, Values as ShapeValues

_NOTHING: Final = msgspec.Raw(b"")
_EMPTY: Final = msgspec.Raw(b"[]")
_list = decoder(list[msgspec.Raw])
_decoded = resource_decoder(dict[str, msgspec.Raw])
_ESCAPED: Final = b"\\u00"
"""An escape that can spell a letter of a name."""
_INT: Final = pa.int32()


class Values(NamedTuple):
    """One value of each row: its text (the first one of several), and whether there are several."""

    texts: pa.Array
    many: pa.Array | None


class Fault(NamedTuple):
    """What is wrong in one resource: a catalogue code, the path of the element."""

    code: str
    path: str


class Items(NamedTuple):
    """The items of an element of all rows: the row of each, and its values by name."""

    rows: pa.Array
    values: dict[str, Values]


@dataclass(slots=True)
class Block:
    """The values of a block of resources of one type.

    Attributes:
        values: by name. items: by element. faults, verdicts: by row.
        unmapped: lists of paths that nobody reads, and the number of the list of each row.
        contained: resources within others, with the row of these. tables: those of ViewDefinitions by name.
    """

    count: int
    values: dict[str, Values] = field(default_factory=dict)
    items: dict[str, Items] = field(default_factory=dict)
    faults: dict[int, Fault] = field(default_factory=dict)
    verdicts: dict[int, list[Verdict]] = field(default_factory=dict)
    unmapped: list[tuple[list[tuple[str, ...]], pa.Array]] = field(default_factory=list)
    contained: list[tuple[int, bytes]] = field(default_factory=list)
    tables: dict[str, Table] = field(default_factory=dict)


def columns(plan: Plan, lines: Sequence[bytes], shapes: Shapes | None = None) -> Block:
    """The values of some resources of one type. What is wrong in one of them is in `Block.faults`.

    Args:
        plan: what is read. lines: the resources. shapes: those of the resources before, None: do without.
    """
    block = Block(len(lines))
    made = None if shapes is None else shapes.values(lines)
    if made is None:
        _add_members(plan, block, lines)
    else:
        _add_values(plan, block, made)
    whole = b"\n".join(lines)
    if b"modifierExtension" in whole or (b"\\" in whole and _ESCAPED in whole):
        for at, line in enumerate(lines):
            if b"modifierExtension" in line or _ESCAPED in line:
                _judge_whole(plan, block, at, line)
    return block


def _add_values(plan: Plan, block: Block, made: ShapeValues) -> None:
    """Adds the values of resources of usual shapes."""
    block.values |= {name: Values(texts, None) for name, texts in made.texts.items()}
    block.unmapped += [([(), (path,)], flags.cast(_INT)) for path, flags in made.unmapped]
    for part in plan.parts.values():
        if part.name in made.raws:
            _add_distinct(plan, part, block, made.raws[part.name])
        elif part.items or not part.reads.keys() <= block.values.keys():
            _add_nothing(part, block)


def _add_members(plan: Plan, block: Block, lines: Sequence[bytes]) -> None:
    """Adds the values of any resources."""
    try:
        found = list(map(_decoded, lines))
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        found = [_members(block, at, line) for at, line in enumerate(lines)]
    names = _count_members(plan, block, found)
    for part in plan.parts.values():
        if part.name in names:
            name = part.name
            _add(plan, part, block, [bytes(each.get(name, _NOTHING)) for each in found])
        else:
            _add_nothing(part, block)
    _add_tables(plan, block, found, lines)
    for at, each in enumerate(found) if not RARE.isdisjoint(names) else ():
        if not RARE.isdisjoint(each):
            block.contained += [(at, inner) for inner in _contained(each)]
            _judge_whole(plan, block, at, lines[at])


def _add_tables(plan: Plan, block: Block, found: list[dict[str, msgspec.Raw]], lines: Sequence[bytes]) -> None:
    """Adds the rows of ViewDefinitions."""
    for each in plan.definitions:
        block.tables[each.name], codes = table(each, found, lines)
        for at, code in codes.items():
            block.faults.setdefault(at, Fault(code, each.name))


def _members(block: Block, at: int, line: bytes) -> dict[str, msgspec.Raw]:
    try:
        parse(line)
        return _decoded(line)
    except JsonError as error:
        block.faults[at] = Fault(error.code, "")
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        block.faults[at] = Fault("FS401", "")
    return {}


def _contained(resource: dict[str, msgspec.Raw]) -> list[bytes]:
    try:
        return [bytes(each) for each in _list(resource.get("contained", _EMPTY))]
    except JsonError:  # found again, and reported, when the whole resource is read
        return []


def _judge_whole(plan: Plan, block: Block, at: int, line: bytes) -> None:
    try:
        resource = parse(line)
    except JsonError as error:
        block.faults[at] = Fault(error.code, "")
        return
    block.verdicts[at] = plan.status(resource) or block.verdicts.get(at, [])


def _count_members(plan: Plan, block: Block, found: list[dict[str, msgspec.Raw]]) -> set[str]:
    """Counts the elements that nobody reads, and gives the names of all elements."""
    codes: dict[tuple[str, ...], int] = {}
    numbers = [codes.setdefault(tuple(each), len(codes)) for each in found]
    every = {name for names in codes for name in names}
    known = {"resourceType", *(name for name in every if plan.reads(name))}
    lists = [tuple(f"{plan.kind}.{name}" for name in names if name not in known) for names in codes]
    block.unmapped.append((lists, pa.array(numbers, _INT)))
    return every


def _add_nothing(part: Part, block: Block) -> None:
    """Adds an element that no resource of the block has."""
    nothing = pa.nulls(block.count, TEXT)
    block.values |= {name: Values(nothing, None) for name in part.reads}
    if part.items:
        none = pa.nulls(0, TEXT)
        values = {name: Values(none, None) for name in part.items}
        block.items[part.name] = Items(pa.array([], pa.int64()), values)


def _add(plan: Plan, part: Part, block: Block, raws: list[bytes]) -> None:
    """Adds the values of one element: the usual shapes by Arrow, all others for each distinct text."""
    made = fast(plan.kind, part, raws)
    if made is not None:
        block.values |= {name: Values(texts, None) for name, texts in made.texts.items()}
        block.unmapped += [made.unmapped] if made.unmapped else []
        return
    _add_distinct(plan, part, block, raws)


def _add_distinct(plan: Plan, part: Part, block: Block, raws: list[bytes]) -> None:
    """Adds the values of one element, made for each distinct text of it."""
    encoded = pa.array(raws, pa.binary()).dictionary_encode()
    distinct, rows = encoded.dictionary.to_pylist(), encoded.indices
    table = _Distinct(plan, part, distinct)
    for name, values in table.values.items():
        block.values[name] = _spread(values, rows)
    if part.items:
        block.items[part.name] = table.items(rows)  # before faults are looked at
    if any(table.unmapped):
        lists = list(dict.fromkeys(table.unmapped))
        numbers = {each: at for at, each in enumerate(lists)}
        block.unmapped.append((lists, pa.array([numbers[each] for each in table.unmapped], _INT).take(rows)))
    if table.faults or table.verdicts:
        for at, code in enumerate(rows.to_pylist()):
            if code in table.faults:
                block.faults.setdefault(at, table.faults[code])
            if code in table.verdicts:
                block.verdicts.setdefault(at, []).extend(table.verdicts[code])


def _spread(made: tuple[list[str | None], list[bool]], rows: pa.Array) -> Values:
    texts, many = made
    distinct = pa.array(texts, TEXT).dictionary_encode()  # which has no null among its texts
    spread = pa.DictionaryArray.from_arrays(distinct.indices.take(rows), distinct.dictionary)
    return Values(spread, pa.array(many, pa.bool_()).take(rows) if any(many) else None)


class _Distinct:
    """The values of the distinct texts of one element."""

    def __init__(self, plan: Plan, part: Part, distinct: list[bytes]) -> None:
        self._plan, self._part = plan, part
        self.faults: dict[int, Fault] = {}
        self.verdicts: dict[int, list[Verdict]] = {}
        self.unmapped: list[tuple[str, ...]] = []
        self._parsed = [self._parse(at, raw) for at, raw in enumerate(distinct)]
        self.values = {
            name: self._read(read, [None if each is None else {part.name: each} for each in self._parsed])
            for name, read in part.reads.items()
        }
        for at, each in enumerate(self._parsed):
            paths = dict.fromkeys(unmapped(each, part.tree, f"{plan.kind}.{part.name}")) if part.tree else {}
            self.unmapped.append(tuple(paths))
            if part.status and each is not None and (reported := plan.status({part.name: each})):
                self.verdicts[at] = reported

    def _parse(self, at: int, raw: bytes) -> Any:
        if not raw:
            return None
        try:
            return parse(raw)
        except JsonError as error:
            self.faults[at] = Fault(error.code, f"{self._plan.kind}.{self._part.name}")
            return None

    def _read(
        self, read: Read, parsed: list[Any], owners: Sequence[int] | None = None
    ) -> tuple[list[str | None], list[bool]]:
        """The values of some texts; with `owners`, of the items of these texts."""
        texts: list[str | None] = []
        many: list[bool] = []
        for at, each in enumerate(parsed):
            try:
                found = read.function(each) if each is not None else []
            except ShapeError as error:
                self.faults[owners[at] if owners else at] = Fault("FS414", f"{self._plan.kind}.{error.path}")
                found = []
            texts.append(found[0] if found else None)
            many.append(len(found) > 1)
        return texts, many

    def items(self, rows: pa.Array) -> Items:
        """The items of the element, row by row."""
        lists = [each if isinstance(each, list) else [] for each in self._parsed]
        flat = [item for each in lists for item in each]
        owners = [at for at, each in enumerate(lists) for _ in each]
        made = {name: self._read(read, flat, owners) for name, read in self._part.items.items()}
        starts, at = [], 0
        for each in lists:
            starts.append(at)
            at += len(each)
        counts = [len(each) for each in lists]
        parents, places = list[int](), list[int]()
        for row, code in enumerate(rows.to_pylist()):
            for place in range(counts[code]):
                parents.append(row)
                places.append(starts[code] + place)
        taken = pa.array(places, _INT)
        return Items(pa.array(parents, pa.int64()), {name: _spread(each, taken) for name, each in made.items()})


def concatenated(parts: list[Values]) -> Values:
    """The values of several blocks, one after the other."""
    arrays = [each.texts for each in parts]
    if len(arrays) == 1:
        texts = arrays[0]
    elif all(pa.types.is_dictionary(each.type) for each in arrays):
        texts = pa.chunked_array(arrays, pa.dictionary(_INT, TEXT)).unify_dictionaries().combine_chunks()
    else:
        texts = pa.concat_arrays([each if each.type == TEXT else each.cast(TEXT) for each in arrays])
    many = None
    if any(each.many is not None for each in parts):
        flags = [each.many if each.many is not None else pa.repeat(pa.scalar(False), len(each.texts)) for each in parts]
        many = pa.concat_arrays(flags)
    return Values(texts, many)
