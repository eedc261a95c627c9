"""What another client changed is not overwritten: it is counted, named, and left; all others are delivered."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fhirspace.cli import main
from fhirspace.delivery.plan.plan import plan
from fhirspace.delivery.push.push import PushReport, push
from fhirspace.delivery.runs import runs
from fhirspace.delivery.undo import undo
from fhirspace.fhirserver.http.client import Client, HttpTransport
from fhirspace.fhirserver.http.transport import Response
from fhirspace.testing import Fault, FaultyServer
from tests.support.resources import dump, organization, patient, write

WAYS = ["transaction", "batch", "single"]


def people(folder: Path, **elements: Any) -> Path:
    return write(
        folder, {"Patient": [patient(f"p-{n}", **elements) for n in range(4)], "Organization": [organization()]}
    )


def theirs(faulty: FaultyServer, name: str, **elements: Any) -> bytes:
    """Another client's form of a patient, on the server."""
    body = dump(patient(name, **elements)).encode()
    faulty.store[f"Patient/{name}"] = body
    return body


def found(report: PushReport) -> list[tuple[str, str, str]]:
    return [(each.key, each.ours, each.theirs) for each in report.conflicting]


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(params=["FHIR", "HAPI"])
def server(request: pytest.FixtureRequest, faulty: FaultyServer) -> FaultyServer:
    """One that answers 412 and knows no version for what is not there, and one that does as HAPI does."""
    if request.param == "HAPI":
        faulty.statement = {"software": {"name": "HAPI FHIR Server"}}
        faulty.stale_status, faulty.absent_match = 409, True
    return faulty


def test_another_clients_change_is_left_and_the_others_are_delivered(
    server: FaultyServer, client: Client, tmp_path: Path, way: Any
) -> None:
    push(people(tmp_path), server.url, client=client)
    before = theirs(server, "p-1", active=False)
    report = push(people(tmp_path, active=True), server.url, client=client, way=way)
    assert (report.updated, report.unchanged, report.conflicts, report.refused, report.total) == (3, 1, 1, 0, 5)
    assert found(report) == [("Patient/p-1", "1", "2")]
    assert [(each.code, str(each.place)) for each in report.problems] == [("FS539", "Patient.ndjson:2")]
    assert server.store["Patient/p-1"] == before

    again = push(tmp_path, server.url, client=client, way=way)
    assert (again.conflicts, again.unchanged) == (1, 4), "it stays a conflict until somebody decides"
    forced = push(tmp_path, server.url, client=client, way=way, overwrite=True)
    assert (forced.updated, forced.conflicts) == (1, 0)
    assert json.loads(server.store["Patient/p-1"])["active"] is True


def test_what_another_workstation_pushed_is_a_conflict_unless_it_is_the_same(
    server: FaultyServer, client: Client, tmp_path: Path, way: Any
) -> None:
    push(people(tmp_path / "a"), server.url, client=client)
    same = push(people(tmp_path / "b"), server.url, client=client, way=way)
    assert (same.unchanged_on_server, same.conflicts) == (5, 0)
    other = push(people(tmp_path / "c", active=True), server.url, client=client, way=way)
    assert (other.updated, other.unchanged_on_server, other.conflicts) == (0, 1, 4)
    assert {version for _, _, version in found(other)} == {"1"}
    assert set(server.versions.values()) == {1}


@pytest.mark.parametrize("name", ["p-0", "p-1"])  # the journal is compared with the server by the first of a type
def test_another_clients_deletion_is_a_conflict(
    server: FaultyServer, client: Client, tmp_path: Path, way: Any, name: str
) -> None:
    push(people(tmp_path), server.url, client=client)
    assert client.request("DELETE", f"Patient/{name}").ok
    assert push(people(tmp_path), server.url, client=client, way=way).unchanged == 5
    report = push(people(tmp_path, active=True), server.url, client=client, way=way)
    assert (report.updated, found(report)) == (3, [(f"Patient/{name}", "1", "")])
    assert f"Patient/{name}" not in server.store


def test_what_moved_its_number_only_is_no_conflict(
    server: FaultyServer, client: Client, tmp_path: Path, way: Any
) -> None:
    push(people(tmp_path), server.url, client=client)
    server.keeps_version = False
    assert client.request("PUT", "Patient/p-1", dump(patient("p-1")).encode()).ok
    assert server.versions["Patient/p-1"] == 2
    assert push(people(tmp_path, active=True), server.url, client=client, way=way).updated == 4


@pytest.mark.parametrize("fault", ["reset_after", "gateway_timeout_after", "short_body", "no_bundle"])
def test_a_lost_answer_is_no_conflict(
    server: FaultyServer, client: Client, tmp_path: Path, way: Any, fault: str
) -> None:
    for turn, elements in enumerate([{}, {"active": True}]):
        if fault != "no_bundle" or way != "single":
            server.faults.append(Fault(fault, where=lambda method, url: method == "PUT" and "Patient" in url))
        report = push(people(tmp_path, **elements), server.url, client=client, way=way)
        assert (report.created, report.updated, report.conflicts) == ((5, 0, 0) if not turn else (0, 4, 0))
    assert {key: n for key, n in server.versions.items() if "Patient" in key} == {f"Patient/p-{n}": 2 for n in range(4)}


def test_a_push_that_was_broken_off_and_corrected_is_no_conflict(
    server: FaultyServer, client: Client, tmp_path: Path
) -> None:
    client.attempts = 1
    server.faults.append(Fault("reset_after", where=lambda method, url: "Patient" in url))
    with pytest.raises(Exception, match="FS510"):
        push(people(tmp_path), server.url, client=client)
    report = push(people(tmp_path, active=True), server.url, client=client)
    assert (report.conflicts, report.refused, report.total) == (0, 0, 5)


def test_a_push_that_was_broken_off_and_corrected_twice_is_no_conflict(
    server: FaultyServer, client: Client, tmp_path: Path
) -> None:
    client.attempts = 1
    for turn, fault in enumerate(["reset_after", "reset_before"]):
        server.faults.append(Fault(fault, where=lambda method, url: "Patient" in url))
        with pytest.raises(Exception, match="FS510"):
            push(people(tmp_path, birthDate=f"197{turn}"), server.url, client=client)
    report = push(people(tmp_path, birthDate="1972"), server.url, client=client)
    assert (report.conflicts, report.refused, report.updated, report.total) == (0, 0, 4, 5)


class Meanwhile:
    """Somebody else writes just before a request with one of ours is sent."""

    def __init__(self, client: Client, server: FaultyServer) -> None:
        self.seam, self.server, self.body = client.seam, server, b""

    def send(self, method: str, path: str, body: bytes | None = None, headers: Any = None) -> Response:
        if body and b"birthDate" in body and not self.body:
            self.body = theirs(self.server, "p-1", active=False)
        return self.seam.send(method, path, body, headers)


def test_a_change_between_look_and_write_is_not_overwritten(
    server: FaultyServer, client: Client, tmp_path: Path, way: Any
) -> None:
    push(people(tmp_path), server.url, client=client)
    client.transport = rival = Meanwhile(client, server)
    report = push(people(tmp_path, birthDate="1970"), server.url, client=client, way=way)
    assert (report.updated, found(report)) == (3, [("Patient/p-1", "1", "2")])
    assert server.store["Patient/p-1"] == rival.body


def test_a_server_that_does_not_say_that_it_checks_versions_is_looked_at_first(
    faulty: FaultyServer, client: Client, tmp_path: Path, way: Any
) -> None:
    faulty.versioning = "versioned"
    push(people(tmp_path), faulty.url, client=client)
    before = theirs(faulty, "p-1", active=False)
    faulty.ignores_match = True
    report = push(people(tmp_path, active=True), faulty.url, client=client, way=way)
    assert (report.updated, report.conflicts) == (3, 1)
    assert faulty.store["Patient/p-1"] == before


def test_a_plan_shows_what_a_push_leaves(server: FaultyServer, client: Client, tmp_path: Path) -> None:
    push(people(tmp_path), server.url, client=client)
    theirs(server, "p-1", active=False)
    people(tmp_path, active=True)
    planned = plan(tmp_path, server.url, client=client)
    assert [planned.total(action) for action in ("create", "update", "unchanged", "conflict")] == [0, 3, 1, 1]
    fresh = plan(tmp_path, server.url, client=client, journal=tmp_path / "none.db")
    assert fresh.total("conflict") == 4, "without a journal nothing there is ours"
    assert plan(tmp_path, server.url, client=client, overwrite=True).total("update") == 4


def test_the_command_names_conflicts_and_ends_with_1(
    faulty: FaultyServer, client: Client, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    push(people(tmp_path), faulty.url, client=client)
    theirs(faulty, "p-1", active=False)
    people(tmp_path, active=True)
    assert main(["push", str(tmp_path), "--server", faulty.url, "--json"]) == 1
    said = capsys.readouterr()
    assert json.loads(said.out)["conflicting"] == [{"key": "Patient/p-1", "ours": "1", "theirs": "2"}]
    assert "Patient/p-1, the server holds version 2, we wrote version 1" in said.err
    assert main(["push", str(tmp_path), "--server", faulty.url, "--overwrite"]) == 0


class Workstation:
    """A client with files and a journal of its own, which edits at random and pushes."""

    def __init__(self, name: str, folder: Path, url: str) -> None:
        self.name, self.folder, self.url = name, folder, url
        self.texts: dict[str, dict[str, Any]] = {}
        self.known: dict[str, str] = {}
        self.edits = 0

    def edit(self, key: str) -> None:
        self.edits += 1
        self.texts[key] = {**patient(key), "name": [{"text": f"{self.name} {self.edits}"}]}

    def push(self, client: Client, **options: Any) -> PushReport:
        write(self.folder, {"Patient": list(self.texts.values()), "Organization": [organization()]})
        return push(self.folder, self.url, client=client, **options)


def text_of(body: bytes) -> str:
    return str(json.loads(body)["name"][0]["text"])


def rounds(client: Client, read: Any, tmp_path: Path, count: int, **how: Any) -> Iterator[list[str]]:
    """Two clients that edit at random: each push writes over its own versions only, and names every other one.

    Yields the keys that were conflicts, round by round.
    """
    dice = random.Random(count)
    both = [Workstation(name, tmp_path / name, client.server) for name in ("a", "b")]
    names = [f"two-{n}" for n in range(6)]
    held: dict[str, str] = {}
    for _ in range(count):
        mine = dice.choice(both)
        for name in dice.sample(names, dice.randint(1, 3)):
            mine.edit(name)
        forced = dice.random() < 0.1
        report = mine.push(client, overwrite=forced, **how)
        now = {name: text_of(read(f"Patient/{name}")) for name in mine.texts}
        named = {key.partition("/")[2] for key, _, _ in found(report)}
        for name in mine.texts:
            wanted, before, after = mine.texts[name]["name"][0]["text"], held.get(name), now[name]
            if name in named:
                assert after == before != wanted, "what is named was left as it was"
                assert not forced
                assert before != mine.known.get(name), "ours is never a conflict"
            elif after != before:
                assert after == wanted
                assert forced or before in (None, mine.known.get(name)), "an update of the other one is lost"
            else:
                assert wanted in (after, mine.known.get(name)), "what was edited is neither written nor named"
            if after == wanted:
                mine.known[name] = wanted
        held |= now
        for name in named:
            if dice.random() < 0.5:  # the other one's form is taken over
                mine.texts[name] = {**patient(name), "name": [{"text": now[name]}]}
        yield sorted(named)


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_two_clients_that_edit_at_random_lose_no_update(
    server: FaultyServer, client: Client, tmp_path: Path, way: Any
) -> None:
    conflicts = list(rounds(client, server.store.__getitem__, tmp_path, 25, way=way))
    assert sum(map(len, conflicts)) > 5


@pytest.mark.slow
def test_two_clients_that_edit_at_random_for_100_rounds(faulty: FaultyServer, tmp_path: Path) -> None:
    assert conflicts_of(faulty, tmp_path, 100) > 20


def conflicts_of(faulty: FaultyServer, folder: Path, count: int) -> int:
    """The conflicts of some rounds by one connection; `soak_conflicts` tries thousands of rounds."""
    transport = HttpTransport(faulty.url)
    client = Client(faulty.url, transport)
    conflicts = list(rounds(client, faulty.store.__getitem__, folder, count))
    transport.close()
    return sum(map(len, conflicts))


def test_a_journal_with_another_spelling_of_the_address_goes_on(faulty: FaultyServer, tmp_path: Path) -> None:
    faulty.url = faulty.url.replace("127.0.0.1", "LOCALHOST")
    odd = Client(faulty.url.lower(), HttpTransport(faulty.url.lower()))
    odd.server = faulty.url
    run = push(people(tmp_path), faulty.url, client=odd).run
    report = push(people(tmp_path, active=True), faulty.url.lower() + "/")
    assert (report.conflicts, report.updated, report.unchanged) == (0, 4, 1)
    assert {each["server"] for each in runs(tmp_path)} == {faulty.url.lower()}
    undo(report.run, journal=tmp_path)
    assert undo(run, faulty.url, journal=tmp_path).deleted == 5
