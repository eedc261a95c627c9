"""Rows beside other rows: unique combinations, pairs that belong together, values that are the same throughout."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.sdtm.rules.errors import CannotRun, MissingColumn
from fhirspace.sdtm.rules.frame import Frame
from fhirspace.sdtm.rules.model import Check
from fhirspace.sdtm.rules.operators.registry import operator
from fhirspace.sdtm.rules.patterns import Pattern
from fhirspace.sdtm.rules.values import Column, Lists, codes_of, empty, every


@operator("is_unique_set", opposite="is_not_unique_set")
def is_unique_set(frame: Frame, check: Check) -> pa.Array:
    """No other row has the same values of the variable and of those in `value`; variables not there do not count."""
    wanted = [*frame.expand((check.name,)), *frame.expand(check.value)]
    names = list(dict.fromkeys(name for name in wanted if frame.has(name)))
    if not names:
        raise CannotRun(f"`{check.operator}` finds none of its variables")
    if len(names) == 1 and len(set(wanted)) > 1:  # as in CORE: what is unique within something needs both
        return every(False, frame.size)
    pattern = check.options.get("regex")
    if pattern:
        codes, count = codes_of([_found(frame.column(name), pattern) for name in names], frame.size)
    else:
        codes, count = frame.codes(names)
    return pa.array(np.bincount(codes, minlength=count)[codes] <= 1)


def _found(column: Column, pattern: str) -> Column:
    """What a pattern finds in the cells, for a column whose first value it matches."""
    first = None if isinstance(column, Lists) or not pa.types.is_string(column.type) else column.drop_null()[:1]
    if first is None or not len(first) or not Pattern(pattern).flags(first, start=True)[0].as_py():
        return column
    return Pattern(pattern).parts(column)


@operator("present_on_multiple_rows_within", opposite="not_present_on_multiple_rows_within")
def present_on_multiple_rows_within(frame: Frame, check: Check) -> pa.Array:
    """The value is on more than one row (or more than `value`) of the group that `within` names."""
    within = frame.expand(check.options.get("within") or ())
    if not within:
        raise CannotRun(f"`{check.operator}` needs `within`")
    codes, count = frame.codes([*within, frame.resolve(check.name)])
    least = check.value if isinstance(check.value, int) else 1
    return pa.array(np.bincount(codes, minlength=count)[codes] > least)


@operator("is_not_unique_relationship", opposite="is_unique_relationship")
def is_not_unique_relationship(frame: Frame, check: Check) -> pa.Array:
    """A value goes with several values of the other variable, or the other way round; no value counts as one."""
    left = [frame.resolve(check.name)]
    right = frame.expand(check.value)
    flags = _ambiguous(frame, left, right) | _ambiguous(frame, right, left)
    return pa.array(flags)


def _ambiguous(frame: Frame, key: list[str], value: list[str]) -> np.ndarray[Any, Any]:
    """Rows whose key (with a value in each variable) goes with more than one value."""
    keys, count = frame.codes(key)
    pairs, many = frame.codes([*key, *value])
    firsts = np.full(many, -1, np.int64)
    firsts[pairs[::-1]] = np.arange(frame.size)[::-1]
    per_key = np.bincount(keys[firsts], minlength=count)
    blank = np.zeros(frame.size, bool)
    for name in key:
        blank |= empty(frame.column(name)).to_numpy(zero_copy_only=False)
    return np.asarray((per_key[keys] > 1) & ~blank, bool)


@operator("is_inconsistent_across_dataset")
def is_inconsistent_across_dataset(frame: Frame, check: Check) -> pa.Array:
    """Rows with the same values of other variables do not all have the same value: every row of such a group."""
    names = [name for name in frame.expand(check.value) if frame.has(name)]
    if not names:
        raise MissingColumn(", ".join(frame.expand(check.value)))
    target = frame.target(check)
    if check.options.get("regex"):
        target = Pattern(str(check.options["regex"])).parts(target)
        target = pc.coalesce(target, frame.array(check))
    groups, count = frame.codes(names)
    pairs, many = codes_of([pa.array(groups), target], frame.size)
    owner = np.zeros(many, np.int64)
    owner[pairs] = groups
    return pa.array(np.bincount(owner, minlength=count)[groups] > 1)


@operator("differs_from_first")
def differs_from_first(frame: Frame, check: Check) -> pa.Array:
    """Another value than in the first record with the same value of the other variable; the first record that has it.

    An operator of ours. It compares records in which both have a value.
    """
    name, key = frame.resolve(check.name), frame.resolve(check.value)
    filled = pc.invert(pc.or_(empty(frame.column(name)), empty(frame.column(key))))
    rows = np.flatnonzero(filled.to_numpy(zero_copy_only=False))
    keys, pairs = frame.codes([key])[0][rows], frame.codes([key, name])[0][rows]
    flags = np.zeros(frame.size, bool)
    flags[rows[np.unique(pairs, return_index=True)[1]]] = True
    flags[rows[np.unique(keys, return_index=True)[1]]] = False
    return pa.array(flags)
