"""What is quoted of an OperationOutcome, and what never is."""

from __future__ import annotations

import json

import pytest

from fhirspace.fhir.outcome import failures, issues, reason, suspects

CANARY = "Jane-Canary-1970"


def outcome(*items: object) -> bytes:
    return json.dumps({"resourceType": "OperationOutcome", "issue": list(items)}).encode()


def rule(code: str, system: str = "http://hl7.org/fhir/java-core-messageId") -> dict[str, object]:
    return {"coding": [{"system": system, "code": code}], "text": CANARY}


@pytest.mark.parametrize(
    ("issue", "expected"),
    [
        ({"code": "processing", "expression": ["Patient.gender"]}, "processing at Patient.gender"),
        ({"code": "processing", "location": [f"Patient.name.where(family='{CANARY}')"]}, "processing"),
        (
            {"code": "value", "expression": ["Bundle.entry[1].resource/*Patient/p1*/.name[0]"]},
            "value at Bundle.entry[1].resource.name[0]",
        ),
        ({"code": "processing", "details": rule("Terminology_TX_NoValid_16")}, "processing Terminology_TX_NoValid_16"),
        (
            {"code": "processing", "details": rule("http://hl7.org/fhir/StructureDefinition/Bundle#bdl-7")},
            "processing Bundle#bdl-7",
        ),
        ({"code": "processing", "details": rule(CANARY)}, "processing"),
        ({"code": "processing", "details": rule("Jane", "http://other.example")}, "processing"),
        (
            {
                "code": "processing",
                "diagnostics": f"HAPI-1094: {CANARY} not found, specified in path: Observation.subject.where(x)",
            },
            "processing HAPI-1094 at Observation.subject",
        ),
        ({"code": CANARY, "diagnostics": CANARY}, ""),
    ],
)
def test_place_and_rule_are_quoted_and_no_value(issue: dict[str, object], expected: str) -> None:
    body = outcome({"severity": "error", "diagnostics": f"'{CANARY}' is wrong", **issue})
    assert reason(body) == expected
    assert CANARY not in repr(issues(body))


def test_warnings_are_no_failures_and_repeats_are_said_once() -> None:
    error = {"severity": "error", "code": "invalid"}
    others = [{"severity": "fatal", "code": f"code-{letter}"} for letter in "abcd"]
    body = outcome({"severity": "warning", "code": "informational"}, error, error, *others)
    assert len(issues(body)) == 7
    assert len(failures(body)) == 6
    assert reason(body) == "invalid; code-a; code-b and 2 more"


def test_the_entries_of_failures_are_suspects() -> None:
    body = outcome(
        {"severity": "error", "expression": ["Bundle.entry[3].resource.status"], "location": ["Bundle.entry[3]"]},
        {"severity": "error", "expression": ["Bundle.entry[12]"]},
        {"severity": "warning", "expression": ["Bundle.entry[5]"]},
    )
    assert suspects(body) == {3, 12}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b'{"resourceType":"Patient"}',
        b"\xff",
        outcome(),
        b'{"resourceType":"OperationOutcome","issue":5}',
    ],
)
def test_what_is_no_outcome_says_nothing(body: bytes) -> None:
    assert reason(body) == ""
    assert suspects(body) == set()
