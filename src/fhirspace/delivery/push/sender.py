"""Sends units in bundles; if one is rejected, finds the entries at fault and delivers the rest; keeps the journal."""

from __future__ import annotations

import re
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

from fhirspace.delivery.attempts import Known
from fhirspace.delivery.audit.chain import Event
from fhirspace.delivery.conditional.identify import Addressing, UnfindableError
from fhirspace.delivery.journal import RETRY, Journal, Written
from fhirspace.delivery.push.bundles import Courier, Entry, Reply, Terms
from fhirspace.delivery.push.order import REQUEST, Item, Reader, Unit
from fhirspace.delivery.push.precondition import CONFLICT, NO_CHANGE, Conflict, Guarded
from fhirspace.delivery.push.rejected import DeadLetters
from fhirspace.delivery.push.units import Loaded, flat, smaller, without
from fhirspace.delivery.report import Counts
from fhirspace.errors import Problem, ServerError
from fhirspace.fhir.canonical import content
from fhirspace.fhir.outcome import reason, suspects
from fhirspace.fhir.references import parsed, references, texts
from fhirspace.fhirserver.answers import Answer, no_fhir
from fhirspace.fhirserver.fetch import fetch
from fhirspace.fhirserver.http.client import Response
from fhirspace.fhirserver.http.retry import since
from fhirspace.json import exact
from fhirspace.limits import limit

REFUSED = frozenset({400, 404, 409, 410, 412, 413, 422})
"""Answers that reject the content, whenever it is sent: the entry at fault is searched."""
FAILED = frozenset({500})
"""The server fails: at one resource perhaps, which is then found."""
_HASTY = 2
"""Attempts while a resource is sought that the server has failed at already."""
_MOST_BYTES = 8_000_000
_ENTRY_PATH = re.compile(r"Bundle\.entry\[\d+\](\.resource)?")
_UNSENT = Response(0, {}, b"")
_CONFLICT = Response(412, {}, b"")
Note = Callable[[Event, dict[str, int], list[str]], None]
"""Called with an event, counts, and the keys of the resources that it is about."""


def _say_nothing(event: Event, counts: dict[str, int], keys: list[str]) -> None:
    """Without a log."""


@dataclass(slots=True)
class Sender:
    """Delivers units to one server, journals what was answered, and counts.

    Args:
        courier: how entries travel. journal: what is known. dead: where refused resources go.
        size: most resources a bundle; halved when the server finds one too large (413).
        note: called for each event, for the audit log.
        wanted: of what was planned, the version that the server must hold (key -> version, "" for none); None sends
            everything that the journal does not know as delivered.
        addressing: how resources are found where the server makes the ids; None where it takes ours.
        absent: the version to name for what must not be on the server ("": there is no such thing).
    """

    courier: Courier | Guarded
    journal: Journal
    dead: DeadLetters
    size: int
    note: Note = _say_nothing
    wanted: Callable[[Item], str | None] | None = None
    addressing: Addressing | None = None
    absent: str = ""
    counts: Counts = field(default_factory=Counts)
    problems: list[Problem] = field(default_factory=list)
    conflicting: list[Conflict] = field(default_factory=list)
    _lost: set[str] = field(default_factory=set)
    _doubted: set[str] = field(default_factory=set)
    _bundle: int = 0
    _failures: int = 0

    def batches(self, units: Iterable[Unit], reader: Reader) -> Iterator[list[Loaded]]:
        """Units that are not delivered yet, loaded, up to `size` resources (or 8 MB) together."""
        batch: list[Loaded] = []
        entries = weight = 0
        for unit in units:
            if all(self._delivered(item) for item in unit):
                self.counts.unchanged += len(unit)
                continue
            loaded = [self._loaded(item, reader) for item in unit]
            heavy = sum(len(entry.line) for entry in loaded)
            full = entries + len(loaded) > self.size or weight + heavy > _MOST_BYTES
            if batch and (full or not self._together(batch, loaded)):
                yield batch
                batch, entries, weight = [], 0, 0
            batch.append(loaded)
            entries += len(loaded)
            weight += heavy
        if batch:
            yield batch

    def deliver(self, units: list[Loaded], attempts: int | None = None) -> None:
        """Send them together, and in smaller parts where the server refuses that, with so many attempts.

        Raises:
            ServerError: the server cannot be reached or fails (FS510, FS511, FS512); what was answered is journalled.
        """
        units = self._ready(units)
        if units:
            courier = self.courier.hasty(attempts) if attempts else self.courier
            self._take_reply(units, courier.send(flat(units)))

    def deliver_all(self, batches: Iterable[list[Loaded]], connections: int) -> Iterator[None]:
        """Delivers all batches, up to `connections` at a time, and yields after each one.

        Only batches of one stage are sent at the same time: what they refer to is stored. Answers are taken in this
        thread, so that the journal has one writer, and each resource is in one batch only.

        Raises:
            ServerError: as `deliver`; batches that still fly are not journalled, and their PUTs do no harm again.
        """
        flying: dict[Future[Reply], list[Loaded]] = {}
        stages: set[tuple[int, int]] = set()
        with ThreadPoolExecutor(connections) as pool:
            try:
                for batch in batches:
                    stages |= {entry.item.stage for entry in flat(batch)}
                    if len(stages) > 1:
                        yield from self._land(flying, 0)
                        stages = {entry.item.stage for entry in flat(batch)}
                    if units := self._ready(batch):
                        flying[pool.submit(self.courier.send, flat(units))] = units
                    # One bundle is queued ahead, so that no connection idles while an answer is written to the journal.
                    yield from self._land(flying, connections)
                yield from self._land(flying, 0)
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _land(self, flying: dict[Future[Reply], list[Loaded]], most: int) -> Iterator[None]:
        """Takes answers until at most so many batches fly."""
        while len(flying) > most:
            for landed in wait(flying, return_when=FIRST_COMPLETED).done:
                self._take_reply(flying.pop(landed), landed.result())
                yield

    def _ready(self, units: list[Loaded]) -> list[Loaded]:
        """Those that can be sent now, noted in the journal as being on their way."""
        ready = [found for unit in units if not self._orphaned(unit) and (found := self._addressed(unit))]
        if ready:
            entries = flat(ready)
            now = self.courier.client.server_time().isoformat()
            rows = ((entry.item.key, entry.item.digest, entry.content) for entry in entries)
            self.journal.intend(rows, now)
        return ready

    def _addressed(self, unit: Loaded) -> Loaded:
        """The entry as it is sent; one that the server could not find again is rejected without being sent."""
        if self.addressing is None:
            return unit
        try:
            return self.addressing.addressed(unit)
        except UnfindableError as error:
            for entry in unit:
                self._refuse(error.code, entry, error.expected, _UNSENT)
            return []

    def _take_reply(self, units: list[Loaded], reply: Reply) -> None:
        entries = flat(units)
        self._accept([(entries[at], answer) for at, answer in reply.answers.items() if answer.good])
        for at, version in reply.conflicts.items():
            self._leave(entries[at], version)
        for at, answer in reply.answers.items():
            if not answer.good:
                self._judge(entries[at], answer)
        if reply.rest is not None:
            left = without(units, reply.answers.keys() | reply.conflicts.keys())
            named = suspects(reply.rest.body) if len(left) == len(units) else set()
            self._take_rest(left, reply.rest, named)

    def _take_rest(self, left: list[Loaded], reply: Response, named: set[int]) -> None:
        """Handles units that were rejected as a whole, or without a matching answer."""
        if reply.status in FAILED:
            self._search_failure(left, reply)
            return
        if not reply.ok and reply.status not in REFUSED:
            raise self.courier.client.unexpected(reply)
        if reply.ok:  # the server may have carried it out
            self._doubted |= {entry.item.key for entry in flat(left)}
        if reply.status == 413 and len(left) > 1:
            self.size = max(1, min(self.size, len(flat(left)) // 2))
            self._in_parts(left)
        elif len(left) > 1:
            for part in smaller(left, named):
                self.deliver(part)
        elif reply.ok:
            raise no_fhir(self.courier.client.server, "an answer that fits each entry of the Bundle", reply)
        else:
            self._reject(left[0], reply)

    def _search_failure(self, units: list[Loaded], reply: Response) -> None:
        """Finds the units that the server fails at, rejects them, and delivers the others.

        Raises:
            ServerError: FS512, it fails at a read as well, or at one unit after the other.
        """
        self._require_works(units[0][0], reply)
        if len(units) == 1:
            self._reject(units[0], reply)
            return
        half = len(units) // 2
        for part in (units[:half], units[half:]):
            self.deliver(part, _HASTY)

    def _require_works(self, entry: Entry, reply: Response) -> None:
        """Raises ServerError (FS512) unless the server answers a read that has nothing to do with what was sent."""
        client = self.courier.client
        try:
            for _ in fetch(client, [f"{entry.item.key.partition('/')[0]}/{uuid.uuid4()}"], batch=False):
                pass
        except ServerError:
            raise client.unexpected(reply) from None
        if self._failures >= limit("failures"):
            raise client.unexpected(reply)

    def _in_parts(self, units: list[Loaded]) -> None:
        """Delivers units in bundles of `size`, which may become smaller meanwhile."""
        while units:
            count, entries = 0, 0
            while count < len(units) and (not count or entries + len(units[count]) <= self.size):
                entries += len(units[count])
                count += 1
            self.deliver(units[:count])
            units = units[count:]

    def _delivered(self, item: Item) -> bool:
        if self.wanted is not None:
            return self.wanted(item) is None
        known = self.journal.sure(item.key)
        return known is not None and self.journal.seal.same(known.digest, item.digest)

    def _loaded(self, item: Item, reader: Reader) -> Entry:
        line = reader.line(item)
        if self.wanted:
            return Entry(item, line, content(line), self.wanted(item) or "")
        if not isinstance(self.courier, Guarded):
            return Entry(item, line, content(line))
        known = self.journal.known(item.key)
        match = (known.version if known else "") or self.absent
        is_known = known is not None and not self.journal.in_doubt(item.key, known)
        terms = Terms(self._ours(item.key, known), is_known)
        return Entry(item, line, content(line), match, terms=terms)

    def _ours(self, key: str, known: Known | None) -> Callable[[bytes], bool]:
        kept = [*self.journal.contents(key, known), *self.journal.tried(key)]
        return lambda digest: any(self.journal.seal.same(each, digest) for each in kept)

    def _together(self, batch: list[Loaded], unit: Loaded) -> bool:
        """Whether a unit may travel with others: those of one stage may.

        In a transaction any may, but for a conditional reference: it is resolved before anything is written.
        """
        stage = unit[0].item.stage
        if self.courier.kind != "transaction":
            return batch[-1][0].item.stage == stage
        return not any(map(_is_conditional, unit)) or all(each[0].item.stage == stage for each in batch)

    def _orphaned(self, unit: Loaded) -> bool:
        """Whether the unit references a resource that this run rejected and the server never had.

        It is then rejected with FS524 without being sent.
        """
        if not self._lost or not any(references(entry.line) & self._lost for entry in unit):
            return False
        for entry in unit:
            self._refuse("FS524", entry, "the resources it refers to on the server", _UNSENT)
        return True

    def _accept(self, pairs: list[tuple[Entry, Answer]]) -> None:
        if not pairs:
            return
        self._failures = 0
        self._bundle = self._bundle or self.journal.bundles()
        self._bundle += 1
        held, written, dropped = [], [], []
        places = [(entry.item.key, answer.location) for entry, answer in pairs if entry.sought]
        for entry, answer in pairs:
            item = entry.item
            held.append((item.key, item.digest, entry.content, answer.version))
            action = self._action(item, answer)
            if action:
                written.append(Written(item.key, item.digest, entry.content, answer.version, action, self._bundle))
            else:
                dropped.append(item.key)
        self.journal.record(held, written, dropped, places)
        made = {"created": 0, "updated": 0} | Counter(each.action for each in written)
        self.note("bundle answered", {**made, "unchanged": len(dropped)}, [row[0] for row in held])

    def _action(self, item: Item, answer: Answer) -> str:
        """Counts an answer, and returns what this run did to the resource: ``created``, ``updated``, or "" for nothing.

        What an earlier attempt wrote, whose answer was lost or never journalled, is answered as "no change": it is
        this run's work if the server changed it after this run first sent it.
        """
        known = self.journal.sure(item.key)
        first = self.journal.intended(item.key)
        late = first is not None and since(answer.lastModified, first)
        before = known.version if known else "1"
        same = NO_CHANGE in bytes(answer.outcome) or answer.version == before or (answer.lastModified and not late)
        if answer.code != 201 and same and not (late and self._doubtful(item, answer)):
            self.counts.unchanged_on_server += 1
            return ""
        if answer.code == 201 or (same and known is None):
            self.counts.created += 1
            return "created"
        self.counts.updated += 1
        return "updated"

    def _doubtful(self, item: Item, answer: Answer) -> bool:
        """Whether an earlier attempt of this run may have written it."""
        return answer.repeated or self.journal.resumed or item.key in self._doubted

    def _judge(self, entry: Entry, answer: Answer) -> None:
        reply = Response(answer.code, {}, bytes(answer.outcome))
        if answer.code in FAILED:
            self._require_works(entry, reply)
        elif answer.code not in REFUSED:
            raise self.courier.client.unexpected(reply)
        self._reject([entry], reply)

    def _reject(self, unit: Loaded, answer: Response) -> None:
        self._failures += answer.status in FAILED
        detail = ""
        if self.wanted and answer.status in CONFLICT and any(entry.match for entry in unit):
            code, expected = "FS536", "the version that the plan was made for"
        elif answer.status == 412 and any(entry.sought for entry in unit):
            code, expected = "FS583", "one resource at most that has this identifier"
        else:
            reply = _ENTRY_PATH.sub(unit[0].item.key.split("/")[0], reason(answer.body))
            code, expected, detail = "FS520", "", f"status {answer.status}{reply and ': ' + reply}"
        for entry in unit:
            self._refuse(code, entry, expected, answer, detail)

    def _leave(self, entry: Entry, version: str) -> None:
        """Counts a conflict: what another client changed is left as it is, and its dependants are sent."""
        item = entry.item
        known = self.journal.known(item.key)
        found = Conflict(item.key, known.version if known else "", version)
        self.conflicting.append(found)
        self.counts.conflicts += 1
        if self.journal.run.endswith(RETRY):  # the dead letter may have been corrected: it must not be lost
            self.dead.add(item, entry.line, _CONFLICT)
        self.problems.append(Problem("FS539", item.place, table=item.key.partition("/")[0], detail=str(found)))
        self.journal.record((), (), [item.key])
        if self.addressing:
            self.journal.release(item.key)
        self.note("conflict", {"version": int(version) if version.isdecimal() else 0}, [item.key])

    def refuse_unsent(self, code: str, item: Item, expected: str, line: bytes) -> None:
        """Rejects resources without sending them, with the reason."""
        self._refuse(code, Entry(item, line, b""), expected, _UNSENT)

    def _refuse(self, code: str, entry: Entry, expected: str, answer: Response, detail: str = "") -> None:
        item = entry.item
        if code != REQUEST:  # sent as a resource, it would be something else than was asked for
            self.dead.add(item, entry.line, answer)
        self.problems.append(Problem(code, item.place, expected, item.key.split("/")[0], detail))
        self.counts.refused += 1
        if self.journal.known(item.key) is None:
            self._lost.add(item.key)
        self.journal.record((), (), [item.key])
        if self.addressing:
            self.journal.release(item.key)
        self.note("resource refused", {"status": answer.status}, [item.key])


def _is_conditional(entry: Entry) -> bool:
    """Whether it has a conditional reference (``Type?query``)."""
    if b"?" not in entry.line:
        return False
    return any(found is not None and found.query for found in map(parsed, texts(exact(entry.line))))
