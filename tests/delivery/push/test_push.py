"""Delivery: exactly one effect whatever the network does, and nothing lost, doubled or told."""

from __future__ import annotations

import json
import os
import random
import sqlite3
import stat
from pathlib import Path
from typing import Any

import pytest

from fhirspace.delivery.database import Base
from fhirspace.delivery.journal import Journal
from fhirspace.delivery.push.push import PushReport, push
from fhirspace.delivery.report import Counts
from fhirspace.delivery.runs import runs, status
from fhirspace.errors import FhirspaceError
from fhirspace.fhir.canonical import canonical
from fhirspace.fhirserver.http.client import Client
from fhirspace.fhirserver.http.transport import HttpTransport, Response
from fhirspace.testing import Fault, FaultyServer, serving
from tests.support import disk
from tests.support.resources import dump, lines_of, observation, organization, patient, ref, resource, trial, write

FAULTS = [
    "too_many",
    "unavailable",
    "broken",
    "conflict",
    "reset_before",
    "reset_after",
    "short_body",
    "cut_json",
    "slow",
]


def counts(report: PushReport) -> tuple[int, ...]:
    return (report.created, report.updated, report.unchanged, report.unchanged_on_server, report.refused)


def exactly_once(faulty: FaultyServer, folder: Path) -> None:
    assert sorted(map(canonical, faulty.store.values())) == sorted(map(canonical, lines_of(folder)))
    assert set(faulty.versions.values()) == {1}


def test_everything_arrives_as_it_stands_targets_first(faulty: FaultyServer, client: Client, tmp_path: Path) -> None:
    folder = trial(tmp_path, patients=30, each=5)
    said: list[tuple[int, int]] = []
    report = push(folder, faulty.url, client=client, progress=lambda done, of: said.append((done, of)))
    assert counts(report) == (182, 0, 0, 0, 0)
    assert sorted(faulty.store.values()) == sorted(lines_of(folder))
    assert len(faulty.transactions()) == 2
    assert said[-1] == (182, 182)
    assert report.as_dict()["sent"] == 182
    assert report.rate > 0


def test_a_second_push_sends_nothing(faulty: FaultyServer, client: Client, tmp_path: Path) -> None:
    folder = trial(tmp_path)
    push(folder, faulty.url, client=client)
    sent = len(faulty.transactions())
    report = push(folder, faulty.url, client=client)
    assert counts(report) == (0, 0, 17, 0, 0)
    assert len(faulty.transactions()) == sent
    assert report.rate == 0


def test_without_the_journal_the_server_says_it_is_the_same(
    faulty: FaultyServer, client: Client, tmp_path: Path
) -> None:
    folder = trial(tmp_path)
    push(folder, faulty.url, client=client)
    report = push(folder, faulty.url, client=client, journal=tmp_path / "other" / "journal.db")
    assert counts(report) == (0, 0, 0, 17, 0)
    exactly_once(faulty, folder)


def test_only_what_changed_is_sent(faulty: FaultyServer, client: Client, tmp_path: Path) -> None:
    push(trial(tmp_path), faulty.url, client=client)
    write(tmp_path, {"Organization": [organization() | {"name": "Site 2"}]})
    report = push(tmp_path, faulty.url, client=client)
    assert counts(report) == (0, 1, 16, 0, 0)
    assert faulty.versions["Organization/o-1"] == 2


@pytest.mark.parametrize("fault", FAULTS)
def test_one_fault_is_safe(faulty: FaultyServer, client: Client, tmp_path: Path, fault: str) -> None:
    folder = trial(tmp_path)
    faulty.faults.append(fault)
    report = push(folder, faulty.url, client=client)
    assert report.retries == 1
    assert report.sent == 17
    exactly_once(faulty, folder)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_a_third_of_all_answers_failing_is_safe(
    faulty: FaultyServer, client: Client, tmp_path: Path, seed: int
) -> None:
    folder = trial(tmp_path, patients=20, each=5)
    dice = random.Random(seed)
    quick = [fault for fault in FAULTS if fault != "slow"]
    faulty.faults.extend(dice.choice(quick) if dice.random() < 0.3 else None for _ in range(400))
    assert push(folder, faulty.url, client=client, size=3).sent == 122
    exactly_once(faulty, folder)


@pytest.mark.parametrize("fault", ["no_bundle", "strange"])
def test_an_answer_that_matches_nothing_is_sent_in_smaller_parts(
    faulty: FaultyServer, client: Client, tmp_path: Path, fault: str
) -> None:
    folder = trial(tmp_path)
    faulty.faults.append(fault)
    assert push(folder, faulty.url, client=client).sent == 17
    exactly_once(faulty, folder)
    write(tmp_path, {"Organization": [organization() | {"name": "Site 2"}]})
    faulty.faults.append(fault)
    assert push(folder, faulty.url, client=client).updated == 1, "at last by itself, without a Bundle"
    circle = [resource("Encounter", a, partOf=ref("Encounter", b)) for a, b in (("e-1", "e-2"), ("e-2", "e-1"))]
    write(tmp_path, {"Encounter": circle})
    faulty.faults.append(fault)
    with pytest.raises(FhirspaceError, match="FS512"):
        push(folder, faulty.url, client=client)


@pytest.mark.parametrize("named", [True, False])
def test_the_refused_are_found_and_the_rest_is_delivered(
    faulty: FaultyServer, client: Client, tmp_path: Path, named: bool
) -> None:
    folder = trial(tmp_path, patients=10, each=5)
    bad = {"ob-p-3-1", "ob-p-3-2", "ob-p-9-4"}
    faulty.refuse = lambda body: body["id"] in bad
    faulty.name_entries = named
    report = push(folder, faulty.url, client=client)
    assert counts(report) == (59, 0, 0, 0, 3)
    assert [str(problem.place) for problem in report.problems] == [f"Observation.ndjson:{row}" for row in (17, 18, 50)]
    assert {problem.code for problem in report.problems} == {"FS520"}
    assert ("Observation.code" in report.problems[0].detail) is named
    assert report.dead is not None
    dead = report.dead.read_bytes().splitlines()
    assert set(dead) == set(lines_of(folder)) - set(faulty.store.values())
    assert len(dead) == 3
    outcomes = report.dead.with_suffix(".outcomes.ndjson")
    assert "SECRET-CANARY" in outcomes.read_text()
    assert {stat.S_IMODE(file.stat().st_mode) for file in (report.dead, outcomes)} == {0o600}

    faulty.refuse = lambda body: False
    assert counts(push(folder, faulty.url, client=client)) == (3, 0, 59, 0, 0)
    exactly_once(faulty, folder)


def test_what_refers_to_the_refused_is_held_back_and_named(
    faulty: FaultyServer, client: Client, tmp_path: Path
) -> None:
    folder = trial(tmp_path)
    faulty.refuse = lambda body: body["id"] == "p-1"
    report = push(folder, faulty.url, client=client, size=4)
    assert counts(report) == (12, 0, 0, 0, 5)
    assert sorted(problem.code for problem in report.problems) == ["FS520"] + ["FS524"] * 4


def test_a_refused_change_does_not_hold_back_what_refers_to_the_old_version(
    faulty: FaultyServer, client: Client, tmp_path: Path
) -> None:
    push(trial(tmp_path), faulty.url, client=client)
    write(
        tmp_path,
        {"Patient": [patient(f"p-{n}", active=True) for n in range(3)], "Observation": [observation("new", "p-1")]},
    )
    faulty.refuse = lambda body: body["id"] == "p-1"
    assert counts(push(tmp_path, faulty.url, client=client, size=1)) == (1, 2, 2, 0, 1)


def test_a_refused_circle_is_buried_whole(faulty: FaultyServer, client: Client, tmp_path: Path) -> None:
    circle = [resource("Encounter", a, partOf=ref("Encounter", b)) for a, b in (("e-1", "e-2"), ("e-2", "e-1"))]
    write(tmp_path, {"Encounter": [*circle, resource("Encounter", "e-3")]})
    faulty.refuse = lambda body: body["id"] == "e-2"
    report = push(tmp_path, faulty.url, client=client, size=1)
    assert counts(report) == (1, 0, 0, 0, 2)
    assert list(faulty.store) == ["Encounter/e-3"]


def test_a_lasting_conflict_is_a_refusal_of_the_one(faulty: FaultyServer, client: Client, tmp_path: Path) -> None:
    write(tmp_path, {"Organization": [organization()]})
    faulty.faults.extend(["conflict"] * client.attempts)
    report = push(tmp_path, faulty.url, client=client)
    assert "status 409: processing HAPI-0550" in report.problems[0].detail


@pytest.mark.parametrize("killed", [False, True])
def test_a_server_that_was_restored_from_a_backup_is_noticed(
    faulty: FaultyServer, client: Client, tmp_path: Path, killed: bool
) -> None:
    people = {"Patient": [patient(f"p-{n}") for n in range(3)], "Organization": [organization()]}
    old, new = write(tmp_path / "old", people), write(tmp_path / "new", people)
    push(new, faulty.url, client=client)
    changed = patient("p-1", active=True)
    write(new, {"Patient": [patient("p-0"), changed, patient("p-2")], "Observation": [observation("late", "p-0")]})
    assert (counts(push(new, faulty.url, client=client))[:2], status(new)[0]["unfinished"]) == ((1, 1), None)
    with serving() as backup:
        push(old, backup.url)
        client.transport = HttpTransport(backup.url)
        if killed:
            client.attempts = 1
            backup.faults.append(Fault("reset_before", where=lambda method, url: url == "Patient/p-1"))
            with pytest.raises(FhirspaceError, match="FS510"):
                push(new, faulty.url, client=client, size=1)
            client.attempts = 7
        report = push(new, faulty.url, client=client)
        assert (report.conflicts, json.loads(backup.store["Patient/p-1"])) == (0, changed)
        assert "Observation/late" in backup.store
        assert killed or [problem.code for problem in report.problems] == ["FS526"]
        assert push(new, faulty.url, client=client).unchanged == 5


def test_an_emptied_server_is_noticed(faulty: FaultyServer, client: Client, tmp_path: Path) -> None:
    folder = trial(tmp_path)
    push(folder, faulty.url, client=client)
    faulty.store.clear()
    report = push(folder, faulty.url, client=client)
    assert counts(report) == (17, 0, 0, 0, 0)
    assert [problem.code for problem in report.problems] == ["FS526"]
    exactly_once(faulty, folder)


def test_one_journal_serves_several_servers(faulty: FaultyServer, client: Client, tmp_path: Path) -> None:
    folder = trial(tmp_path)
    push(folder, faulty.url, client=client)
    other = Client(faulty.url.replace("127.0.0.1", "localhost"), client.transport)
    assert counts(push(folder, other.server, client=other)) == (0, 0, 0, 17, 0)
    assert [run["server"] for run in runs(folder / "journal.db")] == [faulty.url, other.server]
    assert [run["sent"] for run in runs(folder / "journal.db")] == [17, 17]


def test_a_server_of_another_release_gets_nothing(faulty: FaultyServer, client: Client, tmp_path: Path) -> None:
    with pytest.raises(FhirspaceError, match="FS513"):
        push(trial(tmp_path), faulty.url, client=client, fhir="R5")
    assert not faulty.transactions()


def test_a_failure_of_the_server_stops_and_resumes(faulty: FaultyServer, client: Client, tmp_path: Path) -> None:
    folder = trial(tmp_path)
    faulty.faults.extend([None, *["unavailable"] * client.attempts])
    with pytest.raises(FhirspaceError, match="FS512") as caught:
        push(folder, faulty.url, client=client, size=5)
    assert caught.value.exit_code == 4
    assert push(folder, faulty.url, client=client, size=5).unchanged == 5
    exactly_once(faulty, folder)


def test_ctrl_c_resumes(faulty: FaultyServer, client: Client, tmp_path: Path) -> None:
    def stop(done: int, of: int) -> None:
        raise KeyboardInterrupt

    folder = trial(tmp_path)
    with pytest.raises(FhirspaceError, match="FS527") as caught:
        push(folder, faulty.url, client=client, size=5, progress=stop)
    assert caught.value.exit_code == 5
    assert counts(push(folder, faulty.url, client=client)) == (12, 0, 5, 0, 0)
    (run,) = runs(folder / "journal.db")
    assert run["finished"] is not None


def test_a_file_that_changes_meanwhile_is_not_mixed(faulty: FaultyServer, client: Client, tmp_path: Path) -> None:
    folder = trial(tmp_path)

    def change(done: int, of: int) -> None:
        write(folder, {"Observation": ["{}", *(observation(f"x-{n}", "p-1") for n in range(20))]})

    with pytest.raises(FhirspaceError, match="FS528"):
        push(folder, faulty.url, client=client, size=5, progress=change)


def test_large_resources_make_smaller_transactions(faulty: FaultyServer, client: Client, tmp_path: Path) -> None:
    write(
        tmp_path, {"Organization": [dump(resource("Organization", f"o-{n}", name="x" * 3_000_000)) for n in range(5)]}
    )
    assert push(tmp_path, faulty.url, client=client).created == 5
    assert [len(body) < 9_000_000 for body in faulty.transactions()] == [True] * 3


def test_two_pushes_with_one_journal_do_not_run_together(faulty: FaultyServer, client: Client, tmp_path: Path) -> None:
    folder = trial(tmp_path)
    with (
        Journal(folder / "journal.db", faulty.url),
        pytest.raises(FhirspaceError, match=rf"FS593.*process {os.getpid()} on .* has used it since 20"),
    ):
        push(folder, faulty.url, client=client)


def test_what_is_no_journal_is_said(tmp_path: Path) -> None:
    (tmp_path / "journal.db").write_text("something else, long enough to be looked at" * 10)
    with pytest.raises(FhirspaceError, match="FS525"):
        Journal(tmp_path / "journal.db", "http://x")
    with pytest.raises(FhirspaceError, match="FS525"):
        runs(tmp_path / "journal.db")
    with pytest.raises(FhirspaceError, match="FS594"):
        runs(tmp_path / "none.db")


def test_the_journal_is_durable_and_keeps_no_content(
    faulty: FaultyServer, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Base, "execute", disk.EXECUTE)
    folder = write(
        tmp_path,
        {"Organization": [organization()], "Patient": [patient("p-1", birthDate="1970-01-01", language="zz-CANARY")]},
    )
    faulty.refuse = lambda body: body["resourceType"] == "Patient"
    report = push(folder, faulty.url, client=client)
    written = b"".join(file.read_bytes() for file in folder.glob("journal.db*"))
    assert b"Organization/o-1" in written
    assert b"CANARY" not in written
    assert "CANARY" not in repr(report.as_dict())
    with Journal(folder / "journal.db", faulty.url) as book:
        base: sqlite3.Connection = book._base
        assert base.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert base.execute("PRAGMA synchronous").fetchone() == (2,)


def test_an_outcome_that_is_no_json_is_kept_as_text(tmp_path: Path) -> None:
    write(tmp_path, {"Organization": [organization()]})

    class Proxy:
        def send(self, method: str, path: str, body: bytes | None = None, headers: Any = None) -> Response:
            if path == "metadata":
                return Response(200, {}, b'{"resourceType":"CapabilityStatement","fhirVersion":"4.0.1"}')
            return Response(413, {}, b"<html>too large</html>") if body else Response(404, {}, b"")

    report = push(tmp_path, "http://127.0.0.1/fhir", client=Client("http://127.0.0.1/fhir", Proxy()))
    assert report.refused == 1
    assert report.dead is not None
    assert "too large" in report.dead.with_suffix(".outcomes.ndjson").read_text()


def test_an_answer_nobody_expects_stops(tmp_path: Path) -> None:
    write(tmp_path, {"Organization": [organization()]})

    class Teapot:
        def send(self, method: str, path: str, body: bytes | None = None, headers: Any = None) -> Response:
            if path == "metadata":
                return Response(200, {}, b'{"resourceType":"CapabilityStatement","fhirVersion":"4.0.1"}')
            return Response(418 if method == "POST" else 200, {}, b"")

    with pytest.raises(FhirspaceError, match=r"FS512.*418"):
        push(tmp_path, "http://127.0.0.1/fhir", client=Client("http://127.0.0.1/fhir", Teapot()))


def test_counts_add_up() -> None:
    assert Counts(1, 2, 3, 4, 5, 6).total == 21


@pytest.mark.parametrize("faults", [[], ["unavailable", "reset_after", None, "unavailable", "reset_before"]])
def test_two_connections_deliver_each_resource_once_and_targets_first(
    faulty: FaultyServer, client: Client, tmp_path: Path, faults: list[str | None]
) -> None:
    folder = trial(tmp_path)
    faulty.faults.extend(faults)
    report = push(folder, faulty.url, client=client, size=2, connections=2)
    assert (report.total, report.refused) == (17, 0)
    exactly_once(faulty, folder)
    assert push(folder, faulty.url, client=client, connections=2).unchanged == 17
