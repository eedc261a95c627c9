"""FHIR to tabulations: NDJSON files and Bundles read into datasets, and unmapped content written beside them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path

import pyarrow as pa

from fhirspace.errors import InputError, Place, Problem
from fhirspace.fhir.bundles import BundleNotes
from fhirspace.fhir.files import FhirFile, find
from fhirspace.fhir.ndjson import is_packed
from fhirspace.foreign import as_strict_json, counted, file_name, listed
from fhirspace.limits import limit
from fhirspace.mapping.library import Library
from fhirspace.mapping.read.reader import Collector, Reader
from fhirspace.mapping.read.witness import label
from fhirspace.sdtm import columns
from fhirspace.sdtm.define.model import Define
from fhirspace.sdtm.derive import basis
from fhirspace.sdtm.layout import tabulate
from fhirspace.standards import sdtm
from fhirspace.study.accounting import Accounting
from fhirspace.study.define import resource as defined
from fhirspace.study.metadata.describe import Metadata, arranged, lost_values, together, without_standard_results
from fhirspace.study.metadata.resource import found_in
from fhirspace.study.reading.addresses import addressed, relative
from fhirspace.study.reading.edited import reconcile
from fhirspace.study.reading.releases import of_another_release
from fhirspace.study.reading.statuses import StatusScreen
from fhirspace.study.reading.subjects import SubjectScreen
from fhirspace.study.reading.visits import VisitScreen
from fhirspace.tables.description import Description
from fhirspace.tables.outputs import OutputFolder


@dataclass(slots=True)
class FromFhir:
    """What FHIR files gave.

    Attributes:
        tables: datasets by name, in their final form.
        unmapped: places of unmapped content: file, line, path.
        empty: places of values that are null or empty, read as if they were left out: file, line, path.
        absent: places of elements that were written and are not there any more: file, line, path.
        foreign: resources that no mapping claims: file, line.
        problems: lines that are no resources, resources that no mapping claims.
        resources: the number of resources read.
        files: those that could be read to their end, as they were recognised.
        broken: lines that are no resources: file, line.
        outdated: resources of a history that have a later version, or were deleted: file, entry.
        addressed: resources with absolute or versioned references that are read as relative ones: file, line.
        metadata: labels, lengths, order and the like, by dataset; `tables` follow them.
        define: the define.xml of the datasets. stale: metadata that cannot be used.
    """

    tables: dict[str, pa.Table] = field(default_factory=dict)
    unmapped: list[tuple[str, int, str]] = field(default_factory=list)
    empty: list[tuple[str, int, str]] = field(default_factory=list)
    absent: list[tuple[str, int, str]] = field(default_factory=list)
    foreign: list[tuple[str, int]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    resources: int = 0
    files: list[FhirFile] = field(default_factory=list)
    broken: list[tuple[str, int]] = field(default_factory=list)
    outdated: list[tuple[str, int]] = field(default_factory=list)
    addressed: list[tuple[str, int]] = field(default_factory=list)
    metadata: dict[str, Metadata] = field(default_factory=dict)
    stale: list[Problem] = field(default_factory=list)
    define: Define | None = None

    def descriptions(self, left: Collection[str]) -> dict[str, Description]:
        """The descriptions of the datasets that are left of `tables`, and of those without rows."""
        return {
            name: each.description
            for name, each in self.metadata.items()
            if name in left or (name not in self.tables and not each.rows)
        }


def written(folder: Path) -> list[FhirFile]:
    """The FHIR files of an output of ours (those of its ``fhir/`` where it has one), in order."""
    return find([folder]).files


def fhir_files(folder: Path) -> list[Path]:
    """The paths of what is `written`: all NDJSON."""
    return [file.path for file in written(folder)]


def from_fhir(
    files: Sequence[FhirFile],
    library: Library,
    accounting: Accounting | None = None,
    zones: Collection[str] = (),
) -> FromFhir:
    """Reads the resources of some files into datasets.

    Args:
        files: as they were recognised.
        library: the mappings of the files' release.
        accounting: lines that are no resources, and files that cannot be read to their end, are quarantined in it.
        zones: the time zones that the study declares: their offsets are no part of a cell.

    Raises:
        InputError: FS404 and others of the first file, where none can be read to its end.
    """
    reader, collector, found = Reader(library), Collector(library), FromFhir()
    contradictory: set[tuple[str, str, int]] = set()
    statuses, subjects, visits = StatusScreen(library), SubjectScreen(library), VisitScreen(library)
    notes = BundleNotes()
    found.files = _readable(files, notes, accounting)
    for file in found.files:
        before, lines = found.resources, dict[int, bytes]()
        current = _as_written(file, _current(file, found, notes), found)
        content = _without_metadata(_counted(current, found, lines), found, file.name)
        for batch in reader.read(content, file.name):
            statuses.apply(batch, lines, file.name)
            subjects.apply(batch, lines, file.name)
            visits.apply(batch, lines, file.name)
            lines.clear()
            collector.add(batch)
            found.unmapped += [(file.name, line, path) for line, path in batch.unmapped]
            found.empty += [(file.name, line, path) for line, path in batch.empty]
            found.absent += [(file.name, line, path) for line, path in batch.absent]
            found.foreign += [(file.name, line) for line in batch.foreign]
            found.problems += batch.problems
            contradictory.update((file.name, label(column), line) for line, column in batch.contradictory)
        if accounting is not None:
            accounting.read(file.name, found.resources - before, "file")
            accounting.leave(file.name, len(notes.outdated.get(file.path, ())))
    tables, problems = subjects.take_out(collector.tables())
    tables, numbered = visits.numbered(tables)
    found.unmapped = [place for place in found.unmapped if place not in numbered]
    derived = {name for name, table in tables.items() if columns.filled(table, basis.DIGEST)}
    reconciled = reconcile(tables, library, collector.once, zones)
    found.problems += problems
    broken = _broken(found)
    found.problems += notes.problems()
    unclaimed = Counter(name for name, line in found.foreign if line not in broken.get(name, {}))
    for file in found.files:
        held = broken.get(file.name, {})
        if accounting is not None and held:
            accounting.quarantine_lines(file.name, (raw for line, raw in file.resources() if line in held))
        if accounting is not None and (left := unclaimed[file.name]):
            accounting.leave_unconverted(file.name, left)
    found.tables = {
        name: tabulate(table, name, shortest=False) if sdtm.known(name) else _identified_first(table)
        for name, table in reconciled.tables.items()
    }
    found.problems += [*reconciled.problems, *_without_results(found, derived), *_arrange(found)]
    found.problems += [
        Problem("FS440", Place(name, line), "a resource with an identifier of a mapping")
        for name, line in found.foreign
    ]
    found.problems += [
        *of_another_release(found.unmapped, library.release),
        *found.stale,
        *_empty(found),
        *_unmapped(found),
        *_addressed(found),
        *_absent(found),
        *statuses.findings(),
        *_contradictions(contradictory),
    ]
    if accounting is not None:
        accounting.note(found.problems)
    return found


def _identified_first(table: pa.Table) -> pa.Table:
    """A dataset that the guide does not know: identifiers first, the other columns in the order of their cells."""
    first = [name for name in ("STUDYID", "DOMAIN", "RDOMAIN", "USUBJID") if name in table.column_names]
    return table.select([*first, *(name for name in table.column_names if name not in first)])


def _without_metadata(lines: Iterable[tuple[int, bytes]], found: FromFhir, file: str) -> Iterator[tuple[int, bytes]]:
    """The lines but for those with the metadata of datasets, which are added to what was found."""
    for number, line in lines:
        place = Place(file, number)
        about = found_in(line, place) or defined.found_in(line, place)
        if about is None:
            yield number, line
        elif isinstance(about, Problem):
            found.stale.append(about)
        elif isinstance(about, Define):
            found.define = found.define or about
        else:
            name, metadata = about
            earlier = found.metadata.get(name)
            found.metadata[name] = together(earlier, metadata) if earlier else metadata


def _arrange(found: FromFhir) -> Iterator[Problem]:
    """Brings the tables into the form of their files."""
    for name, metadata in found.metadata.items():
        if name in found.tables:
            if lost := lost_values(found.tables[name], metadata):
                yield Problem("FS473", Place(name), table=name, detail=listed(lost, 8))
            found.tables[name], same = arranged(found.tables[name], name, metadata)
            if not same:
                yield Problem("FS450", Place(name), table=name)
        left = found.tables[name].num_rows if name in found.tables else 0
        if left < metadata.rows:
            yield Problem("FS459", Place(name), table=name, detail=f"{left:,} of {counted(metadata.rows, 'row')}")


def _without_results(found: FromFhir, derived: Collection[str]) -> Iterator[Problem]:
    """The datasets that have no standard result and nothing else derived, beside others that have.

    Not those of which metadata say how many cells they had.
    """
    for name, table in found.tables.items() if derived else ():
        known = name in derived or (name in found.metadata and found.metadata[name].cells)
        if not known and (results := without_standard_results(table, name)):
            place = Place(name, None, f"{name[:2]}STRESC")
            yield Problem("FS474", place, table=name, detail=counted(results, "result"))


def _broken(found: FromFhir) -> dict[str, dict[int, None]]:
    """The lines of each file that have a problem so far: they give no row."""
    broken: dict[str, dict[int, None]] = {}
    for problem in found.problems:
        broken.setdefault(problem.place.file, {})[problem.place.row or 0] = None
    found.broken = [(file, line) for file, lines in broken.items() for line in lines]
    return broken


def _readable(files: Sequence[FhirFile], notes: BundleNotes, accounting: Accounting | None) -> list[FhirFile]:
    """The files that can be read to their end: half a file must not pass for a whole one."""
    good: list[FhirFile] = []
    faults: list[InputError] = []
    for file in files:
        try:
            if file.kind == "bundle":
                notes.read(file, file.bundle())
            elif not _always_readable(file):
                for _ in file.resources():
                    pass
            good.append(file)
        except InputError as fault:
            if accounting is None:
                raise
            faults.append(fault)
            accounting.refuse(file.path, fault)
    if faults and not good:
        raise faults[0]
    return good


def _always_readable(file: FhirFile) -> bool:
    """Whether no line can be too long, and nothing is unpacked or taken apart."""
    small = file.path.stat().st_size <= limit("line-bytes")
    return file.kind == "ndjson" and small and not is_packed(file.path)


def _contradictions(places: Collection[tuple[str, str, int]]) -> Iterator[Problem]:
    """One warning for each column of a file of which elements contradict each other, at the first line."""
    for place, resources in _first([(name, line, column) for name, column, line in sorted(places)]):
        yield Problem("FS448", place, detail=counted(resources, "resource has it", "resources have it"))


def _unmapped(found: FromFhir) -> Iterator[Problem]:
    """One warning for each path of a file that no mapping reads, at the first line that has it."""
    for place, resources in _first(found.unmapped):
        having = counted(resources, "resource has it", "resources have it")
        yield Problem("FS441", place, "an element that the mapping has a slot for", detail=having)


def _addressed(found: FromFhir) -> Iterator[Problem]:
    """One note for each file with references that are read as relative ones, at the first line that has one."""
    for place, resources in _first([(name, line, "reference") for name, line in found.addressed]):
        yield Problem("FS457", place, detail=counted(resources, "resource has one", "resources have one"))


def _absent(found: FromFhir) -> Iterator[Problem]:
    """One warning for each path of a file that was written and is not there, at the first line without it."""
    for place, resources in _first(found.absent):
        yield Problem("FS458", place, detail=counted(resources, "resource is without it", "resources are without it"))


def _empty(found: FromFhir) -> Iterator[Problem]:
    """One finding for each path of a file that is empty, at the first line where it is."""
    for place, resources in _first(found.empty):
        having = counted(resources, "resource has it empty", "resources have it empty")
        yield Problem("FS420", place, "a value, or no element", detail=having)


def _first(places: Sequence[tuple[str, int, str]]) -> Iterator[tuple[Place, int]]:
    """The first place of each path of a file, and how many resources have it."""
    lines: dict[tuple[str, str], list[int]] = {}
    for name, line, path in places:
        lines.setdefault((name, path), []).append(line)
    yield from ((Place(name, found[0], path), len(found)) for (name, path), found in lines.items())


def write_unmapped(found: FromFhir, folder: OutputFolder) -> None:
    """Writes unmapped content: ``unread/<file>`` has the resources whole, ``unread.ndjson`` lists the places.

    The resources may hold patients' data: they are readable by their owner only.
    """
    if not found.unmapped and not found.foreign:
        return
    with folder.open("unread.ndjson") as stream:
        for name, line, path in found.unmapped:
            stream.write(as_strict_json({"file": name, "line": line, "path": path}))
    for file in found.files:
        kept = {line for name, line, *_ in (*found.unmapped, *found.foreign) if name == file.name}
        if kept:
            with folder.open(f"unread/{file_name(file.name.removesuffix('.gz'))}") as stream:
                stream.writelines(raw.strip() + b"\n" for line, raw in file.resources() if line in kept)


def _current(file: FhirFile, found: FromFhir, notes: BundleNotes) -> Iterator[tuple[int, bytes]]:
    """The resources of a file, those of a history that count no more only counted."""
    outdated = notes.outdated.get(file.path, frozenset())
    for number, line in file.resources():
        if number in outdated:
            found.resources += 1
            found.outdated.append((file.name, number))
        else:
            yield number, line


def _counted(
    lines: Iterable[tuple[int, bytes]], found: FromFhir, kept: dict[int, bytes]
) -> Iterator[tuple[int, bytes]]:
    """The lines, counted, and stored in `kept` until their batch is done."""
    for number, line in lines:
        found.resources += 1
        kept[number] = line
        yield number, line


def _as_written(file: FhirFile, lines: Iterable[tuple[int, bytes]], found: FromFhir) -> Iterator[tuple[int, bytes]]:
    """The lines of a file with references as they were written; those with other ones are noted."""
    targets = cache(partial(addressed, file))
    for number, line in lines:
        made = relative(line, targets)
        if made is not line:
            found.addressed.append((file.name, number))
        yield number, made
