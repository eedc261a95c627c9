"""The order of records by their cells, column after column, which does not depend on that of files and lines.

Only rows that are alike so far are looked at again, and of texts first a few bytes at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fhirspace.tables.text import decode

Keys = NDArray[np.uint64]
_WORD: Final = 8
_MIXED: Final = np.uint64(0x9E3779B97F4A7C15)
"""An odd number, by which eight bytes are spread over others."""
_PASSES: Final = 3
"""How often some bytes of a text are compared before whole texts are."""
Key = Callable[[Any, int], Keys]
"""The keys of some rows, each with at most so many bits."""


def places(columns: Sequence[pa.Array]) -> pa.Array:
    """The rows in their order: by the first column, then the next one; missing cells last, equal rows as they come.

    Args:
        columns: texts or dictionaries of texts, of one length.
    """
    count = len(columns[0]) if columns else 0
    order, starts = np.arange(count), np.zeros(count, bool)
    starts[:1] = True
    for key in _keys(columns):
        ends = np.append(starts[1:], True)
        alike = np.flatnonzero(~(starts & ends))
        if not len(alike):
            break
        rows, groups = order[alike], np.cumsum(starts[alike]).astype(np.uint64)
        bits = 64 - int(groups[-1]).bit_length()
        keys = groups << np.uint64(bits) | key(rows, bits)
        sorted_ = np.argsort(keys, kind="stable")
        order[alike], keys = rows[sorted_], keys[sorted_]
        starts[alike[1:]] |= keys[1:] != keys[:-1]
    return pa.array(order)


def distinct(column: pa.Array) -> bool:
    """Whether all texts of a column, of the rows that have one, are different."""
    if pa.types.is_dictionary(column.type):
        return len(column) - column.null_count <= len(column.dictionary) and _distinct(decode(column))
    # The ends of ids differ more than their beginnings, and equal ids have equal ends.
    starts, words = _words(column)
    first, end = starts[:-1], starts[1:]
    if (end - first < _WORD).any():
        return _distinct(column)
    last, before = (words[np.maximum(end - size, first)].astype(np.uint64) for size in (_WORD, 2 * _WORD))
    keys = np.sort(last * _MIXED ^ before)
    return not (keys[1:] == keys[:-1]).any() or _distinct(column)


def _distinct(column: pa.Array) -> bool:
    texts = column.drop_null()
    return len(texts.unique()) == len(texts)


def _words(column: pa.Array) -> tuple[NDArray[np.int64], Any]:
    """Where the texts of a column begin, and where the last one ends; the eight bytes from each place on."""
    _, offsets, data = column.buffers()
    starts = np.frombuffer(offsets, np.int32)[column.offset :][: len(column) + 1].astype(np.int64)
    signs = data if data is not None and len(data) >= _WORD else bytes(data or b"").ljust(_WORD)
    return starts, np.ndarray((len(signs) - _WORD + 1,), ">u8", signs, strides=(1,))


def _keys(columns: Sequence[pa.Array]) -> Iterator[Key]:
    for column in columns:
        if column.null_count:
            missing = pc.is_null(column).to_numpy(zero_copy_only=False)
            yield lambda rows, _, missing=missing: missing[rows].astype(np.uint64)  # type: ignore[misc]
        if not pa.types.is_dictionary(column.type):
            yield from _parts(column)
        yield lambda rows, _, column=column: _ranks(column.take(pa.array(rows)))  # type: ignore[misc]


def _ranks(cells: pa.Array) -> Keys:
    """The places of cells among the distinct ones."""
    encoded = cells.dictionary_encode()
    texts = decode(encoded.dictionary)
    ranks = np.zeros(len(texts) + 1, np.uint64)
    ranks[pc.sort_indices(texts).to_numpy()] = np.arange(len(texts))
    found: Keys = ranks[pc.fill_null(encoded.indices, len(texts)).to_numpy()]
    return found


def _parts(column: pa.Array) -> Iterator[Key]:
    """Some bytes of texts after the other, as numbers that are ordered as they are."""
    places_, words = _words(column)
    done = 0

    def part(rows: Any, bits: int) -> Keys:
        nonlocal done
        width = bits // 8
        start, end = places_[rows] + done, places_[rows + 1]
        here = np.clip(end - start, 0, width).astype(np.uint64)
        start = np.minimum(start, end)
        at = np.minimum(start, len(words) - 1)  # the last eight bytes have those after a place near the end
        over = np.minimum(start - at, _WORD - 1).astype(np.uint64) * np.uint64(8)
        found = words[at].astype(np.uint64) << over >> np.uint64(8 * (_WORD - width))
        unused = np.uint64(8) * (np.uint64(width) - here)
        done += width
        keys: Keys = found >> unused << unused
        return keys

    for _ in range(_PASSES):
        yield part
