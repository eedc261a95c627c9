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

from fhirspace.tables.text import TEXT, decode

Keys = NDArray[np.uint64]
_WORD: Final = 8
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
    _, offsets, data = pa.concat_arrays([column, pa.array([" " * _WORD], TEXT)]).buffers()
    places_ = np.frombuffer(offsets, np.int32)[: len(column) + 1].astype(np.int64)
    words = np.ndarray((len(data) - _WORD + 1,), ">u8", data, strides=(1,))
    done = 0

    def part(rows: Any, bits: int) -> Keys:
        nonlocal done
        width = bits // 8
        start, end = places_[rows] + done, places_[rows + 1]
        here = np.clip(end - start, 0, width).astype(np.uint64)
        found = words[np.minimum(start, end)].astype(np.uint64) >> np.uint64(8 * (_WORD - width))
        unused = np.uint64(8) * (np.uint64(width) - here)
        done += width
        keys: Keys = found >> unused << unused
        return keys

    for _ in range(_PASSES):
        yield part
