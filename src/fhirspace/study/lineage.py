"""From a fault of an SDTM row back to the record that the row was made from, and to the record's column."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa

from fhirspace.errors import Place, Problem
from fhirspace.forms.library import SourceLibrary, SourceRows
from fhirspace.sdtm import columns
from fhirspace.sdtm.conformance import Finding
from fhirspace.tables.text import FILE, ROW, data_columns


def source_records(
    found: Sequence[Finding],
    tables: Mapping[str, pa.Table],
    made: SourceRows,
    sources: SourceLibrary,
    records: Mapping[str, pa.Table],
) -> Iterator[tuple[str, int, Problem]]:
    """The records whose rows have an error: form, row (from 0) of its table, and the problem at the record's column.

    Args:
        found: errors in the tabulations; tables: these; made: what the source mappings made; sources: those.
        records: the forms that the tabulations were made of.
    """
    errors = [each for each in found if each.row is not None]
    if not errors:
        return
    known: dict[tuple[str, int | None], tuple[str, int]]
    known = {place: (form, at) for form, table in records.items() for at, place in enumerate(_places(table))}
    origins = sources.origins()
    for finding in errors:
        place = finding.problem.place
        if (place.file, place.row) in known:
            form, at = known[place.file, place.row]
            column = _column(finding, form, tables, made, origins)
            column = column if column is None or set(column.split("+")) <= set(data_columns(records[form])) else None
            problem, where = finding.problem, Place(place.file, place.row, column)
            yield form, at, Problem(problem.code, where, problem.expected, form, _detail(problem))


def _places(table: pa.Table) -> Iterator[tuple[str, int]]:
    if FILE in table.column_names and ROW in table.column_names:
        yield from zip(table[FILE].to_pylist(), table[ROW].to_pylist(), strict=True)


def _detail(problem: Problem) -> str:
    where = f"found in {problem.table}.{problem.place.column}" if problem.place.column else f"found in {problem.table}"
    return f"{problem.detail}, {where}" if problem.detail else where


def _column(
    finding: Finding,
    form: str,
    tables: Mapping[str, pa.Table],
    made: SourceRows,
    origins: Mapping[str, Mapping[str, tuple[str, ...]]],
) -> str | None:
    """The columns of the form that a variable is made of, joined by ``+``; None if that is unknown."""
    dataset, variable = finding.problem.table, finding.problem.place.column or ""
    if dataset.startswith("SUPP") and variable == "QVAL" and finding.row is not None:
        variable = columns.text(tables[dataset], "QNAM")[finding.row].as_py() or ""
    dataset = dataset.removeprefix("SUPP")
    sources = origins.get(dataset, {}).get(variable, ())
    known = [each.removeprefix(f"{form}.") for each in sources if each.startswith(f"{form}.")]
    carried = made.labels.get(dataset, {}).get(variable)
    return "+".join(known) or carried
