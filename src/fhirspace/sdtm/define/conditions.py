"""Where clauses: which records a value-level item is about."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Final

import pyarrow as pa

from fhirspace.sdtm import columns
from fhirspace.sdtm.define.model import Check, Define, ItemGroup, Where
from fhirspace.standards.units import canonical_number

Cells = tuple[str | None, ...]
_ORDERED: Final[dict[str, Callable[[Decimal, Decimal], bool]]] = {
    "LT": lambda one, other: one < other,
    "LE": lambda one, other: one <= other,
    "GT": lambda one, other: one > other,
    "GE": lambda one, other: one >= other,
}


def asked(define: Define, group: ItemGroup, table: pa.Table, clauses: Iterable[Where]) -> list[str] | None:
    """The columns that some where clauses ask for; None where one asks for another dataset, or for a missing column."""
    own = {ref.item for ref in group.refs}
    items = [check.item for clause in clauses for check in clause.checks]
    if not items or not set(items) <= own or any(item not in define.items for item in items):
        return None
    names = list(dict.fromkeys(define.items[item].name for item in items))
    return names if set(names) <= set(table.column_names) else None


def by_cells(table: pa.Table, names: Sequence[str], variable: str) -> dict[Cells, set[str]]:
    """The values of a variable by the cells of some columns."""
    found: dict[Cells, set[str]] = {}
    for *cells, value in columns.Groups(table, [*names, variable]).cells:
        if value is not None:
            found.setdefault(tuple(cells), set()).add(value)
    return found


def meets(define: Define, clauses: Iterable[Where], names: Sequence[str], cells: Cells) -> bool:
    """Whether a record meets one of some where clauses; each is met if all its conditions are."""
    given = dict(zip(names, cells, strict=True))
    return any(all(_true(check, define, given) for check in clause.checks) for clause in clauses)


def _true(check: Check, define: Define, given: Mapping[str, str | None]) -> bool:
    cell = given.get(define.items[check.item].name) or ""  # a transport file does not tell no value from no letters
    if check.comparator in ("EQ", "IN"):
        return _listed(cell, check.values)
    if check.comparator in ("NE", "NOTIN"):
        return not _listed(cell, check.values)
    number, bound = canonical_number(cell), canonical_number(next(iter(check.values), ""))
    return number is not None and bound is not None and _ORDERED[check.comparator](Decimal(number), Decimal(bound))


def _listed(cell: str, values: Iterable[str]) -> bool:
    return cell in values or any(canonical_number(value) == canonical_number(cell) is not None for value in values)
