"""The data type, length and significant digits of a variable, from its values; and whether a value fits them.

A type is the narrowest that all values have. A numeric variable is an integer or a float; a text variable is a date, a
duration or text as its name and the guide say, so that a text result such as ``5.50`` stays text in its variable and is
a float only where a value-level item says so.

Source: CDISC Define-XML 2.1, section 4.2 (data types, Length, SignificantDigits).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from fhirspace.sdtm.define.words import TEXT_TYPES
from fhirspace.standards import iso8601, sdtm
from fhirspace.standards.numbers import is_number

_INTEGER: Final = re.compile(r"[+-]?\d+", re.ASCII)
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_PARTIAL_DATE: Final = re.compile(r"\d{4}(-\d{2}(-\d{2})?)?", re.ASCII)
_DATETIME: Final = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2})?", re.ASCII)
_PARTIAL: Final = re.compile(
    r"\d{4}(-\d{2}(-\d{2}(T\d{2}(:\d{2}(:\d{2}(\.\d+)?)?)?(Z|[+-]\d{2}:?\d{2})?)?)?)?", re.ASCII
)
_TIME: Final = re.compile(r"T?\d{2}(:\d{2}(:\d{2}(\.\d+)?)?)?(Z|[+-]\d{2}:?\d{2})?", re.ASCII)
_EMPTY_LENGTH: Final = 8
"""The length of a numeric variable without a value: that of a number in a transport file."""


class Kind(NamedTuple):
    """A data type, the length and the digits behind the point; None where the type has none."""

    type: str
    length: int | None = None
    digits: int | None = None


def _date_or_interval(value: str) -> bool:
    return iso8601.valid(value)


def _interval(value: str) -> bool:
    return "/" in value and iso8601.valid(value)


_FITS: Final[dict[str, Callable[[str], bool]]] = {
    "integer": lambda value: _INTEGER.fullmatch(value) is not None,
    "float": is_number,
    "double": is_number,
    "date": lambda value: _DATE.fullmatch(value) is not None and iso8601.valid(value),
    "datetime": lambda value: _DATETIME.fullmatch(value) is not None and iso8601.valid(value),
    "time": lambda value: _TIME.fullmatch(value) is not None,
    "partialDate": lambda value: _PARTIAL_DATE.fullmatch(value) is not None and iso8601.valid(value),
    "partialDatetime": lambda value: _PARTIAL.fullmatch(value) is not None and iso8601.valid(value),
    "incompleteDatetime": _date_or_interval,
    "incompleteDate": _date_or_interval,
    "durationDatetime": iso8601.valid_duration,
    "intervalDatetime": _interval,
}
_DATES: Final = ("date", "datetime", "partialDate", "partialDatetime", "intervalDatetime", "incompleteDatetime")
"""The types of dates, the narrowest first."""


def fits(kind: str, value: str) -> bool:
    """Whether a value has a data type; each has one that is not judged, such as text."""
    judge = _FITS.get(kind)
    return judge is None or judge(value)


def size(kind: str, value: str) -> int:
    """What the Length of a type counts: the bytes of a text, the digits of a whole number; 0 for others.

    How many digits a float has depends on the program that spells it.
    """
    if kind == "integer":
        return _digits(value)
    return len(value.encode()) if kind in TEXT_TYPES else 0


def of_variable(values: Iterable[str], variable: sdtm.Variable | None, *, numeric: bool, length: int) -> Kind:
    """The kind of a whole variable.

    Args:
        values: its distinct values.
        variable: what the guide says of it, None where it is not standard.
        numeric: whether it is a number in the file. length: the bytes of its longest value, or of the variable.
    """
    given = list(values)
    if numeric:
        return _number(given) or Kind("text", max(length, 1))
    form = variable.format if variable else ""
    if "duration" in form and all(map(iso8601.valid_duration, given)):
        return Kind("durationDatetime")
    if "datetime" in form or (variable and variable.name.endswith("DTC")):
        found = next((kind for kind in _DATES if given and all(fits(kind, value) for value in given)), None)
        if found or not given:
            return Kind(found or "datetime")
    return Kind("text", max(length, 1))


def of_values(values: Iterable[str]) -> Kind:
    """The kind of the values of one test, or of one qualifier: a number if all are, a date if all are whole ones."""
    given = list(values)
    numbers = _number(given) if given and all(map(is_number, given)) else None
    whole = next((kind for kind in ("date", "datetime") if given and all(fits(kind, value) for value in given)), None)
    if numbers:
        return numbers
    return Kind(whole) if whole else Kind("text", max((len(value.encode()) for value in given), default=1))


def _number(values: list[str]) -> Kind | None:
    """An integer or a float that has all values; None where one is no number."""
    if not values:
        return Kind("integer", _EMPTY_LENGTH)
    if all(_INTEGER.fullmatch(value) for value in values):
        return Kind("integer", max(_digits(value) for value in values))
    if not all(map(is_number, values)):
        return None
    behind = max(len(value.partition(".")[2]) if "e" not in value.lower() else 0 for value in values)
    return Kind("float", max(_digits(value) for value in values), behind)


def _digits(value: str) -> int:
    return max(1, sum(sign.isdigit() for sign in value))
