"""Operations over the cells of datasets: distinct values, counts, first and last dates, study days."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.sdtm.rules import moments
from fhirspace.sdtm.rules.errors import CannotRun, MissingDataset
from fhirspace.sdtm.rules.frame import Frame, joined
from fhirspace.sdtm.rules.operations.registry import Context, operation
from fhirspace.sdtm.rules.patterns import Pattern
from fhirspace.sdtm.rules.values import TEXT, Column, Lists, codes_of, constant, is_text


@operation("distinct")
def distinct(context: Context) -> Column:
    """The different values of a variable, once or per group; by reference: those that name a variable of RDOMAIN."""
    source = _filtered(context, context.source)
    column = source.column(context.target)
    if context.operation.parameters.get("value_is_reference"):
        column = _references(context, source, column)
    if isinstance(column, Lists):
        raise CannotRun("the different values of lists are asked for")
    group = context.group
    if not group:
        return Lists((tuple(column.unique().drop_null().to_pylist()),), context.frame.size)
    theirs, own, count = _shared(source, context.frame, group)
    lists: list[list[Any]] = [[] for _ in range(count)]
    known = np.zeros(count, bool)
    pairs = pa.table({"group": theirs, "value": column}).group_by(["group", "value"], use_threads=False).aggregate([])
    for at, value in zip(pairs["group"].to_pylist(), pairs["value"].to_pylist(), strict=True):
        known[at] = True
        if value is not None:
            lists[at].append(value)
    there = known[own] & _keyed(context.frame, group)
    return Lists(tuple(map(tuple, lists)), context.frame.size, pa.array(own, mask=~there))


def _keyed(frame: Frame, names: list[str]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Rows that have a value in each variable that makes groups; the others are in no group."""
    keyed = np.ones(frame.size, bool)
    for name in names:
        keyed &= frame.plain(name).is_valid().to_numpy(zero_copy_only=False)
    return keyed


def _references(context: Context, source: Frame, column: Column) -> pa.Array:
    related = source.column("RDOMAIN")
    found = [
        name if (there := context.study.datasets.get(domain or "")) and name in there.names else None
        for domain, name in zip(related.to_pylist(), column.to_pylist(), strict=True)  # type: ignore[union-attr]
    ]
    return pa.array(found, TEXT)


def _filtered(context: Context, source: Frame) -> Frame:
    """The rows that the operation's filter lets pass; ``X&`` stands for any text that starts with X."""
    wanted = context.operation.parameters.get("filter")
    if not isinstance(wanted, dict):
        return source
    keep = np.ones(source.size, bool)
    for name, value in wanted.items():
        column = source.column(context.named(name))
        if isinstance(column, Lists):
            raise CannotRun("a filter looks at a list")
        if isinstance(value, str) and value.endswith("&"):
            fits = pc.starts_with(column.cast(TEXT), value.rstrip("&"))
        elif isinstance(value, tuple):
            fits = pc.is_in(column, value_set=pa.array(value).cast(column.type))
        else:
            fits = pc.equal(column, value) if isinstance(value, str) == is_text(column) else pa.nulls(source.size)
        keep &= pc.fill_null(fits.cast(pa.bool_()), False).to_numpy(zero_copy_only=False)
    return source.taken(pa.array(np.flatnonzero(keep)), {})


def _shared(source: Frame, frame: Frame, names: list[str], pattern: str = "") -> tuple[Any, Any, int]:
    """Numbers of the groups for the rows of two frames, and how many groups there are."""
    columns = [joined([source.column(name), frame.column(name)]) for name in names]
    if pattern:
        columns = [_started(column, pattern) for column in columns]
    codes, count = codes_of(columns, source.size + frame.size)
    return codes[: source.size], codes[source.size :], count


def _started(column: Column, pattern: str) -> Column:
    """What a pattern matches of each cell, for a column whose first value it matches."""
    if isinstance(column, Lists) or not pa.types.is_string(column.type):
        return column
    first = column.drop_null()[:1]
    matches = bool(len(first)) and Pattern(pattern).flags(first, start=True)[0].as_py()
    return Pattern(pattern).starts(column) if matches else column


@operation("record_count")
def record_count(context: Context) -> Column:
    """How many records the dataset has, or the group of the row has, of those that the filter lets pass."""
    source = _filtered(context, context.source)
    group = context.group
    if not group:
        return constant(source.size, context.frame.size)
    theirs, own, count = _shared(source, context.frame, group, str(context.operation.parameters.get("regex") or ""))
    return pa.array(np.bincount(theirs, minlength=count)[own])


@operation("min_date")
def min_date(context: Context) -> Column:
    """The first date of each group, or of all, as far as it is known; of several that are the same, that of the first
    record. Texts that are no dates do not count."""
    return _extreme(context, 1)


@operation("max_date")
def max_date(context: Context) -> Column:
    """The last date of each group, or of all, as `min_date`."""
    return _extreme(context, -1)


def _extreme(context: Context, sign: int) -> Column:
    source = context.source
    column = source.column(context.target)
    if isinstance(column, Lists) or not is_text(column):
        raise CannotRun("a date is asked of what is no text")
    encoded = column.cast(TEXT).dictionary_encode()
    dates = [moments.moment(text) if text else None for text in encoded.dictionary.to_pylist()]
    indices = pc.fill_null(encoded.indices.cast(pa.int64()), len(dates)).to_numpy(zero_copy_only=False)
    group = context.group
    theirs, own, count = _shared(source, context.frame, group) if group else _one_group(source, context.frame)
    at = np.array([each.at[-1] if each else 0 for each in dates] + [0], np.int64)[indices]
    rows = np.flatnonzero(np.array([each is not None for each in dates] + [False])[indices])
    order = rows[np.lexsort((sign * at[rows], theirs[rows]))]
    found, first = np.unique(theirs[order], return_index=True)
    values = np.full(count, None, object)
    values[found] = [moments.written(dates[each]) for each in indices[order[first]]]
    return pa.array(values, TEXT).take(pa.array(own, mask=~_keyed(context.frame, group)))


def _one_group(source: Frame, frame: Frame) -> tuple[Any, Any, int]:
    return np.zeros(source.size, np.int64), np.zeros(frame.size, np.int64), 1


@operation("dy")
def study_day(context: Context) -> Column:
    """The study day of a date, counted from the subject's RFSTDTC (SDTMIG 4.4.4); none where either is incomplete."""
    subjects = context.study.named("DM")
    if not subjects:
        raise MissingDataset("DM")
    starts: dict[str, date | None] = {}
    for dm in subjects:
        for subject, start in zip(dm.column("USUBJID").to_pylist(), dm.column("RFSTDTC").to_pylist(), strict=True):
            starts.setdefault(subject, moments.day(start) if start else None)
    cells, people = context.frame.column(context.target), context.frame.column("USUBJID")
    if isinstance(cells, Lists) or isinstance(people, Lists):
        raise CannotRun("a study day is asked of a list")
    first, known = _days(people, starts.get)
    here, given = _days(cells, moments.day)
    delta = here - first
    return pa.array(np.where(delta < 0, delta, delta + 1), mask=~(known & given))


def _days(column: pa.Array, day: Any) -> tuple[Any, Any]:
    """Of each cell the day as a number, and whether there is one."""
    encoded = column.cast(TEXT).dictionary_encode()
    found = [day(text) for text in encoded.dictionary.to_pylist()] + [None]
    numbers = np.array([each.toordinal() if each else 0 for each in found])
    at = pc.fill_null(encoded.indices.cast(pa.int64()), len(found) - 1).to_numpy(zero_copy_only=False)
    return numbers[at], np.array([each is not None for each in found])[at]
