"""ISO 8601 dates, intervals and durations as SDTM writes them: partial, text, never completed.

Source: SDTMIG 3.4, section 4.4 (dates and times, intervals of uncertainty, durations).
"""

from __future__ import annotations

import re
from datetime import date

from fhirspace.remember import remembered

_DATETIME = re.compile(
    r"(?P<year>\d{4}|-)(?:-(?P<month>\d{2}|-)(?:-(?P<day>\d{2}|-)"
    r"(?:T(?P<hour>\d{2}|-)(?::(?P<minute>\d{2}|-)(?::(?P<second>\d{2}(?:\.\d+)?))?)?(?P<zone>Z|[+-]\d{2}:?\d{2})?)?)?)?",
    re.ASCII,
)
_DURATION = re.compile(r"[+-]?P(?=\d|T\d)(?:\d+(?:\.\d+)?W|(?:\d+(?:\.\d+)?Y)?(?:\d+(?:\.\d+)?M)?(?:\d+(?:\.\d+)?D)?(?:T(?=\d)(?:\d+(?:\.\d+)?H)?(?:\d+(?:\.\d+)?M)?(?:\d+(?:\.\d+)?S)?)?)")  # fmt: skip  # noqa: E501
_COMPLETE = re.compile(r"(\d{4}-\d{2}-\d{2})(?:T[^/]*)?", re.ASCII)
_CLOCK = {"hour": 24, "minute": 60, "second": 61}


@remembered
def day_of(text: str) -> int | None:
    """The proleptic ordinal of a complete date (a time may follow); None for a partial or impossible one."""
    matched = _COMPLETE.fullmatch(text)
    if matched is None:
        return None
    try:
        return date.fromisoformat(matched[1]).toordinal()
    except ValueError:
        return None


def study_day(day: int, reference: int) -> int:
    """The study day of a date: the reference day is 1, the day before it -1; there is no day 0."""
    return day - reference + (1 if day >= reference else 0)


def valid_datetime(text: str) -> bool:
    """Whether a text is a well-formed and possible SDTM date, time or interval of both.

    A missing inner part is a single hyphen (``2003---15``); missing parts at the end are left out.
    """
    if "/" in text:
        start, _, end = text.partition("/")
        return valid_datetime(start) and (valid_datetime(end) or valid_duration(end))
    matched = _DATETIME.fullmatch(text)
    if matched is None or not any(character.isdigit() for character in text):
        return False
    if text.endswith("-"):
        return False
    return _possible_day(matched) and _possible_clock(matched)


def _possible_day(matched: re.Match[str]) -> bool:
    # An unknown year may be a leap year, an unknown month may have 31 days.
    numbers = {part: matched[part] for part in ("year", "month", "day")}
    year, month, day = (
        int(text) if text and text != "-" else default
        for text, default in zip(numbers.values(), (2000, 1, 1), strict=True)
    )
    try:
        date(year, month, day)
    except ValueError:
        return False
    return True


def _possible_clock(matched: re.Match[str]) -> bool:
    for part, limit in _CLOCK.items():
        text = matched[part]
        if text and text != "-" and float(text) >= limit:
            return False
    zone = matched["zone"]
    return not zone or zone == "Z" or (int(zone[1:3]) <= 14 and int(zone[-2:]) < 60)


def valid_duration(text: str) -> bool:
    """Whether a text is a well-formed ISO 8601 duration (``P2W``, ``-PT30M``)."""
    return _DURATION.fullmatch(text) is not None


def lacks_zone(text: str) -> bool:
    """Whether a text holds a time of day without an offset from UTC."""
    matched = _DATETIME.fullmatch(text)
    return bool(matched and matched["hour"] and not matched["zone"])


def at_most(left: str, right: str) -> bool:
    """Whether a date is on or before another, at the precision both have: days when either has no time of day.

    Offsets are not applied: within a subject all clocks are taken to be local.
    """
    first, second = (re.sub(r"(Z|[+-]\d{2}:?\d{2})$", "", text) if "T" in text else text for text in (left, right))
    length = min(len(first), len(second))
    return first[:length] <= second[:length]


def completed_years(birth: str, at: str) -> int | None:
    """Completed years from a birth date to a date; None where the parts given leave the number open."""
    if not (re.match(r"\d{4}", birth) and day_of(at)):
        return None
    year, month_day = int(birth[:4]), birth[5:10]
    years, now = int(at[:4]) - year, at[5:10]
    if len(month_day) == 5:
        return years - (now < month_day)
    if len(month_day) == 2 and month_day != now[:2]:
        return years - (now[:2] < month_day)
    return None
