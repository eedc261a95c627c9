"""Tables of rows that begin with a 64-bit hash, and what is asked of them, however many rows they have.

A table is kept in parts, and all rows of a hash are in the same one. Beyond some megabytes the rows go to a file
without a name, so that memory does not grow with them; what is asked is found part by part, with Python's sets.
"""

from __future__ import annotations

import sys
import tempfile
from array import array
from collections.abc import Iterable, Iterator, Sequence
from heapq import merge
from struct import Struct
from typing import IO
from weakref import finalize

_PARTS = 64
_ROOM = 1 << 17
"""Bytes of a part that are kept in memory."""


class Table:
    """Rows of 64-bit numbers, of which the first is a hash."""

    def __init__(self, width: int) -> None:
        """Args: the numbers in a row."""
        self._width = width
        self._packed = Struct(f"{width}q").pack
        self._parts = [bytearray() for _ in range(_PARTS)]
        self._room = _ROOM
        self._file: IO[bytes] | None = None
        self._written: list[list[tuple[int, int]]] = [[] for _ in range(_PARTS)]
        """Offset and length of what is in the file, for each part."""

    def add(self, key: int, *rest: int) -> None:
        """Adds a row."""
        part = self._parts[key & (_PARTS - 1)]
        part += self._packed(key, *rest)
        if len(part) > self._room:
            self._write(key & (_PARTS - 1))

    def parts(self) -> Iterator[list[array[int]]]:
        """The columns, part by part; in a part, rows are in the order in which they were added."""
        for part in range(_PARTS):
            rows = array("q", self._read(part))
            yield [rows[column :: self._width] for column in range(self._width)]

    def _read(self, part: int) -> bytes:
        found = bytearray()
        for offset, length in self._written[part]:
            if self._file:
                self._file.seek(offset)
                found += self._file.read(length)
        return bytes(found + self._parts[part])

    def _write(self, part: int) -> None:
        """Writes what is in memory of a part; without room on the disk all stays in memory."""
        rows = self._parts[part]
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115  (closed with the table)
                finalize(self, self._file.close)
            offset = self._file.tell()
            if self._file.write(rows) == len(rows):
                self._written[part].append((offset, len(rows)))
                rows.clear()
                return
        except OSError:
            pass
        self._room = sys.maxsize


def repeated(ids: Table) -> Iterator[int]:
    """The places of further rows with the hash of an earlier one, in order.

    Args:
        ids: rows of a hash, its place and its owner. Odd places do not count.
    """
    return _ordered(_repeated(keys, places) for keys, places, _ in ids.parts())


def _repeated(keys: Sequence[int], places: Sequence[int]) -> list[int]:
    if len(set(keys)) == len(keys):
        return []
    met, found = set[int](), list[int]()
    for key, place in zip(keys, places, strict=True):
        if not place & 1:
            if key in met:
                found.append(place)
            met.add(key)
    return found


def missing(wanted: Table, ids: Table) -> Iterator[dict[int, int]]:
    """The hashes that another table does not have, part by part, each with its first place.

    Args:
        wanted: rows of a hash and its place. ids: as `repeated`.
    """
    for (keys, places), (there, *_) in zip(wanted.parts(), ids.parts(), strict=True):
        known, found = set(there if keys else ()), dict[int, int]()
        for key, place in zip(keys, places, strict=True):
            if key not in known:
                found.setdefault(key, place)
        yield found


def first_places(wanted: Table, ids: Table) -> Iterator[int]:
    """The first places of the hashes that another table does not have, in order. Args: as `missing`."""
    return _ordered(found.values() for found in missing(wanted, ids))


def of_others(links: Table, ids: Table) -> Iterator[int]:
    """The places of targets that belong to somebody else, in order.

    Args:
        links: rows of a target's hash, who has to own it, and the place.
        ids: as `repeated`; the owner is 0 where it is nobody's. Of a hash that is there twice, the first row counts.
    """
    return _ordered(map(_of_others, links.parts(), ids.parts()))


def _of_others(links: Sequence[array[int]], ids: Sequence[array[int]]) -> list[int]:
    keys, _, owned_by = ids
    owners = dict(zip(reversed(keys), reversed(owned_by), strict=True)) if links[0] else {}
    return [place for target, owner, place in zip(*links, strict=True) if owners.get(target, 0) not in (0, owner)]


def not_among(links: Table, pairs: Table) -> Iterator[int]:
    """The places of pairs that another table does not have, while it has others of the same first hash, in order.

    Args:
        links: rows of two hashes and their place. pairs: rows of two hashes.
    """
    return _ordered(map(_not_among, links.parts(), pairs.parts()))


def _not_among(links: Sequence[array[int]], pairs: Sequence[array[int]]) -> list[int]:
    known, both = set(pairs[0]), set(zip(*pairs, strict=True))
    return [place for one, other, place in zip(*links, strict=True) if one in known and (one, other) not in both]


def _ordered(parts: Iterable[Iterable[int]]) -> Iterator[int]:
    """The places of all parts, in order; meanwhile they take eight bytes each."""
    return merge(*[array("q", sorted(part)) for part in parts])
