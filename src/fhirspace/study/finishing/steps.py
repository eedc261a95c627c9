"""SDTM datasets as they came in, and the same finished: derived variables filled, variables in the order of the guide.

What came in is never changed. Where a derivation gives another value, the difference is reported by variable (note
FS704), and its rows are listed in ``differences/<dataset>.csv`` with both values. Decision 0029 says why.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from fhirspace.errors import Problem
from fhirspace.foreign import counted, file_name
from fhirspace.sdtm import columns, layout
from fhirspace.sdtm.derive import derive as derivations
from fhirspace.sdtm.derive.design import StudyDesign
from fhirspace.sdtm.derive.differences import Difference
from fhirspace.sdtm.derive.work import Derived
from fhirspace.study.accounting import Accounting
from fhirspace.study.screening import Screening, conforming, screen
from fhirspace.study.summary import for_deriving
from fhirspace.tables import csv
from fhirspace.tables.csv.scan import FORMULA
from fhirspace.tables.outputs import OutputFolder

_AT = "@at"
"""The helper column with the number of a row in the table that came in."""


@dataclass(slots=True)
class Finished:
    """Datasets that pass the check, and what was derived in them how.

    Attributes:
        differences: their tables, by dataset. counts: the rows that differ, by dataset and variable.
    """

    screening: Screening
    derived: list[Derived] = field(default_factory=list)
    differences: dict[str, pa.Table] = field(default_factory=dict)
    counts: dict[tuple[str, str], int] = field(default_factory=dict)


def finish(
    tables: Mapping[str, pa.Table],
    accounting: Accounting,
    kinds: Sequence[str],
    design: StudyDesign,
    described: Collection[str] = (),
) -> Finished:
    """Datasets with everything filled that can be derived.

    Rows that break a rule are quarantined, and the datasets are derived anew without them: derived values of other rows
    must not depend on them.

    Args:
        tables: the datasets, with all their rows; they stay as they are.
        accounting: of the run. kinds: the formats in which the datasets are to be written. design: of the study.
        described: datasets of which a define.xml gives the variables and their order, which are left as they are.
    """
    left, problems = dict(tables), dict[Problem, None]()
    while True:
        study = for_deriving(left)
        made = derivations.derive(left, design, filled=study.filled, visits=study.visits, finishing=True)
        shaped = {
            name: _numbered(
                layout.in_place(table, name, tables[name].column_names)
                if name in described and name in tables
                else layout.ordered(table, name)
            )
            for name, table in made.tables.items()
        }
        look = Accounting(strict=accounting.strict)
        clean = conforming(shaped, look, kinds, screen(shaped, kinds, design=design))
        problems |= dict.fromkeys(look.problems)
        if not look.quarantined:
            break
        for name, account in look.accounts.items():
            accounting.quarantine(name, account.columns, account.rows)
        left = {name: left[name].take(clean.tables[name][_AT]) for name in left if name in clean.tables}
    for name in made.tables.keys() - tables.keys():
        accounting.read(name, made.tables[name].num_rows)
    accounting.note([*problems, *made.problems, *_findings(made.differences, made.tables)])
    whole = {name: table.drop_columns([_AT]) for name, table in clean.tables.items()}
    clean.tables = whole
    counts = {(each.dataset, each.variable): len(each.rows) for each in made.differences}
    return Finished(clean, made.derived, dict(_rows(made.differences, made.tables)), counts)


def _numbered(table: pa.Table) -> pa.Table:
    return table.append_column(_AT, pa.array(range(table.num_rows), pa.int64()))


def _findings(found: Sequence[Difference], tables: Mapping[str, pa.Table]) -> Iterator[Problem]:
    """One finding for each variable that differs, at its first row."""
    for each in found:
        (place,) = columns.places(tables[each.dataset], each.dataset, each.rows[:1], each.variable)
        yield Problem("FS704", place, table=each.dataset, detail=counted(len(each.rows), "row"))


def _rows(found: Sequence[Difference], tables: Mapping[str, pa.Table]) -> Iterator[tuple[str, pa.Table]]:
    """By dataset, a table of differences: file, row, variable, the value that came in, and the derived one."""
    for dataset in dict.fromkeys(each.dataset for each in found):
        parts = [_part(each, tables[dataset]) for each in found if each.dataset == dataset]
        yield dataset, pa.concat_tables(parts)


def _part(each: Difference, table: pa.Table) -> pa.Table:
    places = columns.places(table, each.dataset, each.rows, each.variable)
    given = columns.text(table, each.variable).take(pa.array(each.rows, pa.int64()))
    return pa.table(
        {
            "file": pa.array([place.file for place in places], pa.string()),
            "row": pa.array([str(place.row) for place in places], pa.string()),
            "variable": pa.repeat(pa.scalar(each.variable), len(places)),
            "given": given,
            "derived": pa.array([cell or None for cell in each.derived], pa.string()),
        }
    )


def write_differences(found: Finished, folder: OutputFolder) -> None:
    """Writes ``differences/<dataset>.csv``. They hold values: they are readable by their owner only."""
    for name, table in found.differences.items():
        cells = {each: columns.text(table, each) for each in table.column_names}
        safe = pa.table({each: columns.by_distinct(array, _harmless, pa.string()) for each, array in cells.items()})
        with folder.stage(f"differences/{file_name(name.lower())}.csv") as part:
            csv.write(safe, part)


def _harmless(cell: str) -> str:
    """A cell for people who open the file in a spreadsheet: a formula gets an apostrophe in front."""
    return f"'{cell}" if FORMULA.match(cell) else cell
