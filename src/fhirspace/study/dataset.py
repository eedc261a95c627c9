"""A tabulation that may be larger than memory: one interface to a table in memory and to a Parquet file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from fhirspace.errors import InputError, Place, Problem
from fhirspace.standards import sdtm
from fhirspace.tables import description, formats, parquet
from fhirspace.tables.csv.reading import Rejected
from fhirspace.tables.description import Description
from fhirspace.tables.slices import slices
from fhirspace.tables.text import data_columns

if TYPE_CHECKING:
    from fhirspace.sdtm.derive.design import StudyDesign

IN_MEMORY = 500_000
"""Rows up to which a dataset is read as a whole, so that its rows can be checked against one another."""
BATCH = 32_768
"""Rows of a batch: smaller ones cost half the speed again (docs/decisions/0006)."""


class Tabulation(Protocol):
    """One dataset: text columns with SDTM names, and ``@file`` and ``@row``."""

    @property
    def rows(self) -> int:
        """The number of rows."""

    @property
    def columns(self) -> list[str]:
        """The names of all columns."""

    @property
    def description(self) -> Description:
        """What the file says of it beside the cells."""

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows in batches of `BATCH`, or in smaller ones if they contain much text."""

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """All rows, of some columns or of all, in memory."""


@dataclass(frozen=True, slots=True)
class InMemory:
    """A table in memory."""

    data: pa.Table

    @property
    def rows(self) -> int:
        """The number of rows."""
        return int(self.data.num_rows)

    @property
    def columns(self) -> list[str]:
        """The names of all columns."""
        return list(self.data.column_names)

    @property
    def description(self) -> Description:
        """What the table's schema says beside the cells."""
        return description.of(self.data)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows in batches of `BATCH`."""
        for batch in self.data.unify_dictionaries().combine_chunks().to_batches(max_chunksize=BATCH):
            yield from slices(batch)

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """All rows, of some columns or of all."""
        return self.data if columns is None else self.data.select([name for name in columns if name in self.columns])


@dataclass(frozen=True, slots=True)
class InParquet:
    """A Parquet file, read a row group at a time."""

    path: Path

    @property
    def rows(self) -> int:
        """The number of rows."""
        return int(pq.read_metadata(self.path).num_rows)

    @property
    def columns(self) -> list[str]:
        """The names of all columns."""
        return list(pq.read_schema(self.path).names)

    @property
    def description(self) -> Description:
        """What the schema of the file says beside the cells."""
        return description.of(pq.read_schema(self.path))

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows in batches of `BATCH`."""
        yield from parquet.batches(self.path, size=BATCH)

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """All rows, of some columns or of all, in memory."""
        whole = parquet.read(self.path)
        return whole if columns is None else whole.select([name for name in columns if name in whole.column_names])


def localised(tabulations: Mapping[str, Tabulation], design: StudyDesign) -> dict[str, Tabulation]:
    """Tabulations whose times have the offsets of the zones that are declared or were carried; see `sdtm.zones`."""
    from fhirspace.sdtm.zones import MARK, with_offsets  # noqa: PLC0415 - validation of FHIR starts without it

    if not design.declared_zones and not any(MARK in each.columns for each in tabulations.values()):
        return dict(tabulations)
    tables = with_offsets({name: each.table() for name, each in tabulations.items()}, design)
    return {name: InMemory(table) for name, table in tables.items()}


Read = tuple[Tabulation, Rejected, list[Problem]]


def tabulation(found: formats.Found) -> Read:
    """A dataset of an input, in memory, also one without rows; a large Parquet file stays on the disk (FS741).

    Raises:
        InputError: as `formats.load`; FS118, a CSV file named as a dataset without any column of it: its first line
            may be data, and is not quoted.
    """
    if found.format == "parquet" and parquet.count(found.path) > IN_MEMORY:
        return InParquet(found.path), Rejected(), [Problem("FS741", Place(found.path.name), "", found.name.upper())]
    loaded = formats.load(found, empty=True)
    if found.format == "csv" and not _has_header(loaded.table, found.name.upper()):
        raise InputError("FS118", Place(found.path.name, 1), "names of columns in the first line, such as STUDYID")
    if not loaded.table.num_rows and not loaded.rejected:
        loaded.problems.append(Problem("FS263", Place(found.path.name, 2), "records of this table", found.name))
    return InMemory(loaded.table), loaded.rejected, loaded.problems


def _has_header(table: pa.Table, name: str) -> bool:
    """Whether a table has any variable of the dataset that it is called after."""
    return not sdtm.known(name) or any(sdtm.variable(name, column.upper()) for column in data_columns(table))
