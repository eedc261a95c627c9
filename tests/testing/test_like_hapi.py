"""The double answers as a real HAPI does: one table of steps, tried on both."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from fhirspace.testing import serving
from tests.testing.talk import Talk, entry, observation, patient, statuses

TAG = {"system": "urn:like-hapi", "code": "T"}


@pytest.fixture(scope="module", params=["double", pytest.param("hapi", marks=[pytest.mark.server, pytest.mark.slow])])
def talk(request: pytest.FixtureRequest) -> Iterator[Talk]:
    if request.param == "hapi":
        with Talk(request.getfixturevalue("hapi")("R4")) as client:
            yield client
    else:
        with serving(stale_status=409, guards_delete=False) as server, Talk(server.url) as client:
            yield client


def keyed(value: str, **elements: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", "identifier": [{"system": "urn:like-hapi", "value": value}], **elements}


Step = tuple[Any, ...]
"""Method, path, body, headers, the status, and the version of the ETag ("" for none)."""

STORIES: dict[str, list[Step]] = {
    "update as create": [
        ("PUT", "Patient/l-a", patient("l-a"), {}, 201, "1"),
        ("PUT", "Patient/l-a", patient("l-a", gender="male"), {}, 200, "2"),
        ("PUT", "Patient/l-a", patient("l-a", gender="male"), {}, 200, "2"),
        ("PUT", "Patient/l-a", b'{"gender":"male", "id":"l-a", "resourceType":"Patient"}', {}, 200, "2"),
        ("GET", "Patient/l-a", None, {}, 200, "2"),
        ("GET", "Patient/l-a/_history/1", None, {}, 200, "1"),
        ("GET", "Patient/l-a/_history/7", None, {}, 404, ""),
        ("GET", "Patient/l-nobody", None, {}, 404, ""),
        ("GET", "Patient/l-nobody/_history", None, {}, 404, ""),
        ("PUT", "Patient/l-a", patient("l-b"), {}, 400, ""),
        ("PUT", "Patient/l-a", {"resourceType": "Patient"}, {}, 400, ""),
    ],
    "If-Match": [
        ("PUT", "Patient/l-m", patient("l-m"), {}, 201, "1"),
        ("PUT", "Patient/l-m", patient("l-m", gender="male"), {"If_Match": 'W/"1"'}, 200, "2"),
        ("PUT", "Patient/l-m", patient("l-m", gender="other"), {"If_Match": 'W/"1"'}, 409, ""),
        ("PUT", "Patient/l-m", patient("l-m", gender="male"), {"If_Match": 'W/"1"'}, 409, ""),
        ("GET", "Patient/l-m", None, {}, 200, "2"),
        ("DELETE", "Patient/l-m", None, {"If_Match": 'W/"1"'}, 200, ""),
        ("GET", "Patient/l-m", None, {}, 410, ""),
    ],
    "deletion": [
        ("PUT", "Patient/l-d", patient("l-d"), {}, 201, "1"),
        ("PUT", "Observation/l-d", observation("l-d", "Patient/l-d"), {}, 201, "1"),
        ("DELETE", "Patient/l-d", None, {}, 409, ""),
        ("DELETE", "Observation/l-d", None, {}, 200, ""),
        ("DELETE", "Patient/l-d", None, {}, 200, ""),
        ("GET", "Patient/l-d", None, {}, 410, ""),
        ("GET", "Patient/l-d/_history/1", None, {}, 200, "1"),
        ("GET", "Patient/l-d/_history/2", None, {}, 410, ""),
        ("DELETE", "Patient/l-d", None, {}, 200, ""),
        ("DELETE", "Patient/l-nobody", None, {}, 200, ""),
        ("PUT", "Observation/l-d", observation("l-d", "Patient/l-d"), {}, 400, ""),
        ("PUT", "Patient/l-d", patient("l-d"), {}, 201, "3"),
    ],
    "conditional": [
        ("PUT", "Patient?identifier=urn:like-hapi%7C1", keyed("1"), {}, 201, "1"),
        ("PUT", "Patient?identifier=urn:like-hapi%7C1", keyed("1", gender="male"), {}, 200, "2"),
        ("POST", "Patient", keyed("1"), {"If_None_Exist": "identifier=urn:like-hapi|1"}, 200, "2"),
        ("POST", "Patient", keyed("1"), {}, 201, "1"),
        ("PUT", "Patient?identifier=urn:like-hapi%7C1", keyed("1"), {}, 412, ""),
        ("POST", "Patient", keyed("1"), {"If_None_Exist": "identifier=urn:like-hapi|1"}, 412, ""),
    ],
    "what cannot be done": [
        ("GET", "Patient?nonsense=1", None, {}, 400, ""),
        ("GET", "Nonsense/1", None, {}, 404, ""),
        ("PUT", "Patient/l-x", b"[1]", {}, 400, ""),
        ("PUT", "Patient/l-x", observation("l-x", "Patient/l-x"), {}, 400, ""),
        ("PUT", "Observation/l-x", observation("l-x", "Patient/l-nobody"), {}, 400, ""),
        ("GET", "Observation/l-x", None, {}, 404, ""),
    ],
}


@pytest.mark.parametrize("name", STORIES)
def test_step_by_step(talk: Talk, name: str) -> None:
    expected, found = [], []
    for method, path, body, headers, status, version in STORIES[name]:
        answer = talk(method, path, body, **headers)
        expected.append((method, path, status, version))
        found.append((method, path, answer.status_code, answer.headers.get("ETag", "").strip('W/"')))
    assert found == expected


def test_the_history_tells_each_version_the_newest_first(talk: Talk) -> None:
    talk.put(patient("l-h"))
    talk.put(patient("l-h", gender="male"))
    talk("DELETE", "Patient/l-h")
    talk.put(patient("l-h"))
    history = talk("GET", "Patient/l-h/_history").json()
    assert (history["type"], history["total"]) == ("history", 4)
    said = [
        (item["request"]["method"], item["response"]["status"][:3], "resource" in item) for item in history["entry"]
    ]
    assert said == [("PUT", "200", True), ("DELETE", "200", False), ("PUT", "200", True), ("POST", "201", True)]
    assert [item["resource"]["meta"]["versionId"] for item in history["entry"] if "resource" in item] == ["4", "2", "1"]


@pytest.mark.parametrize(
    ("bad", "status"),
    [
        (entry(observation("l-t", "Patient/l-nobody")), 400),
        (entry(patient("l-t1"), full="https://example.org/other/Patient/l-t1"), 400),
        (entry(patient("l-t2", gender="unknown"), ifMatch='W/"99"'), 409),
        (entry(keyed("twice", gender="male"), "PUT", "Patient?identifier=urn:like-hapi|twice"), 412),
    ],
)
def test_a_transaction_is_done_whole_or_not_at_all(talk: Talk, bad: dict[str, Any], status: int) -> None:
    talk.put(patient("l-t2"))
    for name in ("l-t3", "l-t4"):
        talk.put(keyed("twice", id=name))
    answer = talk.bundle("transaction", entry(patient("l-t1")), bad)
    assert answer.status_code == status
    assert talk("GET", "Patient/l-t1").status_code == 404


def test_a_transaction_answers_entry_by_entry_and_resolves_references(talk: Talk) -> None:
    sent = [
        entry(observation("l-u", "urn:uuid:0fc374a1-a226-4552-9683-55dd510e67c9")),
        entry(keyed("u"), "PUT", "Patient?identifier=urn:like-hapi|u", "urn:uuid:0fc374a1-a226-4552-9683-55dd510e67c9"),
        entry(patient("l-u")),
    ]
    first = talk.bundle("transaction", *sent)
    assert statuses(first) == ["201", "201", "201"]
    made = first.json()["entry"][1]["response"]["location"].split("/_history")[0]
    assert talk("GET", "Observation/l-u").json()["subject"]["reference"] == made
    again = talk.bundle("transaction", *sent)
    assert statuses(again) == ["200", "200", "200"]
    assert [item["response"]["etag"].strip('W/"') for item in again.json()["entry"]] == ["1"] * 3
    assert again.text.count("_NO_CHANGE") == 3


def test_a_batch_is_done_entry_by_entry(talk: Talk) -> None:
    answer = talk.bundle(
        "batch",
        entry(patient("l-b1")),
        entry(observation("l-b2", "Patient/l-nobody")),
        entry(None, "GET", "Patient/l-nobody"),
        entry(None, "GET", "Patient/l-b1"),
    )
    assert answer.status_code == 200
    assert statuses(answer) == ["201", "400", "404", "200"]
    assert answer.json()["entry"][1]["response"]["outcome"]["resourceType"] == "OperationOutcome"
    assert answer.json()["entry"][3]["resource"]["id"] == "l-b1"


def test_searches_and_preferences(talk: Talk) -> None:
    for number in range(5):
        talk.put(patient(f"l-s{number}", meta={"tag": [TAG]}), Prefer="return=minimal")
    assert talk.put(patient("l-s5", meta={"tag": [TAG]}), Prefer="return=minimal").content == b""
    assert talk.put(patient("l-s5", meta={"tag": [TAG]})).json()["id"] == "l-s5"
    assert sorted(talk.search("Patient?_tag=urn:like-hapi|T&_count=2")) == [f"l-s{number}" for number in range(6)]
    assert sorted(talk.search("Patient?_id=l-s1,l-s3,l-nobody")) == ["l-s1", "l-s3"]
    assert talk("GET", "Patient?_tag=urn:like-hapi|T&_summary=count").json()["total"] == 6
    assert talk.search("Patient?_tag=urn:like-hapi|T&_lastUpdated=gt2999-01-01") == []
    said = talk("GET", "metadata").json()
    assert (said["fhirVersion"], said["resourceType"]) == ("4.0.1", "CapabilityStatement")
