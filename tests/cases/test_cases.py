"""The cases of this folder: small inputs from the field, each with the right result of its commands.

A case is a folder with a ``case.toml``. Its files, and those written in ``[files]``, are the working directory:

    about = "An interval in a start date: AdverseEvent.date is what both ends have in common."

    [files]
    "in/dm.csv" = '''...'''

    [[run]]                                      # one command after the other
    command = "convert in --to fhir --out out"
    exit = 1                                     # 0 unless given
    codes = { FS737 = 2 }                        # all problems of the run and no others; left out: not looked at
    prints = ["2 rows"]                          # texts that are printed
    never = ["exact"]                            # texts that are not
    absent = ["out/fhir/Observation.ndjson"]     # files that are not written

    [run.tables."out/sdtm/ae.csv"]               # cells of a column, row by row; "" where it is empty or missing
    AESTDTC = ["2003-12-15"]

    [run.resources."out/fhir/AdverseEvent.ndjson"]   # an element, resource by resource; "" where it is absent
    date = ["2003-12-15"]
    "code.coding[0].code" = ["41931-8"]

``codes`` counts the lines of ``problems.ndjson`` of a conversion, and what is printed for each other command.
"""

from __future__ import annotations

import csv
import json
import re
import shlex
import shutil
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from fhirspace.cli import main

HERE = Path(__file__).parent
CASES = sorted(path.parent.relative_to(HERE).as_posix() for path in HERE.rglob("case.toml"))
SLOW = (
    "hard/", "columns/columns-dropped", "columns/code-lists-of-a-mapping-folder", "edited/derived-cells-without-a-basis",
    "repeats/a-s", "repeats/a-visit-twice", "zones/",
)  # fmt: skip
"""The beginnings of the names of cases that take half a second or more."""
RUN = {"command", "exit", "codes", "prints", "never", "absent", "tables", "resources"}


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
    for path, text in case.get("files", {}).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, "utf-8")
    monkeypatch.chdir(folder)
    for run in case["run"]:
        assert set(run) <= RUN
        code = main(shlex.split(run["command"]))
        shown = capsys.readouterr()
        _check(run, code, shown.out + shown.err)


def _check(run: dict[str, Any], code: int, printed: str) -> None:
    assert code == run.get("exit", 0), printed
    if "codes" in run:
        assert _codes(run["command"], printed) == run["codes"], printed
    assert [text for text in run.get("prints", []) if text not in printed] == [], printed
    assert [text for text in run.get("never", []) if text in printed] == [], printed
    assert [path for path in run.get("absent", []) if Path(path).exists()] == []
    for path, columns in run.get("tables", {}).items():
        assert {column: _cells(path, column) for column in columns} == columns, printed
    for path, elements in run.get("resources", {}).items():
        assert {element: _elements(path, element) for element in elements} == elements, printed


def _codes(command: str, printed: str) -> dict[str, int]:
    words = shlex.split(command)
    if "--out" in words and (problems := Path(words[words.index("--out") + 1], "problems.ndjson")).exists():
        return dict(Counter(json.loads(line)["code"] for line in problems.read_text("utf-8").splitlines()))
    found: Counter[str] = Counter()
    for code, line in re.findall(r"(?m)^(?:error|warning|note): (FS\d{3})(.*)", printed):
        times = re.search(r"\(([\d,]+) times", line)
        found[code] += int(times[1].replace(",", "")) if times else 1
    return dict(found)


def _cells(path: str, column: str) -> list[str]:
    with Path(path).open(encoding="utf-8", newline="") as stream:
        return [row.get(column) or "" for row in csv.DictReader(stream)]


def _elements(path: str, element: str) -> list[Any]:
    """The values of an element, resource by resource: one value, a list of several, or ""."""
    resources = [json.loads(line) for line in Path(path).read_text("utf-8").splitlines()]
    found = [_values(resource, re.findall(r"[^.\[\]]+", element)) for resource in resources]
    return [values[0] if len(values) == 1 else values or "" for values in found]


def _values(value: Any, steps: list[str]) -> list[Any]:
    if isinstance(value, list) and steps and steps[0].isdigit():
        return _values(value[int(steps[0])], steps[1:]) if int(steps[0]) < len(value) else []
    if isinstance(value, list):
        return [found for each in value for found in _values(each, steps)]
    if not steps:
        return [value]
    return _values(value[steps[0]], steps[1:]) if isinstance(value, dict) and steps[0] in value else []
