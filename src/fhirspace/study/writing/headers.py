"""What Dataset-JSON says of a dataset before its rows: the same as the define.xml, by the same OIDs.

A number is written as a string (``decimal``) where a program that reads numbers would change its text, such as ``070``.

Source: CDISC Dataset-JSON 1.1; CDISC's own files for what it leaves open: numbers without a length, dates that are
not complete as ``string``.
"""

from __future__ import annotations

import re
from typing import Final

import pyarrow as pa

from fhirspace.sdtm import columns
from fhirspace.sdtm.define.model import Define, Item, ItemRef
from fhirspace.sdtm.define.words import TEXT_TYPES
from fhirspace.tables.datasetjson.header import DATE, DATES, Header, Variable
from fhirspace.tables.description import Column, Description
from fhirspace.tables.xpt.checks import cell_length
from fhirspace.version import __version__

_WHOLE: Final = re.compile(r"(?!-0$)-?(?:0|[1-9][0-9]{0,14})")
_FRACTION: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?")
_DIGITS: Final = 15
"""The digits of a number that every program reads as it is."""


def header(table: pa.Table, about: Description, define: Define, *, referred: bool) -> Header:
    """The header of a dataset.

    Args:
        table: its rows. about: the description that its files get.
        define: its definition. referred: whether the define.xml is written beside it.
    """
    group = define.dataset(about.name)
    known = {item.name: (ref, item) for ref, item in define.variables(group)} if group else {}
    oids = define.names
    return Header(
        group.oid if group else f"IG.{about.name}",
        about.name,
        about.label,
        tuple(_variable(table, about.name, column, known.get(column.name)) for column in about.columns),
        table.num_rows,
        define.created,
        f"{oids.file}.{about.name}",
        define.originator,
        ("fhirspace", __version__),
        oids.study,
        oids.version,
        "define.xml" if referred else "",
    )


def _variable(table: pa.Table, dataset: str, column: Column, known: tuple[ItemRef, Item] | None) -> Variable:
    ref, item = known or (ItemRef(""), Item(f"IT.{dataset}.{column.name}", column.name))
    cells = table[column.name]
    kind = _number_type(cells, item) if column.type == "Num" else _text_type(cells, item)
    target = kind if kind == "decimal" else ""
    form = column.format or item.format
    return Variable(item.oid, column.name, column.label, kind, target, _length(column, item, cells), form, ref.key)


def _number_type(cells: pa.ChunkedArray, item: Item) -> str:
    texts = columns.distinct(cells)
    if all(_WHOLE.fullmatch(text) for text in texts):
        return item.type if item.type in ("float", "double") else "integer"
    if all(_FRACTION.fullmatch(text) and sum(map(str.isdigit, text)) <= _DIGITS for text in texts):
        return "double" if item.type == "double" else "float"
    return "decimal"


def _text_type(cells: pa.ChunkedArray, item: Item) -> str:
    if item.type == "boolean" and {*columns.distinct(cells)} <= {"true", "false"}:
        return "boolean"
    return item.type if item.type in DATES or item.type == "URI" else "string"


def _length(column: Column, item: Item, cells: pa.ChunkedArray) -> int | None:
    """The length of a text; of a date, which is known to have one, only where its file has another."""
    if column.type == "Num":
        return None
    if item.type in TEXT_TYPES:
        return item.length or column.length
    usual = DATE if item.type == "date" else cell_length(cells)
    return column.length if column.length != usual else None
