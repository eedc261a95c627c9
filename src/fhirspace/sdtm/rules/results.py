"""What a rule found, record by record, as CDISC's ``results.csv`` has it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.sdtm.rules.engine import PRESENCE, Fault, Outcome, cell, targets
from fhirspace.sdtm.rules.frame import of_dataset
from fhirspace.sdtm.rules.model import Rule
from fhirspace.sdtm.rules.values import Lists, is_number, written

Line = tuple[str, str, str, str]
"""Dataset, record, variable and value of a result."""
NOT_THERE = "Not in dataset"
_NOTHING = frozenset({"", "nan"})


@dataclass(frozen=True, slots=True)
class Found:
    """A record that a rule flags: its place, and the variables that the rule shows, with their cells as texts.

    Attributes:
        dataset: its name, ``STUDY`` for a finding about the study. record: its number, "" for a whole dataset.
        subject, sequence: USUBJID and --SEQ of the record, "" where it has none.
    """

    dataset: str
    record: str
    cells: tuple[tuple[str, str], ...]
    subject: str = ""
    sequence: str = ""


def results(outcome: Outcome) -> Iterator[Line]:
    """A line for each variable of each record at fault."""
    for each in found(outcome):
        for name, value in each.cells:
            yield each.dataset, each.record, name, _as_core(value)


def _as_core(value: str) -> str:
    """A value as CORE writes it: texts that it takes for no value (blanks, ``nan``, ``null``) are empty."""
    return "" if value.strip().lower() in _NOTHING or value == "null" else value


def found(outcome: Outcome, most: int | None = None) -> Iterator[Found]:
    """Each record at fault, at most so many of a dataset; of a rule about datasets one for each."""
    done = set[str]()
    whole = outcome.rule.sensitivity != "Record"
    for fault in outcome.faults:
        rows = fault.rows[:most].to_pylist()
        names = targets(fault, outcome.rule)
        floats = _as_floats(fault, names)
        for row in rows[:1] if whole else rows:
            if not (whole and fault.dataset.name in done):
                yield _found(outcome.rule, fault, names, row, floats=floats)
            done.add(fault.dataset.name)


def _found(rule: Rule, fault: Fault, names: list[str], row: int, *, floats: bool) -> Found:
    frame = fault.frame
    presence = rule.kind == PRESENCE
    dataset = "STUDY" if presence else _dataset(rule, fault, row)
    record = "" if rule.sensitivity != "Record" or presence else str(frame.rows[row].as_py())
    cells = []
    for name in names:
        value: Any = cell(frame, name, row) if frame.has(name) else NOT_THERE
        cells.append((name, written(float(value) if floats and isinstance(value, int) else value)))
    own = _identity(rule, fault, row) if record else ("", "")
    return Found(dataset, record, tuple(cells), *own)


def _dataset(rule: Rule, fault: Fault, row: int) -> str:
    """The dataset of a row; of a rule about datasets all parts of a split one that have a row at fault."""
    files = fault.frame.files
    if files is None:
        return fault.dataset.name
    if rule.sensitivity == "Dataset":
        return ", ".join(sorted(files.take(fault.rows).unique().to_pylist()))
    return str(files[row].as_py())


def _identity(rule: Rule, fault: Fault, row: int) -> tuple[str, str]:
    """USUBJID and --SEQ of a row, also where it is one cell of a record; "" for what it has not."""
    frame, data = fault.frame, of_dataset(fault.frame.dataset)
    of_cells = rule.kind.startswith("Value Check")
    found = []
    for key in ("USUBJID", f"{fault.dataset.prefix}SEQ"):
        value = None
        if frame.has(key):
            value = cell(frame, key, row)
        elif of_cells and data.has(key):
            value = cell(data, key, pc.index(data.rows, frame.rows[row]).as_py())
        found.append(written(value).removesuffix(".0"))
    return found[0], found[1]


def _as_floats(fault: Fault, names: list[str]) -> bool:
    """Whether whole numbers get a decimal point: where all cells shown are numbers, and some come from the data."""
    columns = [fault.frame.column(name) for name in names if fault.frame.has(name)]
    plain = [
        column for column in columns if not isinstance(column, Lists) and is_number(column) and not column.null_count
    ]
    return len(plain) == len(columns) and any(pa.types.is_floating(column.type) for column in plain)
