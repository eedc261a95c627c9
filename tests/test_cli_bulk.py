"""Bulk transfer on the command line: the options reach the functions, and the exit code says how it went."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fhirspace.cli import main
from fhirspace.delivery.bulk.load import BulkReport
from fhirspace.delivery.pull.pull import PullReport
from fhirspace.errors import Place, Problem

URL = "https://x/fhir"


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the functions behind the commands were called with; `stored` of 5 resources are reported as stored."""
    seen: dict[str, Any] = {"stored": 5}

    def push(folder: Path, server: str, **more: Any) -> BulkReport:
        seen.update(more, folder=folder, server=server)
        more["progress"](5, 5)
        problems = [Problem("FS562", Place("Patient.ndjson"), "5 resources stored")] if seen["stored"] < 5 else []
        return BulkReport(server, more["shape"], 5, seen["stored"], problems=problems)

    def pull(server: str, study: str, out: Path, **more: Any) -> PullReport:
        seen.update(more, study=study, out=out)
        more["progress"]("files", 2)
        return PullReport(server, study, {"Patient": 5}, problems=[Problem("FS566", Place(server), "no error")])

    monkeypatch.setattr("fhirspace.delivery.bulk.load.bulk_push", push)
    monkeypatch.setattr("fhirspace.delivery.bulk.export.bulk_pull", pull)
    return seen


@pytest.mark.parametrize(("stored", "code"), [(5, 0), (4, 3)])
def test_push(called: dict[str, Any], stored: int, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    called["stored"] = stored
    arguments = ["--bulk", "--bulk-shape", "google", "--bulk-from", "gs://b/in", "--fhir", "R4", "--json"]
    assert main(["push", "study", "--server", URL, *arguments]) == code
    said = capsys.readouterr()
    assert ("FS562" in said.err) == bool(code)
    assert json.loads(said.out)["stored"] == stored
    chosen = {name: called[name] for name in ("folder", "server", "shape", "source", "bind", "fhir")}
    assert chosen == {
        "folder": Path("study"), "server": URL, "shape": "google", "source": "gs://b/in", "bind": "127.0.0.1", "fhir": "R4"
    }  # fmt: skip


@pytest.mark.parametrize(("level", "expected"), [([], ""), (["--bulk-level", "Group/g-1"], "Group/g-1")])
def test_pull(called: dict[str, Any], level: list[str], expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--types", "Patient", "Group", "--since", "2026-03-01", "--connections", "2", *level]
    assert main(["pull", "--server", URL, "--study", "S", "--out", "o", "--bulk", *arguments]) == 1, (
        "it is not complete"
    )
    chosen = {name: called[name] for name in ("study", "out", "types", "since", "connections", "level")}
    assert chosen == {
        "study": "S", "out": Path("o"), "types": ["Patient", "Group"], "since": "2026-03-01", "connections": 2, "level": expected
    }  # fmt: skip
    said = capsys.readouterr()
    assert "warning: FS566" in said.err
    assert "total: 5" in said.out
