"""What the doctor says of a real HAPI server is what that server really does, R4 and R5."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fhirspace.delivery.doctor.doctor import Preflight, doctor
from fhirspace.errors import ServerError
from fhirspace.fhirserver.http.client import JSON, Client, HttpTransport
from tests.support.resources import dump, resource

pytestmark = [pytest.mark.server, pytest.mark.slow]

STUDY = "DOCTOR"
PATIENT = resource("Patient", "doctor-patient", STUDY, gender="female")


@pytest.fixture(params=["R4", "R5"])
def fhir(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def real(hapi: Callable[[str], str], fhir: str) -> Iterator[Client]:
    transport = HttpTransport(hapi(fhir))
    yield Client(hapi(fhir), transport)
    transport.close()


@pytest.fixture
def found(real: Client, fhir: str) -> Preflight:
    return doctor(real.server, fhir=fhir, client=real, signed=False)


def said(found: Preflight) -> dict[str, str]:
    return {each.name: each.value for each in found.findings}


def bundle(kind: str, *entries: dict[str, Any]) -> bytes:
    return json.dumps({"resourceType": "Bundle", "type": kind, "entry": entries}).encode()


def put(body: dict[str, Any]) -> dict[str, Any]:
    return {"resource": body, "request": {"method": "PUT", "url": f"{body['resourceType']}/{body['id']}"}}


def search(client: Client, body: str) -> int:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = client.request("POST", "Patient/_search", body.encode(), headers=headers)
    assert answer.ok
    return len(json.loads(answer.body).get("entry", []))


def test_it_is_known_and_a_push_would_work(found: Preflight, fhir: str) -> None:
    assert (found.fhir, found.limits.key, found.exit_code) == (fhir, "hapi", 0), found.findings
    assert found.way is not None
    assert (found.way.kind, found.way.without) == ("transaction", ())
    assert said(found)["software"].startswith("HAPI FHIR Server 8.")
    assert said(found)["bundles"] == "transaction; a batch was tried and works"
    assert said(found)["sign-in"] == "none needed"
    assert said(found)["clock"] == "agrees within 1 s"


def test_client_ids_transactions_and_compressed_requests_work_as_said(found: Preflight, real: Client) -> None:
    assert said(found)["client ids"] == "not stated; a setting of HAPI FHIR, assumed"
    assert found.way and found.way.gzip
    packed = gzip.compress(bundle("transaction", put(PATIENT)))
    answer = real.request("POST", "", packed, headers={"Content-Type": JSON, "Content-Encoding": "gzip"})
    assert answer.ok
    assert real.json("GET", "Patient/doctor-patient")["gender"] == "female"
    assert real.request("PUT", "Patient/doctor-patient", dump(PATIENT).encode()).ok


def test_the_searches_find_what_is_there(found: Preflight, real: Client) -> None:
    assert said(found)["searches"] == "_tag _id _lastUpdated identifier (tried on Patient)"
    named = {
        **PATIENT,
        "id": "doctor-named",
        "identifier": [{"system": "https://fhirspace.org/test", "value": "doctor"}],
    }
    assert real.request("PUT", "Patient/doctor-named", dump(named).encode()).ok
    for body in (
        f"_tag=https://fhirspace.org/study|{STUDY}&_id=doctor-named",
        "_id=doctor-named&_lastUpdated=gt2020-01-01",
        "identifier=https://fhirspace.org/test|doctor",
    ):
        assert search(real, body) == 1, body


def test_a_run_can_be_undone_as_said(found: Preflight, real: Client) -> None:
    assert said(found)["undo"] == "versions, history, deletes"
    key = "Patient/doctor-undone"
    for gender in ("female", "male"):
        assert real.request("PUT", key, dump({**PATIENT, "id": "doctor-undone", "gender": gender}).encode()).ok
    assert real.json("GET", f"{key}/_history/1")["gender"] == "female"
    assert real.request("DELETE", key).ok
    assert real.request("GET", key).status == 410


def test_adverse_events_of_r4_have_no_search_by_identifier(real: Client, fhir: str) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = real.request("POST", "AdverseEvent/_search", b"identifier=x", headers=headers)
    assert answer.status == (400 if fhir == "R4" else 200)


def newest(client: Client) -> tuple[str, str]:
    """What was written last: its id and version."""
    (entry,) = client.json("GET", "_history?_count=1", headers={"Cache-Control": "no-cache"})["entry"]
    return entry["resource"]["id"], entry["resource"]["meta"]["versionId"]


def test_looking_leaves_nothing_behind(real: Client, fhir: str) -> None:
    assert real.request("PUT", "Patient/doctor-last", dump({**PATIENT, "id": "doctor-last"}).encode()).ok
    doctor(real.server, fhir=fhir, client=real)
    assert newest(real) == ("doctor-last", "1")


def test_another_release_is_refused_although_the_server_ignores_it(real: Client, fhir: str) -> None:
    other = {"R4": "R5", "R5": "R4"}[fhir]
    version = {"R4": "4.0", "R5": "5.0"}[other]
    assert real.request("GET", "metadata", headers={"Accept": f"{JSON};fhirVersion={version}"}).ok
    with pytest.raises(ServerError, match="FS513"):
        doctor(real.server, fhir=other, client=real)
