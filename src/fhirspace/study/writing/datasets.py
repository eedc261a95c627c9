"""Datasets to files: each in each format of a run, with the same rows, and a define.xml beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from fhirspace.foreign import file_name
from fhirspace.sdtm.define.document import writing
from fhirspace.sdtm.define.making import Dataset
from fhirspace.sdtm.define.model import Define
from fhirspace.sdtm.longtext.divide import divide
from fhirspace.study.accounting import Accounting
from fhirspace.study.define.description import Description, dataset_of
from fhirspace.study.metadata.describe import empty
from fhirspace.study.metadata.written import fitting, to_transport, written
from fhirspace.study.pipeline import Prepared
from fhirspace.study.screening import Screening
from fhirspace.study.summary import StudySummary, for_writing
from fhirspace.study.writing.headers import header
from fhirspace.tables import csv, parquet, xpt
from fhirspace.tables.datasetjson.opening import FORMATS
from fhirspace.tables.datasetjson.writing import write as write_json
from fhirspace.tables.description import Description as Known
from fhirspace.tables.outputs import OutputFolder


@dataclass(frozen=True, slots=True)
class _File:
    """A dataset that is written: its rows, its description in all formats and in a transport file, what was checked."""

    table: pa.Table
    about: Known
    fit: Known
    checked: xpt.Checked | None


def write_sdtm(
    prepared: Prepared,
    folder: OutputFolder,
    accounting: Accounting,
    formats: Sequence[str],
    *,
    define: Description | None = None,
) -> None:
    """Writes each dataset in each format, such as ``sdtm/<dataset>.xpt``, and ``sdtm/define.xml``.

    All formats of a run hold the same rows: if xpt is among them, long texts continue in further variables in each.
    What screening did is not done again: long texts are cut once, and cells that fit are not checked a second time.

    Args:
        define: what is known beside the datasets, for the define.xml and for Dataset-JSON, which needs it.
    """
    tables = _whole(prepared, folder, accounting, formats)
    study = for_writing(tables) if define or "xpt" in formats else StudySummary()
    look = prepared.screening
    files: dict[str, _File] = {}
    for name, table in tables.items():
        checked = look.checked.get(name) if look and "xpt" in formats else None  # only then were numbers looked at
        about = fit = written(table, name, prepared.metadata.get(name, Known()), study.lengths, checked)
        if "xpt" in formats:
            fit, problems = fitting(about, f"{file_name(name.lower())}.xpt")
            accounting.note(problems)
        files[name] = _File(table, about, fit, checked)
    made = _define(files, study, formats, define, accounting) if define else None
    for name, file in files.items():
        for form in formats:
            with folder.stage(f"sdtm/{_name(name, form)}") as part:
                _write(file, form, part, made, referred=define is not None and define.written)
    if made and define and define.written:
        with folder.open("sdtm/define.xml") as stream:
            stream.write(writing.as_bytes(made))


def _whole(
    prepared: Prepared, folder: OutputFolder, accounting: Accounting, formats: Sequence[str]
) -> dict[str, pa.Table]:
    """The datasets with all their rows, those without any too; long texts in parts where transport files want them."""
    tables = {name: tabulation.table() for name, tabulation in prepared.tabulations.items()}
    look = prepared.screening or Screening(tables, [])
    if "xpt" in formats:
        divided = look.divided if look.divided and list(look.tables) == list(tables) else divide(tables)
        accounting.note(divided.problems())
        tables = divided.whole()
        for name, rows in divided.more.items():
            folder.count(name, rows_in=0, rows_out=0, quarantined=0, derived=rows.num_rows)
    return tables | {
        name: empty(about) for name, about in prepared.metadata.items() if name not in tables and about.columns
    }


def _define(
    files: Mapping[str, _File],
    study: StudySummary,
    formats: Sequence[str],
    define: Description,
    accounting: Accounting,
) -> Define:
    form = "xpt" if "xpt" in formats else formats[0]
    described: dict[str, Dataset] = {
        name: dataset_of(file.table, file.about, study.lengths, _name(name, form)) for name, file in files.items()
    }
    made = define.of(described)
    if define.written:
        accounting.note(define.differences(made, described))
    return made


def _name(dataset: str, form: str) -> str:
    return f"{file_name(dataset.lower())}.{FORMATS.get(form, form)}"


def _write(file: _File, form: str, path: Path, define: Define | None, *, referred: bool) -> None:
    if form == "parquet":
        parquet.write(file.table, path, about=file.about)
    elif form == "csv":
        csv.write(file.table, path)
    elif define and form in FORMATS:
        write_json(file.table, path, header(file.table, file.about, define, referred=referred), FORMATS[form])
    else:
        to_transport(file.table, path, file.fit, file.checked)
