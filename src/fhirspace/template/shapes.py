"""Shapes of dates and times in EDC systems, such as ``DD MON YYYY`` or ``MM/DD/YY hh:mm AM, 1930``.

======================  ===========================================================================================
``DD`` ``D``            the day, one or two digits; written back with two (``DD``) or as few as it needs (``D``)
``MM`` ``M``            the month as a number
``MON`` ``MONTH``       the month's name in English, three letters or in full, whatever the case
``YYYY``                the year
``YY``                  two digits of it; the first year that they can mean is written behind a comma
``hh`` ``h``            the hour, from 0 to 23, or from 1 to 12 where the shape has ``AM``
``mm`` ``ss``           the minute and the second
``AM``                  AM or PM, whatever the case
======================  ===========================================================================================

All other letters but ``T`` between date and time are refused when the mapping is loaded. An unknown part is written
UN, UNK, NK or XX; ISO 8601 has a hyphen for it, or leaves it out at the end.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from fhirspace.template.codec import CellError, Out
from fhirspace.template.dates import split_dtc

_NAMES: Final = (
    "JANUARY", "FEBRUARY", "MARCH", "APRIL", "MAY", "JUNE", "JULY", "AUGUST", "SEPTEMBER", "OCTOBER", "NOVEMBER",
    "DECEMBER",
)  # fmt: skip
_SHORT: Final = tuple(name[:3] for name in _NAMES)
_UNKNOWN: Final = "UNKN?|UNKNOWN|UN|NK|XX"
_DIGITS: Final = r"\d{1,2}|" + _UNKNOWN
# Token -> the part that it gives and the cells that it takes.
_TOKENS: Final = {
    "YYYY": ("year", rf"\d{{4}}|XXXX|{_UNKNOWN}"),
    "YY": ("year", rf"\d{{2}}|{_UNKNOWN}"),
    "MONTH": ("month", rf"[A-Za-z]{{3,9}}|{_UNKNOWN}"),
    "MON": ("month", rf"[A-Za-z]{{3}}|{_UNKNOWN}"),
    "MM": ("month", _DIGITS),
    "M": ("month", _DIGITS),
    "DD": ("day", _DIGITS),
    "D": ("day", _DIGITS),
    "hh": ("hour", _DIGITS),
    "h": ("hour", _DIGITS),
    "mm": ("minute", rf"\d{{2}}|{_UNKNOWN}"),
    "ss": ("second", rf"\d{{2}}|{_UNKNOWN}"),
    "AM": ("half", "[AaPp][Mm]"),
}
_ALIKE: Final = {"MMMM": "MONTH", "MMM": "MON", "HH": "hh", "H": "h"}
_PIVOT: Final = re.compile(r"(.*),\s*([0-9]{4})")
_LETTERS: Final = re.compile("([A-Za-z]+)")
_RUN: Final = re.compile(r"YYYY|YY|MONTH|MMMM|MON|MMM|MM|M|DD|D|hh|h|HH|H|mm|ss|AM|T(?=[Hh])")
_UNKNOWN_RE: Final = re.compile(f"(?:{_UNKNOWN}|XX+)", re.IGNORECASE)
_HINT: Final = "a shape of DD D MON MONTH MM M YYYY YY hh h mm ss AM, as in day(DD MON YYYY) or day(MM/DD/YYYY hh:mm)"


class ShapeError(ValueError):
    """A shape that cannot be read; its text says what would fit."""


class Shape:
    """A shape of dates or times: `out` gives ISO 8601 for a cell, `back` the cell for ISO 8601.

    Args:
        text: the shape as written in a mapping, with the first year of two digits behind a comma.
        clock: whether it is a time of day alone.

    Raises:
        ShapeError: letters that mean nothing, a part twice, or parts that do not make a date (a time).
    """

    def __init__(self, text: str, *, clock: bool = False) -> None:
        found = _PIVOT.fullmatch(text)
        self.text, first = (found[1], found[2]) if found else (text, "")
        self._tokens = list(_tokens(self.text))
        self._clock = clock
        self._given = [_TOKENS[token][0] for token in self._tokens if token in _TOKENS]
        self._check()
        self._first = self._first_year(first)
        self._pattern = re.compile("".join(self._part(at) for at in range(len(self._tokens))), re.ASCII | re.IGNORECASE)
        self._hint = f"a {'time' if clock else 'date'} that exists, as {self.text}, unknown parts as UN"

    def _check(self) -> None:
        given = set(self._given)
        needed = {"hour", "minute"} if self._clock else {"year"}
        chain = [name in given for name in ("year", "month", "day", "hour", "minute", "second")][3 * self._clock :]
        gap = sorted(chain, reverse=True) != chain
        if len(given) < len(self._given) or not needed <= given or gap or ("half" in given and "hour" not in given):
            raise ShapeError(_HINT)
        if self._clock and given & {"year", "month", "day"}:
            raise ShapeError("a time of day, as in time(hh:mm AM)")

    def _first_year(self, first: str) -> int:
        if "YY" not in self._tokens:
            if first:
                raise ShapeError("no year behind the comma where the year has four digits")
            return 0
        if not first:
            raise ShapeError("the first year that YY can mean, as in day(DD-MON-YY, 1930) for 1930 to 2029")
        return int(first)

    def _part(self, at: int) -> str:
        piece = self._tokens[at]
        if piece not in _TOKENS:
            return re.escape(piece)
        name, cells = _TOKENS[piece]
        near = {each for each in self._tokens[max(at - 1, 0) : at + 2] if each != piece} - {"MON", "MONTH", "AM"}
        if near & _TOKENS.keys():  # nothing but the number of digits divides 01022024
            cells = cells.replace(r"\d{1,2}", r"\d{2}")
        return f"(?P<{name}>{cells})"

    def out(self, cell: str) -> str | None:
        """ISO 8601 for a cell, None where none of its parts is known.

        Raises:
            CellError: FS205, not of this shape; FS206, a date or a time of day that does not exist.
        """
        found = self._pattern.fullmatch(cell)
        if found is None:
            raise CellError("FS205", self._hint)
        known = {name: part for name, part in found.groupdict().items() if not _UNKNOWN_RE.fullmatch(part)}
        known = self._numbers(known)
        iso = _iso(known)
        if iso is not None:
            split_dtc(iso)
        return iso.partition("T")[2] if iso and self._clock else iso

    def _numbers(self, known: dict[str, str]) -> dict[str, str]:
        half = known.pop("half", "").upper()
        if "month" in known and known["month"].isalpha():
            known["month"] = self._month(known["month"].upper())
        if "YY" in self._tokens and "year" in known:
            known["year"] = str(self._first + (int(known["year"]) - self._first) % 100)
        if half and "hour" in known:
            hour = int(known["hour"])
            if not 1 <= hour <= 12:
                raise CellError("FS206", self._hint)
            known["hour"] = str(hour % 12 + (12 if half == "PM" else 0))
        return {name: part.zfill(2) for name, part in known.items()}

    def _month(self, name: str) -> str:
        names = _NAMES if "MONTH" in self._tokens else _SHORT
        if name not in names:
            raise CellError("FS205", self._hint)
        return str(names.index(name) + 1)

    def back(self, text: str) -> str | None:
        """The cell for ISO 8601, None where the shape cannot say it."""
        try:
            known = split_dtc(f"-----T{text}" if self._clock else text.rstrip("-"))
        except CellError:
            return None
        if set(known) - set(self._given) or not (self._clock or "year" in known):
            return None
        if "hour" in self._given and "hour" not in known:
            return None
        if "YY" in self._tokens and not self._first <= int(known["year"]) < self._first + 100:
            return None
        return "".join(self._written(piece, known) for piece in self._tokens)

    def _written(self, piece: str, known: Mapping[str, str]) -> str:
        if piece not in _TOKENS:
            return piece
        name = _TOKENS[piece][0]
        if name == "half":
            return "PM" if int(known["hour"]) >= 12 else "AM"
        part = known.get(name)
        if part is None:
            return "UNK" if piece in {"MON", "MONTH"} else "UN"
        if name == "hour" and "AM" in self._tokens:
            part = str((int(part) + 11) % 12 + 1).zfill(2)
        names = {"MON": _SHORT, "MONTH": _NAMES}.get(piece)
        if names:
            return names[int(part) - 1]
        return part[-2:] if piece == "YY" else part.lstrip("0") or "0" if len(piece) == 1 else part


def _tokens(text: str) -> list[str]:
    """The parts of a shape and the constants between them. Raises ShapeError."""
    found: list[str] = []
    for odd, run in enumerate(_LETTERS.split(text)):
        if not odd % 2:
            found += [run] if run else []
            continue
        at = 0
        while at < len(run):
            token = _RUN.match(run, at)
            # The T of "DDThh" is followed by the hour; at the end of a run it would be a letter that means nothing.
            if token is None:
                raise ShapeError(_HINT)
            found.append(_ALIKE.get(token[0], token[0]))
            at = token.end()
    return found


def _iso(known: Mapping[str, str]) -> str | None:
    """ISO 8601 of the parts that are known: a hyphen for what is missing inside, nothing for what is missing behind."""
    day = [known.get(name, "-") for name in ("year", "month", "day")]
    clock = [known.get(name, "-") for name in ("hour", "minute", "second")]
    for texts in (clock, day if clock == ["-"] * 3 else []):
        while texts and texts[-1] == "-":
            texts.pop()
    text = "-".join(day) + ("T" + ":".join(clock) if clock else "")
    return text or None


def day_shape(shape: str) -> tuple[Out, Out]:
    """EDC dates of a shape to and from ISO 8601. Raises ShapeError."""
    made = Shape(shape)
    return made.out, made.back


def time_shape(shape: str) -> tuple[Out, Out]:
    """EDC times of day of a shape to and from ISO 8601. Raises ShapeError."""
    made = Shape(shape, clock=True)
    return made.out, made.back
