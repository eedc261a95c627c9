"""Two text tables compared cell by cell, without regard to the order of rows and without showing a value."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, Literal, get_args

import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.tables.text import ROW, blank_to_null, data_columns, decode

Kind = Literal[
    "cell", "only left", "only right",
    "label", "type", "length", "format", "informat", "dataset label", "column order", "row order",
]  # fmt: skip
METADATA: Final = frozenset(get_args(Kind)) - {"cell", "only left", "only right"}
"""The kinds of differences that are no cells, rows or columns."""
_Row = tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference between two tables. It names the place and never the values.

    Attributes:
        kind: a ``cell`` that differs, a row or column that is ``only left`` or ``only right``, or what differs of a
            variable or the dataset beside them.
        key: the first 16 hex digits of a hash of the row's key; empty for a column.
        column: the column; None for a whole row.
        left_row: the row in the left table (``@row`` where it has one); None where there is none.
        right_row: the same for the right table.
    """

    kind: Kind
    key: str = ""
    column: str | None = None
    left_row: int | None = None
    right_row: int | None = None


def compare(left: pa.Table, right: pa.Table, keys: Sequence[str]) -> list[Difference]:
    """All differences between two text tables; an empty list says that they hold the same cells.

    Rows are matched by their key, in any order; rows with the same key are matched by their similarity. A
    null and an empty cell are the same, and so are an absent column and one without a filled cell.

    Args:
        left: a text table.
        right: a text table.
        keys: the columns that together name a row; all columns when empty.
    """
    found, shared = _columns(left, right)
    keys = [name for name in keys if name in shared] or shared
    if not shared:
        return found + _without_columns(left, right)
    sides = [_sorted(table, keys, shared) for table in (left, right)]
    if _same_keys(sides[0], sides[1], keys):
        return found + list(_cells(sides[0], sides[1], keys, shared))
    return found + list(_rows(sides[0], sides[1], keys, shared))


def same_order(left: pa.Table, right: pa.Table) -> bool:
    """Whether two tables with the same rows have them in the same order, too."""
    names = [name for name in data_columns(left) if name in right.column_names]
    pairs = ([blank_to_null(decode(table.column(name))) for table in (left, right)] for name in names)
    return not any(pc.any(_differs(*pair)).as_py() for pair in pairs)


def _columns(left: pa.Table, right: pa.Table) -> tuple[list[Difference], list[str]]:
    filled = [[name for name in data_columns(table) if _filled(table.column(name))] for table in (left, right)]
    ours, theirs = (set(data_columns(table)) for table in (left, right))
    found = [Difference("only left", column=name) for name in filled[0] if name not in theirs]
    found += [Difference("only right", column=name) for name in filled[1] if name not in ours]
    return found, [name for name in data_columns(left) if name in theirs]


def _filled(column: pa.ChunkedArray) -> bool:
    return bool(blank_to_null(decode(column)).null_count < len(column))


def _without_columns(left: pa.Table, right: pa.Table) -> list[Difference]:
    surplus = left.num_rows - right.num_rows
    return [Difference("only left" if surplus > 0 else "only right")] * abs(surplus)


def _sorted(table: pa.Table, keys: Sequence[str], shared: Sequence[str]) -> pa.Table:
    """The shared columns as plain text with ``@row``, sorted by key and then by all cells, so that likes meet."""
    columns = {name: blank_to_null(decode(table.column(name))) for name in shared}
    rows = table.column(ROW) if ROW in table.schema.names else pa.array(range(2, table.num_rows + 2), pa.int64())
    order = [(name, "ascending") for name in dict.fromkeys([*keys, *shared])]
    return pa.table({**columns, ROW: rows}).sort_by(order)


def _same_keys(left: pa.Table, right: pa.Table, keys: Sequence[str]) -> bool:
    if left.num_rows != right.num_rows:
        return False
    return not any(pc.any(_differs(left.column(name), right.column(name))).as_py() for name in keys)


def _differs(left: Any, right: Any) -> Any:
    both = pc.fill_null(pc.not_equal(left, right), False)
    return pc.or_(both, pc.xor(pc.is_null(left), pc.is_null(right)))


def _cells(left: pa.Table, right: pa.Table, keys: Sequence[str], shared: Sequence[str]) -> Iterator[Difference]:
    if _repeats(left, keys):
        yield from _rows(left, right, keys, shared)
        return
    for name in shared:
        for i in pc.indices_nonzero(_differs(left.column(name), right.column(name))).to_pylist():
            key = _hash(tuple(left.column(key)[i].as_py() for key in keys))
            yield Difference("cell", key, name, left.column(ROW)[i].as_py(), right.column(ROW)[i].as_py())


def _repeats(table: pa.Table, keys: Sequence[str]) -> bool:
    if table.num_rows < 2:
        return False
    changes = [_differs(table.column(name).slice(1), table.column(name).slice(0, table.num_rows - 1)) for name in keys]
    changed = changes[0]
    for flags in changes[1:]:
        changed = pc.or_(changed, flags)
    return not pc.all(changed).as_py()


def _rows(left: pa.Table, right: pa.Table, keys: Sequence[str], shared: Sequence[str]) -> Iterator[Difference]:
    ours, theirs = _groups(left, keys, shared), _groups(right, keys, shared)
    for key in dict.fromkeys([*ours, *theirs]):
        yield from _group(_hash(key), ours.get(key, []), theirs.get(key, []), shared)


def _groups(table: pa.Table, keys: Sequence[str], shared: Sequence[str]) -> dict[_Row, list[tuple[_Row, int]]]:
    cells = list(zip(*(table.column(name).to_pylist() for name in shared), strict=True))
    numbers = table.column(ROW).to_pylist()
    at = [list(shared).index(name) for name in keys]
    groups: dict[_Row, list[tuple[_Row, int]]] = defaultdict(list)
    for row, number in zip(cells, numbers, strict=True):
        groups[tuple(row[i] for i in at)].append((row, number))
    return groups


def _group(
    key: str, left: list[tuple[_Row, int]], right: list[tuple[_Row, int]], shared: Sequence[str]
) -> Iterator[Difference]:
    """Pairs the rows of one key: equal rows first, then the most alike."""
    ours, theirs = list(left), list(right)
    for mine in left:
        twin = next((other for other in theirs if other[0] == mine[0]), None)
        if twin is not None:
            ours.remove(mine)
            theirs.remove(twin)
    while ours and theirs:
        mine = ours.pop(0)
        other = min(theirs, key=lambda row: sum(a != b for a, b in zip(mine[0], row[0], strict=True)))
        theirs.remove(other)
        for name, a, b in zip(shared, mine[0], other[0], strict=True):
            if a != b:
                yield Difference("cell", key, name, mine[1], other[1])
    yield from (Difference("only left", key, None, number, None) for _, number in ours)
    yield from (Difference("only right", key, None, None, number) for _, number in theirs)


def _hash(key: _Row) -> str:
    return sha256("\x1f".join(cell or "" for cell in key).encode()).hexdigest()[:16]
