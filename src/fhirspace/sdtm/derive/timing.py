"""Timing derivations: study days, visit numbers, epochs.

Source: SDTMIG 3.4, section 4.4.4 (study day), 4.4.5 (visits), and 5.3 (elements and epochs).
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.sdtm import columns
from fhirspace.sdtm.dates import at_most, day_of
from fhirspace.sdtm.derive.design import LABEL
from fhirspace.sdtm.derive.methods import BEFORE, method
from fhirspace.sdtm.derive.work import Visit, Work
from fhirspace.standards import sdtm
from fhirspace.standards.iso8601 import days
from fhirspace.standards.units import canonical_number

_DAYS = (("DTC", "DY"), ("STDTC", "STDY"), ("ENDTC", "ENDY"))


def derive_days(work: Work) -> None:
    """Fill --DY, --STDY and --ENDY: days from RFSTDTC, which is day 1; none where either date lacks its day."""
    references = {subject: day for subject, cell in work.subjects("RFSTDTC").items() if (day := day_of(cell))}
    if not references:
        return
    for name, spec in work.known():
        if "USUBJID" not in work.tables[name].column_names:
            continue
        for date_name, day_name in _day_pairs(name, spec):
            table = work.tables[name]
            if not columns.filled(table, date_name):
                continue
            days = columns.by_distinct(columns.text(table, date_name), day_of, pa.int64())
            starts = columns.by_distinct(columns.text(table, "USUBJID"), references.get, pa.int64())
            apart = pc.subtract(days, starts)
            values = pc.add(apart, pc.greater_equal(apart, 0).cast(pa.int64())).cast(pa.string())
            work.fill(name, day_name, values, method("--DY", date=date_name))


def _day_pairs(name: str, spec: sdtm.Domain) -> Iterator[tuple[str, str]]:
    prefix = spec.prefix or name[:2]
    for date_part, day_part in _DAYS:
        if sdtm.variable(name, prefix + day_part) is not None:
            yield prefix + date_part, prefix + day_part


def derive_epochs(work: Work) -> None:
    """Fill EPOCH: that of the last element (SE) which started on or before the record's start (or collection) date.

    Null before the first element and after the end of the last, and where partial dates leave it open: the epoch of a
    record dated 2025-04 is certain if an element lasts the whole month. Dates are compared at the precision both have,
    so a record on the day a later element starts belongs to the later one unless both carry times.
    """
    if "SE" not in work.tables:
        return
    elements = _elements(work.tables["SE"])
    for name, spec in work.general():
        table = work.tables[name]
        if "EPOCH" in sdtm.domain(name).names and (source := _start_column(work, name)):
            groups = columns.Groups(table, ("USUBJID", source))
            before = None if {name, spec.prefix, spec.klass} & work.study.before_change else work.study.before_change
            values = groups.spread(_epoch(elements.get(subject or ""), cell, before) for subject, cell in groups.cells)
            text = method("EPOCH", date=source) + (f" {BEFORE}" if before is None else "")
            work.fill(name, "EPOCH", values, text)


def _start_column(work: Work, name: str) -> str | None:
    """The column that dates the records of a dataset: of two, the first that any record of the study has filled."""
    spec = sdtm.domain(name)
    names = [spec.prefix + part for part in ("STDTC", "DTC")]
    if spec.klass.startswith("Findings"):
        names.reverse()
    return next((each for each in names if each in work.filled.get(name, ())), None)


class _Started(NamedTuple):
    """An element of a subject: its start and end with the first and last day that each can mean, and its epoch."""

    start: str
    begins: tuple[int, int]
    end: str | None
    ends: tuple[int, int] | None
    epoch: str


def _elements(table: pa.Table) -> dict[str, list[_Started] | None]:
    """Subject -> the elements in order of their starts; None where the start of one sets no bounds."""
    found: dict[str, list[_Started]] = {}
    unsure = set[str]()
    for subject, start, end, epoch in columns.Groups(table, ("USUBJID", "SESTDTC", "SEENDTC", "EPOCH")).cells:
        if not subject or not epoch:
            continue
        begins = days(start) if start else None
        if start and begins:
            found.setdefault(subject, []).append(_Started(start, begins, end, days(end) if end else None, epoch))
        elif start:
            unsure.add(subject)
    for elements in found.values():
        elements.sort(key=lambda element: (element.begins, element.start, element.end or "~"))
    return {subject: None if subject in unsure else elements for subject, elements in found.items()}


def _epoch(elements: list[_Started] | None, cell: str | None, before: Collection[str] | None = ()) -> str | None:
    """The epoch in which a record falls; None where its partial date or those of elements leave it open.

    A record of the day on which an element starts, both without times, belongs to the one before it where the epoch of
    the element is among those of `before` (None: all).
    """
    span = days(cell) if cell else None
    if not elements or cell is None or span is None:
        return None
    states = [_reached(element.start, element.begins, cell, span) for element in elements]
    if before is None or before:
        earlier = [at > 0 and (before is None or each.epoch in before) for at, each in enumerate(elements)]
        states = [
            state and not (moved and _same_day(element, cell, span))
            for element, state, moved in zip(elements, states, earlier, strict=True)
        ]
    if None in states:
        return None
    begun = [element for element, state in zip(elements, states, strict=True) if state]
    if not begun or any(
        each.begins[1] > begun[-1].begins[0] and _over(each, cell, span) is not True for each in begun[:-1]
    ):
        return None
    return begun[-1].epoch if _over(begun[-1], cell, span) is False else None


def _same_day(element: _Started, cell: str, span: tuple[int, int]) -> bool:
    """Whether an element starts on the very day of a record, and times of day do not say which was first."""
    return element.begins == span and span[0] == span[1] and not ("T" in element.start and "T" in cell)


def _over(element: _Started, cell: str, span: tuple[int, int]) -> bool | None:
    """Whether an element had ended when a record was made; None where a partial date leaves it open."""
    if element.end is None:
        return False
    inside = _reached(cell, span, element.end, element.ends) if element.ends else None
    return None if inside is None else not inside


def _reached(first: str, begins: tuple[int, int], later: str, span: tuple[int, int]) -> bool | None:
    """Whether a date is on or before another whatever days both mean; None where that differs."""
    if begins[0] == begins[1] and span[0] == span[1]:
        return at_most(first, later)
    if begins[1] <= span[0]:
        return True
    return False if begins[0] > span[1] else None


def planned_visits(tables: Mapping[str, pa.Table]) -> Iterator[Visit]:
    """The visits that TV and SV have, in this order, each distinct one once."""
    for dataset in ("TV", "SV"):
        if dataset in tables:
            groups = columns.Groups(tables[dataset], ("VISIT", "VISITNUM", "VISITDY"))
            yield from (Visit(label, number, day) for label, number, day in groups.cells)


def derive_visits(work: Work) -> None:
    """Fill VISITNUM, VISIT and VISITDY from the study's visits, TV and SV; number unscheduled visits.

    An unscheduled visit gets the number of the last planned visit before it and decimals: n.01, n.02 in the order of
    their dates; where SV numbers the visit, that number is used. A label that is neither planned nor unscheduled is
    noted (FS711).
    """
    planned = _Planned(work)
    if planned.numbers:
        unscheduled = _number_unscheduled(work, planned)
        for name, spec in work.known():
            if _has_visits(work, name, spec):
                _fill_visits(work, name, planned, unscheduled)


def _has_visits(work: Work, name: str, spec: sdtm.Domain) -> bool:
    """Whether the records of a dataset belong to visits: by the guide, or since they came with a visit."""
    names = set(work.tables[name].column_names)
    if "VISITNUM" in spec.names:
        return bool({"USUBJID", "VISIT"} & names)
    return spec.klass in sdtm.GENERAL_CLASSES and bool({"VISIT", "VISITNUM"} & set(work.filled.get(name, ())))


class _Planned:
    """The planned visits: label -> number, number -> label, number -> day; the study's own list before TV."""

    def __init__(self, work: Work) -> None:
        self.numbers: dict[str, str] = {visit.label: visit.number for visit in work.study.visits}
        self.days: dict[str, str] = {visit.number: visit.day for visit in work.study.visits if visit.day}
        self.unscheduled = re.compile(work.study.unscheduled, re.IGNORECASE)
        for label, number, day in work.visits:
            self._add(label, canonical_number(number or ""), day)
        self.numbered = _numbered_in_sv(work)
        self.labels = {number: label for label, number in reversed(self.numbers.items())}

    def _add(self, label: str | None, number: str | None, day: str | None) -> None:
        if label and number and not self.unscheduled.search(label, 0, LABEL):
            self.numbers.setdefault(label, number)
            if day:
                self.days.setdefault(number, day)


def _numbered_in_sv(work: Work) -> dict[tuple[str, str], str]:
    """(subject, label) -> number that SV gives the visit, where it gives one only."""
    found: dict[tuple[str, str], set[str]] = {}
    if "SV" in work.tables:
        for subject, label, number in columns.Groups(work.tables["SV"], ("USUBJID", "VISIT", "VISITNUM")).cells:
            if subject and label and number:
                found.setdefault((subject, label), set()).add(number)
    return {key: min(numbers) for key, numbers in found.items() if len(numbers) == 1}


_Unscheduled = dict[tuple[str, str, str], str]


def _visit_date(work: Work, name: str) -> str | None:
    """The column with the day of a record's visit: what a subject reports (CM, MH) started on any other day."""
    if name == "SV" or "VISITNUM" in sdtm.domain(name).names:
        return "SVSTDTC" if name == "SV" else _start_column(work, name)
    collected = sdtm.domain(name).prefix + "DTC"
    return collected if collected in work.filled.get(name, ()) else None


def _number_unscheduled(work: Work, planned: _Planned) -> _Unscheduled:
    """(subject, label, day) -> number of each unscheduled visit found in any dataset."""
    held: dict[str, set[tuple[str, str]]] = {}
    extra: dict[str, set[tuple[str, str]]] = {}
    for subject, label, number, day in _dated_visits(work):
        if label in planned.numbers:
            held.setdefault(subject, set()).add((day, planned.numbers[label]))
        elif (
            number is None and planned.unscheduled.search(label, 0, LABEL) and (subject, label) not in planned.numbered
        ):
            extra.setdefault(subject, set()).add((day, label))
    return {
        (subject, label, day): number
        for subject, visits in extra.items()
        for (day, label), number in _decimals(sorted(visits), sorted(held.get(subject, ()))).items()
    }


def _dated_visits(work: Work) -> Iterator[tuple[str, str, str | None, str]]:
    """Subject, label, number and day of the visits in every dataset that has them."""
    for name, spec in work.known():
        source = _visit_date(work, name)
        if source and _has_visits(work, name, spec):
            groups = columns.Groups(work.tables[name], ("USUBJID", "VISIT", "VISITNUM", source))
            for subject, label, number, cell in groups.cells:
                if subject and label and cell and day_of(cell):
                    yield subject, label, number, cell[:10]


def _decimals(visits: list[tuple[str, str]], held: list[tuple[str, str]]) -> dict[tuple[str, str], str]:
    days = [day for day, _ in held]
    by_base: dict[str, list[tuple[str, str]]] = {}
    for visit in visits:
        at = bisect_right(days, visit[0])
        by_base.setdefault(held[at - 1][1] if at else "0", []).append(visit)
    return {
        visit: f"{base}{'' if '.' in base else '.'}{place:0{max(2, len(str(len(group))))}d}"
        for base, group in by_base.items()
        for place, visit in enumerate(group, 1)
    }


def _fill_visits(work: Work, name: str, planned: _Planned, unscheduled: _Unscheduled) -> None:
    source = _visit_date(work, name) or "VISIT"
    groups = columns.Groups(work.tables[name], ("USUBJID", "VISIT", "VISITNUM", source))
    numbers, derived, labels, planned_days = (list[str | None]() for _ in range(4))
    lacking = list[str]()
    for subject, label, number, cell in groups.cells:
        key = (subject or "", label or "", (cell or "")[:10])
        by_label = planned.numbers.get(label or "") or planned.numbered.get(key[:2])
        found = number or by_label or unscheduled.get(key)
        plain = canonical_number(found or "")
        numbers.append(found)
        derived.append(by_label)
        labels.append(planned.labels.get(plain or ""))
        planned_days.append(planned.days.get(plain or ""))
        undated = label is not None and planned.unscheduled.search(label, 0, LABEL) is not None
        lacking.append("" if found or label is None else "FS716" if undated else "FS711")
    for code, column, expected in (
        ("FS711", "VISIT", "a label of the study's visits, or one that says unscheduled"),
        ("FS716", source, "a date to the day, or a number of the visit in SV"),
    ):
        rows = [row for row, lacks in zip(groups.first_rows(), lacking, strict=True) if lacks == code]
        work.note(code, name, sorted(rows), column, expected)
    work.compare(name, "VISITNUM", groups.spread(derived))
    for variable, values in (("VISITNUM", numbers), ("VISIT", labels), ("VISITDY", planned_days)):
        work.fill(name, variable, groups.spread(values), method(variable))
