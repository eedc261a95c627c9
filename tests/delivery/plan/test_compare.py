"""What a push would change on a server is said before anything is written, and only that is done."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from fhirspace.cli import main
from fhirspace.delivery.plan.compare import PlanFile, differences
from fhirspace.delivery.plan.plan import Planned, plan
from fhirspace.delivery.push.push import push
from fhirspace.errors import FhirspaceError
from fhirspace.fhirserver.http.client import Client
from fhirspace.testing import FaultyServer
from tests.delivery.push.test_push import counts
from tests.hostile.offline import URL, answered_by
from tests.support.resources import dump, observation, organization, patient, trial, write


def totals(planned: Planned) -> tuple[int, ...]:
    return tuple(planned.total(action) for action in ("create", "update", "unchanged", "conflict"))


@pytest.mark.parametrize("kinds", [{"transaction", "batch"}, {"batch"}, {"transaction"}])
def test_a_plan_then_its_push_then_nothing(
    faulty: FaultyServer, client: Client, tmp_path: Path, kinds: set[str]
) -> None:
    faulty.bundle_types = kinds
    folder = trial(tmp_path)
    planned = plan(folder, faulty.url, client=client)
    assert totals(planned) == (17, 0, 0, 0)
    assert not faulty.store, "nothing is written by looking"
    assert stat.S_IMODE(planned.file.stat().st_mode) == 0o600
    assert list(planned.types) == ["Organization", "Patient", "Observation", "ResearchStudy"]
    assert counts(push(folder, faulty.url, client=client, plan=planned.file)) == (17, 0, 0, 0, 0)
    assert totals(plan(folder, faulty.url, client=client)) == (0, 0, 17, 0)
    assert set(faulty.versions.values()) == {1}


def test_what_would_change_is_named_by_element_and_never_by_value(
    faulty: FaultyServer, client: Client, tmp_path: Path
) -> None:
    folder = trial(tmp_path)
    push(folder, faulty.url, client=client)
    later = [patient("p-0", birthDate="1970-01-01"), {**patient("p-1"), "gender": "CANARY"}, patient("p-2")]
    write(folder, {"Patient": later, "Organization": [{**organization(), "alias": ["a"]}]})
    write(folder, {"Observation": [observation("ob-p-0-0", "p-0", "5.5")]})
    planned = plan(folder, faulty.url, client=client)
    assert totals(planned) == (0, 4, 2, 0)
    assert {step.key: step.changes for step in planned.changes} == {
        "Organization/o-1": ("+alias",),
        "Patient/p-0": ("+birthDate",),
        "Patient/p-1": ("~gender",),
        "Observation/ob-p-0-0": ("~valueQuantity.value",),
    }
    assert b"CANARY" not in planned.file.read_bytes()
    assert "CANARY" not in planned.summary() + json.dumps(planned.as_dict())
    assert "update Patient/p-1: ~gender" in planned.summary()


def test_a_plan_without_a_server_has_the_members_of_one_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = trial(tmp_path)
    (folder / "fhir" / "Zzz.ndjson").write_text("{\n", "utf-8")
    with answered_by(FaultyServer(url=URL).respond):
        for more in ([], ["--server", URL, "--id-key", "demo"]):
            assert main(["plan", str(folder), *more, "--json"]) == 3
    alone, compared = _documents(capsys.readouterr().out)
    assert list(alone) == list(compared)
    assert alone["problems"] == compared["problems"] != []
    assert (alone["server"], alone["file"], alone["changes"]) == (None, None, [])
    assert list(alone["types"]) == list(compared["types"])
    assert alone["types"]["Patient"] == {"resources": 3}
    assert alone["total"] == {"resources": 17}


def test_a_plan_file_needs_a_server(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = trial(tmp_path)
    assert main(["plan", str(folder), "--out", str(tmp_path / "monday.plan")]) == 2
    assert "FS641 --out" in capsys.readouterr().err
    assert not (tmp_path / "monday.plan").exists()


def _documents(text: str) -> list[Any]:
    """The JSON documents that were printed one after the other."""
    found, at = [], 0
    while at < len(text):
        document, end = json.JSONDecoder().raw_decode(text[at:])
        found.append(document)
        at += end + 1
    return found


def test_what_others_changed_is_a_conflict_and_left_alone(faulty: FaultyServer, client: Client, tmp_path: Path) -> None:
    folder = trial(tmp_path)
    push(folder, faulty.url, client=client)
    theirs = dump(patient("p-1", active=False)).encode()
    faulty.store["Patient/p-1"] = theirs
    write(folder, {"Patient": [patient(f"p-{n}", active=True) for n in range(3)]})
    planned = plan(folder, faulty.url, client=client)
    assert totals(planned) == (0, 2, 14, 1)
    report = push(folder, faulty.url, client=client, plan=planned.file)
    assert (report.updated, report.unchanged, report.conflicts, report.total) == (2, 14, 1, 17)
    assert [(each.code, str(each.place)) for each in report.problems] == [("FS539", "Patient.ndjson:2")]
    assert faulty.store["Patient/p-1"] == theirs

    forced = plan(folder, faulty.url, client=client, overwrite=True)
    assert totals(forced) == (0, 1, 16, 0)
    assert push(folder, faulty.url, client=client, plan=forced.file).updated == 1


def test_a_plan_that_no_longer_fits_the_server_does_nothing(
    faulty: FaultyServer, client: Client, tmp_path: Path
) -> None:
    folder = trial(tmp_path)
    planned = plan(folder, faulty.url, client=client)
    faulty.store["Patient/p-1"] = dump(patient("p-1", active=False)).encode()
    with pytest.raises(FhirspaceError, match=r"FS538.*1 resource differs"):
        push(folder, faulty.url, client=client, plan=planned.file)
    assert len(faulty.store) == 1


@pytest.mark.parametrize("stale", [412, 409])
def test_a_change_between_the_look_and_the_write_is_not_overwritten(
    faulty: FaultyServer, client: Client, tmp_path: Path, stale: int
) -> None:
    faulty.stale_status = stale
    folder = trial(tmp_path)
    push(folder, faulty.url, client=client)
    write(folder, {"Patient": [patient(f"p-{n}", active=True) for n in range(3)]})
    planned = plan(folder, faulty.url, client=client)
    theirs = dump(patient("p-1", active=False)).encode()
    sent = client.transport

    class Rival:
        """Somebody else writes at the moment when the first write is sent."""

        def send(self, method: str, path: str, body: bytes | None = None, headers: Any = None) -> Any:
            if body and b'"ifMatch"' in body and faulty.versions["Patient/p-1"] == 1:
                faulty.store["Patient/p-1"] = theirs
            assert sent is not None
            return sent.send(method, path, body, headers)

    client.transport = Rival()
    report = push(folder, faulty.url, client=client, plan=planned.file)
    assert (report.updated, report.refused) == (2, 1)
    assert [problem.code for problem in report.problems] == ["FS536"]
    assert faulty.store["Patient/p-1"] == theirs


def test_a_plan_that_was_killed_goes_on(faulty: FaultyServer, client: Client, tmp_path: Path) -> None:
    folder = trial(tmp_path)
    planned = plan(folder, faulty.url, client=client)
    client.attempts = 1
    faulty.faults.extend([None, None, None, "reset_after"])
    with pytest.raises(FhirspaceError, match="FS510"):
        push(folder, faulty.url, client=client, plan=planned.file, size=4)
    client.attempts = 7
    report = push(folder, faulty.url, client=client, plan=planned.file, size=4)
    assert (report.refused, report.total, len(faulty.store)) == (0, 17, 17)
    assert set(faulty.versions.values()) == {1}


def test_a_plan_fits_its_input_and_its_server_only(faulty: FaultyServer, client: Client, tmp_path: Path) -> None:
    folder = trial(tmp_path)
    planned = plan(folder, faulty.url, client=client)
    other = Client(faulty.url.replace("127.0.0.1", "localhost"), client.transport)
    with pytest.raises(FhirspaceError, match="FS538"):
        push(folder, other.server, client=other, plan=planned.file)
    write(folder, {"Patient": [patient(f"p-{n}", active=True) for n in range(3)]})
    with pytest.raises(FhirspaceError, match="FS538"):
        push(folder, faulty.url, client=client, plan=planned.file)
    assert not faulty.store


@pytest.mark.parametrize("content", [None, b"", b"no plan at all, though long enough to look like a file" * 20])
def test_what_is_no_plan(faulty: FaultyServer, client: Client, tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "x.plan"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(FhirspaceError, match="FS537"):
        push(trial(tmp_path / "in"), faulty.url, client=client, plan=file)


def test_a_plan_that_is_not_kept_leaves_nothing(tmp_path: Path) -> None:
    with PlanFile(tmp_path / "a.plan", "http://x"):
        assert [each.suffix for each in tmp_path.iterdir()] == [".part"]
    assert not list(tmp_path.iterdir())


VALUES = st.recursive(
    st.none() | st.booleans() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.slow
@given(VALUES, VALUES)
def test_there_is_a_difference_where_there_is_one(before: Any, after: Any) -> None:
    left, right = (json.dumps({"x": value}).encode() for value in (before, after))
    assert bool(differences(left, right)) == (left != right and before != after)
    assert differences(left, left) == ()
