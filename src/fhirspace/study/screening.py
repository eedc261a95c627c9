"""What may pass into the output: rows that break no rule of SDTM and that the wanted formats can hold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.errors import Problem
from fhirspace.foreign import counted
from fhirspace.sdtm import columns, conformance
from fhirspace.sdtm.conformance import Finding
from fhirspace.sdtm.longtext.check import unkept
from fhirspace.sdtm.longtext.rules import MAX_BYTES
from fhirspace.standards import sdtm
from fhirspace.study.accounting import Ledger
from fhirspace.tables.csv.scan import check_cell
from fhirspace.tables.text import data_columns
from fhirspace.tables.xpt_check import number_fault


def findings(tables: Mapping[str, pa.Table], formats: Sequence[str] = ()) -> Iterator[Finding]:
    """What conformance finds, and the cells that a format to be written (xpt, csv, parquet) cannot hold."""
    yield from conformance.check(tables)
    for name in sorted(tables) if formats else ():
        yield from _unwritable(tables[name], name, formats)
    for name, column, row in unkept(tables) if "xpt" in formats else ():
        (place,) = columns.places(tables[name], name, [row], column)
        yield Finding(Problem("FS135", place, f"at most {MAX_BYTES} bytes, or free text that can be cut", name), row)


def _unwritable(table: pa.Table, name: str, formats: Sequence[str]) -> Iterator[Finding]:
    known = sdtm.standard_variables(name) if sdtm.known(name) else ()
    numeric = {variable.name for variable in known if variable.type == "Num"}
    for column in data_columns(table):
        coded = columns.text(table, column).dictionary_encode()
        exact = column in numeric and "xpt" in formats
        told = [_cell_fault(cell, exact, "csv" in formats) for cell in coded.dictionary.to_pylist()]
        for code, expected in sorted({fault for fault in told if fault}):
            bad = pa.array([fault == (code, expected) for fault in told], pa.bool_()).take(coded.indices)
            rows = pc.indices_nonzero(pc.fill_null(bad, False)).to_pylist()
            for row, place in zip(rows, columns.places(table, name, rows, column), strict=True):
                yield Finding(Problem(code, place, expected, name), row)
        if "xpt" in formats:
            yield from _trailing_blanks(table, name, column)


def _trailing_blanks(table: pa.Table, name: str, column: str) -> Iterator[Finding]:
    rows = pc.indices_nonzero(pc.fill_null(pc.ends_with(columns.text(table, column), " "), False)).to_pylist()
    for place in columns.places(table, name, rows[:1], column):
        told = f"no blank at the end of a text ({counted(len(rows), 'text has', 'texts have')} some)"
        yield Finding(Problem("FS752", place, told, name), rows[0])


def _cell_fault(cell: str, exact: bool, csv: bool) -> tuple[str, str] | None:
    """A fault of form that conformance does not look for: too long a text and text for a number are its own."""
    for code, expected in check_cell(cell):
        if code == "FS106" or (csv and code == "FS111"):
            return code, expected
    fault = number_fault(cell) if exact else None
    return fault if fault and fault[0] == "FS137" else None


def conforming(
    tables: dict[str, pa.Table], ledger: Ledger, formats: Sequence[str] = (), found: Iterable[Finding] | None = None
) -> dict[str, pa.Table]:
    """The tables without the rows that break a rule, which are booked with all that falls with them.

    Args:
        tables: the tabulations; ledger: the books; formats: those to be written; found: their findings, where known.
    """
    left = dict(tables)
    found = findings(left, formats) if found is None else found
    seen: set[Problem] = set()
    while True:
        bad: dict[str, set[int]] = {}
        for problem, row in found:
            if problem not in seen:
                seen.add(problem)
                ledger.note([problem])
            if problem.level == "error":
                rows = range(left[problem.table].num_rows) if row is None else (row,)
                bad.setdefault(problem.table, set()).update(rows)
        if not any(bad.values()):
            return {name: table for name, table in left.items() if table.num_rows}
        for name, held in bad.items():
            ledger.hold_rows(name, left[name], sorted(held))
            kept = [row for row in range(left[name].num_rows) if row not in held]
            left[name] = left[name].take(pa.array(kept, pa.int64()))
        found = findings(left, formats)
