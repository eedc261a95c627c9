"""Whether the subject that a resource refers to is the one that its identifier names: not so after a merge of patients.

Ids cannot be read back, but they agree with each other: a resource of ours is named after its subject, and a Patient
of the same input has the id to which the resources of its subject refer. Who has the key of ids can make them again.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping as Table
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.errors import Place, Problem, UsageError
from fhirspace.json import JsonError, parse
from fhirspace.mapping.library import Library
from fhirspace.mapping.read.collect import ReadBatch
from fhirspace.sdtm import columns
from fhirspace.study.reading.statuses import drop
from fhirspace.study.summary import NO_PATIENT
from fhirspace.tables.text import has
from fhirspace.template.codecs import hashed_id

ID: Final = "@id:USUBJID"
"""The hidden column with the id of a row's subject, from the id of the resource and its references."""
_STUDY: Final = "@id:STUDYID"
_LOGICAL: Final = f"@{NO_PATIENT}"
"""The hidden column with the subject that a reference names by its identifier."""

_OURS: Final = re.compile(r"[0-9a-f]{32}")
_NAMED: Final = re.compile(r"([0-9a-f]{32})-")
_PATIENT: Final = re.compile(r"(?:^|/)Patient/([^/]+)(?:/_history/[^/]+)?$")
_REFERENCES: Final = (".subject.reference", ".individual.reference")

Line = tuple[str, int]
"""A file's name and a line."""


@dataclass(slots=True)
class SubjectScreen:
    """Takes out what refers to another Patient than its identifier names.

    What its own id shows is taken out of its batch at once. All else that an input says of a subject is compared at
    the end.

    Args:
        library: the mappings by which the batches are read.
    """

    library: Library
    _renamed: dict[Line, str] = field(init=False, default_factory=dict)
    """Lines named after a subject that refer to a Patient with another id, one that a server may have made."""
    _seen: list[tuple[str, bool, pa.Table]] = field(init=False, default_factory=list)
    """Of each file: whether these are Patients, and line, subject and id of rows."""
    _studies: dict[str, str] = field(init=False, default_factory=dict)
    """The ids of studies, by name: they may show whether the ids of an input were made with the key of this run."""

    def apply(self, batch: ReadBatch, lines: Table[int, bytes], file: str) -> None:
        """Take rows out of a batch whose resource is named after another subject; their lines are among its problems.

        Args:
            batch: what some lines gave; lines: those lines; file: their file's name.
        """
        doubtful = {line for line, column in batch.contradictory if column == ID}
        doubtful |= {line for line, path in batch.unmapped if path.endswith(_REFERENCES)}
        wrong: list[int] = []
        asked: dict[int, str] = {}
        for number in sorted(doubtful - set(batch.foreign)):
            resource = _resource(lines[number]) or {}
            name, patient = _NAMED.match(str(resource.get("id"))), _subject(resource)
            if patient and name and patient != name[1] and _OURS.fullmatch(patient):
                wrong.append(number)
            elif patient and not (name and patient == name[1]):
                asked[number] = patient
                if name:
                    self._renamed[file, number] = patient
        wrong += sorted(_of_another(batch) - {*wrong, *batch.foreign})
        drop(batch, wrong)
        batch.problems += [_problem((file, line)) for line in wrong]
        for domain, parts in batch.tables.items():
            for index, table in parts.items():
                if has(table, "USUBJID") and has(table, "@row") and (asked or has(table, ID)):
                    self._seen.append((file, self._patient(domain, index), _with_asked(table, asked)))
        for _, _, table in batch.once:
            if has(table, _STUDY) and has(table, "STUDYID"):
                self._studies.update(zip(table["STUDYID"].to_pylist(), table[_STUDY].to_pylist(), strict=True))

    def _patient(self, domain: str, index: int) -> bool:
        blocks = self.library.mappings[domain].blocks
        return 0 <= index < len(blocks) and blocks[index].resource == "Patient"

    def _named(self, *, patients: bool) -> dict[str, Counter[str]]:
        """By subject, how many rows of Patients, or of what refers to one, have which id."""
        found: dict[str, Counter[str]] = {}
        tables = [table for _, patient, table in self._seen if patient == patients]
        if tables:
            pairs = columns.Groups(pa.concat_tables(tables), ["USUBJID", ID])
            counts = pc.value_counts(pairs.codes)
            for code, count in zip(counts.field(0).to_pylist(), counts.field(1).to_pylist(), strict=True):
                subject, given = pairs.cells[code]
                if subject and given:
                    found.setdefault(subject, Counter())[given] += count
        return found

    def contradictions(self) -> list[Line]:
        """The lines that refer to another Patient than the one of their subject, or than most lines of it."""
        named = self._named(patients=True)
        owners = {patient: subject for subject, ids in named.items() for patient in ids}
        wrong: dict[bool, list[str]] = {True: [], False: []}
        referring = self._named(patients=False)
        hashed = self._hashed(referring)
        for subject, given in referring.items():
            references = given
            patients = set(named.get(subject, ()))
            if patients and not patients & references.keys() and all(map(_OURS.fullmatch, references)):
                wrong[True] += [f"{subject}\x1f{each}" for each in patients]  # the others are named after it
                patients = set()
            if not patients:  # what is named after its subject refers to it; the subject may be none of the study
                ours = {each for each in references if _OURS.fullmatch(each)}
                others = {each for each in ours if hashed and hashed(subject) != each}
                wrong[False] += [f"{subject}\x1f{each}" for each in others]
                references = Counter({each: count for each, count in references.items() if each not in ours})
            right = patients or _most({each: count for each, count in references.items() if each not in owners})
            wrong[False] += [f"{subject}\x1f{each}" for each in references if each not in right]
        lines = self._lines(wrong) if wrong[True] or wrong[False] else ()
        return sorted({*lines, *self._moved(named)})

    def _hashed(self, referring: Table[str, Table[str, int]]) -> Callable[[str], str | None] | None:
        """What makes the id of a subject, if the key of this run made one of the input."""
        pairs = chain(self._studies.items(), ((subject, each) for subject, ids in referring.items() for each in ids))
        with suppress(UsageError):  # a key that cannot be used does not keep anybody from reading
            hashed = hashed_id(self.library.key) if self.library.has_key else None
            if hashed and any(cell and hashed(cell) == given for cell, given in pairs):
                return hashed
        return None

    def _moved(self, named: Table[str, Table[str, int]]) -> Iterator[Line]:
        """The lines named after a subject that refer to an id which the input has for no Patient of this subject."""
        files = {file for file, _ in self._renamed}
        for file, _, table in self._seen:
            rows = zip(table["@row"].to_pylist(), table["USUBJID"].to_pylist(), strict=True) if file in files else ()
            for line, subject in rows:
                patient = self._renamed.get((file, line))
                if patient and patient not in named.get(str(subject), ()):
                    yield file, line

    def _lines(self, wrong: Table[bool, list[str]]) -> Iterator[Line]:
        for file, patient, table in self._seen:
            pairs = pc.binary_join_element_wise(table["USUBJID"], table[ID], "\x1f")
            bad = pc.is_in(pairs, value_set=pa.array(wrong[patient], pa.string()))
            yield from ((file, line) for line in table["@row"].filter(bad).unique().to_pylist())

    def take_out(self, tables: dict[str, pa.Table]) -> tuple[dict[str, pa.Table], list[Problem]]:
        """The tables without the rows of `contradictions`, and an error for each of these lines."""
        lines = sorted(set(self.contradictions()))
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


def _of_another(batch: ReadBatch) -> set[int]:
    """The lines whose logical reference names another subject than their identifier."""
    found: set[int] = set()
    for table in (each for parts in batch.tables.values() for each in parts.values()):
        if has(table, _LOGICAL) and has(table, "USUBJID"):
            other = pc.not_equal(columns.text(table, _LOGICAL), columns.text(table, "USUBJID"))
            found.update(table["@row"].filter(pc.fill_null(other, False)).to_pylist())
    return found


def _most(references: Table[str, int]) -> set[str]:
    """The id to which most refer, nothing if none has most."""
    most = [each for each, count in references.items() if count == max(references.values())]
    return set(most) if len(most) == 1 else set()


def _with_asked(table: pa.Table, asked: Table[int, str]) -> pa.Table:
    """Line, subject and id of rows; the id of lines whose reference no mapping reads is given."""
    if not asked:
        return table.select(["USUBJID", ID, "@row"])
    rows = zip(table["@row"].to_pylist(), columns.text(table, ID).to_pylist(), strict=True)
    ids = pa.array([asked.get(line, given) for line, given in rows], pa.string())
    return pa.table({"USUBJID": columns.text(table, "USUBJID"), ID: ids, "@row": table["@row"]})


def _problem(line: Line) -> Problem:
    return Problem("FS447", Place(*line, "subject"), "a reference to the Patient of the subject in the identifier")


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
