"""A server that makes the ids itself: each resource once, found by its identifier, referred to by the server's id."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fhirspace.delivery.conditional.identify import ADDED
from fhirspace.delivery.journal import Journal
from fhirspace.delivery.plan.plan import plan
from fhirspace.delivery.push.push import PushReport, push, retry
from fhirspace.delivery.undo import undo
from fhirspace.delivery.verify import verify
from fhirspace.errors import FhirspaceError
from fhirspace.fhir.canonical import canonical
from fhirspace.fhirserver.http.client import Client
from fhirspace.fhirserver.http.transport import Response
from fhirspace.testing import PASSING, Fault, FaultyServer
from tests.delivery.push.test_push import counts
from tests.support.killing import run_and_kill
from tests.support.resources import dump, lines_of, observation, organization, patient, ref, resource, trial, write

CARRIERS = [{"transaction", "batch"}, {"batch"}, {"history-system"}]
"""Kinds of Bundle that a server takes; the last one takes none, and gets single requests."""
OF_BUNDLES = ["fewer_entries", "no_bundle", "strange"]
KINDS = ["Organization", "Patient", "Observation"]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FHIRSPACE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def making(faulty: FaultyServer) -> FaultyServer:
    """A server that makes the ids, and a version of every update: what is sent twice shows."""
    faulty.types = [*faulty.types, "Encounter", "Provenance"]
    faulty.client_ids, faulty.keeps_version, faulty.delay = False, False, 0.7
    return faulty


def keys_by_place(faulty: FaultyServer) -> dict[str, str]:
    """Our key of each resource, by its key on the server, for those whose identifier we added."""
    return {
        place: item["value"]
        for place, body in faulty.store.items()
        for item in json.loads(body).get("identifier", ())
        if item["system"] == ADDED
    }


def exactly_once(faulty: FaultyServer, folder: Path) -> None:
    """What the server holds is what was sent, under ids of its own, with references to these, in one version each."""
    ours = keys_by_place(faulty)
    assert len(ours) == len(set(ours.values())) == len(faulty.store)
    held = []
    for place, body in faulty.store.items():
        text = body.decode()
        for there, key in ours.items():
            text = text.replace(f'"reference":"{there}"', f'"reference":"{key}"')
        name, own = place.partition("/")[2], ours[place].partition("/")[2]
        assert name != own
        text = text.replace(f',"identifier":[{{"system":"{ADDED}","value":"{ours[place]}"}}]', "")
        held.append(canonical(text.replace(f'"id":"{name}"', f'"id":"{own}"').encode()))
    assert sorted(held) == sorted(map(canonical, lines_of(folder)))
    assert set(faulty.versions.values()) == {1}


def updates(faulty: FaultyServer) -> int:
    """How many updates were sent, alone or in a Bundle."""
    alone = sum(request.method == "PUT" for request in faulty.requests)
    return alone + sum(body.count(b'"request":{"method":"PUT"') for body in faulty.transactions())


class Killed(Exception):
    """The client is gone once the server has its request."""


@contextmanager
def killing(client: Client) -> Iterator[None]:
    """The client dies when its first Bundle is answered."""
    kept = client.transport
    assert kept is not None
    send_on = kept.send

    class Dying:
        def send(self, method: str, path: str, body: bytes | None = None, headers: Any = None) -> Response:
            answer = send_on(method, path, body, headers)
            if method == "POST":
                raise Killed
            return answer

    client.transport = Dying()
    yield
    client.transport = kept


def told(report: PushReport) -> list[str]:
    return [f"{problem.code} {problem.place}" for problem in report.problems]


@pytest.mark.parametrize("kinds", CARRIERS)
def test_everything_arrives_once_and_refers_to_the_ids_that_the_server_made(
    making: FaultyServer, client: Client, tmp_path: Path, kinds: set[str]
) -> None:
    making.bundle_types = kinds
    folder = trial(tmp_path, patients=6, each=4)
    assert counts(push(folder, making.url, client=client, connections=3)) == (32, 0, 0, 0, 0)
    exactly_once(making, folder)
    assert updates(making) == 32


@pytest.mark.slow
@pytest.mark.parametrize("kinds", CARRIERS)
@pytest.mark.parametrize("seed", range(2))
def test_a_third_of_all_answers_failing_makes_nothing_twice(
    making: FaultyServer, client: Client, tmp_path: Path, seed: int, kinds: set[str]
) -> None:
    making.bundle_types, making.fault_rate, making.seed, making.delay = kinds, 0.3, seed, 0.01
    making.fault_names = [name for name in PASSING if name not in OF_BUNDLES or "batch" in kinds]
    folder = trial(tmp_path, patients=10, each=3)
    report = push(folder, making.url, client=client, connections=2)
    assert counts(report) == (42, 0, 0, 0, 0), "also what an unanswered attempt created is this run's"
    assert sum(making.fired.values()) > 10
    making.fault_rate = 0
    exactly_once(making, folder)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kinds", "fault"),
    [(kinds, fault) for kinds in CARRIERS for fault in PASSING if "batch" in kinds or fault not in OF_BUNDLES],
    ids=lambda each: each if isinstance(each, str) else "-".join(sorted(each)),
)
def test_each_fault_at_an_update_is_safe(
    making: FaultyServer, client: Client, tmp_path: Path, kinds: set[str], fault: str
) -> None:
    making.bundle_types = kinds
    folder = trial(tmp_path, patients=1, each=1)
    making.faults.append(Fault(fault, where=lambda method, url: method == "PUT" and url.startswith("Patient"), times=2))
    report = push(folder, making.url, client=client)
    assert counts(report) == (4, 0, 0, 0, 0)
    assert 1 <= making.fired[fault] <= 2
    exactly_once(making, folder)


def test_after_a_lost_answer_it_is_looked_for_and_not_sent_again(
    making: FaultyServer, client: Client, tmp_path: Path
) -> None:
    write(tmp_path, {"Organization": [organization()]})
    making.faults.append(Fault("reset_after", where=lambda method, url: method == "PUT"))
    assert push(tmp_path, making.url, client=client).created == 1
    written = [(request.method, request.place) for request in making.requests if request.method != "GET"]
    assert written == [("POST", "Organization/_search"), ("POST", ""), ("POST", "Organization/_search")]
    assert not any("identifier" in request.path for request in making.requests), "identifiers stand in no URL"


def test_a_lost_request_is_looked_for_and_then_sent_again(making: FaultyServer, client: Client, tmp_path: Path) -> None:
    write(tmp_path, {"Organization": [organization()]})
    making.faults.append(Fault("reset_before", where=lambda method, url: method == "PUT"))
    assert push(tmp_path, making.url, client=client).created == 1
    written = [request.place for request in making.requests if request.method != "GET"]
    assert written == ["Organization/_search", "", "Organization/_search", ""]


def test_a_second_push_sends_nothing_and_a_change_is_one_version(
    making: FaultyServer, client: Client, tmp_path: Path
) -> None:
    folder = trial(tmp_path)
    push(folder, making.url, client=client)
    sent = updates(making)
    assert counts(push(folder, making.url, client=client)) == (0, 0, 17, 0, 0)
    assert updates(making) == sent
    exactly_once(making, folder)
    write(folder, {"Observation": [observation("ob-p-0-0", "p-1", "7.10"), observation("new", "p-2", "0.50")]})
    assert counts(push(folder, making.url, client=client)) == (1, 1, 5, 0, 0)
    places = {key: place for place, key in keys_by_place(making).items()}
    changed = making.store[places["Observation/ob-p-0-0"]]
    assert b'"value":7.10' in changed
    assert json.loads(changed)["subject"]["reference"] == places["Patient/p-1"]
    assert making.versions[places["Observation/ob-p-0-0"]] == 2
    assert sum(making.versions.values()) == 19
    assert json.loads(making.store[places["Observation/new"]])["subject"]["reference"] == places["Patient/p-2"]


def test_without_the_journal_they_are_found_and_stay_as_they_are(
    making: FaultyServer, client: Client, tmp_path: Path
) -> None:
    making.keeps_version = True
    folder = trial(tmp_path)
    push(folder, making.url, client=client)
    report = push(folder, making.url, client=client, journal=tmp_path / "other" / "journal.db")
    assert counts(report) == (0, 0, 0, 17, 0)
    exactly_once(making, folder)


@pytest.mark.slow
def test_killed_again_and_again_it_resumes_and_makes_nothing_twice(making: FaultyServer, tmp_path: Path) -> None:
    folder = trial(tmp_path, patients=6, each=3)
    dice = random.Random(5)
    making.faults.extend(dice.choice(["reset_after", "reset_before", None, None, None, None]) for _ in range(15))
    kills = 0
    while not run_and_kill(folder, making.url, 1, after=dice.random() / 10 if kills > 1 else 0):
        kills += 1
        assert kills < 200
    assert kills >= 2
    exactly_once(making, folder)


def killed_on_the_way(making: FaultyServer, client: Client, folder: Path) -> Path:
    """One resource was sent by a client that died before its answer came."""
    write(folder, {"Organization": [organization()]})
    with killing(client), pytest.raises(Killed):
        push(folder, making.url, client=client)
    return folder


def test_what_was_on_its_way_when_the_client_died_is_looked_for_first(
    making: FaultyServer, client: Client, tmp_path: Path
) -> None:
    folder = killed_on_the_way(making, client, tmp_path)
    with Journal(folder / "journal.db", making.url) as book:
        run = book._base.execute("SELECT run FROM runs").fetchone()[0]
    with pytest.raises(FhirspaceError, match="FS584"):
        undo(run, client=client, journal=folder)
    report = push(folder, making.url, client=client)
    assert (report.run, report.created) == (run, 1)
    exactly_once(making, folder)
    assert updates(making) == 1
    assert undo(run, client=client, journal=folder).deleted == 1


def test_what_left_the_folder_before_its_id_was_known_is_told_by_undo(
    making: FaultyServer, client: Client, tmp_path: Path
) -> None:
    folder = killed_on_the_way(making, client, tmp_path)
    write(folder, {"Organization": [organization("o-2")]})
    run = push(folder, making.url, client=client).run
    report = undo(run, client=client, journal=folder)
    assert (report.deleted, report.left, report.keys) == (1, 1, ["Organization/o-1"])
    assert [problem.code for problem in report.problems] == ["FS584"]


@pytest.mark.parametrize("kinds", CARRIERS)
def test_its_own_identifier_is_taken_where_it_stands_in_no_url(
    making: FaultyServer, client: Client, tmp_path: Path, kinds: set[str]
) -> None:
    making.bundle_types = kinds
    own = [{"value": "no system"}, {"system": "urn:mrn", "value": "CANARY|4,7\\11$"}]
    write(tmp_path, {"Patient": [{"resourceType": "Patient", "id": "p-1", "identifier": own}]})
    assert push(tmp_path, making.url, client=client).created == 1
    (body,) = making.store.values()
    added = [] if "batch" in kinds else [{"system": ADDED, "value": "Patient/p-1"}]
    assert json.loads(body)["identifier"] == [*own, *added]
    assert not any("CANARY" in request.path for request in making.requests)
    assert b"CANARY" not in b"".join(file.read_bytes() for file in tmp_path.glob("journal.db*"))
    again = push(tmp_path, making.url, client=client, journal=tmp_path / "other.db")
    assert (again.created, len(making.store)) == (0, 1), "it is found, whatever stands in its value"


def test_of_two_with_one_identifier_the_second_is_buried(making: FaultyServer, client: Client, tmp_path: Path) -> None:
    shared = [{"system": "urn:mrn", "value": "1"}]
    people = [{"resourceType": "Patient", "id": f"p-{n}", "identifier": shared, "active": not n} for n in range(2)]
    write(tmp_path, {"Patient": people})
    report = push(tmp_path, making.url, client=client, connections=4)
    assert counts(report) == (1, 0, 0, 0, 1)
    assert told(report) == ["FS581 Patient.ndjson:2"]
    assert [json.loads(body)["active"] for body in making.store.values()] == [True]
    assert counts(push(tmp_path, making.url, client=client)) == (0, 0, 1, 0, 1), "in a later push as well"


def test_a_refused_one_gives_its_identifier_back(making: FaultyServer, client: Client, tmp_path: Path) -> None:
    shared = [{"system": "urn:mrn", "value": "1"}]
    wrong, right = ({"resourceType": "Patient", "id": name, "identifier": shared} for name in "ab")
    making.refuse = lambda body: True
    assert told(push(write(tmp_path, {"Patient": [wrong]}), making.url, client=client)) == ["FS520 Patient.ndjson:1"]
    making.refuse = lambda body: False
    assert push(write(tmp_path, {"Patient": [right]}), making.url, client=client).created == 1


def test_what_has_no_identifier_is_buried_and_so_is_what_refers_to_it(
    making: FaultyServer, client: Client, tmp_path: Path
) -> None:
    making.types = [*making.types, "Binary", "QuestionnaireResponse"]
    answers = {"resourceType": "QuestionnaireResponse", "id": "q", "status": "completed"}
    write(
        tmp_path,
        {
            "Provenance": [{"resourceType": "Provenance", "id": "x", "recorded": "2024-05-01"}],
            "Other": [
                answers | {"identifier": {"value": "no system"}},
                answers | {"id": "good"},
                {"resourceType": "NoSuchType", "id": "x"},
            ],
            "Task": [{"resourceType": "Task", "id": "t", "focus": ref("Provenance", "x")}],
        },
    )
    report = push(tmp_path, making.url, client=client)
    assert counts(report) == (1, 0, 0, 0, 4)
    expected = ["FS524 Task.ndjson:1", "FS580 Other.ndjson:1", "FS580 Other.ndjson:3", "FS580 Provenance.ndjson:1"]
    assert sorted(told(report)) == expected
    (body,) = making.store.values()
    assert json.loads(body)["identifier"] == {"system": ADDED, "value": "QuestionnaireResponse/good"}, "no list here"


def test_a_type_that_is_not_searched_by_identifier_is_buried(
    making: FaultyServer, client: Client, tmp_path: Path
) -> None:
    stated = making.capabilities()["rest"][0]
    for each in stated["resource"]:
        if each["type"] == "Patient":
            each["searchParam"] = [{"name": "_id", "type": "token"}]
    making.statement = {"rest": [stated]}
    write(tmp_path, {"Patient": [{"resourceType": "Patient", "id": "p"}], "Organization": [organization()]})
    report = push(tmp_path, making.url, client=client)
    assert (counts(report), told(report)) == ((1, 0, 0, 0, 1), ["FS580 Patient.ndjson:1"])


def test_a_circle_is_buried_and_a_chain_within_a_type_arrives(
    making: FaultyServer, client: Client, tmp_path: Path
) -> None:
    def encounter(name: str, part_of: str) -> str:
        return dump(resource("Encounter", name, partOf=ref("Encounter", part_of)))

    circle = [encounter("e-1", "e-2"), encounter("e-2", "e-1"), encounter("own", "own")]
    chain = [encounter("c-2", "c-1"), encounter("c-1", "c-0"), dump(resource("Encounter", "c-0"))]
    folder = write(tmp_path, {"Encounter": [*circle, *chain]})
    report = push(folder, making.url, client=client, connections=3)
    assert counts(report) == (3, 0, 0, 0, 3)
    assert sorted(told(report)) == [f"FS582 Encounter.ndjson:{row}" for row in (1, 2, 3)]
    write(folder, {"Encounter": chain})
    exactly_once(making, folder)


def test_several_with_the_identifier_are_told_and_retry_sends_it_when_one_is_left(
    making: FaultyServer, client: Client, tmp_path: Path
) -> None:
    theirs = {"resourceType": "Organization", "identifier": [{"system": ADDED, "value": "Organization/o-1"}]}
    for name in ("a", "b"):
        making.store[f"Organization/{name}"] = dump(theirs | {"id": name}).encode()
    write(tmp_path, {"Organization": [organization()]})
    for fault in (None, "reset_before"):
        making.faults.append(fault)
        report = push(tmp_path, making.url, client=client)
        assert told(report) == ["FS583 Organization.ndjson:1"]
    del making.store["Organization/b"]
    left = retry(tmp_path, making.url, client=client, run=report.run)
    assert (left.conflicts, left.total) == (1, 1), "another client made it"
    assert counts(retry(tmp_path, making.url, client=client, overwrite=True, run=left.run)) == (0, 1, 0, 0, 0)
    assert making.versions == {"Organization/a": 2}


@pytest.mark.parametrize("kinds", CARRIERS)
def test_verify_tells_what_is_gone_and_what_was_changed(
    making: FaultyServer, client: Client, tmp_path: Path, kinds: set[str]
) -> None:
    making.bundle_types = kinds
    run = push(trial(tmp_path), making.url, client=client).run
    found = verify(run, client=client, journal=tmp_path)
    assert (found.same, found.total) == (17, 17)
    places = {key: place for place, key in keys_by_place(making).items()}
    del making.store[places["Observation/ob-p-0-0"]]
    there = places["Observation/ob-p-1-1"]
    making.store[there] = making.store[there].replace(b'"value":0.10', b'"value":0.1')
    found = verify(run, client=client, journal=tmp_path)
    assert (found.same, found.missing, found.changed) == (15, 1, 1)
    assert sorted(found.keys) == ["Observation/ob-p-0-0", "Observation/ob-p-1-1"]


@pytest.mark.parametrize("kinds", CARRIERS)
def test_a_run_is_taken_back(making: FaultyServer, client: Client, tmp_path: Path, kinds: set[str]) -> None:
    making.bundle_types = kinds
    folder = trial(tmp_path)
    push(folder, making.url, client=client)
    before = {place: canonical(body) for place, body in making.store.items()}
    changed = [patient(f"p-{n}", active=True) for n in range(4)]
    write(folder, {"Patient": changed, "Observation": [observation("new", "p-3")]})
    second = push(folder, making.url, client=client)
    assert (second.created, second.updated) == (2, 3)
    report = undo(second.run, client=client, journal=folder)
    assert (report.restored, report.deleted, report.left) == (3, 2, 0)
    assert {place: canonical(body) for place, body in making.store.items()} == before
    write(folder, {"Patient": [], "Observation": [observation("later", "p-2")]})
    assert push(folder, making.url, client=client).created == 1, "it is known where p-2 is, which is not sent again"


@pytest.mark.parametrize("status", [405, 400, 404])
def test_what_somebody_deleted_is_made_anew_at_its_next_change(
    making: FaultyServer, client: Client, tmp_path: Path, status: int
) -> None:
    making.client_id_status = status
    folder = write(tmp_path, {"Organization": [organization(f"o-{n}") for n in range(3)]})
    push(folder, making.url, client=client)
    places = {key: place for place, key in keys_by_place(making).items()}
    del making.store[places["Organization/o-1"]]
    write(folder, {"Organization": [organization(f"o-{n}") | {"name": "Site 2"} for n in range(3)]})
    report = push(folder, making.url, client=client)
    assert (counts(report), told(report)) == ((0, 2, 0, 0, 0), ["FS539 Organization.ndjson:2"])
    assert counts(push(folder, making.url, client=client, overwrite=True)) == (1, 0, 2, 0, 0)
    now = {key: place for place, key in keys_by_place(making).items()}
    assert [now[key] == place for key, place in places.items()] == [True, False, True]


def test_an_emptied_server_gets_everything_again(making: FaultyServer, client: Client, tmp_path: Path) -> None:
    folder = trial(tmp_path)
    push(folder, making.url, client=client)
    making.store.clear()
    report = push(folder, making.url, client=client)
    assert (report.created, told(report)) == (17, ["FS526 journal.db"])
    exactly_once(making, folder)


def test_a_server_that_changes_its_mind_gets_nothing_twice(
    faulty: FaultyServer, client: Client, tmp_path: Path
) -> None:
    folder = trial(tmp_path)
    push(folder, faulty.url, client=client)
    faulty.client_ids = False
    write(folder, {"Patient": [patient(f"p-{n}", active=True) for n in range(4)]})
    assert counts(push(folder, faulty.url, client=client))[:2] == (1, 3)
    assert faulty.versions["Patient/p-0"] == 2
    faulty.client_ids = True
    write(folder, {"Patient": [patient(f"p-{n}", active=False) for n in range(4)]})
    assert counts(push(folder, faulty.url, client=client))[:2] == (0, 4)
    assert len(faulty.store) == 18


def test_nothing_is_planned_for_it(making: FaultyServer, client: Client, tmp_path: Path) -> None:
    with pytest.raises(FhirspaceError, match="FS517"):
        plan(trial(tmp_path), making.url, client=client)
    assert not (tmp_path / "plan.db").exists()
    making.client_ids = True
    planned = plan(tmp_path, making.url, client=client)
    making.client_ids = False
    with pytest.raises(FhirspaceError, match="FS517"):
        push(tmp_path, making.url, client=client, plan=planned.file)
    assert not making.store


def test_the_way_can_be_asked_for(faulty: FaultyServer, client: Client, tmp_path: Path) -> None:
    folder = trial(tmp_path)
    assert push(folder, faulty.url, client=client, way="conditional").created == 17
    exactly_once(faulty, folder)
