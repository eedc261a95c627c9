"""The proof that nothing is lost: there and back again, compared cell by cell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from fhirspace.errors import EXIT_CLEAN, EXIT_FINDINGS, EXIT_QUARANTINED, NOT_READ, Place, Problem
from fhirspace.fhir.canonical import canonical
from fhirspace.fhir.files import FhirFile
from fhirspace.folders import scratch
from fhirspace.foreign import counted, shown
from fhirspace.forms.library import SourceLibrary
from fhirspace.idkey import IdKey, chosen, passing_key
from fhirspace.json import JsonError, strict
from fhirspace.mapping.library import Library
from fhirspace.sdtm.derive.design import StudyDesign
from fhirspace.sdtm.longtext.divide import divide
from fhirspace.standards.fhir import Release
from fhirspace.study import pipeline
from fhirspace.study.accounting import Accounting
from fhirspace.study.dataset import InMemory
from fhirspace.study.inputs import recognise
from fhirspace.study.metadata import compare as metadata
from fhirspace.study.metadata.describe import empty
from fhirspace.study.reading.from_fhir import FromFhir, from_fhir, written
from fhirspace.study.reading.renaming import Renaming, named
from fhirspace.tables.compare import METADATA, Difference, compare
from fhirspace.tables.description import Description
from fhirspace.tables.outputs import OutputFolder
from fhirspace.tables.text import data_columns


@dataclass(slots=True)
class Leg:
    """One comparison: what was compared, rows and filled cells on the left, all differences.

    `not_compared` are rows with declared losses: resources that no mapping claims, or with unmapped content.
    """

    way: str
    table: str
    rows: int
    cells: int
    differences: list[Difference]
    not_compared: int = 0


@dataclass(slots=True)
class Proof:
    """The result of a round trip: a `Leg` a table, the declared losses, problems of the data itself.

    `left_out` are the losses that mappings of forms declare; they were not compared.
    """

    fhir: str
    legs: list[Leg] = field(default_factory=list)
    losses: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list, repr=False)
    quarantined: int = 0
    not_converted: int = 0

    @property
    def compared(self) -> int:
        """The rows and resources that were compared whole."""
        return sum(leg.rows - leg.not_compared for leg in self.legs)

    @property
    def not_read(self) -> int:
        """The files of the input that are not read."""
        return sum(problem.code == NOT_READ for problem in self.problems)

    @property
    def differences(self) -> int:
        """Differences of all tables."""
        return sum(len(leg.differences) for leg in self.legs)

    @property
    def exit_code(self) -> int:
        """0 where everything came back, 3 with what took no part in the comparison, 1 on any difference in the rest."""
        if self.quarantined or self.not_converted or self.not_read:
            return EXIT_QUARANTINED
        return EXIT_FINDINGS if self.differences or not self.compared else EXIT_CLEAN

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``; differences name places, never values. `exact` is true of a whole input only."""
        return {
            "fhir": self.fhir,
            "exact": self.exit_code == EXIT_CLEAN,
            "differences": self.differences,
            "compared": self.compared,
            "quarantined": self.quarantined,
            "not_converted": self.not_converted,
            "not_read": self.not_read,
            "declared_losses": [*self.left_out, *self.losses],
            "problems": [problem.as_dict() for problem in self.problems],
            "tables": [
                {
                    "way": leg.way,
                    "table": leg.table,
                    "rows": leg.rows,
                    "cells": leg.cells,
                    "differences": [
                        {
                            "kind": each.kind,
                            "key": each.key,
                            "column": each.column,
                            "row": each.left_row or each.right_row,
                        }
                        for each in leg.differences[:100]
                    ],
                }
                for leg in self.legs
            ],
        }

    def summary(self) -> str:
        """A table for people."""
        table = [f"{'direction':<34}{'table':<22}{'rows':>8}{'cells':>10}{'differences':>13}"]
        table += [
            f"{leg.way:<34}{shown(leg.table, 64):<22}{leg.rows:>8,}{leg.cells:>10,}{len(leg.differences):>13,}"
            for leg in self.legs
        ]
        table += [f"  {shown(line)}" for line in self._metadata()]
        losses = "\n".join(f"  {shown(loss)}" for loss in (*self.left_out, *self.losses)) or "  none"
        return "\n".join([*table, "declared losses:", losses, f"{self._verdict()} ({self.fhir})"])

    def _metadata(self) -> Iterator[str]:
        """What differs beside the cells, in words."""
        for leg in self.legs:
            for each in leg.differences:
                if each.kind in METADATA:
                    yield f"{leg.table}{f'.{each.column}' if each.column else ''}: {each.kind} differs"

    def _verdict(self) -> str:
        """Whether every cell came back; with quarantined rows this refers to the converted ones only."""
        left = self._left()
        if self.differences:
            return "; ".join([f"NOT exact: {counted(self.differences, 'difference')}", *left])
        if not self.compared:
            return "; ".join(["NOT exact: nothing was compared", *left])
        if left:
            return "; ".join([f"NOT complete: {left[0]}", *left[1:], "only the carried rows are exact"])
        if self.left_out:
            return "exact: every other cell came back, but for the declared losses"
        return "exact: every cell came back"

    def _left(self) -> list[str]:
        """What took no part in the comparison, in words."""
        counts = [
            (self.quarantined, "row or file is quarantined", "rows or files are quarantined"),
            (self.not_converted, "resource is not converted", "resources are not converted"),
            (self.not_read, "file is not read", "files are not read"),
        ]
        return [counted(count, one, many) for count, one, many in counts if count]


def roundtrip(
    paths: Path | Sequence[Path],
    *,
    source: str | None = None,
    mappings: Iterable[Path] = (),
    fhir: Release = "R4",
    id_key: IdKey | Path | str | None = None,
    follow_links: bool = False,
    encoding: str | None = None,
    strict: bool = False,
) -> Proof:
    """Converts an input to FHIR and back and compares every cell (FHIR input: every resource).

    Records go records -> SDTM -> FHIR -> SDTM -> records, and both the datasets and the forms are compared.

    Args:
        paths: a folder or files; source, mappings, fhir, follow_links, encoding, strict: as in `convert`.
        id_key: compare the ids of FHIR input as well, which this key must have made. Without it a key of this process
            alone makes the ids, and ids of FHIR input are renamed before the comparison.

    Raises:
        InputError, UsageError, MappingError: as in `convert`.
    """
    folders = pipeline.own_folders(mappings)
    given = recognise([paths] if isinstance(paths, Path) else paths, follow_links=follow_links, encoding=encoding)
    library = Library(fhir, folders, key=passing_key() if id_key is None else chosen(id_key))
    accounting, proof = Accounting(strict=strict), Proof(fhir)
    for path, fault in given.faults.items():
        accounting.refuse(path, fault)
    accounting.note(given.problems)
    with scratch() as folder:
        if given.kind == "fhir":
            _fhir(given.fhir, library, accounting, folder, proof, rename=id_key is None)
        elif given.kind == "sdtm":
            before = pipeline.from_sdtm(given, library, accounting)
            design = pipeline.design_for(given, source, folders, None)
            _tabulations(before, library, accounting, folder, proof, design=design)
        else:
            sources = pipeline.source_library(source, given.files, folders)
            records = pipeline.read(given, accounting, sources)
            before = pipeline.from_records(records, sources, accounting)
            design = pipeline.design_of(sources)
            outgoing = pipeline.without_unmapped(before, accounting)
            after = _tabulations(outgoing, library, accounting, folder, proof, design=design)
            proof.legs += _records(records, sources, before, after)
            proof.left_out = accounting.declared(fhir=True)
    whole = Place((paths if isinstance(paths, Path) else paths[0]).name)
    if not proof.left_out:
        accounting.require_rows(whole, fhir=given.kind == "fhir")
    accounting.require_result(whole, proof.compared)
    proof.problems, proof.quarantined = accounting.problems, accounting.quarantined
    proof.not_converted = accounting.not_converted
    return proof


def _records(
    records: pipeline.Block,
    sources: SourceLibrary,
    before: pipeline.Prepared,
    after: Mapping[str, pa.Table],
) -> Iterator[Leg]:
    """The forms as read from FHIR, and those with columns that stay out of it as read from SDTM, too."""
    made = pipeline.forms_back(pipeline.Block(after), sources).records
    whole: dict[str, pa.Table] = {}
    if before.unmapped:
        tables = {name: each.table() for name, each in before.tabulations.items()}
        whole = pipeline.forms_back(pipeline.Block(tables), sources).records
    for name, table in records.tables.items():
        if name not in sources.forms:
            yield _leg("records > SDTM > FHIR > records", name, table, table.slice(0, 0), ())
            continue
        form = sources.forms[name]
        reduced = form.reduced(table)
        stayed = list(reduced.left_out.unmapped)
        if stayed:
            back = whole.get(name, reduced.table.slice(0, 0))
            yield _leg("records > SDTM > records", name, reduced.table, back, form.mapping.key)
        left = reduced.table.drop_columns(stayed)
        yield _leg("records > SDTM > FHIR > records", name, left, made.get(name, left.slice(0, 0)), form.mapping.key)


def _tabulations(
    before: pipeline.Prepared,
    library: Library,
    accounting: Accounting,
    home: Path,
    proof: Proof,
    *,
    design: StudyDesign,
) -> dict[str, pa.Table]:
    with OutputFolder(home) as folder:
        pipeline.render(pipeline.localise(before, design), library, folder, accounting)
    found = from_fhir(written(home), library, None, design.declared_zones)
    about = found.descriptions(found.tables)
    parts = divide(found.tables).more if before.files else {}
    for name, tabulation in before.tabulations.items():
        table = tabulation.table()
        key = library.mappings[name].key if name in library.mappings else ()
        other = found.tables.get(name, table.slice(0, 0))
        leg = _leg("SDTM > FHIR > SDTM", name, table, other, key)
        if name in before.files:
            carried = about.get(name, Description())
            ordered = None if leg.differences else isinstance(tabulation, InMemory)
            beside = metadata.compare(
                name, before.files[name], table, other, carried, ordered=ordered, parts=parts.get(name)
            )
            leg.differences += beside.differences
            proof.losses += beside.declared
        proof.legs.append(leg)
    proof.legs += _without_rows(before, about, parts)
    _declare(found, proof)
    return found.tables


def _without_rows(
    before: pipeline.Prepared, about: Mapping[str, Description], parts: Mapping[str, pa.Table]
) -> Iterator[Leg]:
    """The datasets without rows, which are metadata alone, or whose rows are all parts of long texts."""
    for name, given in before.files.items():
        if name in before.metadata and name not in before.tabulations:
            carried = about.get(name, Description())
            beside = metadata.compare(name, given, empty(given), empty(carried), carried, parts=parts.get(name))
            if beside.differences or name not in parts:
                yield Leg("SDTM > FHIR > SDTM", name, 0, 0, beside.differences)


def _leg(way: str, name: str, left: pa.Table, right: pa.Table, keys: Sequence[str]) -> Leg:
    cells = sum(left.num_rows - left[column].null_count for column in data_columns(left))
    return Leg(way, name, left.num_rows, cells, compare(left, right, keys))


def _declare(found: FromFhir, proof: Proof) -> None:
    proof.losses += sorted({f"{file}: {path} is read by no mapping" for file, _, path in found.unmapped})
    proof.losses += sorted({f"{file}: {path} is empty and is left out" for file, _, path in found.empty})
    outdated = Counter(file for file, _ in found.outdated)
    proof.losses += [f"{file}: {counted(count, 'resource')} of a history left out" for file, count in outdated.items()]
    proof.losses += sorted({f"{file}: references are absolute or have a version" for file, _ in found.addressed})
    proof.problems += found.problems


def _fhir(
    files: Sequence[FhirFile], library: Library, accounting: Accounting, home: Path, proof: Proof, *, rename: bool
) -> None:
    """FHIR > SDTM > FHIR: resources are compared as canonical JSON; what no mapping reads is a declared loss.

    Files and lines that cannot be read are quarantined and not compared.
    """
    found = from_fhir(files, library, accounting)
    with OutputFolder(home) as folder:
        tables = {name: InMemory(table) for name, table in found.tables.items()}
        before = pipeline.Prepared({**tables}, metadata=found.descriptions(tables), define=found.define)
        pipeline.render(pipeline.localise(before, StudyDesign()), library, folder, accounting)
    made = written(home)
    lines = {canonical(line) for line in _content(made)}
    renamed = Renaming(named(_content(found.files)), named(_content(made))) if rename else bytes
    left_out = (*found.unmapped, *found.empty, *found.foreign, *found.broken, *found.outdated, *found.addressed)
    declared = {(name, line) for name, line, *_ in left_out}
    for file in found.files:
        rows = list(file.resources())
        lost = [
            Difference("only left", "", None, number, None)
            for number, line in rows
            if (file.name, number) not in declared and _spelt(renamed(line)) not in lines
        ]
        left = sum((file.name, number) in declared for number, _ in rows)
        proof.legs.append(Leg("FHIR > SDTM > FHIR", file.name, len(rows), 0, lost, left))
    _declare(found, proof)
    proof.losses += [f"{name}:{line} is a resource that no mapping claims" for name, line in found.foreign]


def _content(files: Sequence[FhirFile]) -> Iterator[bytes]:
    return (line for file in files for _, line in file.resources())


def _spelt(line: bytes) -> bytes:
    """`canonical`; nothing for what programs read differently: a name that comes twice, a number of 5,000 digits."""
    try:
        strict(line)
        return canonical(line)
    except JsonError:
        return b""
