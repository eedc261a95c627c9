"""The client against a server that fails in every way the network knows."""

from __future__ import annotations

import socket
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from fhirspace.errors import ServerError, UsageError
from fhirspace.fhirserver.http.client import Client, require_release
from fhirspace.fhirserver.http.retry import retry_after
from fhirspace.fhirserver.http.transport import HttpTransport, LostAnswer, Response, checked_url
from fhirspace.testing import FaultyServer

TRANSACTION = b'{"resourceType":"Bundle","type":"transaction","entry":[]}'


@pytest.mark.parametrize(
    "fault",
    ["too_many", "unavailable", "broken", "conflict", "reset_before", "reset_after", "short_body", "cut_json", "slow"],
)
def test_a_passing_fault_is_tried_again(faulty: FaultyServer, client: Client, waits: list[float], fault: str) -> None:
    faulty.faults.extend([fault, None])
    assert client.request("POST", "", TRANSACTION).ok
    assert len(waits) == client.retries == 1
    assert (waits[0] == 1.0) if fault == "too_many" else (0 <= waits[0] <= client.base)


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("unavailable", "FS512"),
        ("reset_before", "FS510"),
        ("broken", "FS512"),
        ("forbidden", "FS511"),
        ("moved", "FS512"),
    ],
)
def test_a_lasting_fault_is_an_error_without_values(
    faulty: FaultyServer, client: Client, fault: str, code: str
) -> None:
    faulty.faults.extend([fault] * 10)
    with pytest.raises(ServerError) as caught:
        client.request("POST", "", TRANSACTION, attempts=3)
    assert caught.value.code == code
    assert "CANARY" not in str(caught.value)


def test_a_lasting_conflict_is_an_answer(faulty: FaultyServer, client: Client) -> None:
    faulty.faults.extend(["conflict"] * 10)
    assert client.request("POST", "", TRANSACTION).status == 409


def test_waits_grow_with_jitter_up_to_a_cap(waits: list[float]) -> None:
    class Dead:
        def send(self, *_: object) -> Response:
            raise LostAnswer("dropped")

    client = Client("http://127.0.0.1/fhir", Dead(), attempts=12, base=0.5, cap=4, sleep=waits.append)
    with pytest.raises(ServerError, match="FS510"):
        client.request("GET", "metadata")
    assert len(waits) == 11
    assert all(0 <= wait <= min(4, 0.5 * 2**turn) for turn, wait in enumerate(waits))
    assert len(set(waits)) > 1


@pytest.mark.parametrize(
    ("value", "low", "high"),
    [
        ("7", 7, 7),
        (" 0 ", 0, 0),
        ("in a minute", 50, 60),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 0, 0),
        ("Sun Nov  6 08:49:37 1994", 0, 0),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str, low: float, high: float) -> None:
    if value == "in a minute":
        value = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    seconds = retry_after(value)
    assert seconds is not None
    assert low <= seconds <= high


@pytest.mark.parametrize("value", ["", "soon", "-3", "²"])
def test_other_retry_after_is_ignored(value: str) -> None:
    assert retry_after(value) is None


def test_a_long_retry_after_is_bounded(waits: list[float]) -> None:
    answers = [Response(503, {"retry-after": "86400"}, b""), Response(204, {}, b"")]

    class Busy:
        def send(self, *_: object) -> Response:
            return answers.pop(0)

    assert Client("http://127.0.0.1/fhir", Busy(), sleep=waits.append).request("GET").status == 204
    assert waits == [300.0]


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ftp://x/fhir",
        "http:///fhir",
        "https://host:port/fhir",
        "http://[::1/fhir",
        "http://user:pw@host/fhir",
        "https://host/fhir?token=x",
        "https://host/#a",
    ],
)
def test_addresses_that_must_not_be_used(url: str) -> None:
    with pytest.raises(UsageError, match="FS514") as caught:
        checked_url(url, secret=False)
    assert "pw" not in str(caught.value)


def test_a_token_is_only_sent_where_nobody_listens() -> None:
    with pytest.raises(UsageError, match="FS514"):
        checked_url("http://hospital.example/fhir", secret=True)
    assert checked_url("https://hospital.example/fhir/", secret=True) == "https://hospital.example/fhir"
    assert checked_url("http://127.0.0.1:8080/fhir", secret=True) == "http://127.0.0.1:8080/fhir"


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("HTTPS://Hospital.Example/FHIR//", "https://hospital.example/FHIR"),
        ("https://hospital.example:443/fhir", "https://hospital.example/fhir"),
        ("http://127.0.0.1:08080/fhir", "http://127.0.0.1:8080/fhir"),
        ("http://[::1]:80/fhir", "http://[::1]/fhir"),
        ("http://localhost:443/", "http://localhost:443"),
    ],
)
def test_an_address_has_one_spelling(given: str, url: str) -> None:
    assert Client(given).server == url


@pytest.mark.parametrize(
    ("location", "where"),
    [
        ("https://hospital.example/fhir?ticket=SECRET", "status 308, to https://hospital.example:443."),
        ("/login", "status 308, to http://127.0.0.1:80."),
        ("", "status 308."),
        ("https://us@er/", "status 308."),
    ],
)
def test_a_redirect_is_said_with_where_it_leads(location: str, where: str) -> None:
    class Moved:
        def send(self, *_: object) -> Response:
            return Response(308, {"location": location}, b"", url="http://127.0.0.1/fhir/metadata")

    with pytest.raises(ServerError, match="FS512") as caught:
        Client("http://127.0.0.1/fhir", Moved()).request("GET", "metadata")
    assert where in str(caught.value)


@pytest.mark.parametrize(
    ("version", "fhir", "fits"),
    [
        ("4.0.1", "R4", True),
        ("4.3.0", "R4B", True),
        ("5.0.0", "R5", True),
        ("5.0.0", "R4", False),
        ("3.0.2", "R4", False),
    ],
)
def test_the_release_of_the_server_is_checked(
    faulty: FaultyServer, client: Client, version: str, fhir: str, fits: bool
) -> None:
    faulty.fhir_version = version
    if fits:
        assert require_release(client, fhir)["fhirVersion"] == version
    else:
        with pytest.raises(ServerError, match="FS513"):
            require_release(client, fhir)


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"resourceType":"Patient"}'])
def test_what_is_no_fhir_server_is_said(body: bytes) -> None:
    class Web:
        def send(self, *_: object) -> Response:
            return Response(200, {"content-type": "text/html"}, body)

    with pytest.raises(ServerError, match="FS512"):
        require_release(Client("http://127.0.0.1", Web()), None)


def test_nobody_listens() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        transport = HttpTransport(f"http://127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(LostAnswer):
            transport.send("GET", "metadata")
        transport.close()


def test_a_bad_address_is_not_tried_again() -> None:
    transport = HttpTransport("http://")
    with pytest.raises(ServerError, match="FS510"):
        transport.send("GET", "metadata")
    transport.close()


def test_an_answer_that_is_no_success_is_an_error_with_its_rule(faulty: FaultyServer, client: Client) -> None:
    with pytest.raises(ServerError, match=r"FS512.*404 \(processing HAPI-2001\)") as caught:
        client.json("GET", "Patient/none")
    assert "CANARY" not in str(caught.value)


def test_a_body_that_is_no_json_by_its_own_account_is_whole(faulty: FaultyServer) -> None:
    class Text:
        def send(self, *_: object) -> Response:
            return Response(200, {"content-type": "text/plain"}, b"not json")

    assert Client("http://127.0.0.1", Text()).request("GET").body == b"not json"


def test_a_rate_is_kept_over_all_requests(faulty: FaultyServer, waits: list[float]) -> None:
    client = Client(faulty.url, HttpTransport(faulty.url), rate=0.001, sleep=waits.append)
    for _ in range(3):
        client.request("GET", "metadata")
    first, second = waits
    assert 900 < first <= 1000
    assert 1900 < second <= 2000
