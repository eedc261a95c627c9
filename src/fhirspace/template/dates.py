"""Dates and times as SDTM and EDC systems write them, and the FHIR elements that they become."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from typing import Final

from fhirspace.template.codec import CellError, Out

_DTC: Final = re.compile(
    r"(?P<year>\d{4}|-)(?:-(?P<month>\d{2}|-)(?:-(?P<day>\d{2}|-)"
    r"(?:T(?P<hour>\d{2}|-)(?::(?P<minute>\d{2}|-)(?::(?P<second>\d{2}(?:\.\d+)?))?)?(?P<zone>Z|[+-]\d{2}:\d{2})?)?)?)?"
)


_DATE_HINT: Final = "an ISO 8601 date that exists, whole or partial, such as 2017-06-14 or 2017-06"


def split_dtc(cell: str) -> dict[str, str]:
    """The filled parts (year, month, day, hour, minute, second, zone) of one ISO 8601 date/time of SDTM.

    Unknown parts written as ``-`` are left out. Raises CellError (FS205 not a date, FS206 a date that does not exist).
    Source: SDTMIG 3.4, section 4.4.1 (formats for date/time variables).
    """
    found = _DTC.fullmatch(cell)
    if found is None:
        raise CellError("FS205", _DATE_HINT)
    parts = {name: text for name, text in found.groupdict().items() if text is not None and text != "-"}
    if "year" in parts and parts["year"] == "0000":
        raise CellError("FS206", _DATE_HINT)
    try:
        datetime.date(int(parts.get("year", "2000")), int(parts.get("month", "1")), int(parts.get("day", "1")))
    except ValueError:
        raise CellError("FS206", _DATE_HINT) from None
    clock_ok = (
        int(parts.get("hour", "0")) < 24 and int(parts.get("minute", "0")) < 60 and float(parts.get("second", "0")) < 60
    )
    zone = parts.get("zone", "Z")
    zone_ok = zone == "Z" or (int(zone[1:3]) < 14 and int(zone[4:]) < 60) or zone[1:] == "14:00"
    if not (clock_ok and zone_ok):
        raise CellError("FS206", "a time of day that exists")
    return parts


def date_out(cell: str) -> str | None:
    """The FHIR date of a cell, None where it has no such form. Raises CellError: no ISO 8601 date."""
    parts = split_dtc(cell.partition("/")[0])
    if "/" in cell:
        split_dtc(cell.partition("/")[2])
    return _known_date(parts)


def _known_date(parts: Mapping[str, str]) -> str | None:
    if "year" not in parts:
        return None
    known = [parts["year"]]
    for name in ("month", "day"):
        if name not in parts:
            break
        known.append(parts[name])
    return "-".join(known)


def datetime_out(cell: str) -> str | None:
    """The FHIR dateTime of a cell, None where it has no such form. Raises CellError: no ISO 8601 date."""
    first, _, last = cell.partition("/")
    parts = split_dtc(first)
    if last:
        split_dtc(last)
    day = _known_date(parts)
    if day is None or len(day) < 10 or not {"hour", "minute", "zone"} <= parts.keys():
        return day
    return f"{day}T{parts['hour']}:{parts['minute']}:{parts.get('second', '00')}{parts['zone']}"


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


_MONTHS: Final = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")


_DAY_PARTS: Final = {
    "DD": r"(?P<day>\d{1,2}|UN|UNK|NK|XX)",
    "MON": r"(?P<mon>[A-Za-z]{3}|XXX)",
    "MM": r"(?P<month>\d{1,2}|UN|UNK|NK|XX)",
    "YYYY": r"(?P<year>\d{4})",
    "hh": r"(?P<hour>\d{1,2})",
    "mm": r"(?P<minute>\d{2})",
}


_UNKNOWN: Final = {"UN", "UNK", "NK", "XX", "XXX"}


def day_shape(shape: str) -> tuple[Out, Out]:
    """EDC dates of a shape such as ``DD MON YYYY`` or ``DD/MM/YYYY hh:mm`` to and from ISO 8601."""
    tokens = re.split(r"(YYYY|MON|MM|DD|hh|mm)", shape)
    pattern = re.compile("".join(_DAY_PARTS.get(token) or re.escape(token) for token in tokens))
    hint = f"a date that exists, as {shape}, unknown parts as UN"

    def out(cell: str) -> str | None:
        found = pattern.fullmatch(cell)
        if found is None:
            raise CellError("FS205", hint)
        parts = {name: text for name, text in found.groupdict().items() if text and text.upper() not in _UNKNOWN}
        if "mon" in parts:
            month = parts.pop("mon").upper()
            if month not in _MONTHS:
                raise CellError("FS205", hint)
            parts["month"] = str(_MONTHS.index(month) + 1)
        if "day" in parts and "month" not in parts:
            return None
        iso = "-".join(parts[name].zfill(2) for name in ("year", "month", "day") if name in parts)
        if "hour" in parts:
            iso += f"T{parts['hour'].zfill(2)}:{parts['minute']}"
        split_dtc(iso)
        return iso

    def back(text: str) -> str | None:
        try:
            parts = split_dtc(text)
        except CellError:
            return None
        if "year" not in parts or ("hh" in tokens) != ("hour" in parts) or "second" in parts or "zone" in parts:
            return None
        texts = {"YYYY": parts["year"], "DD": parts.get("day", "UN"), "MM": parts.get("month", "UN")}
        texts["MON"] = _MONTHS[int(parts["month"]) - 1] if "month" in parts else "UNK"
        texts |= {"hh": parts.get("hour", ""), "mm": parts.get("minute", "")}
        return "".join(texts.get(token, token) for token in tokens)

    return out, back
