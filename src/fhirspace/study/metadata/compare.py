"""What files say of their datasets beside the cells, compared with what came back: labels, types, lengths, order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pyarrow as pa

from fhirspace.sdtm.longtext.rules import MAX_BYTES, part_label
from fhirspace.study.metadata.written import written
from fhirspace.tables.compare import Difference, Kind, same_order
from fhirspace.tables.description import Column, Description
from fhirspace.tables.text import data_columns
from fhirspace.tables.xpt.checks import cell_length


class Compared(NamedTuple):
    """The differences, and those that are declared: what they are and why, in words."""

    differences: list[Difference]
    declared: list[str]


def compare(
    dataset: str,
    given: Description,
    before: pa.Table,
    after: pa.Table,
    about: Description,
    *,
    ordered: bool | None = True,
    parts: pa.Table | None = None,
) -> Compared:
    """Compares a dataset as its file describes it with the description that it would be written with now.

    Only what the file says is compared: CSV has the names and the order of columns and the order of rows.

    Args:
        dataset, given: its name, and the description in its file. before, after: its rows, long texts whole.
        about: what was carried of the description.
        ordered: whether the order of the rows was to be carried; None: it is not compared, as the rows differ.
        parts: the rows with further parts of long texts that are written with `after`.
    """
    found = Compared([], [])
    whole = after if parts is None else pa.concat_tables([after, parts], promote_options="permissive")
    now = written(whole, dataset, about, {})
    if given.label and given.label != now.label:
        found.differences.append(Difference("dataset label"))
    titles = (each.name for each in given.columns)
    names = [name for name in titles if name in before.column_names or not part_label(dataset, name)]
    if names != data_columns(after):
        found.differences.append(Difference("column order"))
    known = {column.name: column for column in now.columns}
    for column in given.columns:
        if column.name in known:
            _compare_columns(f"{dataset}.{column.name}", column, known[column.name], whole, found)
    if ordered is False:
        found.declared.append(f"{dataset}: the order of rows is not carried, as it is not read into memory")
    elif ordered and not same_order(before, after):
        found.differences.append(Difference("row order"))
    return found


def _compare_columns(place: str, given: Column, now: Column, after: pa.Table, found: Compared) -> None:
    if not given.label:
        if now.label and given.type is not None:
            found.declared.append(f"{place}: a label, as the file has none")
    elif given.label != now.label:
        found.differences.append(Difference("label", column=given.name))
    if given.length not in (None, now.length):
        longest = cell_length(after[given.name])
        if given.type == "Num" or not (given.length or 0) < longest == now.length:
            found.differences.append(Difference("length", column=given.name))
        elif longest <= MAX_BYTES:
            found.declared.append(f"{place}: the length, as the longest value has more bytes in UTF-8")
    found.differences.extend(Difference(kind, column=given.name) for kind in _others(given, now))


def _others(given: Column, now: Column) -> Iterator[Kind]:
    if given.type not in (None, now.type):
        yield "type"
    if given.format not in ("", now.format) or (given.type and not given.format and now.format):
        yield "format"
    if given.informat not in ("", now.informat) or (given.type and not given.informat and now.informat):
        yield "informat"
