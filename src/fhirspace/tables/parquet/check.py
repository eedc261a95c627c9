"""What must hold of a Parquet file before it is unpacked, and how it is unpacked in bounded memory.

A few bytes of Parquet can unpack to gigabytes: a page that compresses well, a long text that many rows name by its
place in a dictionary, a text whose beginning is that of the text before it. The footer and the headers of the pages
show the first; the others decide how many rows are unpacked at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fhirspace.errors import InputError, Place
from fhirspace.limits import expands_too_far, limit, too_much
from fhirspace.tables.parquet import footer
from fhirspace.tables.parquet.footer import Group
from fhirspace.tables.parquet.pages import DELTA_BYTE_ARRAY, PLAIN, Page, pages, text_length
from fhirspace.tables.parquet.thrift import Damaged
from fhirspace.tables.slices import BUDGET
from fhirspace.tables.text import TEXT, is_reserved

FAULTS = (pa.ArrowException, OSError, MemoryError, UnicodeError, OverflowError, Damaged)
"""What reading a damaged file raises."""


class Chunk(NamedTuple):
    """The pages of a column chunk, summed up.

    Attributes:
        total: bytes unpacked; resident: those of the dictionary and the largest other page.
        coded: values that are places in the dictionary; mixed: there are other values beside them.
        spelt: some are in an encoding that pyarrow does not read as a dictionary.
        shared: the largest page whose texts share beginnings (DELTA_BYTE_ARRAY).
        plain: values and bytes of each page that spells its values out.
        dictionary: its page.
    """

    total: int
    resident: int
    coded: int
    mixed: bool
    spelt: bool
    shared: int
    plain: tuple[tuple[int, int], ...]
    dictionary: Page | None


class Files(NamedTuple):
    """One file, opened to be looked at: plainly, as bytes, and with its mixed columns (see `Plan`) as dictionaries."""

    shown: pq.ParquetFile
    stream: BinaryIO
    groups: tuple[Group, ...]
    probe: pq.ParquetFile


class Plan(NamedTuple):
    """How a file is unpacked.

    Attributes:
        coded: the columns with dictionaries and nothing else; mixed: those with other texts beside them.
        spelt: the columns that pyarrow cannot read as dictionaries.
        large: the row groups that need a closer look.
    """

    coded: frozenset[str]
    mixed: frozenset[str]
    spelt: frozenset[str]
    large: frozenset[int]


def check_footer(path: Path) -> None:
    """Refuses a footer that is too large to be read. Raises InputError FS160."""
    with path.open("rb") as stream:
        if footer.size(stream) > limit("footer-bytes") < stream.seek(0, 2):
            raise too_much("footer-bytes", Place(path.name))


def check_shape(file: pq.ParquetFile, name: str) -> None:
    """Refuses too many rows or columns, and names that are no names of columns.

    Raises:
        InputError: FS107, FS108, FS116, FS160.
    """
    names = file.schema_arrow.names
    if len(names) > limit("columns"):
        raise too_much("columns", Place(name, 1))
    if file.metadata.num_rows > limit("rows"):
        raise too_much("rows", Place(name))
    if not names:
        raise InputError("FS108", Place(name, 1), "at least one column")
    seen: set[str] = set()
    for column in names:
        if column in seen:
            raise InputError("FS107", Place(name, 1, column), "one column of each name")
        if is_reserved(column):
            raise InputError("FS116", Place(name, 1, column), "a name that starts with a letter")
        seen.add(column)


def described(file: pq.ParquetFile, stream: BinaryIO) -> tuple[Group, ...]:
    """What the footer says of the row groups.

    Args:
        file: the file, of which columns and rows are known; stream: the same, open for reading.

    Raises:
        Damaged: the footer does not describe them all, or as many rows as pyarrow finds.
    """
    groups = footer.groups(stream, len(file.schema_arrow))
    if [group.rows for group in groups] != [file.metadata.row_group(at).num_rows for at in range(file.num_row_groups)]:
        raise Damaged
    return groups


def plan(file: pq.ParquetFile, stream: BinaryIO, groups: tuple[Group, ...], name: str) -> Plan:
    """Looks at all pages of a file without unpacking one.

    Args:
        file: the file; stream: the same, open for reading; groups: its row groups; name: its name.

    Raises:
        InputError: FS160, a cell, a row group or the file unpacks to too much. Damaged: a page has no header.
    """
    coded: set[str] = set()
    mixed: set[str] = set()
    spelt: set[str] = set()
    large: set[int] = set()
    size, total, row = stream.seek(0, 2), 0, 2
    for at, group in enumerate(groups):
        chunks = dict(_chunks(file.schema_arrow, stream, group, Place(name, row)))
        unpacked = sum(chunk.total for chunk in chunks.values())
        total += unpacked
        if expands_too_far(total, size):
            raise too_much("expansion", Place(name, row))
        if sum(chunk.resident for chunk in chunks.values()) > limit("row-group-bytes"):
            raise too_much("row-group-bytes", Place(name, row))
        coded |= {column for column, chunk in chunks.items() if chunk.coded}
        mixed |= {column for column, chunk in chunks.items() if chunk.mixed}
        spelt |= {column for column, chunk in chunks.items() if chunk.spelt}
        if unpacked > BUDGET or any(chunk.mixed or chunk.shared for chunk in chunks.values()):
            large.add(at)
        row += group.rows
    return Plan(frozenset(coded - mixed - spelt), frozenset(mixed), frozenset(spelt), frozenset(large))


def rows_at_once(files: Files, group: int, mixed: frozenset[str], most: int) -> int:
    """How many rows of a row group can be unpacked at once so that their texts fit into memory.

    Args:
        files: the file; group: the row group; most: the most rows wanted.
        mixed: the columns with a dictionary and other texts beside it.
    """
    chunks = dict(_chunks(files.shown.schema_arrow, files.stream, files.groups[group], Place("")))
    longest = _longest_texts(files, group, {name: chunk for name, chunk in chunks.items() if name in mixed})
    unavoidable = 2 * sum(chunk.resident for chunk in chunks.values())
    rows = most
    while rows > 1:
        unpacked = sum(_unpacked(chunk, longest.get(column, 0), rows) for column, chunk in chunks.items())
        if unpacked <= max(BUDGET, unavoidable):
            break
        rows = -(-rows // 2)
    return rows


def _longest_texts(files: Files, group: int, chunks: dict[str, Chunk]) -> dict[str, int]:
    """The longest text in the dictionary of each of some chunks: from its page, else by reading it."""
    about, schema = files.groups[group].chunks, files.probe.schema_arrow
    found, rest = {}, []
    for name, chunk in chunks.items():
        if chunk.dictionary is None:
            continue
        length = text_length(files.stream, chunk.dictionary, about[schema.get_field_index(name)].codec)
        if length is None and pa.types.is_dictionary(schema.field(name).type):
            rest.append(name)
        found[name] = chunk.dictionary.unpacked if length is None else length
    if rest:
        batch = next(files.probe.iter_batches(batch_size=1, row_groups=[group], columns=rest, use_threads=False))
        lengths = (pc.max(pc.binary_length(column.dictionary)).as_py() or 0 for column in batch.columns)
        found |= zip(batch.schema.names, lengths, strict=True)
    return found


def _chunks(schema: Any, stream: BinaryIO, group: Group, place: Place) -> Iterator[tuple[str, Chunk]]:
    """The column chunks of a row group with texts in them or not, each by the name of its column."""
    for chunk, field in zip(group.chunks, schema, strict=True):
        column = field.name
        if chunk.values != group.rows:
            raise Damaged
        text = _is_text(field.type)
        found, values = [], 0
        for page in pages(stream, chunk):
            if text and _holds_too_long(page):
                raise too_much("cell-bytes", Place(place.file, (place.row or 0) + values, column))
            values += 0 if page.dictionary else page.values
            found.append(page)
        yield column, _summed(found, text=text)


def _holds_too_long(page: Page) -> bool:
    """Whether even the average text of a page is longer than a cell may be; its size counts four bytes a text more."""
    return not page.coded and page.unpacked > page.values * (limit("cell-bytes") + 5) + 64


def _is_text(kind: Any) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(kind == TEXT or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _summed(found: list[Page], *, text: bool) -> Chunk:
    own = next((page for page in found if page.dictionary), None)
    data = [page for page in found if not page.dictionary]
    coded = [page.coded for page in data]
    if coded != sorted(coded, reverse=True):
        raise Damaged  # after a page without the dictionary no later page uses it
    texts = data if text else []
    return Chunk(
        sum(page.unpacked for page in found),
        (own.unpacked if own else 0) + max((page.unpacked for page in data), default=0),
        sum(page.values for page in texts if page.coded),
        text and any(coded) and not all(coded),
        any(not page.coded and page.encoding != PLAIN for page in texts),
        max((page.unpacked for page in texts if page.encoding == DELTA_BYTE_ARRAY), default=0),
        tuple((page.values, page.unpacked) for page in texts if not page.coded),
        own,
    )


def _unpacked(chunk: Chunk, longest: int, rows: int) -> int:
    """The most bytes that the texts of so many rows of a chunk can take, wherever they begin."""
    named = longest * min(rows, chunk.coded)
    return named + max(_window(chunk.plain, rows), rows * chunk.shared)


def _window(sizes: tuple[tuple[int, int], ...], rows: int) -> int:
    """The most bytes of the pages that so many rows in a sequence touch, given values and bytes of each page."""
    starts = list(accumulate((values for values, _ in sizes), initial=0))
    most = held = first = 0
    for at, (_, size) in enumerate(sizes):
        held += size
        while starts[at] - starts[first + 1] >= rows - 1 and first < at:
            held -= sizes[first][1]
            first += 1
        most = max(most, held)
    return most
