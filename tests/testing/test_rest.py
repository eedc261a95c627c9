"""One resource at a time."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import pytest

from fhirspace.testing import CANARY, FaultyServer
from tests.testing.talk import Talk, observation, patient


def test_the_bytes_are_kept_and_the_metadata_is_added(server: FaultyServer, talk: Talk) -> None:
    sent = b'{"resourceType":"Basic", "id":"b", "code":{"text":"x"}, "extension":[{"url":"u","valueDecimal":5.50}]}'
    assert talk("PUT", "Basic/b", sent, Prefer="return=minimal").content == b""
    assert server.store["Basic/b"] == sent
    read = talk("GET", "Basic/b")
    assert b'"valueDecimal":5.50' in read.content
    assert read.json()["meta"]["versionId"] == "1"
    assert (read.headers["ETag"], read.headers["Content-Type"]) == ('W/"1"', "application/fhir+json")
    assert talk("GET", "Basic/b/_history/1").content == read.content


def test_the_clock_is_the_one_given(server: FaultyServer, talk: Talk) -> None:
    moment = datetime(2020, 1, 2, 3, 4, 5, 678000, UTC)
    server.clock = lambda: moment
    answer = talk.put(patient("p"))
    assert answer.json()["meta"]["lastUpdated"] == "2020-01-02T03:04:05.678+00:00"
    assert parsedate_to_datetime(answer.headers["Date"]) == moment.replace(microsecond=0)
    assert parsedate_to_datetime(answer.headers["Last-Modified"]) == moment.replace(microsecond=0)


def test_versions_can_be_made_of_unchanged_content(server: FaultyServer, talk: Talk) -> None:
    server.keeps_version = False
    assert [talk.put(patient("p")).status_code for _ in range(3)] == [201, 200, 200]
    assert server.versions == {"Patient/p": 3}


def test_what_another_client_writes_is_a_version(server: FaultyServer, talk: Talk) -> None:
    talk.put(patient("p"))
    server.store["Patient/p"] = b'{"resourceType":"Patient","id":"p","gender":"male"}'
    assert talk("GET", "Patient/p").json()["meta"]["versionId"] == "2"
    assert [version.number for version in server.history("Patient/p")] == [1, 2]
    del server.store["Patient/p"]
    assert talk("GET", "Patient/p").status_code == 404
    with pytest.raises(KeyError):
        server.store["Patient/p"]
    server.store.clear()
    assert not server.store and not server.versions


def test_conditional_updates_create_update_and_refuse(server: FaultyServer, talk: Talk) -> None:
    server.client_ids = False
    body = {"resourceType": "Patient", "identifier": [{"system": "urn:s", "value": "1"}]}
    path = "Patient?identifier=urn:s%7C1"
    made = talk("PUT", path, body)
    assert made.status_code == 201
    again = talk("PUT", path, body | {"gender": "male"})
    assert (again.status_code, again.json()["id"]) == (200, made.json()["id"])
    assert talk("PUT", path, body | {"gender": "male"}).headers["ETag"] == 'W/"2"'
    assert talk("POST", "Patient", body).headers["Location"].startswith(f"{server.url}/Patient/")
    assert talk("PUT", path, body).status_code == 412
    assert talk("POST", "Patient", body, If_None_Exist="identifier=urn:s|1").status_code == 412
    assert talk("POST", "Patient", body, If_None_Exist="identifier=urn:s|2").status_code == 201
    assert talk("PUT", path.replace("1", "3"), body | {"id": "mine"}).status_code == 405


@pytest.mark.parametrize("status", [405, 400, 404])
def test_ids_of_clients_can_be_refused(server: FaultyServer, talk: Talk, status: int) -> None:
    server.client_ids, server.client_id_status = False, status
    assert talk.put(patient("p")).status_code == status
    assert talk("GET", "metadata").json()["rest"][0]["resource"][0]["updateCreate"] is False
    server.store["Patient/p"] = b'{"resourceType":"Patient","id":"p"}'
    assert talk.put(patient("p")).status_code == 200


def test_a_deletion_is_guarded_by_if_match(server: FaultyServer, talk: Talk) -> None:
    talk.put(patient("p"))
    assert talk("DELETE", "Patient/p", If_Match='W/"2"').status_code == 412
    assert talk("DELETE", "Patient/p", If_Match='W/"1"').status_code == 200


def test_a_conditional_update_may_bring_the_id(server: FaultyServer, talk: Talk) -> None:
    body = patient("mine", identifier=[{"system": "urn:s", "value": "1"}])
    assert talk("PUT", "Patient?identifier=urn:s%7C1", body).status_code == 201
    assert list(server.store) == ["Patient/mine"]


def test_integrity_can_be_switched_off(server: FaultyServer, talk: Talk) -> None:
    server.integrity = False
    assert talk.put(observation("o", "Patient/p")).status_code == 201
    talk.put(patient("p"))
    assert talk("DELETE", "Patient/p").status_code == 200


def test_an_absolute_reference_to_this_server_is_a_reference(server: FaultyServer, talk: Talk) -> None:
    assert talk.put(observation("o", f"{server.url}/Patient/p")).status_code == 400
    assert talk.put(observation("o", "https://elsewhere.example/fhir/Patient/p")).status_code == 201


def test_what_is_refused_is_told_with_a_canary(server: FaultyServer, talk: Talk) -> None:
    server.refuse = lambda resource: resource["id"] == "p"
    answer = talk.put(patient("p"))
    assert answer.status_code == 422
    assert CANARY in answer.text
    assert not server.store


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("PUT", "Patient/p", b"{", 400),
        ("PUT", "Patient/p", b"[]", 400),
        ("PUT", "Patient/p", {"resourceType": "Group", "id": "p"}, 400),
        ("PUT", "Patient/p", {"resourceType": "Patient", "id": "q"}, 400),
        ("PUT", "Patient/p", {"resourceType": "Patient"}, 400),
        ("PUT", "Patient", {"resourceType": "Patient"}, 400),
        ("DELETE", "Patient", None, 400),
        ("GET", "Patient/none", None, 404),
        ("GET", "Patient/none/_history", None, 404),
        ("GET", "Nonsense", None, 404),
        ("GET", "?_page=none", None, 410),
        ("GET", "", None, 400),
        ("PATCH", "Patient/p", b"{}", 405),
    ],
)
def test_what_cannot_be_done(talk: Talk, method: str, path: str, body: object, status: int) -> None:
    answer = talk(method, path, body)
    assert answer.status_code == status
    assert answer.json()["resourceType"] == "OperationOutcome"


@pytest.mark.parametrize(
    ("interaction", "method", "path"),
    [
        ("read", "GET", "Patient/p"),
        ("vread", "GET", "Patient/p/_history/1"),
        ("history-instance", "GET", "Patient/p/_history"),
        ("search-type", "POST", "Patient/_search"),
        ("search-type", "GET", "Patient"),
        ("delete", "DELETE", "Patient/p"),
    ],
)
def test_an_interaction_that_is_left_out(
    server: FaultyServer, talk: Talk, interaction: str, method: str, path: str
) -> None:
    talk.put(patient("p"))
    assert talk(method, path).ok
    server.store["Patient/p"] = b'{"resourceType":"Patient","id":"p"}'
    server.interactions.discard(interaction)
    assert talk(method, path).status_code == 405
    said = talk("GET", "metadata").json()["rest"][0]["resource"][0]["interaction"]
    assert interaction not in [item["code"] for item in said]


def test_the_metadata_can_be_replaced_and_other_documents_served(server: FaultyServer, talk: Talk) -> None:
    server.fhir_version = "5.0.0"
    server.statement = {"software": {"name": "Other"}}
    server.documents[".well-known/smart-configuration"] = {"token_endpoint": "https://x.example/token"}
    said = talk("GET", "metadata").json()
    assert (said["fhirVersion"], said["software"]["name"]) == ("5.0.0", "Other")
    assert talk("GET", ".well-known/smart-configuration").json() == {"token_endpoint": "https://x.example/token"}


def test_sign_in_is_asked_for_and_wears_out(server: FaultyServer, talk: Talk) -> None:
    server.authorize = lambda value: value.startswith("Bearer good")
    server.token_life = 2
    assert talk("GET", "metadata").ok
    refused = talk("GET", "Patient")
    assert (refused.status_code, refused.headers["WWW-Authenticate"]) == (401, 'Bearer error="invalid_token"')
    for turn in ("1", "2"):
        said = [talk("GET", "Patient", Authorization=f"Bearer good {turn}").status_code for _ in range(4)]
        assert said == [200, 200, 401, 401]


def test_too_much_is_refused(server: FaultyServer, talk: Talk) -> None:
    server.most_bytes = 100
    assert talk.put(patient("p", language="x" * 100)).status_code == 413
