"""What a server holds of some patients, whoever wrote it: pulled, looked at, and converted; edits are followed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fhirspace.cli import main
from fhirspace.delivery.pull.patients import pull_patients
from fhirspace.errors import EXIT_CLEAN, EXIT_FINDINGS, EXIT_SERVER, EXIT_USAGE, FhirspaceError
from fhirspace.fhirserver.http.client import Client
from fhirspace.fhirserver.http.transport import HttpTransport
from fhirspace.fhirserver.patients import Patients
from fhirspace.json import parse
from fhirspace.testing import FaultyServer, serving
from tests.views.ehr import MRN, resources, study

TYPES = ("Patient", "Observation", "MedicationAdministration", "Group", "Medication")


def store(server: FaultyServer, *given: dict[str, Any]) -> None:
    for each in given:
        server.store[f"{each['resourceType']}/{each['id']}"] = json.dumps(each).encode()


@pytest.fixture
def ehr() -> Iterator[FaultyServer]:
    with serving(types=list(TYPES)) as server:
        given = [each for each in resources() if each["resourceType"] in TYPES]
        drug = {"resourceType": "Medication", "id": "m1", "code": {"text": "Drug A"}}
        referring = {**given[3], "id": "d9", "medicationReference": {"reference": "Medication/m1"}}
        del referring["medicationCodeableConcept"]
        members = [{"entity": {"reference": f"Patient/{name}"}, "inactive": name == "p3"} for name in ("p1", "p3")]
        group = {"resourceType": "Group", "id": "g1", "type": "person", "actual": True, "member": members}
        store(server, *given, drug, referring, group)
        yield server


@pytest.fixture
def there(ehr: FaultyServer) -> Iterator[Client]:
    transport = HttpTransport(ehr.url, timeout=(5, 5))
    yield Client(ehr.url, transport, sleep=lambda _: None)
    transport.close()


def ids(out: Path, kind: str) -> list[str]:
    return [parse(line)["id"] for line in (out / f"fhir/{kind}.ndjson").read_bytes().splitlines()]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (["p1"], ["p1"]),
        (["Patient/p1", "p1"], ["p1"]),
        ([f"{MRN}|222"], ["p2"]),
        (["Group/g1"], ["p1"]),
        (["all"], ["p1", "p2", "p3"]),
    ],
)
def test_patients_are_named_in_several_forms(
    ehr: FaultyServer, there: Client, tmp_path: Path, asked: list[str], expected: list[str]
) -> None:
    ehr.page = 3
    report = pull_patients(ehr.url, asked, tmp_path / "out", client=there)
    assert ids(tmp_path / "out", "Patient") == expected
    assert report.problems == []
    assert report.counts["Observation"] == sum({"p1": 3, "p2": 2, "p3": 1}[name] for name in expected)


def test_what_a_patients_resource_refers_to_comes_too(ehr: FaultyServer, there: Client, tmp_path: Path) -> None:
    report = pull_patients(ehr.url, ["p1"], tmp_path / "out", client=there)
    assert ids(tmp_path / "out", "Medication") == ["m1"]
    assert "meta" not in (tmp_path / "out/fhir/Patient.ndjson").read_text()  # what the server added
    assert report.total == 8  # the patient, three Observations, two doses, a drug, and its Group


@pytest.mark.parametrize("name", ["enrolment.csv", "enrolment.txt"])
def test_an_enrolment_table_names_patients_and_the_missing_ones_are_counted(
    ehr: FaultyServer, there: Client, tmp_path: Path, name: str
) -> None:
    (tmp_path / name).write_text(f"patient,STUDYID\np1,S\n{MRN}|222,S\nnobody,S\n{MRN}|9,S\n")
    report = pull_patients(ehr.url, [str(tmp_path / name)], tmp_path / "out", client=there)
    assert ids(tmp_path / "out", "Patient") == ["p1", "p2"]
    assert [each.code for each in report.problems] == ["FS468", "FS468"]


def test_what_is_of_other_patients_is_left_out_and_counted(
    ehr: FaultyServer, there: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that answers with the records of all patients, whoever is asked for."""
    request = Client.request

    def lie(client: Client, method: str, path: str, *given: Any, **named: Any) -> Any:
        return request(client, method, path.replace("/p1/", "/p2/"), *given, **named)

    monkeypatch.setattr(Client, "request", lie)
    store(ehr, {"resourceType": "Patient", "id": "p1"})
    with pytest.raises(FhirspaceError, match="FS469"):  # Group and Medication are of nobody, and of no use alone
        pull_patients(ehr.url, ["p1"], tmp_path / "none", types=["Patient", "Observation"], client=there)
    report = pull_patients(ehr.url, ["p1", "p3"], tmp_path / "out", client=there)
    assert ids(tmp_path / "out", "Patient") == ["p3"]
    assert "Patient/p2" not in (tmp_path / "out/fhir/Observation.ndjson").read_text()
    found = {(each.code, each.table, each.detail) for each in report.problems}
    assert ("FS585", "Patient", "1 of other patients came") in found
    assert ("FS585", "Observation", "2 of other patients came") in found
    assert "p2" not in "".join(str(each) for each in report.problems).replace(ehr.url, "")


def test_different_contents_without_versions_are_counted(
    ehr: FaultyServer, there: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[dict[str, Any]] = [
        {"resourceType": "Patient", "id": "p1", "gender": "male"},
        {"resourceType": "Patient", "id": "p1", "gender": "female"},
        {"resourceType": "Observation", "id": "o1"},
        {"resourceType": "Observation", "id": "o1"},
        {"resourceType": "Medication", "id": "m1", "meta": {"versionId": "1"}},
        {"resourceType": "Medication", "id": "m1", "meta": {"versionId": "2"}, "status": "active"},
    ]
    sent = [(each["resourceType"], json.dumps(each).encode()) for each in given]
    monkeypatch.setattr(Patients, "resources", lambda _: iter(sent))
    report = pull_patients(ehr.url, ["p1"], tmp_path / "out", client=there)
    assert [(each.code, each.table, each.detail) for each in report.problems] == [("FS471", "Patient", "1 resource")]
    assert '"female"' in (tmp_path / "out/fhir/Patient.ndjson").read_text()


@pytest.mark.parametrize(("base", "expected"), [("{}/", ["p1"]), ("https://other.example/fhir/", [])])
def test_a_member_of_a_group_is_at_this_server(
    ehr: FaultyServer, there: Client, base: str, expected: list[str]
) -> None:
    """Patient/p1 of another server is another person."""
    member = {"entity": {"reference": f"{base.format(ehr.url)}Patient/p1"}}
    store(ehr, {"resourceType": "Group", "id": "g2", "type": "person", "actual": True, "member": [member]})
    assert Patients(there, ["Group/g2"]).ids() == expected


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        (["nobody"], "FS469"),
        (["a b"], "FS641"),
        (["Group/none"], "FS512"),
        (["in.csv"], "FS641"),
        (["no-such-table.csv"], "FS101"),
    ],
)
def test_what_cannot_be_pulled_is_refused(there: Client, tmp_path: Path, asked: list[str], code: str) -> None:
    (tmp_path / "in.csv").write_text("name\np1\n")
    asked = [str(tmp_path / each) if each == "in.csv" else each for each in asked]
    with pytest.raises(FhirspaceError) as caught:
        pull_patients(there.server, asked, tmp_path / "out", client=there)
    assert caught.value.code == code
    assert not (tmp_path / "out/fhir").exists()


@pytest.mark.parametrize("fault", ["too_many", "unavailable", "reset_before", "cut_json"])
def test_a_fault_is_survived(ehr: FaultyServer, there: Client, tmp_path: Path, fault: str) -> None:
    ehr.page = 2
    ehr.faults.extend([fault, None, fault])
    assert pull_patients(ehr.url, ["all"], tmp_path / "out", client=there).counts["Patient"] == 3


def test_profile_pull_and_convert_follow_edits(
    ehr: FaultyServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["mapping", "profile", "--server", ehr.url, "--out", str(tmp_path / "first")]) == EXIT_CLEAN
    printed = capsys.readouterr().out
    assert "of 3 patients" in printed
    assert "718-7" in printed
    views = study(tmp_path / "study")

    def values() -> list[str]:
        again = ["pull", "--server", ehr.url, "--patients", str(views / "enrolment.csv"), "--out", str(tmp_path / "in")]
        assert main(again) == EXIT_CLEAN
        flat = ["convert", str(tmp_path / "in"), "--to", "records", "--views", str(views), "--out", str(tmp_path / "o")]
        assert main(flat) in (EXIT_CLEAN, EXIT_FINDINGS)
        lines = (tmp_path / "o/records/lab.csv").read_text().splitlines()
        at = lines[0].split(",").index("value")
        return [line.split(",")[at] for line in lines[1:]]

    assert values() == ["12.5", "12.5"]
    edited = next(each for each in resources() if each["id"] == "l2")
    store(ehr, {**edited, "valueQuantity": {**edited["valueQuantity"], "value": 9.1}})
    del ehr.store["Observation/l1"]
    assert values() == ["9.1"]


def test_the_profile_of_a_server_is_that_of_its_files(ehr: FaultyServer, there: Client, tmp_path: Path) -> None:
    from fhirspace.study.inspect.foreign import profile

    pull_patients(ehr.url, ["all"], tmp_path / "in", client=there)
    own, _ = profile(client=there)
    other, _ = profile(str(tmp_path / "in/fhir"))
    assert own == other


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["mapping", "profile"], EXIT_USAGE),
        (["mapping", "profile", "folder", "--server", "URL"], EXIT_USAGE),
        (["mapping", "profile", "--server", "URL", "--patients", "nobody"], EXIT_SERVER),
        (["pull", "--server", "URL", "--patients", "p1", "--since", "2026-01-01", "--out", "o"], EXIT_USAGE),
        (["pull", "--server", "URL", "--patients", "p1", "--bulk", "--out", "o"], EXIT_USAGE),
    ],
)
def test_arguments_that_exclude_each_other(
    ehr: FaultyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([ehr.url if each == "URL" else each for each in arguments]) == code
