"""Dates and times in FHIRPath: comparison by the precision that both have, and the bounds of partial ones.

Source: FHIRPath 2.0, "Date/Time Comparison", "Boundaries"; FHIR, "Data Types" (date, dateTime, instant, time).
"""

from __future__ import annotations

import re
from calendar import monthrange
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

KINDS: Final = frozenset({"date", "dateTime", "instant", "time"})
_FORM: Final = re.compile(
    r"(?:(?P<year>\d{4})(?:-(?P<month>\d\d)(?:-(?P<day>\d\d))?)?)?"
    r"(?:T?(?P<hour>\d\d)(?::(?P<minute>\d\d)(?::(?P<second>\d\d(?:\.\d{1,12})?))?)?)?(?P<zone>Z|[+-]\d\d:\d\d)?",
    re.ASCII,
)
_PARTS: Final = ("year", "month", "day", "hour", "minute", "second")
Moment = tuple[Decimal | None, ...]
"""Year, month, day, hour, minute, second; None from where it is not known."""


def _parts(text: str) -> tuple[Moment, str]:
    """The parts of a date or time, and its zone ("" without one). Raises ValueError for what is none."""
    found = _FORM.fullmatch(text.removeprefix("@"))
    if found is None:
        raise ValueError
    return tuple(None if found[name] is None else Decimal(found[name]) for name in _PARTS), found["zone"] or ""


def _utc(moment: Moment, zone: str) -> Moment:
    year, month, day, hour, minute, second = (int(part) if part is not None else 0 for part in moment)
    if zone != "Z":
        offset = timedelta(hours=int(zone[1:3]), minutes=int(zone[4:6])) * (-1 if zone[0] == "-" else 1)
        try:
            shifted = datetime(year, month, day, hour, minute, min(second, 59), tzinfo=UTC) - offset
        except OverflowError:
            raise ValueError from None
        parts = (shifted.year, shifted.month, shifted.day, shifted.hour, shifted.minute)
        return (*(Decimal(part) for part in parts), moment[5])
    return moment


def compare(left: str, right: str) -> int | None:
    """-1, 0 or 1 as the first is before, at or after the second; None where their precisions do not tell.

    Raises:
        ValueError: one is no date or time.
    """
    (first, zone), (second, other) = _parts(left), _parts(right)
    if zone and other and zone != other and first[0] is not None and second[0] is not None:
        first, second = _utc(first, zone), _utc(second, other)
    for one, two in zip(first, second, strict=True):
        if one is None or two is None:
            if one is None and two is None:
                continue
            return None
        if one != two:
            return -1 if one < two else 1
    return 0


def boundary(text: str, *, high: bool) -> str:
    """The first or last moment that a date or time may mean, to the millisecond; of a time of day likewise.

    Raises:
        ValueError: it is no date or time.
    """
    (year, month, day, hour, minute, second), zone = _parts(text)
    clock = [int(part) if part is not None else (most if high else 0) for part, most in ((hour, 23), (minute, 59))]
    last = f"{second:06.3f}" if second is not None else ("59.999" if high else "00.000")
    if year is None:
        return f"{clock[0]:02d}:{clock[1]:02d}:{last}"
    month_ = int(month) if month is not None else (12 if high else 1)
    day_ = int(day) if day is not None else (monthrange(int(year), month_)[1] if high else 1)
    edge = zone or ("-12:00" if high else "+14:00")
    return f"{int(year):04d}-{month_:02d}-{day_:02d}T{clock[0]:02d}:{clock[1]:02d}:{last}{edge}"
