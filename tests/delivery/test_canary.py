"""A secret in every element of what is delivered shows up nowhere but on the server, and in dead letters."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fhirspace.cli import main
from fhirspace.testing import CANARY, Fault, FaultyServer, serving

from .resources import dump, observation, organization, patient, study, write

_NAMES = {"resourceType", "id", "reference", "meta", "status"}


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    with serving() as faulty:
        yield faulty


def secret(node: Any) -> Any:
    """The same with the canary in every text but those that FHIR needs to be what they are."""
    if isinstance(node, dict):
        return {name: value if name in _NAMES else secret(value) for name, value in node.items()}
    return [secret(item) for item in node] if isinstance(node, list) else f"{CANARY} {node}"


def resources(turn: int) -> dict[str, list[str]]:
    """Resources of several types, with nested elements of several kinds."""
    rich = {
        "identifier": [{"system": "urn:mrn", "value": "4711"}],
        "name": [{"family": "x", "given": ["y", "z"]}],
        "address": [{"line": ["a"], "city": "b"}],
        "birthDate": f"1970-01-0{turn}",
        "extension": [{"url": "urn:x", "valueString": "c"}],
        "text": {"status": "generated", "div": "<div>d</div>"},
        "contained": [{"resourceType": "Basic", "id": "in", "code": {"text": "e"}}],
    }
    seen = [json.loads(observation(f"ob-{number}", "p-1", '"5.50"', note=[{"text": "f"}])) for number in range(12)]
    found = {
        "Patient": [secret(patient("p-1") | rich)],
        "Observation": [secret(each) for each in seen],
        "Organization": [secret(organization())],
        "ResearchStudy": [secret(study())],
    }
    return {kind: [dump(each) for each in items] for kind, items in found.items()}


def test_no_value_gets_into_talk_books_or_addresses(
    server: FaultyServer, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FHIRSPACE_STATE", str(tmp_path / "state"))
    monkeypatch.setattr("fhirspace.delivery.client.Client.wait", lambda *given: None)
    folder, there = tmp_path / "in", ["--server", server.url]
    mine = str(folder)
    bad = {"Observation/ob-3"}
    server.refuse = lambda body: f"{body['resourceType']}/{body['id']}" in bad
    write(folder, resources(1))
    said = []

    def run(codes: set[int], *command: str) -> None:
        for more in ([], ["--json"]):
            assert main([*command, *more]) in codes, command
            told = capfd.readouterr()
            said.append(told.out + told.err)

    run({0}, "plan", mine, *there)
    server.faults.extend(["broken", "reset_after", "cut_json"])
    run({3}, "push", mine, *there)
    run({0}, "verify", "last", *there)
    write(folder, resources(2))
    server.faults.append(Fault("entry_precondition", where=lambda *asked: asked == ("PUT", "Patient/p-1")))
    run({0}, "plan", mine, *there)
    run({3}, "push", mine, *there)
    dead = [file.stat().st_mode for file in (folder / "dead").iterdir() if CANARY.encode() in file.read_bytes()]
    bad.clear()
    run({0, 2}, "retry", mine, *there)  # the second time there is nothing
    server.store["Patient/p-1"] = server.store["Patient/p-1"].replace(b"urn:x", CANARY.encode() + b"-theirs")
    run({0, 1}, "verify", "last", *there)
    run({0, 1}, "undo", "last", *there)
    for command in (["status"], ["runs"], ["runs", "audit"]):
        run({0}, *command, mine)
    run({0}, "pull", *there, "--study", "TRIAL01", "--out", str(tmp_path / "out"))
    server.faults.append(Fault("broken", times=99))
    assert main(["push", mine, *there]) == 4
    said.append("".join(capfd.readouterr()))

    assert CANARY.encode() in b"".join(server.store.values()), "it was there to be told"
    assert dead, "dead letters hold the resource and what the server said"
    assert {stat.S_IMODE(mode) for mode in dead} == {0o600}
    assert CANARY not in "\n".join(said)
    books = [file for name in ("in/*.db*", "in/audit*", "state/**/*") for file in tmp_path.glob(name) if file.is_file()]
    assert {file.name for file in books} >= {"journal.db", "plan.db", "audit.log", "journals.txt"}
    assert [file.name for file in books if CANARY.encode() in file.read_bytes()] == []
    assert not any(CANARY in str(path) for path in tmp_path.rglob("*"))
    assert not any(CANARY in request.place or CANARY in str(request.query) for request in server.requests)
