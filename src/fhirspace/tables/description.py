"""What a file says of its dataset beside the cells: labels, types, lengths and formats, in the order of the columns.

While a table is in memory this is the metadata of its Arrow schema: the schema has the dataset's ``name`` and
``label``, each field its variable's ``label``, ``type``, ``length``, ``format`` and ``informat``. What a file does not
say is absent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from fhirspace.tables.text import is_reserved

Kind = Literal["Char", "Num"]


@dataclass(frozen=True, slots=True)
class Column:
    """A variable as its file describes it.

    Attributes:
        name, label: of the variable. type: None where the file has no types.
        length: in bytes; None where the file declares none.
        format, informat: as SAS writes them, such as ``DATE9.`` or ``8.2``.
    """

    name: str
    label: str = ""
    type: Kind | None = None
    length: int | None = None
    format: str = ""
    informat: str = ""


@dataclass(frozen=True, slots=True)
class Description:
    """A dataset as its file describes it: name, label, and its variables in their order."""

    name: str = ""
    label: str = ""
    columns: tuple[Column, ...] = ()

    @property
    def says_more(self) -> bool:
        """Whether anything is known but the names of the columns."""
        return bool(self.label) or any(column != Column(column.name) for column in self.columns)

    def column(self, name: str) -> Column | None:
        """The variable of this name."""
        return next((column for column in self.columns if column.name == name), None)


def of(table: pa.Table | pa.Schema) -> Description:
    """The description that a table, or its schema, has; the reserved columns are no part of it."""
    schema = table if isinstance(table, pa.Schema) else table.schema
    about = _texts(schema.metadata)
    columns = tuple(_column(field.name, _texts(field.metadata)) for field in schema if not is_reserved(field.name))
    return Description(about.get("name", ""), about.get("label", ""), columns)


def field_metadata(column: Column) -> dict[str, str]:
    """The metadata of a variable's field: what is known of it."""
    length = "" if column.length is None else str(column.length)
    pairs = {
        "label": column.label,
        "type": column.type or "",
        "length": length,
        "format": column.format,
        "informat": column.informat,
    }
    return {key: text for key, text in pairs.items() if text or (key == "label" and column.type)}


def described(table: pa.Table, description: Description) -> pa.Table:
    """The table with a description as the metadata of its schema; columns without one have no metadata."""
    known = {column.name: field_metadata(column) for column in description.columns}
    fields = [field.with_metadata(known.get(field.name) or None) for field in table.schema]
    about = {key: text for key, text in (("name", description.name), ("label", description.label)) if text}
    return pa.Table.from_arrays(table.columns, schema=pa.schema(fields, about or None))


def _column(name: str, about: Mapping[str, str]) -> Column:
    kind: Kind | None = "Num" if about.get("type") == "Num" else "Char" if about.get("type") == "Char" else None
    length = about.get("length", "")
    size = int(length) if length.isascii() and length.isdigit() and len(length) < 6 else 0
    return Column(
        name,
        about.get("label", ""),
        kind,
        size or None,
        about.get("format", ""),
        about.get("informat", ""),
    )


def _texts(metadata: Mapping[bytes, bytes] | None) -> dict[str, str]:
    """The pairs that are text: the metadata of a file may be anything."""
    pairs = {}
    for key, value in (metadata or {}).items():
        try:
            pairs[key.decode()] = value.decode()
        except UnicodeDecodeError:
            continue
    return pairs
