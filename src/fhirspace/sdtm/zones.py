"""The declared time zone of a study, its sites or forms: times get their offset for FHIR, and lose it on the way back.

SDTM has local times without an offset, FHIR has none without. Where ``study.yaml`` declares a zone, a time of day to
the minute gets the offset that the zone has at that moment. A time that the zone has twice or not at all (when clocks
change) gets none: it is not certain which moment it is. Of an interval both ends get one, unless an end has its own.

FHIR carries beside a row which of its dates got an offset, and of which zone (`LOCAL`), so that the cells come back as
they were, whoever reads it: an offset that is the zone's is taken away, one that came with the cell is not. Of a date
of which nothing is carried (other people's elements, older output) an offset of a declared zone is taken away. What
was carried stays with the row that was read (`MARK`): written again, it gives the same FHIR.

The zone of a form is that of the dates which it writes. A date that no form writes (a derived one) gets an offset only
if no form has another zone than its subject: nobody knows where it was taken from.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.sdtm import columns
from fhirspace.sdtm.derive.design import StudyDesign
from fhirspace.standards import iso8601
from fhirspace.standards.timezones import is_zone
from fhirspace.tables.text import FORM, data_columns, has

LOCAL: Final = "local-times"
"""The name under which `MARK` is carried: no SAS name, so that no variable has it."""
MARK: Final = "@local"
"""The column with the dates of a row and their zones: ``AESTDTC[Europe/Berlin] AEENDTC[]``; no zone: own offset."""

_LOCAL = re.compile(r"(\d{4}-\d{2}-\d{2}T\d{2}:\d{2})(:\d{2}(?:\.\d+)?)?(Z|[+-]\d{2}:\d{2})?", re.ASCII)
_MARKED = re.compile(r"(\w{1,8})\[([^\]]{0,64})\]", re.ASCII)


def declared(tables: Iterable[pa.Table], design: StudyDesign) -> bool:
    """Whether any time has a zone: that of the study, or of the FHIR that it was read from."""
    return bool(design.declared_zones) or any(has(table, MARK) for table in tables)


def with_offsets(tables: Mapping[str, pa.Table], design: StudyDesign) -> dict[str, pa.Table]:
    """The tables with the offsets of the declared zones in their dates (variables --DTC), and `MARK`."""
    if not declared(tables.values(), design):
        return dict(tables)
    sites = columns.lookup(tables["DM"], "USUBJID", "SITEID") if "DM" in tables else {}
    by_subject = {subject: design.zones.get(site, design.zone) for subject, site in sites.items()}
    return {name: _localised(name, table, by_subject, design) for name, table in tables.items()}


def _localised(name: str, table: pa.Table, by_subject: Mapping[str, str], design: StudyDesign) -> pa.Table:
    marks = []
    for column in sorted(_dates(table)):
        groups = columns.Groups(table, ("USUBJID", FORM, MARK, column))
        zone = _Zone(design, name, column)
        found = [
            _timed(cell or "", mark, column, zone.of(form or "", by_subject.get(subject or "", design.zone)), design)
            for subject, form, mark, cell in groups.cells
        ]
        table = columns.put(table, column, groups.spread(cell or None for cell, _ in found))
        marks.append(groups.spread(mark for _, mark in found))
    return _with_marks(table, marks)


def _timed(cell: str, mark: str | None, column: str, zone: str, design: StudyDesign) -> tuple[str, str | None]:
    """A date with the offset of its zone, and what `MARK` says of it."""
    known = dict(_MARKED.findall(mark or "")).get(column)
    if known is not None:
        return _moved(cell, _marked(mark, column, "")), f"{column}[{known}]"
    moved = _moved(cell, zone)
    if moved != cell:
        return moved, f"{column}[{zone}]"
    return cell, f"{column}[]" if _stripped(cell, design.declared_zones) != cell else None


def _with_marks(table: pa.Table, marks: list[pa.Array]) -> pa.Table:
    """The table with what `MARK` says of each date, joined."""
    filled = [each for each in marks if each.null_count < len(each)]
    if not filled:
        return table.drop_columns([MARK]) if has(table, MARK) else table
    # Null handling "skip" of the join would drop a row without any mark (pyarrow 26).
    spaced = [pc.fill_null(pc.binary_join_element_wise(each, "", " "), "") for each in filled]
    joined = pc.utf8_rtrim_whitespace(pc.binary_join_element_wise(*spaced, ""))
    return columns.put(table, MARK, pc.if_else(pc.equal(joined, ""), pa.scalar(None, pa.string()), joined))


def _marked(mark: str | None, column: str, otherwise: str) -> str:
    """The zone that a mark names for a date (empty: the date has its own offset); `otherwise` where it says nothing."""
    zone = dict(_MARKED.findall(mark or "")).get(column)
    return otherwise if zone is None or (zone and not is_zone(zone)) else str(zone)


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


def without_offsets(tables: Mapping[str, pa.Table], zones: Collection[str]) -> dict[str, pa.Table]:
    """The inverse of `with_offsets`, by what was carried (`LOCAL`, which becomes `MARK`), else by declared zones."""
    return {name: _plain(table, zones) for name, table in tables.items()}


def as_collected(table: pa.Table) -> pa.Table:
    """A table without the offsets that `with_offsets` gave it."""
    return _plain(table, ()) if has(table, MARK) else table


def _plain(table: pa.Table, zones: Collection[str]) -> pa.Table:
    if has(table, LOCAL):
        marks = columns.text(table, LOCAL)
        table = columns.put(table.drop_columns([LOCAL]), MARK, marks)
    for column in _dates(table) if zones or has(table, MARK) else ():
        groups = columns.Groups(table, (MARK, column))
        cells = [_stripped(cell or "", _zones_of(mark, column, zones)) for mark, cell in groups.cells]
        table = columns.put(table, column, groups.spread(cell or None for cell in cells))
    return table


def _zones_of(mark: str | None, column: str, zones: Collection[str]) -> Collection[str]:
    """The zones whose offsets a date may have got."""
    zone = _marked(mark, column, "?")
    return zones if zone == "?" else {zone} - {""}


def _dates(table: pa.Table) -> list[str]:
    return [name for name in data_columns(table) if name.endswith("DTC") and columns.filled(table, name)]


def _moved(cell: str, zone: str) -> str:
    """A time with the offset of its zone, an interval with that of each end; any other cell as it is."""
    if not zone or "T" not in cell:
        return cell
    ends = cell.split("/")
    own = any(found and found[3] for found in map(_LOCAL.fullmatch, ends))
    return cell if own else "/".join(_with_offset(end, zone) for end in ends)


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
