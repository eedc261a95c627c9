"""Derivations of DM (reference dates, death, age, actual arm) and of SE (elements from the study's design).

Source: SDTMIG 3.4, sections 5.2 (DM) and 5.3 (SE). Dates are compared as text at the precision they have; a date
without a day takes no part.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date

import pyarrow as pa

from fhirspace.sdtm import columns
from fhirspace.sdtm.dates import completed_years, day_of
from fhirspace.sdtm.derive.work import Derived, Work

METHODS = {
    "RFXSTDTC": "Earliest EXSTDTC of the subject.",
    "RFXENDTC": "Latest EXENDTC of the subject, EXSTDTC where it is empty.",
    "RFICDTC": "Earliest DSSTDTC with DSDECOD INFORMED CONSENT OBTAINED.",
    "DTHDTC": "Earliest DSSTDTC with DSDECOD DEATH.",
    "DTHFL": "Y where DTHDTC is filled, DSDECOD is DEATH or AEOUT is FATAL.",
    "RFPENDTC": "Latest day of collection, exposure, visit or disposition of the subject in any dataset, or DTHDTC.",
    "AGE": "Completed years from BRTHDTC to RFICDTC, or to RFSTDTC where RFICDTC is empty.",
    "AGEU": "YEARS where AGE is derived.",
    "ACTARM": "As planned: the subject was treated and the study's design says all treated got their planned arm.",
}


def derive_subjects(work: Work) -> None:
    """Fill the reference dates, death, age and actual arm of DM; does nothing without DM."""
    if "DM" not in work.tables or "USUBJID" not in work.tables["DM"].column_names:
        return
    exposures = _exposure_dates(work)
    _fill(work, "RFXSTDTC", {subject: min(starts) for subject, (starts, _) in exposures.items() if starts})
    _fill(work, "RFXENDTC", {subject: max(ends) for subject, (_, ends) in exposures.items() if ends})
    _fill(work, "RFICDTC", _disposition(work, "INFORMED CONSENT OBTAINED"))
    for target, source in (("RFSTDTC", work.study.reference_start), ("RFENDTC", work.study.reference_end)):
        if source != target:
            _fill(work, target, work.subjects(source), f"Same as {source}.")
    _derive_death(work)
    _fill(work, "RFPENDTC", _last_contact(work))
    _derive_age(work)
    if work.study.actual_arm_as_planned:
        treated = work.subjects("RFXSTDTC")
        for planned, actual in (("ARMCD", "ACTARMCD"), ("ARM", "ACTARM")):
            arms = {subject: arm for subject, arm in work.subjects(planned).items() if subject in treated}
            _fill(work, actual, arms, METHODS["ACTARM"])


def _fill(work: Work, variable: str, by_subject: dict[str, str], method: str | None = None) -> None:
    values = columns.by_distinct(columns.text(work.tables["DM"], "USUBJID"), by_subject.get, pa.string())
    work.fill("DM", variable, values, method or METHODS[variable])


def _cells(work: Work, dataset: str, *names: str) -> Iterable[columns.Cells]:
    """The distinct combinations of some cells of a dataset, nothing without the dataset."""
    return columns.Groups(work.tables[dataset], names).cells if dataset in work.tables else ()


def _exposure_dates(work: Work) -> dict[str, tuple[list[str], list[str]]]:
    found: dict[str, tuple[list[str], list[str]]] = {}
    for subject, start, end in _cells(work, "EX", "USUBJID", "EXSTDTC", "EXENDTC"):
        if subject is not None:
            starts, ends = found.setdefault(subject, ([], []))
            starts += [start] if start and day_of(start) else []
            last = end or start
            ends += [last] if last and day_of(last) else []
    return found


def _disposition(work: Work, term: str) -> dict[str, str]:
    """Subject -> earliest complete date of a disposition record with that standard term."""
    found: dict[str, str] = {}
    for subject, decoded, start in _cells(work, "DS", "USUBJID", "DSDECOD", "DSSTDTC"):
        if subject and decoded == term and start and day_of(start):
            found[subject] = min(start, found.get(subject, start))
    return found


def _derive_death(work: Work) -> None:
    _fill(work, "DTHDTC", _disposition(work, "DEATH"))
    dead = set(work.subjects("DTHDTC"))
    dead |= {subject for subject, term in _cells(work, "DS", "USUBJID", "DSDECOD") if subject and term == "DEATH"}
    dead |= {subject for subject, outcome in _cells(work, "AE", "USUBJID", "AEOUT") if subject and outcome == "FATAL"}
    _fill(work, "DTHFL", dict.fromkeys(dead, "Y"))


def _last_contact(work: Work) -> dict[str, str]:
    """Subject -> latest day that the study itself recorded; what subjects report (AE, CM, MH) is left out."""
    last = {subject: cell[:10] for subject, cell in work.subjects("DTHDTC").items() if day_of(cell)}
    for dataset, variable in _contact_columns(work):
        for subject, cell in _cells(work, dataset, "USUBJID", variable):
            if subject and cell and day_of(cell):
                last[subject] = max(cell[:10], last.get(subject, ""))
    return last


def _contact_columns(work: Work) -> Iterable[tuple[str, str]]:
    yield from (("SV", "SVSTDTC"), ("SV", "SVENDTC"), ("DS", "DSSTDTC"), ("EX", "EXSTDTC"), ("EX", "EXENDTC"))
    for name, spec in work.general():
        if spec.klass.startswith("Findings"):
            yield name, f"{spec.prefix}DTC"


def _derive_age(work: Work) -> None:
    table = work.tables["DM"]
    groups = columns.Groups(table, ("BRTHDTC", "RFICDTC", "RFSTDTC", "AGE"))
    ages, unclear = list[str | None](), list[bool]()
    for birth, consent, start, age in groups.cells:
        at = consent or start
        years = completed_years(birth, at) if birth and at and age is None else None
        ages.append(None if years is None else str(years))
        unclear.append(bool(birth and at and age is None and years is None))
    rows = [row for row, code in enumerate(groups.codes.to_pylist()) if unclear[code]]
    work.note("FS712", "DM", rows, "AGE", "a birth date complete enough to count the years")
    derived = groups.spread(ages)
    work.fill("DM", "AGE", derived, METHODS["AGE"])
    years_unit = columns.by_distinct(derived, lambda _: "YEARS", pa.string())
    work.fill("DM", "AGEU", years_unit, METHODS["AGEU"])


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
    rows = [
        [row, str(at), *cells]
        for row, subject in enumerate(subjects)
        if subject is not None
        for at, cells in enumerate(_elements_of(work, subject, dates), 1)
    ]
    if rows:
        work.tables["SE"] = _element_table(work.tables["DM"], rows)
        for variable in ("SESEQ", "ETCD", "ELEMENT", "EPOCH", "SESTDTC", "SEENDTC"):
            method = "From the study's elements and the subject's reference dates in DM."
            work.derived["SE", variable] = Derived("SE", variable, method)


def _elements_of(
    work: Work, subject: str, dates: dict[str, dict[str, str]]
) -> list[tuple[str, str, str, str, str | None]]:
    last = dates["RFPENDTC"].get(subject)
    starts = []
    for at, element in enumerate(work.study.elements):
        start = _shift(dates[element.start].get(subject), element.days)
        if start is not None and (last is None or start[:10] <= last[:10]):
            starts.append((start, at, element))
    starts.sort()
    if not starts:
        return []
    ends = [start for start, _, _ in starts[1:]] + [last]
    return [
        (element.etcd, element.element, element.epoch, start, end)
        for (start, _, element), end in zip(starts, ends, strict=True)
    ]


def _shift(cell: str | None, days: int) -> str | None:
    """A complete date moved by days (its time of day dropped when it moves); None for a partial one."""
    day = day_of(cell) if cell else None
    if day is None or not days:
        return cell if day else None
    return date.fromordinal(day + days).isoformat()


def _element_table(subjects: pa.Table, rows: Sequence[Sequence[object]]) -> pa.Table:
    """The SE table: study and place of a row are those of the subject's DM row."""
    names = ("SESEQ", "ETCD", "ELEMENT", "EPOCH", "SESTDTC", "SEENDTC")
    at = pa.array([row[0] for row in rows], pa.int64())
    table = {name: pa.array([row[place] for row in rows], pa.string()) for place, name in enumerate(names, 1)}
    kept = [name for name in ("STUDYID", "USUBJID", "@file", "@row") if name in subjects.column_names]
    return pa.table({name: subjects[name].take(at) for name in kept} | {"DOMAIN": pa.repeat("SE", len(rows))} | table)
