"""The pages of a Parquet file as their headers describe them, read before any page is unpacked.

The footer says how large a column chunk is, but readers believe the headers of the pages. These are therefore read
here: the size that a page unpacks to, its number of values, and its encoding.

Source: Apache Parquet, "File Format" (parquet.thrift: PageHeader); Apache Thrift, compact protocol.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

import pyarrow as pa

from fhirspace.tables.parquet.footer import Described
from fhirspace.tables.parquet.thrift import I32, Damaged, struct

PLAIN, PLAIN_DICTIONARY, DELTA_BYTE_ARRAY, RLE_DICTIONARY = 0, 2, 7, 8
_DATA, _DICTIONARY, _DATA_V2 = 0, 2, 3
_HEADS = {_DATA: 5, _DICTIONARY: 7, _DATA_V2: 8}
"""By type of page, the field of its own header."""
_ENCODING = {_DATA: 2, _DICTIONARY: 2, _DATA_V2: 4}
"""By type of page, the field of that header with the encoding."""
_HEADER = {1: I32, 2: I32, 3: I32, **{_HEADS[kind]: {1: I32, _ENCODING[kind]: I32} for kind in _HEADS}}
_LENGTH = 4
"""Bytes that tell the length of a text."""
_FIRST_READ, _LARGEST_HEADER = 512, 1 << 24


class Page(NamedTuple):
    """A page as its header says.

    Attributes:
        dictionary: whether it is the dictionary.
        unpacked: the bytes that it unpacks to; values: how many it has; encoding: the number of their encoding.
        start, packed: where its content begins in the file, and the bytes that it takes there.
    """

    dictionary: bool
    unpacked: int
    values: int
    encoding: int
    start: int = 0
    packed: int = 0

    @property
    def coded(self) -> bool:
        """Whether it holds places in the dictionary instead of values."""
        return not self.dictionary and self.encoding in (PLAIN_DICTIONARY, RLE_DICTIONARY)


def pages(file: BinaryIO, chunk: Described) -> Iterator[Page]:
    """The pages of a column chunk that a reader would unpack, in their order.

    Args:
        file: the file, open for reading.
        chunk: what the footer says of the chunk.

    Raises:
        Damaged: a header is cut short or no header.
    """
    start, missing = chunk.start, chunk.values
    end = start + chunk.packed
    while missing > 0 and start < end:
        fields, size = _header(file, start)
        kind, packed = fields.get(1), fields.get(3, -1)
        if not isinstance(packed, int) or packed < 0:
            raise Damaged
        start += size
        if kind in _HEADS:
            page = _page(kind, fields)._replace(start=start, packed=packed)
            missing -= 0 if page.dictionary else page.values
            yield page
        start += packed


def text_length(file: BinaryIO, page: Page, codec: str) -> int | None:
    """The length of the texts of a dictionary where all have the same, None where they have not or it is not known.

    Args:
        file: the file, open for reading; page: the dictionary; codec: its compression, "" for none.
    """
    step, odd = divmod(page.unpacked, max(page.values, 1))
    if odd or step < _LENGTH:
        return None
    file.seek(page.start)
    try:
        data = pa.decompress(file.read(page.packed), page.unpacked, codec, asbytes=True)
    except (pa.ArrowException, OSError, ValueError):
        return None
    length = step - _LENGTH
    same = (data[at::step] == bytes([byte]) * page.values for at, byte in enumerate(length.to_bytes(_LENGTH, "little")))
    return length if all(same) else None


def _page(kind: int, fields: dict[int, Any]) -> Page:
    head = fields.get(_HEADS[kind])
    if not isinstance(head, dict):
        raise Damaged
    found = Page(kind == _DICTIONARY, fields.get(2, -1), head.get(1, -1), head.get(_ENCODING[kind], -1))
    if not all(isinstance(each, int) and each >= 0 for each in found):
        raise Damaged
    return found


def _header(file: BinaryIO, start: int) -> tuple[dict[int, Any], int]:
    """The fields of the header that begins at `start`, and its size; its statistics may make it long."""
    wanted = _FIRST_READ
    while True:
        file.seek(start)
        data = file.read(wanted)
        try:
            return struct(data, 0, _HEADER)
        except IndexError:
            if len(data) < wanted or wanted >= _LARGEST_HEADER:
                raise Damaged from None
            wanted *= 8
