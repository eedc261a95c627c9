"""Data that others change while they are pulled: nothing missing, nothing double, nothing that is gone."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fhirspace.delivery.pull.pull import PullReport, pull
from fhirspace.errors import FhirspaceError
from fhirspace.fhir.canonical import canonical
from fhirspace.fhirserver.http.client import Client, Response
from fhirspace.fhirserver.search import moment
from tests.support.moving import MovingServer
from tests.support.resources import STUDY, dump, lines_of


def filled(style: str, count: int = 10) -> MovingServer:
    server = MovingServer(style)
    server.put("Organization", "o-1", name="Site")
    for number in range(count):
        server.put("Patient", f"p-{number:02}", gender="female")
    return server


def pulled(server: MovingServer, out: Path, **options: object) -> PullReport:
    client = Client(server.url, server, sleep=server.wait)
    return pull(server.url, STUDY, out, client=client, **options)  # type: ignore[arg-type]


def there(server: MovingServer) -> list[bytes]:
    tagged = [body for body in server.store.values() if body["meta"]["tag"][0]["code"] == STUDY]
    return sorted(canonical(dump(body).encode()) for body in tagged)


def once(server: MovingServer, change: Callable[[MovingServer], None], page: int = 2) -> None:
    """Have something changed before the page of this number."""
    turns = iter(range(1, 10_000))

    def between() -> None:
        if next(turns) == page - 1:
            change(server)

    server.between = between


CHANGES: dict[str, Callable[[MovingServer], None]] = {
    "deleted, read already": lambda server: server.delete("Patient", "p-01"),
    "deleted, not read yet": lambda server: server.delete("Patient", "p-08"),
    "updated, read already": lambda server: server.put("Patient", "p-01", gender="male"),
    "updated, not read yet": lambda server: server.put("Patient", "p-08", gender="male"),
    "created": lambda server: server.put("Patient", "a-new", gender="male"),
    "no longer of the study": lambda server: server.put("Patient", "p-01", "ELSE", gender="male"),
    "newly of the study": lambda server: server.put("Patient", "elsewhere", gender="male"),
    "one deleted and one created": lambda server: server.delete("Patient", "p-00") or server.put("Patient", "p-99"),
    "deleted and made again": lambda server: (
        server.delete("Patient", "p-02") or server.put("Patient", "p-02", gender="other")
    ),
    "a type that was empty": lambda server: (
        server.put("Observation", "ob-1", status="final") or server.put("Patient", "p-98")
    ),
}


@pytest.mark.parametrize("totals", [True, False], ids=["totals", "no totals"])
@pytest.mark.parametrize("style", ["offset", "snapshot"])
@pytest.mark.parametrize("change", CHANGES)
def test_what_is_there_at_the_end_is_what_was_pulled(change: str, style: str, totals: bool, tmp_path: Path) -> None:
    server = filled(style)
    server.put("Patient", "elsewhere", "ELSE")
    server.totals = totals
    once(server, CHANGES[change])
    report = pulled(server, tmp_path)
    lines = lines_of(tmp_path)
    assert sorted(map(canonical, lines)) == there(server)
    assert len({(json.loads(line)["resourceType"], json.loads(line)["id"]) for line in lines}) == len(lines)
    assert report.total == len(lines)
    assert report.problems == []


@pytest.mark.parametrize("seconds", [1, 9])
def test_a_change_that_becomes_visible_late_is_fetched(seconds: int, tmp_path: Path) -> None:
    """Its time is before the first search, its transaction commits after that; the totals do not betray it."""
    server = filled("snapshot")
    server.wait(60)
    once(server, lambda server: server.put("Patient", "p-01", late=seconds, gender="other"))
    report = pulled(server, tmp_path)
    assert sorted(map(canonical, lines_of(tmp_path))) == there(server)
    assert b'"other"' in b"".join(lines_of(tmp_path))
    assert report.problems == []


def test_pages_alone_would_have_missed_one(tmp_path: Path) -> None:
    server = filled("offset")
    once(server, CHANGES["deleted, read already"])
    answer, seen = server.send("POST", "Patient/_search", b"_tag=x|" + STUDY.encode()), set()
    while True:
        page = json.loads(answer.body)
        seen |= {entry["resource"]["id"] for entry in page["entry"]}
        if "link" not in page:
            break
        answer = server.send("GET", page["link"][0]["url"])
    assert {key.split("/")[1] for key in server.store if key.startswith("Patient")} - seen == {"p-03"}


def test_quiet_data_cost_two_small_searches_a_type(tmp_path: Path) -> None:
    server = filled("offset")
    server.wait(60)
    pulled(server, tmp_path, types=["Patient"])
    posts = [query for method, _, query in server.requests if method == "POST"]
    assert [sorted(set(query) - {"_tag", "_count", "_total"}) for query in posts] == [
        [],
        ["_lastUpdated"],
        ["_summary"],
    ]


def test_data_that_never_rest_are_told(tmp_path: Path) -> None:
    server = filled("offset")
    send = server.send

    def busy(*request: object) -> object:
        server.put("Patient", "p-05", gender=str(server.now))
        return send(*request)  # type: ignore[arg-type]

    server.send = busy  # type: ignore[method-assign, assignment]
    report = pulled(server, tmp_path, types=["Patient"])
    assert [problem.code for problem in report.problems] == ["FS568"]
    assert report.counts == {"Patient": 10}


def test_a_server_without_lastupdated_is_listed_instead(tmp_path: Path) -> None:
    server = filled("snapshot")
    send = server.send

    def narrow(method: str, path: str, body: bytes | None = None, headers: object = None) -> object:
        if body and b"_lastUpdated" in body:
            return server._answer(400, {"resourceType": "OperationOutcome"})
        return send(method, path, body, headers)

    server.send = narrow  # type: ignore[method-assign, assignment]
    once(server, CHANGES["deleted, read already"])
    pulled(server, tmp_path)
    assert sorted(map(canonical, lines_of(tmp_path))) == there(server)


@pytest.mark.parametrize("when", ["first", "listed"])
def test_a_resource_without_id_is_none(when: str, tmp_path: Path) -> None:
    server = filled("offset")
    server.totals = False
    send = server.send

    def broken(method: str, path: str, body: bytes | None = None, headers: object = None) -> Response:
        answer = send(method, path, body, headers)
        if method == "POST" and (b"_elements" in (body or b"")) == (when == "listed"):
            return replace(
                answer, body=re.sub(rb'"id": "p-[0-9]+"', b'"id": 5' if when == "listed" else b'"x": 5', answer.body)
            )
        return answer

    server.send = broken  # type: ignore[method-assign]
    with pytest.raises(FhirspaceError, match="FS512"):
        pulled(server, tmp_path, types=["Patient"])


def test_a_resource_that_cannot_be_read_by_itself(tmp_path: Path) -> None:
    server = filled("snapshot")
    once(server, CHANGES["deleted, read already"])
    send = server.send

    def refusing(method: str, path: str, body: bytes | None = None, headers: object = None) -> Response:
        return Response(418, {}, b"") if path == "Patient/p-01" else send(method, path, body, headers)

    server.send = refusing  # type: ignore[method-assign]
    with pytest.raises(FhirspaceError, match=r"FS512.*418"):
        pulled(server, tmp_path)


def test_only_what_was_changed_since(tmp_path: Path) -> None:
    server = filled("offset")
    since = server.now.isoformat()
    server.put("Patient", "p-03", gender="other")
    report = pulled(server, tmp_path, since=since)
    assert report.counts == {"Patient": 2}
    assert [json.loads(line)["id"] for line in lines_of(tmp_path)] == ["p-03", "p-09"]
    later = pulled(server, tmp_path, since="2030-01-01")
    assert (later.total, later.files) == (0, [])


@pytest.mark.parametrize("since", ["yesterday", "2026-02-30", "2026-03-01T10:00:00", "2026", ""])
def test_a_moment_that_is_none(since: str) -> None:
    with pytest.raises(FhirspaceError, match="FS622"):
        moment(since)


def test_moments() -> None:
    assert moment("2026-03-01") == "2026-03-01T00:00:00.000+00:00"
    assert moment("2026-03-01T10:00:00.5+02:00") == "2026-03-01T10:00:00.500+02:00"
    assert moment("2026-03-01T10:00:00Z") == "2026-03-01T10:00:00.000+00:00"
