"""The column chunks as the footer of a Parquet file describes them, read here instead of by pyarrow.

pyarrow ends the process where its C++ library refuses the description of a column chunk (statistics of another size,
an encrypted column, fewer chunks than columns): the exception passes through a call that cannot hand it on. Reading
the rows raises as it should, but what is unpacked has to be known before.

Source: Apache Parquet, "File Format" (parquet.thrift: FileMetaData, RowGroup, ColumnChunk, ColumnMetaData).
"""

from __future__ import annotations

from typing import Any, BinaryIO, NamedTuple

from fhirspace.tables.parquet.thrift import I32, I64, Damaged, struct

TAIL = 8
"""Bytes behind the footer: its size and the four letters that end the file."""
_CODECS = {1: "snappy", 2: "gzip", 4: "brotli", 6: "zstd"}
_CHUNK = {4: I32, 5: I64, 6: I64, 7: I64, 9: I64, 11: I64}
_FOOTER = {3: I64, 4: [{1: [{3: _CHUNK, 8: {}}], 3: I64}]}


class Described(NamedTuple):
    """A column chunk as the footer describes it.

    Attributes:
        codec: the name of its compression, "" for none and for those that are seldom used.
        values: how many values it has. unpacked, packed: its bytes before and after compression.
        data: where its first page with values begins; dictionary: where its dictionary does, None without one.
    """

    codec: str
    values: int
    unpacked: int
    packed: int
    data: int
    dictionary: int | None

    @property
    def start(self) -> int:
        """Where its first page begins."""
        return self.dictionary if self.dictionary and 0 < self.dictionary < self.data else self.data


class Group(NamedTuple):
    """A row group: its rows and its column chunks, in the order of the columns."""

    rows: int
    chunks: tuple[Described, ...]


def size(file: BinaryIO) -> int:
    """The bytes of the footer, as the end of the file says."""
    end = file.seek(0, 2)
    file.seek(max(end - TAIL, 0))
    return int.from_bytes(file.read(4), "little")


def groups(file: BinaryIO, columns: int) -> tuple[Group, ...]:
    """The row groups of a file that has so many columns, none of them nested.

    Raises:
        Damaged: the footer is none, or a row group has not one chunk for each column.
    """
    length, end = size(file), file.seek(0, 2)
    if length + TAIL > end:
        raise Damaged
    file.seek(end - TAIL - length)
    try:
        fields, _ = struct(file.read(length), 0, _FOOTER)
    except IndexError:
        raise Damaged from None
    return tuple(_group(each, columns) for each in fields.get(4, ()))


def _group(fields: dict[int, Any], columns: int) -> Group:
    chunks = fields.get(1, ())
    if len(chunks) != columns:
        raise Damaged
    return Group(fields.get(3, -1), tuple(map(_described, chunks)))


def _described(fields: dict[int, Any]) -> Described:
    about = fields.get(3, {})
    wanted = [about.get(number, -1) for number in (4, 5, 6, 7, 9)]
    if min(wanted) < 0 or 8 in fields:  # 8: it is encrypted
        raise Damaged
    codec, values, unpacked, packed, data = wanted
    return Described(_CODECS.get(codec, ""), values, unpacked, packed, data, about.get(11))
