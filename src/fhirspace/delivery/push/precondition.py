"""Nothing that another client wrote is overwritten: preconditions of updates, and what the server holds when one fails.

Source: FHIR, "http" (managing resource contention: ``If-Match``, 412; HAPI says 409), "Bundle" (request.ifMatch).

A resource that we wrote goes with the version that the journal knows. One that the journal does not know is looked for
before it is sent, unless the server has a version that only an absent resource fits (`Limits.absent_version`). Where a
precondition fails, the server's resource is read: it may be what was sent (an answer was lost), or what we wrote last
under another version number, and only else it is somebody else's.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import msgspec

from fhirspace.delivery.conditional.identify import unnamed
from fhirspace.delivery.push.bundles import Courier, Entry, Reply
from fhirspace.fhir.canonical import content
from fhirspace.fhirserver.answers import Answer
from fhirspace.fhirserver.fetch import Fetched, fetch, modified
from fhirspace.fhirserver.http.client import Client
from fhirspace.fhirserver.strategy import Carrier

CONFLICT = frozenset({409, 412})
"""Answers to a precondition that does not hold."""
NO_CHANGE = b"SUCCESSFUL_UPDATE_NO_CHANGE"
"""HAPI's code for an update that made no new version; ours for what the server was found to hold already."""
_UNCHANGED = msgspec.Raw(b'{"resourceType":"OperationOutcome","id":"' + NO_CHANGE + b'"}')
_LOOKS = 4
"""So many times it is looked and sent once more, also where a client makes one attempt only."""


@dataclass(frozen=True, slots=True)
class Conflict:
    """A resource that another client changed: its key, the version that we wrote last and the one that is there.

    `ours` is "" where the journal does not know it, `theirs` where it was deleted.
    """

    key: str
    ours: str
    theirs: str

    def __str__(self) -> str:
        there = f"the server holds version {self.theirs}" if self.theirs else "it was deleted on the server"
        known = f"we wrote version {self.ours}" if self.ours else "the journal has no version of ours"
        return f"{self.key}, {there}, {known}"


@dataclass(frozen=True, slots=True)
class Guarded:
    """A courier that writes only where the server holds nothing, or what we wrote. Safe to be used by several threads.

    Args:
        courier: sends. strict: whether the server checks ``If-Match``; where it does not say so, everything is looked
            at before it is sent.
    """

    courier: Courier
    strict: bool = True

    @property
    def client(self) -> Client:
        """The server."""
        return self.courier.client

    @property
    def kind(self) -> Carrier:
        """How entries travel."""
        return self.courier.kind

    def hasty(self, attempts: int) -> Guarded:
        """The same with other attempts."""
        return replace(self, courier=self.courier.hasty(attempts))

    def send(self, entries: list[Entry]) -> Reply:
        """As `Courier.send`; what another client changed is not written but in `Reply.conflicts`.

        Raises:
            ServerError: as `Courier.send` and `fetch`.
        """
        work = _Work(self, dict(enumerate(entries)))
        work.look([at for at, entry in work.waiting.items() if _guarded(entry) and not (self.strict and entry.match)])
        most = self.courier.attempts or self.client.attempts
        for attempt in range(1, most + _LOOKS):
            failed = work.send()
            if not failed or (not work.look(failed) and not work.passing):
                break
            if work.passing and attempt < most:
                self.client.wait(attempt, None)
        return work.reply


@dataclass(slots=True)
class _Work:
    """The entries of one `Guarded.send`: those that wait to be sent, and the reply so far."""

    guard: Guarded
    waiting: dict[int, Entry]
    reply: Reply = field(default_factory=Reply)
    passing: bool = False
    """Whether nobody has changed what failed: a race on the server, which passes."""
    _repeated: dict[int, bool] = field(default_factory=dict)

    def send(self) -> list[int]:
        """Sends what waits; gives the positions of entries whose precondition may have failed."""
        self.reply.rest = None
        places = list(self.waiting)
        if not places:
            return []
        for at in places:
            self.reply.answers.pop(at, None)
        got = self.guard.courier.send([self.waiting[at] for at in places])
        answers = {places[index]: answer for index, answer in got.answers.items()}
        self.reply.conflicts |= {places[index]: version for index, version in got.conflicts.items()}
        self.reply.answers |= answers
        self.reply.rest = got.rest
        failed = {at: answer for at, answer in answers.items() if answer.code in CONFLICT}
        if got.rest is not None and got.rest.status in CONFLICT:
            alike = Answer(str(got.rest.status), repeated=got.rest.repeated)
            failed |= dict.fromkeys((at for at in places if at not in answers), alike)
        failed = {at: answer for at, answer in failed.items() if _guarded(self.waiting[at])}
        self._repeated = {at: answer.repeated for at, answer in failed.items()}
        self.passing = any(answer.code == 409 and self.waiting[at].match for at, answer in failed.items())
        done = (answers.keys() | self.reply.conflicts.keys()) - failed.keys()
        self.waiting = {at: entry for at, entry in self.waiting.items() if at not in done}
        return list(failed)

    def look(self, places: list[int]) -> bool:
        """Compares entries with what the server holds; whether one need not be sent, or under other conditions."""
        keys = [_place(self.waiting[at]) for at in places]
        found = fetch(self.guard.client, keys, batch=self.guard.kind != "single")
        moved = [self._judge(at, held) for at, held in zip(places, found, strict=True)]
        self.passing &= not any(moved)
        if not self.waiting:
            self.reply.rest = None
        return any(moved)

    def _judge(self, at: int, held: Fetched) -> bool:
        entry = self.waiting[at]
        theirs = _content(entry, held) if held.line else b""
        if theirs == entry.content:
            answer = Answer("200", f'W/"{held.version}"' if held.version else "", modified(held.line), _UNCHANGED)
            answer.repeated, answer.location = self._repeated.get(at, False), _place(entry)
            self.reply.answers[at] = answer
        elif held.line and entry.terms and entry.terms.ours(theirs):
            return self._again(at, held.version)
        elif held.line or (entry.terms and entry.terms.known):
            self.reply.conflicts[at] = held.version
            self.reply.answers.pop(at, None)
        else:
            return self._again(at, "")
        del self.waiting[at]
        return True

    def _again(self, at: int, version: str) -> bool:
        """Sends it once more, for this version ("": as what is not there); whether that is something new."""
        entry = self.waiting[at]
        self.waiting[at] = replace(entry, match=version)
        return entry.match != version


def _place(entry: Entry) -> str:
    return (entry.sought.place if entry.sought else "") or entry.item.key


def _content(entry: Entry, held: Fetched) -> bytes:
    """The digest of what the server holds, to be compared with the entry's: an id that the server made is left out."""
    return content(unnamed(held.line) if entry.sought else held.line)


def _guarded(entry: Entry) -> bool:
    """Whether what the server holds decides; what has no id there is looked for by its identifier, by who sends it."""
    return entry.terms is not None and not (entry.sought and not entry.sought.place)
