"""FHIR that fhirspace did not write, flattened by views to records, as one step of a conversion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from fhirspace.errors import MappingError, Place, Problem, UsageError
from fhirspace.fhir.files import FhirFile
from fhirspace.foreign import as_strict_json, counted, file_name
from fhirspace.standards.fhir import Release
from fhirspace.study.accounting import Accounting
from fhirspace.study.inputs import Input
from fhirspace.tables import csv, parquet
from fhirspace.tables.outputs import OutputFolder
from fhirspace.tables.text import FILE, ROW
from fhirspace.views.flatten import Flattened, flatten
from fhirspace.views.notation.library import view_set
from fhirspace.views.notation.model import ViewSet
from fhirspace.views.subjects import BEGAN, START, Enrolment, enrolled, enrolment
from fhirspace.views.times import contradicts, windows

RECORDS = ("csv", "parquet")
"""The formats of records."""


def views_of(name: str, subjects: Path | None, folders: Sequence[Path], release: Release) -> ViewSet:
    """The views of a name or folder, with another enrolment table if one is given. Raises as `view_set`."""
    found = view_set(name, folders, release)
    if subjects is None:
        return found
    rest = {name: view for name, view in found.views.items() if name != found.enrolling}
    return replace(found, views=rest, subjects=subjects, enrolling="")


def flattened(given: Input, views: ViewSet, release: Release, accounting: Accounting) -> Flattened:
    """The records of the FHIR files of an input, counted by resource type; see `flatten`.

    Raises:
        UsageError: FS616, the input is no FHIR. MappingError, InputError: the enrolment table cannot be used.
    """
    if given.kind != "fhir":
        raise UsageError("FS643", Place("--views"), "FHIR files")
    table = (
        enrolment(views.subjects) if views.subjects is not None else _by_view(given.fhir, views, release, accounting)
    )
    made = flatten(given.fhir, views, release, table, windows(views.visits))
    made.records.pop(views.enrolling, None)
    _count(made, given.fhir, accounting)
    accounting.note([*made.problems, *_problems(made, views)])
    return made


def _by_view(files: Sequence[FhirFile], views: ViewSet, release: Release, accounting: Accounting) -> Enrolment | None:
    """The enrolment that the records of a view are, such as one of ResearchSubject. Raises MappingError FS375."""
    if not views.enrolling:
        return None
    alone = replace(views, views={views.enrolling: views.views[views.enrolling]}, day_one=None)
    records = flatten(files, alone, release).records.get(views.enrolling)
    if records is None or not records.num_rows:
        raise MappingError("FS375", views.enrolling, "records of this view: who is in the study")
    made = enrolled(records, views.enrolling)
    places = zip(records[FILE].to_pylist(), records[ROW].to_pylist(), strict=True)
    dates = zip(made.column(START), made.column(BEGAN), places, strict=True)
    accounting.note(
        Problem("FS470", Place(*place, BEGAN)) for consent, began, place in dates if contradicts(consent, began)
    )
    return made


def _count(made: Flattened, files: Sequence[FhirFile], accounting: Accounting) -> None:
    bad = _lines(made, files)
    for kind in made.kinds:
        counts = made.count(kind)
        accounting.read(kind, counts["in"], "file")
        accounting.leave(kind, counts["left"])
        accounting.leave_unconverted(kind, counts["unclaimed"])
        accounting.quarantine_lines(kind, bad.get(kind, ()))
    for place, raw in made.faults:
        accounting.read(place.file, 1, "file")
        accounting.quarantine_lines(place.file, [raw])
    for file, fault in made.broken:
        accounting.refuse(file.path, fault)


def _lines(made: Flattened, files: Sequence[FhirFile]) -> dict[str, list[bytes]]:
    """The quarantined resources by type, read again."""
    found: dict[str, list[bytes]] = {}
    wanted: dict[int, dict[int, str]] = {}
    for kind, file, line in made.lines:
        wanted.setdefault(file, {})[line] = kind
    for number, lines in sorted(wanted.items()):
        for line, raw in files[number].resources():
            if line in lines:
                found.setdefault(lines[line], []).append(raw)
            if line >= max(lines):
                break
    return found


def _problems(made: Flattened, views: ViewSet) -> list[Problem]:
    found = [
        Problem("FS464", Place(kind), detail=f"{counted(count, 'resource')}, {reason}", table=kind)
        for (kind, reason), count in sorted(made.left.items())
    ]
    found += [
        Problem("FS463", Place(kind), detail=counted(count, "resource"), table=kind)
        for kind, count in sorted(made.unclaimed.items())
        if count
    ]
    if not any(table.num_rows for table in made.records.values()):
        whole = sum(made.count(kind)["in"] for kind in made.kinds)
        detail = f"0 of {counted(whole, 'resource')}, by the views {views.name}"
        found.append(Problem("FS465", Place(views.name), f"one of {', '.join(sorted(views.types))}", "", detail))
    return found


def write_unmapped_paths(made: Flattened, folder: OutputFolder) -> None:
    """Writes ``unread.ndjson``: each path of taken resources that no view reads, with the number of resources."""
    if made.unmapped:
        with folder.open("unread.ndjson") as stream:
            for path, count in sorted(made.unmapped.items()):
                stream.write(as_strict_json({"path": path, "resources": count}))


def counted_records(made: Flattened, accounting: Accounting) -> dict[str, pa.Table]:
    """The records of the views that have some, counted as those of forms."""
    found = {name: table for name, table in made.records.items() if table.num_rows}
    for name, table in found.items():
        accounting.read(name, table.num_rows, "form")
    return found


def write_records(
    records: Mapping[str, pa.Table], folder: OutputFolder, formats: Sequence[str], accounting: Accounting
) -> int:
    """Writes the records of each view, as CSV if none of the formats is one of records, and gives their number.

    Records that CSV cannot hold are quarantined; all formats of a run hold the same.
    """
    chosen = [form for form in formats if form in RECORDS] or RECORDS[:1]
    written = {name: _writable(name, table, accounting) for name, table in records.items() if "csv" in chosen}
    for name, table in (written or records).items():
        for form in chosen:
            with folder.stage(f"records/{file_name(name)}.{form}") as part:
                (parquet if form == "parquet" else csv).write(table, part)
    return sum(table.num_rows for table in (written or records).values())


def _writable(name: str, table: pa.Table, accounting: Accounting) -> pa.Table:
    bad: set[int] = set()
    for row, _, problem in csv.unwritable(table):
        bad.add(row)
        accounting.note([replace(problem, table=name)])
    if not bad:
        return table
    accounting.quarantine_rows(name, table, sorted(bad), "form")
    return table.take(pa.array([row for row in range(table.num_rows) if row not in bad], pa.int64()))
