"""The visits of records whose Encounter has an id that a server made.

We write the number of a visit into the id of its Encounter, so that a reference holds it. Where a server made the ids,
the Encounter that a record refers to is looked up in the input: its row in SV has the number.
"""

from __future__ import annotations

from collections.abc import Mapping as Table
from dataclasses import dataclass, field
from typing import Any, Final

import pyarrow as pa

from fhirspace.fhir.references import key_of
from fhirspace.json import JsonError, parse
from fhirspace.mapping.read.collect import ReadBatch
from fhirspace.sdtm import columns
from fhirspace.tables.text import has

_NUMBER: Final = "VISITNUM"
_ELEMENTS: Final = ("encounter", "context")

Line = tuple[str, int]
"""A file's name and a line."""
Place = tuple[str, int, str]
"""A line, and the path of an element that no mapping reads."""


@dataclass(slots=True)
class VisitScreen:
    """Notes, batch by batch, which Encounters have an id of a server, and which records refer to an Encounter."""

    _asked: dict[Line, tuple[str, str]] = field(init=False, default_factory=dict)
    """By line: the path of its reference, and ``Encounter/id``."""
    _encounters: dict[str, Line] = field(init=False, default_factory=dict)

    def apply(self, batch: ReadBatch, lines: Table[int, bytes], file: str) -> None:
        """Looks at what no mapping reads of a batch: ids of Encounters, and references to them.

        Args:
            batch: what some lines gave; lines: those lines; file: their file's name.
        """
        for line, path in batch.unmapped:
            element = path.partition(".")[2]
            if path == "Encounter.id":
                self._encounters[f"Encounter/{_resource(lines[line]).get('id')}"] = file, line
            elif element.removesuffix(".reference") in _ELEMENTS and element.endswith(".reference"):
                value = _resource(lines[line]).get(element.removesuffix(".reference"))
                text = value.get("reference") if isinstance(value, dict) else None
                if isinstance(text, str) and (key := key_of(text)):
                    self._asked[file, line] = path, key

    def numbered(self, tables: dict[str, pa.Table]) -> tuple[dict[str, pa.Table], set[Place]]:
        """The tables with the numbers of the visits that references lead to, and the places of these references."""
        found = self._numbers(tables["SV"]) if "SV" in tables and self._asked and self._encounters else {}
        read: set[Place] = set()
        if not found:
            return tables, read
        records = {name: table for name, table in tables.items() if name != "SV" and has(table, f"{name[:2]}SEQ")}
        return tables | {name: self._filled(table, found, read) for name, table in records.items()}, read

    def _numbers(self, visits: pa.Table) -> dict[str, tuple[str, str]]:
        """By Encounter, the subject and the number of its visit."""
        rows = {line: (subject, number) for line, subject, number in _rows(visits) if subject and number}
        return {key: rows[line] for key, line in self._encounters.items() if line in rows}

    def _filled(self, table: pa.Table, found: Table[str, tuple[str, str]], read: set[Place]) -> pa.Table:
        if not has(table, "@row") or not has(table, "USUBJID"):
            return table
        numbers: list[str | None] = []
        for line, subject, number in _rows(table):
            path, key = self._asked.get(line, ("", ""))
            whose, visit = found.get(key, ("", ""))
            fits = number is None and visit and whose == subject
            numbers.append(visit if fits else number)
            if fits:
                read.add((*line, path))
        return columns.put(table, _NUMBER, pa.array(numbers, pa.string())) if any(numbers) else table


def _rows(table: pa.Table) -> list[tuple[Line, str | None, str | None]]:
    """The line, the subject and the number of the visit of each row."""
    lines = zip(table["@file"].to_pylist(), table["@row"].to_pylist(), strict=True)
    subjects, numbers = columns.text(table, "USUBJID").to_pylist(), columns.text(table, _NUMBER).to_pylist()
    return list(zip(lines, subjects, numbers, strict=True))


def _resource(line: bytes) -> dict[str, Any]:
    try:
        resource = parse(line)
    except JsonError:
        return {}  # reported by the reader
    return resource if isinstance(resource, dict) else {}
