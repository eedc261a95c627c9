"""All that a step of a conversion may know of the study beyond the rows that it is given.

A block has all rows of its subjects, and the datasets about no subject whole. Whatever else a step needs is an
attribute of `StudySummary`, made by one function for each step:

===============  ==============  ================================  =============================================
made by          for             attributes                        of
===============  ==============  ================================  =============================================
`for_deriving`   `derive`        `filled`, `visits`                the study, as its forms give it
`for_checking`   `check`         `filled`, `names`                 the study, derived
`for_writing`    `write_sdtm`    `lengths`                         the study, its long texts cut
`for_rendering`  `render`        `parameters`, `statuses`, `keys`  the block, for each of its batches of rows
                                 `links`
===============  ==============  ================================  =============================================

Today one block holds the study, and each is made of that block. With more blocks the first three are made of all of
them. What is left to do then: docs/decisions/0018.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping as Table, Sequence
from dataclasses import dataclass, field
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.mapping.model import Mapping, Obj, slots, walk
from fhirspace.sdtm.columns import by_distinct, filled_columns, text
from fhirspace.sdtm.derive.timing import planned_visits
from fhirspace.sdtm.derive.work import Visit
from fhirspace.sdtm.longtext.divide import taken_names
from fhirspace.sdtm.related import Link, links
from fhirspace.standards.units import canonical_number
from fhirspace.study.dataset import Tabulation
from fhirspace.tables.text import data_columns
from fhirspace.tables.xpt.checks import cell_length
from fhirspace.template.slots import once

NO_PATIENT: Final = "_NOPATIENT"
"""The helper column with the subject of a row, where the study has a DM that lacks this subject."""
PATIENTS: Final = ("DM", "USUBJID")
"""The dataset and the column that it asks for."""
ABOUT: Final = "_ABOUT_"
"""Before the name of a dataset: the helper column with --SEQ of the record there that a row is about."""
_GLUE = "\x1f"
_ENDS = {"COMPLETED": "off-study", "SCREEN FAILURE": "ineligible", "STUDY TERMINATED BY SPONSOR": "off-study"}


@dataclass(frozen=True, slots=True)
class StudySummary:
    """What is known beyond the given rows. No attribute contains rows.

    Attributes:
        filled: by dataset, the columns that have a value in any row: a required variable may be missing altogether, or
            in some rows; the date that dates a record is in the first of two columns that is used at all.
        visits: label, number and day of the visits of TV and SV: a subject's visit may be numbered by another's.
        names: by dataset (that of SUPP-- is its parent's), the names that the further part of a long text cannot get.
        parameters: the first value of each trial summary parameter (TS).
        statuses: by subject, how far they came (DM) and how they left (DS).
        keys: by dataset and columns, the distinct cells there, for conditions such as ``when: SV has VISITNUM``; a
            dataset that the study lacks has none.
        links: by dataset of findings about other records, the links to these records.
        lengths: by dataset and variable, the bytes of its longest cell: a transport file declares one length.
    """

    filled: Table[str, frozenset[str]] = field(default_factory=dict)
    visits: tuple[Visit, ...] = ()
    names: Table[str, frozenset[str]] = field(default_factory=dict)
    parameters: Table[str, str] = field(default_factory=dict)
    statuses: Table[str, str] = field(default_factory=dict)
    keys: Table[tuple[str, ...], pa.Array] = field(default_factory=dict)
    links: Table[str, tuple[Link, ...]] = field(default_factory=dict)
    lengths: Table[tuple[str, str], int] = field(default_factory=dict)

    def alone(self, mapping: Mapping) -> StudySummary:
        """The part that rendering by one mapping uses: cheap to send to other processes."""
        names = needed(mapping)
        wanted = set(keys_of(names))
        return StudySummary(
            parameters=self.parameters if _uses_parameters(names) else {},
            statuses=self.statuses if "_STATUS" in names else {},
            keys={key: cells for key, cells in self.keys.items() if key in wanted},
            links={name: linked for name, linked in self.links.items() if name == mapping.domain},
        )


def for_deriving(tables: Table[str, pa.Table]) -> StudySummary:
    """What derivations may know of a study, whose datasets are as its forms give them."""
    return StudySummary(filled=filled_columns(tables), visits=tuple(planned_visits(tables)))


def for_checking(tables: Table[str, pa.Table], *, names: bool = False) -> StudySummary:
    """What the check may know of a study.

    Args:
        tables: the datasets in their final form; names: long texts are to be cut for transport files.
    """
    taken = taken_names(tables) if names else {}
    return StudySummary(filled=filled_columns(tables), names=taken)


def for_rendering(
    tabulations: Table[str, Tabulation], mappings: Iterable[Mapping], given: Collection[str] = ()
) -> StudySummary:
    """What rendering may know of a block: the one place where it looks over whole datasets.

    Nothing of other blocks is needed: the keys hold the subject, and TS is about no subject.

    Args:
        tabulations: all datasets of the block, by name; mappings: those that are to be rendered.
        given: the datasets of the input; one of which no row is left has no keys, and that is known.
    """
    mappings = list(mappings)
    names = sorted({name for mapping in mappings for name in needed(mapping)})
    keys = {
        (dataset, *columns): joined(tabulations[dataset].table(columns), columns).unique().drop_null()
        for dataset, *columns in keys_of(names)
        if dataset in tabulations
    } | {key: pa.array([], pa.string()) for key in keys_of(names) if key[0] in given and key[0] not in tabulations}
    return StudySummary(
        parameters=_parameters(tabulations) if _uses_parameters(names) else {},
        statuses=_statuses(tabulations) if "_STATUS" in names else {},
        keys=keys,
        links=_links(tabulations, mappings),
    )


def for_writing(tables: Table[str, pa.Table]) -> StudySummary:
    """What writing transport files may know of a study, whose long texts are cut."""
    lengths = {
        (name, column): cell_length(table.column(column))
        for name, table in tables.items()
        for column in data_columns(table)
    }
    return StudySummary(lengths=lengths)


def needed(mapping: Mapping) -> list[str]:
    """The helper columns that a mapping's slots and conditions name, each once, in alphabetical order."""
    found: set[str] = set()
    for root in mapping.roots():
        found |= _named(root)
    for block in mapping.blocks:
        found |= {column for column in (block.when.columns() if block.when else ()) if column.startswith("_")}
    return sorted(found)


@once
def _named(root: Obj) -> frozenset[str]:
    """The helper columns in a template: asked of all mappings for each study, and of one for each of its batches."""
    found = {slot.column for _, slot in slots(root) if slot.derived}
    for node in walk(root):
        if isinstance(node, Obj) and node.when:
            found |= {column for column in node.when.columns() if column.startswith("_")}
    return frozenset(found)


def keys_of(names: Iterable[str]) -> Iterator[tuple[str, ...]]:
    """The dataset and the columns that each helper column ``_has_<D>_<COLS>`` asks for, and `PATIENTS`."""
    yield from (tuple(name.removeprefix("_has_").split("_")) for name in names if name.startswith("_has_"))
    yield from (PATIENTS for name in names if name == NO_PATIENT)


def joined(table: pa.Table, columns: list[str]) -> pa.Array:
    """The cells of some columns as one text each row, null where one of them is empty; visit 1.0 is visit 1."""
    cells = (_numbers(text(table, name)) if name == "VISITNUM" else text(table, name) for name in columns)
    return pc.binary_join_element_wise(*cells, _GLUE, null_handling="emit_null")


def _numbers(cells: pa.Array) -> pa.Array:
    return by_distinct(cells, lambda cell: canonical_number(cell) or cell, pa.string())


def _links(tabulations: Table[str, Tabulation], mappings: Iterable[Mapping]) -> dict[str, tuple[Link, ...]]:
    def read(name: str, columns: Sequence[str]) -> pa.Table | None:
        return tabulations[name].table(columns) if name in tabulations else None

    found = {}
    for mapping in mappings:
        named = [name.removeprefix(ABOUT) for name in needed(mapping) if name.startswith(ABOUT)]
        if mapping.domain in tabulations and (targets := [name for name in named if name in tabulations]):
            found[mapping.domain] = links(mapping.domain, mapping.code, targets, read)
    return {name: linked for name, linked in found.items() if linked}


def _uses_parameters(names: Iterable[str]) -> bool:
    return any(name == "_SYNTHETIC" or name.startswith("_TS_") for name in names)


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


def _rows(table: pa.Table, names: list[str]) -> Iterator[tuple[str, ...]]:
    yield from zip(*(pc.fill_null(text(table, name), "").to_pylist() for name in names), strict=True)
