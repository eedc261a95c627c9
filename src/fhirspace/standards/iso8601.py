"""The one grammar of dates, times, intervals and durations: ISO 8601 as SDTM writes it.

`validate`, `convert`, the derivations and the codecs of mappings all ask here, so that what one accepts all accept.
A date may be partial. Missing parts at the end are left out, a missing part inside is a single hyphen (``2003---15``,
``2003-12-15T-:15``). An interval is two dates, or a date and a duration, divided by ``/``. Years before 1583 are none:
ISO 8601 allows them where sender and receiver agree, SDTM does not, and ``0024`` is a year that lost its century.

Source: SDTMIG 3.4, section 4.4 (dates and times, intervals of uncertainty, durations).
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Final

from fhirspace.remember import remembered

_FORM: Final = re.compile(
    r"(?P<year>\d{4}|-)(?:-(?P<month>\d{2}|-)(?:-(?P<day>\d{2}|-)(?:T(?P<hour>\d{2}|-)"
    r"(?::(?P<minute>\d{2}|-)(?::(?P<second>\d{2}(?:\.\d+)?))?)?(?P<zone>Z|[+-]\d{2}:?\d{2})?)?)?)?",
    re.ASCII,
)
_WHOLE: Final = re.compile(
    r"(\d{4}-\d{2}-\d{2})"
    r"(?:T([01]\d|2[0-3]):([0-5]\d)(?::([0-5]\d(?:\.\d{1,9})?))?(Z|[+-](?:0\d|1[0-3]):?[0-5]\d)?)?",
    re.ASCII,
)
"""A date, or a time without a leap second, of which no part is unknown: most are. Its day may not exist."""
_COUNT: Final = r"\d+(?:\.\d+)?"
DURATION: Final = (
    rf"[+-]?P(?=\d|T\d)(?:{_COUNT}W|(?:{_COUNT}Y)?(?:{_COUNT}M)?(?:{_COUNT}D)?"
    rf"(?:T(?=\d)(?:{_COUNT}H)?(?:{_COUNT}M)?(?:{_COUNT}S)?)?)"
)
"""The regular expression of a duration: ``P2W``, ``P1Y2M``, ``-PT30M`` (before the reference)."""
_DURATION: Final = re.compile(DURATION, re.ASCII)
_LONGEST: Final = 200
FIRST_YEAR: Final = "1583"
"""The first whole year of the Gregorian calendar (ISO 8601-1, 4.3.2)."""
_LEAP: Final = {14, 29, 44, 59}
"""Minutes that can have a leap second: the last of an hour in UTC, in zones that are quarters of an hour apart."""
Parts = dict[str, str]


class NotADateError(ValueError):
    """A text that has not the form of a date."""


class NoSuchDateError(NotADateError):
    """A text that has the form of a date but names a day, a time of day or an offset that does not exist."""


def parts(text: str) -> Parts:
    """The known parts (year, month, day, hour, minute, second, zone) of one date or time, whole or partial.

    Raises:
        NotADateError: not such a date; NoSuchDateError: a day, a time or an offset that does not exist.
    """
    found = _WHOLE.fullmatch(text)
    if found is not None and _ordinal(found[1]):
        day, hour, minute, second, zone = found.groups()
        known = {"year": day[:4], "month": day[5:7], "day": day[8:]}
        if hour:
            known |= {"hour": hour, "minute": minute}
        known |= {"second": second} if second else {}
        return known | {"zone": zone} if zone else known
    return _parts(text)


def _parts(text: str) -> Parts:
    """`parts` of any text."""
    found = _FORM.fullmatch(text) if len(text) <= _LONGEST else None
    if found is None or text.endswith("-") or not any(character.isdigit() for character in text):
        raise NotADateError
    known = {name: part for name, part in found.groupdict().items() if part is not None and part != "-"}
    _check_day(known)
    _check_clock(known)
    return known


@remembered
def _ordinal(day: str) -> int:
    """The proleptic ordinal of ``2026-03-01``; 0 where there is no such day, or none that ISO 8601 takes."""
    if day < FIRST_YEAR:
        return 0
    try:
        return date(int(day[:4]), int(day[5:7]), int(day[8:])).toordinal()
    except ValueError:
        return 0


def _check_day(known: Mapping[str, str]) -> None:
    if known.get("year", FIRST_YEAR) < FIRST_YEAR:
        raise NoSuchDateError
    # An unknown year may be a leap year, an unknown month may have 31 days.
    try:
        date(int(known.get("year", "2000")), int(known.get("month", "1")), int(known.get("day", "1")))
    except ValueError:
        raise NoSuchDateError from None


def _check_clock(known: Mapping[str, str]) -> None:
    minute, second = int(known.get("minute", "59")), float(known.get("second", "0"))
    possible = int(known.get("hour", "0")) < 24 and minute < 60 and second < (61 if minute in _LEAP else 60)
    zone = known.get("zone", "Z")
    if not possible or (zone != "Z" and not _offset_exists(int(zone[1:3]), int(zone[-2:]))):
        raise NoSuchDateError


def _offset_exists(hours: int, minutes: int) -> bool:
    return minutes < 60 and (hours < 14 or (hours, minutes) == (14, 0))


def valid(text: str) -> bool:
    """Whether a text is a date, whole or partial, or an interval."""
    start, slash, end = text.partition("/")
    if not slash:
        return _valid_date(text)
    if valid_duration(start):
        return _valid_date(end)
    return _valid_date(start) and (_valid_date(end) or valid_duration(end))


def _valid_date(text: str) -> bool:
    whole = _WHOLE.fullmatch(text)
    if whole is not None and _ordinal(whole[1]):
        return True
    try:
        parts(text)
    except NotADateError:
        return False
    return True


def valid_duration(text: str) -> bool:
    """Whether a text is a duration (``P2W``, ``-PT30M``)."""
    return len(text) <= _LONGEST and _DURATION.fullmatch(text) is not None


@remembered
def days(text: str) -> tuple[int, int] | None:
    """The first and the last day that a text can mean, as proleptic ordinals; None where it sets no bounds.

    ``2003-12`` can mean each day of that month, an interval each day from the start of its first date to the end of its
    last. A text without a year, an interval with a duration and one that ends before it starts set no bounds.
    """
    whole = _WHOLE.fullmatch(text)
    if whole is not None and (day := _ordinal(whole[1])):
        return day, day
    start, slash, end = text.partition("/")
    try:
        first, last = parts(start), parts(end if slash else start)
    except NotADateError:
        return None
    if "year" not in first or "year" not in last:
        return None
    bounds = _earliest(first), _latest(last)
    return bounds if bounds[0] <= bounds[1] else None


def _earliest(known: Parts) -> int:
    year, month, day = int(known["year"]), int(known.get("month", "1")), int(known.get("day", "1"))
    while day > monthrange(year, month)[1]:  # the 30th of an unknown month is in January or later
        month += 1
    return date(year, month, day).toordinal()


def _latest(known: Parts) -> int:
    year, month = int(known["year"]), int(known.get("month", "12"))
    day = int(known.get("day", monthrange(year, month)[1]))
    while day > monthrange(year, month)[1]:
        month -= 1
    return date(year, month, day).toordinal()


def known_date(known: Mapping[str, str]) -> str | None:
    """Year, month and day as far as they are known without a gap, as FHIR writes them; None without a year."""
    found: list[str] = []
    for name in ("year", "month", "day"):
        if name not in known:
            break
        found.append(known[name])
    return "-".join(found) or None


def common(first: str | None, last: str | None) -> str | None:
    """The parts that two dates (YYYY, YYYY-MM or YYYY-MM-DD) begin with alike; None where even the years differ."""
    alike: list[str] = []
    for one, other in zip((first or "").split("-"), (last or "").split("-"), strict=False):
        if one != other:
            break
        alike.append(one)
    return "-".join(alike) or None


@remembered
def instant(text: str) -> datetime | None:
    """The moment in UTC of a date with a time of day (to the minute at least) and an offset, else None."""
    try:
        known = parts(text)
    except NotADateError:
        return None
    if not {"year", "month", "day", "hour", "minute", "zone"} <= known.keys():
        return None
    local = datetime.fromisoformat(f"{known['year']}-{known['month']}-{known['day']}T{known['hour']}:{known['minute']}")
    local += timedelta(seconds=float(known.get("second", "0")))
    try:
        return local - offset(known["zone"])
    except OverflowError:
        return None


def offset(zone: str) -> timedelta:
    """The offset from UTC that ``Z``, ``+05:30`` or ``-0330`` says."""
    if zone == "Z":
        return timedelta(0)
    size = timedelta(hours=int(zone[1:3]), minutes=int(zone[-2:]))
    return -size if zone[0] == "-" else size
