"""The cases of this folder: small inputs from the field, each with the right result of its commands.

A case is a folder with a ``case.toml``: ``about`` says in a sentence what it is, the rest is described in
`tests.support.cases`. The folder, with the files written in ``[files]``, is copied and is the working directory.
"""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path

import pytest

from tests.support.cases import run_case, write_files

HERE = Path(__file__).parent
CASES = sorted(path.parent.relative_to(HERE).as_posix() for path in HERE.rglob("case.toml"))
SLOW = (
    "hard/", "columns/columns-dropped", "columns/code-lists-of-a-mapping-folder", "edited/derived-cells-without-a-basis",
    "repeats/a-s", "repeats/a-visit-twice", "zones/",
)  # fmt: skip
"""The beginnings of the names of cases that take half a second or more."""


def test_cases_are_found() -> None:
    assert CASES


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name.startswith(SLOW) else []) for name in CASES]
)
def test_case(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    case = tomllib.loads((HERE / name / "case.toml").read_text("utf-8"))
    assert set(case) <= {"about", "files", "run"} and case["about"] and case["run"]
    folder = tmp_path / "case"
    shutil.copytree(HERE / name, folder)
    write_files(case, folder)
    monkeypatch.chdir(folder)
    run_case(case, lambda: "".join(capsys.readouterr()))
