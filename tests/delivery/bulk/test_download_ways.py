"""Files of an export that come another way: by redirects, compressed without a word of it, or tell of deletions."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fhirspace.delivery.bulk.export import bulk_pull
from fhirspace.errors import FhirspaceError
from fhirspace.fhirserver.http.client import Client, HttpTransport
from fhirspace.fhirserver.http.transport import Response
from fhirspace.fhirserver.search import by_identifier
from fhirspace.testing import serving
from tests.delivery.bulk.exporter import Exporter, exporting
from tests.delivery.bulk.test_export import Token, ndjson
from tests.support.resources import STUDY, dump, patient

PEOPLE = [dump(patient(f"p-{n}")) for n in range(3)]


@pytest.fixture
def server() -> Iterator[Exporter]:
    with exporting({"p": ("Patient", ndjson(*PEOPLE))}) as exporter:
        yield exporter


class Changed:
    """A transport that changes what is answered to the GET of a file."""

    def __init__(self, url: str, change: Callable[[str, Response], Response]) -> None:
        self.seam, self.change = HttpTransport(url, sign_in=Token()), change

    def send(self, method: str, path: str, body: bytes | None = None, headers: Any = None) -> Response:
        answer = self.seam.send(method, path, body, headers)
        return self.change(path, answer) if "/files/" in path and method == "GET" else answer


def pulled(server: Exporter, out: Path, change: Callable[[str, Response], Response], **how: Any) -> Any:
    client = Client(server.url, Changed(server.url, change), sleep=lambda seconds: None)
    return bulk_pull(server.url, STUDY, out, client=client, types=["Patient"], **how)


def moved(place: str, status: int = 307) -> Callable[[str, Response], Response]:
    def change(path: str, answer: Response) -> Response:
        return answer if "moved" in path else Response(status, {"location": place}, b"", url=answer.url)

    return change


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("place", ["moved", "/fhir/files/0/moved", "BASE/files/0/moved"])
def test_a_redirect_of_a_file_is_followed(server: Exporter, tmp_path: Path, status: int, place: str) -> None:
    server.errors["moved"] = ndjson(*PEOPLE)
    server.manifest = _without_errors(server)  # type: ignore[method-assign, assignment]
    report = pulled(server, tmp_path, moved(place.replace("BASE", server.url), status))
    assert report.counts == {"Patient": 3}


def _without_errors(server: Exporter) -> Callable[[str], dict[str, Any]]:
    made = server.manifest
    return lambda job: {**made(job), "error": None}


def test_a_redirect_elsewhere_shows_no_token(server: Exporter, tmp_path: Path) -> None:
    with exporting({"moved": ("Patient", ndjson(*PEOPLE))}) as storage:
        storage.filters.append(False)
        report = pulled(server, tmp_path, moved(f"{storage.url}/files/0/moved"))
        assert report.counts == {"Patient": 3}
        assert storage.requests
        assert not any("authorization" in headers for _, _, headers, _ in storage.requests)


def test_redirects_come_to_an_end(server: Exporter, tmp_path: Path) -> None:
    round_and_round = lambda path, answer: Response(302, {"location": str(path)}, b"", url=answer.url)  # noqa: E731
    with pytest.raises(FhirspaceError, match=r"FS512.*redirects"):
        pulled(server, tmp_path, round_and_round)


@pytest.mark.parametrize("place", ["ftp://127.0.0.1/x", "http://192.0.2.1/x", ""])
def test_a_redirect_to_where_nobody_may_go(server: Exporter, tmp_path: Path, place: str) -> None:
    with pytest.raises(FhirspaceError, match=r"FS512|FS530|FS564"):
        pulled(server, tmp_path, moved(place))


def test_a_file_that_is_compressed_and_does_not_say_so(server: Exporter, tmp_path: Path) -> None:
    server.files["p"] = ("Patient", gzip.compress(ndjson(*PEOPLE)))
    server.counts, server.unfiltered = False, True
    assert pulled(server, tmp_path, lambda path, answer: answer).counts == {"Patient": 3}


def test_a_file_whose_compression_is_cut_is_no_answer(server: Exporter, tmp_path: Path) -> None:
    server.files["p"] = ("Patient", gzip.compress(ndjson(*PEOPLE))[:-9])
    server.counts, server.unfiltered = False, True
    with pytest.raises(FhirspaceError, match="FS512"):
        pulled(server, tmp_path, lambda path, answer: answer)


def test_deletions_are_reported(server: Exporter, tmp_path: Path) -> None:
    gone = [{"request": {"method": "DELETE", "url": f"{kind}/gone"}} for kind in ("Patient", "Observation")]
    server.errors["gone"] = dump({"resourceType": "Bundle", "type": "transaction", "entry": gone}).encode() + b"\n"
    made = server.manifest

    def manifest(job: str) -> dict[str, Any]:
        known = made(job)
        return {**known, "error": [], "deleted": [{**known["error"][0], "type": "Bundle"}]}

    server.manifest = manifest  # type: ignore[method-assign]
    report = pulled(server, tmp_path, lambda path, answer: answer, since="2026-01-01")
    assert report.deleted == ["Observation/gone", "Patient/gone"]
    assert [(problem.code, problem.table) for problem in report.problems] == [
        ("FS578", "Observation"),
        ("FS578", "Patient"),
    ]
    assert json.loads(json.dumps(report.as_dict()))["deleted"] == report.deleted


def test_an_outcome_in_a_page_is_known_by_its_type() -> None:
    with serving() as server:
        outcome = {"resourceType": "OperationOutcome", "issue": [{"severity": "warning", "code": "informational"}]}
        held = {"resourceType": "Patient", "id": "a", "identifier": [{"system": "s", "value": "v"}]}
        server.store["Patient/a"] = dump(held).encode()
        transport = HttpTransport(server.url)

        class Beside:
            def send(self, method: str, path: str, body: bytes | None = None, headers: Any = None) -> Response:
                answer = transport.send(method, path, body, headers)
                page = json.loads(answer.body)
                page["entry"].append({"resource": outcome})
                return Response(answer.status, {"content-type": "application/fhir+json"}, json.dumps(page).encode())

        client = Client(server.url, Beside())
        assert len(by_identifier(client, "Patient", "s|v")) == 1
        transport.close()
