"""Units with the lines of their items, as they are sent together, and how they are divided."""

from __future__ import annotations

from collections.abc import Set

from fhirspace.delivery.push.bundles import Entry

Loaded = list[Entry]
"""A unit with the lines of its items."""


def flat(units: list[Loaded]) -> list[Entry]:
    """The entries of units, in order."""
    return [entry for unit in units for entry in unit]


def without(units: list[Loaded], answered: Set[int]) -> list[Loaded]:
    """The units without the entries (by position) that were answered."""
    places = iter(range(len(flat(units))))
    left = [[entry for entry in unit if next(places) not in answered] for unit in units]
    return [unit for unit in left if unit]


def smaller(units: list[Loaded], named: set[int]) -> list[list[Loaded]]:
    """Splits rejected units in order: those that the answer names (by entry) alone; halves if it names none."""
    marks = []
    position = 0
    for unit in units:
        marks.append(any(position <= entry < position + len(unit) for entry in named))
        position += len(unit)
    if all(marks) or not any(marks):
        half = len(units) // 2
        return [units[:half], units[half:]]
    cut: list[list[Loaded]] = []
    for index, (unit, mark) in enumerate(zip(units, marks, strict=True)):
        if mark or not cut or marks[index - 1]:
            cut.append([unit])
        else:
            cut[-1].append(unit)
    return cut
