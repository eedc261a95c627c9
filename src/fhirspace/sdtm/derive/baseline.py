"""The last observation before exposure (--LOBXFL). Source: SDTMIG 3.4, section 4.5.9."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.sdtm import columns
from fhirspace.sdtm.dates import at_most
from fhirspace.sdtm.derive.differences import flag_differences
from fhirspace.sdtm.derive.methods import method
from fhirspace.sdtm.derive.order import sort_order
from fhirspace.sdtm.derive.results import result_columns
from fhirspace.sdtm.derive.work import Work
from fhirspace.standards import sdtm
from fhirspace.standards.iso8601 import days, instant

LOBXFL_GROUP = (
    "CAT",
    "SCAT",
    "OBJ",
    "TESTCD",
    "SPEC",
    "LOC",
    "LAT",
    "DIR",
    "PORTOT",
    "POS",
    "METHOD",
    "EVAL",
    "EVALID",
    "TPT",
    "TPTNUM",
)
NO_RESULT = frozenset({"ND", "NOT DONE", "NA", "N/A", "NOT AVAILABLE", "NOT REPORTED", "MISSING", ".", "-"})
"""Texts (in capitals) that say that there is no result."""
_NO_BASELINE = "IE"
"""Whether a criterion was met is no measurement (SDTMIG 3.4, section 6.3.4, IE)."""
_YES, _NO, _MAYBE = 1, 0, -1


def derive_last_observations(work: Work) -> None:
    """Flag with Y the last result on or before the first exposure (RFXSTDTC) of each subject and test.

    --LOBXFL is filled, and --BLFL if the study asks for it.

    A test is identified by category, specimen, location, side, position, method, evaluator, focus and time point, as
    far as the dataset has them. Only results count (not NOT DONE, not ND; note FS714). Dates compare at the precision
    both have: a result of the day of the first dose counts unless both have times. Among equal dates the last by
    time point, replicate and --SEQ is taken. Where a partial date leaves open which result was the last, none is
    flagged (note FS715). Nothing is filled for a subject that has a flag in the test already.
    """
    exposed = work.subjects("RFXSTDTC")
    for name, spec in work.general() if exposed else ():
        prefix = spec.prefix
        names = {"USUBJID", f"{prefix}TESTCD", f"{prefix}DTC"}
        table = work.tables[name]
        if prefix == _NO_BASELINE or not names <= set(table.column_names) or not result_columns(table, prefix):
            continue
        tests = _tests(
            work.tables[name], prefix, work.study.baseline_tests.get(name) or work.study.baseline_tests.get(prefix)
        )
        for flag in work.study.baseline_flags:
            target = prefix + flag
            if sdtm.variable(name, target) is None:
                continue
            if work.comparing and columns.filled(work.tables[name], target):
                _compare(work, name, target, exposed, tests)
            else:
                flags = _last_before(work, name, target, exposed, tests)
                work.fill(name, target, flags, method(f"--{flag}", tests=", ".join(tests)))


def _compare(work: Work, name: str, target: str, exposed: dict[str, str], tests: Sequence[str]) -> None:
    """Remember which flags that came in are others than those of the rule, in tests of which it flags a result.

    Where a dataset came with flags, an empty one says that the record is none: nothing is filled.
    """
    table = work.tables[name]
    again = replace(work, tables={name: table.drop_columns([target])}, problems=[])
    flags = _last_before(again, name, target, exposed, tests)
    codes = columns.Groups(table, tests).codes
    judged = pc.is_in(codes, value_set=codes.filter(flags.is_valid()).unique())
    work.differ(flag_differences(table, name, target, flags, judged))


def _tests(table: pa.Table, prefix: str, named: Sequence[str] | None = None) -> list[str]:
    """The columns that identify a test of a subject: those that the study names, or `LOBXFL_GROUP`."""
    wanted = ["USUBJID", *(named or ("FOCID", *(prefix + part for part in LOBXFL_GROUP)))]
    return [name for name in wanted if name in table.column_names]


def _last_before(work: Work, name: str, target: str, exposed: dict[str, str], identity: Sequence[str]) -> pa.Array:
    table, prefix = work.tables[name], sdtm.domain(name).prefix
    moments = columns.Groups(table, ("USUBJID", prefix + "DTC"))
    before = [_before(exposed.get(subject or ""), cell) for subject, cell in moments.cells]
    tests = columns.Groups(table, identity).codes
    flagged = tests.filter(columns.text(table, target).is_valid())
    fresh = pc.invert(pc.is_in(tests, value_set=flagged.unique()))
    early, maybe = (moments.flags(each == state for each in before) for state in (_YES, _MAYBE))
    counts = pc.and_(fresh, _results(work, name, prefix, pc.and_(fresh, pc.or_(early, maybe))))
    candidates = pc.and_(early, counts)
    order = sort_order(_by_instant(table, prefix + "DTC"), name, [prefix + part for part in _ORDER])
    order = order.filter(candidates.take(order))
    ranked = pa.table({"test": tests.take(order), "place": pa.array(range(len(order)), pa.int64())})
    last = ranked.group_by("test").aggregate([("place", "max")])["place_max"].combine_chunks()
    chosen = order.take(last)
    if any(each == _MAYBE for each in before) or any(_partial(cell) for _, cell in moments.cells):
        chosen = _certain(chosen, moments, tests, (candidates, pc.and_(maybe, counts)))
        lost = pc.and_(pc.or_(candidates, pc.and_(maybe, counts)), pc.invert(pc.is_in(tests, tests.take(chosen))))
        rows = pc.indices_nonzero(lost)
        firsts = pa.table({"test": tests.take(rows), "row": rows}).group_by("test").aggregate([("row", "min")])
        work.note("FS715", name, sorted(firsts["row_min"].to_pylist()), prefix + "DTC", "dates to the day")
    flags = pc.is_in(pa.array(range(table.num_rows), pa.int64()), value_set=chosen)
    return pc.if_else(flags, "Y", pa.scalar(None, pa.string()))


_ORDER = ("DTC", "TPTNUM", "REPNUM", "SEQ")


def _before(exposure: str | None, cell: str | None) -> int:
    """Whether a record was certainly, perhaps or not on or before the first exposure; an undated one does not count."""
    if not exposure or not cell:
        return _NO
    dosed, done = days(exposure), days(cell)
    if dosed is None or done is None:
        return _MAYBE
    if dosed[0] == dosed[1] and done[0] == done[1]:
        return _YES if at_most(cell, exposure) else _NO
    if done[1] <= dosed[0]:
        return _YES
    return _NO if done[0] > dosed[1] else _MAYBE


def _partial(cell: str | None) -> bool:
    span = days(cell) if cell else None
    return bool(cell) and (span is None or span[0] < span[1])


def _results(work: Work, name: str, prefix: str, looked_at: pa.Array) -> pa.Array:
    """Where a record has a result: not NOT DONE, and no text that says that there is none (noted: FS714)."""
    table = work.tables[name]
    result = pc.coalesce(*(columns.text(table, column) for column in result_columns(table, prefix)))
    done = pc.and_(columns.text(table, prefix + "STAT").is_null(), result.is_valid())
    none = columns.by_distinct(result, lambda text: text.strip().upper() in NO_RESULT, pa.bool_())
    none = pc.and_(done, pc.fill_null(none, False))
    rows = pc.indices_nonzero(pc.and_(none, looked_at)).to_pylist()
    work.note("FS714", name, rows, prefix + "ORRES", "a result, or NOT DONE in the status variable")
    return pc.and_(done, pc.invert(none))


def _by_instant(table: pa.Table, column: str) -> pa.Table:
    """The table with dates that have an offset as instants in UTC, where all that have a time of day have one."""
    encoded = columns.text(table, column).dictionary_encode()
    cells = encoded.dictionary.to_pylist()
    moments = [instant(cell) for cell in cells]
    if not any(moments):
        return table
    texts = [moment.isoformat() if moment else cell for moment, cell in zip(moments, cells, strict=True)]
    return columns.put(table, column, pa.array(texts, pa.string()).take(encoded.indices))


def _certain(chosen: pa.Array, moments: columns.Groups, tests: pa.Array, rows: tuple[pa.Array, pa.Array]) -> pa.Array:
    """Of the chosen rows (one a test) those that are the last whatever the partial dates of their test mean.

    Args:
        chosen: rows; moments: subject and date of all rows; tests: of all rows.
        rows: those before exposure, and those that may be.
    """
    spans = [days(cell) if cell else None for _, cell in moments.cells]
    ends = pa.array([span[1] if span else None for span in spans], pa.int64())
    unsure = moments.flags(_partial(cell) for _, cell in moments.cells)
    unsure = pc.or_(rows[1], pc.and_(rows[0], unsure))
    unsure = pc.and_(unsure, pc.invert(pc.is_in(pa.array(range(len(tests)), pa.int64()), value_set=chosen)))
    # A date that sets no bounds may be later than any other.
    late = pc.fill_null(ends.take(moments.codes), _FOREVER).filter(unsure)
    most = pa.table({"test": tests.filter(unsure), "end": late}).group_by("test").aggregate([("end", "max")])
    latest = most["end_max"].combine_chunks().take(pc.index_in(tests.take(chosen), most["test"].combine_chunks()))
    starts = pa.array([span[0] if span else None for span in spans], pa.int64()).take(moments.codes.take(chosen))
    return chosen.filter(pc.fill_null(pc.greater_equal(starts, latest), True))


_FOREVER = 10**7
