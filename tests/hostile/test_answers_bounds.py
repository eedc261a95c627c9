"""Answers without end: bytes, seconds, pages, versions, files. Each is stopped by a bound that the message names."""

from __future__ import annotations

import gzip
import itertools
import json
import random
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from fhirspace import bulk_pull, bulk_push, doctor, pull
from fhirspace.cli import main
from fhirspace.delivery.bulk.download import fetch
from fhirspace.delivery.bulk.jobs import watched
from fhirspace.delivery.bulk.shapes import SHAPES, Part
from fhirspace.delivery.doctor.probes import clock
from fhirspace.errors import FhirspaceError, ServerError
from fhirspace.fhirserver.auth.oauth import Proof, TokenEndpoint
from fhirspace.fhirserver.fetch import versions
from fhirspace.fhirserver.http.client import Client, HttpTransport, Response, capabilities
from fhirspace.fhirserver.http.retry import http_date, pause
from fhirspace.fhirserver.http.tls import certificate
from fhirspace.fhirserver.http.transport import Network
from tests.hostile.raw import Asked, answer, chunk, listening, patient, searchset, statement

WHOLE = json.dumps(statement("Patient")).encode()
HEAD = b"HTTP/1.1 200 Fine\r\ncontent-type: application/fhir+json\r\n"
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n"
ENDLESS = HEAD + b"connection: close\r\n\r\n"


@pytest.fixture
def bounds(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Low bounds, so that nothing takes long."""
    low = {"answer-bytes": 100_000, "answer-seconds": 1, "pages": 5, "job-files": 3, "file-bytes": 5000}
    monkeypatch.setenv("FHIRSPACE_LIMITS", ",".join(f"{name}={number}" for name, number in low.items()))
    yield


def client_of(url: str, **more: Any) -> Client:
    return Client(url, HttpTransport(url, timeout=(5, 5)), sleep=lambda _: None, **more)


def refused(said: bytes | Iterable[bytes]) -> ServerError:
    """What becomes of an answer to the question for a CapabilityStatement."""
    with listening(lambda _: said) as server, pytest.raises(ServerError) as caught:
        capabilities(client_of(server.url, attempts=2))
    assert caught.value.exit_code == 4
    return caught.value


def packed(data: bytes, encoding: str = "gzip") -> bytes:
    return HEAD + f"content-encoding: {encoding}\r\ncontent-length: {len(data)}\r\n\r\n".encode() + data


def dripping(begin: bytes, drops: Iterable[bytes]) -> Iterator[bytes]:
    yield begin
    for drop in drops:
        time.sleep(0.02)
        yield drop


MUCH: dict[str, Callable[[], bytes | Iterable[bytes]]] = {
    "a body that never ends": lambda: itertools.chain([ENDLESS], itertools.repeat(b"[" * 60_000)),
    "chunks that never end": lambda: itertools.chain([CHUNKED], itertools.repeat(chunk(b" " * 60_000))),
    "more than was said": lambda: [HEAD + b"content-length: 99999999999\r\n\r\n", b" " * 200_000],
    "a gzip bomb": lambda: packed(gzip.compress(b" " * 1_000_000)),
    "a deflate bomb": lambda: packed(zlib.compress(b" " * 1_000_000), "deflate"),
    "a bare deflate bomb": lambda: packed(zlib.compress(b" " * 1_000_000, wbits=-15), "deflate"),
    "a bomb of many members": lambda: packed(gzip.compress(b" " * 1000) * 1000),
    "a redirect with a body that never ends": lambda: itertools.chain(
        [b"HTTP/1.1 302 Away\r\nlocation: /x\r\n\r\n"], itertools.repeat(b" " * 60_000)
    ),
    "an error with a body that never ends": lambda: itertools.chain(
        [b"HTTP/1.1 404 No\r\n\r\n"], itertools.repeat(b" " * 60_000)
    ),
}


@pytest.mark.usefixtures("bounds")
@pytest.mark.parametrize("kind", MUCH)
def test_an_answer_that_is_too_long(kind: str) -> None:
    error = refused(MUCH[kind]())
    assert (error.code, error.problem.expected.partition(" (")[0]) == (
        "FS519",
        "at most 100,000 bytes in one answer of a server, unpacked",
    )


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_an_answer_that_unpacks_to_far_more_than_it_is(encoding: str) -> None:
    bomb = gzip.compress(bytes(17 << 20)) if encoding == "gzip" else zlib.compress(bytes(17 << 20))
    error = refused(packed(bomb, encoding))
    assert error.code == "FS519"
    assert "200 times its compressed size" in error.problem.expected


SLOW = {
    "the status line": lambda: dripping(b"HTTP/1.1 2", itertools.repeat(b"0")),
    "a header": lambda: dripping(b"HTTP/1.1 200 Fine\r\nx: ", itertools.repeat(b"y")),
    "interim answers": lambda: itertools.repeat(b"HTTP/1.1 100 Continue\r\n\r\n"),
    "the body": lambda: dripping(HEAD + b"content-length: 99999\r\n\r\n", itertools.repeat(b" ")),
    "the size of a chunk": lambda: dripping(CHUNKED, itertools.repeat(b"0")),
    "the trailer": lambda: itertools.chain([CHUNKED + b"0\r\n"], itertools.repeat(b"x: y\r\n")),
}


@pytest.mark.usefixtures("bounds")
@pytest.mark.parametrize("kind", SLOW)
def test_an_answer_that_drips_for_ever(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fhirspace.fhirserver.http.transport.limit", lambda _: 0.3)
    begin = time.monotonic()
    error = refused(SLOW[kind]())
    assert (error.code, "answer-seconds" in error.problem.expected) == ("FS519", True)
    assert time.monotonic() - begin < 20


ODD = {
    "101 headers": HEAD + b"".join(b"x%d: y\r\n" % number for number in range(120)) + b"\r\n",
    "a long header": HEAD + b"x: " + b"y" * 70_000 + b"\r\n\r\n",
    "a long status line": b"HTTP/1.1 200 " + b"y" * 70_000 + b"\r\n\r\n",
    "no HTTP": b"\x16\x03\x01\x00 hello\r\n\r\n",
    "nothing": b"",
    "a status of letters": b"HTTP/1.1 abc Fine\r\n\r\n",
    "a negative length": HEAD + b"content-length: -5\r\n\r\n",
    "two lengths": HEAD + b"content-length: 1\r\ncontent-length: 2\r\n\r\nxx",
    "a chunk of letters": CHUNKED + b"zz\r\nhello\r\n",
    "a chunk below zero": CHUNKED + b"-5\r\nhello\r\n",
    "a body cut short": HEAD + b"content-length: 500\r\n\r\n{}",
    "brotli, not asked for": packed(b"\x0b\x02\x80{}\x03", "br"),
    "zstd, not asked for": packed(b"(\xb5/\xfd\x00X\x01\x00\x00", "zstd"),
    "gzip in gzip": packed(gzip.compress(gzip.compress(WHOLE)), "gzip, gzip"),
    "gzip that is none": packed(WHOLE),
    "gzip cut short": packed(gzip.compress(WHOLE)[:-9]),
    "gzip with a wrong sum": packed(gzip.compress(WHOLE)[:-8] + b"12345678"),
    "gzip with something behind": packed(gzip.compress(WHOLE) + b"hello"),
    "deflate that is none": packed(b"hello", "deflate"),
    "an encoding of odd letters": packed(WHOLE, "g\u00ffzip\x1b[31m"),
    "an empty answer": answer(200, b""),
    "204": answer(204, b""),
    "a page": answer(200, b"<html>Sign in</html>", content_type="text/html"),
    "no UTF-8": answer(200, b'{"resourceType":"\xff\xfe"}'),
    "half a surrogate": answer(200, b'{"resourceType":"\\ud800"}'),
    "UTF-16": answer(200, json.dumps(statement()).encode("utf-16")),
    "a list": answer(200, []),
    "a number": answer(200, 5),
    "null": answer(200, None),
    "NaN": answer(200, b"NaN"),
    "a deep list": answer(200, b"[" * 100_000 + b"]" * 100_000),
    "a deep object": answer(200, b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
    "900 levels": answer(200, b'{"resourceType":"CapabilityStatement","x":' + b"[" * 900 + b"]" * 900 + b"}"),
    "a deep error": answer(422, b'{"resourceType":"OperationOutcome","issue":' + b"[" * 100_000),
    "a number of 5,000 digits": answer(200, b'{"resourceType":' + b"9" * 5000 + b"}"),
    "304": answer(304, b""),
    "a redirect to nowhere": answer(302, b"", location="http://[::1"),
    "401 for ever": answer(401, b"", www_authenticate="Basic"),
}


@pytest.mark.parametrize("kind", ODD)
def test_an_answer_that_is_none(kind: str) -> None:
    assert refused([ODD[kind]]).code in ("FS510", "FS511", "FS512", "FS519")


@pytest.mark.parametrize("kind", ["gzip", "x-gzip", "GZIP", "deflate", "bare deflate", "members", "identity", ""])
def test_what_is_packed_as_it_may_be_is_read(kind: str) -> None:
    whole = {
        "deflate": lambda: packed(zlib.compress(WHOLE), "deflate"),
        "bare deflate": lambda: packed(zlib.compress(WHOLE, wbits=-15), "deflate"),
        "members": lambda: packed(gzip.compress(WHOLE[:9]) + gzip.compress(WHOLE[9:])),
        "identity": lambda: packed(WHOLE, "identity"),
        "": lambda: packed(WHOLE, ""),
    }.get(kind, lambda: packed(gzip.compress(WHOLE), kind))()
    with listening(lambda _: whole) as server:
        client = client_of(server.url)
        assert capabilities(client) == capabilities(client) == json.loads(WHOLE)
        assert server.connections == 1, "the connection is used again"
        assert server.asked[0].headers["accept-encoding"] == "gzip, deflate"


# -- statements and searches of odd shapes


SHAPED: list[Any] = [
    {"rest": 5},
    {"rest": [5]},
    {"rest": [{"resource": 5}]},
    {"rest": [{"resource": [{"type": "Patient", "interaction": 5}]}]},
    {"rest": [{"resource": [{"type": "Patient", "interaction": [5, {"code": []}]}]}]},
    {"rest": [{"resource": [{"type": "Patient", "searchParam": "x", "updateCreate": "yes"}]}]},
    {"fhirVersion": 5},
    {"fhirVersion": ["4.0.1"]},
    {"fhirVersion": "\x1b[31m\n4.0.1"},
    {"software": [], "implementation": 7, "publisher": {}, "name": 3},
    {"format": 5, "rest": {"resource": []}},
    {"rest": [{"security": {"service": [{"coding": 5}, 5]}, "operation": [{"name": {}}]}]},
]


@pytest.mark.parametrize("fields", SHAPED, ids=ascii)
@pytest.mark.parametrize("command", ["doctor", "pull"])
def test_a_statement_of_an_odd_shape(command: str, fields: Any, tmp_path: Path) -> None:
    def answers(asked: Asked) -> bytes:
        found = {"resourceType": "CapabilityStatement", "fhirVersion": "4.0.1"} | fields
        return answer(200, found if asked.path.endswith("metadata") else searchset())

    with listening(answers) as server:
        more = ["--study", "S", "--out", str(tmp_path / "out")] if command == "pull" else []
        assert main([command, "--server", server.url, *more]) in (0, 1, 4)


PAGES: dict[str, Any] = {
    "entry": {"entry": 5},
    "entries": {"entry": [5, None]},
    "resource": {"entry": [{"resource": 5}]},
    "resource of a list": {"entry": [{"resource": [patient()]}]},
    "mode": {"entry": [{"resource": patient(), "search": 5}]},
    "link": {"link": 5},
    "links": {"link": [5]},
    "url": {"link": [{"relation": "next", "url": 5}]},
    "total": {"total": "many"},
    "huge total": {"total": 10**30},
    "meta": {"entry": [{"resource": {"resourceType": "Patient", "id": "a", "meta": 5}}]},
    "tags": {"entry": [{"resource": {"resourceType": "Patient", "id": "a", "meta": {"tag": [5]}}}]},
    "moment": {"entry": [{"resource": patient() | {"meta": {"lastUpdated": 5}}}]},
    "type": {"type": "history"},
    "resourceType": {"resourceType": "Parameters"},
}


@pytest.mark.parametrize("kind", PAGES)
def test_a_page_of_an_odd_shape(kind: str, tmp_path: Path) -> None:
    def answers(asked: Asked) -> bytes:
        return answer(200, statement("Patient") if asked.path.endswith("metadata") else searchset() | PAGES[kind])

    with listening(answers) as server:
        assert main(["pull", "--server", server.url, "--study", "S", "--out", str(tmp_path / "out")]) == 4


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00", "9999-12-31T23:59:59+00:00", "0001-01-01", "x", ""])
def test_a_moment_at_the_end_of_the_calendar(moment: str, tmp_path: Path) -> None:
    found = patient()
    found["meta"]["lastUpdated"] = moment

    def answers(asked: Asked) -> bytes:
        return answer(200, statement("Patient") if asked.path.endswith("metadata") else searchset(found))

    with listening(answers) as server:
        client = client_of(server.url)
        assert pull(server.url, "S", tmp_path / "out", client=client).total == 1


# -- pages, versions


@pytest.mark.usefixtures("bounds")
@pytest.mark.parametrize(("repeat", "code"), [(False, "FS519"), (True, "FS512")])
def test_pages_without_end(repeat: bool, code: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def answers(asked: Asked) -> bytes:
        number = 1 if repeat else len(server.asked)
        if asked.path.endswith("metadata"):
            return answer(200, statement("Patient"))
        return answer(200, searchset(patient(f"p-{number}"), link=f"{server.url}?page={number}"))

    with listening(answers) as server:
        assert main(["pull", "--server", server.url, "--study", "S", "--out", str(tmp_path / "out")]) == 4
        assert len(server.asked) < 9
    said = capsys.readouterr().err
    assert code in said
    assert repeat or "--limit pages=N" in said
    assert not (tmp_path / "out/fhir/Patient.ndjson").exists()


def history(*found: int, link: str = "", **more: Any) -> dict[str, Any]:
    entries = [
        {"resource": patient() | {"meta": {"versionId": str(each)}}, "request": {"method": "PUT"}} for each in found
    ]
    links = [{"relation": "next", "url": link}] if link else []
    return {"resourceType": "Bundle", "type": "history", "entry": entries, "link": links, **more}


@pytest.mark.usefixtures("bounds")
def test_a_history_without_end_is_read_as_far_as_it_is_needed() -> None:
    def answers(asked: Asked) -> bytes:
        number = len(server.asked)
        return answer(200, history(number, link=f"{server.url}/Patient/p-1/_history?page={number}"))

    with listening(answers) as server:
        found = versions(client_of(server.url), "Patient/p-1")
        assert [next(found).version for _ in range(2)] == ["1", "2"]
        assert len(server.asked) == 2
        with pytest.raises(ServerError, match=r"FS519.*pages"):
            list(found)
        assert len(server.asked) == 5


@pytest.mark.parametrize(
    "page",
    [
        {"entry": 5},
        {"entry": [5]},
        {"entry": [{"request": 5}]},
        {"entry": [{"response": 5}]},
        {"link": [5]},
        {"type": 5},
    ],
    ids=ascii,
)
def test_a_history_of_an_odd_shape(page: Any) -> None:
    with listening(lambda _: answer(200, history() | page)) as server, pytest.raises(ServerError, match="FS512"):
        list(versions(client_of(server.url), "Patient/p-1"))


# -- exports


def export(out: Path, manifest: Any, file: bytes | Iterable[bytes] = b"", **more: Any) -> Any:
    def answers(asked: Asked) -> Any:
        if asked.path.endswith("metadata"):
            return answer(200, statement("Patient"))
        if asked.path.endswith("$export"):
            return answer(202, content_location="job")
        if asked.path == "/fhir/job":
            return manifest if isinstance(manifest, bytes) else answer(200, manifest)
        return file

    with listening(answers) as server:
        return bulk_pull(server.url, "S", out, client=client_of(server.url), **more)


ONE = {"output": [{"type": "Patient", "url": "file"}], "error": []}


@pytest.mark.usefixtures("bounds")
def test_a_file_goes_to_the_disk_and_not_into_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FHIRSPACE_LIMITS", "answer-bytes=1000")
    lines = b"".join(json.dumps(patient(f"p-{number}")).encode() + b"\n" for number in range(200))
    assert export(tmp_path, ONE, answer(200, lines)).total == 200


@pytest.mark.usefixtures("bounds")
@pytest.mark.parametrize(
    "file",
    [
        answer(200, b" " * 6000),
        answer(206, b" " * 6000, content_range="bytes 0-5999/6000"),
        answer(206, b" ", content_range="bytes 0-0/99999999"),
        packed(gzip.compress(b" " * 6000)),
    ],
    ids=["whole", "a piece", "announced", "packed"],
)
def test_a_file_that_is_too_large(file: bytes, tmp_path: Path) -> None:
    with pytest.raises(ServerError, match=r"FS519.*file-bytes"):
        export(tmp_path, ONE, file)


@pytest.mark.usefixtures("bounds")
def test_a_file_without_end(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match=r"FS519.*file-bytes"):
        export(tmp_path, ONE, itertools.chain([b"HTTP/1.1 200 Fine\r\n\r\n"], itertools.repeat(b"\n" * 60_000)))


@pytest.mark.parametrize(
    "span", ["bytes 0-0/*", "bytes 0-9/5", "bytes 5-9/10", "bytes x-y/z", "bytes 0-0/" + "9" * 5000, "items 0-0/1", ""]
)
def test_pieces_that_make_no_sense_come_to_an_end(span: str, tmp_path: Path) -> None:
    with listening(lambda _: answer(206, b"", content_range=span)) as server, pytest.raises(ServerError, match="FS512"):
        fetch(client_of(server.url), "Binary/a", tmp_path / "f")


def test_a_file_that_begins_anew_again_and_again(tmp_path: Path) -> None:
    def answers(asked: Asked) -> bytes:
        start = int(asked.headers["range"].removeprefix("bytes=").split("-")[0])
        if start:
            return answer(416, b"", content_range="bytes */0")
        return answer(206, b"x", content_range="bytes 0-0/*")

    with listening(answers) as server, pytest.raises(ServerError, match="FS512"):
        fetch(client_of(server.url), "Binary/a", tmp_path / "f")
    assert len(server.asked) < 9


@pytest.mark.usefixtures("bounds")
@pytest.mark.parametrize(
    ("manifest", "code"),
    [
        ({"output": [{"type": "Patient", "url": "file"}] * 4}, "FS519"),
        ({"output": 5}, "FS512"),
        ({"output": [5]}, "FS512"),
        ({"output": [{"type": "Patient"}]}, "FS512"),
        ({"output": [{"url": 5}]}, "FS512"),
        ({"output": [{"url": "file", "type": "../../x"}]}, "FS512"),
        ({"output": [{"url": "file", "type": "Patient", "count": "many"}]}, "FS512"),
        ({"output": [], "error": [{"url": "file", "type": "\x1b[31m"}]}, "FS512"),
        ({}, "FS512"),
        ([], "FS512"),
        (b"HTTP/1.1 200 Fine\r\ncontent-length: 5\r\ncontent-type: text/html\r\n\r\n<html", "FS512"),
        (answer(200, b'{"output":' + b"[" * 100_000), "FS519"),
        (answer(204), "FS561"),
    ],
    ids=lambda each: ascii(each)[:60],
)
def test_a_manifest_that_is_none(manifest: Any, code: str, tmp_path: Path) -> None:
    with pytest.raises(ServerError, match=code):
        export(tmp_path, manifest)


@pytest.mark.parametrize(
    "line", [b"[" * 100_000, b'{"resourceType":"Patient","id":"a","meta":{"tag":5}}', b"\xff\xfe", b"5", b"{"]
)
def test_a_line_of_an_export_that_is_no_resource(line: bytes, tmp_path: Path) -> None:
    with pytest.raises(ServerError, match="FS512"):
        export(tmp_path, ONE, answer(200, line))


def test_a_job_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FHIRSPACE_LIMITS", "job-seconds=100")
    with listening(lambda _: answer(202, b"", retry_after="1")) as server:
        waits: list[float] = []
        client = Client(server.url, sleep=waits.append)
        with pytest.raises(ServerError, match=r"FS519.*job-seconds"):
            watched(client, "metadata")
        assert sum(waits) <= 100


OUTCOMES: list[Any] = [
    {"issue": 5},
    {"issue": [5, {"diagnostics": 5}]},
    {
        "resourceType": "OperationOutcome",
        "issue": [{"diagnostics": "Bulk Import Report\nSource: x\n * FAILURE: " + "9" * 5000}],
    },
    {"output": 5, "error": 5},
    {"output": [5, {"inputUrl": 5, "count": "many"}], "error": [{"inputUrl": [], "count": -1}]},
    {"output": [{"inputUrl": "u", "count": 10**30}]},
    {"done": True, "metadata": 5},
    {"done": True, "metadata": {"counter": 5}},
    {"done": True, "metadata": {"counter": {"success": "9" * 5000, "failure": {}}}},
    {"done": True, "error": "x", "response": []},
    [],
    5,
]


@pytest.mark.parametrize("outcome", OUTCOMES, ids=lambda each: ascii(each)[:60])
@pytest.mark.parametrize("shape", SHAPES)
def test_an_outcome_of_an_import_that_makes_no_sense(shape: str, outcome: Any) -> None:
    way, body = SHAPES[shape](), json.dumps(outcome).encode()
    for said in (Response(200, {}, body), Response(200, {}, b"[" * 100_000), Response(200, {}, b"\xff")):
        way.running(said)
        fates = way.fates(said, [Part("Patient", "u", 1, "f")])
        assert fates is None or all(fate.failed >= 0 for fate in fates)
        way.status_url(Client("http://127.0.0.1/v1/projects/p/locations/l/datasets/d/fhirStores/s/fhir"), said)


@pytest.mark.parametrize("name", ["../../../x", "a/../../x", "a/b", "a?x", "a#x", "..", "\\x", "a b", "a" * 999])
def test_an_operation_of_google_is_one_of_its_operations(name: str) -> None:
    way = SHAPES["google"]()
    client = Client("http://127.0.0.1/v1/projects/p/locations/l/datasets/d/fhirStores/s/fhir")
    body = json.dumps({"name": f"projects/p/locations/l/datasets/d/operations/{name}"}).encode()
    assert way.status_url(client, Response(200, {}, body)) is None


@pytest.mark.parametrize("answered", [answer(202), answer(200, b"["), answer(202, b"", content_location="http://[")])
def test_an_import_that_is_answered_with_nothing(answered: bytes, tmp_path: Path) -> None:
    (tmp_path / "Patient.ndjson").write_text(json.dumps(patient()))

    def answers(asked: Asked) -> bytes:
        return answer(200, statement("Patient")) if asked.path.endswith("metadata") else answered

    with listening(answers) as server, pytest.raises(ServerError, match="FS5"):
        bulk_push(tmp_path, server.url, client=client_of(server.url))


# -- sign-in


@pytest.mark.parametrize("body", [b" " * 1_100_000, b"[" * 100_000, b"\xff", b"[]", b'{"access_token":5}'])
def test_an_answer_of_a_token_endpoint(body: bytes) -> None:
    with listening(lambda _: answer(200, body)) as server, pytest.raises(ServerError) as caught:
        TokenEndpoint(Network(), lambda _: None).grant(f"http://{server.place}/token", (), lambda: Proof({}))
    assert caught.value.code == ("FS519" if len(body) > 1_000_000 else "FS548")


# -- what headers say


@pytest.mark.parametrize(
    "text",
    [
        "Mon, 01 Jan 1969 00:00:00 GMT",
        "Fri, 31 Dec 9999 23:59:59 GMT",
        "Mon, 01 Jan 2024 00:00:00 +99999999999999999999",
        "Mon, 01 Jan 2024 00:00:00 -9999",
        "Mon, 01 Jan 99999 00:00:00 GMT",
        "Mon, 99 Jan 2024 99:99:99 GMT",
        "01",
        ",",
        "Mon,",
        "\x00",
        "9" * 5000,
        " " * 200 + "Mon, 01 Jan 2024 00:00:00 GMT",
    ],
    ids=lambda text: ascii(text)[:40],
)
def test_a_date_that_is_none(text: str) -> None:
    assert http_date(text) is None
    assert clock({"date": text}) is None
    assert 0 <= pause(1, Response(503, {"retry-after": text}, b"")) <= 300


def test_dates_of_any_spelling_do_no_harm() -> None:
    spell = random.Random(7)
    parts = ["Mon", ",", " ", "01", "Jan", "Feb", "2024", "-", "+", ":", "00", "GMT", "9" * 20, "\u0660", "(", ")", ";"]
    for _ in range(3000):
        text = "".join(spell.choices(parts, k=spell.randint(0, 12)))
        found = http_date(text)
        assert found is None or found.tzinfo is UTC


@pytest.mark.parametrize("age", ["nan", "inf", "-1", "1e9", "9" * 5000, "x", "\u0661"])
def test_an_age_that_is_none(age: str) -> None:
    assert clock({"date": "Mon, 01 Jan 2024 00:00:00 GMT", "age": age}) is None


@pytest.mark.parametrize("document", [{"entry": 5}, {"entry": {}}, 5, [], {"resourceType": "Bundle", "entry": "x"}])
def test_a_doctor_who_hears_nonsense(document: Any) -> None:
    def answers(asked: Asked) -> bytes:
        return answer(200, statement("Patient") if asked.path.endswith("metadata") else document, date="x" * 9000)

    with listening(answers) as server:
        assert doctor(server.url, client=client_of(server.url)).exit_code in (0, 1, 4)


def test_a_proxy_that_drips_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    with listening(lambda _: dripping(b"HTTP/1.1 2", itertools.repeat(b"0"))) as proxy:
        for name in ("HTTPS_PROXY", "https_proxy"):
            monkeypatch.setenv(name, f"http://{proxy.place}")
        begin = time.monotonic()
        assert certificate("https://fhir.example.test/fhir", timeout=0.2) is None
        assert time.monotonic() - begin < 20


@pytest.mark.parametrize("proxy", ["http://proxy.example.test:port", "http://[::1", "http://proxy.example.test:99999"])
def test_a_proxy_that_is_none(proxy: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, proxy)
    monkeypatch.setattr("fhirspace.fhirserver.http.client.pause", lambda *_: 0.0)
    assert main(["doctor", "--server", "https://fhir.example.test/fhir"]) in (2, 4)
    assert certificate("https://fhir.example.test/fhir") is None


def test_a_clock_of_another_millennium_does_no_harm() -> None:
    with listening(lambda _: answer(200, statement(), date="Fri, 31 Dec 9999 23:59:59 GMT")) as server:
        client = client_of(server.url)
        capabilities(client)
        assert abs((client.server_time() - datetime.now(UTC)).total_seconds()) < 5


def test_the_bounds_do_not_touch_an_ordinary_answer() -> None:
    large = json.dumps(statement() | {"description": "x" * 5_000_000}).encode()
    with listening(lambda _: packed(gzip.compress(large))) as server:
        try:
            assert capabilities(client_of(server.url))["description"] == "x" * 5_000_000
        except FhirspaceError as error:
            pytest.fail(str(error))
