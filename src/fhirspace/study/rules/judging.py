"""Runs conformance rules over the SDTM datasets of an input."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from fhirspace import atomic
from fhirspace.errors import InputError, MappingError, Place, UsageError
from fhirspace.sdtm.rules.catalogue import added, own
from fhirspace.sdtm.rules.engine import Engine
from fhirspace.sdtm.rules.model import Rule, load_all
from fhirspace.sdtm.rules.study import About, Dataset, Study
from fhirspace.standards import sdtm
from fhirspace.study.inputs import Input, inner_folders, recognise, tabulation
from fhirspace.study.rules.report import Report
from fhirspace.tables import description, formats


def judge(
    paths: Sequence[Path],
    *,
    rules: Path | None = None,
    values: Path | None = None,
    follow_links: bool = False,
    encoding: str | None = None,
) -> Report:
    """What fhirspace's rules, and those that the user added, find in SDTM datasets.

    Args:
        paths: folders or files, as `validate` takes them; what holds no datasets is passed over.
        rules: a folder or file with rules that run instead of the added ones.
        values: a new file for the values of flagged records (NDJSON, mode 0600); None writes none.

    Raises:
        InputError: as `recognise`, FS101 `rules` is not there; UsageError: FS615 there are no datasets, FS805 the
            added rules cannot be read.
    """
    report = Report()
    chosen = _chosen(rules, report)
    engine = Engine(Study(_datasets(paths, follow_links, encoding)))
    for rule in chosen:
        report.add(engine.run(rule), values=values is not None)
    report.finish()
    if values is not None:
        lines = (json.dumps(each, ensure_ascii=False) + "\n" for each in report.values)
        atomic.write(values, "".join(lines).encode("utf-8", "replace"))
    return report


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
    return [rule for rule in mine if not theirs & {*rule.ids}] + fitting


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


def _datasets(paths: Sequence[Path], follow_links: bool, encoding: str | None) -> list[Dataset]:
    inputs: list[Input] = []
    for path in paths:
        inner = inner_folders(path, ("sdtm",), follow_links=follow_links)
        inputs += (recognise([each], follow_links=follow_links, encoding=encoding) for each in inner or [path])
    found = [_dataset(name, each) for given in inputs if given.kind == "sdtm" for name, each in given.files.items()]
    if not found:
        raise UsageError("FS615", ", ".join(path.name for path in paths), "SDTM datasets")
    return found


def _dataset(name: str, found: formats.Found) -> Dataset:
    data, _, _ = tabulation(found)
    table = data.table()
    known = description.of(table)
    about = {column.name: _about(name, column) for column in known.columns}
    return Dataset(name, _plain(table), known.label or _label(name), found.path.name, found.path.stat().st_size, about)


def _about(dataset: str, column: description.Column) -> About:
    """What is known of a variable: what its file says, else what the guide says."""
    guide = sdtm.variable(dataset, column.name) if sdtm.known(dataset) else None
    kind = column.type or (guide.type if guide else "Char")
    return About(column.label or (guide.label if guide else ""), kind, column.length)


def _label(name: str) -> str:
    return sdtm.domain(name).label if sdtm.known(name) else ""


def _plain(table: pa.Table) -> pa.Table:
    """The table with plain text columns instead of dictionaries: rules compare, cut and join them."""
    for at, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            table = table.set_column(at, field.name, table.column(at).cast(pa.string()))
    return table
