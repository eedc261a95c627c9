"""What derivations and checks ask of dates: days, study days, order, age. The grammar is `standards.iso8601`.

A partial date is an interval: what is asked has an answer only where every day in it gives the same.
"""

from __future__ import annotations

import re
from datetime import date

from fhirspace.remember import remembered
from fhirspace.standards import iso8601
from fhirspace.standards.iso8601 import days

_CLOCK = re.compile(r"[^/]+T\d[^/]*")
_ZONE = re.compile(r"(Z|[+-]\d{2}:?\d{2})$")


@remembered
def day_of(text: str) -> int | None:
    """The proleptic ordinal of the only day that a date can mean (a time may follow); None for any other."""
    found = days(text)
    return found[0] if found and found[0] == found[1] else None


def lacks_zone(text: str) -> bool:
    """Whether a text holds a time of day without an offset from UTC."""
    try:
        known = iso8601.parts(text)
    except iso8601.NotADateError:
        return False
    return "hour" in known and "zone" not in known


def at_most(left: str, right: str) -> bool:
    """Whether a date is on or before another, at the precision both have: days when either has no time of day.

    Offsets count where both have one; else the clocks of a subject are taken to be those of one place.
    """
    both = "T" in left and "T" in right
    first, last = (iso8601.instant(text) if both else None for text in (left, right))
    if first is not None and last is not None:
        left, right = (f"{moment.isoformat()}Z"[: _length(text)] for moment, text in ((first, left), (last, right)))
    else:
        left, right = (_ZONE.sub("", text) if "T" in text else text for text in (left, right))
    length = min(len(left), len(right))
    return left[:length] <= right[:length]


def precedes(left: str, right: str) -> bool:
    """Whether a date or interval is before another, whatever days the two mean.

    Clocks of one day are compared if both have one.
    """
    first, last = days(left), days(right)
    if first is None or last is None:
        return False
    if first[1] < last[0]:
        return True
    whole = day_of(left) == day_of(right) is not None
    return whole and all(_CLOCK.fullmatch(each) for each in (left, right)) and not at_most(right, left)


def _length(text: str) -> int:
    return len(_ZONE.sub("", text))


def completed_years(birth: str, at: str) -> int | None:
    """Completed years from a birth date to a date; None where the parts given leave the number open."""
    born, now = days(birth), days(at)
    if born is None or now is None:
        return None
    least, most = _years(born[1], now[0]), _years(born[0], now[1])
    return least if least == most else None


def _years(birth: int, at: int) -> int:
    born, now = date.fromordinal(birth), date.fromordinal(at)
    return now.year - born.year - ((now.month, now.day) < (born.month, born.day))
