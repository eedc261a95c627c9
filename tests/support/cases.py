'''Runs the commands of a case and holds what they give against what the case expects.

What a case says, in TOML::

    [files]                                      # files that it needs, beside those of its folder
    "in/dm.csv" = """..."""

    [[run]]                                      # one command after the other
    command = "convert in --to fhir --out out"
    exit = 1                                     # 0 unless given
    codes = { FS737 = 2 }                        # all problems of the run and no others; left out: not looked at
    reports = ["FS737"]                          # problems that are among them
    prints = ["2 rows"]                          # texts that are printed
    never = ["exact"]                            # texts that are not
    absent = ["out/fhir/Observation.ndjson"]     # files that are not written

    [run.tables."out/sdtm/ae.csv"]               # cells of a column, row by row; "" where it is empty or missing
    AESTDTC = ["2003-12-15"]

    [run.resources."out/fhir/AdverseEvent.ndjson"]   # an element, resource by resource; "" where it is absent
    date = ["2003-12-15"]
    "code.coding[0].code" = ["41931-8"]

``codes`` counts the lines of ``problems.ndjson`` of a conversion, and what is printed for each other command.
'''

from __future__ import annotations

import csv
import json
import re
import shlex
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fhirspace.cli import main

RUN = {"command", "exit", "codes", "reports", "prints", "never", "absent", "tables", "resources"}


def write_files(case: dict[str, Any], folder: Path) -> None:
    """Write the files that the case has in its text."""
    for path, text in case.get("files", {}).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, "utf-8")


def run_case(
    case: dict[str, Any],
    printed: Callable[[], str],
    execute: Callable[[list[str]], int] = main,
    after: Callable[[], object] = dict,
) -> None:
    """Run the commands of a case in the working directory.

    Args:
        case: what its TOML says.
        printed: gives what was printed since it was last asked.
        execute: runs a command, given as words, and gives its exit code.
        after: is called after each command, before its files are looked at.
    """
    for run in case["run"]:
        assert set(run) <= RUN
        code = execute(shlex.split(run["command"]))
        after()
        _check(run, code, printed())


def _check(run: dict[str, Any], code: int, printed: str) -> None:
    assert code == run.get("exit", 0), printed
    if "codes" in run:
        assert _codes(run["command"], printed) == run["codes"], printed
    assert set(run.get("reports", [])) <= set(_codes(run["command"], printed)), printed
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
