"""What a push wrote is told by Provenances, one for each bundle, with exactly the versions that it made."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from fhirspace.delivery.provenance import targets_of
from fhirspace.delivery.push.push import push
from fhirspace.delivery.runs import status
from fhirspace.delivery.undo import undo
from fhirspace.errors import FhirspaceError
from fhirspace.fhir.canonical import canonical
from fhirspace.fhirserver.http.client import Client, HttpTransport
from fhirspace.testing import Fault, FaultyServer, serving
from tests.support.resources import organization, patient, trial, write


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    with serving(types=["Observation", "Organization", "Patient", "Provenance", "ResearchStudy"]) as faulty:
        yield faulty


@pytest.fixture
def there(server: FaultyServer) -> Iterator[Client]:
    transport = HttpTransport(server.url, timeout=(5, 0.6))
    yield Client(server.url, transport, sleep=lambda seconds: None)
    transport.close()


def told(server: FaultyServer, run: str) -> list[tuple[str, str]]:
    """All (key, version) that the Provenances of a run name."""
    bodies = [json.loads(body) for key, body in server.store.items() if key.startswith("Provenance/")]
    return sorted(target for body in bodies if body["meta"]["tag"][0]["code"] == run for target in targets_of(body))


def written(server: FaultyServer) -> list[tuple[str, str]]:
    return sorted((key, str(server.versions[key])) for key in server.store if not key.startswith("Provenance/"))


@pytest.mark.slow
def test_each_bundle_has_its_own(server: FaultyServer, there: Client, tmp_path: Path) -> None:
    folder = trial(tmp_path, patients=30, each=9)
    report = push(folder, server.url, client=there, size=10, connections=2)
    assert told(server, report.run) == written(server)
    assert sum(key.startswith("Provenance/") for key in server.store) == 31
    assert report.created == 302, "they are not counted among what was to be sent"

    write(folder, {"Organization": [organization() | {"name": "Site 2"}]})
    second = push(folder, server.url, client=there)
    assert told(server, second.run) == [("Organization/o-1", "2")]
    assert not told(server, push(folder, server.url, client=there).run), "nothing was written, nothing is told"
    assert status(folder)[0]["delivered"].keys() == {"Observation", "Organization", "Patient", "ResearchStudy"}


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["reset_after", "short_body"])
def test_a_run_that_was_broken_off_tells_of_everything_in_the_end(
    server: FaultyServer, there: Client, tmp_path: Path, fault: str
) -> None:
    folder = trial(tmp_path, patients=9, each=9)
    there.attempts = 1
    for nth in (1, 3, 5, 7):
        server.faults.extend([*[None] * nth, fault])
        with pytest.raises(FhirspaceError):
            push(folder, server.url, client=there, size=3)
        server.faults.clear()
    there.attempts = 7
    report = push(folder, server.url, client=there, size=3)
    assert set(told(server, report.run)) == set(written(server))
    assert undo(report.run, client=there, journal=folder).left == 0
    assert not server.store


def test_a_server_that_refuses_them_gets_the_rest(server: FaultyServer, there: Client, tmp_path: Path) -> None:
    folder = trial(tmp_path, patients=30, each=9)
    server.refuse = lambda body: body["resourceType"] == "Provenance"
    report = push(folder, server.url, client=there, size=10)
    assert (report.created, report.refused) == (302, 0)
    assert [problem.code for problem in report.problems] == ["FS518"]


def test_nobody_has_to_have_them(server: FaultyServer, there: Client, tmp_path: Path) -> None:
    push(trial(tmp_path), server.url, client=there, provenance=False)
    assert not any(key.startswith("Provenance/") for key in server.store)


def test_a_passing_fault_of_one_is_mended(server: FaultyServer, there: Client, tmp_path: Path) -> None:
    server.faults.append(Fault("unavailable", where=lambda method, url: url.startswith("Provenance"), times=2))
    report = push(
        write(tmp_path, {"Patient": [patient("p") | {"managingOrganization": {"display": "x"}}]}),
        server.url,
        client=there,
    )
    assert told(server, report.run) == [("Patient/p", "1")]


@pytest.mark.slow
def test_a_run_is_taken_back_without_its_journal(server: FaultyServer, there: Client, tmp_path: Path) -> None:
    folder = trial(tmp_path, patients=30, each=9)
    push(folder, server.url, client=there, size=10)
    before = dict(server.store)
    write(folder, {"Organization": [organization() | {"name": "Site 2"}], "Patient": [patient("new")]})
    second = push(folder, server.url, client=there)
    for file in (folder / "fhir").parent.rglob("journal.db*"):
        file.unlink()
    with pytest.raises(FhirspaceError, match="FS529"):
        undo(second.run)
    with pytest.raises(FhirspaceError, match="FS529"):
        undo("nobody", client=there, journal=tmp_path / "other.db")
    taken = undo(second.run, client=there, journal=tmp_path / "other.db")
    assert (taken.restored, taken.deleted, taken.problems) == (1, 2, []), "the Provenance goes too"
    assert {key: canonical(body) for key, body in server.store.items()} == {
        key: canonical(body) for key, body in before.items()
    }
    assert undo(second.run, client=there, journal=tmp_path / "other.db").total == 0


@pytest.mark.slow
def test_a_server_that_does_not_search_provenances_knows_no_run(server: FaultyServer, there: Client) -> None:
    server.types.remove("Provenance")
    with pytest.raises(FhirspaceError, match="FS529"):
        undo("20260101T000000Z-abcd", client=there)
