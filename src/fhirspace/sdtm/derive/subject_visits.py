"""SV out of the visits of the other datasets, for a study that came without one.

Source: SDTMIG 3.4, section 5.4 (SV): a record for each visit of a subject, with the days on which it began and ended.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import NamedTuple

import pyarrow as pa

from fhirspace.sdtm import columns
from fhirspace.sdtm.derive.bounds import earliest, latest
from fhirspace.sdtm.derive.methods import method
from fhirspace.sdtm.derive.work import Derived, Work
from fhirspace.standards.units import canonical_number

_VARIABLES = ("VISITNUM", "VISIT", "VISITDY", "SVSTDTC", "SVENDTC")


class _Visit(NamedTuple):
    """What the records of one visit say: its study, spelling, label and planned day, and their dates."""

    study: str | None
    number: str
    label: str | None
    day: str | None
    dates: set[str]


def derive_subject_visits(work: Work) -> None:
    """Make SV out of the visits of collected records, where the study plans visits and came without SV.

    A record counts if its VISITNUM and its date of collection are filled and it was not left undone (--STAT). The first
    and the last date are written as far as partial dates leave them certain.
    """
    if "SV" in work.tables or not (work.study.visits or work.visits):
        return
    found: dict[tuple[str, Decimal], _Visit] = {}
    for subject, number, study, label, day, date in _records(work):
        plain = canonical_number(number)
        if plain is not None:
            visit = found.setdefault((subject, Decimal(plain)), _Visit(study, number, label, day, set()))
            visit.dates.add(date)
    if found:
        work.tables["SV"] = _table(found)
        for variable in _VARIABLES:
            work.derived["SV", variable] = Derived("SV", variable, method(f"SV.{variable}"))


def _records(work: Work) -> Iterator[tuple[str, str, str | None, str | None, str | None, str]]:
    """Subject, visit number, study, label, planned day and date of the records, each combination once a dataset."""
    for name, spec in work.general():
        date, status = f"{spec.prefix}DTC", f"{spec.prefix}STAT"
        names = ("USUBJID", "VISITNUM", "STUDYID", "VISIT", "VISITDY", date, status)
        for subject, number, study, label, day, collected, undone in columns.Groups(work.tables[name], names).cells:
            if subject and number and collected and not undone:
                yield subject, number, study, label, day, collected


def _table(found: dict[tuple[str, Decimal], _Visit]) -> pa.Table:
    ordered = sorted(found)
    visits = [found[key] for key in ordered]
    first, last = ([bound(sorted(visit.dates)) for visit in visits] for bound in (earliest, latest))
    cells = {
        "STUDYID": [visit.study for visit in visits],
        "DOMAIN": ["SV"] * len(visits),
        "USUBJID": [subject for subject, _ in ordered],
        "VISITNUM": [visit.number for visit in visits],
        "VISIT": [visit.label for visit in visits],
        "VISITDY": [visit.day for visit in visits],
        "SVSTDTC": [each and each.text for each in first],
        "SVENDTC": [each and each.text for each in last],
    }
    return pa.table({name: pa.array(column, pa.string()) for name, column in cells.items()})
