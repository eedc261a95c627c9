"""The cells of a row: forms spelt out when rows are written, the best candidates taken when they are read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping as Table

from fhirspace.mapping.model import Mapping
from fhirspace.template.slots import Form, Slot
from fhirspace.template.values import Candidates, virtual_cells


def with_forms(mapping: Mapping, cells: Table[str, str]) -> dict[str, str]:
    """The cells and, for each cell with forms, the virtual ones of the first form that fits.

    ``LBORRES.number`` holds the whole cell, ``LBORRES.number.value`` a part; empty parts are left out.
    """
    if not mapping.forms:
        return dict(cells)
    found = dict(cells)
    for column, forms in mapping.forms.items():
        if column in cells:
            found.update(virtual_cells(column, forms, cells[column]))
    return found


def best_cells(mapping: Mapping, candidates: Candidates) -> dict[str, str]:
    """The cells of a row from everything that was read: for each column the candidate of least rank, the first of
    equals.

    Virtual cells of a form are joined to the whole cell again.
    """
    best = least_ranked(candidates)
    cells = {column: cell for column, (_, cell) in best.items() if "." not in column}
    for column, forms in mapping.forms.items():
        if column not in cells and (whole := next(joined(column, forms, best), None)) is not None:
            cells[column] = whole
    return cells


def least_ranked(candidates: Candidates) -> dict[str, tuple[int, str]]:
    """The candidate that each column (real or virtual) takes: its rank and cell."""
    best: dict[str, tuple[int, str]] = {}
    for slot, cell in candidates:
        if slot.column not in best or slot.codec.rank < best[slot.column][0]:
            best[slot.column] = (slot.codec.rank, cell)
    return best


def joined(column: str, forms: Iterable[Form], best: Table[str, tuple[int, str]]) -> Iterator[str]:
    """The whole cell of each form of a column that was read, in their order: the first counts."""
    for form in forms:
        name = f"{column}.{form.name}"
        if name in best:
            yield best[name][1]
        elif any(isinstance(part, Slot) and f"{name}.{part.column}" in best for part in form.parts):
            yield "".join(
                part if isinstance(part, str) else best.get(f"{name}.{part.column}", (0, ""))[1] for part in form.parts
            )


def implied(mapping: Mapping) -> dict[str, str]:
    """The cells that follow from the dataset: DOMAIN, or RDOMAIN of a supplemental qualifier; none in RELREC."""
    if not mapping.code:
        return {}
    return {"RDOMAIN" if mapping.attach and mapping.attach.via else "DOMAIN": mapping.code}
