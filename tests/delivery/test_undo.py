"""A run is read back, and taken back: what was there before stands again, and what others did is left alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from fhirspace.cli import main
from fhirspace.delivery.push.push import push
from fhirspace.delivery.runs import journal_of, runs, status
from fhirspace.delivery.undo import UndoReport, undo
from fhirspace.delivery.verify import verify
from fhirspace.errors import FhirspaceError
from fhirspace.fhir.canonical import canonical, cleaned
from fhirspace.fhirserver.fetch import versions
from fhirspace.fhirserver.http.client import Client, Response
from fhirspace.testing import Fault, FaultyServer, serving
from tests.support.resources import dump, observation, organization, patient, ref, resource, trial, write

CHANGED: dict[str, list[Any]] = {
    "Patient": [patient(f"p-{n}", active=True) for n in range(3)],
    "Observation": [observation("new-1", "p-1"), observation("ob-p-0-0", "p-new", "7.10")],
    "Encounter": [resource("Encounter", f"c-{n}", partOf=ref("Encounter", f"c-{1 - n}")) for n in range(2)],
    "Basic": [resource("Patient", "p-new")],
}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FHIRSPACE_STATE", str(tmp_path / "state"))


def held(faulty: FaultyServer) -> dict[str, bytes]:
    return {key: canonical(body) for key, body in faulty.store.items()}


def puts(place: str, method: str, url: str) -> bool:
    return (method, url) == ("PUT", place)


def told(report: UndoReport) -> tuple[int, ...]:
    return (report.restored, report.deleted, report.gone, report.left, report.unwritten)


@pytest.mark.parametrize("kinds", [{"transaction", "batch"}, {"batch"}])
def test_the_server_answers_as_before(faulty: FaultyServer, client: Client, tmp_path: Path, kinds: set[str]) -> None:
    faulty.bundle_types = kinds
    folder = trial(tmp_path)
    push(folder, faulty.url, client=client)
    before = held(faulty)
    write(folder, CHANGED)
    second = push(folder, faulty.url, client=client, way=None if "transaction" in kinds else "batch", size=4)
    if "transaction" in kinds:
        assert (second.created, second.updated, second.refused) == (4, 4, 0)
    report = undo(second.run, client=client, journal=folder)
    assert report.problems == []
    assert held(faulty) == before
    assert report.restored == 4
    assert b'"value":5.50' in faulty.store["Observation/ob-p-0-0"]
    again = undo(second.run, client=client, journal=folder)
    assert again.total == 0, "there is nothing left to take back"


def test_a_first_load_taken_back_leaves_nothing(faulty: FaultyServer, client: Client, tmp_path: Path) -> None:
    folder = trial(tmp_path, patients=20, each=10)
    push(folder, faulty.url, client=client)
    assert told(undo("last", client=client)) == (0, 222, 0, 0, 0)
    assert not faulty.store
    assert push(folder, faulty.url, client=client).created == 222


def test_what_others_changed_is_left_and_told(faulty: FaultyServer, client: Client, tmp_path: Path) -> None:
    folder = trial(tmp_path)
    run = push(folder, faulty.url, client=client).run
    faulty.store["Observation/ob-p-0-0"] = dump(resource("Observation", "ob-p-0-0", note="theirs")).encode()
    faulty.store["Observation/theirs"] = observation("theirs", "p-2").encode()
    del faulty.store["Observation/ob-p-1-0"]
    report = undo(run, client=client, journal=folder)
    # Theirs refers to p-2, which refers to o-1: these three and the changed one stay.
    assert sorted(report.keys) == ["Observation/ob-p-0-0", "Organization/o-1", "Patient/p-2"]
    assert told(report) == (0, 13, 1, 3, 0)
    assert {problem.code for problem in report.problems} == {"FS515", "FS516"}
    assert "ob-p-0-0" not in " ".join(map(str, report.problems))
    assert b"theirs" in faulty.store["Observation/ob-p-0-0"]


def test_a_later_run_goes_first(faulty: FaultyServer, client: Client, tmp_path: Path) -> None:
    first = push(trial(tmp_path), faulty.url, client=client).run
    write(tmp_path, {"Organization": [organization() | {"name": "Site 2"}]})
    second = push(tmp_path, faulty.url, client=client).run
    assert "Organization/o-1" in undo(first, client=client, journal=tmp_path).keys
    assert told(undo(second, client=client, journal=tmp_path)) == (1, 0, 0, 0, 0)
    assert undo(first, client=client, journal=tmp_path).left == 0
    assert not faulty.store, "what the second undo restored is what the first run wrote"


@pytest.mark.parametrize("fault", ["reset_after", "reset_before", "short_body", "unavailable"])
def test_a_run_that_was_broken_off_is_taken_back_whole(
    faulty: FaultyServer, client: Client, tmp_path: Path, fault: str
) -> None:
    folder = trial(tmp_path)
    faulty.store["Observation/foreign"] = dump(resource("Observation", "foreign")).encode()
    client.attempts = 1
    faulty.faults.extend([None, None, fault])
    with pytest.raises(FhirspaceError):
        push(folder, faulty.url, client=client, size=4)
    client.attempts = 7
    report = undo("last", client=client, journal=folder)
    assert report.left == 0
    assert list(faulty.store) == ["Observation/foreign"]
    (pushed, _) = runs(folder)
    assert pushed["finished"] is not None, "it will not be resumed"
    assert push(folder, faulty.url, client=client).created == 17


class Meddling:
    """A transport that calls something before each request, and may change what is answered."""

    def __init__(self, client: Client, before: Callable[[str, str, bytes], None]) -> None:
        self.seam, self.before = client.seam, before

    def send(self, method: str, path: str, body: bytes | None = None, headers: Any = None) -> Response:
        self.before(method, path, body or b"")
        return self.after(path, self.seam.send(method, path, body, headers))

    def after(self, path: str, answer: Response) -> Response:
        return answer


class Forgetful(Meddling):
    """A history with the last version alone, as HAPI gives it for a minute after it counted one."""

    def after(self, path: str, answer: Response) -> Response:
        if "_history?" not in path:
            return answer
        page = json.loads(answer.body)
        return replace(answer, body=json.dumps(page | {"entry": page["entry"][:1]}).encode())


def test_what_was_updated_is_not_deleted_where_its_history_is_cut_off(
    faulty: FaultyServer, client: Client, tmp_path: Path
) -> None:
    push(trial(tmp_path), faulty.url, client=client)
    write(tmp_path, CHANGED)
    push(tmp_path, faulty.url, client=client)
    client.transport = Forgetful(client, lambda *_: None)
    report = undo("last", client=client, journal=tmp_path)
    assert (report.restored, report.left) == (0, 5), "the new patient is referred to"
    assert {problem.code for problem in report.problems} == {"FS516"}
    assert {"Patient/p-0", "Patient/p-1", "Patient/p-2", "Observation/ob-p-0-0"} <= set(faulty.store)


def test_what_others_change_while_a_run_is_undone_is_left(faulty: FaultyServer, client: Client, tmp_path: Path) -> None:
    faulty.statement, faulty.guards_delete = {"software": {"name": "HAPI FHIR Server"}}, False
    push(trial(tmp_path, each=20), faulty.url, client=client)
    theirs = observation("ob-p-0-1", "p-0", "9.90").encode()

    def meddle(method: str, path: str, body: bytes) -> None:
        if b'"DELETE"' in body and b"ob-p-2-" in body:
            faulty.store["Observation/ob-p-0-1"] = theirs

    client.transport = Meddling(client, meddle)
    report = undo("last", client=client, journal=tmp_path)
    assert faulty.store["Observation/ob-p-0-1"] == theirs
    assert sorted(report.keys) == ["Observation/ob-p-0-1", "Organization/o-1", "Patient/p-0"]


@pytest.mark.parametrize("killed", ["before", "after"])
def test_an_undo_that_was_killed_is_finished(faulty: FaultyServer, client: Client, tmp_path: Path, killed: str) -> None:
    push(trial(tmp_path), faulty.url, client=client)
    before = held(faulty)
    write(tmp_path, {"Patient": CHANGED["Patient"]})
    run = push(tmp_path, faulty.url, client=client).run
    seam, client.attempts = client.seam, 1
    faulty.faults.append(Fault(f"reset_{killed}", where=lambda method, url: method == "PUT"))
    with pytest.raises(FhirspaceError, match="FS510"):
        undo(run, client=client, journal=tmp_path)
    client.transport, client.attempts = seam, 7
    assert told(undo(run, client=client, journal=tmp_path)) == (3, 0, 0, 0, 0)
    assert held(faulty) == before
    assert undo(run, client=client, journal=tmp_path).total == 0


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("fault", ["reset_before", "reset_after"])
def test_what_a_run_wrote_twice_is_taken_back_to_what_was_before_it(
    faulty: FaultyServer, client: Client, tmp_path: Path, known: bool, fault: str
) -> None:
    if known:
        push(trial(tmp_path), faulty.url, client=client)
    before = held(faulty)
    for turn, active in enumerate((True, False)):
        write(trial(tmp_path), {"Patient": [patient(f"p-{n}", active=active) for n in range(3)]})
        if not turn:
            faulty.faults.extend([Fault(fault, where=lambda method, url: url == "Patient/p-2", times=99)])
            client.attempts = 1
            with pytest.raises(FhirspaceError, match="FS510"):
                push(tmp_path, faulty.url, client=client, size=2)
            faulty.faults.clear()
            client.attempts = 7
    run = push(tmp_path, faulty.url, client=client, size=2).run
    assert len(runs(tmp_path)) == 1 + known, "the run was resumed"
    assert faulty.versions["Patient/p-0"] == 2 + known
    report = undo(run, client=client, journal=tmp_path)
    assert (report.left, report.problems) == (0, [])
    assert held(faulty) == before


@pytest.mark.parametrize("lost", ["Patient/p-0", "Patient/p-1"])
def test_a_form_that_a_run_gave_before_one_that_was_lost_is_taken_back(
    faulty: FaultyServer, client: Client, tmp_path: Path, lost: str
) -> None:
    people = {"Patient": [patient("p-0"), patient("p-1")], "Organization": [organization()]}
    push(write(tmp_path, people), faulty.url, client=client)
    before = held(faulty)
    client.attempts = 1
    for fault, place, active in (("reset_after", lost, True), ("reset_before", "Patient/p-0", False)):
        write(tmp_path, {"Patient": [patient(f"p-{n}", active=active) for n in range(2)]})
        faulty.faults.append(Fault(fault, where=partial(puts, place)))
        with pytest.raises(FhirspaceError, match="FS510"):
            push(tmp_path, faulty.url, client=client, way="single", connections=1)
    assert b"true" in held(faulty)["Patient/p-0"]
    client.attempts = 7
    assert undo("last", client=client, journal=tmp_path).left == 0
    assert held(faulty) == before


def test_of_what_a_resumed_run_was_refused_the_form_before_is_taken_back(
    faulty: FaultyServer, client: Client, tmp_path: Path
) -> None:
    write(tmp_path, {"Patient": [patient("p-0", active=True), patient("p-1")], "Organization": [organization()]})
    client.attempts = 1
    faulty.faults.append(Fault("reset_before", where=lambda method, url: url == "Patient/p-1"))
    with pytest.raises(FhirspaceError, match="FS510"):
        push(tmp_path, faulty.url, client=client, size=2)
    write(tmp_path, {"Patient": [patient("p-0", active="?"), patient("p-1")]})
    faulty.refuse = lambda body: body.get("active") == "?"
    assert push(tmp_path, faulty.url, client=client).refused == 1
    assert undo("last", client=client, journal=tmp_path).left == 0
    assert not faulty.store


@pytest.mark.parametrize("fault", ["", "reset_before", "reset_after"])
def test_what_an_undo_restored_is_known_as_ours(
    faulty: FaultyServer, client: Client, tmp_path: Path, fault: str
) -> None:
    write(tmp_path, {"Patient": [patient("p-0"), patient("p-1")], "Organization": [organization()]})
    push(tmp_path, faulty.url, client=client)
    theirs = dump(patient("p-1", birthDate="1970")).encode()
    faulty.store["Patient/p-1"] = theirs
    write(tmp_path, {"Patient": [patient("p-0", active=True), patient("p-1", active=True)]})
    if fault:
        faulty.faults.append(Fault(fault, where=lambda method, url: method == "PUT"))
        client.attempts = 1
        with pytest.raises(FhirspaceError, match="FS510"):
            push(tmp_path, faulty.url, client=client, overwrite=True)
        client.attempts = 7
    else:
        push(tmp_path, faulty.url, client=client, overwrite=True)
    assert undo("last", client=client, journal=tmp_path).left == 0
    write(tmp_path, {"Patient": [patient("p-0", active=False), patient("p-1", active=False)]})
    report = push(tmp_path, faulty.url, client=client)
    assert [each.key for each in report.conflicting] == ["Patient/p-1"], "what somebody else wrote is still theirs"
    assert (report.updated, faulty.store["Patient/p-1"]) == (1, cleaned(theirs))
    write(tmp_path, {"Patient": [patient("p-0")]})
    undo(report.run, client=client, journal=tmp_path)
    assert push(tmp_path, faulty.url, client=client).unchanged == 2


def test_a_history_that_leads_away_is_not_followed() -> None:
    class Away:
        def send(self, method: str, path: str, body: bytes | None = None, headers: Any = None) -> Response:
            assert path.startswith("Patient/p/_history"), "nothing else is asked for"
            link = {"relation": "next", "url": "http://elsewhere.example/fhir/Patient/p/_history?page=2"}
            return Response(200, {}, json.dumps({"resourceType": "Bundle", "type": "history", "link": [link]}).encode())

    with pytest.raises(FhirspaceError, match="FS530"):
        list(versions(Client("http://127.0.0.1/fhir", Away()), "Patient/p"))


def test_an_undo_survives_faults(faulty: FaultyServer, client: Client, tmp_path: Path) -> None:
    folder = trial(tmp_path, patients=10, each=5)
    push(folder, faulty.url, client=client)
    faulty.fault_rate, faulty.fault_names, faulty.seed = 0.3, ["reset_after", "reset_before", "too_many", "broken"], 5
    assert undo("last", client=client, journal=folder).left == 0
    assert not faulty.store


def test_what_was_delivered_is_read_back(faulty: FaultyServer, client: Client, tmp_path: Path) -> None:
    folder = trial(tmp_path)
    run = push(folder, faulty.url, client=client).run
    good = verify(run, client=client, journal=folder)
    assert (good.same, good.total, good.problems) == (17, 17, [])
    del faulty.store["Observation/ob-p-0-0"]
    body = json.loads(faulty.store["Patient/p-1"]) | {"gender": "male"}
    faulty.store["Patient/p-1"] = json.dumps(body).encode()
    found = verify("last", client=client)
    assert (found.same, found.missing, found.changed) == (15, 1, 1)
    assert [problem.code for problem in found.problems] == ["FS533", "FS534"]
    assert found.keys == ["Observation/ob-p-0-0", "Patient/p-1"]
    assert "male" not in repr(found.as_dict())


def test_a_lost_trailing_zero_is_a_change(faulty: FaultyServer, client: Client, tmp_path: Path) -> None:
    push(trial(tmp_path), faulty.url, client=client)
    key = "Observation/ob-p-0-0"
    faulty.store[key] = faulty.store[key].replace(b"5.50", b"5.5")
    assert verify("last", client=client).changed == 1


def test_how_far_a_delivery_is(faulty: FaultyServer, client: Client, tmp_path: Path) -> None:
    folder = trial(tmp_path)
    faulty.refuse = lambda body: body["id"] == "ob-p-1-1"
    push(folder, faulty.url, client=client)
    (found,) = status(folder)
    assert found["delivered"] == {"Observation": 11, "Organization": 1, "Patient": 3, "ResearchStudy": 1}
    assert (found["dead"], found["unfinished"]) == (1, None)
    faulty.faults.extend(["unavailable"] * client.attempts)
    with pytest.raises(FhirspaceError):
        push(folder, faulty.url, client=client)
    assert status(folder)[0]["unfinished"] == runs(folder)[-1]["run"]


@pytest.mark.parametrize("name", ["nobody", "last"])
def test_a_run_that_nobody_knows(tmp_path: Path, name: str) -> None:
    with pytest.raises(FhirspaceError, match="FS529"):
        journal_of(name)


def ran(command: str, faulty: FaultyServer, folder: Path, capsys: pytest.CaptureFixture[str], run: str = "last") -> Any:
    """The exit code of `verify` or `undo` as a command, its report, and what it says."""
    code = main([command, run, "--server", faulty.url, "--journal", str(folder), "--json", "--id-key", "demo"])
    said = capsys.readouterr()
    return code, json.loads(said.out), said.err


@pytest.mark.parametrize("command", ["verify", "undo"])
def test_last_is_the_last_run_that_wrote_something(
    command: str, faulty: FaultyServer, client: Client, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = trial(tmp_path)
    first, empty = (push(folder, faulty.url, client=client).run for _ in range(2))
    code, report, said = ran(command, faulty, folder, capsys)
    assert (code, report["run"], report["total"]) == (0, first, 17)
    assert "empty" not in said
    code, report, said = ran(command, faulty, folder, capsys, empty)
    assert (code, report["run"], report["total"]) == (0, empty, 0)
    assert f"run {empty} is empty: " in said


@pytest.mark.parametrize("command", ["verify", "undo"])
def test_where_no_run_wrote_anything_last_is_refused_by_name(
    command: str, faulty: FaultyServer, client: Client, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = trial(tmp_path)
    faulty.refuse = lambda body: True
    empty = push(folder, faulty.url, client=client).run
    code, report, said = ran(command, faulty, folder, capsys)
    assert (code, report["error"]["code"]) == (2, "FS597")
    assert f"the last run, {empty}, wrote nothing" in said


def test_what_the_server_held_already_can_be_verified_and_is_not_taken_back(
    faulty: FaultyServer, client: Client, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = trial(tmp_path / "in")
    push(folder, faulty.url, client=client)
    second = push(folder, faulty.url, client=client, journal=tmp_path / "fresh.db", provenance=False)
    assert second.unchanged_on_server == 17
    code, report, _ = ran("verify", faulty, tmp_path / "fresh.db", capsys)
    assert (code, report["run"], report["same"]) == (0, second.run, 17)
    code, report, _ = ran("undo", faulty, tmp_path / "fresh.db", capsys)
    assert (code, report["error"]["code"]) == (2, "FS597")
    assert len(faulty.store) >= 17


def test_an_undo_that_is_asked_for_again_takes_no_earlier_run_back(
    faulty: FaultyServer, client: Client, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = trial(tmp_path)
    push(folder, faulty.url, client=client)
    write(folder, CHANGED)
    second = push(folder, faulty.url, client=client).run
    assert ran("undo", faulty, folder, capsys)[1]["total"] == 8
    code, report, said = ran("undo", faulty, folder, capsys)
    assert (code, report["run"], report["total"]) == (0, second, 0)
    assert f"run {second} is empty: nothing that it wrote is left to be taken back" in said


def test_an_undo_is_not_taken_back(faulty: FaultyServer, client: Client, tmp_path: Path) -> None:
    push(trial(tmp_path), faulty.url, client=client)
    undo("last", client=client)
    name: Any = runs(tmp_path)[-1]["run"]
    with pytest.raises(FhirspaceError, match="FS529"):
        undo(name, client=client)


@pytest.mark.parametrize("killed", ["before", "after"])
@pytest.mark.parametrize("created", [True, False])
def test_a_push_after_a_killed_undo_finds_no_conflict(
    faulty: FaultyServer, client: Client, tmp_path: Path, killed: str, created: bool
) -> None:
    write(tmp_path, {"Patient": [patient("p-0"), patient("p-1")], "Organization": [organization()]})
    run = push(tmp_path, faulty.url, client=client, size=50).run
    if not created:
        write(tmp_path, {"Patient": [patient("p-0", active=True), patient("p-1", active=True)]})
        run = push(tmp_path, faulty.url, client=client).run
    sent = held(faulty)
    client.attempts = 1
    method = "DELETE" if created else "PUT"
    faulty.faults.append(Fault(f"reset_{killed}", where=lambda asked, url: asked == method))
    with pytest.raises(FhirspaceError, match="FS510"):
        undo(run, client=client, journal=tmp_path)
    client.attempts = 7
    report = push(tmp_path, faulty.url, client=client)
    assert (report.conflicts, report.problems) == (0, [])
    assert held(faulty) == sent, "what was taken back is there again"
    assert push(tmp_path, faulty.url, client=client).unchanged == report.total


@pytest.mark.parametrize("act", [undo, verify])
def test_a_run_is_looked_for_on_its_own_server_only(
    faulty: FaultyServer, client: Client, tmp_path: Path, act: Any
) -> None:
    write(tmp_path / "a", {"Patient": [patient("p-0")], "Organization": [organization()]})
    run = push(tmp_path / "a", faulty.url, client=client).run
    with serving() as other:
        push(write(tmp_path / "b", {"Patient": [patient("p-0")], "Organization": [organization()]}), other.url)
        with pytest.raises(FhirspaceError, match="FS605"):
            act(run, other.url, journal=tmp_path / "a")
        assert "Patient/p-0" in other.store
    assert act(run, faulty.url.replace("http:", "HTTP:") + "/", journal=tmp_path / "a").total
