"""What a form declares not to convert: texts that mean an empty cell, records that are skipped, columns dropped."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.foreign import counted
from fhirspace.forms.columns import Columns, column, equals, every
from fhirspace.forms.model import FormMapping
from fhirspace.standards.units import canonical_number
from fhirspace.tables.text import TEXT, data_columns
from fhirspace.template.slots import Cond

_CODE = re.compile("[+-]?0[0-9]")
"""How a code begins that looks like a number."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What a form declares not to convert, counted.

    Attributes:
        skipped: records of ``skip when:``.
        dropped: the filled cells of each column of ``drop:``.
        missing: cells with a text of ``missing:``.
        unmapped: the filled cells of each column that no mapping names, which stay out of FHIR.
    """

    skipped: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)
    missing: int = 0
    unmapped: Mapping[str, int] = field(default_factory=dict)

    def lines(self, form: str, *, fhir: bool = False) -> Iterator[str]:
        """What was left out, in a line each; columns that stay out of FHIR only if that is asked for."""
        if self.skipped:
            yield f"{form}: {counted(self.skipped, 'record')} skipped by `skip when:`"
        if self.dropped:
            yield f"{form}: {_columns(self.dropped)} dropped by `drop:`"
        if self.missing:
            yield f"{form}: {counted(self.missing, 'cell')} empty by `missing:`"
        if fhir and self.unmapped:
            stay = "stays" if len(self.unmapped) == 1 else "stay"
            yield f"{form}: {self.stayed()} without a mapping {stay} out of FHIR"

    def stayed(self) -> str:
        """The number of columns that stay out of FHIR, and of their filled cells."""
        return _columns(self.unmapped)


def _columns(cells: Mapping[str, int]) -> str:
    filled = counted(sum(cells.values()), "filled cell")
    return f"{counted(len(cells), 'column')} ({filled})"


class Reduced(NamedTuple):
    """The records that are converted, the same records as they came, and what was left out."""

    table: pa.Table
    whole: pa.Table
    left_out: LeftOut


def reduce(form: FormMapping, table: pa.Table) -> Reduced:
    """The records of a form without what its mapping declares not to convert.

    In this order: texts of ``missing:`` become empty cells (but not in the key, whose cells identify the record),
    records for which ``skip when:`` is true are left out, and so are the columns of ``drop:``.
    """
    names = data_columns(table)
    cleared = _cleared(form, table)
    kept = _kept(form, cleared)
    if kept is not None:
        cleared, whole = cleared.filter(kept), table.filter(kept)
    else:
        whole = table
    dropped = [name for name in names if form.drops(name)]
    unmapped = [name for name in names if name not in form.columns and name not in dropped]
    return Reduced(
        cleared.drop_columns(dropped),
        whole,
        LeftOut(
            skipped=table.num_rows - whole.num_rows,
            dropped={name: _filled(whole, name) for name in dropped},
            missing=sum(_filled(whole, name) - _filled(cleared, name) for name in names if name not in dropped),
            unmapped={} if form.declared.carry_unmapped else {name: _filled(cleared, name) for name in unmapped},
        ),
    )


def _cleared(form: FormMapping, table: pa.Table) -> pa.Table:
    """The table with an empty cell for each text of ``missing:``."""
    meant = {_plain(text) for text in form.declared.missing}
    if not meant:
        return table
    collected = set(data_columns(table)) - (set(form.key) - set(form.optional))
    for at, name in enumerate(table.column_names):
        if name in collected:
            cells = column(table, name)
            texts = [text for text in pc.unique(cells).to_pylist() if text is not None and _plain(text) in meant]
            means_none = pc.is_in(cells, value_set=pa.array(texts, TEXT))
            if pc.any(means_none).as_py():
                table = table.set_column(at, name, pc.if_else(means_none, pa.scalar(None, TEXT), cells))
    return table


def _plain(text: str) -> str:
    """A text without blanks around it, a number in its shortest spelling (``-99.0`` is ``-99``; ``099`` is a code)."""
    text = text.strip()
    return text if _CODE.match(text) else canonical_number(text) or text


def _kept(form: FormMapping, table: pa.Table) -> pa.Array | None:
    """Where a record is not skipped; None where none can be, or a column of the condition is missing."""
    skip = form.declared.skip
    if skip is None or not set(skip.columns()) <= set(table.column_names):
        return None
    for name, values in _compared(skip).items():
        table = table.set_column(table.column_names.index(name), name, _spelt(column(table, name), values))
    return pc.invert(Columns(table).holds(skip, ()))


def _spelt(cells: pa.Array, values: set[str]) -> pa.Array:
    """The cells, those that are one of `values` in another spelling (``1.0``) as this value."""
    spelt = {_plain(value): value for value in values}
    for text in pc.unique(cells).to_pylist():
        if text is not None and text not in values and _plain(text) in spelt:
            cells = pc.if_else(equals(cells, text), pa.scalar(spelt[_plain(text)], TEXT), cells)
    return cells


def _compared(condition: Cond) -> dict[str, set[str]]:
    """The texts with which a condition compares, by column."""
    found = {condition.column: set(condition.values)} if condition.values else {}
    for arg in condition.args:
        for name, values in _compared(arg).items():
            found[name] = found.get(name, set()) | values
    return found


def silent_ticks(form: FormMapping, table: pa.Table) -> dict[str, pa.Array]:
    """Where a tick box of REDCap says nothing, by column: nothing else of its document is filled, and no box ticked.

    An export cannot say whether somebody looked at such boxes; that all of them are "no" would be invented.
    """
    found: dict[str, pa.Array] = {}
    for document in form.documents if form.ticks else ():
        used = dict.fromkeys(slot.column for line in document.lines for _, cell in line.cells for slot in cell.slots)
        boxes = [name for name in used if name in form.ticks]
        others = [name for name in used if name not in form.ticks and name not in form.key]
        if boxes and others:
            empty = every((column(table, name).is_null() for name in others), table.num_rows)
            unticked = (_unticked(column(table, name), form.ticks[name]) for name in boxes)
            silent = every([empty, *unticked], table.num_rows)
            found |= {name: pc.and_(silent, found[name]) if name in found else silent for name in boxes}
    return found


def _unticked(cells: pa.Array, text: str) -> pa.Array:
    return pc.or_(cells.is_null(), equals(cells, text))


def _filled(table: pa.Table, name: str) -> int:
    return int(table.num_rows - table[name].null_count)
