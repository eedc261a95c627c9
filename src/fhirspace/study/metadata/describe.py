"""The metadata of datasets: those that do not follow from the guide and the cells, and tables brought into form."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.errors import Place, Problem
from fhirspace.foreign import shown
from fhirspace.sdtm import columns
from fhirspace.sdtm.layout import column_order
from fhirspace.sdtm.longtext.rules import continued, part_label
from fhirspace.standards import sdtm
from fhirspace.study.metadata.order import NATURAL, Order, in_order, order_of
from fhirspace.tables.description import Column, Description
from fhirspace.tables.text import data_columns, has
from fhirspace.tables.xpt.checks import cell_length


@dataclass(frozen=True, slots=True)
class Metadata:
    """What is known of a dataset beside its cells.

    Attributes:
        description: as its file gave it. rows: their number. order: theirs.
        cells: by column the number of its filled cells; empty if nobody counted them.
        times: by column the number of its cells with a time of day.
    """

    description: Description
    rows: int
    order: Order = NATURAL
    cells: Mapping[str, int] = field(default_factory=dict)
    times: Mapping[str, int] = field(default_factory=dict)


def metadata_of(dataset: str, description: Description, table: pa.Table, *, ordered: bool = True) -> Metadata | None:
    """The metadata of a dataset to be carried; None where all of them follow from the guide and the cells.

    Args:
        dataset, description, table: name, the description in its file, rows.
        ordered: whether the rows are all those written.
    """
    order = order_of(table, dataset) if ordered else NATURAL
    names = [each.name for each in description.columns]
    cells, times = _counts(table, names, _cells), _counts(table, names, _times)
    found = Metadata(description, table.num_rows, order, cells, times)
    if not table.num_rows or found.order != NATURAL or not sdtm.known(dataset):
        return found
    whole = [name for name in names if name in table.column_names or not part_label(dataset, name)]
    return found if description.says_more or whole != column_order(table, dataset) else None


def reduced(dataset: str, description: Description, table: pa.Table) -> Description:
    """A description without what follows from the guide and the cells, and would be written without it.

    Args:
        dataset, description: of a file. table: its rows as they are in the file, long texts in parts.
    """
    if not table.num_rows:
        return description
    columns = tuple(_reduced(dataset, column, table[column.name]) for column in description.columns)
    title = "" if description.label == dataset_label(dataset) else description.label
    return replace(description, label=title, columns=columns)


def _reduced(dataset: str, column: Column, cells: pa.ChunkedArray) -> Column:
    known = sdtm.variable(dataset, column.name) if sdtm.known(dataset) else None
    kind = known.type if known else "Char"
    if column.type not in (None, kind):
        return column
    longest = 8 if kind == "Num" else cell_length(cells)
    title = "" if column.label == label(dataset, column.name) else column.label
    length = None if column.length == longest else column.length
    return replace(column, label=title, type=None, length=length)


def disagreements(dataset: str, description: Description, file: str) -> Iterator[Problem]:
    """Another name of the dataset in a file (FS169), and types of variables that are not the standard's (FS164)."""
    if description.name and description.name.upper() != dataset.upper():
        yield Problem("FS169", Place(file), f"the name of the dataset in the file, {shown(description.name)}", dataset)
    for column in description.columns if sdtm.known(dataset) else ():
        known = sdtm.variable(dataset, column.name)
        if known and column.type not in (None, known.type):
            yield Problem("FS164", Place(file, None, column.name), known.type, dataset, f"it is {column.type}")


def dataset_label(dataset: str) -> str:
    """The label that the guide gives a dataset; its name where there is none."""
    return sdtm.domain(dataset).label if sdtm.known(dataset) else dataset


def label(dataset: str, name: str) -> str:
    """The label of a variable: that of the guide, or of a further part of a long text; else its name."""
    known = sdtm.variable(dataset, name) if sdtm.known(dataset) else None
    return known.label if known else part_label(dataset, name) or name


def arranged(table: pa.Table, dataset: str, metadata: Metadata) -> tuple[pa.Table, bool]:
    """A tabulation with the columns and the order of rows that its file had.

    Columns without any cell are there again, and those that only the guide asks for are not. Columns that are new
    follow at the end.

    Returns:
        The table, and whether its rows have the order that was carried.
    """
    sorted_table = in_order(table, dataset, metadata.order) if metadata.order != NATURAL else table
    done = table if sorted_table is None else sorted_table
    names = [column.name for column in metadata.description.columns]
    new = [name for name in data_columns(done) if name not in names and columns.filled(done, name)]
    cut_anew = continued(dataset, done)  # into parts that such a variable would be beside
    wanted = [name for name in names if not (cut_anew and part_label(dataset, name)) or columns.filled(done, name)]
    helpers = [name for name in done.column_names if name[0] in "@_"]
    cells = {name: columns.text(done, name) for name in [*wanted, *new]} | {name: done[name] for name in helpers}
    return pa.table(cells), sorted_table is not None


def lost_values(table: pa.Table, metadata: Metadata) -> list[str]:
    """The columns of a tabulation that have fewer cells or times of day than were written, each with both counts.

    What rows that are not there any more may have had is not counted: they are reported themselves.
    """
    gone = max(metadata.rows - table.num_rows, 0)
    lost = []
    for count, before, what in ((_cells, metadata.cells, ""), (_times, metadata.times, " times")):
        counts = ((name, count(table, name), number) for name, number in before.items())
        lost += [f"{name} {now:,} of {number:,}{what}" for name, now, number in counts if now < number - gone]
    return lost


def without_standard_results(table: pa.Table, dataset: str) -> int:
    """The number of results of a tabulation, if none of its rows has a standard one; else 0."""
    prefix = dataset[:2]
    return 0 if _cells(table, f"{prefix}STRESC") else _cells(table, f"{prefix}ORRES")


def _cells(table: pa.Table, name: str) -> int:
    return table.num_rows - table[name].null_count if has(table, name) else 0


def _times(table: pa.Table, name: str) -> int:
    if not name.endswith("DTC") or not has(table, name):
        return 0
    return pc.sum(pc.match_substring(columns.text(table, name), "T")).as_py() or 0


def _counts(table: pa.Table, names: Iterable[str], count: Callable[[pa.Table, str], int]) -> dict[str, int]:
    return {name: found for name in names if (found := count(table, name))}


def without(metadata: Metadata, lost: pa.Table) -> Metadata:
    """The metadata of a dataset without some of its rows."""
    cells, times = (_counts(lost, metadata.cells, count) for count in (_cells, _times))
    left = {name: number - cells.get(name, 0) for name, number in metadata.cells.items()}
    timed = {name: number - times.get(name, 0) for name, number in metadata.times.items()}
    return replace(metadata, rows=metadata.rows - lost.num_rows, cells=left, times=timed)


def together(first: Metadata, other: Metadata) -> Metadata:
    """The metadata of a dataset of which two studies were read: what the first says, and the other's columns."""
    if first == other:
        return first
    known = {column.name for column in first.description.columns}
    new = tuple(column for column in other.description.columns if column.name not in known)
    description = replace(first.description, columns=first.description.columns + new)
    known_in_both = first.cells and other.cells
    cells, times = Counter(first.cells) + Counter(other.cells), Counter(first.times) + Counter(other.times)
    counts = (cells, times) if known_in_both else ({}, {})
    return Metadata(description, first.rows + other.rows, NATURAL, *counts)


def empty(description: Description) -> pa.Table:
    """A dataset without rows."""
    return pa.table({column.name: pa.array([], pa.string()) for column in description.columns})
