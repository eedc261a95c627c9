"""A FHIR REST client that survives faults of networks: time limits, retries, and one interface for all requests.

The interface is `Transport.send`: one attempt, one answer or `LostAnswer`. `Client` repeats it. Repeating is safe
because only reads, searches and transactions of ``PUT Type/id`` are sent: each has the same effect once or twice. For
requests without this property (a conditional update that creates) the caller gives a search that is sent first.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

from fhirspace.errors import ServerError
from fhirspace.fhir.outcome import reason
from fhirspace.fhirserver.answers import decoded, no_fhir
from fhirspace.fhirserver.auth.kinds import from_environment
from fhirspace.fhirserver.capability import release_of
from fhirspace.fhirserver.http.links import redirect
from fhirspace.fhirserver.http.retry import ATTEMPTS, BASE, CAP, JSON, http_date, passing, pause, repeated
from fhirspace.fhirserver.http.transport import (
    HttpTransport,
    LostAnswer,
    Network,
    Response,
    Sink,
    Transport,
    checked_url,
)
from fhirspace.json import JsonError, bounded, decode
from fhirspace.limits import answered_too_much

__all__ = [
    "JSON",
    "Client",
    "HttpTransport",
    "LostAnswer",
    "Response",
    "Transport",
    "capabilities",
    "release_of",
    "require_release",
]
Noted = TypeVar("Noted")


@dataclass(slots=True)
class Client:
    """A client for one FHIR server.

    Args:
        server: the FHIR base URL.
        transport: the interface; None: HTTP, with the token of the environment if there is one (`config.connect` knows
            more ways to sign in).
        attempts: how often a request is tried in all.
        base: seconds of the first wait's upper bound; it doubles each time ("full jitter": a random part of it is
            waited), up to `cap`. A ``Retry-After`` of the server is obeyed instead, up to five minutes.
        sleep: waits; tests replace it.
        rate: the most requests a second, over all threads; None sets no bound.
        insecure_http: whether data may go to another machine unencrypted; of no meaning where `transport` is given.

    Raises:
        UsageError: FS514 an address that cannot be used, FS595 data would leave this machine unencrypted.
    """

    server: str
    transport: Transport | None = None
    attempts: int = ATTEMPTS
    base: float = BASE
    cap: float = CAP
    sleep: Callable[[float], None] = time.sleep
    rate: float | None = None
    insecure_http: bool = False
    retries: int = field(default=0, init=False)
    skew: float = field(default=0.0, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)
    _next: float = field(default=0.0, init=False, repr=False)
    _sent: dict[int, float] = field(default_factory=dict, init=False, repr=False)
    _pauses: dict[int, tuple[float, int]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.transport is None:
            sign_in = from_environment()
            self.server = checked_url(self.server, secret=sign_in is not None)
            network = Network(insecure_http=self.insecure_http)
            self.transport = HttpTransport(self.server, sign_in=sign_in, network=network)
        self.server = self.server.rstrip("/")

    @property
    def seam(self) -> Transport:
        """The transport in use: the one that was given, or the one that was made for the server."""
        if self.transport is None:
            raise TypeError("a client without a transport")
        return self.transport

    @property
    def renewals(self) -> int:
        """How often the sign-in was renewed; transports that do not sign in have no such thing."""
        return int(getattr(self.transport, "renewals", 0))

    def request(
        self,
        method: str,
        path: str = "",
        body: bytes | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        attempts: int | None = None,
        final: frozenset[int] = frozenset(),
        given: frozenset[int] = frozenset(),
        instead: Callable[[], Response | None] | None = None,
        sink: Sink | None = None,
    ) -> Response:
        """Send until there is an answer that will not change by asking again (statuses in `final` never do).

        Args:
            method, body, headers: as HTTP has them.
            path: an address below the FHIR base (`address`), or a `links.Link` that the server gave.
            attempts: how often in all; None as often as the client does.
            final: statuses that repeating would not change.
            given: statuses that are returned, not raised, where asking again has not changed them.
            instead: called before a request that may have had effect is sent again; its answer is used.
            sink: takes bodies that are too large for memory, where the transport can give them so (HTTP can).

        Returns:
            The answer, of any status but 401, 403 and redirects; a body of JSON is whole.

        Raises:
            ServerError: FS510 no answer, FS511 sign-in refused, FS512 it kept failing, or redirects; FS519 and FS530
                as `HttpTransport.send`, and FS519 for JSON that is nested too deeply.
        """
        seam = self.seam
        into = {"sink": sink} if sink and isinstance(seam, HttpTransport) else {}
        sent = {"Accept": JSON, **({"Content-Type": JSON} if body is not None else {}), **(headers or {})}
        most = attempts or self.attempts

        def once() -> Response:
            self._keep_rate()
            with self._noted(self._sent, time.monotonic()):
                return seam.send(method, path, body, sent, **into)

        answer = repeated(once, most, self.wait, final, instead, server=self.server)
        if passing(answer) and answer.status not in final:
            return self._exhausted(answer, given)
        self._note_clock(answer)
        return answer if answer.status in given else self._judged(self._shallow(answer))

    def json(self, method: str, path: str = "", body: bytes | None = None, **options: Any) -> Any:
        """`request` whose answer must be a success. Returns the JSON decoded. Raises ServerError (FS512) otherwise."""
        answer = self.request(method, path, body, **options)
        if not answer.ok:
            raise self.unexpected(answer)
        try:
            return decode(answer.body)
        except JsonError as error:
            raise self.unexpected(answer) from error

    def unexpected(self, answer: Response) -> ServerError:
        """The error for an answer with an unexpected status, or with an incomplete body."""
        if answer.ok:
            return no_fhir(self.server, "whole FHIR in JSON", answer)
        reply = reason(answer.body)
        return ServerError("FS512", self.server, detail=f"status {answer.status}{reply and f' ({reply})'}")

    def server_time(self) -> datetime:
        """The server's clock, by the ``Date`` of its last answer, to the second (rounded down)."""
        return datetime.fromtimestamp(int(time.time() + self.skew), UTC)

    def wait(self, attempt: int, answer: Response | None) -> None:
        """Wait after an attempt: as long as its answer asks for, else a random part of a doubling time."""
        self.retries += 1
        seconds = pause(attempt, answer, self.base, self.cap)
        with self._noted(self._pauses, (time.monotonic() + seconds, answer.status if answer else 0)):
            self.sleep(seconds)

    @contextmanager
    def _noted(self, notes: dict[int, Noted], note: Noted) -> Iterator[None]:
        """Keeps a note of this thread meanwhile, for `news`."""
        thread = threading.get_ident()
        notes[thread] = note
        try:
            yield
        finally:
            notes.pop(thread, None)

    def news(self) -> str:
        """What is waited for just now, for people: an answer, or the end of a pause; "" for neither."""
        now, sent, pauses = time.monotonic(), list(self._sent.values()), list(self._pauses.values())
        if sent:
            return f"no answer of the server yet for {now - min(sent):.0f} s"
        if pauses:
            until, status = min(pauses)
            why = f"status {status}" if status else "no answer"
            return f"{why} of the server, the next attempt in {max(0.0, until - now):.0f} s"
        return ""

    def _note_clock(self, answer: Response) -> None:
        there = http_date(answer.headers.get("date", ""))
        if there is not None:
            # `Date` is truncated to the second: the server's clock is at most so far ahead of it.
            self.skew = there.timestamp() - time.time()

    def _keep_rate(self) -> None:
        if self.rate is None:
            return
        with self._lock:
            now = time.monotonic()
            turn = max(now, self._next)
            self._next = turn + 1 / self.rate
        if turn > now:
            self.sleep(turn - now)

    def _judged(self, answer: Response) -> Response:
        if answer.status in (401, 403):
            raise ServerError("FS511", self.server, detail=f"status {answer.status}")
        if 300 <= answer.status < 400:
            leads = redirect(answer.headers.get("location", ""), answer.url or self.server)
            raise ServerError("FS512", self.server, "an answer, not a redirect", f"status {answer.status}{leads}")
        return answer

    def _shallow(self, answer: Response) -> Response:
        """The answer, if its JSON is nested no deeper than is read."""
        kind = answer.headers.get("content-type", JSON)
        if "json" in kind and "ndjson" not in kind and answer.status != 206:  # a part of something begins anywhere
            try:
                bounded(answer.body)
            except JsonError:
                raise answered_too_much("json-depth", self.server) from None
        return answer

    def _exhausted(self, answer: Response, given: frozenset[int]) -> Response:
        if answer.status == 409 or answer.status in given:
            return answer
        raise self.unexpected(answer)


def capabilities(client: Client) -> dict[str, Any]:
    """The CapabilityStatement (FHIR, "capabilities" interaction), decoded.

    Raises:
        ServerError: FS510 it cannot be reached, FS512 what answers there is no FHIR server.
    """
    # No `Cache-Control`: HAPI would make it anew, which takes seconds, and it does not change.
    answer = client.request("GET", "metadata", attempts=4)
    if not answer.ok:
        raise client.unexpected(answer)
    document = decoded(answer.body, decode)
    if not isinstance(document, dict) or document.get("resourceType") != "CapabilityStatement":
        raise no_fhir(client.server, "a FHIR server at this address, with a CapabilityStatement", answer)
    return document


def require_release(client: Client, fhir: str | None) -> dict[str, Any]:
    """The CapabilityStatement, after checking the release. Raises ServerError (FS513) when it is not `fhir`."""
    statement = capabilities(client)
    spoken = release_of(statement)
    if fhir is not None and spoken != fhir:
        raise ServerError("FS513", client.server, f"{fhir}", f"the server's release is {spoken}")
    return statement
