"""Conflicts, a resource that the server fails at, and what Bundles say, against a real HAPI server, R4 and R5."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fhirspace.delivery.push.push import push
from fhirspace.fhirserver.http.client import Client
from fhirspace.fhirserver.http.transport import HttpTransport
from tests.delivery.push.test_bundle_requests import MRN, A, B, bundle, entry, patient, told
from tests.delivery.push.test_conflicts import found, rounds
from tests.support.resources import dump, organization, resource, write

pytestmark = [pytest.mark.server, pytest.mark.slow]


@pytest.fixture(params=["R4", "R5"])
def real(request: pytest.FixtureRequest, hapi: Callable[[str], str]) -> Iterator[Client]:
    url = hapi(str(request.param))
    transport = HttpTransport(url)
    yield Client(url, transport)
    transport.close()


def sites(folder: Path, **elements: object) -> Path:
    return write(folder, {"Organization": [organization(f"real-{n}") | elements for n in range(4)]})


def test_what_another_client_changed_is_a_conflict(real: Client, tmp_path: Path) -> None:
    assert push(sites(tmp_path / "a"), real.server, client=real, provenance=False).created == 4
    same = push(sites(tmp_path / "b"), real.server, client=real, provenance=False)
    assert (same.unchanged_on_server, same.conflicts) == (4, 0)
    theirs = dump(organization("real-1") | {"name": "theirs"}).encode()
    assert real.request("PUT", "Organization/real-1", theirs).ok
    assert real.request("DELETE", "Organization/real-0").ok
    report = push(sites(tmp_path / "a", name="ours"), real.server, client=real, provenance=False)
    assert (report.updated, report.refused) == (2, 0)
    assert found(report) == [("Organization/real-0", "1", ""), ("Organization/real-1", "1", "2")]
    assert real.json("GET", "Organization/real-1")["name"] == "theirs"
    other = push(sites(tmp_path / "b", name="other"), real.server, client=real, provenance=False)
    assert (other.updated, other.conflicts) == (0, 4)
    forced = push(sites(tmp_path / "b", name="other"), real.server, client=real, provenance=False, overwrite=True)
    assert (forced.sent, forced.conflicts) == (4, 0)
    assert real.json("GET", "Organization/real-1")["name"] == "other"


def test_two_clients_lose_no_update(real: Client, tmp_path: Path) -> None:
    def read(key: str) -> bytes:
        return real.request("GET", key).body

    assert sum(map(len, rounds(real, read, tmp_path, 20, provenance=False))) > 3


def test_what_hapi_fails_at_is_rejected(hapi: Callable[[str], str], tmp_path: Path) -> None:
    """HL7's own search parameter for the text of a narrative: HAPI 8.8 answers 500, whenever it comes."""
    transport = HttpTransport(hapi("R4"))
    client = Client(hapi("R4"), transport, sleep=lambda seconds: None)
    poison = {
        "resourceType": "SearchParameter", "id": "DomainResource-text", "name": "_text", "status": "draft",
        "url": "http://hl7.org/fhir/SearchParameter/DomainResource-text", "description": "Search on the narrative",
        "code": "_text", "base": ["DomainResource"], "type": "string", "xpathUsage": "normal",
    }  # fmt: skip
    others = [resource("Basic", f"beside-{n}", code={"text": "x"}) for n in range(9)]
    report = push(write(tmp_path, {"All": [*others[:4], poison, *others[4:]]}), client.server, client=client)
    transport.close()
    assert (report.created + report.unchanged_on_server, told(report)) == (9, ["FS520 All.ndjson:5"])
    assert "status 500" in report.problems[0].detail


def test_a_bundle_is_done_as_it_says_or_refused(real: Client, tmp_path: Path) -> None:
    file = {"resourceType": "Binary", "contentType": "text/plain", "data": "aGVsbG8="}
    document = {"resourceType": "DocumentReference", "status": "current"}
    linked = document | {"content": [{"attachment": {"contentType": "text/plain", "url": f"urn:uuid:{A}"}}]}
    folder = bundle(
        tmp_path / "in",
        entry(file, f"urn:uuid:{A}", method="POST", url="Binary"),
        entry(linked, f"urn:uuid:{B}", method="POST", url="DocumentReference"),
        entry(patient(), "", method="PUT", url=f"Patient?{MRN}"),
        entry(method="DELETE", url=f"Binary/{A}"),
    )
    report = push(folder, real.server, client=real)
    assert (report.sent, told(report)) == (2, ["FS579 b.json:3", "FS579 b.json:4"])
    held = real.json("GET", f"DocumentReference/{B}")
    assert held["content"][0]["attachment"]["url"] == f"Binary/{A}"
    assert real.request("GET", f"Binary/{A}").ok


def test_a_document_is_stored_whole(real: Client, tmp_path: Path) -> None:
    kind = "R5" if real.json("GET", "metadata")["fhirVersion"].startswith("5") else "R4"
    first = {
        "resourceType": "Composition", "id": "c1", "status": "final", "type": {"text": "x"}, "date": "2020",
        "author": [{"reference": "Patient/dp"}], "title": "t",
    } | ({"subject": [{"reference": "Patient/dp"}]} if kind == "R5" else {})  # fmt: skip
    whole = {
        "resourceType": "Bundle", "id": "doc1", "type": "document", "timestamp": "2020-01-01T00:00:00Z",
        "identifier": {"system": "urn:x", "value": "1"},
        "entry": [entry(first, "http://o/Composition/c1"), entry(patient(id="dp"), "http://o/Patient/dp")],
    }  # fmt: skip
    (tmp_path / "d.json").write_text(json.dumps(whole), "utf-8")
    report = push(tmp_path, real.server, client=real)
    assert (report.sent, told(report)) == (1, [])
    assert [each["fullUrl"] for each in real.json("GET", "Bundle/doc1")["entry"]] == [
        "http://o/Composition/c1",
        "http://o/Patient/dp",
    ]
