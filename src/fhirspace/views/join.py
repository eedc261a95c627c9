"""References to the resources that they name: relative, absolute, ``urn:uuid:``, contained and conditional ones.

Source: FHIR, "References" (literal references), "Bundle" (resolving references in Bundles).
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.fhir.references import parsed
from fhirspace.tables.text import decode, row_column
from fhirspace.views.notation.address import Alternative
from fhirspace.views.plan import ALL, IDENTIFIERS, PAIR, all_of, back_name, key_of, name_of
from fhirspace.views.reading.blocks import Values, nothing
from fhirspace.views.store import Resources, Store

_IDENTIFIER = "identifier="
_RECORDS = frozenset({"row", "finding"})
_Name = str | tuple[str, int, str | None]
"""A name of a resource; of a contained one the type and row of the resource around it, and its id."""
_Index = dict[_Name, int | None]


class Resolver:
    """Finds the resources that references name.

    Args:
        store: the resources of the input.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._indices: dict[str, _Index] = {}

    def value(self, kind: str, way: Alternative) -> Values:
        """The value of a way for all resources of a type; null where a reference leads nowhere."""
        found = self._store.kinds[kind]
        if way.then is None:
            return found.values(name_of(way))
        if way.back:
            return self._back(kind, way, way.then)
        keys = found.values(name_of(way))
        if way.target not in self._store.kinds or keys.texts.null_count == found.count:
            return Values(nothing(found.count), keys.many)
        rows = self.rows(way.target, keys.texts, kind)
        there = self.value(way.target, way.then)
        texts = there.texts.take(rows)
        many = keys.many
        if there.many is not None:
            inner = pc.fill_null(there.many.take(rows), False)
            many = inner if many is None else pc.or_(many, inner)
        return Values(texts, many)

    def _back(self, kind: str, way: Alternative, then: Alternative) -> Values:
        """The values of a way over references that lead to resources of a type, in the order of the ids of their own.

        What says of itself that it is a mistake, or cannot be understood, leads nowhere.
        """
        count, there = self._store.kinds[kind].count, self._store.kinds.get(way.target)
        if there is None:
            return Values(nothing(count), None)
        named = there.values(back_name(way) if way.shared else all_of(key_of(way.steps))).texts
        if named.null_count == len(named):  # then the names of all resources are not needed
            return Values(nothing(count), None)
        lists = pc.split_pattern(decode(named), ALL)
        rows, texts = pc.list_parent_indices(lists), lists.flatten()
        if way.shared:
            both = pc.split_pattern(texts, PAIR, max_splits=1)
            keys, values, several = pc.list_element(both, 0), pc.list_element(both, 1), None
        else:
            inner = self.value(way.target, then)
            keys, values = texts, decode(inner.texts).take(rows)
            several = None if inner.many is None else inner.many.take(rows)
        found = pa.table({"row": self._named(kind, keys), "value": values, "order": _order(there).take(rows)})
        keep = pc.and_(pc.is_valid(found["row"]), pc.is_valid(found["value"]))
        keep = pc.and_(keep, pc.invert(pc.is_in(rows, value_set=pa.array(sorted(_unreadable(there)), rows.type))))
        many = None
        if several is not None:
            twice = found["row"].filter(pc.and_(keep, pc.fill_null(several, False)))
            many = pc.is_in(row_column(0, count), value_set=twice)
        return _nth(found.filter(keep), count, max(way.nth, 1), many)

    def _named(self, target: str, keys: pa.Array) -> pa.Array:
        """The rows of the resources that references name, which are none of contained ones."""
        index, encoded = self._index(target), keys.dictionary_encode()
        found = [
            None if text is None else index.get(canonical(text, target)) for text in encoded.dictionary.to_pylist()
        ]
        return pa.array(found, pa.int64()).take(encoded.indices)

    def rows(self, target: str, keys: pa.Array, kind: str) -> pa.Array:
        """The rows of the resources of a type that references in all resources of another type name.

        Args:
            target: the type. keys: the references. kind: the type of the resources that have them.
        """
        index = self._index(target)
        encoded = keys if pa.types.is_dictionary(keys.type) else keys.dictionary_encode()
        texts = encoded.dictionary.to_pylist()
        found = [None if text is None else index.get(canonical(text, target)) for text in texts]
        rows = pa.array(found, pa.int64()).take(encoded.indices)
        inside = {at for at, text in enumerate(texts) if text is not None and text.startswith("#")}
        if not inside:
            return rows
        given = rows.to_pylist()
        for row, code in enumerate(encoded.indices.to_pylist()):
            if code in inside:
                given[row] = index.get((kind, row, texts[code].removeprefix("#")))
        return pa.array(given, pa.int64())

    def _index(self, kind: str) -> _Index:
        """The row by each name that a resource of a type has; None for a name that several ones have."""
        if kind not in self._indices:
            found = self._store.kinds.get(kind)
            self._indices[kind] = {} if found is None else _names(kind, found, self._store)
        return self._indices[kind]


def _order(found: Resources) -> pa.Array:
    """The place of each resource in the order of ids."""
    return pc.rank(decode(found.values("id").texts), sort_keys="ascending", tiebreaker="dense")


def _unreadable(found: Resources) -> set[int]:
    """The rows of resources that must not be read: faulty ones, and those whose status makes no record."""
    odd = {row for row, verdicts in found.verdicts() if any(each.outcome not in _RECORDS for each in verdicts)}
    return odd | {row for row, _ in found.faults()}


def _nth(found: pa.Table, count: int, nth: int, many: pa.Array | None) -> Values:
    """Of each row the nth of its distinct values, and whether there are more."""
    made = found.group_by(["row", "value"]).aggregate([("order", "min")])
    made = made.sort_by([("row", "ascending"), ("order_min", "ascending"), ("value", "ascending")])
    rows = made["row"].combine_chunks()
    first = pc.index_in(rows, value_set=rows).cast(pa.int64())
    place = pc.add(pc.subtract(row_column(0, len(rows)), first), 1)
    wanted = pc.equal(place, nth)
    every = row_column(0, count)
    texts = made["value"].combine_chunks().filter(wanted).take(pc.index_in(every, value_set=rows.filter(wanted)))
    more = pc.is_in(every, value_set=rows.filter(pc.greater(place, nth)))
    flags = more if many is None else pc.or_(more, many)
    return Values(texts, flags if pc.any(flags).as_py() else None)


def _names(kind: str, found: Resources, store: Store) -> _Index:
    index, again = _Index(), dict[_Name, set[int]]()

    def put(name: _Name, row: int) -> None:
        known = index.setdefault(name, row)
        if known is not None and known != row:
            again.setdefault(name, {known}).add(row)

    ids = found.values("id").texts.to_pylist()
    tokens = found.values(IDENTIFIERS).texts.to_pylist()
    for row, (name, url, identifiers) in enumerate(zip(ids, found.urls, tokens, strict=True)):
        if row in found.inside:
            around, at = found.inside[row]
            put((around, at, name), row)
            continue
        if name:
            put(f"{kind}/{name}", row)
        if url:
            put(url, row)
        for token in identifiers.split(ALL) if identifiers else ():
            put(f"{kind}?{_IDENTIFIER}{token}", row)
    digests = store.digests(kind, set().union(*again.values())) if again else {}
    for name, rows in again.items():  # equal resources are one
        if len({digests[row] for row in rows}) > 1:
            index[name] = None
    return index


def canonical(text: str, target: str) -> str:
    """The name under which a resource of a type is sought, for a reference as it is written."""
    if text.startswith(("urn:", "#")):
        return text
    found = parsed(text)
    if found is None:
        return f"{target}{text}" if text.startswith("?") else text
    if found.type != target:
        return text
    if found.query:
        return f"{found.type}?{found.query}"
    return f"{found.type}/{found.id}"
