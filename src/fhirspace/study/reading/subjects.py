"""Whether the subject that a resource refers to is the one that its identifier names: not so after a merge of patients.

Ids cannot be read back, but they agree with each other: a resource of ours is named after its subject, and a Patient
of the same input has the id to which the resources of its subject refer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping as Table
from dataclasses import dataclass, field
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.errors import Place, Problem
from fhirspace.json import JsonError, parse
from fhirspace.mapping.read.collect import ReadBatch
from fhirspace.study.reading.statuses import drop
from fhirspace.tables.text import has

_OURS: Final = re.compile(rb'\s*\{\s*"resourceType"\s*:\s*"\w+"\s*,\s*"id"\s*:\s*"([0-9a-f]{32})-')
_NAMED: Final = re.compile(r"([0-9a-f]{32})-")
_PATIENT: Final = re.compile(r"(?:^|/)Patient/([^/]+)(?:/_history/[^/]+)?$")

Line = tuple[str, int]
"""A file's name and a line."""


@dataclass(slots=True)
class SubjectScreen:
    """Takes out what refers to another Patient than its identifier names.

    What its own id shows is taken out of its batch at once; of resources with ids of a server's own making, all that
    an input says of a subject is compared at the end.
    """

    _references: dict[str, dict[str, list[Line]]] = field(default_factory=dict)
    _patients: dict[str, set[str]] = field(default_factory=dict)

    def apply(self, batch: ReadBatch, lines: Table[int, bytes], file: str) -> None:
        """Take rows out of a batch whose resource is named after another subject; their lines are among its problems.

        Args:
            batch: what some lines gave; lines: those lines; file: their file's name.
        """
        wrong: list[int] = []
        asked: dict[int, str] = {}
        for number, line in lines.items():
            if not _agrees(line) and (resource := _resource(line)):
                name, patient = _NAMED.match(str(resource.get("id"))), _subject(resource)
                if resource.get("resourceType") == "Patient":
                    asked[number] = str(resource.get("id"))
                elif patient and name and patient != name[1]:
                    wrong.append(number)
                elif patient and not name:
                    asked[number] = f"Patient/{patient}"
        wrong = [line for line in wrong if line not in set(batch.foreign)]
        drop(batch, wrong)
        batch.problems += [_problem((file, line)) for line in wrong]
        for number, subject in _subjects(batch, asked):
            if asked[number].startswith("Patient/"):
                patient = asked[number].removeprefix("Patient/")
                self._references.setdefault(subject, {}).setdefault(patient, []).append((file, number))
            else:
                self._patients.setdefault(subject, set()).add(asked[number])

    def contradictions(self) -> list[Line]:
        """The lines that refer to another Patient than the one of their subject, or than most lines of it."""
        owners = {patient: subject for subject, ids in self._patients.items() for patient in ids}
        found: list[Line] = []
        for subject, references in self._references.items():
            right = self._patients.get(subject)
            if right is None:
                mine = {patient: len(some) for patient, some in references.items() if patient not in owners}
                most = [patient for patient, count in mine.items() if count == max(mine.values())]
                right = set(most) if len(most) == 1 else set()
            found += [line for patient, some in references.items() if patient not in right for line in some]
        return sorted(found)

    def take_out(self, tables: dict[str, pa.Table]) -> tuple[dict[str, pa.Table], list[Problem]]:
        """The tables without the rows of `contradictions`, and an error for each of these lines."""
        lines = self.contradictions()
        if not lines:
            return tables, []
        gone = pa.array([f"{line}\x1f{file}" for file, line in lines], pa.string())
        left = {}
        for name, table in tables.items():
            place = pc.binary_join_element_wise(
                table["@row"].cast(pa.string()), table["@file"].cast(pa.string()), "\x1f"
            )
            left[name] = table.filter(pc.invert(pc.is_in(place, value_set=gone)))
        return {name: table for name, table in left.items() if table.num_rows}, [_problem(line) for line in lines]


def _problem(line: Line) -> Problem:
    return Problem("FS447", Place(*line, "subject"), "a reference to the Patient of the subject in the identifier")


def _agrees(line: bytes) -> bool:
    """Whether bytes show at once that a resource is named after the subject that it refers to."""
    found = _OURS.match(line)
    return found is not None and (
        b'"subject":{"reference":"Patient/' + found[1] + b'"' in line
        or b'"individual":{"reference":"Patient/' + found[1] + b'"' in line
    )


def _resource(line: bytes) -> dict[str, Any] | None:
    try:
        resource = parse(line)
    except JsonError:
        return None  # reported by the reader
    return resource if isinstance(resource, dict) else None


def _subject(resource: dict[str, Any]) -> str | None:
    """The id of the Patient that a resource is about, as far as a reference has it."""
    for name in ("subject", "individual"):
        value = resource.get(name)
        reference = value.get("reference") if isinstance(value, dict) else None
        if isinstance(reference, str) and (found := _PATIENT.search(reference)):
            return found[1]
    return None


def _subjects(batch: ReadBatch, lines: Table[int, str]) -> Iterator[tuple[int, str]]:
    """Some lines, and the subject that their identifier names."""
    wanted, done = pa.array(lines, pa.int64()), set[int]()
    for parts in batch.tables.values() if lines else ():
        for table in parts.values():
            if has(table, "USUBJID"):
                some = table.select(["@row", "USUBJID"]).filter(pc.is_in(table["@row"], value_set=wanted))
                for line, subject in zip(some["@row"].to_pylist(), some["USUBJID"].to_pylist(), strict=True):
                    if subject and line not in done:
                        done.add(line)
                        yield line, subject
