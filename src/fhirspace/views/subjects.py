"""Who is in the study: the enrolment table, and the row of it that each resource belongs to.

The table has a row a subject. Its column ``patient`` holds the id of the Patient, ``Patient/id``, or an identifier as
``system|value``; the others are STUDYID, SUBJID, SITEID and what else views ask for (``{enrolment: ARM}``). USUBJID is
made of STUDYID, SITEID and SUBJID where the table has none. These names may be used for three dates:

=====================  ====================================================
participation start    also ``consent`` or RFICDTC: what is before it is BEFORE
participation end      also RFPENDTC: what is after it is AFTER
first dose             also RFXSTDTC: day 1 of the study days
=====================  ====================================================
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.errors import MappingError, Place
from fhirspace.fhir.references import parsed
from fhirspace.standards import iso8601
from fhirspace.tables import formats
from fhirspace.tables.text import TEXT, data_columns, decode, encode
from fhirspace.views.join import Resolver
from fhirspace.views.notation.model import View
from fhirspace.views.plan import ALL, IDENTIFIERS, key_of, name_of
from fhirspace.views.records import filled
from fhirspace.views.store import Resources, Store

PATIENT: Final = "patient"
KEYS: Final = ("STUDYID", "USUBJID", "SUBJID", "SITEID")
"""The columns that every record begins with, if the table has them."""
START, END, FIRST_DOSE = "participation start", "participation end", "first dose"
BEGAN: Final = "began"
"""When the participation itself began, beside the consent: a column of views that are the enrolment table."""
_ALIKE: Final = {"consent": START, "RFICDTC": START, "RFPENDTC": END, "RFXSTDTC": FIRST_DOSE}
_NEEDED: Final = (PATIENT, "STUDYID", "SUBJID")


@dataclass(frozen=True, slots=True)
class Enrolment:
    """The enrolment table: its rows by column, and the row of each patient's id or identifier."""

    columns: dict[str, list[str | None]]
    rows: dict[str, int]

    def column(self, name: str) -> list[str | None]:
        """The cells of a column; null for all if the table does not have it."""
        found = self.columns.get(_ALIKE.get(name, name))
        return found if found is not None else [None] * len(self.columns[PATIENT])

    def take(self, name: str, rows: pa.Array) -> pa.Array:
        """A column for some rows of the table."""
        return pa.array(self.column(name), pa.string()).take(rows)


def enrolment(path: Path) -> Enrolment:
    """Reads an enrolment table.

    Raises:
        MappingError: FS375, a column is missing, a patient or a subject is there twice, or a date is none.
        InputError: the file cannot be read.
    """
    if not path.is_file():
        hint = "a file with the enrolled patients (`subjects:` of the views, `--enrolment`)"
        raise MappingError("FS375", path.name, hint)
    return enrolled(formats.whole(path), path.name)


def enrolled(table: pa.Table, name: str) -> Enrolment:
    """The enrolment that a table says, which is a file or the records of a view; `name` is its name. Raises FS375."""
    columns = {_ALIKE.get(each, each): table[each].to_pylist() for each in data_columns(table)}
    for each in _NEEDED:
        if each not in columns:
            raise MappingError("FS375", Place(name, 1, each), "this column")
        _require_filled(name, each, columns[each])
    if "USUBJID" not in columns:
        sites = columns.get("SITEID", [None] * table.num_rows)
        parts = zip(columns["STUDYID"], sites, columns["SUBJID"], strict=True)
        columns["USUBJID"] = ["-".join(part for part in each if part) for each in parts]
    rows = dict[str, int]()
    for at, patient in enumerate(columns[PATIENT]):
        key = str(patient).removeprefix("Patient/")
        if key in rows:
            raise MappingError("FS375", Place(name, at + 2, PATIENT), "each patient once")
        rows[key] = at
    if len(set(columns["USUBJID"])) < len(columns["USUBJID"]):
        raise MappingError("FS375", Place(name, None, "USUBJID"), "each subject once")
    _require_dates(name, columns)
    return Enrolment(columns, rows)


def _require_filled(file: str, column: str, cells: Iterable[str | None]) -> None:
    for at, cell in enumerate(cells):
        if not cell:
            raise MappingError("FS375", Place(file, at + 2, column), "a cell that is not empty")


def _require_dates(file: str, columns: dict[str, list[str | None]]) -> None:
    for column in (START, END, FIRST_DOSE):
        for at, cell in enumerate(columns.get(column, ())):
            if cell and not iso8601.valid(cell):
                raise MappingError("FS375", Place(file, at + 2, column), "a date such as 2026-03-01")
    for at, pair in enumerate(zip(columns.get(START, ()), columns.get(END, ()), strict=False)):
        start, end = (iso8601.days(cell or "") for cell in pair)
        if start and end and end[1] < start[0]:
            raise MappingError("FS375", Place(file, at + 2, END), "no day before that of the start")


class Subjects(NamedTuple):
    """The subject of each resource of a type: the row of the enrolment table, the Patient's id, whether it is known."""

    rows: pa.Array
    ids: pa.Array
    known: pa.Array


@dataclass(frozen=True, slots=True)
class Patients:
    """The patients of an input: of each row its id, and its row in the enrolment table (None: not enrolled)."""

    ids: pa.Array
    enrolled: pa.Array
    table: Enrolment | None = None

    def of(self, view: View, found: Resources, resolver: Resolver) -> Subjects:
        """The subjects of all resources of the type that a view is of."""
        if view.of == "Patient":
            return Subjects(self.enrolled, self.ids, pa.repeat(pa.scalar(True), found.count))
        keys = pa.nulls(found.count, TEXT)
        for way in view.subject.alternatives if view.subject else ():
            keys = filled(keys, found.values(name_of(key_of(way.steps))).texts)
        places = resolver.rows("Patient", keys, view.of)
        encoded = encode(keys)
        names = [_named(text) for text in encoded.dictionary.to_pylist()]
        rows = [self.table.rows.get(name) if self.table and name else None for name in names]
        spread = pa.array(names, TEXT).dictionary_encode()
        ids = pa.DictionaryArray.from_arrays(spread.indices.take(encoded.indices), spread.dictionary)
        enrolled = pa.array(rows, pa.int64()).take(encoded.indices)
        if places.null_count < len(places):
            here = pc.is_valid(places)
            ids = encode(pc.if_else(here, self.ids.take(places), decode(ids)))
            enrolled = pc.if_else(here, self.enrolled.take(places), enrolled)
        return Subjects(enrolled, ids, pc.is_valid(ids))


def _named(text: str | None) -> str | None:
    """The id in a reference to a patient: the enrolment table may have patients who are not among the resources."""
    found = parsed(text) if text else None
    return found.id if found and found.type == "Patient" and found.id else None


def patients(store: Store, table: Enrolment | None) -> Patients:
    """The patients of an input, each with its row of the enrolment table by its id or one of its identifiers.

    Raises:
        MappingError: FS375, the identifiers of a patient have two rows of the table.
    """
    found = store.kinds.get("Patient")
    if found is None:
        return Patients(pa.nulls(0, TEXT), pa.nulls(0, pa.int64()), table)
    ids = found.values("id").texts.cast(TEXT)
    enrolled = list[int | None]()
    tokens = found.values(IDENTIFIERS).texts.to_pylist() if table else [None] * len(ids)
    for name, text in zip(ids.to_pylist() if table else tokens, tokens, strict=True):
        keys = (name, *(text.split(ALL) if text else ()))
        rows = {table.rows[key] for key in keys if key in table.rows} if table else set()
        if len(rows) > 1:
            raise MappingError("FS375", Place("enrolment", min(rows) + 2, PATIENT), "one row for each patient")
        enrolled.append(min(rows, default=None))
    return Patients(ids, pa.array(enrolled, pa.int64()), table)
