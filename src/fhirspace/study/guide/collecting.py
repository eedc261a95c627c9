"""What a guide says of a run, collected from its datasets and its accounting."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from fhirspace.sdtm import columns, versions
from fhirspace.sdtm.define.making import class_of
from fhirspace.study.accounting import Accounting
from fhirspace.study.guide.content import Contents
from fhirspace.study.metadata.describe import dataset_label
from fhirspace.study.pipeline import Prepared
from fhirspace.study.rules import explained
from fhirspace.study.rules.judging import judge_tables
from fhirspace.tables.text import data_columns


def collected(kind: str, prepared: Prepared, accounting: Accounting, paths: Sequence[Path]) -> Contents:
    """The contents of the guide to a run.

    Args:
        kind: of the input. prepared: the datasets that are written. accounting: of the run.
        paths: of the input: an ``explained.yaml`` there explains findings.

    Raises:
        MappingError: as `explained.load`: the explanations cannot be read.
    """
    tables = {name: each.table() for name, each in prepared.tabulations.items()}
    datasets = {
        name: (
            (prepared.metadata[name].label if name in prepared.metadata else "") or dataset_label(name),
            class_of(name, table),
            table.num_rows,
            len(data_columns(table)),
        )
        for name, table in sorted(tables.items())
    }
    done = prepared.finished
    reasons = [each for file in explained.beside(paths) for each in explained.load(file)]
    report = judge_tables(tables, reasons)
    return Contents(
        kind,
        next(_studies(prepared), ""),
        datasets,
        accounting.as_dict(),
        accounting.problems,
        reasons,
        done.derived if done else prepared.derived,
        done.counts if done else {},
        accounting.declared(fhir=False),
        report.groups,
        report.standards["Controlled terminology"],
        versions.terminology(prepared.define, tables.get("TS")),
    )


def _studies(prepared: Prepared) -> Iterator[str]:
    """The STUDYIDs of the datasets, DM's first."""
    for name in sorted(prepared.tabulations, key=lambda each: each != "DM"):
        yield from columns.text(prepared.tabulations[name].table(), "STUDYID").drop_null().unique().to_pylist()
