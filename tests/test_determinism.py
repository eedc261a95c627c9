"""The same input gives the same bytes, whatever the hash seed, the zone, the locale, the batches, or the workers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fhirspace.study.demo import sample

PROGRAM = """
import sys
from fhirspace.study import tabulation, to_fhir
from fhirspace.cli import main

if __name__ == "__main__":
    records, out, workers, batch = sys.argv[1:]
    # Small batches, so that a small study goes through several and through several processes.
    tabulation.BATCH = to_fhir.BATCH = int(batch)
    engine = ["--engine", "processes", "--workers", workers] if workers != "1" else []
    for target in ("fhir", "sdtm"):
        formats = ["--format", "xpt", "parquet", "csv"] if target == "sdtm" else []
        code = main(["convert", records, "--to", target, "--out", f"{out}/{target}", *engine, *formats])
        assert code == 0, code
"""

SURROUNDINGS: dict[str, tuple[dict[str, str], str, str]] = {
    "plain": ({"PYTHONHASHSEED": "0", "TZ": "UTC", "LC_ALL": "C"}, "1", "500"),
    "seed 1, far zone, one batch": (
        {"PYTHONHASHSEED": "1", "TZ": "Pacific/Kiritimati", "LC_ALL": "tr_TR.UTF-8"},
        "1",
        "32768",
    ),
    "random seed, two workers": (
        {"PYTHONHASHSEED": "random", "TZ": "America/St_Johns", "LC_ALL": "C.UTF-8", "PYTHONUTF8": "0"},
        "2",
        "500",
    ),
}


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("program") / "program.py"
    path.write_text(PROGRAM, "utf-8")
    return path


def files(program: Path, out: Path, name: str) -> dict[str, Any]:
    """SHA-256 and size of all files of both conversions, as their manifests tell them."""
    surroundings, workers, batch = SURROUNDINGS[name]
    command = [sys.executable, str(program), str(sample() / "records"), str(out), workers, batch]
    done = subprocess.run(command, env=os.environ | surroundings, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {target: json.loads((out / target / "manifest.json").read_bytes()) for target in ("fhir", "sdtm")}


@pytest.fixture(scope="module")
def plain(program: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return files(program, tmp_path_factory.mktemp("plain"), "plain")


@pytest.mark.parametrize("name", [name for name in SURROUNDINGS if name != "plain"])
def test_the_same_input_gives_the_same_bytes(name: str, program: Path, plain: dict[str, Any], tmp_path: Path) -> None:
    found = files(program, tmp_path, name)
    assert found == plain
    assert len(found["fhir"]["files"]) > 10
    assert {path.rpartition(".")[2] for path in found["sdtm"]["files"]} >= {"xpt", "parquet", "csv"}
