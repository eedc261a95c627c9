"""Rows to FHIR, row by row: the meaning of a mapping, and the path of rows that are wrong.

The kernel makes the same bytes many times faster; tests compare the two.
"""

from __future__ import annotations

from collections.abc import Mapping as Table, Sequence
from typing import Final

from fhirspace.foreign import counted
from fhirspace.mapping.cells import best_cells, implied, with_forms
from fhirspace.mapping.model import Mapping
from fhirspace.mapping.write.nodes import Row, resources
from fhirspace.template.values import Fault


class BadRow(Exception):
    """A row that cannot be written: all its faults at once."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = list(dict.fromkeys(faults))
        super().__init__(counted(len(self.faults), "fault"))


CARRIED_FAULTS: Final = frozenset({"FS202", "FS203", "FS204", "FS205", "FS206", "FS207", "FS208", "FS209"})
"""Faults of cells that no element can hold, but an extension can: they are carried there, and the row is written."""


def render(
    mapping: Mapping,
    cells: Table[str, str],
    each: Table[str, Sequence[str]] | None = None,
    *,
    tolerated: list[Fault] | None = None,
) -> list[tuple[str, str]]:
    """The resources of a row as (resource type, JSON text without line end); of a nested domain the one item.

    Args:
        mapping: the domain's mapping.
        cells: the filled cells of the row by column, computed helpers (``_X``) among them.
        each: the JSON texts of the items nested in this row's resource, by domain, in order.
        tolerated: gets the faults of cells that are carried; without it a row that has any fault is a bad row.

    Raises:
        BadRow: with every fault of the row.
    """
    row = Row(with_forms(mapping, cells), each or {})
    made = resources(mapping, row)
    faults = row.faults
    if tolerated is not None and all(fault.code in CARRIED_FAULTS for fault in faults):
        tolerated += dict.fromkeys(faults)
        faults = []
    if not faults:
        back = implied(mapping) | best_cells(mapping, row.candidates)
        shared = mapping.attach.on if mapping.attach else ()
        carried = {
            name: cell
            for name, cell in cells.items()
            if name[0] not in "_@" and name not in shared and back.get(name) != cell
        }
        if carried:
            row = Row(row.cells, row.each, carried)
            made = resources(mapping, row)
    if faults:
        raise BadRow(faults)
    return made
