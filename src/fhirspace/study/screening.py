"""Screening of rows for the output: those that break no rule of SDTM and that the wanted formats can hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.errors import Problem
from fhirspace.foreign import counted
from fhirspace.limits import limit
from fhirspace.sdtm import columns, conformance
from fhirspace.sdtm.conformance import Finding
from fhirspace.sdtm.derive.design import StudyDesign
from fhirspace.sdtm.longtext.check import lossy_cells
from fhirspace.sdtm.longtext.divide import Divided, divide
from fhirspace.sdtm.longtext.rules import MAX_BYTES
from fhirspace.sdtm.zones import declared, with_offsets
from fhirspace.standards import sdtm
from fhirspace.study.accounting import Accounting
from fhirspace.study.summary import StudySummary, for_checking
from fhirspace.tables.csv.scan import check_cell
from fhirspace.tables.description import Kind
from fhirspace.tables.text import data_columns
from fhirspace.tables.xpt import Checked
from fhirspace.tables.xpt.checks import number_fault

INFORMING = frozenset(
    {"FS723", "FS726", "FS727", "FS728", "FS730", "FS731", "FS733", "FS734", "FS739", "FS764", "FS765"}
)
"""Errors of conformance in rows that can be written all the same: they are reported, and the rows are kept."""


def blocking(problem: Problem, *, strict: bool = False) -> bool:
    """Whether a finding keeps its row out of the output: an error, and, unless it is `strict`, one that prevents it."""
    return problem.level == "error" and (strict or problem.code not in INFORMING)


@dataclass(slots=True)
class Screening:
    """The result of screening tabulations, and what writing them need not do again.

    Attributes:
        tables: the tabulations; findings: of them, in order.
        divided: the tables with their long texts cut, where xpt is to be written.
        checked: by dataset, the columns whose cells fit a transport file.
    """

    tables: dict[str, pa.Table]
    findings: list[Finding]
    divided: Divided | None = None
    checked: dict[str, Checked] = field(default_factory=dict)


def screen(
    tables: Mapping[str, pa.Table],
    formats: Sequence[str] = (),
    study: StudySummary | None = None,
    design: StudyDesign | None = None,
    *,
    terminology: str = "",
) -> Screening:
    """Findings of conformance, and the cells that a format to be written (xpt, csv, parquet) cannot hold.

    Args:
        tables: those of a block; formats: those to be written; study: made by `for_checking`, of these tables if it is
            not given.
        design: of the study: where it declares a time zone, times get an offset on their way to FHIR.
        terminology: the version of controlled terminology that the study names, where TS does not say it.
    """
    study = study or for_checking(tables, names="xpt" in formats)
    findings = list(conformance.check(tables, filled=study.filled, terminology=terminology))
    if declared(tables.values(), design or StudyDesign()):
        findings = [each for each in findings if each.problem.code != "FS729"]
        findings += conformance.local_times(with_offsets(tables, design or StudyDesign()))
    look = Screening(dict(tables), findings)
    for name in sorted(tables) if formats else ():
        fits: dict[str, Kind] = {}
        look.findings += _unwritable(tables[name], name, formats, fits)
        look.checked[name] = Checked(tables[name], fits)
    if "xpt" in formats:
        look.divided = divide(tables, study.names)
        for name, column, row in lossy_cells(tables, look.divided):
            (place,) = columns.places(tables[name], name, [row], column)
            problem = Problem("FS135", place, f"at most {MAX_BYTES} bytes, or free text that can be cut", name)
            look.findings.append(Finding(problem, row))
    return look


def _unwritable(table: pa.Table, name: str, formats: Sequence[str], fits: dict[str, Kind]) -> Iterator[Finding]:
    """The cells that a format cannot hold; `fits` gets the columns that a transport file can, for `Checked`."""
    known = sdtm.standard_variables(name) if sdtm.known(name) else ()
    numeric, most = {variable.name for variable in known if variable.type == "Num"}, limit("cell-bytes")
    for column in data_columns(table):
        coded = columns.text(table, column).dictionary_encode()
        cells = coded.dictionary.to_pylist()
        exact = column in numeric and "xpt" in formats
        numbers = [number_fault(cell) for cell in cells] if exact else [None] * len(cells)
        csv = "csv" in formats
        faults = [_cell_fault(cell, number, csv, most) for cell, number in zip(cells, numbers, strict=True)]
        if not any(numbers) and not any(fault and fault[0] == "FS106" for fault in faults):
            fits[column] = "Num" if exact else "Char"
        for code, expected in sorted({fault for fault in faults if fault}):
            bad = pa.array([fault == (code, expected) for fault in faults], pa.bool_()).take(coded.indices)
            rows = pc.indices_nonzero(pc.fill_null(bad, False)).to_pylist()
            for row, place in zip(rows, columns.places(table, name, rows, column), strict=True):
                yield Finding(Problem(code, place, expected, name), row)
        yield from _nothing_but_blanks(table, name, column, coded)
        if "xpt" in formats:
            yield from _trailing_blanks(table, name, column)
            yield from _beyond_ascii(table, name, column, coded)


def _beyond_ascii(table: pa.Table, name: str, column: str, coded: pa.DictionaryArray) -> Iterator[Finding]:
    """One finding for a variable with letters that a transport file does not say the encoding of."""
    odd = [not cell.isascii() for cell in coded.dictionary.to_pylist()]
    if not any(odd):
        return
    rows = pc.indices_nonzero(pc.fill_null(pa.array(odd, pa.bool_()).take(coded.indices), False)).to_pylist()
    for place in columns.places(table, name, rows[:1], column):
        detail = f"{counted(len(rows), 'text has', 'texts have')} others"
        yield Finding(Problem("FS162", place, "ASCII characters", name, detail), rows[0])


def _nothing_but_blanks(table: pa.Table, name: str, column: str, coded: pa.DictionaryArray) -> Iterator[Finding]:
    """One finding for a variable with texts that a transport file, and most programs, take for no value."""
    blank = [cell.isspace() for cell in coded.dictionary.to_pylist()]
    if not any(blank):
        return
    rows = pc.indices_nonzero(pc.fill_null(pa.array(blank, pa.bool_()).take(coded.indices), False)).to_pylist()
    for place in columns.places(table, name, rows[:1], column):
        yield Finding(Problem("FS784", place, "a value, or no text", name, counted(len(rows), "text")), rows[0])


def _trailing_blanks(table: pa.Table, name: str, column: str) -> Iterator[Finding]:
    rows = pc.indices_nonzero(pc.fill_null(pc.ends_with(columns.text(table, column), " "), False)).to_pylist()
    for place in columns.places(table, name, rows[:1], column):
        detail = f"{counted(len(rows), 'text ends', 'texts end')} with a blank"
        yield Finding(Problem("FS752", place, table=name, detail=detail), rows[0])


def _cell_fault(cell: str, number: tuple[str, str] | None, csv: bool, most: int) -> tuple[str, str] | None:
    """A fault of form that conformance does not look for: too long a text and text for a number are its own."""
    for code, expected in check_cell(cell, most):
        if code == "FS106" or (csv and code == "FS111"):
            return code, expected
    return number if number and number[0] == "FS137" else None


def conforming(
    tables: dict[str, pa.Table],
    accounting: Accounting,
    formats: Sequence[str] = (),
    look: Screening | None = None,
) -> Screening:
    """The tables without the rows that break a rule, which are quarantined with the rows that depend on them.

    A qualifier without parent stays in datasets that are written.

    Args:
        tables: the tabulations; accounting: of the run; formats: those to be written; look: the result of `screen`,
            where known.

    Returns:
        The last screening, of the tables that are left: none of them is empty, and no row has an error.
    """
    left = dict(tables)
    look = screen(left, formats) if look is None else look
    seen: set[Problem] = set()
    lonely = _lonely(look, formats, accounting)
    while True:
        bad: dict[str, set[int]] = {}
        for problem, row in look.findings:
            if problem not in seen:
                seen.add(problem)
                accounting.note([_explained(problem, row, left, accounting)])
            if blocking(problem, strict=accounting.strict) and problem not in lonely:
                rows = range(left[problem.table].num_rows) if row is None else (row,)
                bad.setdefault(problem.table, set()).update(rows)
        if not any(bad.values()):
            return _filled(look)
        for name, held in bad.items():
            accounting.quarantine_rows(name, left[name], sorted(held))
            kept = [row for row in range(left[name].num_rows) if row not in held]
            left[name] = left[name].take(pa.array(kept, pa.int64()))
        look = screen(left, formats)


def _lonely(look: Screening, formats: Sequence[str], accounting: Accounting) -> set[Problem]:
    """The qualifiers that had no parent from the beginning: datasets can hold them, a resource cannot.

    Those that lose their parent to the quarantine go with it.
    """
    kept = bool(formats) and not accounting.strict
    return {problem for problem, _ in look.findings if problem.code == "FS735"} if kept else set()


def _explained(problem: Problem, row: int | None, tables: Mapping[str, pa.Table], accounting: Accounting) -> Problem:
    """A finding about a subject that is not in DM says whether that is because the row of DM is quarantined."""
    held = accounting.accounts.get("DM") if problem.code == "FS727" else None
    if held is None or row is None or "USUBJID" not in held.columns:
        return problem
    at, subject = held.columns.index("USUBJID"), tables[problem.table]["USUBJID"][row].as_py()
    if not any(len(fields) > at and fields[at] == subject for fields in held.rows):
        return problem
    return replace(problem, detail="its row of DM is quarantined")


def _filled(look: Screening) -> Screening:
    """The same without empty tables. Texts are cut anew then, since the names of an empty table were avoided."""
    tables = {name: table for name, table in look.tables.items() if table.num_rows}
    divided = look.divided if len(tables) == len(look.tables) else None
    return Screening(tables, look.findings, divided, look.checked)
