"""Dates and times as SDTM and EDC systems write them, and the FHIR elements that they become."""

from __future__ import annotations

import datetime
from typing import Final

from fhirspace.standards import iso8601
from fhirspace.template.codec import CellError

_DATE_HINT: Final = "an ISO 8601 date that exists, whole or partial, such as 2017-06-14 or 2017-06"


def split_dtc(cell: str) -> dict[str, str]:
    """The known parts (year, month, day, hour, minute, second, zone) of one ISO 8601 date/time of SDTM.

    Raises CellError (FS205 not a date, FS206 a date or a time of day that does not exist).
    """
    try:
        return iso8601.parts(cell)
    except iso8601.NoSuchDateError:
        raise CellError("FS206", _DATE_HINT) from None
    except iso8601.NotADateError:
        raise CellError("FS205", _DATE_HINT) from None


def _ends(cell: str) -> tuple[dict[str, str], dict[str, str]] | None:
    """The parts of a date, or of both ends of an interval; None of one with a duration. Raises CellError."""
    first, slash, last = cell.partition("/")
    if slash and iso8601.valid(cell) and "P" in cell:
        return None
    start = split_dtc(first)
    return start, split_dtc(last) if slash else start


def date_out(cell: str) -> str | None:
    """The FHIR date of a cell, None where it has no such form; of an interval what both ends have in common.

    Raises CellError: no ISO 8601 date.
    """
    ends = _ends(cell)
    if ends is None:
        return None
    first, last = (iso8601.known_date(known) for known in ends)
    if "/" in cell and iso8601.days(cell) is None:  # it ends before it starts
        return None
    return first if ends[0] is ends[1] else iso8601.common(first, last)


def datetime_out(cell: str) -> str | None:
    """The FHIR dateTime of a cell, None where it has no such form; of an interval what both ends have in common.

    Raises CellError: no ISO 8601 date.
    """
    day = date_out(cell)
    if day is None or len(day) < 10 or "/" in cell:
        return day
    parts = split_dtc(cell)
    if not {"hour", "minute", "zone"} <= parts.keys() or parts.get("second", "").startswith("60"):
        return day
    zone = parts["zone"] if parts["zone"] == "Z" else f"{parts['zone'][:3]}:{parts['zone'][-2:]}"
    return f"{day}T{parts['hour']}:{parts['minute']}:{parts.get('second', '00')}{zone}"


def moment(cell: str) -> str | None:
    """A date/time of SDTM as a text whose first letter is its precision in FHIR and whose rest sorts by time.

    None where the cell has no FHIR form. Times of day count as instants, in UTC.
    """
    try:
        text = datetime_out(cell)
    except CellError:
        return None
    if text is None or "T" not in text:
        return text and f"{len(text) % 10}{text}"
    instant = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
    return "T" + (instant.replace(tzinfo=None) - (instant.utcoffset() or datetime.timedelta())).isoformat(
        " ", "microseconds"
    )


def upto(start: str | None, end: str | None) -> bool:
    """Whether an end is legal beside a start in a Period: as precise and in order, or no start (FHIR R4, per-1)."""
    first, last = moment(start or ""), moment(end or "")
    return first is None or (last is not None and first[0] == last[0] and first <= last)
