"""A secret in every element of what is delivered shows up nowhere but on the server, and in dead letters."""

from __future__ import annotations

import json
import logging
import stat
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fhirspace.cli import main
from fhirspace.delivery.audit.log import AUDIT
from fhirspace.delivery.plan.plan import PLAN, plan
from fhirspace.delivery.pull.pull import pull
from fhirspace.delivery.push.push import push, retry
from fhirspace.delivery.undo import undo
from fhirspace.delivery.verify import verify
from fhirspace.errors import FhirspaceError
from fhirspace.fhirserver.http.client import Client
from fhirspace.testing import CANARY, FAULTS, Fault, FaultyServer, serving
from tests.support.filled import CANARIES, canaries, filled, types
from tests.support.resources import observation, organization, write

SERVERS: dict[str, dict[str, Any]] = {
    "transactions": {},
    "batches": {"bundle_types": {"batch"}},
    "single requests": {"bundle_types": {"history-system"}},
    "ids of the server": {"client_ids": False},
    "ids of the server, single requests": {"client_ids": False, "bundle_types": {"history-system"}},
}
DATA = ("in/fhir", "in/dead", "out/fhir")
"""Where resources stand, below the folder of the test: all other files are searched."""


@pytest.fixture
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Nobody waits, what is remembered and put aside stays within the test's folder, and every logger speaks."""
    monkeypatch.setenv("FHIRSPACE_STATE", str(tmp_path / "state"))
    monkeypatch.setattr("fhirspace.fhirserver.http.client.Client.wait", lambda *given: None)
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    caplog.set_level(logging.DEBUG)


@pytest.fixture(params=list(SERVERS.values()), ids=list(SERVERS))
def server(request: pytest.FixtureRequest) -> Iterator[FaultyServer]:
    with serving(**request.param) as faulty:
        yield faulty


FEW = ["Coverage", "Observation", "Organization", "Patient", "Task"]


def resources(folder: Path, turn: int, kinds: list[str]) -> Path:
    """One filled resource of each of some types and one poor one, with another content at each turn."""
    found: dict[str, list[Any]] = {kind: [filled(kind, "one") | {"language": f"{CANARY}-{turn}"}] for kind in kinds}
    found["Organization"].append(organization())
    found["Observation"].append(observation("ob-1", "one", "47110815.50", note=[{"text": CANARY}]))
    return write(folder, found)


def telling(text: str | bytes) -> list[str]:
    """The canaries that somebody tells."""
    said = text.encode() if isinstance(text, str) else text
    return [secret for secret in CANARIES if secret.encode() in said]


def books(home: Path) -> dict[str, bytes]:
    """Every file that is not meant to hold resources."""
    places = {path: path.relative_to(home).as_posix() for path in home.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for path, name in places.items() if not name.startswith(DATA)}


def test_what_is_delivered_is_full_of_canaries() -> None:
    found = [list(canaries(filled(kind, "one"))) for kind in types()]
    assert len(found) == 33
    assert min(map(len, found)) >= 30


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_no_value_gets_into_talk_books_or_addresses(
    server: FaultyServer, tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    folder, there = tmp_path / "in", ["--server", server.url]
    mine, planned = str(folder), {0 if server.client_ids else 2}
    bad = {"Coverage", "Task"}
    server.refuse = lambda body: body["resourceType"] in bad
    said = []

    def run(codes: set[int], *command: str) -> None:
        for more in ([], ["--json"]):
            assert main([*command, *more]) in codes, command
            told = capfd.readouterr()
            said.append(told.out + told.err)

    resources(folder, 1, types())
    run(planned, "plan", mine, *there)
    server.faults.extend(["broken", "reset_after", "cut_json"])
    run({3}, "push", mine, *there)
    run({0}, "verify", "last", *there)
    resources(folder, 2, types())
    server.faults.append(Fault("entry_precondition", where=lambda method, url: (method, url[:7]) == ("PUT", "Patient")))
    run(planned, "plan", mine, *there)
    run({3}, "push", mine, *there)
    dead = {file: file.read_bytes() for file in (folder / "dead").iterdir()}
    modes = {stat.S_IMODE(file.stat().st_mode) for file in dead}
    bad.clear()
    # The second time there is nothing; types with one identifier at most cannot be given another one.
    run({0, 2, 3}, "retry", mine, *there)
    changed = next(key for key in server.store if key.startswith("Coverage/"))  # of the last run
    server.store[changed] = server.store[changed].replace(CANARY.encode(), CANARY.encode() + b"-theirs")
    run({0, 1}, "verify", "last", *there)
    run({0, 1}, "undo", "last", *there)
    for command in (["status"], ["runs"], ["runs", "audit"]):
        run({0}, *command, mine)
    run({0, 2}, "pull", *there, "--study", "TRIAL01", "--out", str(tmp_path / "out"))  # the second time it is there
    server.faults.append(Fault("broken", times=99))
    run({3, 4}, "push", mine, *there)  # 3: all that is left cannot be found by an identifier, and is not sent

    assert telling(b"".join(server.store.values())) == list(CANARIES), "it was there to be told"
    assert all(map(telling, dead.values())), "dead letters hold the resource and what the server said"
    assert modes == {0o600}
    written = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in written} == {0o600}
    assert telling("\n".join(said)) == []
    assert telling(caplog.text) == []
    held = books(tmp_path)
    assert {name.rpartition("/")[2] for name in held} >= {"journal.db", "audit.log", "journals.txt"}
    assert ("in/plan.db" in held) is server.client_ids
    assert [name for name, content in held.items() if telling(content)] == []
    assert [path for path in tmp_path.rglob("*") if telling(str(path))] == []
    assert [name for name in held if name.startswith("scratch/")] == []
    assert [request.path for request in server.requests if telling(request.path)] == []


Step = Callable[[Client, Path], object]
STEPS: dict[str, Step] = {
    "push": lambda client, folder: push(folder, client.server, client=client),
    "plan": lambda client, folder: plan(folder, client.server, client=client),
    "retry": lambda client, folder: retry(folder, client.server, client=client),
    "verify": lambda client, folder: verify("last", client=client, journal=folder),
    "undo": lambda client, folder: undo("last", client=client, journal=folder),
    "pull": lambda client, folder: pull(client.server, "TRIAL01", folder.parent / "out", client=client),
}


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
def test_no_error_quotes_what_the_server_said(
    step: Step, faulty: FaultyServer, client: Client, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever goes wrong, and for good: neither the message nor the chain of exceptions behind it holds a value.

    What goes wrong does so for resources of any type, so that a few are sent.
    """
    faulty.types, faulty.delay = [*FEW, "Provenance"], 0.7
    faulty.refuse = lambda body: body["resourceType"] == "Task"
    folder = resources(tmp_path / "in", 1, FEW)
    push(folder, faulty.url, client=client)
    resources(folder, 2, FEW)
    faulty.fault_reads, client.attempts, raised = True, 2, 0
    for fault in FAULTS:
        faulty.faults.clear()
        faulty.faults.append(Fault(fault, times=99))
        try:
            report = step(client, folder)
        except FhirspaceError as error:
            raised += 1
            told = "".join(traceback.format_exception(error)) + json.dumps(error.problem.as_dict())
        else:
            told = repr(report)
        assert telling(told) == [], fault
    assert raised > 5, "most faults that last are an error"
    assert telling(caplog.text) == []
    assert [name for name, content in books(tmp_path).items() if telling(content)] == []


IDENTIFYING = f"MRN-{CANARY}"


@pytest.mark.usefixtures("quick")
def test_an_id_that_names_somebody_is_in_the_books_of_the_owner_alone(
    faulty: FaultyServer, client: Client, tmp_path: Path
) -> None:
    """Ids of others may say more than ours: journal and plan need them (mode 0600); audit log and problems do not."""
    found = [filled("Patient", IDENTIFYING), filled("Task", IDENTIFYING), organization()]
    write(tmp_path, {"Basic": found})
    faulty.refuse = lambda body: body["resourceType"] == "Task"
    plan(tmp_path, faulty.url, client=client)
    report = push(tmp_path, faulty.url, client=client)
    del faulty.store[f"Patient/{IDENTIFYING}"]
    read = verify(report.run, client=client, journal=tmp_path)
    assert (report.refused, read.missing) == (1, 1)
    assert telling(" ".join(map(str, [*report.problems, *read.problems]))) == []
    assert telling((tmp_path / AUDIT).read_bytes()) == []
    keeping = [tmp_path / name for name in ("journal.db", PLAN, AUDIT)]
    assert {file.name for file in keeping if telling(file.read_bytes())} == {"journal.db", PLAN}
    assert {stat.S_IMODE(file.stat().st_mode) for file in keeping} == {0o600}
