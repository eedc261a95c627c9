"""Records that were moved to another visit: the reference gives the number, and beside it is still the old name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping as Table

import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.errors import Problem
from fhirspace.foreign import counted
from fhirspace.sdtm import columns
from fhirspace.sdtm.derive import basis
from fhirspace.standards.units import canonical_number
from fhirspace.tables.text import has, place

_VISITS = 2
"""The part of a digest that is made of the number and name of a visit."""


def misplaced(tables: Table[str, pa.Table], digests: Table[str, pa.Array]) -> Iterator[Problem]:
    """One warning for each dataset with rows that name another visit than SV has under their number.

    Only rows whose visit was changed after they were written are compared: a sponsor may name visits in other words.

    Args:
        tables: the datasets with their carried digests; digests: by dataset those that they would get now.
    """
    if not _has_visit(tables.get("SV")):
        return
    names: dict[tuple[str | None, str | None], str] = {}
    for domain, table in tables.items():
        before = columns.text(table, basis.DIGEST)
        if domain == "SV" or not _has_visit(table) or before.equals(digests[domain]):
            continue
        other = pc.not_equal(basis.half(_VISITS, before), basis.half(_VISITS, digests[domain]))
        rows = pc.indices_nonzero(pc.fill_null(other, False))
        names = names or {(subject, number): name for subject, number, name in _cells(tables["SV"]) if name}
        wrong = [
            row
            for row, (subject, number, name) in zip(rows.to_pylist(), _cells(table.take(rows)), strict=True)
            if name and names.get((subject, number), name) != name
        ]
        if wrong:
            detail = counted(len(wrong), "resource has it", "resources have it")
            yield Problem("FS448", place(table, wrong[0], "VISIT"), table=domain, detail=detail)


def _has_visit(table: pa.Table | None) -> bool:
    """Whether a dataset has numbers and names of visits."""
    return table is not None and has(table, "VISITNUM") and has(table, "VISIT")


def _cells(table: pa.Table) -> Iterator[tuple[str | None, str | None, str | None]]:
    """The subject, the number and the name of the visit of each row."""
    subjects, numbers, names = (columns.text(table, name).to_pylist() for name in ("USUBJID", "VISITNUM", "VISIT"))
    for subject, number, name in zip(subjects, numbers, names, strict=True):
        yield subject, canonical_number(number or "") or number, name
