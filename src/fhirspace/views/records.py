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
from fhirspace.tables.text import DICTIONARY, TEXT, decode, row_column
from fhirspace.template.slots import Cond
from fhirspace.views.join import Resolver
from fhirspace.views.notation.address import Address, Alternative
from fhirspace.views.notation.model import Computed, View
from fhirspace.views.plan import ALL, all_of, name_of, never_codes
from fhirspace.views.reading.blocks import Items, Values, concatenated, nothing, taken
from fhirspace.views.store import Resources

_INT: Final = pa.int64()


@dataclass(slots=True)
class Candidates:
    """What a view claims, and could make records of.

    Attributes:
        rows: of each candidate the row of its resource.
        texts: the values of columns. many: where a column has several values and must not.
        passed: where there are values after the one that is read, by path.
    """

    rows: pa.Array
    texts: dict[str, pa.Array] = field(default_factory=dict)
    many: dict[str, pa.Array] = field(default_factory=dict)
    passed: dict[str, pa.Array] = field(default_factory=dict)


class Reader:
    """Reads the columns of a view.

    Args:
        view: the view. found: the resources of its type. resolver: for references. known: HL7's definitions.
    """

    def __init__(self, view: View, found: Resources, resolver: Resolver, known: Definitions) -> None:
        self._view, self._found, self._resolver, self._known = view, found, resolver, known
        items = found.items(view.each) if view.each else None
        # Where no resource has such an item, the view reads resources as one without ``each`` does.
        self._items: Items | None = items if items is not None and (len(items.rows) or not view.own) else None
        self._own = found.rows if self._items is None else self._without_items(self._items)
        self._rows = self._own if self._items is None else pa.concat_arrays([self._items.rows, self._own])
        self._claimed: pa.Array | None = None
        self._last = _last(view)
        self.joined: dict[str, pa.Array] = {}

    def _without_items(self, items: Items) -> pa.Array:
        """The rows that make a record themselves in a view of items."""
        if not self._view.own:
            return pa.array([], _INT)
        rows = self._found.rows
        if self._view.also:
            return rows
        return rows.filter(pc.invert(pc.is_in(rows, value_set=items.rows)))

    def candidates(self) -> Candidates:
        """All candidates, in the order of the resources, with their columns."""
        if self._view.definition is not None:
            found = self._found.table(self._view.name)
            return Candidates(found.rows, found.texts, found.many)
        self._claim()
        made = Candidates(only(self._rows, self._claimed))
        for name, address in self._view.columns.items():
            if isinstance(address, Address):
                texts, many = self._address(address, made)
                made.texts[name] = texts
                if many is not None:
                    made.many[name] = many
            elif address.kind == "item":
                made.texts[name] = only(self._numbers(), self._claimed)
        for name, address in self._view.addresses.items():
            self.joined[name] = self._joined(address)
        return made

    def _claim(self) -> None:
        """Finds the candidates that the condition of the view lets pass, so that only they are read."""
        when, cells = self._view.when, dict[str, pa.Array]()
        if when is None:
            return
        for name in dict.fromkeys(when.columns()):
            if name in self._view.addresses:
                cells[name] = self._joined(self._view.addresses[name])
            else:
                cells[name] = self._asked(self._view.columns[name])
        flags = holds(when, cells)
        self._claimed = pa.repeat(flags, len(self._rows)) if isinstance(flags, pa.Scalar) else flags

    def _asked(self, column: Address | Computed) -> pa.Array:
        return self._address(column, Candidates(self._rows))[0] if isinstance(column, Address) else self._numbers()

    def _numbers(self) -> pa.Array:
        """Of each item its number within its resource, counted from 1; null where there is one item, or none."""
        rows = self._items.rows if self._items is not None else pa.array([], _INT)
        places, first = row_column(0, len(rows)), pc.index_in(rows, value_set=rows).cast(_INT)
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
            values = self._alternative(way)
            plain, several = values.texts, values.many
            if several is not None and texts is not None:
                several = pc.and_(pc.is_null(texts), several)
            texts = plain if texts is None else filled(texts, plain)
            last = self._last[replace(way, nth=0)]
            if way.nth == 0 or 1 < way.nth == last:
                many = _either(many, several)
            elif last == 1 and several is not None:
                made.passed[str(way)] = _either(made.passed.get(str(way)), several)
        return texts if texts is not None else nothing(len(made.rows)), many

    def _alternative(self, way: Alternative) -> Values:
        """A way for all candidates: of items where there are some, else of the resource."""
        if self._items is None:
            return self._only(self._resource(way))
        if way.up:
            return self._only(taken(self._resource(way), self._rows))
        own = taken(self._resource(way), self._own) if self._view.own else Values(pa.nulls(0, TEXT), None)
        return self._only(concatenated([self._items.values[name_of(way)], own]))

    def _only(self, values: Values) -> Values:
        """The values of the candidates that are claimed."""
        many = None if values.many is None else only(values.many, self._claimed)
        return Values(only(values.texts, self._claimed), many)

    def _resource(self, way: Alternative) -> Values:
        return self._resolver.value(self._view.of, way)

    def _joined(self, address: Address) -> pa.Array:
        texts: pa.Array | None = None
        for way in address.alternatives:
            name = all_of(way)
            values = self._found.values(name).texts
            if self._items is not None and way.up:
                values = values.take(self._rows)
            elif self._items is not None:
                own = values.take(self._own) if self._view.own else pa.nulls(0, TEXT)
                values = concatenated([self._items.values[name], Values(own, None)]).texts
            values = only(values, self._claimed)
            texts = values if texts is None else filled(texts, values)
        # An element of another release has no alternative.
        return nothing(len(self._rows)) if texts is None else texts


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


def only(cells: pa.Array, flags: pa.Array | None) -> pa.Array:
    """The cells where a flag is true; all where there are no flags, or all are true."""
    if flags is None or pc.all(flags, min_count=0).as_py():
        return cells
    return cells.filter(flags)


def filled(texts: pa.Array, others: pa.Array) -> pa.Array:
    """Texts, and the others where there are none."""
    if not texts.null_count or others.null_count == len(others):
        return texts
    if texts.null_count == len(texts):
        return others
    if pa.types.is_dictionary(texts.type) and pa.types.is_dictionary(others.type):
        one, two = pa.chunked_array([texts, others], DICTIONARY).unify_dictionaries().chunks
        return pa.DictionaryArray.from_arrays(pc.coalesce(one.indices, two.indices), one.dictionary)
    return pc.coalesce(decode(texts), decode(others))


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
