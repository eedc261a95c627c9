"""Runs conformance rules over the SDTM datasets of an input."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import pyarrow as pa

from fhirspace import atomic
from fhirspace.errors import InputError, MappingError, Place, UsageError
from fhirspace.sdtm.define.document import reading
from fhirspace.sdtm.define.model import Define
from fhirspace.sdtm.rules.catalogue import added, own
from fhirspace.sdtm.rules.checks import CODE
from fhirspace.sdtm.rules.engine import Engine
from fhirspace.sdtm.rules.model import Rule, load_all
from fhirspace.sdtm.rules.study import About, Dataset, Study, whole
from fhirspace.standards import sdtm
from fhirspace.study.inputs import Input, Opened
from fhirspace.study.rules import explained
from fhirspace.study.rules.explained import Explanation
from fhirspace.study.rules.report import Report
from fhirspace.tables import description, formats
from fhirspace.tables.text import decode


def judge(opened: Opened, *, rules: Path | None = None, why: Path | None = None, values: bool = False) -> Report:
    """What fhirspace's rules, and those that the user added, find in SDTM datasets.

    Args:
        opened: folders and files; what holds no datasets is passed over, also datasets that cannot be read.
        rules: a folder or file with rules that run instead of the added ones.
        why: a file with explanations, instead of those beside the datasets.
        values: whether the report has the values of flagged records.

    Raises:
        InputError: FS101, `rules` or `why` is not there; UsageError: FS615 there are no datasets, FS805 the added
            rules cannot be read; MappingError: FS806 and others, the explanations cannot be read.
    """
    report = Report()
    chosen = _chosen(rules, report)
    if why is not None and not why.is_file():
        raise InputError("FS101", Place(why.name), "a file with explanations")
    reasons = [each for file in ([why] if why else explained.beside(opened.paths)) for each in explained.load(file)]
    report.datasets = list(_datasets(opened))
    if not report.datasets:
        raise UsageError("FS615", ", ".join(path.name for path in opened.paths), "SDTM datasets")
    run(chosen, Study(report.datasets, define=_define(opened.inputs)), report, values=values)
    report.finish(reasons)
    return report


def judge_output(out: Path, beside: Sequence[Path] = ()) -> Report:
    """What fhirspace's own rules find in the datasets of an output folder.

    Args:
        out: the folder, with ``sdtm/`` in it. beside: files and folders beside which explanations are looked for, too.

    Raises:
        InputError: the folder cannot be read; MappingError: the explanations cannot be read.
    """
    report = Report()
    opened = Opened([out])
    reasons = [each for file in explained.beside([out, *beside]) for each in explained.load(file)]
    report.datasets = list(_datasets(opened))
    run(own.rules(), Study(report.datasets, define=_define(opened.inputs)), report)
    report.finish(reasons)
    return report


def judge_tables(tables: Mapping[str, pa.Table], reasons: Sequence[Explanation]) -> Report:
    """What fhirspace's own rules find in datasets that are about to be written; `reasons` explain findings."""
    report = Report()
    report.datasets = [_of_columns(name, table) for name, table in tables.items()]
    run(own.rules(), Study(report.datasets), report)
    report.finish(reasons)
    return report


def run(rules: Sequence[Rule], study: Study, report: Report, *, values: bool = False) -> None:
    """Adds to a report what some rules find in a study, and what they judged it by."""
    report.standards = {
        "SDTMIG": sdtm.version(),
        "SDTMIG that the study names": study.version if study.version != sdtm.version() else "",
        "Controlled terminology": study.terms.version(),
        "Terminology that the study names": study.terminology,
        "Define-XML": study.define.version if study.define else "",
    }
    engine = Engine(study)
    for rule in rules:
        report.add(engine.run(rule), values=values)


def write_values(report: Report, file: Path) -> None:
    """Writes the values of the records found: NDJSON, mode 0600. Raises OSError: it cannot be written."""
    lines = (json.dumps(each, ensure_ascii=False) + "\n" for each in report.values)
    atomic.write(file, "".join(lines).encode("utf-8", "replace"))


def _define(inputs: Sequence[Input]) -> Define | None:
    """The define.xml beside the datasets; one that cannot be read is reported by `validate`."""
    for given in inputs:
        if given.define:
            with suppress(InputError):
                return reading.read(given.define)
    return None


def _chosen(folder: Path | None, report: Report) -> list[Rule]:
    """The rules that run. The report is given where those came from that are not ours, and the files that are wrong."""
    mine = list(own.rules())
    if folder is not None:
        report.source = folder.name
        return mine + _of_files(folder, report)
    found = added.rules()
    if found is None:
        return mine
    kept, others = found
    report.source = f"{kept.source} {kept.digest[:12]}"
    wanted = f"SDTMIG {sdtm.version()}"
    fitting = [rule for rule in others if not rule.standards or wanted in rule.standards]
    theirs = {name for rule in fitting for name in rule.ids}  # of a rule that both have, theirs is the one to quote
    replaced = [rule for rule in mine if theirs & {*rule.ids}]
    report.codes = {name: each for rule in replaced for each in rule.ids if CODE.fullmatch(each) for name in rule.ids}
    return [rule for rule in mine if rule not in replaced] + fitting


def _of_files(folder: Path, report: Report) -> list[Rule]:
    """The rules of a folder or a file; a file that is wrong does not stop the others."""
    if not folder.exists():
        raise InputError("FS101", Place(folder.name), "a file or a folder with rules")
    rules: list[Rule] = []
    for file in [folder] if folder.is_file() else sorted([*folder.rglob("*.yml"), *folder.rglob("*.yaml")]):
        try:
            rules += load_all(file)
        except MappingError as error:
            report.unjudged[file.name] = {"*": str(error)}
    return rules


def _datasets(opened: Opened) -> Iterator[Dataset]:
    for given in opened.inputs:
        for name, found in given.files.items() if given.kind == "sdtm" else ():
            with suppress(InputError):  # it is a finding of `validate`
                yield _dataset(name, found, opened)


def _dataset(name: str, found: formats.Found, opened: Opened) -> Dataset:
    data, _, _ = opened.tabulation(found)
    return of_table(name, data.table(), found.path)


def of_table(name: str, table: pa.Table, path: Path) -> Dataset:
    """A dataset for rules out of a table and the file that it is of."""
    found = _of_columns(name, table)
    found.file, found.size = path.name, path.stat().st_size
    return found


def _of_columns(name: str, table: pa.Table) -> Dataset:
    known = description.of(table)
    about = {column.name: _about(name, column) for column in known.columns}
    return Dataset(name, _plain(table), known.label or _label(name), f"{name.lower()}.xpt", 0, about, lenient=True)


def _about(dataset: str, column: description.Column) -> About:
    """What is known of a variable: what its file says, else what the guide says."""
    guide = sdtm.variable(dataset, column.name) if sdtm.known(dataset) else None
    kind = column.type or (guide.type if guide else "Char")
    return About(column.label or (guide.label if guide else ""), kind, column.length)


def _label(name: str) -> str:
    return sdtm.domain(name).label if sdtm.known(name) else ""


def _plain(table: pa.Table) -> pa.Table:
    """The table with plain text columns instead of dictionaries: rules compare, cut and join them.

    Each column becomes one array: what a rule asks for is then that array itself, and no copy of it.
    """
    for at, field in enumerate(table.schema):
        column = table.column(at)
        if pa.types.is_dictionary(field.type):
            column = decode(column)
        table = table.set_column(at, field.name, whole(column))
    return table
