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

from collections.abc import Callable, Iterable, Iterator, Mapping as Table
from dataclasses import dataclass, field

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


@dataclass(frozen=True, slots=True)
class StudySummary:
    """All that rendering a block may know of the study beyond the block's own rows.

    Attributes:
        parameters: the first value of each trial summary parameter (TS).
        statuses: by subject, how far they came (DM) and how they left (DS).
        keys: by dataset and columns, the distinct cells there, for conditions such as ``when: SV has VISITNUM``; a
            dataset that the study lacks has none.
    """

    parameters: Table[str, str] = field(default_factory=dict)
    statuses: Table[str, str] = field(default_factory=dict)
    keys: Table[tuple[str, ...], pa.Array] = field(default_factory=dict)

    def alone(self, mapping: Mapping) -> StudySummary:
        """The part that one mapping uses: cheap to send to other processes."""
        names = needed(mapping)
        wanted = set(_keys_of(names))
        return StudySummary(
            self.parameters if _uses_parameters(names) else {},
            self.statuses if "_STATUS" in names else {},
            {key: cells for key, cells in self.keys.items() if key in wanted},
        )


def summarise(tabulations: Table[str, Tabulation], mappings: Iterable[Mapping]) -> StudySummary:
    """The summary of a study that some mappings use. The one place where rendering looks over whole datasets.

    Args:
        tabulations: all datasets of the study, by name; mappings: those that are to be rendered.
    """
    names = sorted({name for mapping in mappings for name in needed(mapping)})
    keys = {
        (dataset, *columns): _joined(tabulations[dataset].table(columns), columns).unique().drop_null()
        for dataset, *columns in _keys_of(names)
        if dataset in tabulations
    }
    return StudySummary(
        _parameters(tabulations) if _uses_parameters(names) else {},
        _statuses(tabulations) if "_STATUS" in names else {},
        keys,
    )


def _uses_parameters(names: Iterable[str]) -> bool:
    return any(name == "_SYNTHETIC" or name.startswith("_TS_") for name in names)


def _keys_of(names: Iterable[str]) -> Iterator[tuple[str, ...]]:
    """The dataset and the columns that each name ``_has_<D>_<COLS>`` asks for."""
    return (tuple(name.removeprefix("_has_").split("_")) for name in names if name.startswith("_has_"))


class Helpers:
    """Computes helper columns for the batches of a study.

    Args:
        study: what may be known of the rest of the study.
    """

    def __init__(self, study: StudySummary) -> None:
        self._study = study

    def add(self, mapping: Mapping, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The batch with the helper columns that the mapping uses and that it has not yet."""
        for name in needed(mapping):
            if name not in batch.schema.names:
                batch = batch.append_column(name, self._column(name, mapping.domain, batch))
        return batch

    def alone(self, mapping: Mapping) -> Helpers:
        """Those of one mapping, with its part of the summary only."""
        return Helpers(self._study.alone(mapping))

    def _column(self, name: str, domain: str, batch: pa.RecordBatch) -> pa.Array:
        table = pa.Table.from_batches([batch])
        if name == "_SYNTHETIC":
            return _constant("HTEST" if self._study.parameters.get(SYNTHETIC) == "Y" else None, batch.num_rows)
        if name == "_STATUS":
            return by_distinct(text(table, "USUBJID"), self._study.statuses.get, pa.string())
        if name.startswith("_TS_"):
            return _constant(self._study.parameters.get(name.removeprefix("_TS_")), batch.num_rows)
        if name == "_LOINC":
            return _loinc(table, domain)
        if name.startswith("_has_"):
            return self._has(name, table)
        upto = name.startswith("_upto_")
        return _upto(table, *name.split("_")[2:]) if upto else pa.nulls(batch.num_rows, pa.string())

    def _has(self, name: str, table: pa.Table) -> pa.Array:
        dataset, *columns = name.removeprefix("_has_").split("_")
        known = self._study.keys.get((dataset, *columns))
        if known is None:
            return pa.nulls(table.num_rows, pa.string())
        present = pc.is_in(_joined(table, columns), value_set=known)
        return pc.if_else(present, "Y", pa.scalar(None, pa.string()))


def _parameters(tabulations: Table[str, Tabulation]) -> dict[str, str]:
    if "TS" not in tabulations:
        return {}
    found: dict[str, str] = {}
    table = tabulations["TS"].table()
    for code, value in zip(text(table, "TSPARMCD").to_pylist(), text(table, "TSVAL").to_pylist(), strict=True):
        if code and value:
            found.setdefault(code, value)
    return found


def _statuses(tabulations: Table[str, Tabulation]) -> dict[str, str]:
    """By subject: how the last disposition event left them, else how far the dates of DM show that they came."""
    found: dict[str, str] = {}
    if "DM" in tabulations:
        names = ["USUBJID", "RFICDTC", "RFSTDTC", "RFXSTDTC"]
        for subject, consent, start, dose in _rows(tabulations["DM"].table(names), names):
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
    if "DS" in tabulations:
        names = ["USUBJID", "DSSTDTC", "DSCAT", "DSDECOD"]
        events = sorted(row for row in _rows(tabulations["DS"].table(names), names) if row[2] == "DISPOSITION EVENT")
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
