"""A resource that the server fails at is found and rejected; a server that fails at everything stops the push."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fhirspace.delivery.push.push import push
from fhirspace.errors import FhirspaceError
from fhirspace.fhirserver.http.client import Client
from fhirspace.limits import VARIABLE
from fhirspace.testing import Fault, FaultyServer
from tests.delivery.push.test_push import counts
from tests.support.resources import organization, write

WAYS = ["transaction", "batch", "single", "conditional"]


def many(folder: Path, count: int = 40) -> Path:
    return write(folder, {"Organization": [organization(f"o-{n}") for n in range(count)]})


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("bad", [{"o-7"}, {"o-0", "o-1"}, {"o-3", "o-20", "o-39"}], ids=len)
def test_what_the_server_fails_at_is_rejected_and_the_others_are_delivered(
    faulty: FaultyServer, client: Client, tmp_path: Path, way: Any, bad: set[str]
) -> None:
    faulty.client_ids = way != "conditional"
    faulty.poison = lambda body: (
        any(f'"o-{name[2:]}"' in str(body).replace("'", '"') for name in bad)
        or bool(bad & {item["value"].partition("/")[2] for item in body.get("identifier", ())})
    )
    report = push(many(tmp_path), faulty.url, client=client, way=way, size=20)
    assert counts(report) == (40 - len(bad), 0, 0, 0, len(bad))
    assert {problem.code for problem in report.problems} == {"FS520"}
    assert {problem.place.row for problem in report.problems} == {int(name[2:]) + 1 for name in bad}
    assert all("status 500" in problem.detail for problem in report.problems)
    assert report.dead is not None
    assert len(report.dead.read_bytes().splitlines()) == len(bad)
    assert len(faulty.store) == 40 - len(bad)
    faulty.poison = lambda body: False
    assert push(tmp_path, faulty.url, client=client, way=way).created == len(bad)


@pytest.mark.parametrize("way", WAYS)
def test_a_server_that_fails_at_reads_too_stops_the_push(
    faulty: FaultyServer, client: Client, tmp_path: Path, way: Any
) -> None:
    faulty.client_ids = way != "conditional"
    push(many(tmp_path, 2), faulty.url, client=client, way=way)
    faulty.fault_reads = True
    faulty.faults.append(Fault("broken", where=lambda method, url: method == "PUT", times=client.attempts))
    faulty.faults.append(Fault("broken", times=99))
    write(tmp_path, {"Organization": [organization(f"o-{n}") | {"name": "B"} for n in range(2)]})
    with pytest.raises(FhirspaceError, match=r"FS512.*status 500") as caught:
        push(tmp_path, faulty.url, client=client, way=way)
    assert caught.value.exit_code == 4
    faulty.faults.clear()
    report = push(tmp_path, faulty.url, client=client, way=way)
    assert (report.updated, report.refused, report.total) == (2, 0, 2)


def test_a_server_that_takes_nothing_any_more_stops_the_push(
    faulty: FaultyServer, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "failures=5")
    faulty.poison = lambda body: True
    with pytest.raises(FhirspaceError, match=r"FS512.*status 500"):
        push(many(tmp_path), faulty.url, client=client)
    faulty.poison = lambda body: False
    assert push(tmp_path, faulty.url, client=client).created == 40


@pytest.mark.parametrize("status", ["unavailable", "bad_gateway", "gateway_timeout"])
def test_what_a_gateway_says_blames_no_resource(
    faulty: FaultyServer, client: Client, tmp_path: Path, status: str
) -> None:
    faulty.faults.append(Fault(status, where=lambda method, url: method == "PUT", times=99))
    with pytest.raises(FhirspaceError, match="FS512"):
        push(many(tmp_path, 3), faulty.url, client=client)
