"""Columns of a batch as whole numbers: a value's code, or the class of a volatile one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.mapping.model import Mapping
from fhirspace.mapping.write.placeholders import ABSENT, MARK, SLOW, Known, Profiler, Stage
from fhirspace.mapping.write.vectors import Looked, Vectors
from fhirspace.template.values import virtual_cells


@dataclass(slots=True)
class Coded:
    """A column of a batch.

    Attributes:
        codes: int64, one a row, or one number for all rows.
        index: int32, one a row: the place of its text in `looked.values`, null for no cell; None: at its own row.
        looked: the distinct values, of a volatile column.
        odd: whether a row may have the code `SLOW`.
    """

    codes: pa.Array | int
    index: pa.Array | None = None
    looked: Looked | None = None
    odd: bool = False

    def at(self, row: int) -> int:
        """The code of a row."""
        return self.codes if isinstance(self.codes, int) else int(self.codes[row].as_py())


NOTHING: Final = Coded(ABSENT)


class StableColumn:
    """A column whose values repeat: each has a code of its own."""

    def __init__(self, mapping: Mapping, column: str) -> None:
        self._column = column
        self._forms = mapping.forms.get(column, ())
        self._codes: dict[str, int] = {}
        self.known: list[Known] = [Known({}), Known({})]
        self._last: tuple[pa.Array, pa.Array] | None = None
        self._odd = False

    def code(self, index: pa.Array | None, values: pa.Array) -> Coded:
        """The codes of a batch: `values[index]`, or the values themselves (see `Coded`)."""
        if self._last is None or not self._last[0].equals(values):
            codes = [self._of(value) for value in values.to_pylist()]
            self._last, self._odd = (values, pa.array(codes, pa.int64())), SLOW in codes
        return Coded(spread(index, self._last[1]), odd=self._odd)

    def _of(self, value: str | None) -> int:
        if value is None:
            return ABSENT
        code = self._codes.get(value)
        if code is None:
            if MARK in value:
                return SLOW
            code = self._codes[value] = len(self.known)
            self.known.append(Known({self._column: value} | virtual_cells(self._column, self._forms, value)))
        return code


class VolatileColumn:
    """A column whose values hardly repeat: each has the code of its class."""

    def __init__(self, mapping: Mapping, stage: Stage, column: str) -> None:
        self._profiler = Profiler(mapping, stage, column)
        self._vectors = Vectors(mapping, self._profiler, column)
        self.known = self._profiler.known
        self._last: Looked | None = None
        self._odd = False

    def code(self, index: pa.Array | None, values: pa.Array) -> Coded:
        """The codes of a batch (see `StableColumn.code`)."""
        if index is None and values.null_count:
            index = pc.if_else(values.is_valid(), count(len(values)), None)
            values = values.fill_null("0")
        if self._last is None or not self._last.values.equals(values):
            self._last = self._vectors.look(values)
            self._odd = bool(len(values)) and SLOW in self._last.classes.unique().to_pylist()
        return Coded(spread(index, self._last.classes), index, self._last, self._odd)


class GivenColumn:
    """Nested items, or the carried cells: present or not, their text already rendered."""

    def __init__(self) -> None:
        self.known = [Known({}), Known({}), Known({})]

    def code(self, index: pa.Array | None, values: pa.Array) -> Coded:
        """The codes of a batch (see `StableColumn.code`); the values are their own text."""
        if index is None and values.null_count:
            index = pc.if_else(values.is_valid(), count(len(values)), None)
        looked = Looked(values, pa.repeat(pa.scalar(2, pa.int64()), len(values)), lambda _: values)
        return Coded(spread(index, looked.classes), index, looked)


def counted(length: int) -> pa.Array:
    """0, 1, 2 ... as int32."""
    ones = pa.repeat(pa.scalar(1, pa.int32()), length)
    return pc.subtract(pc.cumulative_sum(ones), pa.scalar(1, pa.int32()))


_COUNTS: Final[dict[int, pa.Array]] = {}


def count(length: int) -> pa.Array:
    """0, 1, 2 ... as int32, remembered."""
    if length not in _COUNTS:
        if len(_COUNTS) > 8:
            _COUNTS.clear()
        _COUNTS[length] = counted(length)
    return _COUNTS[length]


def spread(index: pa.Array | None, codes: pa.Array) -> pa.Array | int:
    """The codes of the rows from those of the distinct values; a number where all rows have the same."""
    if index is not None and index.null_count == len(index):
        return ABSENT
    if len(codes) and (index is None or not index.null_count):
        low, high = pc.min_max(codes).values()
        if low.equals(high):
            return int(low.as_py())
    if index is None:
        return codes
    rows = codes.take(index)
    return rows.fill_null(0) if rows.null_count else rows


def distinct(column: pa.Array) -> tuple[pa.Array | None, pa.Array]:
    """A string or dictionary column as (index or None, values), the values not many more than the rows."""
    if not pa.types.is_dictionary(column.type):
        return None, column.cast(pa.string())
    index, values = column.indices, column.dictionary
    if values.null_count:
        return distinct(column.cast(pa.string()))
    if 4 * len(values) > len(column):
        used = index.dictionary_encode()
        index, values = used.indices, values.take(used.dictionary)
    return index.cast(pa.int32()), values.cast(pa.string())


def encoded(column: pa.Array) -> tuple[pa.Array, pa.Array]:
    """The same, always with an index."""
    index, values = distinct(column)
    if index is not None:
        return index, values
    made = values.dictionary_encode()
    return made.indices, made.dictionary
