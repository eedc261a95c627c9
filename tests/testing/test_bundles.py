"""Transactions are done whole or not at all, batches entry by entry."""

from __future__ import annotations

import json

import pytest

from fhirspace.testing import FaultyServer
from tests.testing.talk import Talk, entry, observation, patient, statuses


def test_a_transaction_makes_updates_deletes_and_reads(server: FaultyServer, talk: Talk) -> None:
    talk.put(patient("old"))
    talk.put(patient("same"))
    answer = talk.bundle(
        "transaction",
        entry(None, "GET", "Patient/new"),
        entry(observation("o", "Patient/new")),
        entry(patient("new")),
        entry(patient("same")),
        entry(None, "DELETE", "Patient/old"),
        entry({"resourceType": "Patient"}, "POST", "Patient"),
        entry(None, "GET", "Patient?_id=new,same"),
    )
    assert statuses(answer) == ["200", "201", "201", "200", "200", "201", "200"]
    read, made, _, same, *_, found = answer.json()["entry"]
    assert read["resource"]["id"] == "new"
    assert made["response"]["location"] == "Observation/o/_history/1"
    assert "SUCCESSFUL_UPDATE_NO_CHANGE" in json.dumps(same)
    assert found["resource"]["total"] == 2
    assert server.versions["Patient/old"] == 2
    whole = talk.bundle("transaction", entry(patient("new")), Prefer="return=representation")
    assert whole.json()["entry"][0]["resource"]["id"] == "new"


def test_references_to_entries_are_resolved(server: FaultyServer, talk: Talk) -> None:
    person = {"resourceType": "Patient", "identifier": [{"system": "urn:s", "value": "1"}]}
    talk.bundle(
        "transaction",
        entry(observation("o", "urn:uuid:1")),
        entry(person, "PUT", "Patient?identifier=urn:s|1", full="urn:uuid:1"),
        entry(patient("p", link=[{"other": {"reference": f"{server.url}/Patient/q"}}]), full=f"{server.url}/Patient/p"),
        entry(patient("q"), full=f"{server.url}/Patient/q"),
    )
    (made,) = talk.search("Patient?identifier=urn:s|1")
    assert json.loads(server.store["Observation/o"])["subject"] == {"reference": f"Patient/{made}"}
    assert talk.bundle("transaction", entry(observation("x", "Patient?identifier=urn:s|1"))).ok
    assert json.loads(server.store["Observation/x"])["subject"] == {"reference": f"Patient/{made}"}
    assert talk.bundle("transaction", entry(observation("y", "Patient?identifier=urn:s|2"))).status_code == 412


@pytest.mark.parametrize(
    ("entries", "status"),
    [
        ([entry(observation("o", "Patient/nobody"))], 400),
        ([entry(patient("a")), entry(patient("a"))], 400),
        ([entry(patient("kept"), ifMatch='W/"9"')], 412),
        ([entry(None, "DELETE", "Patient/kept")], 409),
        ([entry({"resourceType": "Patient"}, "PUT", "Patient?_lastUpdated=gt2000-01-01")], 412),
        ([entry(None, "GET", "Patient/nobody")], 404),
    ],
)
def test_one_refusal_undoes_all(
    server: FaultyServer, talk: Talk, entries: list[dict[str, object]], status: int
) -> None:
    talk.put(patient("kept"))
    talk.put(observation("kept", "Patient/kept"))
    talk.put(patient("too"))
    before = server.versions
    changed = entry(patient("too", gender="male"))
    answer = talk.bundle("transaction", entry(patient("first")), changed, *entries)
    assert answer.status_code == status
    assert server.versions == before
    assert json.loads(server.store["Patient/too"])["gender"] == "female"
    alone = statuses(talk.bundle("batch", entry(patient("first")), *entries))
    assert alone[0] == "201"
    assert str(status) in alone or alone[1:] == ["201", "200"]


@pytest.mark.parametrize("named", [True, False])
def test_invalid_entries_are_named(server: FaultyServer, talk: Talk, named: bool) -> None:
    server.refuse = lambda resource: resource["id"] in ("b", "d")
    server.name_entries = named
    answer = talk.bundle("transaction", *(entry(patient(name)) for name in "abcd"))
    assert answer.status_code == 422
    assert [place in answer.text for place in ("entry[1]", "entry[3]", "entry[0]")] == [named, named, False]
    assert statuses(talk.bundle("batch", *(entry(patient(name)) for name in "abcd"))) == ["201", "422", "201", "422"]


def test_kinds_and_sizes_can_be_refused(server: FaultyServer, talk: Talk) -> None:
    server.bundle_types.discard("transaction")
    server.bundle_status = 501
    server.most_entries = 2
    entries = [entry(patient(name)) for name in "abc"]
    assert talk.bundle("transaction", *entries[:1]).status_code == 501
    assert talk.bundle("batch", *entries).status_code == 413
    assert statuses(talk.bundle("batch", *entries[:2])) == ["201", "201"]
    assert talk.bundle("collection").status_code == 501
    assert talk("POST", "", b'{"resourceType":"Patient"}').status_code == 400
    assert talk("POST", "", b"[").status_code == 400
    assert talk("GET", "metadata").json()["rest"][0]["interaction"] == [{"code": "batch"}]
    assert len(server.transactions()) == 6
