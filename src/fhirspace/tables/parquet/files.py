"""Parquet files to text tables and back, in bounded memory and with the same bytes for the same table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from math import isinf
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fhirspace.errors import InputError, Place
from fhirspace.tables import description
from fhirspace.tables.parquet.check import FAULTS, Files, Plan, check_footer, check_shape, described, plan, rows_at_once
from fhirspace.tables.parquet.footer import Group
from fhirspace.tables.slices import Account, check_utf8, joined
from fhirspace.tables.text import (
    DICTIONARY,
    FILE,
    ROW,
    TEXT,
    blank_to_null,
    data_columns,
    decode,
    file_column,
    number_text,
    row_column,
    with_provenance,
)

ROW_GROUP = 131_072
"""Rows that `write` puts into a row group."""
_REPEATING = 4.0


def batches(path: Path, *, size: int = 32_768, use_threads: bool = False) -> Iterator[pa.RecordBatch]:
    """The rows of a Parquet file as batches of text with ``@file`` and ``@row``, one row group in memory at a time.

    Text whose values repeat comes as ``dictionary<int32, string>``. Numbers, dates, times and truth values become
    their canonical text: the shortest exact decimal, ISO 8601, ``true`` and ``false``; decimals keep their scale.

    Args:
        path: the file.
        size: the most rows of a batch.
        use_threads: whether pyarrow may decode columns in parallel.

    Raises:
        InputError: FS101 (no file), FS103 (no row), FS107, FS108 and FS116 (column names), FS121 (not readable), FS122
            (a column without a text form), FS160 (more than a bound allows).
    """
    with _opened(path) as opened:
        yield from _batches(opened, size, use_threads)


def read(path: Path, *, use_threads: bool = True, empty: bool = False) -> pa.Table:
    """A whole Parquet file as a text table with its description (`tables.description`); see `batches`.

    If `empty`, one without rows is a table without rows.
    """
    with _shown(path) as file:
        about = description.of(file.schema_arrow)
        rows = file.metadata.num_rows
    if empty and not rows:
        columns = {column.name: pa.array([], TEXT) for column in about.columns}
        table = with_provenance(pa.table(columns), path.name)
    else:
        table = pa.Table.from_batches(batches(path, use_threads=use_threads)).unify_dictionaries()
    return description.described(table, about) if about.says_more or about.name else table


def count(path: Path) -> int:
    """The number of rows; raises what `batches` raises before its first batch."""
    with _opened(path) as opened:
        return int(opened.file.metadata.num_rows)


def names(path: Path) -> list[str]:
    """The names of the columns. Raises InputError as `batches` does, but for what the pages show."""
    with _shown(path) as file:
        return list(file.schema_arrow.names)


def write(
    table: pa.Table,
    path: Path,
    *,
    metadata: Mapping[str, str] | None = None,
    about: description.Description | None = None,
) -> None:
    """Writes the data columns of a text table with zstd, a row group at a time.

    Args:
        table: a text table; how it is chunked and encoded does not change the bytes.
        path: the file, which is replaced.
        metadata: texts kept in the file's schema.
        about: the description of the dataset and its variables, kept there too.
    """
    names = data_columns(table)
    about = about or description.Description()
    titles = {"name": about.name, "label": about.label}
    pairs = {**(metadata or {}), **{key: text for key, text in titles.items() if text}}
    known = {column.name: description.field_metadata(column) for column in about.columns}
    fields = [pa.field(name, TEXT, metadata=known.get(name) or None) for name in names]
    schema = pa.schema(fields, metadata=dict(sorted(pairs.items())) or None)
    with pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=True) as writer:
        for start in range(0, table.num_rows, ROW_GROUP):
            rows = table.slice(start, ROW_GROUP)
            columns = [_combined(decode(rows.column(name))) for name in names]
            writer.write_table(pa.table(columns, schema=schema), row_group_size=ROW_GROUP)


def _combined(column: pa.ChunkedArray) -> pa.Array:
    combined = column.combine_chunks()
    return pa.concat_arrays(combined.chunks) if isinstance(combined, pa.ChunkedArray) else combined


class _File(NamedTuple):
    """An open file, the same to be looked at, and how it is to be unpacked."""

    name: str
    file: pq.ParquetFile
    files: Files
    plan: Plan
    dictionaries: frozenset[str]
    """The columns that are given as dictionaries."""


@contextmanager
def _readable(place: Place) -> Iterator[None]:
    """Whatever a damaged file makes the libraries raise, as the error that names it."""
    try:
        yield
    except FAULTS:
        raise InputError("FS121", place, "a whole Parquet file") from None


@contextmanager
def _shown(path: Path) -> Iterator[pq.ParquetFile]:
    """The file with its footer and its columns looked at."""
    if not path.is_file():
        raise InputError("FS101", Place(path.name), "a Parquet file")
    with _readable(Place(path.name)):
        check_footer(path)
        file = pq.ParquetFile(path)
    with file:
        with _readable(Place(path.name)):
            check_shape(file, path.name)
            _check_types(file.schema_arrow, path.name)
        yield file


@contextmanager
def _opened(path: Path) -> Iterator[_File]:
    """The file with its pages looked at as well."""
    with _shown(path) as shown, path.open("rb", buffering=0) as stream, ExitStack() as stack:
        with _readable(Place(path.name)):
            groups = described(shown, stream)
            found = plan(shown, stream, groups, path.name)
            repeating = frozenset(_repeating(shown.schema_arrow, groups)) - found.spelt
            coded = [*(found.coded | repeating)]
            file = stack.enter_context(pq.ParquetFile(path, read_dictionary=coded, pre_buffer=False))
            probe = stack.enter_context(
                pq.ParquetFile(path, read_dictionary=[*(found.mixed - found.spelt)], buffer_size=1 << 16)
            )
            made = frozenset(field.name for field in shown.schema_arrow if pa.types.is_dictionary(field.type))
        yield _File(path.name, file, Files(shown, stream, groups, probe), found, repeating | made)


def _check_types(schema: pa.Schema, file: str) -> None:
    for field in schema:
        if converter(field.type) is None:
            raise InputError("FS122", Place(file, None, field.name), "text, numbers, dates, times or truth values")


def _repeating(schema: pa.Schema, groups: Sequence[Group]) -> list[str]:
    """The text columns whose values take few bytes a row, which says that they repeat."""
    found = []
    for i, field in enumerate(schema):
        chunks = [group.chunks[i] for group in groups]
        count = sum(chunk.values for chunk in chunks)
        size = sum(chunk.unpacked for chunk in chunks)
        if field.type == TEXT and count and size / count <= _REPEATING:
            found.append(field.name)
    return found


def _batches(opened: _File, size: int, use_threads: bool) -> Iterator[pa.RecordBatch]:
    file, row = opened.file, 2
    account = Account(opened.name, opened.files.stream.seek(0, 2))
    for group in range(file.num_row_groups):
        with _readable(Place(opened.name, row)):
            for batch in _raw(opened, group, size, use_threads):
                for part in account.parts(_converted(batch, opened.name, row), row):
                    yield _as_text(part, opened, row)
                    row += part.num_rows
    if row - 2 != file.metadata.num_rows:
        raise InputError("FS121", Place(opened.name, row), "as many rows as its footer says")
    if row == 2:
        raise InputError("FS103", Place(opened.name), "at least one row")


def _raw(opened: _File, group: int, size: int, use_threads: bool) -> Iterator[pa.RecordBatch]:
    """The rows of a row group as pyarrow gives them, in batches of `size` rows or of as many as fit into memory."""
    file, found = opened.file, opened.plan
    rows = at_once = _even(file, group, size)
    if group in found.large or found.mixed:
        at_once = rows_at_once(opened.files, group, found.mixed, rows)
    unpacked = file.iter_batches(batch_size=at_once, row_groups=[group], use_threads=use_threads)
    return unpacked if at_once == rows else joined(unpacked, rows)


def _even(file: pq.ParquetFile, group: int, size: int) -> int:
    """Rows of a batch, `size` at most, so that those of a row group are alike: a few left over cost as much as many."""
    rows = max(int(file.metadata.row_group(group).num_rows), 1)
    return -(-rows // -(-rows // size))


def _converted(batch: pa.RecordBatch, file: str, row: int) -> pa.RecordBatch:
    """The batch with texts where it had anything else than dictionaries of texts."""
    columns = []
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        made = _text(column)
        check_utf8(made, Place(file, row, name))
        if pa.types.is_temporal(column.type) and pc.any(pc.starts_with(made, "<")).as_py():
            raise InputError("FS121", Place(file, row, name), "dates and times that exist")
        columns.append(blank_to_null(made))
    return pa.RecordBatch.from_arrays(columns, batch.schema.names)


def _as_text(batch: pa.RecordBatch, opened: _File, row: int) -> pa.RecordBatch:
    columns = {
        name: column if name in opened.dictionaries else decode(column)
        for name, column in zip(batch.schema.names, batch.columns, strict=True)
    }
    columns[FILE] = file_column(opened.name, batch.num_rows)
    columns[ROW] = row_column(row, batch.num_rows)
    return pa.RecordBatch.from_arrays(list(columns.values()), list(columns))


def _text(column: pa.Array) -> pa.Array:
    convert = converter(column.type)
    if convert is None:  # pragma: no cover - `_check` has refused the file
        raise InputError("FS122", Place(""))
    return convert(column)


def converter(kind: Any) -> Callable[[pa.Array], pa.Array] | None:
    """How a column of an Arrow type becomes text; None for a type that has no text form."""
    is_type = pa.types
    if is_type.is_dictionary(kind):
        return _from_dictionary if kind.value_type in (TEXT, pa.large_string()) else None
    tests: list[tuple[Callable[[Any], bool], Callable[[pa.Array], pa.Array]]] = [
        (lambda t: t == TEXT, lambda array: array),
        (is_type.is_floating, _from_floats),
        (is_type.is_decimal, _from_decimals),
        (is_type.is_timestamp, _from_timestamps),
        (is_type.is_time, _from_times),
        (_casts, lambda array: array.cast(TEXT)),
    ]
    return next((convert for test, convert in tests if test(kind)), None)


def _casts(kind: Any) -> bool:
    is_type = pa.types
    simple = (is_type.is_integer, is_type.is_boolean, is_type.is_date32, is_type.is_null)
    return any(test(kind) for test in (*simple, is_type.is_large_string, is_type.is_string_view, is_type.is_date64))


def _from_dictionary(array: pa.Array) -> pa.Array:
    # Parquet keeps dictionaries of text only; those of other values have come back as plain columns.
    return array if array.type == DICTIONARY else array.cast(DICTIONARY)


def _from_floats(array: pa.Array) -> pa.Array:
    if array.type == pa.float16():
        array = array.cast(pa.float32())
    coded = array.dictionary_encode()
    # The text of a single-precision number is the shortest that names it: 0.1, not 0.10000000149011612.
    numbers = coded.dictionary.cast(TEXT) if array.type == pa.float32() else coded.dictionary
    texts = [_float_text(float(number)) for number in numbers.to_pylist()]
    return pc.take(pa.array(texts, TEXT), coded.indices)


def _float_text(number: float) -> str | None:
    """`number_text`, and an infinity as ``inf``: unlike NaN, it does not say that a number is missing."""
    return str(number) if isinf(number) else number_text(number)


def _from_decimals(array: pa.Array) -> pa.Array:
    coded = array.dictionary_encode()
    texts = [format(number, "f") for number in coded.dictionary.to_pylist()]
    return pc.take(pa.array(texts, TEXT), coded.indices)


def _from_timestamps(array: pa.Array) -> pa.Array:
    text = _from_times(pc.replace_substring(array.cast(TEXT), " ", "T", max_replacements=1))
    return pc.replace_substring_regex(text, r"(T.*[+-]\d\d)(\d\d)$", r"\1:\2")


def _from_times(array: pa.Array) -> pa.Array:
    text = array.cast(TEXT)
    text = pc.replace_substring_regex(text, r"(\.\d*?)0+(Z|[+-]\d.*)?$", r"\1\2")
    return pc.replace_substring_regex(text, r"\.(Z|[+-]\d.*)?$", r"\1")
