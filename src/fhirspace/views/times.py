"""Dates of records: the local time of a site, the phase of participation, and the visit whose window a day is in."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from fhirspace.errors import MappingError, Place
from fhirspace.remember import remembered
from fhirspace.standards import iso8601
from fhirspace.standards.units import canonical_number
from fhirspace.tables import formats
from fhirspace.views.notation.model import AFTER, BEFORE, DURING

_INSTANT: Final = re.compile(r"(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})(\.\d+)?(Z|[+-]\d{2}:\d{2})", re.ASCII)
_VISITS: Final = ("VISITNUM", "VISIT")


def local(text: str, zone: str) -> str:
    """A date and time with an offset as the local time of a zone, with the offset that the zone has then.

    A date without a time of day, or a time without an offset, stays as it is: which moment it means is not known.
    """
    found = _INSTANT.fullmatch(text)
    if found is None or not iso8601.valid(text):
        return text
    try:
        moment = datetime.fromisoformat(found[1] + found[3].replace("Z", "+00:00")).astimezone(ZoneInfo(zone))
    except (ValueError, OverflowError):  # a leap second, or a time beyond the calendar
        return text
    offset = moment.isoformat(timespec="seconds")
    return offset[:19] + (found[2] or "") + offset[19:]


@remembered
def moment(text: str) -> tuple[float, str]:
    """Orders dates: by the moment where there is an offset, else by the local day and time as if it were UTC."""
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp(), text
    except (ValueError, OverflowError):
        span = iso8601.days(text)
        return (float(span[0] - 719_163) * 86_400 if span else float("inf")), text


def contradicts(earlier: str | None, later: str | None) -> bool:
    """Whether the second of two dates is certainly before the first: by moments, or by days where one has no time."""
    one, other = (iso8601.days(each) if each else None for each in (earlier, later))
    if one is None or other is None or other[0] > one[1]:
        return False
    if other[1] < one[0]:
        return True
    timed = all(_INSTANT.fullmatch(str(each)) for each in (earlier, later))
    return timed and moment(str(later)) < moment(str(earlier))


def phase(text: str | None, start: str | None, end: str | None) -> str | None:
    """BEFORE, DURING or AFTER the participation; None where a partial date leaves it open, or there is no date.

    The days of start and end are within the participation.
    """
    span = iso8601.days(text) if text else None
    begins = iso8601.days(start) if start else None
    if span is None or begins is None:
        return None
    if span[1] < begins[0]:
        return BEFORE
    ends = iso8601.days(end) if end else None
    if ends is not None and span[0] > ends[1]:
        return AFTER
    certain = span[0] >= begins[1] and (end is None or (ends is not None and span[1] <= ends[0]))
    return DURING if certain else None


def study_day(text: str | None, day_one: str | None) -> int | None:
    """The study day of a date: day 1 is the reference, and there is no day 0. None where a date lacks its day.

    Source: SDTMIG 3.4, section 4.4.4.
    """
    day, first = (iso8601.days(each) if each else None for each in (text, day_one))
    if not day or not first or day[0] != day[1] or first[0] != first[1]:
        return None
    apart = day[0] - first[0]
    return apart + (apart >= 0)


@dataclass(frozen=True, slots=True)
class Window:
    """The window of a visit: number, label, the first and last study day, and the planned one."""

    number: str
    label: str
    first: int
    last: int
    day: float


@dataclass(frozen=True, slots=True)
class Windows:
    """The windows of the visits of a study."""

    windows: tuple[Window, ...] = ()

    def at(self, day: int | None) -> Window | None:
        """The visit of a study day: of the windows that have it, the one whose planned day is nearest.

        Of two that are equally near, neither: it is not known which one it is. None outside of all windows.
        """
        if day is None:
            return None
        here = [each for each in self.windows if each.first <= day <= each.last]
        near = sorted((abs(each.day - day), at) for at, each in enumerate(here))
        if not near or (len(near) > 1 and near[0][0] == near[1][0]):
            return None
        return here[near[0][1]]


def windows(path: Path | None) -> Windows:
    """Reads a table of visits: VISITNUM, VISIT, ``from day`` and ``to day``, and ``day``, the planned one (VISITDY).

    Without ``day`` the middle of the window counts as planned; without ``from day`` and ``to day`` the window is the
    planned day alone.

    Raises:
        MappingError: FS375, a column is missing or a cell is no number. InputError: it cannot be read.
    """
    if path is None:
        return Windows()
    if not path.is_file():
        raise MappingError("FS375", path.name, "a file with the windows of the visits (`visits:` of the views)")
    table = formats.whole(path)
    names = table.column_names
    for name in _VISITS:
        if name not in names:
            raise MappingError("FS375", Place(path.name, 1, name), "this column")
    if not {"from day", "to day"} <= set(names) and not {"day", "VISITDY"} & set(names):
        raise MappingError("FS375", Place(path.name, 1), "the columns `from day` and `to day`, or `day`")
    return Windows(tuple(_window(path.name, at + 2, row) for at, row in enumerate(table.to_pylist())))


def _window(file: str, line: int, row: dict[str, str | None]) -> Window:
    day = _days(file, line, row, ("day", "VISITDY"))
    first = _days(file, line, row, ("from day",))
    last = _days(file, line, row, ("to day",))
    first, last = (day if first is None else first), (day if last is None else last)
    number = canonical_number(row["VISITNUM"] or "")
    if first is None or last is None or number is None or not row["VISIT"] or last < first:
        raise MappingError("FS375", Place(file, line), "a number, a label, and a first day that is not after the last")
    return Window(number, row["VISIT"], first, last, (first + last) / 2 if day is None else day)


def _days(file: str, line: int, row: dict[str, str | None], names: Sequence[str]) -> int | None:
    name = next((each for each in names if row.get(each)), None)
    if name is None:
        return None
    try:
        return int(str(row[name]))
    except ValueError:
        raise MappingError("FS375", Place(file, line, name), "a whole number of days") from None
