"""SAS transport files of version 5 to text tables."""

from __future__ import annotations

import codecs
import mmap
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.errors import InputError, Place, Problem
from fhirspace.foreign import counted
from fhirspace.tables.description import Column, Kind, field_metadata
from fhirspace.tables.text import DICTIONARY, SAMPLE, TEXT, decode, encode, number_text, repeats, with_provenance
from fhirspace.tables.xpt import dates, numbers
from fhirspace.tables.xpt.headers import Field, Member, mapped, member, spans

_LAST = "windows-1252"
"""The encoding of texts that are not UTF-8."""
_ROWS, _BYTES = 250_000, 1 << 25
"""Rows, and bytes, that are read at a time."""


class Dataset(NamedTuple):
    """A dataset of a file: its name, and where it begins and ends, so that the file is searched for datasets once."""

    name: str
    span: tuple[int, int]


def datasets(path: Path) -> list[Dataset]:
    """The datasets of a file, in its order; raises what `read` raises of its header records."""
    with mapped(path) as content:
        return [Dataset(member(content, span, path.name).name, span) for span in spans(content, path.name)]


def read(
    path: Path, dataset: Dataset | str | None = None, *, encoding: str | None = None, empty: bool = False
) -> tuple[pa.Table, list[Problem]]:
    """Reads a dataset to text: numbers as their shortest exact text, text without blanks and NUL at its end.

    Numbers with a format of dates or times become ISO 8601 text. The table has a description (`tables.description`):
    of each variable the label, type (Char or Num), length, format and informat, of the dataset its name and label.
    Missing numbers, the special ones (.A to .Z) too, become null.

    Args:
        path: the file.
        dataset: where the file holds several: one of its `datasets`, or its name.
        encoding: that of the texts; UTF-8 when absent, or else Windows-1252, where they look like it.
        empty: a dataset without rows is a table without rows, instead of an error.

    Returns:
        The text table with ``@file`` and ``@row`` (the first row is 2), and what was noticed: FS138 when the text was
        not UTF-8 and was read as Windows-1252, FS130 for each special missing value, FS158 for each variable with
        dates, FS159 for each of its numbers that is no date, FS170 where texts that are UTF-8
        were read in the `encoding`.

    Raises:
        InputError: FS101 (no file), FS103 (no row), FS104 (cut short), FS131 (neither version 5 nor 8, or several
            datasets and none named), FS148 (the encoding is not clear, or another one than given), FS160 (more than a
            bound allows).
    """
    with mapped(path) as content:
        found = _chosen(content, dataset, path.name)
        if not found.rows and not empty:
            raise InputError("FS103", Place(path.name), "at least one row")
        reader = _Reader(content, found, path.name)
        table, problems = _decoded(reader, encoding)
    return with_provenance(table, path.name), problems


def _chosen(content: mmap.mmap, dataset: Dataset | str | None, file: str) -> Member:
    if isinstance(dataset, Dataset):
        return member(content, dataset.span, file)
    found = spans(content, file)
    if dataset is None and len(found) > 1:
        raise InputError("FS131", Place(file), "one dataset", f"it holds {counted(len(found), 'dataset')}")
    for each in (member(content, span, file) for span in found):
        if dataset in (None, each.name):
            return each
    raise InputError("FS131", Place(file), "the dataset that was asked for")


def _decoded(reader: _Reader, encoding: str | None) -> tuple[pa.Table, list[Problem]]:
    unclear = InputError(
        "FS148", Place(reader.file), f"text in {encoding or 'UTF-8'} (`--encoding NAME` allows another)"
    )
    try:
        table, problems = reader.table(encoding or "utf-8")
    except UnicodeDecodeError:
        if encoding:
            raise unclear from None
    else:
        also = [Problem("FS170", Place(reader.file), "UTF-8", detail=f"read as {encoding}")] if reader.is_utf8 else []
        return table, [*also, *problems]
    try:
        table, problems = reader.table(_LAST)
    except UnicodeDecodeError:
        raise unclear from None
    if reader.is_foreign:
        raise unclear
    return table, [Problem("FS138", Place(reader.file), "UTF-8"), *problems]


class _Reader:
    """The rows of one dataset; a second call of `table` reads them again, with another encoding."""

    def __init__(self, content: mmap.mmap, member: Member, file: str) -> None:
        self._content, self._member, self.file = content, member, file
        self.is_foreign = False
        self._wide = self._narrow = False  # whether texts beyond ASCII are UTF-8, and whether some are not

    @property
    def is_utf8(self) -> bool:
        """Whether all texts beyond ASCII that were read in another encoding are UTF-8 as well."""
        return self._wide and not self._narrow

    def table(self, encoding: str) -> tuple[pa.Table, list[Problem]]:
        """The rows without provenance, and what was noticed; raises UnicodeDecodeError."""
        fields = self._member.fields
        parts: list[list[pa.Array]] = [[] for _ in fields]
        problems: list[Problem] = []
        for first, cells in self._blocks():
            for field, arrays in zip(fields, parts, strict=True):
                own = cells[:, field.offset : field.offset + field.length]
                if field.number:
                    arrays.append(self._numbers(own, field, first, problems))
                else:
                    arrays.append(self._texts(own, encoding))
        columns = [_column(arrays) for arrays in parts]
        schema = pa.schema(
            [_described(field, encoding) for field in fields],
            {"name": self._member.name, "label": self._member.label.decode(encoding)},
        )
        typed = [field.with_type(column.type) for field, column in zip(schema, columns, strict=True)]
        problems += [_dates_read(field, self.file) for field in fields if field.number and dates.meaning(field.format)]
        return pa.Table.from_arrays(columns, schema=pa.schema(typed, schema.metadata)), problems

    def _blocks(self) -> Iterator[tuple[int, numbers.Bytes]]:
        """Some rows at a time: the number of the first, and their bytes, a row each."""
        member = self._member
        at_once = max(1, min(_ROWS, _BYTES // member.width))
        for first in range(0, member.rows, at_once):
            count = min(at_once, member.rows - first)
            start = member.start + first * member.width
            block = self._content[start : start + count * member.width]
            yield first, np.frombuffer(block, np.uint8).reshape(count, member.width)

    def _texts(self, cells: numbers.Bytes, encoding: str) -> pa.Array:
        values = pa.py_buffer(np.ascontiguousarray(cells))
        coded = pa.FixedSizeBinaryArray.from_buffers(pa.binary(cells.shape[1]), len(cells), [None, values])
        coded = coded.dictionary_encode()
        distinct = [value.rstrip(b" \0") for value in coded.dictionary.to_pylist()]
        if encoding == _LAST:
            self.is_foreign = self.is_foreign or any(map(_looks_foreign, distinct))
        if codecs.lookup(encoding).name != "utf-8":
            self._compare([value for value in distinct if not value.isascii()])
        texts = pa.array([value.decode(encoding) or None for value in distinct], TEXT)
        return _coded(coded.indices, texts)

    def _compare(self, texts: list[bytes]) -> None:
        for text in texts:
            try:
                text.decode()
                self._wide = True
            except UnicodeDecodeError:
                self._narrow = True

    def _numbers(self, cells: numbers.Bytes, field: Field, first: int, problems: list[Problem]) -> pa.Array:
        values, missing = numbers.read(cells)
        special = np.flatnonzero((missing != 0) & (missing != numbers.PLAIN_MISSING))
        for row in special.tolist():
            at = Place(self.file, first + row + 2, field.name)
            problems.append(Problem("FS130", at, "a number or the plain missing value"))
        coded = pa.array(values, from_pandas=True).dictionary_encode()
        distinct, kind = coded.dictionary.to_pylist(), dates.meaning(field.format)
        texts = [number_text(value) for value in distinct]
        if kind:
            days = [dates.iso(value, kind) for value in distinct]
            wrong = pa.array([at for at, day in enumerate(days) if day is None], pa.int32())
            for row in pc.indices_nonzero(pc.is_in(coded.indices, value_set=wrong)).to_pylist() if len(wrong) else ():
                problems.append(Problem("FS159", Place(self.file, first + row + 2, field.name), f"a {kind}"))
            texts = [day or text for day, text in zip(days, texts, strict=True)]
        return _coded(coded.indices, pa.array(texts, TEXT))


def _coded(indices: pa.Array, texts: pa.Array) -> pa.DictionaryArray:
    """Cells as indices into their texts, which take a fraction of the memory while the other rows are read."""
    places = pa.array(np.cumsum(texts.is_valid().to_numpy(zero_copy_only=False)) - 1, pa.int32())
    places = pc.if_else(texts.is_valid(), places, pa.scalar(None, pa.int32()))  # a missing cell is no text
    return pa.DictionaryArray.from_arrays(places.take(indices), texts.drop_null())


def _column(arrays: list[pa.Array]) -> pa.ChunkedArray:
    """The cells of all blocks, which are given up: as a dictionary if they repeat, else as text."""
    column = pa.chunked_array(arrays, DICTIONARY)
    arrays.clear()
    plain = pa.chunked_array([decode(chunk) for chunk in column.slice(0, SAMPLE).chunks], TEXT)
    if repeats(plain):
        return encode(column)
    return pa.chunked_array([decode(chunk) for chunk in column.chunks], TEXT)


def _described(field: Field, encoding: str) -> pa.Field:
    """The field of a variable; of dates only the label is true of their texts."""
    label = field.label.decode(encoding)
    if field.number and dates.meaning(field.format):
        column = Column(field.name, label, "Char")
    else:
        kind: Kind = "Num" if field.number else "Char"
        column = Column(field.name, label, kind, field.length, field.format, field.informat)
    return pa.field(field.name, TEXT, metadata=field_metadata(column))


def _dates_read(field: Field, file: str) -> Problem:
    return Problem("FS158", Place(file, None, field.name), "ISO 8601 text", f"its format is {field.format}")


def _looks_foreign(value: bytes) -> bool:
    """Whether bytes are hardly a Western text: letters outside of ASCII outnumber the others, or pairs of bytes that
    East Asian encodings are made of, which would be a quotation mark or dash before an accented letter."""
    if value.isascii():
        return False
    high = sum(byte >= 0x80 for byte in value)
    low = sum(bytes([byte]).isalpha() for byte in value)
    pairs = any(0x81 <= lead <= 0x9F and trail >= 0x80 for lead, trail in pairwise(value))
    return pairs or (high >= 4 and high > low)
