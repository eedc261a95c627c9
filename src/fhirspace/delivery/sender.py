"""Sends units in transaction bundles; when one is refused, finds the guilty entries and delivers the rest."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import msgspec

from fhirspace.delivery.client import Client, Response
from fhirspace.delivery.journal import Journal
from fhirspace.delivery.outcome import reason, suspects
from fhirspace.delivery.plan import Item, Unit, references
from fhirspace.errors import InputError, Problem

REFUSED = frozenset({400, 404, 409, 410, 412, 413, 422})
"""Answers that blame what was sent, not the moment: the guilty entry is looked for."""
_MOST_BYTES = 8_000_000
_ENTRY_PATH = re.compile(r"Bundle\.entry\[\d+\](\.resource)?")
_NO_CHANGE = b"SUCCESSFUL_UPDATE_NO_CHANGE"
_UNSENT = Response(0, {}, b"")


class _Answer(msgspec.Struct):
    status: str
    etag: str = ""
    outcome: msgspec.Raw = msgspec.Raw(b"")


class _Entry(msgspec.Struct):
    response: _Answer


class _Bundle(msgspec.Struct):
    entry: list[_Entry] = []


@dataclass(slots=True)
class Counts:
    """What became of the resources; every resource of the input is in exactly one of these."""

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    unchanged_on_server: int = 0
    refused: int = 0

    @property
    def total(self) -> int:
        """All resources that something became of."""
        return self.created + self.updated + self.unchanged + self.unchanged_on_server + self.refused


class Reader:
    """Lines of the input by their place; holds the files open. Use it in a `with`."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._open: dict[Path, BinaryIO] = {}

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def line(self, item: Item) -> bytes:
        """The line of `item`. Raises InputError (FS528) when it is not what was planned."""
        if item.file not in self._open:
            self._open[item.file] = self._stack.enter_context(item.file.open("rb"))
        file = self._open[item.file]
        file.seek(item.offset)
        text = file.readline().strip()
        if hashlib.sha256(text).digest() != item.digest:
            raise InputError("FS528", item.place, "the line that was read first")
        return text


class DeadLetters:
    """Refused resources, as they stood, and beside them the server's outcomes; both files are for the owner only."""

    def __init__(self, folder: Path, run: str) -> None:
        self.path = folder / "dead" / f"{run}.ndjson"
        self.outcomes = folder / "dead" / f"{run}.outcomes.ndjson"

    def add(self, item: Item, line: bytes, answer: Response) -> None:
        """Append one with what the server said. It is on the disk when this returns."""
        self.path.parent.mkdir(mode=0o700, exist_ok=True)
        _append(self.path, line)
        head = {"key": item.key, "file": item.file.name, "row": item.row, "status": answer.status}
        said = answer.body.decode("utf-8", "replace")
        try:
            head["outcome"] = json.loads(said)
        except ValueError:
            head["outcome"] = said
        _append(self.outcomes, json.dumps(head, ensure_ascii=False).encode())


def _append(path: Path, line: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(line + b"\n")
        file.flush()
        os.fsync(descriptor)


Loaded = list[tuple[Item, bytes]]
"""A unit with the lines of its items."""


@dataclass(slots=True)
class Sender:
    """Delivers units to one server, journals what was answered, and counts."""

    client: Client
    journal: Journal
    dead: DeadLetters
    size: int
    counts: Counts = field(default_factory=Counts)
    problems: list[Problem] = field(default_factory=list)
    _lost: set[str] = field(default_factory=set)

    def batches(self, units: Iterable[Unit], reader: Reader) -> Iterator[list[Loaded]]:
        """Units that are not delivered yet, loaded, up to `size` resources (or 8 MB) together."""
        batch: list[Loaded] = []
        entries = weight = 0
        for unit in units:
            if all(self._delivered(item) for item in unit):
                self.counts.unchanged += len(unit)
                continue
            loaded = [(item, reader.line(item)) for item in unit]
            heavy = sum(len(line) for _, line in loaded)
            if batch and (entries + len(loaded) > self.size or weight + heavy > _MOST_BYTES):
                yield batch
                batch, entries, weight = [], 0, 0
            batch.append(loaded)
            entries += len(loaded)
            weight += heavy
        if batch:
            yield batch

    def deliver(self, units: list[Loaded]) -> None:
        """Send them in one transaction, and in smaller ones where the server refuses it.

        Raises:
            ServerError: the server cannot be reached or fails (FS510, FS511, FS512); what was answered is journalled.
        """
        units = self._ready(units)
        if units:
            self._settle(units, self._post(units))

    def deliver_all(self, batches: Iterable[list[Loaded]], connections: int) -> Iterator[None]:
        """Delivers all batches, up to `connections` at a time, and yields after each one.

        Only batches of one stage fly together: what they refer to has landed. Answers are taken in the order of
        sending, in this thread, so that the journal has one writer.

        Raises:
            ServerError: as `deliver`; batches that still fly are not journalled, and their PUTs do no harm again.
        """
        flying: deque[tuple[list[Loaded], Future[Response]]] = deque()
        with ThreadPoolExecutor(connections) as pool:
            for batch in batches:
                while flying and (len(flying) >= connections or not _together(flying[-1][0], batch)):
                    self._land(*flying.popleft())
                    yield
                units = self._ready(batch)
                if units:
                    flying.append((units, pool.submit(self._post, units)))
            while flying:
                self._land(*flying.popleft())
                yield

    def _land(self, units: list[Loaded], answer: Future[Response]) -> None:
        self._settle(units, answer.result())

    def _ready(self, units: list[Loaded]) -> list[Loaded]:
        return [unit for unit in units if not self._orphaned(unit)]

    def _post(self, units: list[Loaded]) -> Response:
        entries = [pair for unit in units for pair in unit]
        return self.client.request("POST", "", self._bundle(entries), headers={"Prefer": "return=minimal"})

    def _settle(self, units: list[Loaded], answer: Response) -> None:
        entries = [pair for unit in units for pair in unit]
        answers = _answers(answer, len(entries)) if answer.ok else None
        if answers is not None:
            self._accept(entries, answers)
        elif not answer.ok and answer.status not in REFUSED:
            raise self.client.unexpected(answer)
        elif len(units) > 1:
            for piece in pieces(units, suspects(answer.body)):
                self.deliver(piece)
        elif answer.ok:
            raise self.client.unexpected(answer)
        else:
            self._bury(units[0], answer)

    def _delivered(self, item: Item) -> bool:
        known = self.journal.known(item.key)
        return known is not None and known[0] == item.digest

    def _orphaned(self, unit: Loaded) -> bool:
        """Whether it refers to what was refused in this run and never was on the server; then it is buried unsent."""
        if not self._lost or not any(references(line) & self._lost for _, line in unit):
            return False
        for pair in unit:
            self._refuse("FS524", pair, "the resources it refers to on the server", _UNSENT)
        return True

    def _bundle(self, entries: Loaded) -> bytes:
        """The lines as they stand, joined: no value is parsed and written again on its way."""
        parts = []
        for item, line in entries:
            url = item.key.encode("ascii")
            full = self.client.server.encode("utf-8") + b"/" + url
            request = b'"request":{"method":"PUT","url":"' + url + b'"}'
            parts.append(b'{"fullUrl":"' + full + b'","resource":' + line + b"," + request + b"}")
        return b'{"resourceType":"Bundle","type":"transaction","entry":[' + b",".join(parts) + b"]}"

    def _accept(self, entries: Loaded, answers: list[_Answer]) -> None:
        rows = []
        for (item, _), answer in zip(entries, answers, strict=True):
            version = answer.etag.removeprefix("W/").strip('"')
            self._count(item, answer, version)
            rows.append((item.key, item.digest, version))
        self.journal.record(rows)

    def _count(self, item: Item, answer: _Answer, version: str) -> None:
        known = self.journal.known(item.key)
        before = known[1] if known else "1"
        if answer.status.startswith("201"):
            self.counts.created += 1
        elif _NO_CHANGE in bytes(answer.outcome) or (version and version == before):
            self.counts.unchanged_on_server += 1
        else:
            self.counts.updated += 1

    def _bury(self, unit: Loaded, answer: Response) -> None:
        said = _ENTRY_PATH.sub(unit[0][0].key.split("/")[0], reason(answer.body))
        expected = f"what the server accepts (status {answer.status}{said and ': ' + said})"
        for pair in unit:
            self._refuse("FS520", pair, expected, answer)

    def _refuse(self, code: str, pair: tuple[Item, bytes], expected: str, answer: Response) -> None:
        item, line = pair
        self.dead.add(item, line, answer)
        self.problems.append(Problem(code, item.place, expected, item.key.split("/")[0]))
        self.counts.refused += 1
        if self.journal.known(item.key) is None:
            self._lost.add(item.key)


def _together(flying: list[Loaded], batch: list[Loaded]) -> bool:
    """Whether two batches hold resources of one and the same stage only."""
    return len({item.stage for unit in (*flying, *batch) for item, _ in unit}) == 1


def pieces(units: list[Loaded], blamed: set[int]) -> list[list[Loaded]]:
    """Cut refused units up, in their order: the blamed ones (by entry number) alone; halves if that tells nothing."""
    marks = []
    position = 0
    for unit in units:
        marks.append(any(position <= entry < position + len(unit) for entry in blamed))
        position += len(unit)
    if all(marks) or not any(marks):
        half = len(units) // 2
        return [units[:half], units[half:]]
    cut: list[list[Loaded]] = []
    for index, (unit, mark) in enumerate(zip(units, marks, strict=True)):
        if mark or not cut or marks[index - 1]:
            cut.append([unit])
        else:
            cut[-1].append(unit)
    return cut


def _answers(answer: Response, sent: int) -> list[_Answer] | None:
    """The answers, one an entry in the order sent; None when they cannot be matched to what was sent."""
    try:
        found = [entry.response for entry in msgspec.json.decode(answer.body, type=_Bundle).entry]
    except msgspec.DecodeError:
        return None
    whole = len(found) == sent and all(item.status.startswith("2") for item in found)
    return found if whole else None
