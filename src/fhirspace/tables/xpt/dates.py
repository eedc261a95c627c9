"""Dates and times that SAS holds as numbers, to ISO 8601: which they are, the format of the variable says.

A date is a number of days, a datetime a number of seconds since 1960-01-01, a time a number of seconds of the day.

Source: SAS 9.4 Formats and Informats, "Formats by Category" (date and time).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

Meaning = Literal["date", "datetime", "time"]
_NAMES: dict[Meaning, str] = {
    "date": (
        "DATE DAY DDMMYY DDMMYYB DDMMYYC DDMMYYD DDMMYYN DDMMYYP DDMMYYS E8601DA IS8601DA B8601DA JULIAN MMDDYY "
        "MMDDYYB MMDDYYC MMDDYYD MMDDYYN MMDDYYP MMDDYYS YYMMDD YYMMDDB YYMMDDC YYMMDDD YYMMDDN YYMMDDP YYMMDDS "
        "YYMMN YYMM MONYY MMYY YEAR WEEKDATE WEEKDATX WORDDATE WORDDATX NLDATE"
    ),
    "datetime": "DATETIME DATEAMPM DTDATE DTMONYY E8601DT IS8601DT B8601DT E8601DN B8601DN MDYAMPM NLDATM DTYYMMDD",
    "time": "TIME TIMEAMPM TOD HHMM HHMMSS E8601TM IS8601TM B8601TM NLTIME MMSS",
}
_MEANING = {name: meaning for meaning, names in _NAMES.items() for name in names.split()}
_FIRST = datetime(1960, 1, 1)
_DAY = 86_400


def meaning(form: str) -> Meaning | None:
    """What the numbers of a variable mean that has this format (without width); None: they are numbers."""
    return _MEANING.get(form.rstrip("0123456789."))


def iso(value: float, kind: Meaning) -> str | None:
    """A date, datetime or time in ISO 8601; None where the number is none (a part of a day, after the year 9999)."""
    if kind == "time":
        return _clock(value) if 0 <= value < _DAY else None
    if kind == "date" and value != int(value):
        return None
    try:
        moment = _FIRST + (timedelta(days=value) if kind == "date" else timedelta(seconds=round(value, 6)))
    except OverflowError:
        return None
    return moment.date().isoformat() if kind == "date" else moment.isoformat()


def _clock(seconds: float) -> str:
    whole = _FIRST + timedelta(seconds=round(seconds, 6))
    return whole.time().isoformat()
