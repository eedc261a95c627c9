"""The audit of the locked packages: an advisory fails, a service that cannot be reached is said loudly and does not."""

from __future__ import annotations

import json
from types import ModuleType
from typing import Any

import pytest

SCRIPT = "audit"
CLEAN = {"name": "idna", "version": "3.20", "vulns": []}
BAD = {"name": "idna", "version": "3.6", "vulns": [{"id": "PYSEC-1", "fix_versions": ["3.7"]}]}
OPEN = {"name": "tqdm", "version": "4", "vulns": [{"id": "PYSEC-2", "fix_versions": []}]}
UNKNOWN = {"name": "lxml", "skip_reason": "Dependency not found"}


@pytest.mark.parametrize(
    ("code", "packages", "said", "expected"),
    [
        (0, [CLEAN], "", ("clean", "1 packages")),
        (1, [CLEAN, BAD], "Found 1 known vulnerability", ("advisories", "idna 3.6: PYSEC-1, fixed in 3.7")),
        (1, [OPEN, UNKNOWN], "", ("advisories", "tqdm 4: PYSEC-2, fixed in no version")),
        (0, [CLEAN, UNKNOWN], "", ("failed", "not audited: lxml")),
        (0, [UNKNOWN, UNKNOWN], "", ("unreachable", "none of the packages")),
        (0, [], "No known vulnerabilities found", ("failed", "No known")),
        (1, None, "requests.exceptions.ConnectionError: Failed to resolve", ("unreachable", "Failed to resolve")),
        (1, None, "ReadTimeout: 15", ("unreachable", "15")),
        (1, None, "No module named pip_audit", ("failed", "No module")),
        (2, None, "", ("failed", "ended with 2")),
    ],
)
def test_what_pip_audit_says_is_understood(
    script: ModuleType, code: int, packages: Any, said: str, expected: tuple[str, str]
) -> None:
    report = "" if packages is None else json.dumps({"dependencies": packages, "fixes": []})
    found = script.judged(code, report, said)
    assert found.state == expected[0]
    assert expected[1] in found.lines[0]


@pytest.mark.parametrize(
    ("states", "code"),
    [
        (["clean"], 0),
        (["advisories"], 1),
        (["failed"], 2),
        (["unreachable", "clean"], 0),
        (["unreachable", "advisories"], 1),
        (["unreachable", "unreachable"], 0),
    ],
)
def test_the_second_service_is_asked_where_the_first_is_not_there(
    script: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    states: list[str],
    code: int,
) -> None:
    left = list(states)
    monkeypatch.setattr(script, "audit", lambda _: script.Outcome(left.pop(0)))
    assert script.main() == code
    assert left == []
    assert ("NOT AUDITED" in capsys.readouterr().out) == (states[-1] == "unreachable")
