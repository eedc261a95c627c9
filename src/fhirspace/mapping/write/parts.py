"""Lines out of parts: each part gives every row a text; one `take` over all of them copies each byte once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.mapping.write.columns import count, counted


@dataclass(frozen=True, slots=True)
class Few:
    """A text a row out of a few: `texts[index]`; a null index is no text."""

    texts: Sequence[str]
    index: pa.Array


@dataclass(frozen=True, slots=True)
class Many:
    """A text a row out of many: `texts[index]`, or `texts` row by row where `index` is None. Nulls are no text."""

    texts: pa.Array
    index: pa.Array | None


Part: TypeAlias = str | Few | Many
_FOLD: Final = 8


def merged(parts: Iterable[Part], rows: int) -> list[Part]:
    """Fewer parts: constants go into their neighbours' texts, neighbours with the same index become one."""
    made: list[Part] = []
    for part in parts:
        if isinstance(part, str) and not part:
            continue
        both = _joined(made[-1], part, rows) if made else None
        if both is None:
            made.append(part)
        else:
            made[-1] = both
            if len(made) > 1 and (again := _joined(made[-2], made[-1], rows)) is not None:
                made[-2:] = [again]
    return made


def _joined(first: Part, second: Part, rows: int) -> Part | None:
    if isinstance(first, Many) or isinstance(second, Many):
        return _many(first, second, rows)
    if isinstance(first, str):
        if isinstance(second, str):
            return first + second
        return Few([first + text for text in second.texts], second.index) if not second.index.null_count else None
    if isinstance(second, str):
        return Few([text + second for text in first.texts], first.index) if not first.index.null_count else None
    if first.index is second.index:
        return Few([one + two for one, two in zip(first.texts, second.texts, strict=True)], first.index)
    return None


def _many(first: Part, second: Part, rows: int) -> Part | None:
    """A column's texts with a constant, or with the same column's other texts, where there are few of them."""
    index = first.index if isinstance(first, Many) else second.index if isinstance(second, Many) else None
    if index is None or isinstance(first, Few) or isinstance(second, Few):
        return None
    texts = [part if isinstance(part, str) else part.texts for part in (first, second)]
    if any(
        not isinstance(part, str) and (part.index is not index or len(part.texts) * _FOLD > rows)
        for part in (first, second)
    ):
        return None
    if index.null_count and any(isinstance(part, str) for part in (first, second)):
        return None
    return Many(pc.binary_join_element_wise(*texts, "", null_handling="replace", null_replacement=""), index)


_ROWWISE: Final[dict[tuple[int, int], pa.Array]] = {}


def _rowwise(rows: int, parts: int) -> tuple[pa.Array, pa.Array]:
    """The places of the elements of a parts-by-rows array in row order, and where each row starts."""
    if (rows, parts) not in _ROWWISE:
        if len(_ROWWISE) > 4:
            _ROWWISE.clear()
        place = counted(rows * parts)
        row = pc.divide(place, pa.scalar(parts, pa.int32()))
        part = pc.subtract(place, pc.multiply(row, pa.scalar(parts, pa.int32())))
        order = pc.add(pc.multiply(part, pa.scalar(rows, pa.int32())), row)
        starts = pc.multiply(count(rows + 1), pa.scalar(parts, pa.int32()))
        _ROWWISE[rows, parts] = order, starts
    order, starts = _ROWWISE[rows, parts]
    return order, starts


def assemble(parts: Sequence[Part], own: Sequence[Part], rows: int, dead: pa.Array | None, size: int = 0) -> pa.Array:
    """The joined texts of all rows as a binary array without nulls; `dead` rows (a mask) have only their `own` parts.

    Elements of all parts are in one array of texts, the indices are reordered by row, and a single
    `take` writes the lines one after the other: their bytes are copied once. `size` is about how many there will be.
    """
    texts: list[pa.Array] = [pa.array([""])]
    places: list[pa.Array] = []
    start = 1
    for part in (*parts, *own):
        values = _texts(part)
        place = _place(part, start, rows)
        if dead is not None and len(places) < len(parts):
            place = pc.if_else(dead, pa.scalar(0, pa.int32()), place)
        texts.append(values)
        places.append(place)
        start += len(values)
    if not places or not rows:
        return pa.array([b""] * rows, pa.binary())
    order, starts = _rowwise(rows, len(places))
    taken = _reserving(texts, rows * len(places), size).take(pa.concat_arrays(places).take(order))
    offsets = pa.Array.from_buffers(pa.int32(), len(taken) + 1, [None, taken.buffers()[1]]).take(starts)
    return pa.Array.from_buffers(
        pa.binary(), rows, [None, offsets.buffers()[1], taken.buffers()[2] or pa.py_buffer(b"")]
    )


def _reserving(texts: list[pa.Array], elements: int, size: int) -> pa.Array:
    """The texts in one array, so long on average that `take` reserves enough for its result at once.

    It reserves the mean length of what it takes from for each element; beyond that it grows, copying, to twice that.
    """
    count_, held = sum(len(each) for each in texts), sum(each.nbytes for each in texts)
    lacking = size * (count_ + 1) // elements - held
    if 0 < lacking <= size:
        texts = [*texts, pa.StringArray.from_buffers(1, _pair(lacking), _blank(lacking))]
    return pa.concat_arrays(texts)


def _pair(length: int) -> pa.Buffer:
    return pa.array([0, length], pa.int32()).buffers()[1]


_BLANK: Final[list[bytes]] = [b""]


def _blank(length: int) -> pa.Buffer:
    if len(_BLANK[0]) < length:
        _BLANK[0] = b" " * (length + length // 2)
    return pa.py_buffer(_BLANK[0])


def _texts(part: Part) -> pa.Array:
    if isinstance(part, str):
        return pa.array([part])
    return part.texts if isinstance(part, Many) else pa.array(part.texts, pa.string())


def _place(part: Part, start: int, rows: int) -> pa.Array:
    """The place of each row's text if a part's texts start at `start`; 0 (no text) for none."""
    if isinstance(part, str):
        return pa.repeat(pa.scalar(start, pa.int32()), rows)
    place = pc.add(count(rows) if part.index is None else part.index, pa.scalar(start, pa.int32()))
    return place.fill_null(0) if place.null_count else place
