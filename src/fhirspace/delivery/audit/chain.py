"""The form of the audit log: one line of JSON an event, each with the hash of the one before.

A line's ``hash`` is the SHA-256 of its canonical JSON (keys sorted, no spaces) without ``hash``; ``previous`` is the
hash of the line before, 64 zeros in the first. So every change breaks the chain, but two: a file that is cut at a line
end, and one whose end was computed anew by somebody who knows how. Both are detected by the `Head` that the journal
stores.

The file is only ever appended to. A line that a kill left unfinished stays; the next opening ends it by RS (0x1E, which
no JSON holds) and a record of its own that says how many bytes it was and their SHA-256. So each line of the file is
one record of the chain, and the record is the text after the last RS.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec

from fhirspace.foreign import shown
from fhirspace.json import JsonError, canonical, decoder
from fhirspace.limits import limit

Event = Literal[
    "run started",
    "bundle answered",
    "resource refused",
    "conflict",
    "provenance written",
    "plan made",
    "undo",
    "token renewed",
    "run finished",
    "run interrupted",
]
CLOSED: Literal["line closed off"] = "line closed off"
"""The event of a record that closes off an unfinished line."""
RS = b"\x1e"
"""The separator between an unfinished line and the record that closes it."""


class Head(NamedTuple):
    """The last line of a log: its sequence number (from 1; 0: there is no line) and its hash."""

    sequence: int
    hash: str


EMPTY = Head(0, "0" * 64)
"""The head of a log without a line."""


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One line of the log. `about` names what it is about beside the run: another run, a plan's digest."""

    sequence: int
    time: str
    event: Literal[Event, "line closed off"]
    run: str
    server: str
    previous: str
    hash: str = ""
    counts: dict[str, int] = {}
    keys: str = ""
    about: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The line, without empty members."""
        return dict(msgspec.to_builtins(self))

    def __str__(self) -> str:
        counts = ", ".join(f"{name} {count:,}" for name, count in self.counts.items())
        summary = f"{self.event}: {counts}" if counts else self.event
        text = f"{self.time}  {self.run}  {summary}{self.about and f' ({self.about})'}"
        return f"{self.sequence:>6}  {shown(text, 1000)}"


_decode = decoder(Record)
encode = canonical
"""A record as canonical JSON; it leaves out what is empty."""


def sealed(record: Record) -> Record:
    """The record with its hash."""
    return msgspec.structs.replace(record, hash=_hash(record))


def _hash(record: Record) -> str:
    return hashlib.sha256(encode(msgspec.structs.replace(record, hash=""))).hexdigest()


class Chain:
    """Follows a log line by line.

    Attributes:
        head: the last valid line.
        fault: FS571, FS572 or FS575 (see the catalogue) if the chain is broken; "" if it is whole.
        tail: the bytes of a last line that is unfinished, unless it lacks its line end only.
        closed: the numbers of the lines that close off an unfinished one.
    """

    def __init__(self) -> None:
        self.head, self.fault, self.tail = EMPTY, "", b""
        self.closed: list[int] = []

    def records(self, path: Path) -> Iterator[Record]:
        """The records in their order, as far as the chain is whole. An unfinished last line goes to `tail`."""
        most = limit("line-bytes")
        with path.open("rb") as file:
            while line := file.readline(most + 1):
                if len(line) > most:  # none of ours is so long
                    self.fault = "FS571"
                    return
                record = self._next(line.removesuffix(b"\n"))
                if not line.endswith(b"\n"):
                    self.tail, self.fault = (b"" if record else line), "FS575"
                if record is None:
                    return
                yield record

    def _next(self, line: bytes) -> Record | None:
        junk, mark, text = line.rpartition(RS)
        record = _read(text)
        if record is None or bool(mark) != (record.event == CLOSED) or (mark and not _closes(record, junk)):
            self.fault = "FS571"
        elif (record.sequence, record.previous) != (self.head.sequence + 1, self.head.hash):
            self.fault = "FS572"
        else:
            self.head = Head(record.sequence, record.hash)
            self.closed += [record.sequence] if mark else []
            return record
        return None


def _read(text: bytes) -> Record | None:
    """The record, or None where the bytes are not exactly those that were written for it."""
    try:
        record = _decode(text)
    except JsonError:
        return None
    return record if text == encode(record) and record.hash == _hash(record) else None


def _closes(record: Record, junk: bytes) -> bool:
    return record.counts == {"bytes": len(junk)} and record.about == hashlib.sha256(junk).hexdigest()
