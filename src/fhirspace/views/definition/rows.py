"""The rows of a ViewDefinition for a block of resources.

Each part of a definition depends on some elements only. Its rows are made once for each distinct text of these, and
the parts are combined by Arrow.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa

from fhirspace.fhir.validation.invariants.items import Item, Model, UndecidedError, model
from fhirspace.fhir.validation.invariants.operators import Items
from fhirspace.json import JsonError, parse
from fhirspace.limits import limit
from fhirspace.tables.text import TEXT
from fhirspace.views.definition.model import Column, Definition, Path, Select, together
from fhirspace.views.notation.address import text_of

_MOST_STEPS: Final = 1_000_000
_NOTHING: Final = msgspec.Raw(b"")
_MALFORMED: Final = (AttributeError, KeyError, TypeError, ValueError, RecursionError, ArithmeticError)
Row = tuple["str | Several | None", ...]


class Several:
    """Instead of a text: a column has several values in a row, and may have one."""


_SEVERAL: Final = Several()
_FIRST: Final = Item(0, "integer")


class TooManyError(Exception):
    """A resource makes more rows than are allowed."""


class Table(NamedTuple):
    """The rows of a block: the place of the resource of each, its texts by column, and where there are several."""

    rows: pa.Array
    texts: dict[str, pa.Array]
    many: dict[str, pa.Array]


@dataclass(slots=True)
class Scope:
    """The scope of an evaluation (`compiler.Scope`)."""

    model: Model
    resource: Item
    index: Item = _FIRST
    left: int = _MOST_STEPS

    @property
    def root(self) -> Item:
        """The resource."""
        return self.resource

    @property
    def context(self) -> Item:
        """The resource."""
        return self.resource

    def spend(self, steps: int) -> None:
        """Count steps. Raises UndecidedError when there were too many."""
        self.left -= steps + 1
        if self.left < 0:
            raise UndecidedError

    def resolve(self, address: str) -> Item | None:
        """No reference is followed."""
        return None


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of a definition that is evaluated by itself: the elements that it depends on, and its rows."""

    elements: frozenset[str] | None
    names: list[str]
    rows: Callable[[Item, Scope], list[Row]]


@dataclass(slots=True)
class _Spread:
    """The rows of a part: the distinct ones, the first of each resource and their number."""

    names: list[str]
    rows: list[Row] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)


def table(
    definition: Definition, found: Sequence[dict[str, msgspec.Raw]], lines: Sequence[bytes]
) -> tuple[Table, dict[int, str]]:
    """The rows that a definition makes of some resources of its type, and what is wrong in them.

    Args:
        definition: it. found: the members of each resource. lines: the resources as text.

    Returns:
        The table, and the catalogue code of each resource that makes no rows as a path cannot be evaluated.
    """
    run = _Run(definition, found, lines)
    kept = np.ones(len(found), dtype=bool)
    for each in _conditions(definition):
        made = run.spread(each)
        kept &= np.array(made.counts, dtype=bool)
    spreads = [run.spread(each) for select in definition.selects for each in _parts(select)]
    counts = kept.astype(object)  # whole numbers of any size
    for spread in spreads:
        counts *= np.array(spread.counts, dtype=object)
    for at in np.nonzero(counts > limit("view-rows"))[0].tolist():
        run.faults.setdefault(at, "FS467")
    counts[list(run.faults)] = 0
    return _combined(spreads, counts.astype(np.int64)), run.faults


def joined(parts: Sequence[Table]) -> Table:
    """The tables of several blocks, one after the other."""
    many = dict[str, pa.Array]()
    for name in {name for each in parts for name in each.many}:
        none = (pa.repeat(pa.scalar(False), len(each.rows)) for each in parts)
        many[name] = pa.concat_arrays([each.many.get(name, no) for each, no in zip(parts, none, strict=True)])
    texts = {name: pa.concat_arrays([each.texts[name] for each in parts]) for name in parts[0].texts}
    return Table(pa.concat_arrays([each.rows for each in parts]), texts, many)


def _combined(spreads: list[_Spread], counts: Any) -> Table:
    """All combinations of the rows of some parts, resource by resource, the last part changing fastest."""
    resources = np.repeat(np.arange(len(counts)), counts)
    within = np.arange(len(resources)) - np.repeat(np.cumsum(counts) - counts, counts)
    texts, many, size = dict[str, pa.Array](), dict[str, pa.Array](), counts[resources] if len(resources) else within
    for spread in spreads:
        own = np.array(spread.counts, dtype=np.int64)[resources]
        size = size // np.maximum(own, 1)
        turn = (within // np.maximum(size, 1)) % np.maximum(own, 1)
        taken = pa.array(np.array(spread.starts, dtype=np.int64)[resources] + turn)
        for at, name in enumerate(spread.names):
            cells = [row[at] for row in spread.rows]
            plain = pa.array([None if each is _SEVERAL else each for each in cells], TEXT)
            texts[name] = plain.take(taken)
            if _SEVERAL in cells:
                many[name] = pa.array([each is _SEVERAL for each in cells]).take(taken)
    return Table(pa.array(resources, pa.int64()), texts, many)


class _Run:
    """One block. Attributes: `faults`, the code of each resource in which a path cannot be evaluated."""

    def __init__(self, definition: Definition, found: Sequence[dict[str, msgspec.Raw]], lines: Sequence[bytes]) -> None:
        self._definition, self._found, self._lines = definition, found, lines
        self._model = model(definition.release)
        self.faults: dict[int, str] = {}

    def spread(self, part: _Part) -> _Spread:
        """The rows of a part for all resources, evaluated once for each distinct text of what it depends on."""
        made, known = _Spread(part.names), dict[bytes, tuple[int, int, str]]()
        for at, key in enumerate(self._keys(part.elements)):
            place = known.get(key)
            if place is None:
                place = known[key] = self._evaluated(part, at, made)
            start, count, code = place
            made.starts.append(start)
            made.counts.append(count)
            if code:
                self.faults.setdefault(at, code)
        return made

    def _keys(self, elements: frozenset[str] | None) -> Iterator[bytes]:
        if elements is None:
            return iter(self._lines)
        names = sorted(elements)
        if len(names) == 1:
            return (bytes(each.get(names[0], _NOTHING)) for each in self._found)
        return (b"\x00".join([bytes(each.get(name, _NOTHING)) for name in names]) for each in self._found)

    def _evaluated(self, part: _Part, at: int, made: _Spread) -> tuple[int, int, str]:
        start = len(made.rows)
        try:
            item = Item(self._resource(part.elements, at), self._definition.resource)
            rows = part.rows(item, Scope(self._model, item))
        except TooManyError:
            return start, 0, "FS467"
        except JsonError as error:
            return start, 0, error.code
        except (UndecidedError, *_MALFORMED):
            return start, 0, "FS466"
        made.rows += rows
        return start, len(rows), ""

    def _resource(self, elements: frozenset[str] | None, at: int) -> Any:
        if elements is None:
            return parse(self._lines[at])
        found = self._found[at]
        kind = self._definition.resource
        return {"resourceType": kind, **{name: parse(bytes(found[name])) for name in sorted(elements) if name in found}}


def _conditions(definition: Definition) -> Iterator[_Part]:
    """The conditions as parts without columns: one row where they are met."""
    for path in definition.where:

        def met(item: Item, scope: Scope, path: Path = path) -> list[Row]:
            items = path.run((item,), scope)
            if len(items) > 1 or (items and not isinstance(items[0].value, bool)):
                raise UndecidedError
            return [()] if items and items[0].value is True else []

        yield _Part(path.elements, [], met)


def _parts(select: Select) -> Iterator[_Part]:
    """The parts of a select: its columns and nested parts each for themselves, unless there is a loop around them."""
    if select.loop or (select.unions and not select.columns and not select.nested):
        elements = together([path.elements for path in select.all_paths()])
        yield _Part(elements, select.names, lambda item, scope: _rows(select, (item,), scope))
        return
    for column in select.columns:
        yield _Part(column.path.elements, [column.name], _alone(column))
    for each in select.nested:
        yield from _parts(each)
    if select.unions:
        yield from _parts(Select(unions=select.unions))


def _alone(column: Column) -> Callable[[Item, Scope], list[Row]]:
    return lambda item, scope: [(_cell(column, (item,), scope),)]


def _rows(select: Select, focus: Items, scope: Scope) -> list[Row]:
    """The rows of a part for one item, or for nothing."""
    found, most = list[Row](), limit("view-rows")
    before = scope.index
    for items, index in _looped(select, focus, scope):
        scope.index = index
        parts = [[tuple(_cell(each, items, scope) for each in select.columns)]]
        for each in select.nested:
            parts.append(_rows(each, items, scope))
        if select.unions:
            parts.append([row for each in select.unions for row in _rows(each, items, scope)])
        found += _product(parts, most - len(found))
    scope.index = before
    return found


def _product(parts: list[list[Row]], most: int) -> list[Row]:
    """All combinations of the rows of some parts. Raises TooManyError."""
    count = 1
    for each in parts:
        count *= len(each)
    if count > most:
        raise TooManyError
    return [tuple(cell for row in rows for cell in row) for rows in product(*parts)]


def _looped(select: Select, focus: Items, scope: Scope) -> Iterator[tuple[Items, Item]]:
    """The items of the loop of a part, with the index of each; without a loop what it begins at."""
    if not select.loop:
        yield focus, scope.index
        return
    items = _repeated(select.paths, focus, scope) if select.loop == "repeat" else select.paths[0].run(focus, scope)
    if not items and select.loop == "forEachOrNull":
        yield (), _FIRST
    for at, item in enumerate(items):
        yield (item,), Item(at, "integer")


def _repeated(paths: Sequence[Path], focus: Items, scope: Scope) -> list[Item]:
    """What some paths find, and find again in that, each item before those in it."""
    found = list[Item]()
    for path in paths:
        for item in path.run(focus, scope):
            scope.spend(1)
            found.append(item)
            found += _repeated(paths, (item,), scope)
    return found


def _cell(column: Column, focus: Items, scope: Scope) -> str | Several | None:
    texts = [text for item in column.path.run(focus, scope) if (text := _text(item)) is not None]
    if column.collection:
        return "[" + ", ".join(text if raw else json.dumps(text, ensure_ascii=False) for text, raw in texts) + "]"
    return None if not texts else texts[0][0] if len(texts) == 1 else _SEVERAL


def _text(item: Item) -> tuple[str, bool] | None:
    """The text of a primitive value, and whether JSON writes it without quotes; None without a value."""
    if item.value is None:
        return None
    text = text_of(item.value)
    if text is None:
        raise UndecidedError
    if item.type == "date":  # its bounds are moments, for comparisons; the bound of a date is a date
        text = text[:10]
    return text, type(item.value) is not str
