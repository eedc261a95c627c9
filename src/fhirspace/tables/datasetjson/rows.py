"""The header of a Dataset-JSON file and its rows as values of JSON, in blocks that fit into memory.

Source: CDISC Dataset-JSON 1.1, and its representation as NDJSON.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import chain
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

from fhirspace.errors import InputError, Place
from fhirspace.json import JsonError, decoder, number, parse
from fhirspace.limits import limit, too_much
from fhirspace.tables.datasetjson.document import ROW, Document, Rows
from fhirspace.tables.datasetjson.header import Header, header_of
from fhirspace.tables.datasetjson.opening import container, unpacked

_ROWS: Final = 20_000
_BYTES: Final = 1 << 22
_BEFORE_ROWS: Final = frozenset({"columns", "records", "name", "label", "itemGroupOID", "datasetJSONVersion"})
AN_ARRAY: Final = "an array of texts, numbers, truth values and nulls"
_row = decoder(list[Any], float_hook=number)
_flat = decoder(list[Any], float_hook=number, bound=False)
"""The same for a text with one bracket, which nests nothing."""
_block = decoder(list[list[Any]], float_hook=number, bound=False)  # the pattern of a row nests nothing


class NoRow(NamedTuple):
    """A row that is no array: how it is spelt, a code of the catalogue, and what was expected."""

    text: str
    code: str
    expected: str


Block = list[list[Any] | NoRow]


@contextmanager
def opened(path: Path) -> Iterator[tuple[Header, Iterator[Block]]]:
    """The header of a file and its rows, which are read as the iterator goes on.

    Raises:
        InputError: as `header_of`, `unpacked` and `Document.read`.
    """
    with ExitStack() as stack:
        if container(path) != "json":
            stream = stack.enter_context(unpacked(path))
            yield _header_line(stream, path.name), _lines(stream, path.name)
            return
        document = Document(stack.enter_context(unpacked(path)), path.name)
        rows = document.read()
        first = next(rows, None)
        if not document.members.keys() >= _BEFORE_ROWS:
            for _ in rows:  # what follows the rows says what they are: they are read again
                pass
            again = Document(stack.enter_context(unpacked(path)), path.name)
            yield header_of(document.members, path.name), _blocks(again.read(), path.name)
            return
        whole = chain([first], rows) if first else rows
        yield header_of(document.members, path.name), _blocks(whole, path.name)


def _blocks(rows: Iterator[Rows], file: str) -> Iterator[Block]:
    """The rows of a document."""
    row = 2
    for found in rows:
        block: Block = [_of_line(found.text.encode())] if found.odd else _decoded(found.text, row, file)
        row += len(block)
        for start in range(0, len(block), _ROWS):
            yield block[start : start + _ROWS]


def _decoded(text: str, row: int, file: str) -> Block:
    try:
        return [*_block(f"[{text}]".encode())]
    except JsonError:
        for at, found in enumerate(ROW.finditer(text), row):
            try:
                _row(found.group().encode())
            except JsonError as error:
                raise InputError(error.code, Place(file, at), error.expected, error.detail) from None
        raise


def _header_line(stream: IO[bytes], file: str) -> Header:
    most = limit("line-bytes")
    line = stream.readline(most + 1)
    if len(line) > most:
        raise too_much("line-bytes", Place(file, 1))
    try:
        members = parse(line)
    except JsonError as error:
        raise InputError(error.code, Place(file, 1), error.expected, error.detail) from None
    return header_of(members if isinstance(members, dict) else {}, file)


def _lines(stream: IO[bytes], file: str) -> Iterator[Block]:
    """The rows of NDJSON: each line is a document of its own, so that a broken one does not break the others."""
    block: Block = []
    size, row, most = 0, 1, limit("record-bytes")
    while line := stream.readline(most + 1):
        row += 1
        if len(line) > most:
            raise too_much("record-bytes", Place(file, row))
        if line.isspace():
            continue
        block.append(_of_line(line))
        size += len(line)
        if len(block) >= _ROWS or size >= _BYTES:
            yield block
            block, size = [], 0
    if block:
        yield block


def _of_line(line: bytes) -> list[Any] | NoRow:
    try:
        return _flat(line) if line.count(b"[") == 1 and b"{" not in line else _row(line)
    except JsonError:
        text = line.decode("utf-8", "replace").strip()
    try:
        parse(line)
    except JsonError as error:
        return NoRow(text, error.code, error.expected)
    return NoRow(text, "FS167", AN_ARRAY)
