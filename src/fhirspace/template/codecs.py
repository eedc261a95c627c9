"""Codecs: the closed list of named pairs (out, back) between a cell's text and an element's text.

``out`` gives the element's text for a cell, or None where the cell is legal but has no such form (it is then
carried); it raises `CellError` where the cell is wrong. ``back`` gives the cell for an element's text. Both are plain
functions of text: the kernel runs both once per distinct value, and carries the cell if ``back(out(cell)) != cell``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from json.encoder import encode_basestring
from typing import Final

from fhirspace.idkey import IdKey, site_key
from fhirspace.standards.iso8601 import DURATION, valid_duration
from fhirspace.standards.numbers import is_number
from fhirspace.standards.units import canonical_number
from fhirspace.template.codec import CellError, Codec, Out
from fhirspace.template.dates import date_out, datetime_out
from fhirspace.template.shapes import ShapeError, day_shape

STRINGS: Final = frozenset(
    {"string", "markdown", "code", "id", "uri", "url", "canonical", "oid", "uuid", "xhtml", "cell"}
)
_NUMBER: Final = r"-?(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,17})?(?:[eE](?:0|[+-]?[1-9][0-9]?))?"
"""FHIR's decimal: at most 18 digits before and 17 after the point (R5, Datatypes). Longer exponents are carried: few
programs, and no reader of 64-bit numbers, take ``1e400``."""
_BLANKS: Final = r"(?u:\s)"
_DIGITS: Final = r"-?(?:0*[0-9]{1,18}(?:\.[0-9]{0,17})?|0*\.[0-9]{1,17})(?:[eE][+-]?[0-9]{1,2})?"
_SPELT: Final = rf"(?:(?<!\+){_BLANKS}+)?{_DIGITS}{_BLANKS}*"
"""Numbers in spellings that JSON does not have (``070``, ``.94``, ``5.``), also between blanks. A plus is none of them,
``+1`` may be a grade; nor is a number apart from its plus."""
_COMPARATOR: Final = "(?:<=|>=|<|>)?"
_COMPARED: Final = rf"(?:{_BLANKS}*(?:<=|>=|<|>))?"
_INTEGER: Final = r"(?:0|-?[1-9][0-9]{0,8})"
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def _text_out(cell: str) -> str:
    if _CONTROL.search(cell):
        raise CellError("FS201", "text without control characters")
    return cell


def _same(text: str) -> str:
    return text


def _never(_text: str) -> None:
    return None


_NUMBER_RE: Final = re.compile(_NUMBER)
_LONGEST_NUMBER: Final = 100
_INTEGER_RE: Final = re.compile(_INTEGER)


def _plain_number(cell: str) -> str | None:
    """The JSON spelling of a number that SDTM or an EDC spells otherwise (``.5``, ``+3``, ``007``), or None."""
    cell = cell.strip()
    if not is_number(cell):
        return None
    sign = "-" if cell[0] == "-" else ""
    mantissa, _, exponent = cell.lstrip("+-").replace("E", "e").partition("e")
    whole, _, fraction = mantissa.partition(".")
    whole = whole.lstrip("0") or "0"
    exponent = exponent and str(int(exponent))
    return sign + whole + (f".{fraction}" if fraction else "") + (f"e{exponent}" if exponent else "")


def _decimal_out(cell: str) -> str | None:
    if _NUMBER_RE.fullmatch(cell):
        return cell
    plain = _plain_number(cell)
    if plain is None:
        raise CellError(
            "FS203" if "," in cell else "FS202", "a number such as 5.50, with a point and no thousands mark"
        )
    return plain if _NUMBER_RE.fullmatch(plain) else None


_SHORTEST: Final = r"-?(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{0,16}[1-9])?"
_SHORTEST_RE: Final = re.compile(_SHORTEST)


def _number_out(cell: str) -> str | None:
    plain = canonical_number(cell) if len(cell) <= _LONGEST_NUMBER else None
    if plain is None:
        raise CellError("FS202", "a number such as 1 or 2.01")
    return plain if _SHORTEST_RE.fullmatch(plain) else None


def _integer_out(cell: str) -> str:
    if _INTEGER_RE.fullmatch(cell):
        return cell
    plain = canonical_number(cell) if len(cell) <= _LONGEST_NUMBER else None
    if plain is None or "." in plain or len(plain.lstrip("-")) > 9:
        raise CellError("FS204", "a whole number of at most nine digits")
    return plain


def _ny(truths: Mapping[str, str]) -> Out:
    def out(cell: str) -> str | None:
        if cell not in {"Y", "N", "U", "NA"}:
            raise CellError("FS207", "Y, N, U or NA")
        return truths.get(cell)

    return out


def table(pairs: Mapping[str, str], hint: str, *, reverse: Mapping[str, str] | None = None) -> tuple[Out, Out]:
    """A codec pair from a table of cell -> code; `reverse` says which cell a code reads back as (else the first)."""
    backs: dict[str, str] = {}
    for cell, code in pairs.items():
        backs.setdefault(code, cell)
    backs |= reverse or {}

    def out(cell: str) -> str:
        code = pairs.get(cell)
        if code is None:
            raise CellError("FS208", hint)
        return code

    return out, backs.get


def _checkbox(spelling: str) -> tuple[Out, Out]:
    on, _, off = spelling.partition("/")
    ticked = {on: "Y", off: "N"}
    loose = {
        "1": "Y",
        "0": "N",
        "CHECKED": "Y",
        "UNCHECKED": "N",
        "YES": "Y",
        "NO": "N",
        "TRUE": "Y",
        "FALSE": "N",
        "X": "Y",
    }

    def out(cell: str) -> str:
        found = ticked.get(cell) or loose.get(cell.upper())
        if found is None:
            raise CellError("FS208", f"{on} or {off}")
        return found

    return out, {"Y": on, "N": off}.get


def _duration_out(cell: str) -> str:
    if not valid_duration(cell):
        raise CellError("FS209", "an ISO 8601 duration such as P6M")
    return cell


def _comparator_out(cell: str) -> str:
    sign = cell.strip()
    if sign not in _COMPARATORS:
        raise CellError("FS208", "<, <=, > or >=")
    return sign


def hashed_id(key: IdKey | None = None) -> Out:
    """The keyed hash that makes a subject's FHIR id: 32 hexadecimal digits, the first one a letter (FHIR `id`).

    Without a `key` it is the site's, which is looked up at the first cell: reading needs none.
    """

    def out(cell: str) -> str:
        digits = (key or site_key()).digits(cell)
        return "abcdefabcdefabcd"[int(digits[0], 16)] + digits[1:]

    return out


_SITE: Final = re.compile(r"[0-9]{1,4}|[A-Za-z]{1,3}-?[0-9]{1,3}")
"""A site's number, such as 01, 1012 or DE-07: nothing that could name a person."""


def hashed_part(key: IdKey | None = None, *, sites: bool = False) -> Out:
    """A part of a FHIR id: 16 digits of the cell's keyed hash; with `sites`, the cell itself where it is a number."""
    hashed = hashed_id(key)

    def out(cell: str) -> str:
        return cell if sites and _SITE.fullmatch(cell) else (hashed(cell) or "")[:16]

    return out


def _ucum(cell: str) -> str | None:
    from fhirspace.standards.units import ucum  # noqa: PLC0415 - its table is read only where a unit is coded

    return ucum(cell)


def _plain_micro(text: str) -> str:
    from fhirspace.standards.units import plain_micro  # noqa: PLC0415 - as above

    return plain_micro(text)


TEXT: Final = Codec("text", _text_out, _same, STRINGS, r"(?s:.+)", verbatim=True, rank=0)
"""The codec of a slot that names none: the cell itself."""
_BOOLEAN: Final = frozenset({"boolean"})
_TRUTHS: Final = frozenset({"true", "false"})
_YES, _YES_NO = {"Y": "true"}, {"Y": "true", "N": "false"}
_WHOLE: Final = STRINGS | {"integer", "positiveInt", "unsignedInt", "decimal"}
_COMPARATORS: Final = frozenset({"<", "<=", ">", ">="})
_FIXED: Final[dict[str, Codec]] = {
    each.name: each
    for each in (
        TEXT,
        Codec("integer", _integer_out, _same, _WHOLE, _INTEGER, verbatim=True, rank=0),
        Codec("decimal", _decimal_out, _same, STRINGS | {"decimal"}, _NUMBER, verbatim=True, rank=0, cells=_SPELT),
        Codec("number", _number_out, _same, STRINGS | {"decimal"}, _SHORTEST, verbatim=True, rank=1),
        Codec("date", date_out, _same, frozenset({"date", "dateTime", "string", "cell"}), ".+"),
        Codec("datetime", datetime_out, _same, frozenset({"dateTime", "string", "cell"}), ".+"),
        Codec("yes", _ny(_YES), {"true": "Y"}.get, _BOOLEAN, "Y|N|U|NA", outputs=_TRUTHS),
        Codec("yes/no", _ny(_YES_NO), {"true": "Y", "false": "N"}.get, _BOOLEAN, "Y|N|U|NA", outputs=_TRUTHS),
        Codec(
            "comparator", _comparator_out, _same, STRINGS, _COMPARATOR,
            verbatim=True, rank=0, outputs=_COMPARATORS, cells=_COMPARED,
        ),
        Codec("duration", _duration_out, _same, STRINGS, DURATION, verbatim=True, rank=0),
        Codec("ucum", _ucum, _never, STRINGS, ".+", readable=False, open=True),
        Codec("unit", _text_out, _plain_micro, STRINGS, r"(?s:.+)", rank=0),
    )
}  # fmt: skip
"""The codecs that are the same wherever they are named: made once, mappings name them thousands of times."""


def codec(name: str, argument: str = "", *, key: IdKey | None = None, column: str = "") -> Codec | None:
    """The codec of a name (without ``codes``, which needs its list: see `codelists`), or None where there is none.

    Args:
        argument: the text in brackets (the shape of ``day``, the spelling of ``checkbox``).
        key: keys ``id`` and ``fhirid``; None: the site's. column: the column whose cells it takes (used by ``fhirid``).

    Raises:
        ShapeError: an argument that cannot be read, or one of a codec that takes none.
    """
    if argument and name in NAMES and name not in {"day", "checkbox", "codes"}:
        raise ShapeError(f"{name} without brackets")
    if name == "day":
        out, back = day_shape(argument or "DD MON YYYY")
        return Codec(_named(name, argument), out, back, frozenset({"cell"}), ".+")
    if name == "checkbox":
        out, back = _checkbox(argument or "1/0")
        return Codec(_named(name, argument), out, back, frozenset({"cell"}), ".+")
    if name == "fhirid":
        types = frozenset({"id", "string"})
        return Codec(name, hashed_part(key, sites=column in PLACES), _never, types, ".+", readable=False, keyed=True)
    if name == "id":
        types = frozenset({"id", "string", "uri", "reference"})
        return Codec(name, hashed_id(key), _never, types, ".+", readable=False, keyed=True)
    return _FIXED.get(name)


PLACES: Final = frozenset({"SITEID"})
"""Columns of numbers that name no person, and stay as they are in ids."""

NAMES: Final = (
    "text",
    "integer",
    "decimal",
    "number",
    "date",
    "datetime",
    "yes",
    "yes/no",
    "codes",
    "comparator",
    "fhirid",
    "id",
    "day",
    "duration",
    "checkbox",
    "ucum",
    "unit",
)


def _named(name: str, argument: str) -> str:
    return f"{name}({argument})" if argument else name


def json_string(text: str) -> str:
    """The JSON string literal of a text, in UTF-8, nothing escaped that need not be."""
    return encode_basestring(text)
