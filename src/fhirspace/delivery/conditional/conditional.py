"""Resources to a server that makes the ids: conditional updates, each one searched before it is sent a second time.

Source: FHIR, "http" (update, conditional update, search), "Bundle".

A conditional update that finds nothing makes a resource. Sent again while the first one is under way, it makes two on
many servers. So when an answer was lost, the resource is searched first, by POST: so that no identifier is in a URL
that a proxy could log. For the same reason the update itself is in a Bundle of one entry, if the server takes Bundles.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace

from fhirspace.delivery.conditional.identify import named, unnamed
from fhirspace.delivery.push.bundles import Courier, Entry, Reply, Sought, build
from fhirspace.errors import ServerError
from fhirspace.fhir.canonical import content
from fhirspace.fhirserver import address
from fhirspace.fhirserver.answers import Answer, head_of, matched
from fhirspace.fhirserver.fetch import fetch, modified, version_of
from fhirspace.fhirserver.http.client import Response
from fhirspace.fhirserver.http.retry import RETRIED
from fhirspace.fhirserver.search import by_identifier


class _TakenError(Exception):
    """Another client has changed it; the server holds this version ("": none)."""

    def __init__(self, version: str) -> None:
        super().__init__("taken")
        self.version = version


_AWAY = frozenset({400, 404, 405, 410})
"""Answers to an update of what is no longer there."""
_FOUND = Response(200, {}, b"")
_NAMESPACE = uuid.UUID("6f2c3c0e-8d4b-5b0e-9a53-0f4d1c7f6a11")


@dataclass(frozen=True)
class Finder(Courier):
    """Sends entries that are `sought`, one a request; each answer has the server's key as its location."""

    def send(self, entries: list[Entry]) -> Reply:
        """As `Courier.send`; every entry is answered.

        Raises:
            ServerError: FS510, FS511, FS512 as `Client.request`; FS512 if it is unknown which id was made.
        """
        reply = Reply()
        for at, entry in enumerate(entries):
            if entry.sought:
                try:
                    reply.answers[at] = self._one(entry, entry.sought)
                except _TakenError as error:
                    reply.conflicts[at] = error.version
        return reply

    def _one(self, entry: Entry, sought: Sought) -> Answer:
        if sought.place:
            item = replace(entry.item, key=sought.place)
            answer = self._single(replace(entry, item=item, line=named(sought.body, sought.place)))
            if answer.code not in _AWAY or self._is_there(sought.place):
                answer.location = sought.place
                return answer
            if entry.terms and entry.terms.known:
                raise _TakenError("")
        elif entry.terms and not sought.doubt and (held := self._found(entry, sought, repeated=False)):
            return held[0]
        return self._conditional(entry, sought)

    def _is_there(self, place: str) -> bool:
        return any(held.line for held in fetch(self.client, [place], batch=False))

    def _conditional(self, entry: Entry, sought: Sought) -> Answer:
        """Sends until it is answered; between two attempts, the first of which may have had effect, it is searched."""
        found: list[Answer] = []

        def look() -> Response | None:
            found.extend(self._found(entry, sought))
            return _FOUND if found else None

        doubt, most = sought.doubt, self.client.attempts
        for attempt in range(1, most + 1):
            whole = (look() if doubt else None) or self._sent(entry, sought, look)
            if found:
                return found[0]
            answer = self._understood(entry, sought, whole)
            if answer is not None and (answer.code not in RETRIED or whole.status in self.given):
                return self._placed(entry, sought, answer)
            # A Bundle answered by what fits nothing, or an entry that failed: it may have been done.
            doubt = doubt or answer is None or answer.code >= 500
            if attempt < most:
                self.client.wait(attempt, whole)
        raise self.client.unexpected(whole)

    def _sent(self, entry: Entry, sought: Sought, look: Callable[[], Response | None]) -> Response:
        url = _url(entry, sought)
        if self.kind == "single":
            return self._request("PUT", url, sought.body, matched=False, instead=look)
        full = f"urn:uuid:{uuid.uuid5(_NAMESPACE, entry.item.key)}"
        sent = replace(entry, item=replace(entry.item, key=url), line=sought.body, full=full)
        body = build([sent], self.kind, self.client.server)
        return self._request("POST", "", body, matched=False, instead=look)

    def _understood(self, entry: Entry, sought: Sought, whole: Response) -> Answer | None:
        """The answer for the one entry; None where a Bundle came that does not fit what was sent.

        Raises:
            ServerError: FS512, a success that proves nothing.
        """
        url = _url(entry, sought)
        if self.kind == "single" or not whole.ok:
            return self._proven("PUT", url, whole)
        found = matched(whole, [("PUT", url)], self.kind, self.client.server)
        if found is None:
            return None
        found[0].repeated |= whole.repeated
        return found[0]

    def _found(self, entry: Entry, sought: Sought, *, repeated: bool = True) -> list[Answer]:
        """As if the server had answered: what it holds already, if that is what is to be sent; 412 for several.

        `repeated`: an earlier attempt may have put it there. Raises _TakenError: it has other content,
        from another client.
        """
        held = by_identifier(self.client, entry.item.key.partition("/")[0], sought.token)
        if len(held) > 1:
            return [Answer("412")]
        return [
            Answer("200", version_of(line), modified(line), repeated=repeated, location=self._key_of(entry, line))
            for line in held
            if self._ours(entry, line)
        ]

    def _ours(self, entry: Entry, line: bytes) -> bool:
        """Whether what was found is what is sent. Raises _TakenError: it may not be overwritten."""
        same = content(unnamed(line)) == entry.content
        if not same and entry.terms and not entry.terms.ours(content(unnamed(line))):
            raise _TakenError(version_of(line))
        return same

    def _placed(self, entry: Entry, sought: Sought, answer: Answer) -> Answer:
        """The answer with the server's key: what it names itself, or else found by a search."""
        if not answer.good or answer.location:
            return answer
        held = by_identifier(self.client, entry.item.key.partition("/")[0], sought.token)
        if len(held) != 1:
            raise ServerError("FS512", self.client.server, "the id that it made, or one resource with the identifier")
        answer.location = self._key_of(entry, held[0])
        return answer

    def _key_of(self, entry: Entry, line: bytes) -> str:
        head = head_of(line)
        return address.key(entry.item.key.partition("/")[0], head.id if head else "", self.client.server)


def _url(entry: Entry, sought: Sought) -> str:
    return f"{entry.item.key.partition('/')[0]}?{sought.query}"
