"""A FHIR server without a network that says what is not so, and false answers by name, for the attacks on deliveries."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest

from fhirspace.fhirserver.http.client import JSON, Client
from fhirspace.fhirserver.http.transport import Response
from fhirspace.testing import FaultyServer
from fhirspace.testing.messages import Request

SECRET = "SECRET-CANARY"
"""Stands in every false answer: no message may quote one."""

KINDS = ["Observation", "Organization", "Patient", "ResearchStudy"]
Lie = Callable[[str, str], Response]
"""Makes the answer to a method and a URL."""


def answer(status: int, body: Any = b"", kind: str = JSON, **headers: str) -> Response:
    """An answer; a body that is no bytes becomes JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    shown = {"content-type": kind} if content else {}
    return Response(status, shown | {name.replace("_", "-"): value for name, value in headers.items()}, content)


PAGE = f"<html><title>Sign in</title>{SECRET}</html>".encode()
OUTCOME = {"resourceType": "OperationOutcome", "issue": [{"severity": "information", "diagnostics": SECRET}]}
FAILED = {
    severity: {"resourceType": "OperationOutcome", "issue": [{"severity": severity, "diagnostics": SECRET}]}
    for severity in ("error", "fatal")
}

LIES: dict[str, Lie] = {
    "page": lambda method, url: answer(200, PAGE, "text/html; charset=utf-8"),
    "page with a version": lambda method, url: answer(200, PAGE, "text/html", etag='W/"1"'),
    "page created": lambda method, url: answer(201, PAGE, "text/html", location=f"http://127.0.0.1/fhir/{url}"),
    "page that claims to be FHIR": lambda method, url: answer(200, PAGE),
    "text": lambda method, url: answer(200, b"OK " + SECRET.encode(), "text/plain"),
    "empty": lambda method, url: answer(200),
    "created, empty": lambda method, url: answer(201),
    "no content": lambda method, url: answer(204),
    "no content with a version": lambda method, url: answer(204, etag='W/"1"'),
    "accepted": lambda method, url: answer(202, OUTCOME),
    "list": lambda method, url: answer(200, []),
    "object": lambda method, url: answer(200, {}),
    "null": lambda method, url: answer(200, b"null"),
    "no type": lambda method, url: answer(200, {"id": "p-0", "said": SECRET}, etag='W/"1"'),
    "outcome": lambda method, url: answer(200, OUTCOME),
    "error with a version": lambda method, url: answer(200, FAILED["error"], etag='W/"1"'),
    "fatal error, created": lambda method, url: answer(201, FAILED["fatal"], location=f"{url}/_history/1"),
    "search result": lambda method, url: answer(200, {"resourceType": "Bundle", "type": "searchset", "entry": []}),
    "another type": lambda method, url: answer(200, {"resourceType": "Basic", "id": "b", "s": SECRET}, etag='W/"1"'),
    "tag of a web server": lambda method, url: answer(200, etag='W/"0-2jmj7l5rSw0yVb/vlWAYkK/YBwk"'),
    "tag of a file store": lambda method, url: answer(200, etag='"d41d8cd98f00b204e9800998ecf8427e"'),
    "place elsewhere": lambda method, url: answer(201, location=f"https://elsewhere.example/fhir/{url}/_history/1"),
    "place of another": lambda method, url: answer(201, etag='W/"1"', location="http://127.0.0.1/fhir/Basic/other"),
}
"""Successes that prove nothing, by what they are."""

OF_ONE: dict[str, Lie] = {
    "another id": lambda method, url: answer(200, {"resourceType": url.split("/")[0], "id": "other"}, etag='W/"1"'),
    "id of another at the place": lambda method, url: answer(201, location=f"{url.split('/')[0]}/other/_history/1"),
}
"""False answers to a request about one resource."""


class Liar:
    """A `Transport` with a sound server behind it.

    `lie` is said in place of doing what `about` (called with method and URL below the base) says yes to; `spoil` changes
    sound answers (decoded) to what `about` says yes to. Searches are done without the parameters in `ignoring`.
    """

    def __init__(self, **settings: Any) -> None:
        self.server = FaultyServer(types=list(KINDS), **settings)
        self.lie: Lie | None = None
        self.spoil: Callable[[dict[str, Any]], Any] | None = None
        self.about: Callable[[str, str], bool] = writes
        self.ignoring: set[str] = set()
        self.sent: list[tuple[str, str]] = []
        self.forms: list[bytes] = []
        self.ahead = 0.0
        self.server.clock = lambda: datetime.now(UTC) + timedelta(seconds=self.ahead)

    def wait(self, seconds: float) -> None:
        """Time goes by."""
        self.ahead += seconds

    def send(self, method: str, path: str, body: bytes | None = None, headers: Any = None) -> Response:
        url = path.removeprefix(self.server.url).lstrip("/")
        told = {name.lower(): value for name, value in (headers or {}).items()}
        content = gzip.decompress(body) if body and "content-encoding" in told else body or b""
        reading = method == "POST" and not url and b'"method":"GET"' in content
        self.sent.append(("READ" if reading else method, url))
        if self.lie and self.about(*self.sent[-1]):
            return self.lie(method, url)
        if url.endswith("_search"):
            self.forms.append(content)
        if url.endswith("_search") and self.ignoring:
            content = urlencode([pair for pair in parse_qsl(content.decode()) if pair[0] not in self.ignoring]).encode()
        found = self._done(Request(method, f"/fhir/{url}".rstrip("/"), told, content))
        if self.spoil and self.about(*self.sent[-1]) and found.status < 300 and found.body:
            spoilt = self.spoil(json.loads(found.body))
            return Response(found.status, found.headers, json.dumps(spoilt).encode())
        return found

    def _done(self, request: Request) -> Response:
        done = self.server.respond(request)
        head = {"date": format_datetime(self.server.clock().replace(microsecond=0), usegmt=True)}
        head |= {"content-type": JSON} if done.body else {}
        return Response(done.status, head | {name.lower(): value for name, value in done.headers.items()}, done.body)


def writes(method: str, url: str) -> bool:
    """Requests that write: alone or in a Bundle."""
    return method in ("PUT", "DELETE") or (method == "POST" and not url)


def reads(method: str, url: str) -> bool:
    """Reads of resources: alone or in a batch."""
    return method == "READ" or (method == "GET" and urlsplit(url).path.count("/") == 1)


def everything(method: str, url: str) -> bool:
    """All requests but the CapabilityStatement."""
    return url != "metadata"


@pytest.fixture
def liar(monkeypatch: pytest.MonkeyPatch) -> Liar:
    """The server of every address; nobody waits for it, nor for the disk."""
    found = Liar()

    def send(self: object, method: str, path: str, body: bytes | None = None, headers: Any = None) -> Response:
        return found.send(method, path, body, headers)

    monkeypatch.setattr("fhirspace.fhirserver.http.transport.HttpTransport.send", send)
    prepare = Client.__post_init__

    def prepared(self: Client) -> None:
        prepare(self)
        self.sleep = found.wait

    monkeypatch.setattr(Client, "__post_init__", prepared)
    monkeypatch.setattr(Client, "wait", lambda *given: None)
    return found
