"""Counter-based random numbers and the spellings of an EDC system.

Every number is a function of (key, subject index, stream name, counter), so a row is the same whatever the order in
which forms are written, the number of subjects, the Python version or the machine. Only integers are used: no rounding
can differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from hashlib import blake2b
from struct import unpack
from typing import TypeVar

KEY = b"20170614"
MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
T = TypeVar("T")


class Draw:
    """The stream of random numbers of one subject for one purpose."""

    def __init__(self, subject: int, stream: str) -> None:
        self._name = f"{subject}/{stream}/"
        self._counter = 0
        self._words: list[int] = []

    def below(self, limit: int) -> int:
        """A number in 0..limit-1 (`limit` far below 2**32, so the bias of the remainder does not matter here)."""
        if not self._words:
            digest = blake2b(f"{self._name}{self._counter}".encode(), key=KEY, digest_size=64).digest()
            self._words = list(unpack("<16I", digest))
            self._counter += 1
        return self._words.pop() % limit

    def between(self, low: int, high: int) -> int:
        """A number in low..high, all as likely."""
        return low + self.below(high - low + 1)

    def bell(self, low: int, high: int) -> int:
        """A number in low..high, the middle likelier (the mean of three)."""
        span = high - low + 1
        return low + (self.below(span) + self.below(span) + self.below(span)) // 3

    def chance(self, percent: int) -> bool:
        """True so many times in a hundred."""
        return self.below(100) < percent

    def pick(self, choices: Sequence[T]) -> T:
        """One of the choices, all as likely."""
        return choices[self.below(len(choices))]


def fixed(value: int, places: int) -> str:
    """A whole number of 10**-places as a decimal with all its places: ``fixed(550, 2)`` is ``5.50``."""
    if places == 0:
        return str(value)
    digits = str(abs(value)).zfill(places + 1)
    return f"{'-' if value < 0 else ''}{digits[:-places]}.{digits[-places:]}"


def edc_date(day: date | None, known: str = "day") -> str:
    """A date as the EDC prints it: ``14 JUN 2017``, ``UN JUN 2017`` (known to the month), ``UN UNK 2017`` (year)."""
    if day is None:
        return ""
    if known == "year":
        return f"UN UNK {day.year}"
    return f"{f'{day.day:02d}' if known == 'day' else 'UN'} {MONTHS[day.month - 1]} {day.year}"


def box(ticked: bool) -> str:
    """A checkbox as the EDC exports it."""
    return "Checked" if ticked else "Unchecked"


def yes(answer: bool) -> str:
    """A yes/no question as the EDC exports it."""
    return "Yes" if answer else "No"


def plus(day: date, days: int) -> date:
    """The date so many days later."""
    return day + timedelta(days)


def months_before(day: date, months: int) -> date:
    """The first day of the month so many months earlier."""
    count = day.year * 12 + day.month - 1 - months
    return date(count // 12, count % 12 + 1, 1)
