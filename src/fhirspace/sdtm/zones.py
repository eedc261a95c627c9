"""The declared time zone of a study, its sites or forms: times get their offset for FHIR, and lose it on the way back.

SDTM has local times without an offset, FHIR has none without. Where ``study.yaml`` declares a zone, a time of day to
the minute gets the offset that the zone has at that moment. A time that the zone has twice or not at all (when clocks
change) gets none: it is not certain which moment it is. Coming from FHIR, an offset that a declared zone has at that
moment is taken away; any other is part of the time.

The zone of a form is that of the dates which it writes. A date that no form writes (a derived one) gets an offset only
if no form has another zone than its subject: nobody knows where it was taken from.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pyarrow as pa

from fhirspace.sdtm import columns
from fhirspace.sdtm.derive.design import StudyDesign
from fhirspace.standards import iso8601
from fhirspace.tables.text import FORM, data_columns

_LOCAL = re.compile(r"(\d{4}-\d{2}-\d{2}T\d{2}:\d{2})(:\d{2}(?:\.\d+)?)?(Z|[+-]\d{2}:\d{2})?", re.ASCII)


def with_offsets(tables: Mapping[str, pa.Table], design: StudyDesign) -> dict[str, pa.Table]:
    """The tables with the offsets of the declared zones in their dates (variables --DTC)."""
    if not design.declared_zones:
        return dict(tables)
    sites = columns.lookup(tables["DM"], "USUBJID", "SITEID") if "DM" in tables else {}
    by_subject = {subject: design.zones.get(site, design.zone) for subject, site in sites.items()}
    return {name: _localised(name, table, by_subject, design) for name, table in tables.items()}


def _localised(name: str, table: pa.Table, by_subject: Mapping[str, str], design: StudyDesign) -> pa.Table:
    for column in _dates(table):
        groups = columns.Groups(table, ("USUBJID", FORM, column))
        zone = _Zone(design, name, column)
        cells = [
            _moved(cell, zone.of(form or "", by_subject.get(subject or "", design.zone)))
            for subject, form, cell in groups.cells
        ]
        table = columns.put(table, column, groups.spread(cells))
    return table


class _Zone:
    """The time zone of one date variable, row by row."""

    def __init__(self, design: StudyDesign, dataset: str, column: str) -> None:
        writers = [form for form in design.forms if form.dataset == dataset and column in form.variables]
        self._by_form = {form.form: form.zone for form in writers}
        self._all = {form.zone for form in design.forms}
        self._merged = any(form.merged for form in writers)

    def of(self, form: str, subject: str) -> str:
        """The zone of a row; empty where none is declared, or several ones and it is not known which it is.

        Args:
            form: that made the row, empty if it is not known; subject: the zone of the subject.
        """
        if form in self._by_form and not self._merged:
            return self._by_form[form] or subject
        written = self._by_form and (self._merged or not form)
        names = set(self._by_form.values()) if written else {"", *self._all}
        possible = {name or subject for name in names}
        return possible.pop() if len(possible) == 1 else ""


def without_offsets(tables: Mapping[str, pa.Table], design: StudyDesign) -> dict[str, pa.Table]:
    """The tables without the offsets that a declared zone has; the inverse of `with_offsets`."""
    zones = design.declared_zones
    return {name: _plain(table, zones) for name, table in tables.items()} if zones else dict(tables)


def _plain(table: pa.Table, zones: Collection[str]) -> pa.Table:
    for column in _dates(table):
        values = columns.by_distinct(columns.text(table, column), lambda cell: _stripped(cell, zones), pa.string())
        table = columns.put(table, column, values)
    return table


def _dates(table: pa.Table) -> list[str]:
    return [name for name in data_columns(table) if name.endswith("DTC") and columns.filled(table, name)]


def _moved(cell: str | None, zone: str) -> str | None:
    """A time with the offset of its zone; each end of an interval for itself; any other cell as it is."""
    if cell is None or not zone or "T" not in cell:
        return cell
    return "/".join(_with_offset(part, zone) for part in cell.split("/"))


def _with_offset(text: str, zone: str) -> str:
    found = _LOCAL.fullmatch(text)
    offset = _offset(found[1], zone) if found and not found[3] and iso8601.valid(text) else None
    return text if offset is None else text + offset


def _stripped(cell: str, zones: Collection[str]) -> str:
    if "T" not in cell:
        return cell
    return "/".join(_without_offset(part, zones) for part in cell.split("/"))


def _without_offset(text: str, zones: Collection[str]) -> str:
    found = _LOCAL.fullmatch(text)
    if not found or not found[3] or not iso8601.valid(text):
        return text
    own = found[3] in {_offset(found[1], zone) for zone in zones}
    return text.removesuffix(found[3]) if own else text


def _offset(local: str, zone: str) -> str | None:
    """The offset of a zone at a local time; None where the time is there twice or not at all."""
    moment = datetime.fromisoformat(local)
    early, late = (moment.replace(tzinfo=ZoneInfo(zone), fold=fold).utcoffset() for fold in (0, 1))
    if early is None or early != late or early % timedelta(minutes=1):
        return None
    minutes = early // timedelta(minutes=1)
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"
