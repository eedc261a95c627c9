"""The description of a dataset that is written: by its file if it came in one, and for the rest by the guide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from fhirspace.errors import Place, Problem
from fhirspace.sdtm import columns
from fhirspace.sdtm.longtext.rules import MAX_BYTES
from fhirspace.standards import sdtm
from fhirspace.study.metadata.describe import dataset_label, label
from fhirspace.tables import xpt
from fhirspace.tables.csv.scan import CONTROL
from fhirspace.tables.description import Column, Description, Kind
from fhirspace.tables.text import data_columns
from fhirspace.tables.xpt.checks import cell_length, number_fault


def written(
    table: pa.Table,
    dataset: str,
    about: Description,
    lengths: Mapping[tuple[str, str], int],
    checked: xpt.Checked | None = None,
) -> Description:
    """The description of a dataset with a label and a type for each of its variables, in their order.

    Args:
        table, dataset: the rows and the name. about: the description in its file.
        lengths: by dataset and variable, the bytes of the study's longest cell.
        checked: which numeric variables were found to hold numbers only.
    """
    known = {column.name: column for column in about.columns}
    numbers = {name for name, kind in checked.columns.items() if kind == "Num"} if checked else None
    each = (known.get(name, Column(name)) for name in data_columns(table))
    made = tuple(_column(table, dataset, column, numbers, lengths.get((dataset, column.name))) for column in each)
    return Description(dataset, about.label or dataset_label(dataset), made)


def by_guide(dataset: str, name: str) -> xpt.Variable:
    """What the guide says of a variable, for a transport file; one that it does not know is text."""
    standard = sdtm.variable(dataset, name) if sdtm.known(dataset) else None
    return name, label(dataset, name), standard.type if standard else "Char", None


def _column(table: pa.Table, dataset: str, column: Column, numbers: set[str] | None, longest: int | None) -> Column:
    """A variable as it is written.

    Its type is that of its file, else the guide's; a numeric variable of which any cell is no number is written as
    text, so that no cell is lost. A text too long for any variable is left to `xpt.write` to refuse.

    Args:
        table, dataset, column: the rows, their dataset, and what is known of the variable.
        numbers: the variables of numbers in which every cell was found to be one; None: nothing was checked.
        longest: the bytes of the study's longest cell; those of the table where it is not given.
    """
    name, usual, guide, _ = by_guide(dataset, column.name)
    kind: Kind = column.type or guide
    if kind == "Num" and not _all_numbers(table, name, numbers if guide == "Num" else None):
        kind = "Char"
    own = (column.type or guide) == kind
    forms = (column.format, column.informat) if own else ("", "")
    length = column.length if own else None
    if kind == "Num":
        length = length or 8
    else:
        length = longest or cell_length(table[name]) if length is None else max(length, cell_length(table[name]))
    return Column(name, column.label or usual, kind, length, *forms)


def _all_numbers(table: pa.Table, name: str, numbers: set[str] | None) -> bool:
    if numbers is not None:
        return name in numbers
    return not any(number_fault(cell) for cell in columns.text(table, name).drop_null().unique().to_pylist())


def fitting(description: Description, file: str) -> tuple[Description, list[Problem]]:
    """The description as a transport file can have it, and what it cannot (FS163)."""
    problems: list[Problem] = []
    made = []
    for column in description.columns:
        place, done = Place(file, None, column.name), column
        if not _fits(column.label):
            done = replace(done, label=next(filter(_fits, (label(description.name, column.name), column.name)), ""))
            problems.append(Problem("FS163", place, "a label of at most 40 bytes", description.name))
        if None in (xpt.form_bytes(column.format), xpt.form_bytes(column.informat)):
            done = replace(done, format="", informat="")
            problems.append(Problem("FS163", place, "a format such as DATE9. or 8.2", description.name))
        made.append(done)
    title = description.label
    if not _fits(title):
        title = dataset_label(description.name)
        problems.append(Problem("FS163", Place(file), "a label of at most 40 bytes", description.name))
    return replace(description, label=title, columns=tuple(made)), problems


def _fits(text: str) -> bool:
    return len(text.encode()) <= 40 and not CONTROL.search(text)


def to_transport(table: pa.Table, path: Path, description: Description, checked: xpt.Checked | None) -> None:
    """Writes a dataset as a SAS transport file; see `xpt.write`, which raises what this raises."""
    variables: list[xpt.Variable] = []
    for each in description.columns:
        kind = each.type or "Char"
        longest = MAX_BYTES if kind == "Char" else 8
        variables.append((each.name, each.label, kind, None if each.length is None else min(each.length, longest)))
    formats = {each.name: (each.format, each.informat) for each in description.columns}
    title, name = description.label, description.name
    xpt.write(table, path, name=name, label=title, variables=variables, formats=formats, checked=checked)
