"""Each fault, by script and by chance."""

from __future__ import annotations

import time
from collections import Counter
from email.utils import parsedate_to_datetime

import pytest
import requests

from fhirspace.testing import FAULTS, PASSING, Fault, FaultyServer
from tests.testing.talk import Talk, entry, observation, patient, statuses

DONE = {"gateway_timeout_after", "reset_after", "short_body", "cut_json", "slow"}
DONE |= {"fewer_entries", "no_bundle", "strange"}
LOST = {"reset_before", "reset_after", "short_body"}
STATUS = {
    "timeout": 408,
    "conflict": 409,
    "too_early": 425,
    "too_many": 429,
    "too_many_date": 429,
    "broken": 500,
    "bad_gateway": 502,
    "unavailable": 503,
    "gateway_timeout": 504,
    "gateway_timeout_after": 504,
    "entry_too_many": 429,
    "entry_unavailable": 503,
    "entry_conflict": 409,
    "entry_precondition": 412,
    "unauthorized": 401,
    "forbidden": 403,
    "moved": 302,
    "gone": 410,
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_strikes_once_and_does_or_undoes_what_it_says(server: FaultyServer, talk: Talk, name: str) -> None:
    server.delay = 0.05
    server.faults.append(name)
    entries = [entry(patient(letter)) for letter in "abcd"]
    if name in LOST:
        with pytest.raises(requests.RequestException):
            talk.bundle("transaction", *entries)
    else:
        answer = talk.bundle("transaction", *entries)
        assert answer.status_code == STATUS.get(name, 200)
    assert len(server.store) == (4 if name in DONE else 0)
    assert server.fired == {name: 1}
    assert statuses(talk.bundle("transaction", *entries)) == ["200" if name in DONE else "201"] * 4
    assert set(server.versions.values()) == {1}


@pytest.mark.parametrize("name", PASSING)
def test_the_same_again_heals_what_passes(server: FaultyServer, talk: Talk, name: str) -> None:
    """Single requests take the same faults as Bundles."""
    server.delay = 0.05
    server.faults.append(name)
    for turn in range(2):
        try:
            answer = talk.put(patient("a"))
            assert turn == 0 or answer.status_code in (200, 201)
        except requests.RequestException:
            assert turn == 0
    assert server.versions == {"Patient/a": 1}


def test_retry_after_is_in_seconds_or_a_date(server: FaultyServer, talk: Talk) -> None:
    server.retry_after = 7
    server.faults.extend(["too_many", "too_many_date"])
    assert talk.put(patient("a")).headers["Retry-After"] == "7"
    told = parsedate_to_datetime(talk.put(patient("a")).headers["Retry-After"])
    assert 0 < told.timestamp() - time.time() <= 8


def test_answers_that_do_not_fit_what_was_sent(server: FaultyServer, talk: Talk) -> None:
    server.faults.extend(["fewer_entries", "no_bundle", "strange", "cut_json"])
    entries = [entry(patient(letter)) for letter in "abcde"]
    assert len(talk.bundle("batch", *entries).json()["entry"]) == 2
    assert talk.bundle("batch", *entries).json() == {"resourceType": "Bundle"}
    assert talk.bundle("batch", *entries).json()["entry"] == 5
    with pytest.raises(ValueError):
        talk.bundle("batch", *entries).json()


@pytest.mark.parametrize("name", [name for name in FAULTS if name.startswith("entry_")])
def test_entries_of_a_batch_are_struck_and_the_others_done(server: FaultyServer, talk: Talk, name: str) -> None:
    entries = [entry(patient(letter)) for letter in "abcde"]
    status = str(STATUS[name])
    server.faults.append(name)
    assert statuses(talk.bundle("batch", *entries)) == [status, "201", "201", status, "201"]
    assert sorted(server.store) == ["Patient/b", "Patient/c", "Patient/e"]
    server.faults.append(Fault(name, where=lambda method, url: url == "Patient/c"))
    assert statuses(talk.bundle("batch", *entries)) == ["201", "200", status, "201", "200"]


def test_a_fault_waits_for_what_it_is_meant_for(server: FaultyServer, talk: Talk) -> None:
    server.faults.append(Fault("unavailable", where=lambda method, url: url.startswith("Observation/"), times=2))
    server.faults.append(Fault("gone", where=lambda method, url: (method, url) == ("POST", "Patient/_search")))
    assert statuses(talk.bundle("batch", entry(patient("a")))) == ["201"]
    mixed = [entry(patient("b")), entry(observation("o", "Patient/a"))]
    assert [talk.bundle("transaction", *mixed).status_code for _ in range(3)] == [503, 503, 200]
    assert talk("GET", "Patient").status_code == 200
    assert talk("POST", "Patient/_search").status_code == 410
    assert not server.faults


def test_none_is_a_turn_of_good_behaviour_and_reads_are_spared(server: FaultyServer, talk: Talk) -> None:
    server.faults.extend([None, "broken", "broken"])
    assert talk.put(patient("a")).status_code == 201
    assert talk("GET", "Patient/a").status_code == 200
    assert talk.put(patient("a")).status_code == 500
    server.fault_reads = True
    assert talk("GET", "Patient/a").status_code == 500
    assert talk("GET", "metadata").status_code == 200


def test_chance_has_a_seed(server: FaultyServer, talk: Talk) -> None:
    talk.put(patient("a"))
    server.fault_rate = 0.3
    server.fault_names = ["broken", Fault("conflict", where=lambda method, url: "other" not in url)]
    rounds = []
    for seed in (1, 2, 1):
        server.seed = seed
        rounds.append([talk.put(patient("a")).status_code for _ in range(60)])
    assert rounds[0] == rounds[2] != rounds[1]
    for said in rounds:
        struck = Counter(said)
        assert 5 < struck[500] + struck[409] < 35
    assert 409 not in [talk.put(patient("other")).status_code for _ in range(60)]


def test_a_fault_without_a_name_is_an_error_at_once() -> None:
    with pytest.raises(ValueError, match="gateway_timeout"):
        Fault("gremlin")
