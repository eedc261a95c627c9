"""Validation with delivery: nothing wrong is sent unless the user wants it, and what was pulled is judged by choice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import fhirspace
from fhirspace.cli import main
from fhirspace.delivery.bulk.load import bulk_push
from fhirspace.delivery.pull.pull import pull
from fhirspace.delivery.push.push import push
from fhirspace.errors import ValidationError
from fhirspace.fhirserver.http.client import Client
from fhirspace.testing import FaultyServer
from tests.delivery.bulk.importers import HapiImporter
from tests.support.resources import STUDY, organization, patient, ref, resource, study, trial, write

WRONG = {"Organization": [organization() | {"active": "yes"}], "Patient": [patient("p-0")]}
LONELY = {"Patient": [patient("p-0")]}
"""Its reference leads nowhere, which is a warning."""
BUSY = "FS568"
"""The push before a pull is so near that it may count as a change meanwhile."""


def sent(server: FaultyServer) -> list[str]:
    return [f"{method} {path}" for method, path, *_ in server.requests if not path.endswith("/metadata")]


def test_errors_keep_everything_from_being_sent(faulty: FaultyServer, client: Client, tmp_path: Path) -> None:
    folder = write(tmp_path / "in", WRONG)
    with pytest.raises(ValidationError, match=r"FS570 in: .*: 1 finding") as caught:
        push(folder, faulty.url, client=client, validate="errors")
    assert [(each.code, str(each.place)) for each in caught.value.problems] == [
        ("FS414", "Organization.ndjson:1:Organization.active")
    ]
    assert caught.value.exit_code == 1
    assert (faulty.store, sent(faulty)) == ({}, [])
    assert [path.name for path in folder.iterdir()] == ["fhir"], "no journal, no dead letters"


@pytest.mark.parametrize(
    ("fail_on", "given", "refused"),
    [("error", LONELY, False), ("warning", LONELY, True), ("never", LONELY, False), ("never", WRONG, False)],
)
def test_the_user_says_what_counts(
    faulty: FaultyServer, client: Client, tmp_path: Path, *, fail_on: Any, given: dict[str, Any], refused: bool
) -> None:
    folder = write(tmp_path / "in", given)
    faulty.integrity = False
    if refused:
        with pytest.raises(ValidationError):
            push(folder, faulty.url, client=client, validate="errors", fail_on=fail_on)
        assert not faulty.store
        return
    report = push(folder, faulty.url, client=client, validate="errors", fail_on=fail_on)
    assert (report.sent, report.invalid, report.exit_code) == (len(given), 1, 1)
    assert [problem.code for problem in report.problems][:1] == ["FS414" if given is WRONG else "FS435"]


def test_what_is_right_is_sent(faulty: FaultyServer, client: Client, tmp_path: Path) -> None:
    report = push(trial(tmp_path), faulty.url, client=client, validate="full")
    assert (report.sent, report.invalid, report.problems, report.exit_code) == (17, 0, [], 0)


def test_files_that_cannot_be_read_are_for_delivery_to_report(
    faulty: FaultyServer, client: Client, tmp_path: Path
) -> None:
    folder = trial(tmp_path)
    (folder / "fhir" / "Other.ndjson.gz").write_bytes(b"\x1f\x8b\x08\x00broken")
    report = push(folder, faulty.url, client=client, validate="errors")
    assert (report.sent, report.unread, report.invalid, report.exit_code) == (17, 1, 0, 3)
    assert len(report.problems) == 1


def test_the_release_is_that_of_the_server(faulty: FaultyServer, client: Client, tmp_path: Path) -> None:
    folder = write(tmp_path, {"ResearchStudy": [study() | {"principalInvestigator": {"display": "A"}}]})
    assert push(folder, faulty.url, client=client, validate="errors").sent == 1
    faulty.fhir_version = "5.0.0"  # which has no such element
    with pytest.raises(ValidationError) as caught:
        push(folder, faulty.url, client=client, validate="errors")
    assert [each.code for each in caught.value.problems] == ["FS411"]


def test_a_bulk_push_as_well(tmp_path: Path) -> None:
    folder, server = write(tmp_path / "in", WRONG), HapiImporter()
    client = Client(server.url, server, sleep=lambda seconds: None)
    with pytest.raises(ValidationError, match="FS570"):
        bulk_push(folder, server.url, client=client, validate="errors")
    assert not server.store
    report = bulk_push(folder, server.url, client=client, validate="errors", fail_on="never")
    assert (report.stored, report.invalid, report.as_dict()["invalid"]) == (2, 1, 1)


@pytest.mark.parametrize(
    ("validate", "types", "codes"),
    [
        (None, None, []),
        ("errors", None, ["FS414", "FS435"]),
        ("errors", ["Organization", "Patient"], ["FS414"]),
    ],
)
def test_what_was_pulled_is_judged(
    faulty: FaultyServer, client: Client, tmp_path: Path, *, validate: Any, types: list[str] | None, codes: list[str]
) -> None:
    faulty.integrity = False
    lost = resource("Patient", "p-9", generalPractitioner=[ref("Organization", "gone")])
    push(write(tmp_path / "in", {**WRONG, "Patient": [*WRONG["Patient"], lost]}), faulty.url, client=client)
    report = pull(faulty.url, STUDY, tmp_path / "out", client=client, validate=validate, types=types)
    assert sorted(problem.code for problem in report.problems if problem.code != BUSY) == codes
    assert report.total == 3
    listed = (tmp_path / "out" / "problems.ndjson").read_bytes().splitlines()
    assert sorted(code for line in listed if (code := json.loads(line)["code"]) != BUSY) == codes


def test_on_the_command_line(
    faulty: FaultyServer, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FHIRSPACE_STATE", str(tmp_path / "state"))
    folder = write(tmp_path / "in", WRONG)
    command = ["push", str(folder), "--server", faulty.url, "--id-key", "demo", "--json"]
    assert main([*command, "--validate"]) == 1
    out, err = capsys.readouterr()
    assert json.loads(out)["error"]["code"] == "FS570"
    assert [each["code"] for each in json.loads(out)["problems"]] == ["FS414"]
    assert "FS414 Organization.ndjson:1:Organization.active" in err
    assert not faulty.store
    assert main([*command, "--validate", "full", "--fail-on", "never"]) == 1
    assert json.loads(capsys.readouterr().out)["invalid"] == 1
    assert len(faulty.store) == 2
    more = ["--server", faulty.url, "--study", STUDY, "--out", str(tmp_path / "out"), "--validate"]
    assert main(["pull", *more]) == 1
    assert "FS414 Organization.ndjson:1:Organization.active" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["push", "bulk_push"])
@pytest.mark.parametrize("more", [{"validate": "yes"}, {"validate": True}, {"fail_on": "errors"}])
def test_arguments(tmp_path: Path, name: str, more: dict[str, Any]) -> None:
    with pytest.raises(fhirspace.UsageError, match="FS640"):
        getattr(fhirspace, name)(tmp_path, "http://127.0.0.1:9/fhir", **more)
