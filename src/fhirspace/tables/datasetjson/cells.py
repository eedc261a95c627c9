"""The cells of Dataset-JSON: values of JSON to texts of a table, a column of some rows at a time.

Source: CDISC Dataset-JSON 1.1, "Supported Column Data Type Combinations", "Row Data".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

from fhirspace.json import Number
from fhirspace.standards.numbers import is_number
from fhirspace.tables.datasetjson.header import NUMBERS, Variable

_NOTHING: Final = type(None)
_Allowed = tuple[frozenset[Any], str]
_KINDS: Final[dict[str, _Allowed]] = {
    "boolean": (frozenset({bool, _NOTHING}), "true, false or null"),
    "decimal": (frozenset({str, int, Number, _NOTHING}), "a decimal number as text, or null"),
}
_NUMBER: Final[_Allowed] = frozenset({int, Number, _NOTHING}), "a number or null"
_STRING: Final[_Allowed] = frozenset({str, _NOTHING}), "a text or null"
_THOUSANDS: Final = re.compile(r"[+-]?[0-9]{1,3}(,[0-9]{3})+(\.[0-9]*)?")
_LARGEST: Final = 400
"""The largest power of ten that is spelt out; doubles end before."""


def texts(values: Sequence[Any], variable: Variable) -> list[str | None] | None:
    """The cells of a column as text, an empty text as it is; None where one does not fit the type of the variable."""
    kinds = set(map(type, values))
    if not kinds <= _allowed(variable)[0]:
        return None
    if variable.type not in NUMBERS and variable.type != "boolean":
        return list(values)
    known = {value: _spelt(value) for value in set(values)}
    if any(cell is None and value not in (None, "") for value, cell in known.items()):
        return None
    return [known[value] for value in values]


def expected(variable: Variable) -> str:
    """What the cells of a variable are, for messages."""
    return _allowed(variable)[1]


def _allowed(variable: Variable) -> _Allowed:
    return _KINDS.get(variable.type) or (_NUMBER if variable.type in NUMBERS else _STRING)


def _spelt(value: Any) -> str | None:
    """A number or a truth value as text, without exponent; None for what is none, and for what no text spells."""
    if value is None:
        return None
    if isinstance(value, bool | int):
        return str(value).lower()
    text = str(value)
    if isinstance(value, Number):
        return _plain(text) if "e" in text or "E" in text else text
    if _THOUSANDS.fullmatch(text):
        return text.replace(",", "")
    return text if is_number(text) else None


def _plain(text: str) -> str | None:
    """A number with an exponent, spelt out."""
    value = Decimal(text)
    return format(value, "f") if abs(value.adjusted()) <= _LARGEST else None
