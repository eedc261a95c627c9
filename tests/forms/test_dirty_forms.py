"""The law of `test_dirty_cells` over all shipped forms and over generated ones, and in each row that should have it.

Dates, numbers and units are replaced by dirty ones. Each filled cell of a column that a variable has a slot for is
then in such a variable, or a problem names its column, or its record is quarantined. What is in a variable is looked
up by the reader of its cell in the rows with the constants of its line, not by what the writer says of itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from random import Random

import pyarrow as pa
import pytest

from fhirspace.forms.carried import SAYS_UNKNOWN
from fhirspace.forms.library import SourceForm, SourceLibrary
from fhirspace.forms.model import Cell, Line, reader
from fhirspace.forms.to_sdtm import rows as write_rows
from fhirspace.tables import csv
from fhirspace.tables.text import FILE, ROW, data_columns
from fhirspace.template.folders import shipped

ROOT = Path(__file__).parents[2]
SAMPLES = sorted(path.name for path in (ROOT / "samples").iterdir() if path.is_dir())
SOURCES = [name for name in SAMPLES if (shipped() / "sources" / name).is_dir()]  # the others read what views make
DATES = [
    "05 MAR 2024", "UN MAR 2024", "UN UNK 2024", "05-Mar-2024", "5MAR2024", "2024-03-05", "2024-03", "2024", "5.3.2024",
    "03/04/2025", "31 FEB 2024", "soon", "UNK", "--:--", "2024-03-05/2024-03-07", "2024-03-05 10:00", "20240305", "45356",
    "08:30", "8:30", "24:00", "noon", "P1D", "3 days",
]  # fmt: skip
NUMBERS = [
    "10",
    ".94",
    "070",
    "1.0",
    "1,5",
    "1E2",
    "ten",
    "<5",
    "> 3",
    "NaN",
    "1/2",
    "١",
    "-0",
    "5 - 7",
    "1 000",
    "0x1F",
]
UNITS = ["mg", "milligram", "µg", "μg", "MG", "10^9/L", "mmHg", "°C", "%", "kg ", "Yes", "1", "Checked", "Unknown"]
DIRTY = [*DATES, *NUMBERS, *UNITS]
Records = list[dict[str, str | None]]


def lost(form: SourceForm, records: Records) -> Iterator[str]:
    """The cells that no variable has, that no problem names, and whose record is not quarantined."""
    names = list(records[0])
    table = pa.table({name: pa.array([record[name] for record in records], pa.string()) for name in names})
    table = table.append_column(FILE, pa.array([f"{form.name}.csv"] * len(records)))
    table = table.append_column(ROW, pa.array(range(2, len(records) + 2), pa.int64()))
    made = write_rows(form.mapping, table)
    reported = {(problem.place.row, problem.place.column) for problem in made.problems}
    gone = set(made.quarantined[ROW].to_pylist()) if made.quarantined.num_rows else set()
    rows: dict[tuple[str, int], list[dict[str, str]]] = {}
    for dataset, some in made.tables.items():
        for row in some.to_pylist():
            rows.setdefault((dataset, row[ROW]), []).append(row)
    for place, record in enumerate(records, 2):
        for name in names if place not in gone else ():
            text, slots = record[name], list(_cells(form, name))
            if not text or not slots or name in form.mapping.key or re.fullmatch(SAYS_UNKNOWN[1:-1], text):
                continue
            if any(text == each.text for each in form.mapping.sources[name]):
                continue  # that a variable is empty, or that a row was written, says as much
            there = any(
                _holds(cell, name, row.get(variable))
                for dataset, line, variable, cell in (*slots, *_given(form, name))
                for row in rows.get((dataset, place), [])
                if _is_of(line, row)
            )
            if not there and not reported & {(place, name), (1, name)}:
                yield f"{form.name}.{name}: {text!r}"


def _cells(form: SourceForm, name: str) -> Iterator[tuple[str, Line, str, Cell]]:
    for document, line in form.mapping.lines:
        for variable, cell in line.cells:
            if any(slot.base == name for slot in cell.slots):
                yield document.dataset, line, variable, cell


def _given(form: SourceForm, name: str) -> Iterator[tuple[str, Line, str, Cell]]:
    """The variables that have no slot for the column, but a value that is given for its cells."""
    for document, line in form.mapping.lines:
        for variable, cell in line.cells:
            if name in dict(cell.readable_columns()) and all(slot.base != name for slot in cell.slots):
                yield document.dataset, line, variable, cell


def _is_of(line: Line, row: dict[str, str]) -> bool:
    constants = ((variable, cell.constant) for variable, cell in line.cells)
    return all(row.get(variable) == cell for variable, cell in constants if cell is not None)


def _holds(cell: Cell, name: str, text: str | None) -> bool:
    """Whether a text gives back something of the column; a code list that is not read back needs only be filled."""
    if not text:
        return False
    back = {column.partition(".")[0] for column in reader(cell)(text)}
    return name in back or name not in {column.partition(".")[0] for column, _ in cell.readable_columns()}


def dirtied(records: Records, key: tuple[str, ...], columns: set[str], rng: Random) -> Records:
    """Forty records of given ones with dirty cells in some columns, each with a key of its own."""
    made: Records = []
    for number in range(40):
        record = dict(rng.choice(records))
        for name in sorted(columns - set(key)):
            if rng.random() < 0.35:
                record[name] = rng.choice(DIRTY)
        made.append(record | {key[-1]: str(number)} if key[-1] not in ("visit", "visit_name") else record)
    return made


@cache
def source(name: str) -> dict[str, SourceForm]:
    return SourceLibrary(name).forms


def _shipped() -> list[tuple[str, str]]:
    return [(name, form) for name in SOURCES for form in source(name)]


@pytest.mark.parametrize(("name", "form"), _shipped())
def test_dirty_cells_of_shipped_forms(name: str, form: str, seeds: range = range(2)) -> None:
    mapping = source(name)[form]
    table = csv.read(ROOT / "samples" / name / "records" / f"{form}.csv")[0]
    records = table.select(data_columns(table)).slice(0, 30).to_pylist()
    slots = {slot.base for _, line in mapping.mapping.lines for _, cell in line.cells for slot in cell.slots}
    for seed in seeds:
        unique: dict[tuple[str | None, ...], dict[str, str | None]] = {}
        for record in dirtied(records, mapping.mapping.key, slots, Random(seed)):
            unique[tuple(record[each] for each in mapping.mapping.key)] = record
        assert list(lost(mapping, list(unique.values()))) == []


VARIABLES = {
    "EX": (["EXSTDTC", "EXENDTC"], ["EXDOSE", "EXPSTRGU"], ["EXDOSU", "EXDOSTXT", "EXROUTE"]),
    "AE": (["AESTDTC", "AEENDTC"], ["AELLTCD", "AEDUR"], ["AESPID", "AELOC", "AEACNOTH"]),
    "CM": (["CMSTDTC", "CMENDTC"], ["CMDOSE", "CMDOSTOT"], ["CMDOSU", "CMDOSTXT", "CMROUTE"]),
    "VS": (["VSDTC"], ["VSSTRESN", "VSTPTNUM"], ["VSORRES", "VSORRESU", "VSLOC"]),
    "LB": (["LBDTC", "LBENDTC"], ["LBSTNRLO", "LBSTNRHI"], ["LBORRES", "LBORRESU", "LBSPEC"]),
    "MH": (["MHSTDTC", "MHENDTC"], ["MHLLTCD"], ["MHBODSYS", "MHLOC"]),
}
_DATE = [
    "<{0}>", "<{0} day>", "<{0} day+>", "<{0} day(DD/MM/YYYY)>", "<{0} day(DD MMM YYYY)>", "<{0} datetime>", "<{0} date+>",
    "{{one of: [<{0} day+>T<{1} time+>, <{0} day+>]}}", "<{0} day>T<{1} time>",
]  # fmt: skip
_NUMBER = [
    "<{0} decimal>",
    "<{0} decimal+>",
    "<{0} integer>",
    "<{0} integer+>",
    "{{one of: [<{0} integer+>, <{0} decimal+>]}}",
]
_TEXT = [
    "<{0}>", "<{0} codes(LIST)>", "<{0} codes+(LIST)>", "<{0} decimal+>", "<{0} checkbox(Yes/1)>", "<{0} decimal>",
    "{{one of: [{{when: {1}, text: <{0}>}}]}}", "{{one of: [<{0} codes(LIST)>, <{0}>]}}", "<{0}> <{1}>",
]  # fmt: skip


def generated(rng: Random) -> tuple[str, list[str]]:
    """The YAML of a form of one dataset or two, and its columns."""
    columns = ["id"]
    documents: list[str] = []
    for dataset in rng.sample(sorted(VARIABLES), rng.choice([1, 2])):
        lines = ["", f"makes: {dataset}", f"when: {rng.choice(['id', columns[-1]])}", "rows:"]
        lines += ["  STUDYID: T", "  USUBJID: T-<id>", f"  {dataset}GRPID: G{len(documents)}"]
        for variables, shapes in zip(VARIABLES[dataset], (_DATE, _NUMBER, _TEXT), strict=True):
            for variable in variables:
                name, other = (f"{part}{len(columns)}" for part in ("c", "d"))
                shape = rng.choice(shapes)
                lines.append(f"  {variable}: {shape.format(name, other)}")
                columns += [name, other] if "{1}" in shape else [name]
        documents.append("\n".join(lines))
    head = "form: f\nkey: [id]\ncodes: {LIST: {mg: mg, milligram: mg, Yes: Y, '1': ONE}}"
    return "\n---".join([head, *documents]), columns


def hold(seed: int, folder: Path) -> list[str]:
    rng = Random(seed)
    text, columns = generated(rng)
    folder.mkdir()
    (folder / "f.yaml").write_text(text, "utf-8")
    form = SourceLibrary(folder).forms["f"]
    empty: dict[str, str | None] = dict.fromkeys(columns)
    return list(lost(form, dirtied([empty], ("id",), set(columns), rng)))


@pytest.mark.parametrize("seed", range(12))
def test_dirty_cells_of_generated_forms(seed: int, tmp_path: Path) -> None:
    assert hold(seed, tmp_path / "forms") == []
