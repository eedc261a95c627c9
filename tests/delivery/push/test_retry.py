"""Dead letters sent once more: the last word on each resource arrives, and no letter is lost on the way."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from fhirspace.delivery.push import rejected as dead
from fhirspace.delivery.push.push import push, retry
from fhirspace.delivery.runs import runs, status
from fhirspace.errors import FhirspaceError
from fhirspace.fhirserver.http.client import Client
from fhirspace.testing import Fault, FaultyServer
from tests.delivery.push.test_push import counts, exactly_once
from tests.support.resources import dump, patient, trial, write


def at(name: str) -> Callable[[str, str], bool]:
    """Requests that write the resource of this id."""
    return lambda method, url: url.endswith(f"/{name}")


@pytest.mark.parametrize("clock", [1, 0, -1], ids=["goes on", "stands still", "is set back"])
def test_of_what_several_runs_were_refused_the_last_form_is_sent(
    faulty: FaultyServer, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: int
) -> None:
    names = (f"20260501T10150{5 + turn * clock}Z-{9 - turn}" for turn in count())
    monkeypatch.setattr("fhirspace.delivery.push.push.new_run", lambda: next(names))
    faulty.refuse = lambda body: body["id"] == "p-1"
    forms = ["male", "other", "unknown"]
    for form in forms:
        write(tmp_path, {"Patient": [{**patient("p-1"), "managingOrganization": {}, "gender": form}]})
        assert push(tmp_path, faulty.url, client=client).refused == 1
    assert len(dead.letters(tmp_path)) == 3
    faulty.refuse = lambda body: False
    report = retry(tmp_path, faulty.url, client=client)
    assert (counts(report), report.problems) == ((1, 0, 2, 0, 0), [])
    assert forms[-1].encode() in faulty.store["Patient/p-1"]
    assert dead.waiting(tmp_path) == 0


@pytest.mark.parametrize("clock", [0, -1], ids=["stands still", "is set back"])
def test_what_was_delivered_later_is_not_overwritten_by_a_dead_letter(
    faulty: FaultyServer, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: int
) -> None:
    names = (f"20260501T10150{5 + turn * clock}Z-{9 - turn}" for turn in count())
    monkeypatch.setattr("fhirspace.delivery.push.push.new_run", lambda: next(names))
    for form in ("male", "other"):
        faulty.refuse = lambda body: body["gender"] == "male"
        write(tmp_path, {"Patient": [{**patient("p-1"), "managingOrganization": {}, "gender": form}]})
        push(tmp_path, faulty.url, client=client)
    faulty.refuse = lambda body: False
    assert retry(tmp_path, faulty.url, client=client).unchanged == 1
    assert b"other" in faulty.store["Patient/p-1"]


def test_of_two_forms_in_one_run_the_second_is_still_told(faulty: FaultyServer, client: Client, tmp_path: Path) -> None:
    twins = [dump({"resourceType": "Patient", "id": "p-1", "gender": form}) for form in ("male", "other")]
    faulty.refuse = lambda body: True
    push(write(tmp_path, {"Patient": twins}), faulty.url, client=client)
    faulty.refuse = lambda body: False
    report = retry(tmp_path, faulty.url, client=client)
    assert [problem.code for problem in report.problems] == ["FS521"]
    assert (report.created, report.refused, dead.waiting(tmp_path)) == (1, 1, 1)


def test_letters_of_a_push_that_was_broken_off_are_sent_and_the_push_goes_on_under_its_name(
    faulty: FaultyServer, client: Client, tmp_path: Path
) -> None:
    folder = trial(tmp_path, patients=10, each=2)
    faulty.refuse = lambda body: body["id"] == "p-1"
    faulty.faults.append(Fault("unavailable", at("p-4"), client.attempts))
    with pytest.raises(FhirspaceError, match="FS512"):
        push(folder, faulty.url, client=client, size=2)
    (unfinished,) = runs(folder)
    (letter,) = dead.letters(folder)
    letter.write_bytes(letter.read_bytes().replace(b'"female"', b'"other"'))  # mended by hand
    faulty.refuse = lambda body: False
    again = retry(folder, faulty.url, client=client)
    assert counts(again) == (1, 0, 0, 0, 0)
    assert b'"other"' in faulty.store["Patient/p-1"]
    assert (dead.waiting(folder), again.run) != (0, unfinished["run"])
    people = [patient(f"p-{n}") | ({"gender": "other"} if n == 1 else {}) for n in range(10)]
    write(folder, {"Patient": people})
    assert push(folder, faulty.url, client=client).run == unfinished["run"]


def test_a_retry_that_was_broken_off_loses_no_letter(faulty: FaultyServer, client: Client, tmp_path: Path) -> None:
    folder = trial(tmp_path, patients=3, each=3)
    faulty.refuse = lambda body: body["resourceType"] == "Observation"
    assert push(folder, faulty.url, client=client).refused == 9
    faulty.refuse = lambda body: body["id"] == "ob-p-0-0"
    # By the resources and not by their number: parts of a refused bundle travel beside the next one.
    faulty.faults.extend([Fault("reset_after", at("ob-p-1-1")), Fault("unavailable", at("ob-p-2-2"), client.attempts)])
    with pytest.raises(FhirspaceError, match="FS512"):
        retry(folder, faulty.url, client=client, size=3, connections=1)
    faulty.refuse = lambda body: False
    assert retry(folder, faulty.url, client=client).refused == 0
    assert status(folder)[0]["unfinished"] is None
    assert dead.waiting(folder) == 0
    exactly_once(faulty, folder)
