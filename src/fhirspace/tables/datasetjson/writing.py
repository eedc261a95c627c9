"""Text tables to Dataset-JSON; same table and header, same bytes.

A missing text is ``""`` and a missing number null, as CDISC's own files have them. Each row is a line of its own, in
JSON too.

Source: CDISC Dataset-JSON 1.1, its representation as NDJSON, Compressed Dataset-JSON 1.1.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.tables.datasetjson.header import NUMBERS, Header, Variable
from fhirspace.tables.datasetjson.opening import Container
from fhirspace.tables.slices import slices
from fhirspace.tables.text import TEXT

_BATCH: Final = 32_768
_LEVEL: Final = 9
_ESCAPED: Final = r'["\\\x00-\x1f]'


def write(table: pa.Table, path: Path, header: Header, container: Container) -> None:
    """Writes a text table.

    Args:
        table: with a column for each variable of the header, whose cells have its type: numbers that are spelt as JSON
            spells them, ``true`` and ``false``. path: the file, which is replaced.
        header: what is written before the rows. container: JSON, NDJSON or DSJC.
    """
    packed = zlib.compressobj(_LEVEL) if container == "dsjc" else None
    with path.open("wb") as stream:
        for data in _content(table, header, container):
            stream.write(packed.compress(data) if packed else data)
        if packed:
            stream.write(packed.flush())


def _content(table: pa.Table, header: Header, container: Container) -> Iterator[bytes]:
    about = msgspec.json.encode(header.as_dict())
    if container != "json":
        yield about + b"\n"
        yield from _lines(table, header.variables, "[", "]\n")
        return
    lines = _lines(table, header.variables, ",\n[", "]")
    yield about.removesuffix(b"}") + b',"rows":['
    yield next(lines, b"").removeprefix(b",")
    yield from lines
    yield b"\n]}\n"


def _lines(table: pa.Table, variables: Sequence[Variable], begin: str, end: str) -> Iterator[bytes]:
    """The rows of some at a time, each between the brackets that are given."""
    for batch in table.select([each.name for each in variables]).to_batches(max_chunksize=_BATCH):
        for part in slices(batch):
            columns = [_cells(column, each.type) for column, each in zip(part.columns, variables, strict=True)]
            columns[0] = pc.binary_join_element_wise(begin, columns[0], "")
            columns[-1] = pc.binary_join_element_wise(columns[-1], end, "")
            joined = pc.binary_join_element_wise(*columns, ",") if len(columns) > 1 else columns[0]
            # The rows are contiguous in the array's own buffer.
            yield joined.buffers()[2].to_pybytes()[: pc.sum(pc.binary_length(joined)).as_py()] if len(joined) else b""


def _cells(column: pa.Array, kind: str) -> pa.Array:
    """The cells of a column as JSON spells them, made once for each distinct one where it is a dictionary."""
    if pa.types.is_dictionary(column.type):
        made = pc.take(_spelt(column.dictionary, kind), column.indices)
    else:
        made = _spelt(column, kind)
    return pc.fill_null(made, "null" if kind in NUMBERS or kind == "boolean" else '""')


def _spelt(cells: pa.Array, kind: str) -> pa.Array:
    if kind == "boolean" or (kind in NUMBERS and kind != "decimal"):
        return cells
    if pc.any(pc.match_substring_regex(cells, _ESCAPED)).as_py():
        texts = (None if cell is None else msgspec.json.encode(cell).decode() for cell in cells.to_pylist())
        return pa.array(texts, TEXT)
    return pc.binary_join_element_wise('"', cells, '"', "")
