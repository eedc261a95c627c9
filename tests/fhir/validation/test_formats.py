"""Findings as lines for people and as SARIF, OperationOutcome and JSON for programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fhirspace.cli import main
from fhirspace.cli.findings import rule_of
from fhirspace.errors import Place, Problem
from fhirspace.fhir.validation.check import check

MANY = 300
WRONG = {
    "resourceType": "Observation",
    "status": "final",
    "code": {"text": "x"},
    "valueString": "x",
    "dataAbsentReason": {"text": "y"},
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "Observation.ndjson"
    path.write_text(f"{json.dumps(WRONG)}\n" * MANY + '{"resourceType":"Patient","gender":"m"}\n', "utf-8")
    return path


def printed(capsys: Any, file: Path, *options: str) -> str:
    capsys.readouterr()
    assert main(["validate", str(file), *options]) == 1
    return str(capsys.readouterr().out)


def test_equal_findings_are_one_line_with_the_key_of_the_rule(file: Path, capsys: Any) -> None:
    lines = printed(capsys, file).splitlines()
    assert len(lines) == 2
    assert f"({MANY} times; rows 1, 2, 3, 4, 5, ...)" in lines[0]
    assert "obs-6: " in lines[0]


def test_sarif_has_a_result_for_each_kind(file: Path, capsys: Any) -> None:
    (run,) = json.loads(printed(capsys, file, "--format", "sarif"))["runs"]
    assert [(each["ruleId"], each["level"], each["occurrenceCount"]) for each in run["results"]] == [
        ("obs-6", "error", MANY),
        ("FS417", "error", 1),
    ]
    first = run["results"][0]["locations"][0]
    assert first["physicalLocation"] == {
        "artifactLocation": {"uri": "Observation.ndjson"},
        "region": {"startLine": 1},
    }
    assert first["logicalLocations"] == [{"fullyQualifiedName": "Observation"}]
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == ["FS417", "obs-6"]
    assert [run["tool"]["driver"]["rules"][each["ruleIndex"]]["id"] for each in run["results"]] == ["obs-6", "FS417"]


def test_an_outcome_is_fhir(file: Path, capsys: Any) -> None:
    outcome = json.loads(printed(capsys, file, "--format", "outcome"))
    assert check(outcome) == []
    assert [(issue["code"], issue["expression"]) for issue in outcome["issue"]] == [
        ("invariant", ["Observation"]),
        ("code-invalid", ["Patient.gender"]),
    ]
    assert outcome["issue"][0]["diagnostics"] == f"obs-6 in Observation.ndjson:1, {MANY} times"
    file.write_text('{"resourceType":"Patient"}\n', "utf-8")
    capsys.readouterr()
    assert main(["validate", str(file), "--format", "outcome"]) == 0
    assert check(json.loads(capsys.readouterr().out)) == []


def test_lines_and_documents_of_json_have_each_finding(file: Path, capsys: Any) -> None:
    rows = [json.loads(line) for line in printed(capsys, file, "--format", "ndjson").splitlines()]
    assert len(rows) == MANY + 1
    assert (rows[0]["rule"], rows[0]["row"], rows[-1]["rule"]) == ("obs-6", 1, "FS417")
    document = json.loads(printed(capsys, file, "--format", "json"))
    assert document["findings"] == rows


@pytest.mark.parametrize(
    ("code", "expected", "rule"),
    [
        ("FS424", "bdl-3a: all", "bdl-3a"),
        ("FS415", "txt-1: a div", "txt-1"),
        ("FS424", "us-core-8: x", "us-core-8"),
        ("FS415", "date", "FS415"),
        ("FS433", "bodyweight: subject", "FS433"),
    ],
)
def test_rules_have_the_keys_of_hl7(code: str, expected: str, rule: str) -> None:
    assert rule_of(Problem(code, Place("x"), expected)) == rule
