"""The records of one view: the columns of what it claims, and what became of each resource."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.standards.fhir import Definitions
from fhirspace.tables.text import TEXT, decode
from fhirspace.template.slots import Cond
from fhirspace.views.columns import Items, Values
from fhirspace.views.join import Resolver
from fhirspace.views.notation.address import Address, Alternative
from fhirspace.views.notation.model import View
from fhirspace.views.plan import ALL, all_of, name_of, never_codes
from fhirspace.views.store import Resources

_INT: Final = pa.int64()


@dataclass(slots=True)
class Candidates:
    """What a view could make records of.

    Attributes:
        rows: of each candidate the row of its resource.
        texts: the values of columns. many: where a column has several values and must not.
        passed: where there are values after the one that is read, by path.
        claimed: which candidates the view claims.
    """

    rows: pa.Array
    texts: dict[str, pa.Array] = field(default_factory=dict)
    many: dict[str, pa.Array] = field(default_factory=dict)
    passed: dict[str, pa.Array] = field(default_factory=dict)
    claimed: pa.Array | None = None


class Reader:
    """Reads the columns of a view.

    Args:
        view: the view. found: the resources of its type. resolver: for references. known: HL7's definitions.
    """

    def __init__(self, view: View, found: Resources, resolver: Resolver, known: Definitions) -> None:
        self._view, self._found, self._resolver, self._known = view, found, resolver, known
        self._items: Items | None = found.items(view.each) if view.each else None
        self._own = self._without_items() if view.each else pa.array(range(found.count), _INT)
        self._cache: dict[Alternative, Values] = {}
        self._last = _last(view)
        self.joined: dict[str, pa.Array] = {}

    def _without_items(self) -> pa.Array:
        """The rows that make a record themselves in a view of items."""
        if not self._view.own or self._items is None:
            return pa.array([], _INT)
        rows = pa.array(range(self._found.count), _INT)
        if self._view.also:
            return rows
        return rows.filter(pc.invert(pc.is_in(rows, value_set=self._items.rows)))

    def candidates(self) -> Candidates:
        """All candidates, in the order of the resources, with their columns."""
        if self._view.definition is not None:
            found = self._found.table(self._view.name)
            every = pa.repeat(pa.scalar(True), len(found.rows))
            return Candidates(found.rows, found.texts, found.many, claimed=every)
        rows = self._own if self._items is None else pa.concat_arrays([self._items.rows, self._own])
        made = Candidates(rows)
        for name, address in self._view.columns.items():
            if isinstance(address, Address):
                texts, many = self._address(address, made)
                made.texts[name] = texts
                if many is not None:
                    made.many[name] = many
            elif address.kind == "item":
                made.texts[name] = self._numbers()
        for name, address in self._view.addresses.items():
            self.joined[name] = self._joined(address, rows)
        claimed = pa.repeat(pa.scalar(True), len(rows))
        if self._view.when is not None:
            claimed = pc.and_(claimed, holds(self._view.when, {**self.joined, **made.texts}))
        made.claimed = claimed
        return made

    def _numbers(self) -> pa.Array:
        """Of each item its number within its resource, counted from 1; null where there is one item, or none."""
        rows = self._items.rows if self._items is not None else pa.array([], _INT)
        places, first = pa.array(range(len(rows)), _INT), pc.index_in(rows, value_set=rows).cast(_INT)
        counts = pc.value_counts(rows)
        several = counts.field("values").filter(pc.greater(counts.field("counts"), 1))
        numbers = pc.add(pc.subtract(places, first), 1).cast(TEXT)
        numbers = pc.if_else(pc.is_in(rows, value_set=several), numbers, None)
        return pa.concat_arrays([numbers, pa.nulls(len(self._own), TEXT)])

    def never(self) -> list[tuple[str, pa.Array]]:
        """The reasons for which resources make no record by ``never:``, with the rows (true or false)."""
        found = []
        for path, codes in self._view.never.items():
            values = self._found.values(all_of(never_codes(path, self._view.of, self._known)))
            found += [(f"{path} is {code}", among(values.texts, frozenset({code}))) for code in sorted(codes)]
        return found

    def _address(self, address: Address, made: Candidates) -> tuple[pa.Array, pa.Array | None]:
        texts: pa.Array | None = None
        many: pa.Array | None = None
        for way in address.alternatives:
            values = self._alternative(way, made.rows)
            plain, several = decode(values.texts), values.many
            if several is not None and texts is not None:
                several = pc.and_(pc.is_null(texts), several)
            texts = plain if texts is None else pc.coalesce(texts, plain)
            last = self._last[replace(way, nth=0)]
            if way.nth == 0 or 1 < way.nth == last:
                many = _either(many, several)
            elif last == 1 and several is not None:
                made.passed[str(way)] = _either(made.passed.get(str(way)), several)
        return texts if texts is not None else pa.nulls(len(made.rows), TEXT), many

    def _alternative(self, way: Alternative, rows: pa.Array) -> Values:
        """A way for all candidates: of items where there are some, else of the resource."""
        if way.up or self._items is None:
            values = self._resource(way)
            return values if self._items is None else _taken(values, rows)
        own = _taken(self._resource(way), self._own) if self._view.own else Values(pa.nulls(0, TEXT), None)
        items = self._items.values[name_of(way)]
        return _one_after_other(items, own)

    def _resource(self, way: Alternative) -> Values:
        if way not in self._cache:
            self._cache[way] = self._resolver.value(self._view.of, way)
        return self._cache[way]

    def _joined(self, address: Address, rows: pa.Array) -> pa.Array:
        texts: pa.Array | None = None
        for way in address.alternatives:
            name = all_of(way)
            values = decode(self._found.values(name).texts)
            if self._items is not None and way.up:
                values = values.take(rows)
            elif self._items is not None:
                own = values.take(self._own) if self._view.own else pa.nulls(0, TEXT)
                values = pa.concat_arrays([decode(self._items.values[name].texts), own])
            texts = values if texts is None else pc.coalesce(texts, values)
        return pa.nulls(len(rows), TEXT) if texts is None else texts  # an element of another release


def _last(view: View) -> dict[Alternative, int]:
    """The last of several values at a path that a view reads: after ``second``, what follows is an error."""
    found: dict[Alternative, int] = defaultdict(int)
    for address in view.columns.values():
        for way in address.alternatives if isinstance(address, Address) else ():
            plain = replace(way, nth=0)
            found[plain] = max(found[plain], way.nth)
    return found


def _either(one: pa.Array | None, other: pa.Array | None) -> pa.Array | None:
    if one is None or other is None:
        return other if one is None else one
    return pc.or_(one, other)


def _taken(values: Values, rows: pa.Array) -> Values:
    return Values(values.texts.take(rows), None if values.many is None else values.many.take(rows))


def _one_after_other(items: Values, own: Values) -> Values:
    texts = pa.concat_arrays([decode(items.texts), decode(own.texts)])
    if items.many is None and own.many is None:
        return Values(texts, None)
    flags = (pa.repeat(pa.scalar(False), len(each.texts)) if each.many is None else each.many for each in (items, own))
    return Values(texts, pa.concat_arrays(list(flags)))


def holds(cond: Cond, cells: Mapping[str, pa.Array]) -> Any:
    """Where a condition is true, or false for all. `cells`: those of the columns and addresses that it names."""
    if not cond.args and cond.op == "or":  # a code list without codes
        return pa.scalar(False)
    if cond.op in ("and", "or"):
        function = pc.and_ if cond.op == "and" else pc.or_
        return reduce(function, (holds(each, cells) for each in cond.args))
    if cond.op == "not":
        return pc.invert(holds(cond.args[0], cells))
    return pc.is_valid(cells[cond.column]) if cond.op == "filled" else among(cells[cond.column], cond.values)


def among(cells: pa.Array, values: frozenset[str]) -> pa.Array:
    """Where one of the texts of a cell is one of some values."""
    encoded = cells if pa.types.is_dictionary(cells.type) else cells.dictionary_encode()
    flags = [text is not None and not values.isdisjoint(text.split(ALL)) for text in encoded.dictionary.to_pylist()]
    return pc.fill_null(pa.array(flags, pa.bool_()).take(encoded.indices), False)
