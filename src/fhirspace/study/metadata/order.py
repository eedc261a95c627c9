"""The order of the rows of a dataset, where it is not that of the natural keys.

Rows that went through a server come back in any order. Each row is therefore known by its rank among the rows sorted
by their natural keys (where these are not unique, by all cells), and the ranks in the order of the input are carried.
They hold only while the rows are the same: a digest of the keys tells.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.sdtm import columns
from fhirspace.sdtm.derive.order import sort_order
from fhirspace.sdtm.layout import sort_keys
from fhirspace.standards import sdtm
from fhirspace.standards.units import canonical_number
from fhirspace.tables.text import data_columns

Rows = np.ndarray[Any, np.dtype[np.int64]]


class Order(NamedTuple):
    """The ranks of the rows in their order, packed as text (empty: the natural order), and the digest of their keys."""

    ranks: str
    keys: str


NATURAL = Order("", "")


def order_of(table: pa.Table, dataset: str) -> Order:
    """The order of the rows of a table; `NATURAL` where they are in that of their keys."""
    if not table.num_rows:
        return NATURAL
    sorted_rows, keys = _reference(table, dataset)
    ranks = np.empty(table.num_rows, np.int64)
    ranks[sorted_rows] = np.arange(table.num_rows)
    if set(keys) <= set(sort_keys(dataset)) and np.array_equal(ranks, np.arange(table.num_rows)):
        return NATURAL
    steps = np.diff(ranks, prepend=0).astype("<i4").tobytes()
    return Order(base64.b64encode(zlib.compress(steps, 9)).decode(), _digest(table, dataset, sorted_rows, keys))


def in_order(table: pa.Table, dataset: str, order: Order) -> pa.Table | None:
    """The rows of a table in an order that was carried; None where it belongs to other rows, or is none."""
    sorted_rows, keys = _reference(table, dataset)
    if _digest(table, dataset, sorted_rows, keys) != order.keys:
        return None
    ranks = _unpacked(order.ranks, table.num_rows)
    if ranks is None or not np.array_equal(np.sort(ranks), np.arange(table.num_rows)):
        return None
    return table.take(pa.array(sorted_rows[ranks]))


def _unpacked(packed: str, rows: int) -> Rows | None:
    """The ranks of so many rows; never unpacks more than they need."""
    try:
        data = base64.b64decode(packed, validate=True)
        steps = zlib.decompressobj().decompress(data, 4 * rows + 1)
    except (binascii.Error, ValueError, zlib.error):
        return None
    return np.cumsum(np.frombuffer(steps, "<i4"), dtype=np.int64) if len(steps) == 4 * rows else None


def _reference(table: pa.Table, dataset: str) -> tuple[Rows, list[str]]:
    """The rows sorted by their natural keys, or by all cells where two rows share these, and the columns of that."""
    keys = [key for key in sort_keys(dataset) if columns.filled(table, key)]
    found = sort_order(table, dataset, keys)
    if not keys or _repeats(table, dataset, found, keys):
        keys += sorted(set(data_columns(table)) - set(keys))
        keys = [key for key in keys if columns.filled(table, key)]
        found = sort_order(table, dataset, keys)
    return found.to_numpy(zero_copy_only=False), keys


def _repeats(table: pa.Table, dataset: str, order: pa.Array, keys: list[str]) -> bool:
    cells = _joined(table, dataset, keys).take(order)
    return bool(pc.any(pc.equal(cells.slice(1), cells.slice(0, max(len(cells) - 1, 0)))).as_py())


def _joined(table: pa.Table, dataset: str, keys: list[str]) -> pa.Array:
    """The cells of some columns as one text each row; numbers are spelt as a tabulation spells them."""
    cells = [_cells(table, dataset, key).cast(pa.large_string()) for key in keys]
    glue = pa.scalar("\x1f", pa.large_string())
    return pc.binary_join_element_wise(*cells, glue, null_handling="replace", null_replacement="\x1e")


def _cells(table: pa.Table, dataset: str, key: str) -> pa.Array:
    variable = sdtm.variable(dataset, key) if sdtm.known(dataset) else None
    if variable is None or variable.type == "Char":
        return columns.text(table, key)
    return columns.by_distinct(columns.text(table, key), lambda cell: canonical_number(cell) or cell, pa.string())


def _digest(table: pa.Table, dataset: str, order: Rows, keys: list[str]) -> str:
    """16 hexadecimal digits of the keys in their order."""
    cells = _joined(table, dataset, keys).take(pa.array(order)) if keys else pa.array([], pa.large_string())
    lengths = pc.binary_length(cells).to_numpy(zero_copy_only=False).astype("<i8").tobytes()
    text = "".join(cells.to_pylist()).encode()
    return blake2b(lengths + text, digest_size=8).hexdigest()
