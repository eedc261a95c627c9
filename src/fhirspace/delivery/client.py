"""A FHIR REST client that survives what networks do: time limits, retries, and one seam for everything that is sent.

The seam is `Transport.send`: one attempt, one answer or `LostAnswer`. `Client` repeats it. Repeating is safe because
only reads, searches and transactions of ``PUT Type/id`` are sent: each has the same effect once or twice.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import msgspec
import requests

from fhirspace.delivery.outcome import reason
from fhirspace.errors import ServerError, UsageError

JSON = "application/fhir+json"
RETRIED = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_RELEASES = {"4.0": "R4", "4.3": "R4B", "5.0": "R5"}
_LONGEST_WAIT = 300.0


class LostAnswer(OSError):
    """An attempt brought no whole answer: refused, dropped, cut short or too late. Whether it had effect is unknown."""


@dataclass(frozen=True, slots=True)
class Response:
    """An answer: the status, the headers (names in lower case) and the body, whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def ok(self) -> bool:
        """A status of 200 to 299."""
        return 200 <= self.status < 300


class Transport(Protocol):
    """One attempt at one request. Doubles that inject faults implement this."""

    def send(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Response:
        """Send it (`path` is relative to the FHIR base, or a whole URL) and read the whole answer, or LostAnswer."""


class HttpTransport:
    """`Transport` over `requests`; follows no redirect, for a redirect could carry data to another server."""

    def __init__(self, server: str, *, token: str | None = None, timeout: tuple[float, float] = (10, 120)) -> None:
        self._base = server.rstrip("/")
        self._timeout = timeout
        self._session = requests.Session()
        if token:
            self._session.auth = _Bearer(token)

    def send(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Response:
        """See `Transport`. Raises ServerError (FS510) for what no repetition cures: a bad URL or certificate."""
        url = path if "://" in path else f"{self._base}/{path}".rstrip("/")
        try:
            answer = self._session.request(
                method, url, data=body, headers=dict(headers or {}), timeout=self._timeout, allow_redirects=False
            )
        except (requests.exceptions.SSLError, requests.exceptions.InvalidURL) as error:
            raise ServerError("FS510", self._base, "a valid address and certificate") from error
        except (requests.RequestException, OSError) as error:
            raise LostAnswer(type(error).__name__) from error
        return Response(answer.status_code, {k.lower(): v for k, v in answer.headers.items()}, answer.content)

    def close(self) -> None:
        """Close the connections."""
        self._session.close()


class _Bearer(requests.auth.AuthBase):
    def __init__(self, token: str) -> None:
        self._value = f"Bearer {token}"

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = self._value
        return request


def token_from_environment() -> str | None:
    """The bearer token in ``FHIRSPACE_TOKEN`` or in the file that ``FHIRSPACE_TOKEN_FILE`` names; None without."""
    direct = os.environ.get("FHIRSPACE_TOKEN", "").strip()
    if direct:
        return direct
    file = os.environ.get("FHIRSPACE_TOKEN_FILE")
    if not file:
        return None
    try:
        return Path(file).read_text("utf-8").strip() or None
    except OSError as error:
        raise UsageError("FS511", file, "a file with the token in it") from error


def checked_url(server: str, *, secret: bool) -> str:
    """The FHIR base without a slash at its end. Raises UsageError (FS514) for what must not be used."""
    parts = urlsplit(server)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError("FS514", "the server address", "a URL such as https://host/fhir")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise UsageError("FS514", parts.hostname, "a URL without user name, password, query or fragment")
    if secret and parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        raise UsageError("FS514", parts.hostname, "https, because a token would be sent")
    return server.rstrip("/")


@dataclass(slots=True)
class Client:
    """A FHIR server to talk to.

    Args:
        server: the FHIR base URL.
        transport: the seam; None talks HTTP, with the token of the environment if there is one.
        attempts: how often a request is tried in all.
        base: seconds of the first wait's upper bound; it doubles each time ("full jitter": a random part of it is
            waited), up to `cap`. A ``Retry-After`` of the server is obeyed instead, up to five minutes.
        sleep: waits; tests replace it.
    """

    server: str
    transport: Transport | None = None
    attempts: int = 7
    base: float = 0.5
    cap: float = 30.0
    sleep: Callable[[float], None] = time.sleep
    retries: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if self.transport is None:
            token = token_from_environment()
            self.server = checked_url(self.server, secret=token is not None)
            self.transport = HttpTransport(self.server, token=token)
        self.server = self.server.rstrip("/")

    def request(
        self,
        method: str,
        path: str = "",
        body: bytes | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        attempts: int | None = None,
        final: frozenset[int] = frozenset(),
    ) -> Response:
        """Send until there is an answer that will not change by asking again (statuses in `final` never do).

        Returns:
            The answer, of any status but 401, 403 and redirects; a body of JSON is whole.

        Raises:
            ServerError: FS510 no answer, FS511 sign-in refused, FS512 it kept failing, or redirects.
        """
        assert self.transport is not None
        sent = {"Accept": JSON, **({"Content-Type": JSON} if body is not None else {}), **(headers or {})}
        most = attempts or self.attempts
        for attempt in range(1, most + 1):
            answer: Response | None
            try:
                answer = self.transport.send(method, path, body, sent)
            except LostAnswer:
                answer = None
            if answer is not None and (answer.status in final or not _again(answer)):
                return self._judged(answer)
            if attempt < most:
                self.retries += 1
                self.sleep(self._wait(attempt, answer))
        return self._exhausted(answer, most)

    def json(self, method: str, path: str = "", body: bytes | None = None, **options: Any) -> Any:
        """`request` whose answer must be a success. Returns the JSON decoded. Raises ServerError (FS512) otherwise."""
        answer = self.request(method, path, body, **options)
        if not answer.ok:
            raise self.unexpected(answer)
        return msgspec.json.decode(answer.body)

    def unexpected(self, answer: Response) -> ServerError:
        """The error for an answer of a status that nobody expected here."""
        said = reason(answer.body)
        return ServerError("FS512", self.server, f"success instead of status {answer.status}{said and f' ({said})'}")

    def _wait(self, attempt: int, answer: Response | None) -> float:
        told = retry_after(answer.headers.get("retry-after", "")) if answer else None
        if told is not None:
            return min(told, _LONGEST_WAIT)
        return random.uniform(0, min(self.cap, self.base * 2 ** (attempt - 1)))  # noqa: S311  (no secret)

    def _judged(self, answer: Response) -> Response:
        if answer.status in (401, 403):
            raise ServerError("FS511", self.server, f"a token that it accepts (status {answer.status})")
        if 300 <= answer.status < 400:
            raise ServerError("FS512", self.server, f"an answer instead of a redirect ({answer.status})")
        return answer

    def _exhausted(self, answer: Response | None, attempts: int) -> Response:
        if answer is None:
            raise ServerError("FS510", self.server, f"an answer within {attempts} attempts")
        if answer.status == 409:
            return answer
        raise self.unexpected(answer)


def _again(answer: Response) -> bool:
    """Worth asking again: a passing state of the server, or a success whose JSON was cut short on its way."""
    if answer.status in RETRIED:
        return True
    return answer.ok and bool(answer.body) and not _whole(answer)


def _whole(answer: Response) -> bool:
    if "json" not in answer.headers.get("content-type", JSON):
        return True
    try:
        msgspec.json.decode(answer.body, type=msgspec.Raw)
    except msgspec.DecodeError:
        return False
    return True


def retry_after(value: str) -> float | None:
    """Seconds to wait by ``Retry-After`` (RFC 9110, 10.2.3): seconds, or an HTTP date. None: it says nothing."""
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        when = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    aware = when if when.tzinfo else when.replace(tzinfo=UTC)
    return max(0.0, (aware - datetime.now(UTC)).total_seconds())


def capabilities(client: Client) -> dict[str, Any]:
    """The CapabilityStatement (FHIR, "capabilities" interaction), decoded.

    Raises:
        ServerError: FS510 it cannot be reached, FS512 what answers there is no FHIR server.
    """
    try:
        document = client.json("GET", "metadata", headers={"Cache-Control": "no-cache"}, attempts=4)
    except msgspec.DecodeError as error:
        raise ServerError("FS512", client.server, "a FHIR server at this address") from error
    if not isinstance(document, dict) or document.get("resourceType") != "CapabilityStatement":
        raise ServerError("FS512", client.server, "a FHIR server at this address")
    return document


def release_of(statement: dict[str, Any]) -> str:
    """The release of a CapabilityStatement, by its ``fhirVersion``."""
    version = str(statement.get("fhirVersion", ""))
    return _RELEASES.get(version[:3], version)


def require_release(client: Client, fhir: str | None) -> dict[str, Any]:
    """The CapabilityStatement, after checking the release. Raises ServerError (FS513) when it is not `fhir`."""
    statement = capabilities(client)
    spoken = release_of(statement)
    if fhir is not None and spoken != fhir:
        raise ServerError("FS513", client.server, f"{fhir}; it speaks {spoken}")
    return statement
