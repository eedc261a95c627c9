"""Derivations of DM (reference dates, death, age, actual arm) and of SE (elements from the study's design).

Source: SDTMIG 3.4, sections 5.2 (DM) and 5.3 (SE). A partial date is an interval: what is derived is what
every day in it gives (`bounds`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from itertools import pairwise

import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.sdtm import columns
from fhirspace.sdtm.dates import completed_years, day_of
from fhirspace.sdtm.derive.bounds import Bound, earliest, latest
from fhirspace.sdtm.derive.design import DISPOSITION
from fhirspace.sdtm.derive.methods import method
from fhirspace.sdtm.derive.work import Derived, Work
from fhirspace.standards.iso8601 import days


def derive_subjects(work: Work) -> None:
    """Fill the reference dates, death, age and actual arm of DM; does nothing without DM."""
    if "DM" not in work.tables or "USUBJID" not in work.tables["DM"].column_names:
        return
    starts, ends = _exposure_dates(work)
    _fill_bounds(work, "RFXSTDTC", {subject: earliest(cells) for subject, cells in starts.items()})
    _fill_bounds(work, "RFXENDTC", {subject: latest(cells) for subject, cells in ends.items()})
    _fill_bounds(work, "RFICDTC", _disposition(work, "INFORMED CONSENT OBTAINED"))
    _derive_death(work)
    _fill_bounds(work, "RFPENDTC", _last_contact(work))
    for target, source in (("RFSTDTC", work.study.reference_start), ("RFENDTC", work.study.reference_end)):
        if source != target:
            _fill(work, target, _reference(work, target, source), method(target, source=source))
    _derive_age(work)
    if work.study.actual_arm_as_planned:
        treated = work.subjects("RFXSTDTC")
        for planned, actual in (("ARMCD", "ACTARMCD"), ("ARM", "ACTARM")):
            arms = {subject: arm for subject, arm in work.subjects(planned).items() if subject in treated}
            _fill(work, actual, arms, method(actual))


def _reference(work: Work, target: str, source: str) -> dict[str, str]:
    """Subject -> the date that RFSTDTC or RFENDTC repeats; without RFSTDTC (screen failures) there is no RFENDTC."""
    if source != DISPOSITION:
        found = work.subjects(source)
    else:
        bounds = {subject: latest(cells) for subject, cells in _dispositions(work).items()}
        found = {subject: bound.text for subject, bound in bounds.items() if bound and bound.text}
    return (
        found
        if target == "RFSTDTC"
        else {each: cell for each, cell in found.items() if each in work.subjects("RFSTDTC")}
    )


def _dispositions(work: Work) -> dict[str, list[str]]:
    """Subject -> the dates of disposition events: protocol milestones and other events are none."""
    found: dict[str, list[str]] = {}
    for subject, category, start in _cells(work, "DS", "USUBJID", "DSCAT", "DSSTDTC"):
        if subject and start and category == "DISPOSITION EVENT":
            found.setdefault(subject, []).append(start)
    return found


def _fill(work: Work, variable: str, by_subject: dict[str, str], text: str = "") -> None:
    values = columns.by_distinct(columns.text(work.tables["DM"], "USUBJID"), by_subject.get, pa.string())
    work.fill("DM", variable, values, text or method(variable))


def _fill_bounds(work: Work, variable: str, by_subject: dict[str, Bound | None]) -> None:
    """Fill a date of DM with what is certain of it; a date that is not certain to the day is noted (FS713)."""
    certain = {subject: bound.text for subject, bound in by_subject.items() if bound and bound.text}
    unsure = {subject for subject, bound in by_subject.items() if bound and not bound.whole}
    if unsure:
        table = work.tables["DM"]
        empty = columns.text(table, variable).is_null().to_pylist()
        subjects = columns.text(table, "USUBJID").to_pylist()
        rows = [row for row, subject in enumerate(subjects) if empty[row] and subject in unsure]
        work.note("FS713", "DM", rows, variable, "complete dates in the records that it is derived from")
    _fill(work, variable, certain)


def _cells(work: Work, dataset: str, *names: str) -> Iterable[columns.Cells]:
    """The distinct combinations of some cells of a dataset, nothing without the dataset."""
    return columns.Groups(work.tables[dataset], names).cells if dataset in work.tables else ()


def _exposure_dates(work: Work) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Subject -> the starts, and the ends (starts where there are none), of doses that were given."""
    starts: dict[str, list[str]] = {}
    ends: dict[str, list[str]] = {}
    for subject, start, end, occurred, status in _cells(
        work, "EX", "USUBJID", "EXSTDTC", "EXENDTC", "EXOCCUR", "EXSTAT"
    ):
        if subject is None or occurred == "N" or status is not None:
            continue
        if start:
            starts.setdefault(subject, []).append(start)
        if end or start:
            ends.setdefault(subject, []).append(end or start or "")
    return starts, ends


def _disposition(work: Work, term: str) -> dict[str, Bound | None]:
    """Subject -> earliest date of a disposition record with that standard term."""
    found: dict[str, list[str]] = {}
    for subject, decoded, start in _cells(work, "DS", "USUBJID", "DSDECOD", "DSSTDTC"):
        if subject and decoded == term and start:
            found.setdefault(subject, []).append(start)
    return {subject: earliest(cells) for subject, cells in found.items()}


def _derive_death(work: Work) -> None:
    _fill_bounds(work, "DTHDTC", _disposition(work, "DEATH"))
    dead = set(work.subjects("DTHDTC"))
    dead |= {subject for subject, term in _cells(work, "DS", "USUBJID", "DSDECOD") if subject and term == "DEATH"}
    dead |= {subject for subject, outcome in _cells(work, "AE", "USUBJID", "AEOUT") if subject and outcome == "FATAL"}
    _fill(work, "DTHFL", dict.fromkeys(dead, "Y"))


def _last_contact(work: Work) -> dict[str, Bound | None]:
    """Subject -> latest date that the study itself recorded; what subjects report (AE, CM, MH) is left out."""
    last: dict[str, str] = {}
    partial: dict[str, list[str]] = {}
    deaths = work.subjects("DTHDTC").items()
    contacts = (
        (subject, cell)
        for names in _contact_columns(work)
        for subject, cell in _cells(work, names[0], "USUBJID", names[1])
    )
    for subject, cell in (*deaths, *contacts):
        if subject and cell and day_of(cell):
            last[subject] = max(cell, last.get(subject, ""))
        elif subject and cell and days(cell):
            partial.setdefault(subject, []).append(cell)
    return {
        subject: latest([*partial.get(subject, ()), *([last[subject]] if subject in last else [])])
        for subject in {**last, **partial}
    }


def _contact_columns(work: Work) -> Iterable[tuple[str, str]]:
    parts = (("SE", "STDTC"), ("SE", "ENDTC"), ("SV", "STDTC"), ("SV", "ENDTC"), ("DS", "STDTC"), ("DS", "DTC"))
    yield from ((name, name + part) for name, part in (*parts, ("EX", "STDTC"), ("EX", "ENDTC")))
    for name, spec in work.general():
        if spec.klass.startswith("Findings"):
            yield name, f"{spec.prefix}DTC"


def _derive_age(work: Work) -> None:
    table = work.tables["DM"]
    groups = columns.Groups(table, ("BRTHDTC", "RFICDTC", "RFSTDTC", "DMDTC", "AGE"))
    ages, unclear = list[str | None](), list[bool]()
    for birth, consent, start, collected, age in groups.cells:
        at = consent or start or collected
        years = completed_years(birth, at) if birth and at else None
        ages.append(None if years is None else str(years))
        unclear.append(bool(birth and at and age is None and years is None))
    rows = [row for row, code in enumerate(groups.codes.to_pylist()) if unclear[code]]
    work.note("FS712", "DM", rows, "AGE", "a birth date complete enough to count the years")
    derived = groups.spread(ages)
    work.fill("DM", "AGE", derived, method("AGE"))
    years = pc.and_(columns.text(table, "AGE").is_null(), derived.is_valid())
    work.fill("DM", "AGEU", pc.if_else(years, "YEARS", pa.scalar(None, pa.string())), method("AGEU"))


def derive_elements(work: Work) -> None:
    """Make SE out of the study's elements and the subjects' reference dates, where there is no SE yet.

    An element starts so many days after its reference date. A subject has the elements whose start is known and not
    after the end of participation; each ends where the next starts, the last one at RFPENDTC.
    """
    exists = work.filled.get("SE")
    if exists or not work.study.elements or "DM" not in work.tables or "USUBJID" not in work.tables["DM"].column_names:
        return
    dates = {name: work.subjects(name) for name in {element.start for element in work.study.elements} | {"RFPENDTC"}}
    subjects = columns.text(work.tables["DM"], "USUBJID").to_pylist()
    made = [_elements_of(work, subject, dates) if subject else [] for subject in subjects]
    rows = [[row, str(at), *cells] for row, each in enumerate(made) for at, cells in enumerate(each or (), 1)]
    unsure = [row for row, each in enumerate(made) if each is None]
    work.note("FS717", "DM", unsure, "RFSTDTC", "reference dates to the day")
    if rows:
        work.tables["SE"] = _element_table(work.tables["DM"], rows)
        for variable in ("SESEQ", "ETCD", "ELEMENT", "EPOCH", "SESTDTC", "SEENDTC"):
            text = method("SE.EPOCH" if variable == "EPOCH" else variable)
            work.derived["SE", variable] = Derived("SE", variable, text)


_Element = tuple[str, str, str, str, str | None]


def _elements_of(work: Work, subject: str, dates: dict[str, dict[str, str]]) -> list[_Element] | None:
    """The elements of a subject in order; None where partial dates leave open which there are or in which order."""
    last = dates["RFPENDTC"].get(subject)
    starts = []
    for at, element in enumerate(work.study.elements):
        reference = dates[element.start].get(subject)
        start = _shift(reference, element.days) if reference else None
        begun = _begun(start, last) if start else None
        if reference and begun is None:
            return None
        if start and begun:
            starts.append((start, at, element))
    starts.sort(key=lambda start: (days(start[0]), start[0], start[1]))
    spans = [days(start) or (0, 0) for start, _, _ in starts]
    if any(before[1] > after[0] for before, after in pairwise(spans)):
        return None
    ends = [*[start for start, _, _ in starts[1:]], last] if starts else []
    return [
        (element.etcd, element.element, element.epoch, start, end)
        for (start, _, element), end in zip(starts, ends, strict=True)
    ]


def _begun(start: str, last: str | None) -> bool | None:
    """Whether an element starts on or before the last day of participation; None where that is open."""
    begun, over = days(start), days(last) if last else None
    if begun is None or (last and over is None):
        return None
    if over is None or begun[1] <= over[0]:
        return True
    return False if begun[0] > over[1] else None


def _shift(cell: str, moved: int) -> str | None:
    """A date moved by days (its time of day dropped when it moves); None for a partial one that would have to move."""
    day = day_of(cell)
    if not moved:
        return cell if days(cell) else None
    return date.fromordinal(day + moved).isoformat() if day is not None else None


def _element_table(subjects: pa.Table, rows: Sequence[Sequence[object]]) -> pa.Table:
    """The SE table: study and place of a row are those of the subject's DM row."""
    names = ("SESEQ", "ETCD", "ELEMENT", "EPOCH", "SESTDTC", "SEENDTC")
    at = pa.array([row[0] for row in rows], pa.int64())
    table = {name: pa.array([row[place] for row in rows], pa.string()) for place, name in enumerate(names, 1)}
    kept = [name for name in ("STUDYID", "USUBJID", "@file", "@row") if name in subjects.column_names]
    return pa.table({name: subjects[name].take(at) for name in kept} | {"DOMAIN": pa.repeat("SE", len(rows))} | table)
