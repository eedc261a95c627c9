"""The faulty server itself, without a network: a request in, an answer out, and a look inside."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from threading import RLock

from fhirspace.testing.bundles import Bundles, bundle_of
from fhirspace.testing.faults import Calls, Fault, Script, misbehave
from fhirspace.testing.messages import Answer, Refused, Request, document, outcome
from fhirspace.testing.rest import Rest
from fhirspace.testing.settings import Settings
from fhirspace.testing.store import Memory, Sink, Store, Version

_LATEST = 1000


@dataclass(eq=False, repr=False)
class FaultyServer(Settings, Script):
    """A FHIR server that keeps versions and fails as configured.

    The attributes of `Settings` configure its behaviour, those of `Script` its faults; all can be set at
    any time. To look inside: `store` (``Type/id`` -> the bytes as sent), `versions`, `history`, `requests`, `fired`.

    Args:
        sink: keep only keys, digests and versions, so that memory stays flat; `requests` are the last 1,000, bodyless.
    """

    sink: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.store: Store = Sink() if self.sink else Memory()
        self.requests: list[Request] = []
        self.errors: list[Exception] = []
        self.lock = RLock()
        self._rest = Rest(self, self.store)
        self._bundles = Bundles(self._rest)
        self._used: Counter[str] = Counter()

    def __repr__(self) -> str:
        return f"<FaultyServer {self.url}>"

    @property
    def versions(self) -> Counter[str]:
        """How many versions each key has, deletions counted: the versions that were really written."""
        with self.lock:
            return self.store.numbers()

    def history(self, key: str) -> list[Version]:
        """All versions of ``Type/id``, the oldest first."""
        with self.lock:
            return self.store.history(key)

    def transactions(self) -> list[bytes]:
        """The bodies of the Bundles that were sent to write something, including those with a fault."""
        sent = (request for request in self.requests if request.method == "POST" and not request.place)
        return [request.body for request in sent if not _only_reads(request)]

    def respond(self, request: Request) -> Answer:
        """The answer to a request, with faults (`Answer.wire` describes faults of its bytes)."""
        self._note(request)
        try:
            answer = self._metadata(request) or self._turned_away(request)
        except Refused as error:
            return error.answer
        if answer is not None:
            return answer
        fault = self.take(lambda: _calls(request)) if self._takes_faults(request) else None
        if fault is None or fault.of_entries:
            return self._good(request, fault)
        return misbehave(fault, lambda: self._good(request, None), self)

    def _note(self, request: Request) -> None:
        with self.lock:
            self.requests.append(request._replace(body=b"") if self.sink else request)
            if self.sink:
                del self.requests[:-_LATEST]

    def _metadata(self, request: Request) -> Answer | None:
        """Metadata and documents, without sign-in."""
        if request.method != "GET":
            return None
        if request.place == "metadata":
            return document(200, self.capabilities())
        known = self.documents.get(request.place)
        return None if known is None else document(200, known, {"Content-Type": "application/json"})

    def _turned_away(self, request: Request) -> Answer | None:
        value = request.headers.get("authorization", "")
        with self.lock:
            self._used[value] += 1
            worn = self.token_life is not None and self._used[value] > self.token_life
        if worn or not self.authorize(value):
            return document(401, outcome("sign in", code="login"), {"WWW-Authenticate": 'Bearer error="invalid_token"'})
        if self.most_bytes is not None and len(request.body) > self.most_bytes:
            raise Refused(413, f"at most {self.most_bytes} bytes")
        return None

    def _takes_faults(self, request: Request) -> bool:
        return self.fault_reads or not (_only_reads(request) or (request.method == "GET" and "/" in request.place))

    def _good(self, request: Request, fault: Fault | None) -> Answer:
        """Carries out the request, with a fault of entries at most."""
        try:
            with self.lock:
                if request.method == "POST" and not request.place:
                    spoil = fault.spoil if fault else _let_be
                    return self._bundles.answer(bundle_of(request.body), spoil, whole=request.prefers("representation"))
                if fault and (refused := fault.spoil(0, *_calls(request)[0])):
                    raise refused
                return self._rest.answer(request)
        except Refused as error:
            return error.answer


def _let_be(index: int, method: str, url: str) -> Refused | None:
    return None


def _only_reads(request: Request) -> bool:
    """Whether it is a Bundle of reads."""
    if request.method != "POST" or request.place:
        return False
    calls = _calls(request)
    return bool(calls) and all(method == "GET" for method, _ in calls)


def _calls(request: Request) -> Calls:
    """What a request asks for; nothing when it cannot be read."""
    if request.method == "POST" and not request.place:
        try:
            return [(entry.request.method, entry.request.url) for entry in bundle_of(request.body).entry]
        except Refused:
            return []
    return [(request.method, request.place + ("?" + request.query if request.query else ""))]
