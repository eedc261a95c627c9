"""The earliest and the latest of dates of which some are partial, as far as they are certain.

A partial date is an interval. The earliest of several lies between the least first day and the least last day; where
both are one day, the result is that day, else the year and month that they have in common. Nothing is completed.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import NamedTuple

from fhirspace.standards.iso8601 import common, days, instant


class Bound(NamedTuple):
    """A date as far as it is certain (None: nothing of it is), and whether it is certain to the day."""

    text: str | None
    whole: bool


def earliest(cells: Iterable[str]) -> Bound | None:
    """The earliest of dates; None where there are none."""
    return _bound(list(cells), last=False)


def latest(cells: Iterable[str]) -> Bound | None:
    """The latest of dates; None where there are none."""
    return _bound(list(cells), last=True)


def _bound(cells: list[str], *, last: bool) -> Bound | None:
    spans = [days(cell) for cell in cells]
    known = [span for span in spans if span is not None]
    if len(known) < len(cells):
        return Bound(None, whole=False)
    if not known:
        return None
    pick = max if last else min
    first_day, last_day = pick(span[0] for span in known), pick(span[1] for span in known)
    if first_day != last_day:
        return Bound(common(*(date.fromordinal(day).isoformat() for day in (first_day, last_day))), whole=False)
    at = [(cell, span) for cell, span in zip(cells, known, strict=True) if span[0] <= first_day <= span[1]]
    whole = all(span[0] == span[1] for _, span in at)
    chosen = pick((cell for cell, _ in at), key=_clock) if whole else ""
    # A time of day is certain only where no partial date may be of that day; an interval within it is that day.
    return Bound(chosen if whole and "/" not in chosen else date.fromordinal(first_day).isoformat(), whole=True)


def _clock(cell: str) -> str:
    """What orders dates of one day: the moment in UTC where the offset is known, else the time as it is written."""
    moment = instant(cell)
    return moment.isoformat() if moment else cell
