"""A law over all mappings: a cell that `validate` calls clean is refused by no slot, so that `convert` writes its row."""

from __future__ import annotations

from functools import cache

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from fhirspace.mapping.library import Library
from fhirspace.mapping.model import Mapping, slots
from fhirspace.mapping.write.render import render
from fhirspace.sdtm import conformance
from fhirspace.standards import sdtm, terminology
from fhirspace.standards.fhir import Release
from fhirspace.template.codec import CellError
from fhirspace.template.slots import Slot
from tests.mapping.generate import CLEAN, rows

RELEASES: tuple[Release, ...] = ("R4", "R5")
ODD = [
    "2025-08-10", "2025-08", "2025", "2025---10", "--08-10", "-----T07:15", "2025-08-10T10:30", "2025-08-10T10:30Z",
    "2025-08-10T10:30-0330", "2025-08-10T10:30+14:00", "2025-08-10T23:59:60Z", "2025-08-10T14:30:60", "0000-01-01",
    "2025-08-10/2025-08-12", "2025-08-10/P3D", "P1D/2025-08-10", "2025-02-30", "2025-08-10T24:00", "2025-8-1",
    "P1D", "-P1D", "+P2W", "PT1.5H", "P1W2D", "P", "1 week",
    "1", "1.0", "01", "070", ".94", "1.", "-0", "+3", "1E2", "1e-3", "1.5", " 5", "5 ", "1,5", "1 000", "NaN", "",
    "12345678901234567890.5", "1234567890", "0.12345678901234567890", "1e400", "<5", "-7",
    "Y", "N", "U", "NA", "y", "YES", "X", "Fever", "CFU/mL",
]  # fmt: skip
_NUMBERS = st.from_regex(r"[ ]?[+-]?[0-9]{0,12}\.?[0-9]{0,4}([eE][+-]?[0-9]{1,2})?[ ]?", fullmatch=True)
_DATES = st.from_regex(
    r"(20[0-9]{2}|-)(-([01][0-9]|-)(-([0-3][0-9]|-)(T([0-2][0-9]|-)(:[0-6][0-9]){0,2}(Z|[+-]1[0-9]:?[0-6]0)?)?)?)?",
    fullmatch=True,
)
_DURATIONS = st.from_regex(r"[+-]?P([0-9]{1,2}[YMWD]){0,2}(T([0-9]{1,2}(\.5)?[HMS]){0,2})?", fullmatch=True)
_KINDS = ("DTC", "DOSE", "ORRES", "DUR", "STRESN", "ELTM", "SEQ")


@cache
def library(release: Release) -> Library:
    return Library(release)


def _closed(mapping: Mapping) -> dict[str, list[Slot]]:
    """By column, the slots that refuse cells."""
    found: dict[str, list[Slot]] = {}
    for root in mapping.roots():
        for _, slot in slots(root):
            if not slot.codec.open and not slot.derived and "." not in slot.column:
                found.setdefault(slot.column, []).append(slot)
    return found


def _refused(mapping: Mapping, column: str, found: list[Slot], values: list[str]) -> list[tuple[str, str, str]]:
    """The cells that the checks find no error in, and a slot refuses."""
    variable = sdtm.variable(mapping.domain, column) if sdtm.known(mapping.domain) else None
    terms = (
        [term for code in variable.codelists if terminology.known(code) for term in terminology.codelist(code).terms]
        if variable
        else []
    )
    cells = [*values, *terms]
    wrong = _wrong(mapping.domain, column, tuple(cells))
    refused = []
    for row, cell in enumerate(cells):
        if cell and row not in wrong:
            for slot in found:
                try:
                    slot.codec.out(cell)
                except CellError as error:
                    refused.append((column, cell, error.code))
    return refused


@cache
def _wrong(domain: str, column: str, cells: tuple[str, ...]) -> frozenset[int | None]:
    """The rows in which the checks find an error, whatever release they are converted to."""
    table = pa.table({column: pa.array([cell or None for cell in cells], pa.string())})
    return frozenset(
        row
        for problem, row in conformance.check({domain: table})
        if problem.level == "error" and problem.place.column == column
    )


@pytest.mark.slow
@pytest.mark.parametrize("release", RELEASES)
def test_no_slot_refuses_a_clean_cell(release: Release) -> None:
    refused = [
        (name, *each)
        for name, mapping in library(release).complete().items()
        if not name.startswith("SUPP")
        for column, found in _closed(mapping).items()
        for each in _refused(mapping, column, found, ODD)
    ]
    assert refused == []


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(values=st.lists(st.one_of(_NUMBERS, _DATES, _DURATIONS), min_size=1, max_size=8))
def test_no_slot_refuses_a_clean_cell_of_any_spelling(values: list[str]) -> None:
    for name in ("AE", "EX", "LB", "MH", "SV", "VS"):
        mapping = library("R4").mappings[name]
        for column, found in _closed(mapping).items():
            variable = sdtm.variable(name, column)
            if variable is not None and (variable.type == "Num" or column.endswith(("DTC", "DUR", "ELTM"))):
                assert _refused(mapping, column, found, values) == []


@pytest.mark.parametrize("name", ["AE", "CM", "EX", "LB", "MH", "PR", "SV", "VS"])
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_a_clean_row_with_an_odd_cell_is_written(name: str, data: st.DataObject) -> None:
    mapping = library("R4").mappings[name]
    row = data.draw(rows(mapping, library("R4"), CLEAN))
    columns = {slot.base for root in mapping.roots() for _, slot in slots(root) if not slot.derived}
    column = data.draw(st.sampled_from(sorted(each for each in columns if each.endswith(_KINDS))))
    cell = data.draw(st.sampled_from([value for value in ODD if value]))
    table = pa.table({each: [text] for each, text in (row.cells | {column: cell}).items()})
    errors = [problem for problem, _ in conformance.check({name: table}) if problem.level == "error"]
    if not errors:
        render(mapping, row.cells | row.helpers | {column: cell})
