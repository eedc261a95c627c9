"""The same input gives the same bytes, whatever the hash seed, the zone, the locale, the batches, or the workers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.study.space_study import Space

PROGRAM = """
import sys
from fhirspace.study import dataset as tabulation, to_fhir
from fhirspace.cli import main

if __name__ == "__main__":
    records, out, workers, batch = sys.argv[1:]
    # Small batches, so that a small study goes through several and through several processes.
    tabulation.BATCH = to_fhir.BATCH = int(batch)
    engine = ["--engine", "processes", "--workers", workers] if workers != "1" else []
    for target in ("fhir", "sdtm"):
        formats = ["--format", "xpt", "parquet", "csv", "--define", "--no-rules"] if target == "sdtm" else []
        code = main(["convert", records, "--to", target, "--out", f"{out}/{target}", *engine, *formats])
        assert code == 0, code
"""

SURROUNDINGS: dict[str, tuple[dict[str, str], str, str]] = {
    "seed 1, far zone, many batches": (
        {"PYTHONHASHSEED": "1", "TZ": "Pacific/Kiritimati", "LC_ALL": "tr_TR.UTF-8"},
        "1",
        "150",
    ),
    "random seed, two workers": (
        {"PYTHONHASHSEED": "random", "TZ": "America/St_Johns", "LC_ALL": "C.UTF-8", "PYTHONUTF8": "0"},
        "2",
        "120",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SURROUNDINGS)
def test_the_same_input_gives_the_same_bytes(name: str, three: Space, tmp_path: Path) -> None:
    """In other surroundings the same as in those in which the tests run."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM, "utf-8")
    surroundings, workers, batch = SURROUNDINGS[name]
    command = [sys.executable, str(program), str(three.records), str(tmp_path), workers, batch]
    done = subprocess.run(command, env=os.environ | surroundings, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = {target: json.loads((tmp_path / target / "manifest.json").read_bytes()) for target in ("fhir", "sdtm")}
    for target, made in (("fhir", three.fhir()), ("sdtm", three.sdtm())):
        assert found[target] == json.loads((made.out / "manifest.json").read_bytes())
    assert len(found["fhir"]["files"]) > 10
    assert {path.rpartition(".")[2] for path in found["sdtm"]["files"]} >= {"xpt", "parquet", "csv"}
