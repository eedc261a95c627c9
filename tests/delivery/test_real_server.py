"""Against a real HAPI FHIR server that validates what it is sent, R4 and R5."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from fhirspace.delivery.plan.plan import plan
from fhirspace.delivery.pull.pull import pull
from fhirspace.delivery.push.push import PushReport, push
from fhirspace.delivery.undo import undo
from fhirspace.delivery.verify import verify
from fhirspace.errors import FhirspaceError
from fhirspace.fhir.canonical import canonical
from fhirspace.fhirserver.http.client import Client, capabilities, release_of
from fhirspace.fhirserver.http.transport import HttpTransport
from fhirspace.localserver import server
from tests.support.hospital import BAD, Bad, one_bad, renamed, versions
from tests.support.killing import run_and_kill
from tests.support.resources import dump, lines_of, observation, patient, ref, resource, trial, write

pytestmark = [pytest.mark.server, pytest.mark.slow]


@pytest.fixture(params=["R4", "R5"])
def fhir(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def real(hapi: Callable[[str], str], fhir: str) -> Iterator[Client]:
    transport = HttpTransport(hapi(fhir))
    yield Client(hapi(fhir), transport)
    transport.close()


def test_pushed_twice_there_is_one_version_and_it_comes_back_exactly(real: Client, fhir: str, tmp_path: Path) -> None:
    folder = renamed(trial(tmp_path / "in", patients=5, each=5), "TWICE")
    assert release_of(capabilities(real)) == fhir
    first = push(folder, real.server, client=real, fhir=fhir)
    assert (first.created, first.refused) == (32, 0)
    assert push(folder, real.server, client=real).unchanged == 32
    again = push(folder, real.server, client=real, journal=tmp_path / "fresh.db")
    assert (again.unchanged_on_server, again.created, again.updated) == (32, 0, 0)
    assert versions(real, folder) == {"1"}

    report = pull(real.server, "TWICE", tmp_path / "out", client=real)
    assert report.counts == {"Observation": 25, "Organization": 1, "Patient": 5, "ResearchStudy": 1}
    pulled = lines_of(tmp_path / "out")
    assert sorted(map(canonical, pulled)) == sorted(map(canonical, lines_of(folder)))
    assert sum(b'"value":5.50' in line for line in pulled) == 5
    assert not any(b"versionId" in line or b"lastUpdated" in line or b'"source"' in line for line in pulled)


def test_more_than_one_page_comes_back(real: Client, tmp_path: Path) -> None:
    write(
        tmp_path / "in",
        {"Organization": [resource("Organization", f"page-{n}", "PAGES", name="x") for n in range(620)]},
    )
    assert push(tmp_path / "in", real.server, client=real).created == 620
    assert pull(real.server, "PAGES", tmp_path / "out", client=real, types=["Organization"]).total == 620
    assert lines_of(tmp_path / "out") == sorted(map(bytes, lines_of(tmp_path / "in")))


def test_the_server_refuses_what_is_no_fhir_and_the_rest_arrives(real: Client, tmp_path: Path) -> None:
    folder = trial(tmp_path, patients=3, each=3)
    wrong = json.dumps(resource("Observation", "wrong", status="no such status", code={"text": "x"}))
    lost = observation("lost", "nobody")
    extra = dump(patient("p-9", noSuchElement="x"))
    follows = observation("follows", "p-9")
    write(folder, {"Basic": [wrong, lost, extra, follows]})
    renamed(folder, "WRONG")
    for line in (folder / "fhir" / "Basic.ndjson",):
        line.rename(folder / "fhir" / "More.ndjson")
    report = push(folder, real.server, client=real)
    assert (report.created, report.refused) == (14, 4)
    assert sorted(str(problem.place) for problem in report.problems) == [f"More.ndjson:{row}" for row in (1, 2, 3, 4)]
    said = " ".join(problem.detail for problem in report.problems)
    assert "Observation.status" in said
    assert "Observation.subject" in said
    assert "no such status" not in said


def test_a_circle_goes_in_one_transaction(real: Client, fhir: str, tmp_path: Path) -> None:
    status = "finished" if fhir == "R4" else "completed"
    kind: Any = {"code": "AMB"} if fhir == "R4" else [{"coding": [{"code": "AMB"}]}]
    members = [
        resource(
            "Encounter", f"circle-{n}", status=status, **{"class": kind}, partOf=ref("Encounter", f"circle-{1 - n}")
        )
        for n in range(2)
    ]
    write(tmp_path, {"Encounter": members})
    report = push(tmp_path, real.server, client=real, size=1)
    assert (report.created, report.problems) == (2, [])


def test_killed_in_the_middle_it_resumes(real: Client, tmp_path: Path) -> None:
    folder = renamed(trial(tmp_path, patients=12, each=6), "KILLED")
    for turn in range(3):
        run_and_kill(folder, real.server, 10, answers=2, after=0.02 * turn)
    report = push(folder, real.server, client=real, size=10)
    assert report.unchanged > 0
    assert report.total == 86
    assert report.refused == 0
    assert versions(real, folder) == {"1"}
    assert pull(real.server, "KILLED", tmp_path / "out", client=real).total == 86


def test_a_server_of_another_release_is_noticed(real: Client, fhir: str, tmp_path: Path) -> None:
    with pytest.raises(FhirspaceError, match="FS513"):
        push(trial(tmp_path), real.server, client=real, fhir="R4B")


def test_the_running_servers_are_listed_and_say_nothing_of_what_they_were_sent(
    hapi: Callable[[str], str], fhir: str
) -> None:
    (found,) = [item for item in server.status() if item.url == hapi(fhir)]
    assert found.fhir == fhir
    assert os.getpid() != found.pid
    with pytest.raises(FhirspaceError, match="FS503"):
        server.start("R4", found.port)
    assert "no such status" not in found.log.read_text()


def studied(client: Client, study: str, out: Path) -> list[bytes]:
    """What the server holds of a study, in canonical form."""
    pull(client.server, study, out, client=client)
    return sorted(map(canonical, lines_of(out)))


def told_of(client: Client, run: str) -> int:
    """How many Provenances of a run the server holds."""
    form = f"_tag=https://fhirspace.org/run|{run}&_summary=count".encode()
    kind = {"Content-Type": "application/x-www-form-urlencoded", "Cache-Control": "no-cache"}
    return int(client.json("POST", "Provenance/_search", form, headers=kind)["total"])


def test_plan_push_verify_and_nothing_is_left_to_do(real: Client, fhir: str, tmp_path: Path) -> None:
    folder = renamed(trial(tmp_path / "in", patients=5, each=5), "PLANNED")
    planned = plan(folder, real.server, client=real, fhir=fhir)
    assert (planned.total("create"), planned.total("unchanged")) == (32, 0)
    report = push(folder, real.server, client=real, plan=planned.file)
    assert (report.created, report.refused, report.problems) == (32, 0, [])
    read = verify(report.run, client=real, journal=folder)
    assert (read.same, read.problems) == (32 + told_of(real, report.run), [])
    assert push(folder, real.server, client=real).unchanged == 32
    again = plan(folder, real.server, client=real, fhir=fhir)
    assert (again.total("unchanged"), again.total("update"), again.total("conflict")) == (32, 0, 0)
    assert versions(real, folder) == {"1"}
    # The plan once more, as after a kill: what it wanted is there.
    assert push(folder, real.server, client=real, plan=planned.file, journal=tmp_path / "x.db").unchanged == 32


def test_a_run_is_taken_back_and_the_server_answers_as_before(real: Client, tmp_path: Path) -> None:
    folder = renamed(trial(tmp_path / "in", patients=3, each=3), "UNDONE")
    first = push(folder, real.server, client=real)
    assert told_of(real, first.run) > 0
    before = studied(real, "UNDONE", tmp_path / "before")
    for n in range(3):  # for a minute HAPI lists no more versions than it has counted
        assert real.json("GET", f"Patient/UNDONE-p-{n}/_history")["total"] == 1
    later = [patient(f"p-{n}", active=True) | {"language": "de"} for n in range(4)]
    write(folder, {"Patient": later, "Observation": [observation("ob-new", "p-3", "7.10")]})
    renamed(folder, "UNDONE")
    second = push(folder, real.server, client=real)
    assert (second.created, second.updated, second.refused) == (2, 3, 0)
    theirs = json.dumps(observation_of(folder) | {"status": "amended"}).encode()
    assert real.request("PUT", f"Observation/{observation_of(folder)['id']}", theirs).status == 200

    report = undo(second.run, client=real, journal=folder)
    assert report.restored == 3
    # What somebody else changed is left, and so is what it refers to.
    assert report.keys[0] == f"Observation/{observation_of(folder)['id']}"
    assert {problem.code for problem in report.problems} == {"FS515", "FS516"}
    left = [line for line in studied(real, "UNDONE", tmp_path / "after") if line not in before]
    assert len(left) == len(report.keys) == 2

    assert real.request("DELETE", report.keys[0]).ok
    rest = undo(second.run, client=real, journal=folder)
    assert rest.left == 0
    assert studied(real, "UNDONE", tmp_path / "last") == before
    assert told_of(real, second.run) == 0
    assert told_of(real, first.run) > 0
    assert undo(first.run, client=real, journal=folder).left == 0
    with pytest.raises(FhirspaceError, match="FS531"):
        studied(real, "UNDONE", tmp_path / "nothing")


def observation_of(folder: Path) -> dict[str, Any]:
    """The one Observation of a folder."""
    return json.loads((folder / "fhir" / "Observation.ndjson").read_text("utf-8").splitlines()[0])


def theirs(client: Client, key: str, **elements: Any) -> None:
    """Somebody else changes a resource."""
    body = client.json("GET", key)
    assert client.request("PUT", key, json.dumps({**body, **elements}).encode()).ok


def test_a_plan_that_the_server_has_moved_on_from_is_refused_whole(real: Client, tmp_path: Path) -> None:
    folder = renamed(trial(tmp_path / "in", patients=3, each=2), "STALE")
    push(folder, real.server, client=real)
    write(folder, {"Patient": [patient(f"p-{n}", active=True) for n in range(3)]})
    planned = plan(renamed(folder, "STALE"), real.server, client=real)
    assert planned.total("update") == 3
    theirs(real, "Patient/STALE-p-1", birthDate="1990-01-01")
    with pytest.raises(FhirspaceError, match="FS538"):
        push(folder, real.server, client=real, plan=planned.file)
    assert versions(real, folder) == {"1", "2"}
    assert real.json("GET", "Patient/STALE-p-0")["meta"]["versionId"] == "1"
    assert plan(folder, real.server, client=real).total("conflict") == 1


def test_eight_clients_at_once_write_each_resource_once(real: Client, tmp_path: Path) -> None:
    whole = lines_of(renamed(trial(tmp_path / "all", patients=4, each=6), "RACE"))
    roots, rest = whole[-6:], whole[:-6]  # Organization, Patients, ResearchStudy; Observations

    def load(turn: int) -> PushReport:
        own = [line.decode() for line in (*roots, *rest[turn * 2 : turn * 2 + 10])]
        folder = write(tmp_path / str(turn), {"Basic": own})
        transport = HttpTransport(real.server)
        try:
            return push(folder, real.server, client=Client(real.server, transport), size=7, connections=2)
        finally:
            transport.close()

    with ThreadPoolExecutor(8) as pool:
        reports = list(pool.map(load, range(8)))
    assert [(report.refused, report.problems) for report in reports] == [(0, [])] * 8
    assert sum(report.created for report in reports) == len(whole), "each was made by one of them"
    assert versions(real, tmp_path / "all") == {"1"}
    assert studied(real, "RACE", tmp_path / "out") == sorted(map(canonical, whole))


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: str(bad[0]))
def test_one_bad_resource_does_not_hold_up_the_others(real: Client, bad: Bad, tmp_path: Path) -> None:
    one_bad(real, bad, tmp_path, patients=5, each=8)


@pytest.mark.parametrize("way", ["single", "batch", "conditional"])
def test_every_way_is_answered_with_proof(real: Client, fhir: str, way: Any, tmp_path: Path) -> None:
    """What HAPI says to single requests, batches and conditional updates, and to deletes, counts as it should."""
    folder = renamed(trial(tmp_path / "in", patients=1, each=1), f"WAY{way.upper()}")
    first = push(folder, real.server, client=real, way=way)
    assert (first.created, first.refused, first.problems) == (4, 0, [])
    assert push(folder, real.server, client=real, way=way).unchanged == 4
    write(folder, {"Patient": [patient("p-0", active=True)]})
    second = push(renamed(folder, f"WAY{way.upper()}"), real.server, client=real, way=way)
    assert (second.updated, second.unchanged) == (1, 3)
    assert verify(first.run, client=real, journal=folder).problems == []
    restored = undo(second.run, client=real, journal=folder)
    assert (restored.restored, restored.left) == (1, 0)
    deleted = undo(first.run, client=real, journal=folder)
    # The Patient has another version than the run made, and the same content.
    assert (deleted.deleted >= 4, deleted.left, deleted.gone, deleted.problems) == (True, 0, 0, [])
