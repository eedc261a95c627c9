"""References to the resources that they name: relative, absolute, ``urn:uuid:``, contained and conditional ones.

Source: FHIR, "References" (literal references), "Bundle" (resolving references in Bundles).
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.fhir.references import parsed
from fhirspace.views.columns import Values
from fhirspace.views.notation.address import Alternative
from fhirspace.views.plan import ALL, IDENTIFIERS, name_of
from fhirspace.views.store import Resources, Store

_IDENTIFIER = "identifier="


class Resolver:
    """Finds the resources that references name.

    Args:
        store: the resources of the input.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._indices: dict[str, dict[str, int | None]] = {}

    def value(self, kind: str, way: Alternative) -> Values:
        """The value of a way for all resources of a type; null where a reference leads nowhere."""
        found = self._store.kinds[kind]
        if way.then is None:
            return found.values(name_of(way))
        keys = found.values(name_of(way))
        rows = self.rows(way.target, keys.texts, kind)
        if way.target not in self._store.kinds:
            return Values(pa.nulls(found.count, pa.string()), keys.many)
        there = self.value(way.target, way.then)
        texts = there.texts.take(rows)
        many = keys.many
        if there.many is not None:
            inner = pc.fill_null(there.many.take(rows), False)
            many = inner if many is None else pc.or_(many, inner)
        return Values(texts, many)

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
                given[row] = index.get(f"{kind}/{row}{texts[code]}")
        return pa.array(given, pa.int64())

    def _index(self, kind: str) -> dict[str, int | None]:
        """The row by each name that a resource of a type has; None for a name that several ones have."""
        if kind not in self._indices:
            found = self._store.kinds.get(kind)
            self._indices[kind] = {} if found is None else _names(kind, found)
        return self._indices[kind]


def _names(kind: str, found: Resources) -> dict[str, int | None]:
    index: dict[str, int | None] = {}

    def put(name: str, row: int) -> None:
        known = index.setdefault(name, row)
        if known is not None and known != row and found.digests[known] != found.digests[row]:
            index[name] = None

    ids = found.values("id").texts.to_pylist()
    tokens = found.values(IDENTIFIERS).texts.to_pylist()
    for row, (name, url, identifiers) in enumerate(zip(ids, found.urls, tokens, strict=True)):
        if row in found.inside:
            around, at = found.inside[row]
            put(f"{around}/{at}#{name}", row)
            continue
        if name:
            put(f"{kind}/{name}", row)
        if url:
            put(url, row)
        for token in identifiers.split(ALL) if identifiers else ():
            put(f"{kind}?{_IDENTIFIER}{token}", row)
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
