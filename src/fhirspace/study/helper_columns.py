"""Helper columns that mappings may use and that are computed, never mapped back: their names start with ``_``.

====================  ==============================================================================================
``_SYNTHETIC``        ``HTEST`` on every row of a study whose trial summary says that it is synthetic
``_STATUS``           on DM: the state of the subject as an R4 research-subject-status, from DS and the dates of DM
``_TS_<PARMCD>``      on DM: the first value of a trial summary parameter
``_LOINC``            on findings: the LOINC code of test, specimen, method and unit, where there is just one
``_has_<D>_<COLS>``   ``Y`` where dataset D has a row with the same cells in these columns (``when: SV has ...``)
``_upto_<A>_<B>``     ``Y`` where date B may be the end of a Period that starts with A (``when: A upto B``)
====================  ==============================================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping as Table
from functools import cached_property

import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.mapping.model import Mapping, Obj, slots, walk
from fhirspace.sdtm.columns import Groups, by_distinct, text
from fhirspace.standards import terminology
from fhirspace.study.dataset import Tabulation
from fhirspace.template.dates import moment

SYNTHETIC = "SYNTHDTA"
"""The trial summary parameter (sponsor-defined: CDISC has none) whose value Y says that a study's data are invented."""

_GLUE = "\x1f"


class Helpers:
    """Computes helper columns for the batches of a study.

    Args:
        tabulations: all datasets of the study, by name.
    """

    def __init__(self, tabulations: Table[str, Tabulation]) -> None:
        self._tabulations = tabulations
        self._keys: dict[tuple[str, ...], pa.Array] = {}

    def add(self, mapping: Mapping, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The batch with the helper columns that the mapping uses and that it has not yet."""
        for name in needed(mapping):
            if name not in batch.schema.names:
                batch = batch.append_column(name, self._column(name, mapping.domain, batch))
        return batch

    def alone(self, mapping: Mapping) -> Helpers:
        """What one mapping needs of the study, computed, and without its datasets: cheap to send to other processes."""
        other = Helpers({})
        names = needed(mapping)
        if any(name == "_SYNTHETIC" or name.startswith("_TS_") for name in names):
            other._summary = self._summary
        if "_STATUS" in names:
            other._statuses = self._statuses
        for name in names:
            if name.startswith("_has_"):
                dataset, *columns = name.removeprefix("_has_").split("_")
                known = self._known(dataset, columns)
                if known is not None:
                    other._keys[dataset, *columns] = known
        return other

    def _column(self, name: str, domain: str, batch: pa.RecordBatch) -> pa.Array:
        table = pa.Table.from_batches([batch])
        if name == "_SYNTHETIC":
            return _constant("HTEST" if self._summary.get(SYNTHETIC) == "Y" else None, batch.num_rows)
        if name == "_STATUS":
            return by_distinct(text(table, "USUBJID"), self._statuses.get, pa.string())
        if name.startswith("_TS_"):
            return _constant(self._summary.get(name.removeprefix("_TS_")), batch.num_rows)
        if name == "_LOINC":
            return _loinc(table, domain)
        if name.startswith("_has_"):
            return self._has(name, table)
        upto = name.startswith("_upto_")
        return _upto(table, *name.split("_")[2:]) if upto else pa.nulls(batch.num_rows, pa.string())

    def _has(self, name: str, table: pa.Table) -> pa.Array:
        dataset, *columns = name.removeprefix("_has_").split("_")
        known = self._known(dataset, columns)
        if known is None:
            return pa.nulls(table.num_rows, pa.string())
        present = pc.is_in(_joined(table, columns), value_set=known)
        return pc.if_else(present, "Y", pa.scalar(None, pa.string()))

    def _known(self, dataset: str, columns: list[str]) -> pa.Array | None:
        """The keys that a dataset has in some columns; None where there is no such dataset."""
        key = (dataset, *columns)
        if key not in self._keys and dataset in self._tabulations:
            self._keys[key] = _joined(self._tabulations[dataset].table(columns), columns).unique().drop_null()
        return self._keys.get(key)

    @cached_property
    def _summary(self) -> dict[str, str]:
        if "TS" not in self._tabulations:
            return {}
        found: dict[str, str] = {}
        table = self._tabulations["TS"].table()
        for code, value in zip(text(table, "TSPARMCD").to_pylist(), text(table, "TSVAL").to_pylist(), strict=True):
            if code and value:
                found.setdefault(code, value)
        return found

    @cached_property
    def _statuses(self) -> dict[str, str]:
        """By subject: how the last disposition event left them, else how far the dates of DM show that they came."""
        found: dict[str, str] = {}
        if "DM" in self._tabulations:
            names = ["USUBJID", "RFICDTC", "RFSTDTC", "RFXSTDTC"]
            for subject, consent, start, dose in _rows(self._tabulations["DM"].table(names), names):
                if subject:
                    found[subject] = (
                        "on-study-intervention"
                        if dose
                        else "on-study"
                        if start
                        else "candidate"
                        if consent
                        else "screening"
                    )
        if "DS" in self._tabulations:
            names = ["USUBJID", "DSSTDTC", "DSCAT", "DSDECOD"]
            events = sorted(
                row for row in _rows(self._tabulations["DS"].table(names), names) if row[2] == "DISPOSITION EVENT"
            )
            found |= {subject: _ENDS.get(event, "withdrawn") for subject, _, _, event in events if subject}
        return found


_ENDS = {"COMPLETED": "off-study", "SCREEN FAILURE": "ineligible", "STUDY TERMINATED BY SPONSOR": "off-study"}


def needed(mapping: Mapping) -> list[str]:
    """The helper columns that a mapping's slots and conditions name, each once, in alphabetical order."""
    found: set[str] = set()
    for root in mapping.roots():
        found |= {slot.column for _, slot in slots(root) if slot.derived}
        for node in walk(root):
            if isinstance(node, Obj) and node.when:
                found |= {column for column in node.when.columns() if column.startswith("_")}
    for block in mapping.blocks:
        found |= {column for column in (block.when.columns() if block.when else ()) if column.startswith("_")}
    return sorted(found)


def _rows(table: pa.Table, names: list[str]) -> Iterator[tuple[str, ...]]:
    yield from zip(*(pc.fill_null(text(table, name), "").to_pylist() for name in names), strict=True)


def _constant(value: str | None, count: int) -> pa.Array:
    if value is None:
        return pa.nulls(count, pa.string())
    return pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int32()), count), pa.array([value]))


def _upto(table: pa.Table, start: str, end: str) -> pa.Array:
    """``codecs.upto`` of two columns: each distinct date is looked at once, pairs are compared by Arrow."""
    first, last = (by_distinct(text(table, name), moment, pa.string()) for name in (start, end))
    same = pc.equal(pc.utf8_slice_codeunits(first, 0, 1), pc.utf8_slice_codeunits(last, 0, 1))
    fits = pc.or_(pc.is_null(first), pc.fill_null(pc.and_(same, pc.less_equal(first, last)), False))
    return pc.if_else(fits, "Y", pa.scalar(None, pa.string()))


def _joined(table: pa.Table, columns: list[str]) -> pa.Array:
    return pc.binary_join_element_wise(*(text(table, name) for name in columns), _GLUE, null_handling="emit_null")


def _loinc(table: pa.Table, domain: str) -> pa.Array:
    """The LOINC code by test, specimen, method and unit (CDISC's biomedical concepts), where just one is left."""
    names = [domain + suffix for suffix in ("TESTCD", "SPEC", "METHOD", "ORRESU")]
    groups = Groups(table, names)
    return groups.spread(_code(domain, *cells) for cells in groups.cells)


def _code(domain: str, testcd: str | None, spec: str | None, method: str | None, unit: str | None) -> str | None:
    left = list(terminology.loinc(domain, testcd)) if testcd else []
    wanted: tuple[Callable[[terminology.Loinc], bool], ...] = (
        lambda row: not spec or not row.spec or spec in row.spec.split(" OR ") or spec == row.spec,
        lambda row: not unit or not row.orresu or unit in row.orresu.split(";"),
        lambda row: not row.method or method == row.method,
    )
    for test in wanted:
        left = [row for row in left if test(row)]
    codes = {row.loinc for row in left}
    return codes.pop() if len(codes) == 1 else None
