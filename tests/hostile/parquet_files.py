"""Parquet files written byte by byte, so that a file can claim what no library would write.

Source: Apache Parquet, "File Format" (parquet.thrift); Apache Thrift, compact protocol.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

PLAIN, RLE, DELTA_BYTE_ARRAY, RLE_DICTIONARY = 0, 3, 7, 8
_CODECS = {None: 0, "snappy": 1, "gzip": 2, "zstd": 6}


@dataclass
class Page:
    """A page: its bytes before compression, what its header says of them, and whether it is a dictionary."""

    data: bytes
    values: int
    encoding: int = PLAIN
    dictionary: bool = False
    unpacked: int | None = None
    """The size that the header claims; the right one when absent."""
    packed: bytes | None = None
    """The compressed bytes, where they are made beforehand."""


@dataclass
class Column:
    """A column chunk of a row group: its pages, and what the footer claims of it (the truth when absent)."""

    pages: Sequence[Page]
    claims: dict[int, Any] = field(default_factory=dict)
    """Fields of ColumnMetaData by their number, such as 6 for the size before compression; None leaves one out."""
    file: str = ""
    """Another file in which the chunk is said to be."""
    more: dict[int, Any] = field(default_factory=dict)
    """Fields of ColumnChunk by their number, such as 8 for how it is encrypted; None as in `claims`."""


def plain(*cells: bytes) -> Page:
    """A data page of required text columns, each cell spelt out."""
    return Page(b"".join(struct.pack("<I", len(cell)) + cell for cell in cells), len(cells))


def entries(*cells: bytes) -> Page:
    """A dictionary page."""
    return Page(plain(*cells).data, len(cells), dictionary=True)


def huge(size: int) -> Page:
    """A dictionary page with one text of so many bytes, made of frames of zstd, so that it is nowhere whole."""
    frame, rest = 1 << 20, pa.compress(b"x" * (size % (1 << 20)), "zstd", asbytes=True)
    packed = pa.compress(struct.pack("<I", size), "zstd", asbytes=True)
    packed += pa.compress(b"x" * frame, "zstd", asbytes=True) * (size // frame) + rest
    return Page(b"", 1, dictionary=True, unpacked=size + 4, packed=packed)


def grown(first: bytes, count: int) -> Page:
    """A data page of `count` texts that are all `first`: each but the first shares all its bytes with the one before.

    Source: Apache Parquet, "Encodings" (DELTA_BYTE_ARRAY, DELTA_BINARY_PACKED).
    """
    shared = _deltas(0, len(first), count)
    own = _deltas(len(first), 0, count)
    return Page(shared + own + first, count, DELTA_BYTE_ARRAY)


def _deltas(first: int, other: int, count: int) -> bytes:
    """The numbers `first`, `other`, `other` ... as DELTA_BINARY_PACKED, in blocks of 128 with one part each."""
    head = _varint(128) + _varint(1) + _varint(count) + _zigzag(first)
    steps = [other - first] + [0] * (count - 2)
    made = bytearray(head)
    for at in range(0, len(steps), 128):
        block = steps[at : at + 128]
        least = min(block)
        width = max((step - least).bit_length() for step in block)
        bits = sum((step - least) << (place * width) for place, step in enumerate(block))
        made += _zigzag(least) + bytes([width]) + bits.to_bytes(width * 16, "little")
    return bytes(made)


def same(count: int, index: int = 0) -> Page:
    """A data page that names one entry of the dictionary `count` times: a run, whatever its length, takes few bytes."""
    return Page(b"\x08" + _varint(count << 1) + bytes([index]), count, RLE_DICTIONARY)


def write(
    path: Path,
    groups: Sequence[tuple[int, Sequence[Column]]],
    names: Sequence[str],
    *,
    codec: str | None = "zstd",
    rows: int | None = None,
    schema: Sequence[dict[int, Any]] | None = None,
) -> Path:
    """Writes a file of required text columns.

    Args:
        path: the file; groups: the rows of each row group and its columns; names: the columns.
        codec: the compression; rows: the rows that the footer claims; schema: the schema's elements instead of the
            ones of text columns.
    """
    body, made = bytearray(b"PAR1"), []
    for count, columns in groups:
        chunks = [_chunk(body, column, name, codec) for column, name in zip(columns, [*names, *names], strict=False)]
        made.append({1: chunks, 2: 1, 3: count})
    root = {4: b"schema", 5: I32(len(names))}
    leaves = [{1: I32(6), 3: I32(0), 4: name.encode(), 6: I32(0)} for name in names]
    total = sum(count for count, _ in groups) if rows is None else rows
    footer = _struct({1: I32(1), 2: list(schema or [root, *leaves]), 3: total, 4: made})
    path.write_bytes(bytes(body) + footer + struct.pack("<I", len(footer)) + b"PAR1")
    return path


def nested(depth: int) -> list[dict[int, Any]]:
    """The elements of a schema of groups within one another, with one column in the innermost."""
    group = {3: I32(1), 4: b"g", 5: I32(1)}
    return [{4: b"schema", 5: I32(1)}, *[group] * depth, {1: I32(6), 3: I32(0), 4: b"A", 6: I32(0)}]


def _chunk(body: bytearray, column: Column, name: str, codec: str | None) -> dict[int, Any]:
    start, unpacked, first = len(body), 0, 0
    for page in column.pages:
        packed = page.packed or (pa.compress(page.data, codec, asbytes=True) if codec else page.data)
        about = {1: I32(page.values), 2: I32(page.encoding)}
        size = len(page.data) if page.unpacked is None else page.unpacked
        header = _struct(
            {1: I32(2 if page.dictionary else 0), 2: I32(size), 3: I32(len(packed))}
            | ({7: about} if page.dictionary else {5: about | {3: I32(RLE), 4: I32(RLE)}})
        )
        first = first or (0 if page.dictionary else len(body))
        body += header + packed
        unpacked += len(header) + size
    meta: dict[int, Any] = {
        1: I32(6),
        2: [I32(PLAIN), I32(RLE), I32(RLE_DICTIONARY)],
        3: [name.encode()],
        4: I32(_CODECS[codec]),
        5: sum(page.values for page in column.pages if not page.dictionary),
        6: unpacked,
        7: len(body) - start,
        9: first,
    }
    if column.pages and column.pages[0].dictionary:
        meta[11] = start
    return ({1: column.file.encode()} if column.file else {}) | {2: start, 3: meta | column.claims} | column.more


class I32(int):
    """A number that is written as i32; other numbers are i64."""


def _varint(number: int) -> bytes:
    made = bytearray()
    while number >= 0x80:
        made.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*made, number])


def _zigzag(number: int) -> bytes:
    return _varint((number << 1) ^ (number >> 63))


def _kind(value: Any) -> int:
    kinds = ((I32, 5), (int, 6), (bytes, 8), (list, 9), (dict, 12))
    return next(kind for python, kind in kinds if isinstance(value, python))


def _struct(fields: dict[int, Any]) -> bytes:
    made, last = bytearray(), 0
    for number, value in sorted(fields.items()):
        if value is None:
            continue
        made.append((number - last) << 4 | _kind(value))
        made += _value(value)
        last = number
    return bytes(made) + b"\0"


def _value(value: Any) -> bytes:
    if isinstance(value, bytes):
        return _varint(len(value)) + value
    if isinstance(value, int):
        return _zigzag(value)
    if isinstance(value, dict):
        return _struct(value)
    kind = _kind(value[0]) if value else 12
    head = bytes([len(value) << 4 | kind]) if len(value) < 15 else bytes([0xF0 | kind]) + _varint(len(value))
    return head + b"".join(map(_value, value))
