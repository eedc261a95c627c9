"""Transactions, batches, single requests: whatever the server takes, each resource has its one effect."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fhirspace.delivery.push.push import push
from fhirspace.fhirserver.http.client import Client
from fhirspace.testing import PASSING, Fault, FaultyServer
from tests.delivery.push.test_push import counts, exactly_once
from tests.support.resources import dump, observation, organization, patient, trial, write

WAYS = ["transaction", "batch", "single"]
OF_BUNDLES = ["fewer_entries", "no_bundle", "strange"]
KINDS = ["Organization", "Patient", "Observation"]


@pytest.mark.parametrize("kinds", [{"transaction", "batch"}, {"batch"}, {"history-system"}])
def test_a_server_gets_what_it_takes(faulty: FaultyServer, client: Client, tmp_path: Path, kinds: set[str]) -> None:
    faulty.bundle_types = kinds
    folder = trial(tmp_path, patients=6, each=4)
    report = push(folder, faulty.url, client=client, size=7, connections=2)
    assert counts(report) == (32, 0, 0, 0, 0)
    exactly_once(faulty, folder)


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault_of",
    [(way, fault) for way in WAYS for fault in PASSING if way != "single" or fault not in OF_BUNDLES],
    ids="-".join,
)
@pytest.mark.parametrize("kind", KINDS)
def test_each_fault_at_each_kind_of_entry_is_safe(
    faulty: FaultyServer, client: Client, tmp_path: Path, kind: str, fault_of: tuple[Any, str]
) -> None:
    way, fault = fault_of
    faulty.delay = 0.7
    folder = trial(tmp_path, patients=2, each=3)
    faulty.faults.append(Fault(fault, where=lambda method, url: method == "PUT" and url.startswith(kind), times=2))
    report = push(folder, faulty.url, client=client, way=way, size=4)
    assert 1 <= faulty.fired[fault] <= 2
    assert (report.refused, report.total) == (0, 10)
    assert report.created == 10, "also what an unanswered attempt created is this run's"
    exactly_once(faulty, folder)


@pytest.mark.parametrize("way", WAYS)
def test_the_refused_alone_is_buried(faulty: FaultyServer, client: Client, tmp_path: Path, way: Any) -> None:
    folder = trial(tmp_path, patients=4, each=4)
    faulty.refuse = lambda body: body["id"] == "ob-p-2-1"
    report = push(folder, faulty.url, client=client, way=way)
    assert counts(report) == (21, 0, 0, 0, 1)
    assert [str(problem.place) for problem in report.problems] == ["Observation.ndjson:10"]
    assert "SECRET-CANARY" not in repr(report.as_dict())


@pytest.mark.parametrize("way", ["batch", "single"])
def test_targets_come_first_without_transactions_too(
    faulty: FaultyServer, client: Client, tmp_path: Path, way: Any
) -> None:
    folder = write(tmp_path, {"Patient": [patient("p-1")], "Organization": [organization()]})
    assert counts(push(folder, faulty.url, client=client, way=way, connections=3)) == (2, 0, 0, 0, 0)


def test_a_bundle_too_large_is_halved_for_good(faulty: FaultyServer, client: Client, tmp_path: Path) -> None:
    folder = trial(tmp_path, patients=30, each=5)
    faulty.most_entries = 30
    report = push(folder, faulty.url, client=client, size=160)
    assert counts(report) == (182, 0, 0, 0, 0)
    assert len([entry for entry in faulty.transactions() if entry.count(b'"request"') > 30]) == 3, "160, 80, 40"


def test_what_is_sent_can_be_compressed(faulty: FaultyServer, client: Client, tmp_path: Path) -> None:
    folder = trial(tmp_path)
    assert push(folder, faulty.url, client=client, gzip=True).created == 17
    exactly_once(faulty, folder)
    (request,) = [each for each in faulty.requests if b'"method":"PUT"' in each.body]
    assert request.headers["content-encoding"] == "gzip"


def test_a_rate_is_kept(faulty: FaultyServer, tmp_path: Path) -> None:
    folder = trial(tmp_path, patients=10, each=5)
    report = push(folder, faulty.url, size=10, rate=10)
    assert report.seconds >= 0.6, "six of seven requests are followed by another one"


def test_a_decimal_keeps_its_spelling_in_every_way(faulty: FaultyServer, client: Client, tmp_path: Path) -> None:
    for way in ("transaction", "batch", "single"):
        name = f"o-{way}"
        write(
            tmp_path,
            {"Patient": [dump({"resourceType": "Patient", "id": "p"})], "Observation": [observation(name, "p")]},
        )
        push(tmp_path, faulty.url, client=client, way=way)
        assert b'"value":5.50' in faulty.store[f"Observation/{name}"]
