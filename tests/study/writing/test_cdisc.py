"""CDISC's own Dataset-JSON of its sample package: read as its transport files are, and written the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fhirspace.study.convert import convert
from fhirspace.tables import description, xpt
from fhirspace.tables.compare import compare
from fhirspace.tables.datasetjson.opening import FORMATS
from fhirspace.tables.datasetjson.reading import read
from tests.support.dataset_json import faults

FOLDER = Path(__file__).parents[4] / "shared" / "data" / "dataset-json"
NAMES = ("ae", "dm", "ds", "ex", "relrec", "se", "suppdm", "ta", "ts")
DECLARED = {
    "datasetJSONCreationDateTime": "when the file was made",
    "dbLastModifiedDateTime": "a date of a file system: not known",
    "fileOID": "of a file that others made",
    "originator": "that of the define.xml, which is shorter",
    "sourceSystem": "what made the file",
}
"""The attributes that may differ, and why."""


@pytest.fixture(scope="module")
def cdisc() -> Path:
    if not FOLDER.is_dir():
        pytest.skip(f"NOT CHECKED: CDISC's Dataset-JSON is not at {FOLDER}")
    return FOLDER


@pytest.fixture(scope="module")
def ours(msg20: Path, cdisc: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("cdisc")
    (home / "in").mkdir()
    for name in (*(f"{each}.xpt" for each in NAMES), "define.xml"):
        (home / "in" / name).write_bytes((msg20 / name).read_bytes())
    convert(home / "in", to="sdtm", out=home / "out", formats=tuple(FORMATS), derive=False)
    return home / "out" / "sdtm"


def loaded(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_bytes())
    return found


@pytest.mark.parametrize("name", NAMES)
def test_ours_is_theirs(name: str, ours: Path, cdisc: Path):
    theirs, mine = loaded(cdisc / f"{name}.json"), loaded(ours / f"{name}.json")
    assert faults(theirs) == []  # else our checks ask more than the specification does
    assert {key: value for key, value in mine.items() if key not in DECLARED} == {
        key: value for key, value in theirs.items() if key not in DECLARED
    }
    assert faults(mine) == []


@pytest.mark.parametrize("end", FORMATS.values())
@pytest.mark.parametrize("name", NAMES)
def test_theirs_is_read(name: str, end: str, cdisc: Path, msg20: Path):
    table, rejected, problems = read(cdisc / f"{name}.{end}")
    expected, _ = xpt.read(msg20 / f"{name}.xpt")
    assert compare(expected, table, ()) == [] and not len(rejected) and not problems
    mine, theirs = description.of(expected), description.of(table)
    assert (mine.name, mine.label) == (theirs.name, theirs.label)
    for one, other in zip(mine.columns, theirs.columns, strict=True):
        length = other.length if other.type == "Char" else 8
        assert (one.name, one.label, one.type, one.length) == (other.name, other.label, other.type, length)
