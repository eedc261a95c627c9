"""Helper columns that mappings may use and that are computed, never mapped back: their names start with ``_``.

====================  ==============================================================================================
``_SYNTHETIC``        ``HTEST`` on every row of a study whose trial summary says that it is synthetic
``_STATUS``           on DM: the state of the subject as an R4 research-subject-status, from DS and the dates of DM
``_TS_<PARMCD>``      on DM: the first value of a trial summary parameter
``_LOINC``            on findings: the LOINC code of test, category, specimen, method and unit, where there is just one
``_RECORD``           of rows that have no key: a digest of all cells, of equal rows each has its own; for their ids
``_CELLS``            the same, for their identifiers: a column that is in two elements is read from one spelling
``_NOPATIENT``        the subject of a row, where the study has a DM that lacks this subject
``_ABOUT_<D>``        on findings about other records (FA): --SEQ of the record of dataset D that a row is about
``_has_<D>_<COLS>``   ``Y`` where dataset D has a row with the same cells in these columns (``when: SV has ...``)
``_upto_<A>_<B>``     ``Y`` where date B may be the end of a Period that starts with A (``when: A upto B``)
====================  ==============================================================================================
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import replace
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.mapping.model import Mapping
from fhirspace.sdtm.columns import Groups, by_distinct, text
from fhirspace.sdtm.related import about
from fhirspace.standards import loinc
from fhirspace.study.summary import ABOUT, NO_PATIENT, PATIENTS, StudySummary, joined, needed
from fhirspace.tables.text import data_columns
from fhirspace.template.dates import moment

_GLUE: Final = "\x1f"
_DIGITS: Final = 40
RECORD: Final = "_RECORD"
CELLS: Final = "_CELLS"
"""The helper column that identifies a row without a key; it needs the whole dataset (`with_records`)."""
SYNTHETIC = "SYNTHDTA"
"""The trial summary parameter (sponsor-defined: CDISC has none) whose value Y says that a study's data are invented."""


class Helpers:
    """Computes helper columns for the batches of a study.

    Args:
        study: the declared summary of the whole study.
    """

    def __init__(self, study: StudySummary) -> None:
        self._study = study

    def add(self, mapping: Mapping, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The batch with the helper columns that the mapping uses and that it has not yet."""
        for name in needed(mapping):
            if name not in batch.schema.names:
                table = pa.Table.from_batches([batch])
                batch = batch.append_column(name, self.column(name, mapping, table))
        return batch

    def alone(self, mapping: Mapping) -> Helpers:
        """Those of one mapping, with its part of the summary only."""
        return Helpers(self._study.alone(mapping))

    def column(self, name: str, mapping: Mapping, table: pa.Table) -> pa.Array:
        """One helper column of some rows of a dataset."""
        if name == "_SYNTHETIC":
            return _constant("HTEST" if self._study.parameters.get(SYNTHETIC) == "Y" else None, table.num_rows)
        if name == "_STATUS":
            return by_distinct(text(table, "USUBJID"), self._study.statuses.get, pa.string())
        if name.startswith("_TS_"):
            return _constant(self._study.parameters.get(name.removeprefix("_TS_")), table.num_rows)
        if name == "_LOINC":
            return _loinc(table, mapping.code)
        if name == NO_PATIENT or name.startswith(("_has_", ABOUT)):
            return self._beside(name, mapping, table)
        upto = name.startswith("_upto_")
        return _upto(table, *name.split("_")[2:]) if upto else pa.nulls(table.num_rows, pa.string())

    def without(self, subjects: pa.Array) -> Helpers:
        """Those of a study whose DM rows of some subjects are quarantined while they are written."""
        left = {
            key: cells.filter(pc.invert(pc.is_in(cells, value_set=subjects))) if key == PATIENTS else cells
            for key, cells in self._study.keys.items()
        }
        return Helpers(replace(self._study, keys=left))

    def _beside(self, name: str, mapping: Mapping, table: pa.Table) -> pa.Array:
        """A helper column that other datasets give."""
        if name.startswith(ABOUT):
            return about(self._study.links.get(mapping.domain, ()), table, name.removeprefix(ABOUT))
        return self._no_patient(table) if name == NO_PATIENT else self._has(name, table)

    def _no_patient(self, table: pa.Table) -> pa.Array:
        known, subjects = self._study.keys.get(PATIENTS), text(table, "USUBJID")
        if known is None:
            return pa.nulls(table.num_rows, pa.string())
        return pc.if_else(pc.is_in(subjects, value_set=known), pa.scalar(None, pa.string()), subjects)

    def _has(self, name: str, table: pa.Table) -> pa.Array:
        dataset, *columns = name.removeprefix("_has_").split("_")
        known = self._study.keys.get((dataset, *columns))
        if known is None:
            return pa.nulls(table.num_rows, pa.string())
        present = pc.is_in(joined(table, columns), value_set=known)
        return pc.if_else(present, "Y", pa.scalar(None, pa.string()))


def with_records(table: pa.Table) -> pa.Table:
    """A dataset with `RECORD` and `CELLS`: a digest of each row and of the number of equal rows before it."""
    seen: Counter[str] = Counter()
    made: list[str] = []
    for row in record_texts(table):
        made.append(record_digest(row, seen[row]))
        seen[row] += 1
    digests = pa.array(made, pa.string())
    return table.append_column(RECORD, digests).append_column(CELLS, digests)


def record_texts(table: pa.Table) -> list[str]:
    """All filled cells of each row with their columns, as one text: columns without cells make no difference."""
    found = [pa.repeat(pa.scalar("", pa.string()), table.num_rows)]
    for name in sorted(data_columns(table)):
        cells = pc.fill_null(text(table, name), "")
        found.append(pc.if_else(pc.equal(cells, ""), "", pc.binary_join_element_wise(f"{_GLUE}{name}=", cells, "")))
    # No null handling "skip": it drops the rows of which no cell is filled (pyarrow 26).
    rows: list[str] = pc.utf8_slice_codeunits(pc.binary_join_element_wise(*found, ""), 1).to_pylist()
    return rows


def record_digest(row: str, before: int) -> str:
    """The digest of one of `record_texts`, with as many equal ones before it."""
    return hashlib.sha256(f"{row}{_GLUE}{before}".encode()).hexdigest()[:_DIGITS]


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


def _loinc(table: pa.Table, domain: str) -> pa.Array:
    """The LOINC code by test, category, specimen, method and unit, where just one is left."""
    tests = text(table, f"{domain}TESTCD")
    if loinc.coded_tests(domain).isdisjoint(tests.unique().to_pylist()):
        return pa.nulls(table.num_rows, pa.string())
    groups = Groups(table, [domain + suffix for suffix in loinc.COLUMNS])
    return groups.spread(loinc.code(domain, loinc.Cells(*cells)) for cells in groups.cells)
