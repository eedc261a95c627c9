"""Whether a value is one of several, and whether several values are among others."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.sdtm.rules.errors import CannotRun
from fhirspace.sdtm.rules.frame import Frame
from fhirspace.sdtm.rules.model import Check
from fhirspace.sdtm.rules.operators.equality import lower
from fhirspace.sdtm.rules.operators.registry import operator
from fhirspace.sdtm.rules.values import Column, Lists, by_value, every, is_text


@operator("is_contained_by", opposite="is_not_contained_by")
def is_contained_by(frame: Frame, check: Check) -> pa.Array:
    """The value is in a list: of the rule, of an operation, or all values of another variable."""
    target = frame.target(check)
    return contained(target, *frame.operand(check))


@operator("is_contained_by_case_insensitive", opposite="is_not_contained_by_case_insensitive")
def is_contained_by_case_insensitive(frame: Frame, check: Check) -> pa.Array:
    """The same, however the texts are capitalised: in a list of the rule, or among the values of another variable."""
    target = frame.array(check)
    if not is_text(target):
        raise CannotRun(f"`{check.operator}` compares texts, but {check.name} is a number")
    column, value = frame.operand(check)
    if column is not None and is_text(column):
        return contained(lower(target), lower(column), None)
    if not isinstance(value, tuple) or column is not None:
        raise CannotRun(f"`{check.operator}` needs a list in the rule, or a variable of texts")
    return contained(lower(target), None, tuple(str(each).lower() for each in value))


def contained(target: Column, column: Column | None, value: Any) -> pa.Array:
    """Where cells are in a list of their row, in another column, or in a list of the rule."""
    if isinstance(target, Lists):
        return _any_listed(target, column, value)
    if isinstance(column, Lists):
        return _listed(target, column)
    if column is not None:  # no value is among texts where one of them is none
        nothing = pc.and_(target.is_null(), every(column.null_count > 0 and is_text(column), len(target)))
        return pc.or_(nothing, _among(target, column.unique().to_pylist()))
    if not isinstance(value, tuple):
        raise CannotRun("a list is needed, but the value is none, and no variable of the data")
    return _among(target, value)


def _among(target: pa.Array, values: Iterable[Any]) -> pa.Array:
    """Membership by value and type: the text ``1`` is not among numbers."""
    if target.null_count == len(target):
        return every(False, len(target))
    if pa.types.is_boolean(target.type):
        truths = [each for each in values if isinstance(each, bool)]
        return pc.and_(target.is_valid(), pc.is_in(target, value_set=pa.array(truths, pa.bool_())))
    kind: type | tuple[type, ...] = str if is_text(target) else (int, float)
    known = [each for each in values if isinstance(each, kind) and each is not None]
    return pc.and_(target.is_valid(), pc.is_in(target, value_set=pa.array(known).cast(target.type)))


def _listed(target: pa.Array, column: Lists) -> pa.Array:
    if column.codes is None:
        return _among(target, column.lists[0])
    encoded = target.dictionary_encode()
    places = {value: at for at, value in enumerate(encoded.dictionary.to_pylist())}
    many = len(places) + 1
    pairs = [code * many + places[item] for code, items in enumerate(column.lists) for item in items if item in places]
    cells = pc.fill_null(encoded.indices.cast(pa.int64()), many - 1)
    here = pc.add(pc.multiply(column.codes.cast(pa.int64()), many), cells)
    return pc.and_(here.is_valid(), pc.is_in(here, value_set=pa.array(pairs, pa.int64())))


def _any_listed(target: Lists, column: Column | None, value: Any) -> pa.Array:
    others = column if isinstance(column, Lists) else None
    fixed = set(value) if isinstance(value, tuple) else {value}

    def found(row: int) -> bool:
        among = set(others.at(row) or ()) if others else fixed
        return any(each in among for each in target.at(row) or ())

    return _by_row(target, others, found)


def _by_row(left: Lists, right: Lists | None, test: Callable[[int], bool]) -> pa.Array:
    """A test of rows, made once where the lists are the same in every row."""
    if left.codes is None and (right is None or right.codes is None):
        return every(bool(left.size) and test(0), left.size)
    return pa.array([test(row) for row in range(left.size)], pa.bool_())


@operator("contains", opposite="does_not_contain")
def contains(frame: Frame, check: Check) -> pa.Array:
    """The text of the cell has the value in it, or the list of the row has it as an item.

    Where the value names a variable: whether what that has in the row is in the first variable of any record.
    """
    target = frame.target(check)
    column, value = frame.operand(check)
    if isinstance(target, Lists):
        return _by_row(target, None, lambda row: value in (target.at(row) or ()))
    if column is not None:  # as in CORE: whether the other variable has a value that this one has in some record
        return contained(column, target, None)
    if not isinstance(value, str):
        raise CannotRun(f"`{check.operator}` needs a text in the rule")
    if not is_text(target):
        raise CannotRun(f"`{check.operator}` looks into texts, but {check.name} is a number")
    return by_value(target, lambda cell: value in cell, null=False)


@operator("contains_all", opposite="not_contains_all")
def contains_all(frame: Frame, check: Check) -> pa.Array:
    """The variable has, over all rows, every one of some values. As in CORE only the first row gets the answer."""
    target = frame.target(check)
    column, value = frame.operand(check)
    if isinstance(target, Lists) and isinstance(column, Lists):
        return _by_row(target, column, lambda row: set(column.at(row) or ()) <= set(target.at(row) or ()))
    if isinstance(target, Lists):
        raise CannotRun(f"`{check.operator}` compares a list with what is none")
    wanted = frame.expand(value) if isinstance(value, tuple) else _distinct(column)
    whole = set(wanted) <= set(target.unique().to_pylist())
    answers = np.ones(frame.size, bool)
    answers[:1] = whole
    return pa.array(answers)


def _distinct(column: Column | None) -> list[Any]:
    if column is None or isinstance(column, Lists):
        raise CannotRun("a list or a variable is needed")
    values: list[Any] = column.unique().to_pylist()
    return values


@operator("shares_no_elements_with", opposite="shares_at_least_one_element_with")
def shares_no_elements_with(frame: Frame, check: Check) -> pa.Array:
    """The list of the row and another list have no item in common."""
    left, right = _two_lists(frame, check)
    return _by_row(left, right, lambda row: not set(left.at(row) or ()) & set(right.at(row) or ()))


@operator("is_ordered_subset_of", opposite="is_not_ordered_subset_of")
def is_ordered_subset_of(frame: Frame, check: Check) -> pa.Array:
    """Every item of the list is in another list, and in the same order."""
    left, right = _two_lists(frame, check)

    def ordered(row: int) -> bool:
        places = {item: at for at, item in enumerate(right.at(row) or ())}
        found = [places.get(item) for item in left.at(row) or ()]
        known = [at for at in found if at is not None]
        return len(known) == len(found) and known == sorted(known)

    return _by_row(left, right, ordered)


def _two_lists(frame: Frame, check: Check) -> tuple[Lists, Lists]:
    left, (right, _) = frame.target(check), frame.operand(check)
    if not isinstance(left, Lists) or not isinstance(right, Lists):
        raise CannotRun(f"`{check.operator}` compares lists")
    return left, right
