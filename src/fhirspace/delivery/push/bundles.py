"""Resources as transactions, batches or single requests, and the answer for each of them.

Source: FHIR, "http" (transaction, batch, update), "Bundle". Lines are joined unchanged: no value is parsed and written
again.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Self
from urllib.parse import quote

from fhirspace.delivery.push.order import Item
from fhirspace.fhirserver.answers import Answer, deleted, matched, no_fhir, single_answer, wrote
from fhirspace.fhirserver.fetch import fetch
from fhirspace.fhirserver.http.client import Client, Response
from fhirspace.fhirserver.http.retry import RETRIED
from fhirspace.fhirserver.strategy import Carrier

_HEADERS = {"Prefer": "return=minimal"}


@dataclass(frozen=True, slots=True)
class Sought:
    """What a resource is found by, and as what it travels.

    Args:
        token: ``system|value``, as a search wants it (escaped, not percent-encoded).
        body: the resource without its id, references as the server knows them.
        place: the server's key of it (``Type/id``); "" where it is not known.
        doubt: an earlier attempt may have made it: to be looked for before it is sent.
    """

    token: str
    body: bytes
    place: str = ""
    doubt: bool = False

    @property
    def query(self) -> str:
        """The search, for a URL."""
        return f"identifier={quote(self.token, safe='')}"


@dataclass(frozen=True, slots=True)
class Terms:
    """Under which conditions a resource may be written.

    Args:
        ours: whether a content (its digest) is one that we wrote there: the last one, or one that was never answered.
        known: whether the journal knows the resource as delivered.
    """

    ours: Callable[[bytes], bool]
    known: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """A resource on its way: the item, its line (none: it is deleted), the digest of its canonical form.

    `match` is the version that the server must still hold ("" where it does not matter). `full` is its `fullUrl` in a
    Bundle ("": its address on the server). `sought` is how it is found where the server makes the ids. `terms` say what
    it may overwrite (None: anything).
    """

    item: Item
    line: bytes
    content: bytes
    match: str = ""
    full: str = ""
    sought: Sought | None = None
    terms: Terms | None = None

    @property
    def method(self) -> str:
        """The HTTP method."""
        return "PUT" if self.line else "DELETE"


@dataclass(slots=True)
class Reply:
    """The result of entries that were sent together: answers by position, and for the others the whole answer.

    `conflicts` are positions of what another client changed and which was not written, with the version that the server
    holds ("": it was deleted there).
    """

    answers: dict[int, Answer] = field(default_factory=dict)
    conflicts: dict[int, str] = field(default_factory=dict)
    rest: Response | None = None


@dataclass(frozen=True, slots=True)
class Courier:
    """Sends entries by one strategy; safe to be used by several threads.

    Args:
        client: the server. kind: how entries travel. squeeze: compress what is sent (gzip). headers: sent as well.
        final: statuses that asking again would not change. given: statuses that are answers for the caller where asking
            again has not changed them, and no reason to stop. attempts: how often in all; None: as the client does.
    """

    client: Client
    kind: Carrier = "transaction"
    squeeze: bool = False
    headers: dict[str, str] = field(default_factory=dict)
    final: frozenset[int] = frozenset()
    given: frozenset[int] = frozenset()
    attempts: int | None = None

    def hasty(self, attempts: int) -> Self:
        """The same with other attempts."""
        return replace(self, attempts=attempts)

    def send(self, entries: list[Entry]) -> Reply:
        """Sends entries together; those whose own answer is a passing state (429, 503, ...) are sent again.

        A success is one only where the answer proves it (see `answers`). Where the answer to a Bundle does not fit
        what was sent, it is left to the caller as `Reply.rest`; one entry alone is sent once more without a Bundle.

        Raises:
            ServerError: FS510, FS511, FS512 as `Client.request`; FS512 for an answer that is no FHIR or proves nothing.
        """
        if self.kind == "single":
            return Reply({at: self._single(entry) for at, entry in enumerate(entries)})
        reply = Reply()
        waiting = list(range(len(entries)))
        most = self.attempts or self.client.attempts
        for attempt in range(1, most + 1):
            sent = [entries[at] for at in waiting]
            whole = self._post(sent)
            found = self._matched(whole, sent) if whole.ok else None
            if found is None:
                reply.rest = whole
                return reply
            single_answer = dict(zip(waiting, found, strict=True))
            # HAPI answers 409 to a version that is no longer there: asking again would not bring it back.
            final = {at for at in waiting if entries[at].match and single_answer[at].code == 409}
            again = [at for at, answer in single_answer.items() if answer.code in RETRIED and at not in final]
            for answer in found:
                answer.repeated |= whole.repeated or attempt > 1
            reply.answers |= {at: answer for at, answer in single_answer.items() if at not in again}
            if not again:
                return reply
            waiting, passing = again, single_answer[again[0]]
            if attempt < most:
                self.client.wait(attempt, whole)
        reply.rest = Response(passing.code, whole.headers, bytes(passing.outcome))
        return reply

    def send_apart(self, entries: list[Entry]) -> Reply:
        """As `send`; entries without an answer in a Bundle are sent once more, one per request."""
        reply = self.send(entries)
        if reply.rest is None or not reply.rest.ok:
            return reply
        left = [at for at in range(len(entries)) if at not in reply.answers]
        alone = replace(self, kind="single").send([entries[at] for at in left])
        for answer in alone.answers.values():
            answer.repeated = True
        return Reply(reply.answers | {left[at]: answer for at, answer in alone.answers.items()})

    def _matched(self, whole: Response, sent: list[Entry]) -> list[Answer] | None:
        asked = [(entry.method, entry.item.key) for entry in sent]
        found = matched(whole, asked, self.kind, self.client.server)
        if found is None and len(sent) == 1:
            found = [self._single(sent[0])]
            found[0].repeated = True
        return found

    def _post(self, entries: list[Entry]) -> Response:
        body = build(entries, self.kind, self.client.server)
        return self._request("POST", "", body, matched=any(entry.match for entry in entries))

    def _single(self, entry: Entry) -> Answer:
        headers = {"If-Match": f'W/"{entry.match}"'} if entry.match else {}
        whole = self._request(entry.method, entry.item.key, entry.line or None, headers, matched=bool(entry.match))
        return self._proven(entry.method, entry.item.key, whole)

    def _proven(self, method: str, key: str, whole: Response) -> Answer:
        """The answer to one request. Raises ServerError (FS512) where it is a success and does not prove it."""
        answer = single_answer(whole)
        if method == "DELETE":
            proof = deleted(key, answer) if whole.ok or whole.status in (404, 410) else True
            if proof is None:
                proof = not any(held.line for held in fetch(self.client, [key], batch=False))
            expected = "proof that it deleted the resource: an OperationOutcome, or 404 where it was"
        else:
            proof = wrote(key, answer, self.client.server) if whole.ok else True
            expected = "proof that it wrote the resource: FHIR of its type and id, or an ETag or Location that names it"
        if not proof:
            raise no_fhir(self.client.server, expected, whole)
        return answer

    def _request(
        self,
        method: str,
        path: str,
        body: bytes | None,
        headers: dict[str, str] | None = None,
        *,
        matched: bool,
        instead: Callable[[], Response | None] | None = None,
    ) -> Response:
        sent = _HEADERS | self.headers | (headers or {})
        if self.squeeze and body:
            body, sent = gzip.compress(body, 1, mtime=0), sent | {"Content-Encoding": "gzip"}
        final = self.final | ({409} if matched else set())  # as in `send`
        return self.client.request(
            method, path, body, headers=sent, attempts=self.attempts, final=final, given=self.given, instead=instead
        )


def build(entries: list[Entry], kind: Carrier, server: str) -> bytes:
    """A Bundle of `PUT Type/id` and `DELETE Type/id`.

    Each entry has a `fullUrl`: a validating server cannot resolve relative references in an entry without one.
    """
    head = b'{"resourceType":"Bundle","type":"' + kind.encode("ascii") + b'","entry":['
    return head + b",".join(_part(entry, server.encode("utf-8")) for entry in entries) + b"]}"


def _part(entry: Entry, base: bytes) -> bytes:
    url, method = entry.item.key.encode("ascii"), entry.method.encode("ascii")
    match = b',"ifMatch":"W/\\"' + entry.match.encode("utf-8") + b'\\""' if entry.match else b""
    request = b'"request":{"method":"' + method + b'","url":"' + url + b'"' + match + b"}"
    if not entry.line:
        return b"{" + request + b"}"
    full = entry.full.encode("ascii") or base + b"/" + url
    return b'{"fullUrl":"' + full + b'","resource":' + entry.line + b"," + request + b"}"
