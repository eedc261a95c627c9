"""Equal, unequal, smaller, greater. Two cells without a value are neither equal nor unequal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.sdtm.rules.errors import CannotRun, MissingColumn
from fhirspace.sdtm.rules.frame import Frame
from fhirspace.sdtm.rules.model import Check
from fhirspace.sdtm.rules.operators.registry import OPERATORS, about, operator
from fhirspace.sdtm.rules.values import TEXT, Column, Lists, constant, empty, every, is_number, is_text


@operator("equal_to")
def equal_to(frame: Frame, check: Check) -> pa.Array:
    """Both have a value, the same. A text never equals a number, unless the rule says `type_insensitive`."""
    return _compared(frame, check, same)


@operator("not_equal_to")
def not_equal_to(frame: Frame, check: Check) -> pa.Array:
    """They differ: other values, or only one of them has a value."""
    return _compared(frame, check, lambda left, right: pc.invert(same(left, right)))


@operator("equal_to_case_insensitive")
def equal_to_case_insensitive(frame: Frame, check: Check) -> pa.Array:
    """Equal texts, however they are capitalised. As in CORE, what is no text equals anything else that is none."""
    return _compared(frame, check, _same_letters)


@operator("not_equal_to_case_insensitive")
def not_equal_to_case_insensitive(frame: Frame, check: Check) -> pa.Array:
    """Texts that differ in more than their capitals, or only one of them is a text."""
    return _compared(frame, check, lambda left, right: pc.invert(_same_letters(left, right)))


def _compared(frame: Frame, check: Check, compare: Callable[[Column, Column], pa.Array]) -> pa.Array:
    """What a comparison of the two sides gives; false where neither has a value."""
    left, right = frame.target(check), frame.operand(check)
    if check.options.get("value_is_reference"):
        return _by_reference(frame, check, lambda named: _both(check, compare, left, named))
    column, value = right
    return _both(check, compare, left, constant(value, frame.size) if column is None else column)


def _both(check: Check, compare: Callable[[Column, Column], pa.Array], left: Column, right: Column) -> pa.Array:
    nothing = pc.and_(empty(left), empty(right))
    if check.options.get("round_values"):
        left, right = _rounded(left), _rounded(right)
        if is_text(left) != is_text(right):
            left, right = normal(left), normal(right)
    if check.options.get("type_insensitive"):
        left, right = normal(left), normal(right)
    return pc.and_(compare(left, right), pc.invert(nothing))


def _by_reference(frame: Frame, check: Check, compare: Callable[[Column], pa.Array]) -> pa.Array:
    """Each row compared with the variable that it names; with no value where the data have no such variable."""
    names = frame.column(frame.resolve(check.value))
    if isinstance(names, Lists):
        raise MissingColumn(check.value)
    flags = every(False, frame.size)
    for name in names.unique().to_pylist():
        here = pc.equal(names, name) if name is not None else names.is_null()
        named = frame.column(name) if frame.has(name) else pa.nulls(frame.size, TEXT)
        flags = pc.or_(flags, pc.and_(pc.fill_null(here, False), compare(named)))
    return flags


def _rounded(column: Column) -> Column:
    """Numbers, also those spelt as texts, without what is behind the decimal point; the rest as it is."""
    if isinstance(column, Lists) or pa.types.is_boolean(column.type):
        return column
    whole = pc.round(numbers(column), round_mode="half_to_even")
    if is_number(column):
        return whole
    texts = column.cast(TEXT)
    return pc.if_else(pc.is_valid(whole), normal(whole), texts)


def normal(column: Column) -> Column:
    """Cells as texts in which a number is spelt one way: ``200.00`` and 200.0 are ``200``.

    Numbers count to 15 digits: more than those a transport file does not keep (8.549999999999999 is 8.55).
    """
    if isinstance(column, Lists) or pa.types.is_boolean(column.type):
        return column
    encoded = column.dictionary_encode()
    cells = pa.array([spelt(value) for value in encoded.dictionary.to_pylist()], TEXT)
    return cells.take(encoded.indices)


def spelt(value: Any) -> str:
    """One cell as `normal` spells it."""
    try:
        number = float(value)
    except ValueError:
        return str(value).strip()
    return str(int(number)) if number.is_integer() else f"{number:.15g}"


def same(left: Column, right: Column) -> pa.Array:
    """Where cells hold the same value of the same type; never where one has none."""
    if isinstance(left, Lists) or isinstance(right, Lists):
        return _same_lists(left, right)
    if len(left) == 0:
        return pa.array([], pa.bool_())
    alike = (is_text(left) and is_text(right)) or (_numeric(left) and _numeric(right))
    if not alike:
        return every(False, len(left))
    kind = TEXT if is_text(left) and is_text(right) else pa.float64()
    return pc.fill_null(pc.equal(left.cast(kind), right.cast(kind)), False)


def _same_lists(left: Column, right: Column) -> pa.Array:
    if isinstance(left, Lists) and isinstance(right, Lists):
        return pa.array([left.at(row) == right.at(row) for row in range(left.size)], pa.bool_())
    return every(False, left.size if isinstance(left, Lists) else len(left))


def _numeric(column: pa.Array) -> bool:
    return is_number(column) or pa.types.is_boolean(column.type)


def _same_letters(left: Column, right: Column) -> pa.Array:
    left, right = lower(left), lower(right)
    return pc.or_(same(left, right), pc.and_(empty(left), empty(right)))


def lower(column: Column) -> Column:
    """Texts in small letters; what is no text is no value."""
    if isinstance(column, Lists) or not pa.types.is_string(column.type):
        return pa.nulls(column.size if isinstance(column, Lists) else len(column), TEXT)
    return pc.utf8_lower(column)


def _ordering(compare: Callable[[pa.Array, Any], pa.Array]) -> Callable[[Frame, Check], pa.Array]:
    def ordered(frame: Frame, check: Check) -> pa.Array:
        column, value = frame.operand(check)
        right = value if column is None else numbers(column)
        if column is None and isinstance(check.value, str) and check.value.startswith("--"):
            raise MissingColumn(value)
        if column is None and (isinstance(value, (str, tuple)) or value is None):
            raise CannotRun(f"`{check.operator}` compares numbers, but its value is none")
        return pc.fill_null(compare(numbers(frame.target(check)), right), False)

    return ordered


def numbers(column: Column) -> pa.Array:
    """Cells as numbers; what is no number is null."""
    if isinstance(column, Lists):
        raise CannotRun("a list is compared with a number")
    if not pa.types.is_string(column.type):
        return column.cast(pa.float64())
    encoded = column.dictionary_encode()
    return pa.array([_number(text) for text in encoded.dictionary.to_pylist()], pa.float64()).take(encoded.indices)


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return None if np.isnan(number) or "_" in text else number


_COMPARED = "As numbers: {}. Never true of what is no number."
OPERATORS |= {
    "less_than": about(_ordering(pc.less), _COMPARED.format("less than the value")),
    "less_than_or_equal_to": about(_ordering(pc.less_equal), _COMPARED.format("less than the value, or equal")),
    "greater_than": about(_ordering(pc.greater), _COMPARED.format("greater than the value")),
    "greater_than_or_equal_to": about(_ordering(pc.greater_equal), _COMPARED.format("greater, or equal")),
}
