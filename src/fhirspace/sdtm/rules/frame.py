"""The rows that a check looks at: the records of a dataset, joined ones beside them, and computed columns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from fhirspace.sdtm.rules.errors import CannotRun, MissingColumn
from fhirspace.sdtm.rules.model import Check
from fhirspace.sdtm.rules.study import Dataset
from fhirspace.sdtm.rules.values import TEXT, Column, Lists, codes_of, take

Source = Callable[[], Column]


@dataclass
class Frame:
    """Columns of one length. A column of the data is typed and loaded when it is first asked for.

    Attributes:
        dataset: the dataset under judgement. rows: the number of each record in its file; null for none.
        files: the name of each row's own dataset, where split datasets are judged together.
        memo: flags of conditions that were evaluated on these rows; rules share them.
    """

    dataset: Dataset
    size: int
    rows: pa.Array
    sources: dict[str, Source]
    files: pa.Array | None = None
    memo: dict[Any, Any] = field(default_factory=dict, repr=False)
    _loaded: dict[str, Column] = field(default_factory=dict, repr=False)

    @property
    def names(self) -> list[str]:
        """The names of all columns, in order."""
        return list(self.sources)

    def has(self, name: str) -> bool:
        """Whether there is such a column."""
        return name in self.sources

    def column(self, name: str) -> Column:
        """A column by its name. Raises MissingColumn."""
        if name not in self._loaded:
            if name not in self.sources:
                raise MissingColumn(name)
            self._loaded[name] = self.sources[name]()
        return self._loaded[name]

    def target(self, check: Check) -> Column:
        """The column that a condition looks at. Raises MissingColumn."""
        return self.column(self.resolve(check.name))

    def array(self, check: Check) -> pa.Array:
        """The same where a list makes no sense. Raises CannotRun for one."""
        return self.plain(self.resolve(check.name))

    def plain(self, name: str) -> pa.Array:
        """A column of single values. Raises MissingColumn; CannotRun for a column of lists."""
        column = self.column(name)
        if isinstance(column, Lists):
            raise CannotRun(f"{name} is a list")
        return column

    def resolve(self, value: Any) -> Any:
        """A name or value in which a leading ``--`` is the prefix of the dataset; the same in each item of a list."""
        if isinstance(value, tuple):
            return tuple(map(self.resolve, value))
        starts = isinstance(value, str) and value.startswith("--")
        return self.dataset.prefix + value[2:] if starts else value

    def operand(self, check: Check) -> tuple[Column | None, Any]:
        """What a condition compares with: a column where its value names one, else None and the value itself."""
        value = self.resolve(check.value)
        if isinstance(value, str) and not check.literal and self.has(value):
            return self.column(value), value
        return None, value

    def expand(self, names: Any) -> list[str]:
        """Names of columns out of a value: lists are opened, and a column of lists stands for what it lists."""
        found: list[str] = []
        for given in names if isinstance(names, tuple) else (names,):
            name = self.resolve(given)
            column = self.column(name) if isinstance(name, str) and self.has(name) else None
            if isinstance(name, tuple):
                found += self.expand(name)
            elif isinstance(column, Lists):
                found += map(str, column.at(0) or () if self.size else ())
            else:
                found.append(str(name))
        return found

    def codes(self, names: Sequence[str]) -> tuple[Any, int]:
        """A number for each row by its cells in some columns, and how many numbers; see `codes_of`."""
        key = ("codes", tuple(names))
        if key not in self.memo:
            self.memo[key] = codes_of([self.column(name) for name in names], self.size)
        codes: tuple[Any, int] = self.memo[key]
        return codes

    def with_column(self, name: str, column: Column) -> Frame:
        """The frame with one more column; nothing that was evaluated without it is reused."""
        return replace(
            self,
            sources={**self.sources, name: lambda: column},
            memo={},
            _loaded={key: value for key, value in self._loaded.items() if key != name},
        )

    def taken(self, rows: pa.Array, more: Mapping[str, Source]) -> Frame:
        """Some rows of the frame, perhaps several times, with further columns beside them."""
        own = {name: self._take(name, rows) for name in self.sources}
        files = None if self.files is None else self.files.take(rows)
        return Frame(self.dataset, len(rows), self.rows.take(rows), {**own, **more}, files)

    def _take(self, name: str, rows: pa.Array) -> Source:
        return lambda: take(self.column(name), rows)


def of_dataset(dataset: Dataset) -> Frame:
    """The records of a dataset."""
    sources: dict[str, Source] = {name: _source(dataset, name) for name in dataset.names}
    return Frame(dataset, dataset.table.num_rows, dataset.rows, sources)


def of_columns(dataset: Dataset, columns: Mapping[str, Column], size: int, rows: pa.Array | None = None) -> Frame:
    """A frame of computed columns; its rows are numbered from 1 where no numbers are given."""
    numbers = pa.array(range(1, size + 1), pa.int64()) if rows is None else rows
    return Frame(dataset, size, numbers, {name: _given(column) for name, column in columns.items()})


def stacked(frames: Sequence[Frame]) -> Frame:
    """The rows of several frames of split datasets, one after the other; a column that one lacks is null there."""
    if len(frames) == 1:
        return frames[0]
    names = list(dict.fromkeys(name for frame in frames for name in frame.names))
    files = [pa.repeat(pa.scalar(frame.dataset.name), frame.size) for frame in frames]
    sources: dict[str, Source] = {name: _stacked(frames, name) for name in names}
    size = sum(frame.size for frame in frames)
    return Frame(frames[0].dataset, size, pa.concat_arrays([f.rows for f in frames]), sources, pa.concat_arrays(files))


def _source(dataset: Dataset, name: str) -> Source:
    return lambda: dataset.column(name)


def _given(column: Column) -> Source:
    return lambda: column


def _stacked(frames: Iterable[Frame], name: str) -> Source:
    return lambda: joined([frame.column(name) if frame.has(name) else pa.nulls(frame.size) for frame in frames])


def joined(columns: Sequence[Column]) -> pa.Array:
    """Columns one after the other, as numbers where all are numbers and as texts otherwise."""
    arrays = [column for column in columns if not isinstance(column, Lists)]
    if len(arrays) < len(columns):
        raise CannotRun("lists of split datasets cannot be judged together")
    kinds = {column.type for column in arrays if column.null_count < len(column)}
    kind = kinds.pop() if len(kinds) == 1 else TEXT
    return pa.concat_arrays([column.cast(kind) for column in arrays])
