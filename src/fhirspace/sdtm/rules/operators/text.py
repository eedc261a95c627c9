"""Patterns, parts and lengths of texts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.sdtm.rules.errors import CannotRun
from fhirspace.sdtm.rules.frame import Frame
from fhirspace.sdtm.rules.model import Check
from fhirspace.sdtm.rules.operators.equality import equal_to, same
from fhirspace.sdtm.rules.operators.membership import contained
from fhirspace.sdtm.rules.operators.registry import OPERATORS, Operator, about, operator
from fhirspace.sdtm.rules.patterns import Pattern
from fhirspace.sdtm.rules.values import TEXT, Lists, constant, is_number, is_text


def _matching(part: str, wanted: bool) -> Operator:
    """An operator that tries a pattern on a text or on a part of it; a cell without a value is never flagged."""

    def matches(frame: Frame, check: Check) -> pa.Array:
        cells = _cut(_texts(frame.array(check)), part, check)
        if not isinstance(check.value, str):
            raise CannotRun(f"`{check.operator}` needs a regular expression")
        found = Pattern(check.value).flags(cells, start=not part)
        return pc.and_(cells.is_valid(), found if wanted else pc.invert(found))

    where = f"The {part} of the text, of so many characters," if part else "The text, from its start,"
    return about(matches, f"{where} {'matches' if wanted else 'has a value and does not match'} a regular expression.")


def _texts(column: pa.Array) -> pa.Array:
    """Cells as a pattern sees them: whole numbers without a decimal point."""
    if not is_number(column):
        return column.cast(TEXT)
    encoded = column.dictionary_encode()
    spelt = [str(int(each)) if float(each).is_integer() else str(each) for each in encoded.dictionary.to_pylist()]
    return pa.array(spelt, TEXT).take(encoded.indices)


def _cut(cells: pa.Array, part: str, check: Check) -> pa.Array:
    if not part:
        return cells
    length = check.options.get(part)
    if not isinstance(length, int) or length < 1:
        raise CannotRun(f"`{check.operator}` needs `{part}`, a number of characters")
    return pc.utf8_slice_codeunits(cells, 0, length) if part == "prefix" else _end(cells, length)


def _end(cells: pa.Array, length: int) -> pa.Array:
    encoded = cells.dictionary_encode()
    return pa.array([each[-length:] for each in encoded.dictionary.to_pylist()], TEXT).take(encoded.indices)


OPERATORS |= {
    f"{negation}{prefix}matches_regex": _matching(part, not negation)
    for negation in ("", "not_")
    for prefix, part in (("", ""), ("prefix_", "prefix"), ("suffix_", "suffix"))
}


def _part(frame: Frame, check: Check, part: str) -> pa.Array:
    cells = frame.array(check)
    if not is_text(cells) or cells.null_count:
        raise CannotRun(f"`{check.operator}` needs a text in every row")
    return _cut(cells, part, check)


def _part_equals(part: str) -> Operator:
    def equals(frame: Frame, check: Check) -> pa.Array:
        column, value = frame.operand(check)
        if check.value == "DOMAIN":  # not the variable of the row, but what `--` stands for
            column, value = None, frame.dataset.prefix
        right = constant(value, frame.size) if column is None else column
        return same(_part(frame, check, part), right)

    return about(equals, f"The {part} of the text, of so many characters, equals the value.")


def _part_contained(part: str) -> Operator:
    return about(
        lambda frame, check: contained(_part(frame, check, part), *frame.operand(check)),
        f"The {part} of the text, of so many characters, is in a list.",
    )


for _name in ("prefix", "suffix"):
    operator(f"{_name}_equal_to", opposite=f"{_name}_not_equal_to")(_part_equals(_name))
    operator(f"{_name}_is_contained_by", opposite=f"{_name}_is_not_contained_by")(_part_contained(_name))


def _affix(test: Callable[[pa.Array, str], pa.Array], plain: Callable[[str, str], bool]) -> Operator:
    def affixed(frame: Frame, check: Check) -> pa.Array:
        cells = frame.array(check)
        column, value = frame.operand(check)
        if not is_text(cells) or (column is None and not isinstance(value, str)):
            raise CannotRun(f"`{check.operator}` compares texts")
        if column is None:
            return pc.fill_null(test(cells.cast(TEXT), value), False)
        several = [each for each in column.unique().to_pylist() if isinstance(each, str)]  # type: ignore[union-attr]
        encoded = cells.dictionary_encode()
        answers = [any(plain(cell, each) for each in several) for cell in encoded.dictionary.to_pylist()]
        return pc.fill_null(pa.array(answers, pa.bool_()).take(encoded.indices), False)

    return affixed


OPERATORS |= {
    "starts_with": about(_affix(pc.starts_with, str.startswith), "The text starts with the value."),
    "ends_with": about(_affix(pc.ends_with, str.endswith), "The text ends with the value."),
}


@operator("longer_than", opposite="shorter_than_or_equal_to")
def longer_than(frame: Frame, check: Check) -> pa.Array:
    """The text has more characters than a number says, or than the text of another variable has."""
    return _lengths(frame, check, pc.greater)


@operator("longer_than_or_equal_to", opposite="shorter_than")
def longer_than_or_equal_to(frame: Frame, check: Check) -> pa.Array:
    """The same, or as many characters."""
    return _lengths(frame, check, pc.greater_equal)


def _lengths(frame: Frame, check: Check, compare: Callable[[pa.Array, Any], pa.Array]) -> pa.Array:
    cells = frame.array(check)
    column, value = frame.operand(check)
    if not is_text(cells):
        raise CannotRun(f"`{check.operator}` measures texts, but {check.name} is a number")
    if column is None and not isinstance(value, (int, float)):
        raise CannotRun(f"`{check.operator}` needs a number or a variable")
    other = value if column is None else pc.utf8_length(column) if is_text(column) else column
    return pc.fill_null(compare(pc.utf8_length(cells.cast(TEXT)), other), False)


@operator("equals_string_part", opposite="does_not_equal_string_part")
def equals_string_part(frame: Frame, check: Check) -> pa.Array:
    """The cell equals what a regular expression finds in another: its first group, or all that it matches."""
    column, value = frame.operand(check)
    pattern = check.options.get("regex")
    if not isinstance(pattern, str):
        raise CannotRun(f"`{check.operator}` needs `regex`")
    whole = constant(value, frame.size) if column is None else column
    if not isinstance(whole, Lists) and whole.null_count == frame.size:
        whole = pa.nulls(frame.size, TEXT)
    part = Pattern(pattern).parts(whole)
    return equal_to(frame.with_column("$part", part), Check("equal_to", check.name, "$part", check.options))
