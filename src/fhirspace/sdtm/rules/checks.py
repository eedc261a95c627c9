"""The rules that every check of datasets asks: those that give a finding with a code of the catalogue of errors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.sdtm import columns
from fhirspace.sdtm.rules.catalogue import own
from fhirspace.sdtm.rules.engine import Engine, Fault, targets
from fhirspace.sdtm.rules.study import About, Dataset, Study
from fhirspace.standards import sdtm

CODE = re.compile(r"FS\d{3}")
"""What a check of ours is called among the ids of a rule that looks for the same."""


class Conflict(NamedTuple):
    """Cells that contradict each other: the code, the column that is reported, what the rule says, the rows from 0."""

    code: str
    column: str
    detail: str
    rows: list[int]


def conflicts(tables: Mapping[str, pa.Table], terminology: str = "") -> dict[str, list[Conflict]]:
    """What rules find in the datasets of some subjects that the guide knows, by dataset.

    `terminology` is the version that the study names; that of TS, if it is not given.
    """
    datasets = {name: _dataset(name, table) for name, table in tables.items() if table.num_rows}
    engine = Engine(Study(datasets.values(), terminology=terminology))
    found: dict[str, list[Conflict]] = {}
    for rule in own.consistency():
        code = next(name for name in rule.ids if CODE.fullmatch(name))
        for fault in engine.run(rule).faults:
            column = targets(fault, rule)[-1]
            detail = f"{rule.message.replace('--', fault.dataset.prefix)} ({rule.id})"
            for name, rows in _by_dataset(fault).items():
                found.setdefault(name, []).append(Conflict(code, column, detail, rows))
    return found


def _by_dataset(fault: Fault) -> dict[str, list[int]]:
    """The flagged rows of each dataset, from 0: the parts of a split domain are judged together."""
    rows = pc.subtract(fault.frame.rows.take(fault.rows), 1)
    if fault.frame.files is None:
        return {fault.dataset.name: rows.to_pylist()}
    files = fault.frame.files.take(fault.rows)
    return {name: rows.filter(pc.equal(files, name)).to_pylist() for name in files.unique().to_pylist()}


def _dataset(name: str, table: pa.Table) -> Dataset:
    """A dataset as rules see it, typed by the guide, and of the domain that it is named for."""
    spec = sdtm.domain(name)
    kept = [each for each in table.column_names if each[0] not in "@_"]
    table = table.select(kept)
    if "DOMAIN" in spec.names:
        table = columns.put(table, "DOMAIN", pa.repeat(pa.scalar(spec.prefix or name[:2]), table.num_rows))
    about = {each.name: About(each.label, each.type) for each in spec.variables}
    return Dataset(name, table, spec.label, name, about=about, lenient=True)
