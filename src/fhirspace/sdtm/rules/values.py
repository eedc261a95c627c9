"""Columns under evaluation: Arrow arrays of text, numbers or truth values, and lists that operations compute."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

TEXT, NUMBER = pa.string(), pa.float64()


@dataclass(frozen=True, slots=True)
class Lists:
    """A column whose cells are lists: the distinct lists and, per row, which one (None: the first, for every row)."""

    lists: tuple[tuple[Any, ...], ...]
    size: int
    codes: pa.Array | None = None

    def at(self, row: int) -> tuple[Any, ...] | None:
        """The list of a row; None where it has none."""
        if self.codes is None:
            return self.lists[0]
        code = self.codes[row].as_py()
        return None if code is None else self.lists[code]

    def take(self, rows: pa.Array) -> Lists:
        """The column of some of the rows."""
        return Lists(self.lists, len(rows), None if self.codes is None else self.codes.take(rows))


Column: TypeAlias = "pa.Array | Lists"


def constant(value: Any, size: int) -> Column:
    """A column that has one value in every row; a list or set gives a column of lists."""
    if isinstance(value, (list, tuple)):
        return Lists((tuple(value),), size)
    if value is None:
        return pa.nulls(size, TEXT)
    return pa.repeat(pa.scalar(value), size)


def every(value: bool, size: int) -> pa.Array:
    """Flags that are all the same."""
    return pa.repeat(pa.scalar(value), size)


def is_text(column: Column) -> bool:
    """Whether the cells are texts; a column without any cell is (its type says nothing)."""
    return not isinstance(column, Lists) and (pa.types.is_string(column.type) or column.null_count == len(column))


def is_number(column: Column) -> bool:
    """Whether the cells are numbers, which truth values are not."""
    return not isinstance(column, Lists) and (pa.types.is_floating(column.type) or pa.types.is_integer(column.type))


def take(column: Column, rows: pa.Array) -> Column:
    """The cells of some rows; a row that is null gives null."""
    return column.take(rows)


def empty(column: Column) -> pa.Array:
    """Where a cell has no value: null, the empty text, or a list without items."""
    if isinstance(column, Lists):
        if column.codes is None:
            return every(not column.lists[0], column.size)
        blank = pa.array([not each for each in column.lists], pa.bool_())
        return pc.fill_null(blank.take(column.codes), True)
    nothing = column.is_null(nan_is_null=pa.types.is_floating(column.type))
    return pc.or_(nothing, pc.fill_null(pc.equal(column, ""), False)) if pa.types.is_string(column.type) else nothing


def by_value(column: pa.Array, test: Callable[[Any], bool], *, null: bool) -> pa.Array:
    """A test of each distinct cell, spread over the rows; `null` is the answer for a cell that is null."""
    encoded = column.dictionary_encode()
    answers = pa.array([test(value) for value in encoded.dictionary.to_pylist()], pa.bool_())
    return pc.fill_null(answers.take(encoded.indices), null)


def written(value: Any) -> str:
    """A cell as a report writes it: numbers of the data with a decimal point (``12.0``), lists in brackets."""
    if isinstance(value, (list, tuple)):
        return str([each if each not in (None, "") else None for each in value])
    return "" if value is None else str(value)


def codes_of(columns: Sequence[Column], size: int) -> tuple[np.ndarray[Any, Any], int]:
    """A number for each row, equal where the rows agree in all columns (null equals null), and how many there are."""
    codes, count = np.zeros(size, np.int32), 1
    for column in columns:
        if isinstance(column, Lists):
            own, many = _list_codes(column), len(column.lists) + 1
        else:
            encoded = column.dictionary_encode()
            many = len(encoded.dictionary) + 1
            own = pc.fill_null(encoded.indices.cast(pa.int64()), many - 1).to_numpy(zero_copy_only=False)
        joined = pa.array(codes.astype(np.int64) * many + own).dictionary_encode()
        codes, count = joined.indices.to_numpy(zero_copy_only=False), len(joined.dictionary)
    return codes, count


def _list_codes(column: Lists) -> np.ndarray[Any, Any]:
    if column.codes is None:
        return np.zeros(column.size, np.int64)
    found: np.ndarray[Any, Any] = pc.fill_null(column.codes, len(column.lists)).to_numpy(zero_copy_only=False)
    return found
