"""Columns that are computed: local times, the phase, the visit, cells of the enrolment table, extremes of a view."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.sdtm.columns import Groups
from fhirspace.tables.text import TEXT, decode
from fhirspace.views.notation.model import Computed, View, ViewSet
from fhirspace.views.reading.blocks import nothing
from fhirspace.views.records import holds
from fhirspace.views.subjects import END, FIRST_DOSE, KEYS, START, Enrolment
from fhirspace.views.times import Windows, local, moment, phase, study_day

ENROLLED: Final = "@enrolled"
"""The column with the row of the enrolment table."""
Columns = Mapping[str, pa.Array]


@dataclass
class Context:
    """What columns are computed from.

    Attributes:
        views: the views. enrolment: its table, None: without one. windows: of visits.
        columns: of each view, those with addresses, `ENROLLED` and the patient. joined: what conditions name besides.
    """

    views: ViewSet
    enrolment: Enrolment | None
    windows: Windows
    columns: Mapping[str, Columns]
    joined: Mapping[str, Columns] = field(default_factory=dict)

    def computed(self, view: View) -> dict[str, pa.Array]:
        """All columns of a view, its dates in local time, and those that every record has."""
        given = self.local(view)
        made = {name: cells for name, cells in given.items() if name != ENROLLED}
        if self.enrolment is not None:
            made |= {
                name: self.enrolment.take(name, given[ENROLLED]) for name in KEYS if name in self.enrolment.columns
            }
        for name, each in view.columns.items():
            if isinstance(each, Computed) and name not in given:
                made[name] = self._column(each, given)
        return made

    def local(self, view: View) -> dict[str, pa.Array]:
        """The columns of a view with its dates in the local time of the subject's site."""
        given = dict(self.columns[view.name])
        zones = self.views.zones
        if not zones:
            return given
        sites = self._enrolled("SITEID", given[ENROLLED])
        for name in view.times & given.keys():
            given[name] = _grouped((given[name], sites), partial(_local, zones))
        return given

    def _knows(self, name: str) -> bool:
        return self.enrolment is not None and name in self.enrolment.columns

    def _enrolled(self, name: str, rows: pa.Array) -> pa.Array:
        return self.enrolment.take(name, rows) if self.enrolment else nothing(len(rows))

    def _column(self, each: Computed, given: Columns) -> pa.Array:
        rows = given[ENROLLED]
        if each.kind == "enrolment":
            return self._enrolled(each.column, rows)
        if each.kind in ("least", "greatest"):
            return _looked_up(self.extreme(each), rows)
        if each.kind == "unless":
            return _unless(given[each.column], given[each.other])
        if each.kind == "phase":
            if not self._knows(START):
                return nothing(len(rows))
            return _grouped((given[each.column], self._enrolled(START, rows), self._enrolled(END, rows)), phase)
        return self._visits(each, given)

    def _visits(self, each: Computed, given: Columns) -> pa.Array:
        rows = given[ENROLLED]
        if not self.windows.windows or not self.day_one:
            return nothing(len(rows))
        number = each.kind == "visit number"

        def visit(text: str | None, day_one: str | None) -> str | None:
            found = self.windows.at(study_day(text, day_one))
            return None if found is None else found.number if number else found.label

        return _grouped((given[each.column], _looked_up(self.day_one, rows)), visit)

    @cached_property
    def day_one(self) -> dict[int, str]:
        """The date that study days count from, by row of the enrolment table."""
        cells = self.enrolment.column(FIRST_DOSE) if self.enrolment else []
        found = {row: cell for row, cell in enumerate(cells) if cell}
        return {**(self.extreme(self.views.day_one) if self.views.day_one else {}), **found}

    def extreme(self, each: Computed) -> dict[int, str]:
        """The least or greatest date in a column of a view, by row of the enrolment table.

        What the view leaves does not count: a dose after the participation is not the last one of the study.
        """
        view = self.views.views[each.view]
        if each.view not in self.columns:
            return {}
        given = self.local(view)
        found: dict[int, str] = {}
        best = min if each.kind == "least" else max
        cells = (given[ENROLLED].to_pylist(), given[each.column].to_pylist(), self._kept(view, given).to_pylist())
        for row, text, kept in zip(*cells, strict=True):
            if row is not None and text and kept:
                found[row] = best(found.get(row, text), text, key=moment)
        return found

    def _kept(self, view: View, given: Columns) -> pa.Array:
        """The candidates that the conditions of ``left:`` let pass.

        Those that name a visit or a date of another view are not asked: these depend on extremes themselves.
        """
        known: dict[str, pa.Array] = {**self.joined.get(view.name, {}), **given}
        for name, each in view.columns.items():
            if isinstance(each, Computed) and each.kind in ("phase", "enrolment"):
                known[name] = self._column(each, given)
        keep = pa.repeat(pa.scalar(True), len(given[ENROLLED]))
        for _, cond in view.left:
            if set(cond.columns()) <= known.keys():
                keep = pc.and_(keep, pc.invert(pc.fill_null(holds(cond, known), False)))
        return keep


def _unless(cells: pa.Array, others: pa.Array) -> pa.Array:
    """The others where there is no text."""
    if not cells.null_count:
        return nothing(len(cells))
    return pc.if_else(pc.is_valid(cells), pa.scalar(None, TEXT), decode(others))


def _local(zones: Mapping[str, str], text: str | None, site: str | None) -> str | None:
    zone = zones.get(site or "", zones.get("", ""))
    return local(text, zone) if text and zone else text


def _grouped(arrays: tuple[pa.Array, ...], function: Callable[..., str | None]) -> pa.Array:
    """A function of the cells of some columns, called once for each combination."""
    names = [str(at) for at in range(len(arrays))]
    groups = Groups(pa.table(dict(zip(names, arrays, strict=True))), names)
    return groups.spread(function(*cells) for cells in groups.cells)


def _looked_up(found: Mapping[int, str], rows: pa.Array) -> pa.Array:
    encoded = rows.dictionary_encode()
    cells = [found.get(row) for row in encoded.dictionary.to_pylist()]
    return pa.array(cells, TEXT).take(encoded.indices)
