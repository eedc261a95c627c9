"""The visits of records whose Encounter has an id that a server made.

We write the number of a visit into the id of its Encounter, so that a reference holds it. Where a server made the ids,
the Encounter that a record refers to is looked up in the input: its row in SV has the number. A logical reference has
the identifier of that Encounter instead of its id.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping as Table, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import pyarrow as pa

from fhirspace.fhir.references import parsed
from fhirspace.json import JsonError, parse
from fhirspace.mapping.library import Library
from fhirspace.mapping.read.collect import ReadBatch
from fhirspace.sdtm import columns
from fhirspace.tables.text import has

_NUMBER: Final = "VISITNUM"
_REFERENCE: Final = re.compile(r"(.*?)([^.]+)\.(reference|identifier)")
"""A reference in a path: what it is an element of, its own name, and how it names the Encounter."""
_ELEMENTS: Final = ("encounter", "context", "valueReference")
_STEP: Final = re.compile(r"([^.\[\]]+)(?:\[(\d+)\])?")

Line = tuple[str, int]
"""A file's name and a line."""
Place = tuple[str, int, str]
"""A line, and the path of an element that no mapping reads."""


class Asked(NamedTuple):
    """Path of a reference, what it names (``Encounter/id``, or the identifier of a visit), and its server if any."""

    path: str = ""
    named: str = ""
    base: str = ""


@dataclass(slots=True)
class VisitScreen:
    """Notes, batch by batch, which Encounters have an id of a server, and which records refer to an Encounter.

    Args:
        library: the mappings by which the batches are read.
    """

    library: Library
    _asked: dict[Line, dict[str, Asked]] = field(init=False, default_factory=dict)
    """By line and sequence number of a nested row, "" for the row of the resource itself."""
    _encounters: dict[str, Line] = field(init=False, default_factory=dict)
    _bases: set[str] = field(init=False, default_factory=set)
    """The servers that absolute references name: of two, both may have an Encounter of the same id."""

    def apply(self, batch: ReadBatch, lines: Table[int, bytes], file: str) -> None:
        """Looks at what no mapping reads of a batch: ids of Encounters, and references to them.

        Args:
            batch: what some lines gave; lines: those lines; file: their file's name.
        """
        for line, path in batch.unmapped:
            element = path.partition(".")[2]
            if path == "Encounter.id":
                self._encounters[f"Encounter/{_resource(lines[line]).get('id')}"] = file, line
            elif (found := _REFERENCE.fullmatch(element)) and found[2] in _ELEMENTS:
                items = _along(_resource(lines[line]), found[1])
                asked = self._asks(path, items[-1].get(found[2])) if items else None
                if asked and asked.named:
                    self._asked.setdefault((file, line), {})[_sequence(items)] = asked
                    self._bases |= {asked.base} - {""}

    def _asks(self, path: str, reference: Any) -> Asked | None:
        """The Encounter that a reference names, by its place or by the identifier of a visit."""
        held = reference if isinstance(reference, dict) else {}
        text, identifier = held.get("reference"), held.get("identifier")
        if isinstance(text, str):
            found = parsed(text)
            return Asked(path, found.key, found.base) if found and found.type == "Encounter" else None
        visits = self.library.mappings.get("SV")
        systems = {block.system for block in visits.blocks} if visits else set[str]()
        if isinstance(identifier, dict) and identifier.get("system") in systems:
            return Asked(path, str(identifier.get("value")))
        return None

    def numbered(self, tables: dict[str, pa.Table]) -> tuple[dict[str, pa.Table], set[Place]]:
        """The tables with the numbers of the visits that references lead to, and the places of these references."""
        found = self._numbers(tables["SV"]) if "SV" in tables and self._asked else {}
        read: set[Place] = set()
        if not found:
            return tables, read
        records = {name: table for name, table in tables.items() if name != "SV" and has(table, f"{name[:2]}SEQ")}
        return tables | {name: self._filled(name, table, found, read) for name, table in records.items()}, read

    def _numbers(self, visits: pa.Table) -> dict[str, tuple[str, str]]:
        """By Encounter, and by its identifier, the subject and the number of its visit."""
        rows = {line: (subject, number) for line, subject, number, _ in _rows("SV", visits) if subject and number}
        named = {f"{subject}|{number}": (subject, number) for subject, number in rows.values()}
        return named | {key: rows[line] for key, line in self._encounters.items() if line in rows}

    def _filled(self, domain: str, table: pa.Table, found: Table[str, tuple[str, str]], read: set[Place]) -> pa.Table:
        if not has(table, "@row") or not has(table, "USUBJID"):
            return table
        numbers: list[str | None] = []
        nested = self.library.mappings[domain].attach is not None
        for line, subject, number, sequence in _rows(domain, table):
            asked = self._asked.get(line, {}).get((sequence or "") if nested else "", Asked())
            whose, visit = found.get(asked.named, ("", ""))
            certain = not asked.base or len(self._bases) == 1
            fits = number is None and visit and whose == subject and certain
            numbers.append(visit if fits else number)
            if fits:
                read.add((*line, asked.path))
        return columns.put(table, _NUMBER, pa.array(numbers, pa.string())) if any(numbers) else table


def _rows(domain: str, table: pa.Table) -> Iterator[tuple[Line, str | None, str | None, str | None]]:
    """The line, the subject, the number of the visit and the sequence number of each row."""
    lines = zip(table["@file"].to_pylist(), table["@row"].to_pylist(), strict=True)
    several = (columns.text(table, name).to_pylist() for name in ("USUBJID", _NUMBER, f"{domain[:2]}SEQ"))
    yield from zip(lines, *several, strict=True)


def _along(resource: dict[str, Any], path: str) -> list[dict[str, Any]]:
    """The objects on the way to an element, the resource first; empty if one of them is none."""
    found: list[dict[str, Any]] = [resource]
    for step in _STEP.finditer(path):
        value = found[-1].get(step[1])
        if step[2]:
            value = value[int(step[2])] if isinstance(value, list) and int(step[2]) < len(value) else None
        if not isinstance(value, dict):
            return []
        found.append(value)
    return found


def _sequence(items: Sequence[dict[str, Any]]) -> str:
    """The sequence number of the nested row that holds an element, "" in the row of the resource itself."""
    for item in items[1:]:
        for each in extensions if isinstance(extensions := item.get("extension"), list) else ():
            if isinstance(each, dict) and str(each.get("url")).rpartition("/")[2] == "seq":
                return str(each.get("valueInteger"))
    return ""


def _resource(line: bytes) -> dict[str, Any]:
    try:
        resource = parse(line)
    except JsonError:
        return {}  # reported by the reader
    return resource if isinstance(resource, dict) else {}
