"""The metadata of datasets: those that do not follow from the guide and the cells, and tables brought into form."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pyarrow as pa

from fhirspace.errors import Place, Problem
from fhirspace.foreign import shown
from fhirspace.sdtm import columns
from fhirspace.sdtm.layout import column_order
from fhirspace.sdtm.longtext.rules import part_label
from fhirspace.standards import sdtm
from fhirspace.study.metadata.order import NATURAL, Order, in_order, order_of
from fhirspace.tables.description import Column, Description
from fhirspace.tables.text import data_columns
from fhirspace.tables.xpt.checks import cell_length


@dataclass(frozen=True, slots=True)
class Metadata:
    """What is known of a dataset beside its cells.

    Attributes:
        description: as its file gave it. rows: their number. order: theirs.
    """

    description: Description
    rows: int
    order: Order = NATURAL


def metadata_of(dataset: str, description: Description, table: pa.Table, *, ordered: bool = True) -> Metadata | None:
    """The metadata of a dataset to be carried; None where all of them follow from the guide and the cells.

    Args:
        dataset, description, table: name, the description in its file, rows.
        ordered: whether the rows are all those written.
    """
    found = Metadata(description, table.num_rows, order_of(table, dataset) if ordered else NATURAL)
    if not table.num_rows or found.order != NATURAL or not sdtm.known(dataset):
        return found
    names = [each.name for each in description.columns]
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
    wanted = [name for name in names if not part_label(dataset, name) or columns.filled(done, name)]
    helpers = [name for name in done.column_names if name[0] in "@_"]
    cells = {name: columns.text(done, name) for name in [*wanted, *new]} | {name: done[name] for name in helpers}
    return pa.table(cells), sorted_table is not None


def together(first: Metadata, other: Metadata) -> Metadata:
    """The metadata of a dataset of which two studies were read: what the first says, and the other's columns."""
    if first == other:
        return first
    known = {column.name for column in first.description.columns}
    new = tuple(column for column in other.description.columns if column.name not in known)
    description = replace(first.description, columns=first.description.columns + new)
    return Metadata(description, first.rows + other.rows)


def empty(description: Description) -> pa.Table:
    """A dataset without rows."""
    return pa.table({column.name: pa.array([], pa.string()) for column in description.columns})
