"""Dates and durations. Two dates are compared as far as both are known."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.sdtm.columns import first_rows
from fhirspace.sdtm.dates import precedes
from fhirspace.sdtm.rules import moments
from fhirspace.sdtm.rules.errors import CannotRun
from fhirspace.sdtm.rules.frame import Frame
from fhirspace.sdtm.rules.model import Check
from fhirspace.sdtm.rules.operators.registry import OPERATORS, Operator, about, operator
from fhirspace.sdtm.rules.values import by_value, codes_of, constant, every, is_text, take

_NUMBER = r"(\d+(?:[.,]\d*)?)"
_DURATION = re.compile(
    rf"(-)?P(?:{_NUMBER}Y)?,?(?:{_NUMBER}M)?,?(?:{_NUMBER}D)?,?"
    rf"(T(?=\d)(?:{_NUMBER}H)?,?(?:{_NUMBER}M)?,?(?:{_NUMBER}S)?)?|(-)?P{_NUMBER}W"
)


@operator("is_complete_date", opposite="is_incomplete_date")
def is_complete_date(frame: Frame, check: Check) -> pa.Array:
    """At least year, month and day are known; a cell without a value is not complete."""
    return _tested(frame, check, moments.complete)


@operator("valid_date", opposite="invalid_date")
def valid_date(frame: Frame, check: Check) -> pa.Array:
    """A date of ISO 8601, as far as it is known; a cell without a value is none."""
    return _tested(frame, check, moments.valid)


@operator("valid_duration", opposite="invalid_duration")
def valid_duration(frame: Frame, check: Check) -> pa.Array:
    """A duration of ISO 8601; with `negative: false` no minus may be before it. A cell without a value is none."""
    negative = check.options.get("negative") is not False
    return _tested(frame, check, lambda text: _is_duration(text, negative))


def _tested(frame: Frame, check: Check, test: Callable[[str], bool]) -> pa.Array:
    cells = frame.array(check)
    return by_value(cells, test, null=False) if is_text(cells) else every(False, frame.size)


def _is_duration(text: str, negative: bool) -> bool:
    found = _DURATION.fullmatch(text)
    if found is None or text.lstrip("-") in ("P", "PT"):
        return False
    if (found[1] or found[9]) and not negative:
        return False
    parts = [part for part in (*found.groups()[1:4], *found.groups()[5:8], found[10]) if part is not None]
    return bool(parts) and not any("." in part or "," in part for part in parts[:-1])


@operator("date_always_less_than")
def date_always_less_than(frame: Frame, check: Check) -> pa.Array:
    """Dates and intervals: before the value, whichever of the moments that the two can mean is right.

    An operator of ours: `date_less_than` takes the start of an interval, and a time without an offset for UTC.
    """
    column, value = frame.operand(check)
    sides = [frame.array(check), constant(value, frame.size) if column is None else column]
    if not all(is_text(side) for side in sides):
        return every(False, frame.size)
    codes, count = codes_of(sides, frame.size)
    rows = pa.array(first_rows(pa.array(codes), count), pa.int64())
    pairs = zip(*(take(side, rows).to_pylist() for side in sides), strict=True)  # type: ignore[union-attr]
    return pa.array([bool(end and start) and precedes(end, start) for end, start in pairs], pa.bool_()).take(codes)


def _comparing(
    compare: Callable[[Any, Any], Any], precisions: Callable[[Any, Any, Any], Any] | None = None
) -> Operator:
    def compared(frame: Frame, check: Check) -> pa.Array:
        component = check.options.get("date_component")
        if component not in (None, "auto", *moments.LEVELS):
            raise CannotRun(f"a date has no component `{component}`")
        column, value = frame.operand(check)
        sides = frame.array(check), constant(value, frame.size) if column is None else column
        if component in moments.LEVELS:
            (here, own), (there, others) = (_components(side, moments.LEVELS.index(component)) for side in sides)
            return pa.array(here & there & compare(own, others))
        left, right = map(_Moments, sides)
        level = np.minimum(left.level, right.level)
        known = level >= 0
        rows = np.arange(frame.size)
        answer = compare(left.at[rows, level], right.at[rows, level])
        if precisions and component is None:
            answer = precisions(answer, left.level, right.level)
        return pa.array(known & answer)

    return compared


def _components(column: Any, level: int) -> tuple[Any, Any]:
    """Of each cell whether it is a date, and its year, month ... alone; as in CORE one that is not known is the least.

    2020-02-10 is thus before 2020-01-15 by its `day`.
    """
    encoded = _of_texts(column).dictionary_encode()
    found = [moments.component(text, level) if text else None for text in encoded.dictionary.to_pylist()] + [None]
    at = pc.fill_null(encoded.indices.cast(pa.int64()), len(found) - 1).to_numpy(zero_copy_only=False)
    known = np.array([each is not None for each in found])
    return known[at], np.array([each or 0 for each in found], np.int64)[at]


def _of_texts(column: Any) -> Any:
    """The column, without cells where they are no texts."""
    return pa.nulls(len(column), pa.string()) if isinstance(column, pa.Array) and not is_text(column) else column


class _Moments:
    """A column as moments: of each row the level (-1: no date) and the microseconds at each level."""

    def __init__(self, column: Any) -> None:
        encoded = _of_texts(column).dictionary_encode()
        found = [moments.moment(text) if text else None for text in encoded.dictionary.to_pylist()]
        levels = np.array([each.level if each else -1 for each in found] + [-1], np.int64)
        nothing = (0,) * len(moments.LEVELS)
        table = np.array([each.at if each else nothing for each in found] + [nothing], np.int64)
        indices = pc.fill_null(encoded.indices.cast(pa.int64()), len(found)).to_numpy(zero_copy_only=False)
        self.level = levels[indices]
        self.at = table[indices]


_AS_FAR = "Dates, compared as far as both are known: {}."
_WHOLE = "Dates: {}."
OPERATORS |= {
    "date_equal_to": about(
        _comparing(np.equal, lambda answer, left, right: answer & (left == right)),
        _WHOLE.format("equal, and known to the same component"),
    ),
    "date_not_equal_to": about(
        _comparing(np.not_equal, lambda answer, left, right: answer | (left != right)),
        _WHOLE.format("different, or one is known to a further component"),
    ),
    "date_less_than": about(_comparing(np.less), _AS_FAR.format("before the value")),
    "date_less_than_or_equal_to": about(_comparing(np.less_equal), _AS_FAR.format("before the value, or the same")),
    "date_greater_than": about(_comparing(np.greater), _AS_FAR.format("after the value")),
    "date_greater_than_or_equal_to": about(_comparing(np.greater_equal), _AS_FAR.format("after, or the same")),
}
