"""Dates as rules compare them: how precise each is, and its moment at each precision.

Missing components may be written as a hyphen (``2003---15``, SDTMIG 4.4.2). A moment is a count of microseconds in
UTC; a text without an offset counts as UTC.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, timezone
from functools import lru_cache
from typing import NamedTuple

LEVELS = ("year", "month", "day", "hour", "minute", "second", "microsecond")
_LEAST = (1970, 1, 1, 0, 0, 0, 0)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CLOCK = (
    r"(?P<{0}hour>2[0-3]|[01]\d|-)(?::(?P<{0}minute>[0-5]\d|-)"
    r"(?::(?P<{0}second>[0-5]\d|-)?(?:\.(?P<{0}micro>\d+))?)?)?(?P<{0}zone>Z|[+-](?:2[0-3]|[01]\d):[0-5]\d)?"
)
_CALENDAR = (
    r"(?P<{0}year>-?\d{{4}}|-)(?:--?(?P<{0}month>1[0-2]|0[1-9]|-))?(?:--?(?P<{0}day>3[01]|0[1-9]|[12]\d|-))?"
    rf"(?:T{_CLOCK})?"
)
_SHAPE = re.compile(f"^(?:{_CALENDAR.format('')}(?:/{_CALENDAR.format('end_')})?|-{{4,8}}T{_CLOCK.format('only_')})$")
_LENGTHS = (4, 7, 10, 13, 16, 19)
"""How many characters a date has that is known to each level."""
_UNSURE = ("/", "--", "-:")


class Moment(NamedTuple):
    """A date: the place of its precision in `LEVELS`, and its microseconds when cut to each level."""

    level: int
    at: tuple[int, ...]


@lru_cache(maxsize=100_000)
def moment(text: str) -> Moment | None:
    """A text as a moment; None where it is no date, or not even a year is known."""
    parts = _parts(text)
    if parts is None:
        return None
    level = next((at for at, part in enumerate(parts) if part is None), len(LEVELS)) - 1
    whole = _instant(text, parts)
    if level < 0 or whole is None:
        return None
    return Moment(level, tuple(_cut(whole, at) for at in range(len(LEVELS))))


def written(moment: Moment) -> str:
    """A moment as a date in UTC, as far as it is known; to the second at most."""
    last = min(moment.level, LEVELS.index("second"))
    whole = (_EPOCH + timedelta(microseconds=moment.at[last])).isoformat()
    return whole[: _LENGTHS[last]]


def component(text: str, level: int) -> int | None:
    """One part of a date in UTC, the least where it is not known; None where the text is no date."""
    parts = _parts(text)
    whole = _instant(text, parts) if parts else None
    return None if whole is None else int(getattr(whole, LEVELS[level]))


def valid(text: str) -> bool:
    """Whether a text is a date as SDTM writes it, with what is unknown left out or replaced by a hyphen."""
    return _parts(text) is not None


def complete(text: str) -> bool:
    """Whether a text is at least a whole day of the calendar."""
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def day(text: str) -> date | None:
    """The day of a date that is complete, else None."""
    try:
        return datetime.fromisoformat(text).date()
    except ValueError:
        return None


def _parts(text: str) -> tuple[int | None, ...] | None:
    found = _SHAPE.match(text)
    if found is None or text.endswith("\n"):
        return None
    named = found.groupdict()
    parts = tuple(_part(named, name) for name in ("year", "month", "day", "hour", "minute", "second"))
    fraction = named["micro"] or named["end_micro"] or named["only_micro"]
    whole = (*parts, int(fraction[:6].ljust(6, "0")) if fraction else None)
    unsure = any(each in text for each in _UNSURE)
    return whole if unsure or (_real(whole) and not text.endswith((":", "-")) and text[:1] != "-") else None


def _part(named: dict[str, str | None], name: str) -> int | None:
    for prefix in ("", "end_", "only_"):
        text = named.get(prefix + name)
        if text:
            return None if text == "-" else int(text)
    return None


def _real(parts: tuple[int | None, ...]) -> bool:
    year, month, day_ = parts[:3]
    try:
        date(year or 0, month or 1, day_ or 1)
    except ValueError:
        return False
    return True


def _instant(text: str, parts: tuple[int | None, ...]) -> datetime | None:
    filled = [least if part is None else part for part, least in zip(parts, _LEAST, strict=True)]
    try:
        plain = datetime(*filled, tzinfo=_zone(text))  # type: ignore[misc,arg-type]
        return plain.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _zone(text: str) -> timezone:
    offset = re.search(r"T.*([+-])(\d\d):(\d\d)$", text)
    if offset is None or any(each in text for each in _UNSURE):
        return UTC
    minutes = int(offset[2]) * 60 + int(offset[3])
    return timezone(timedelta(minutes=-minutes if offset[1] == "-" else minutes))


def _cut(whole: datetime, level: int) -> int:
    kept = (whole.year, whole.month, whole.day, whole.hour, whole.minute, whole.second, whole.microsecond)
    cut = datetime(*kept[: level + 1], *_LEAST[level + 1 :], tzinfo=UTC)  # type: ignore[misc,arg-type]
    return (cut - _EPOCH) // timedelta(microseconds=1)
