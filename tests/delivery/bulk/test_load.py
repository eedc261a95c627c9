"""A folder by $import: three servers, one way; files served or in a storage; waves where references are checked."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from fhirspace.delivery.bulk.load import BulkReport, bulk_push
from fhirspace.errors import FhirspaceError
from fhirspace.fhirserver.http.client import Client
from tests.delivery.bulk.importers import AzureImporter, GoogleImporter, HapiImporter, Importer
from tests.support.resources import dump, observation, organization, patient, ref, resource, trial, write

TOTAL = 17
PREFIX = {
    "azure": "https://acct.blob.core.windows.net/in",
    "google": "gs://bucket/in",
    "azure-initial": "https://a.example/in",
}
SERVERS: dict[str, type[Importer]] = {
    "hapi": HapiImporter,
    "azure": AzureImporter,
    "azure-initial": AzureImporter,
    "google": GoogleImporter,
}


def started(shape: str, folder: Path) -> Importer:
    files = (folder / "fhir").glob("*.ndjson")
    return SERVERS[shape]({f"{PREFIX[shape]}/{file.name}": file for file in files} if shape in PREFIX else None)


def loaded(server: Importer, folder: Path, shape: str, **options: Any) -> BulkReport:
    client = Client(server.url, server, sleep=lambda seconds: None)
    return bulk_push(folder, server.url, shape=shape, source=PREFIX.get(shape), client=client, **options)


@pytest.mark.parametrize("shape", SERVERS)
def test_everything_arrives_and_is_counted_by_file(shape: str, tmp_path: Path) -> None:
    folder = trial(tmp_path)
    server = started(shape, folder)
    said: list[tuple[int, int]] = []
    report = loaded(server, folder, shape, progress=lambda *args: said.append(args))
    assert (report.total, report.stored, report.failed, report.missing) == (TOTAL, TOTAL, 0, 0)
    assert report.whole
    assert len(server.store) == TOTAL
    assert {row["file"]: row["sent"] for row in report.files} == {
        "Observation.ndjson": 12, "Organization.ndjson": 1, "Patient.ndjson": 3, "ResearchStudy.ndjson": 1
    }  # fmt: skip
    assert [problem.code for problem in report.problems] == ["FS563"]
    assert said[-1] == (TOTAL, TOTAL)
    assert report.as_dict()["jobs"] == len(server.jobs) == {"hapi": 3, "google": 4}.get(shape, 1)


def test_what_hapi_is_asked(tmp_path: Path) -> None:
    server = HapiImporter()
    loaded(server, trial(tmp_path), "hapi")
    assert [[item["type"] for item in server.inputs(job)] for job in range(3)] == [
        ["Organization", "ResearchStudy"], ["Patient"], ["Observation"]
    ]  # fmt: skip
    head = [part for part in server.jobs[0]["parameter"] if part["name"] != "input"]
    assert head == [
        {"name": "inputFormat", "valueCode": "application/fhir+ndjson"},
        {"name": "inputSource", "valueUri": "https://fhirspace.org"},
        {
            "name": "storageDetail",
            "part": [
                {"name": "type", "valueCode": "https"},
                {"name": "maxBatchResourceCount", "valueString": "500"},
            ],
        },
    ]
    (headers,) = {tuple(sorted(headers.items())) for method, _, headers in server.requests if method == "POST"}
    assert ("Prefer", "respond-async") in headers


@pytest.mark.parametrize(("shape", "mode"), [("azure", "IncrementalLoad"), ("azure-initial", "InitialLoad")])
def test_what_azure_is_asked(shape: str, mode: str, tmp_path: Path) -> None:
    folder = write(tmp_path, {"Organization": [organization()]})
    server = started(shape, folder)
    loaded(server, folder, shape)
    assert server.jobs == [
        {
            "resourceType": "Parameters",
            "parameter": [
                {"name": "inputFormat", "valueString": "application/fhir+ndjson"},
                {"name": "mode", "valueString": mode},
                {
                    "name": "input",
                    "part": [
                        {"name": "type", "valueString": "Organization"},
                        {"name": "url", "valueUri": f"{PREFIX[shape]}/Organization.ndjson"},
                    ],
                },
            ],
        }
    ]


def test_what_google_is_asked(tmp_path: Path) -> None:
    folder = write(tmp_path, {"Organization": [organization()]})
    server = started("google", folder)
    loaded(server, folder, "google")
    assert server.jobs == [{"contentStructure": "RESOURCE", "gcsSource": {"uri": "gs://bucket/in/Organization.ndjson"}}]
    looks = [path for method, path, _ in server.requests if method == "GET" and "operations" in path]
    assert set(looks) == {f"https://healthcare.googleapis.com/v1/{GoogleImporter.data}/operations/0"}


@pytest.mark.parametrize("wrapped", [False, True])
def test_what_hapi_refuses_is_told_by_file_and_rule(wrapped: bool, tmp_path: Path) -> None:
    folder = trial(tmp_path)
    lost = [observation("lost-1", "nobody"), observation("lost-2", "nobody")]
    with (folder / "fhir" / "Observation.ndjson").open("a") as file:
        file.write("\n".join(lost) + "\n")
    server = HapiImporter()
    server.wrapped = wrapped
    report = loaded(server, folder, "hapi")
    assert (report.total, report.stored, report.failed) == (19, 17, 2)
    assert not report.whole
    problem = report.problems[0]
    assert (problem.code, problem.place.file, problem.table) == ("FS562", "Observation.ndjson", "Observation")
    assert problem.detail == ("12 of 14 resources stored: processing HAPI-1094 at Observation.subject")


@pytest.mark.parametrize(("shape", "where"), [("azure", "fhirlogs"), ("google", "Cloud Logging")])
def test_what_the_others_refuse_is_counted(shape: str, where: str, tmp_path: Path) -> None:
    folder = trial(tmp_path)
    server = started(shape, folder)
    server.refuse = lambda line: line["id"].endswith("-3")
    report = loaded(server, folder, shape)
    assert (report.stored, report.failed, report.missing) == (14, 3, 0)
    problem = report.problems[0]
    assert (problem.code, problem.place.file) == ("FS562", "Observation.ndjson")
    assert where in problem.detail
    assert "CANARY" not in str(report.as_dict())


@pytest.mark.parametrize("shape", SERVERS)
def test_a_server_that_does_not_begin(shape: str, tmp_path: Path) -> None:
    folder = trial(tmp_path)
    server = started(shape, folder)
    server.down = True
    with pytest.raises(FhirspaceError, match="FS560"):
        loaded(server, folder, shape)


def test_a_job_that_fails_as_a_whole(tmp_path: Path) -> None:
    folder = trial(tmp_path)
    server = started("google", folder)
    server.broken = True  # type: ignore[attr-defined]
    with pytest.raises(FhirspaceError, match="FS561") as error:
        loaded(server, folder, "google")
    assert "CANARY" not in str(error.value)
    hapi = HapiImporter()
    outcome = json.dumps({"resourceType": "OperationOutcome", "issue": [{"diagnostics": "Job was cancelled."}]})
    hapi.done = lambda job: type(hapi.going_on(0))(404, {}, outcome.encode())  # type: ignore[method-assign]
    with pytest.raises(FhirspaceError, match=r"FS561.*404"):
        loaded(hapi, folder, "hapi")


def test_types_that_refer_to_themselves_go_level_by_level_and_circles_in_one_file(tmp_path: Path) -> None:
    def encounter(name: str, part_of: str | None) -> dict[str, Any]:
        more: dict[str, Any] = {"partOf": ref("Encounter", part_of)} if part_of else {}
        return resource("Encounter", name, status="finished", subject=ref("Patient", "p-1"), **more)

    chain = [encounter("e-3", "e-2"), encounter("e-2", "e-1"), encounter("e-1", None)]
    circle = [encounter("c-1", "c-2"), encounter("c-2", "c-1")]
    folder = write(
        tmp_path, {"Encounter": chain + circle, "Patient": [patient("p-1")], "Organization": [organization()]}
    )
    server = HapiImporter()
    report = loaded(server, folder, "hapi")
    assert report.whole
    assert len(server.store) == 7
    # Organization, Patient, then e-1, e-2, e-3, and the circle.
    assert [row["sent"] for row in report.files] == [1, 1, 1, 1, 1, 2]


def test_files_offered_beyond_this_machine_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("load", "serve"):
        monkeypatch.setattr(f"fhirspace.delivery.bulk.{module}.is_this_machine", lambda _: False)
    with pytest.raises(FhirspaceError, match="FS595 --bulk-bind"):
        loaded(HapiImporter(), trial(tmp_path), "hapi")
    report = loaded(HapiImporter(), trial(tmp_path), "hapi", insecure_http=True)
    assert [problem.code for problem in report.problems] == ["FS569", "FS563"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"shape": "azure"}, "FS599 --bulk-from"),
        ({"shape": "google"}, "FS599 --bulk-from"),
        ({"shape": "blaze"}, "FS567 --bulk-shape"),
        ({"source": "https://storage.example/in?sig=secret"}, "FS599 --bulk-from"),
        ({"source": "ftp://storage.example/in"}, "FS599 --bulk-from"),
        ({"bind": "0.0.0.0"}, "FS598 --bulk-bind"),
        ({"bind": "127.0.0.1:x"}, "FS598 --bulk-bind"),
        ({"bind": "192.0.2.1", "insecure_http": True}, "FS598 --bulk-bind"),
    ],
)
def test_options_that_do_not_fit(options: dict[str, str], says: str, tmp_path: Path) -> None:
    server = HapiImporter()
    with pytest.raises(FhirspaceError, match=says) as error:
        bulk_push(trial(tmp_path), server.url, client=Client(server.url, server), **options)  # type: ignore[arg-type]
    assert "secret" not in str(error.value)
    assert server.jobs == []


def test_a_file_of_several_types_cannot_stand_in_a_storage(tmp_path: Path) -> None:
    folder = write(tmp_path, {"all": [organization(), patient("p-1")]})
    with pytest.raises(FhirspaceError, match=r"FS599 all\.ndjson"):
        loaded(started("azure", folder), folder, "azure")


@pytest.mark.parametrize(("line", "code"), [("{", "FS401"), (dump(patient("p-0", active=True)), "FS521")])
def test_a_line_that_cannot_be_sent_stops_the_import(line: str, code: str, tmp_path: Path) -> None:
    folder = trial(tmp_path)
    with (folder / "fhir" / "Patient.ndjson").open("a") as file:
        file.write(line + "\n")
    server = HapiImporter()
    with pytest.raises(FhirspaceError, match=rf"{code} Patient\.ndjson:4"):
        loaded(server, folder, "hapi")
    assert server.jobs == []


def test_packed_files_are_served_unpacked_and_told_by_their_names(tmp_path: Path) -> None:
    folder = trial(tmp_path)
    file = folder / "fhir" / "Patient.ndjson"
    file.with_name("Patient.ndjson.gz").write_bytes(gzip.compress(file.read_bytes()))
    file.unlink()
    report = loaded(HapiImporter(), folder, "hapi")
    assert report.whole
    assert {row["file"] for row in report.files if row["type"] == "Patient"} == {"Patient.ndjson.gz"}
    with pytest.raises(FhirspaceError, match=r"FS599 Patient\.ndjson\.gz"):
        loaded(started("azure", folder), folder, "azure")


def test_google_by_another_address(tmp_path: Path) -> None:
    folder = trial(tmp_path)
    server = started("google", folder)
    client = Client("https://fhir.example/r4", server)
    with pytest.raises(FhirspaceError, match="FS567 --server"):
        bulk_push(folder, client.server, shape="google", source="gs://bucket/in", client=client)
