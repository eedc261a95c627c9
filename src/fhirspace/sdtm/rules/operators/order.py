"""Rows in an order: the next record, and whether one variable rises with another."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from fhirspace.sdtm.rules import moments
from fhirspace.sdtm.rules.errors import CannotRun
from fhirspace.sdtm.rules.frame import Frame
from fhirspace.sdtm.rules.model import Check
from fhirspace.sdtm.rules.operators.equality import numbers, same
from fhirspace.sdtm.rules.operators.presence import ranks
from fhirspace.sdtm.rules.operators.registry import operator
from fhirspace.sdtm.rules.patterns import Pattern
from fhirspace.sdtm.rules.values import Lists, empty, is_text, take

Flags = np.ndarray[Any, np.dtype[np.bool_]]


@operator("has_next_corresponding_record", opposite="does_not_have_next_corresponding_record")
def has_next_corresponding_record(frame: Frame, check: Check) -> pa.Array:
    """The value equals that of another variable in the next record of the group; the last record always passes."""
    within, ordering = check.options.get("within"), check.options.get("ordering")
    if not within or not ordering:
        raise CannotRun(f"`{check.operator}` needs `within` and `ordering`")
    codes, _ = frame.codes(frame.expand(within))
    order = np.lexsort((ranks(frame, frame.resolve(ordering)), codes))
    rows = pa.array(order)
    here, there = take(frame.target(check), rows), take(frame.column(frame.resolve(check.value)), rows)
    agree = np.ones(frame.size, bool)
    if frame.size > 1:
        ahead = pa.array(np.arange(1, frame.size))
        behind = pa.array(np.arange(frame.size - 1))
        agree[:-1] = same(take(here, behind), take(there, ahead)).to_numpy(zero_copy_only=False)
        agree[:-1] |= codes[order][1:] != codes[order][:-1]
    flags = np.empty(frame.size, bool)
    flags[order] = agree
    return pa.array(flags)


@operator("target_is_sorted_by", opposite="target_is_not_sorted_by")
def target_is_sorted_by(frame: Frame, check: Check) -> pa.Array:
    """Within each group, the variable rises as the variables in `value` do; records out of place are false."""
    within = frame.expand(check.options.get("within") or ())
    if not within or not isinstance(check.value, tuple):
        raise CannotRun(f"`{check.operator}` needs `within` and a list of variables with `sort_order`")
    flags = np.ones(frame.size, bool)
    for each in check.value:
        if not isinstance(each, dict) or not isinstance(each.get("name"), str):
            raise CannotRun(f"`{check.operator}` needs variables with `name`")
        flags &= _sorted_by(frame, check, within, each)
    return pa.array(flags)


def _sorted_by(frame: Frame, check: Check, within: list[str], by: dict[str, Any]) -> Flags:
    name = frame.resolve(by["name"])
    column = frame.column(name)
    if isinstance(column, Lists):
        raise CannotRun(f"`{check.operator}` cannot sort by lists")
    codes, count = frame.codes(within)
    targets = _places(frame, check)
    order = np.lexsort((targets, codes))
    blank = np.asarray(empty(column).to_numpy(zero_copy_only=False), bool)
    places = ranks(frame, name)
    if str(by.get("sort_order", "asc")).lower() == "desc":
        places = -places
    flags = np.ones(frame.size, bool)
    last = by.get("null_position", "last") == "last"
    for group in _unsorted(codes, count, order, places, suspects=blank | _partial(column)):
        _judge(group, flags, (targets, places), blank, column, last=last)
    for each in within:  # rows without a key are in no group
        flags |= frame.plain(each).is_null().to_numpy(zero_copy_only=False)
    return flags


def _places(frame: Frame, check: Check) -> np.ndarray[Any, Any]:
    """The places of the variable's cells in ascending order; with `regex`, of the numbers that it finds in them."""
    name = frame.resolve(check.name)
    if not check.options.get("regex"):
        return ranks(frame, name)
    part = Pattern(str(check.options["regex"])).parts(frame.column(name))
    known = numbers(part)
    return ranks(frame.with_column(name, part if known.null_count > part.null_count else known), name)


def _partial(column: pa.Array) -> Flags:
    """Rows with a date less precise than others of the column: they may overlap with them."""
    if not is_text(column):
        return np.zeros(len(column), bool)
    levels = [(moment.level if (moment := moments.moment(text or "")) else -1) for text in column.to_pylist()]
    found = np.array(levels, np.int64)
    return np.asarray(found != (found.max() if len(found) else 0), bool)


def _unsorted(codes: Any, count: int, order: Any, places: Any, *, suspects: Flags) -> list[Any]:
    """The rows of each group that is not in order at first sight, in the order of the variable."""
    grouped = codes[order]
    falls = np.zeros(len(order), bool)
    falls[1:] = (grouped[1:] == grouped[:-1]) & (places[order][1:] < places[order][:-1])
    suspect = np.zeros(count, bool)
    suspect[grouped[falls | suspects[order]]] = True
    starts = np.searchsorted(grouped, np.arange(count + 1))
    return [order[starts[at] : starts[at + 1]] for at in np.flatnonzero(suspect)]


def _judge(group: Any, flags: Flags, ranked: tuple[Any, Any], blank: Flags, column: pa.Array, *, last: bool) -> None:
    """Marks the records of one group that are out of place: its rows in the order of the variable.

    A record is out of place where another one would be in its place if the group were in order, unless the two have
    the same value of the variable; and where its neighbour with a number or a date is on the wrong side.
    """
    targets, places = ranked
    filled = [row for row in group if not blank[row]]
    nothing = [row for row in group if blank[row]]
    at = {row: position for position, row in enumerate(group)}
    if filled and nothing:
        late = at[nothing[0]] < at[filled[-1]] if last else at[nothing[-1]] > at[filled[0]]
        flags[nothing] &= not late
    overlaps = _overlapping(filled, column)
    flags[list(overlaps)] = False
    sure = [row for row in filled if row not in overlaps]
    for row, wanted in zip(sure, sorted(sure, key=lambda row: places[row]), strict=True):
        flags[row] &= targets[row] == targets[wanted]
    for position, row in enumerate(filled):
        before = places[filled[position - 1]] if position else places[row]
        after = places[filled[position + 1]] if position + 1 < len(filled) else places[row]
        flags[row] &= bool(before <= places[row] <= after) or not _comparable(column, row)


def _comparable(column: pa.Array, row: int) -> bool:
    """Whether a cell is compared with its neighbours: a date, or a number of a variable that is filled throughout."""
    return moments.valid(column[row].as_py()) if is_text(column) else not column.null_count


def _overlapping(rows: list[int], column: pa.Array) -> set[int]:
    """Rows whose dates, of different precision, may be the same moment."""
    if not is_text(column):
        return set()
    known = [(row, moment) for row in rows if (moment := moments.moment(column[row].as_py()))]
    found = set[int]()
    for level in {moment.level for _, moment in known}:
        same_there: dict[int, list[tuple[int, bool]]] = {}
        for row, moment in known:
            if moment.level >= level:
                same_there.setdefault(moment.at[level], []).append((row, moment.level > level))
        for members in same_there.values():
            if len({finer for _, finer in members}) > 1:
                found |= {row for row, _ in members}
    return found
