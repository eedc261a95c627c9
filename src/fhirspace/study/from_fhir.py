"""FHIR to tabulations: NDJSON files and Bundles read into datasets, and what no slot reads kept beside them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from fhirspace.errors import InputError, Place, Problem
from fhirspace.fhir import bundles, ndjson
from fhirspace.foreign import as_strict_json, counted, file_name
from fhirspace.limits import limit
from fhirspace.mapping.library import Library
from fhirspace.mapping.read.reader import Collector, Reader
from fhirspace.sdtm.layout import tabulate
from fhirspace.standards import sdtm
from fhirspace.study.accounting import Ledger
from fhirspace.tables.outputs import OutputFolder


@dataclass(slots=True)
class FromFhir:
    """What FHIR files gave.

    Attributes:
        tables: datasets by name, in their final form.
        unread: places of content that no slot reads: file, line, path.
        foreign: resources that no mapping claims: file, line.
        problems: lines that are no resources, resources that no mapping claims.
        resources: the number of resources read.
        files: those that could be read to their end. broken: lines that are no resources: file, line.
    """

    tables: dict[str, pa.Table] = field(default_factory=dict)
    unread: list[tuple[str, int, str]] = field(default_factory=list)
    foreign: list[tuple[str, int]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    resources: int = 0
    files: list[Path] = field(default_factory=list)
    broken: list[tuple[str, int]] = field(default_factory=list)


def fhir_files(path: Path) -> list[Path]:
    """The NDJSON and JSON files of a folder (its ``fhir/`` where it has one) or a single file, in order."""
    if path.is_file():
        return [path]
    folder = path / "fhir" if (path / "fhir").is_dir() else path
    names = (".ndjson", ".jsonl", ".json", ".ndjson.gz")
    return sorted(
        file for file in folder.iterdir() if file.name.endswith(names) and bundles.recognise(file) is not None
    )


def from_fhir(files: Sequence[Path], library: Library, ledger: Ledger | None = None) -> FromFhir:
    """Reads the resources of some files into datasets.

    Args:
        files: NDJSON files, Bundles or single resources.
        library: the mappings of the files' release.
        ledger: the books: lines that are no resources, and files that cannot be read to their end, go to quarantine.

    Raises:
        InputError: FS404 and others of the first file, where none can be read to its end.
    """
    reader, collector, found = Reader(library), Collector(library), FromFhir()
    found.files = _readable(files, ledger)
    for file in found.files:
        before, broken = found.resources, dict[int, None]()
        for batch in reader.read(_counted(lines(file), found), file.name):
            collector.add(batch)
            found.unread += [(file.name, line, path) for line, path in batch.unread]
            found.foreign += [(file.name, line) for line in batch.foreign]
            found.problems += batch.problems
            broken |= {problem.place.row or 0: None for problem in batch.problems}
        found.broken += [(file.name, line) for line in broken]
        if ledger is not None:
            ledger.read(file.name, found.resources - before)
            ledger.hold_lines(file.name, (raw for line, raw in lines(file) if line in broken) if broken else ())
    found.tables = {
        name: tabulate(table, name) if sdtm.known(name) else table for name, table in sorted(collector.tables().items())
    }
    found.problems += [
        Problem("FS440", Place(name, line), "a resource with an identifier of a mapping")
        for name, line in found.foreign
    ]
    found.problems += _unread(found)
    if ledger is not None:
        ledger.note(found.problems)
    return found


def _readable(files: Sequence[Path], ledger: Ledger | None) -> list[Path]:
    """The files that can be read to their end: half a file must not pass for a whole one."""
    good: list[Path] = []
    faults: dict[Path, InputError] = {}
    for file in files:
        try:
            if bundles.recognise(file) != "ndjson" or file.suffix == ".gz" or file.stat().st_size > limit("line-bytes"):
                for _ in lines(file):
                    pass
            good.append(file)
        except InputError as fault:
            if ledger is None:
                raise
            faults[file] = fault
            ledger.refuse(file, fault)
    if faults and not good:
        raise next(iter(faults.values()))
    return good


def _unread(found: FromFhir) -> Iterator[Problem]:
    """One warning for each path of a file that no mapping reads, at the first line that has it."""
    counts = Counter((name, path) for name, _, path in found.unread)
    first: dict[tuple[str, str], int] = {}
    for name, line, path in found.unread:
        first.setdefault((name, path), line)
    for (name, path), line in first.items():
        having = counted(counts[name, path], "resource has it", "resources have it")
        yield Problem("FS441", Place(name, line, path), "an element that the mapping has a slot for", detail=having)


def keep_unread(found: FromFhir, files: Sequence[Path], folder: OutputFolder) -> None:
    """Keeps what no slot reads: ``unread/<file>`` has the resources whole, ``unread.ndjson`` lists the places.

    The resources may hold patients' data: they are readable by their owner only.
    """
    if not found.unread and not found.foreign:
        return
    with folder.open("unread.ndjson") as stream:
        for name, line, path in found.unread:
            stream.write(as_strict_json({"file": name, "line": line, "path": path}))
    for file in files:
        kept = {line for name, line, *_ in (*found.unread, *found.foreign) if name == file.name}
        if kept:
            with folder.open(f"unread/{file_name(file.name.removesuffix('.gz'))}") as stream:
                stream.writelines(raw.strip() + b"\n" for line, raw in lines(file) if line in kept)


def lines(file: Path) -> Iterator[tuple[int, bytes]]:
    """The resources of an NDJSON file, a Bundle or a single resource as raw bytes, with their line or position."""
    if bundles.recognise(file) == "ndjson":
        yield from ndjson.read(file)
    else:
        yield from enumerate(bundles.entries(file), 1)


def _counted(lines: Iterable[tuple[int, bytes]], found: FromFhir) -> Iterator[tuple[int, bytes]]:
    for line in lines:
        found.resources += 1
        yield line
