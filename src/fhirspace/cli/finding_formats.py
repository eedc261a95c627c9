"""Findings for programs: a line of JSON each, a SARIF log, a FHIR OperationOutcome.

A log and an outcome have one entry for each kind of finding in a file, with its number and first places, so that a
hundred thousand equal faults stay readable. Source: SARIF 2.1.0 (OASIS), FHIR "OperationOutcome".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from fhirspace.cli.findings import Group, rule_of
from fhirspace.errors import Problem, explain
from fhirspace.foreign import counted
from fhirspace.sarif import log

_KINDS: Final = {
    "FS417": "code-invalid",
    "FS426": "code-invalid",
    "FS427": "code-invalid",
    "FS424": "invariant",
    "FS425": "invariant",
    "FS433": "invariant",
    "FS412": "required",
    "FS435": "not-found",
    "FS436": "duplicate",
    "FS415": "value",
    "FS401": "structure",
    "FS402": "structure",
    "FS411": "structure",
    "FS414": "structure",
    "FS434": "informational",
}
"""Codes of FHIR's issue types; "invalid" for others."""
_SEVERITIES: Final = {"error": "error", "warning": "warning", "note": "information"}


def row(problem: Problem) -> dict[str, Any]:
    """A finding as one object: that of ``problems.ndjson``, with the key of the rule that it breaks."""
    return {**problem.as_dict(), "rule": rule_of(problem)}


def sarif(groups: Sequence[Group]) -> dict[str, Any]:
    """A SARIF log: a result for each group, with the files, lines and elements of the first findings."""
    rules = sorted({rule_of(group.first): group.first for group in groups}.items())
    places = {name: at for at, (name, _) in enumerate(rules)}
    described = [
        {
            "id": name,
            "shortDescription": {"text": explain(problem.code).sentence},
            "help": {"text": explain(problem.code).fix},
            "defaultConfiguration": {"level": problem.level},
            "properties": {"code": problem.code},
        }
        for name, problem in rules
    ]
    results = [
        {
            "ruleId": rule_of(group.first),
            "ruleIndex": places[rule_of(group.first)],
            "level": group.first.level,
            "message": {"text": _message(group.first)},
            "locations": [_location(problem) for problem in group.some],
            "occurrenceCount": group.count,
        }
        for group in groups
    ]
    return log(described, results)


def _message(problem: Problem) -> str:
    sentence = explain(problem.code).sentence
    return f"{sentence} Expected {problem.expected}." if problem.expected else sentence


def _location(problem: Problem) -> dict[str, Any]:
    place = problem.place
    physical: dict[str, Any] = {"artifactLocation": {"uri": place.file}}
    if place.row:
        physical["region"] = {"startLine": place.row}
    found: dict[str, Any] = {"physicalLocation": physical}
    if place.column:
        found["logicalLocations"] = [{"fullyQualifiedName": place.column}]
    return found


def outcome(groups: Sequence[Group]) -> dict[str, Any]:
    """An OperationOutcome: an issue for each group; one that says so where there is none."""
    issues = [_issue(group) for group in groups]
    fine = {"severity": "information", "code": "informational", "details": {"text": "No findings."}}
    return {"resourceType": "OperationOutcome", "issue": issues or [fine]}


def _issue(group: Group) -> dict[str, Any]:
    problem = group.first
    place = problem.place
    times = f", {counted(group.count, 'time')}" if group.count > 1 else ""
    where = ":".join(str(part) for part in (place.file, place.row) if part is not None)
    issue: dict[str, Any] = {
        "severity": _SEVERITIES[problem.level],
        "code": _KINDS.get(problem.code, "invalid"),
        "details": {"text": _message(problem)},
        "diagnostics": f"{rule_of(problem)} in {where}{times}",
    }
    if place.column:
        issue["expression"] = [place.column]
    return issue
