"""The audit log of deliveries: written line by line, and verified.

`chain` defines its form. No line holds a patient's value or a key of a resource: counts, and one SHA-256 over the
sorted keys of a bundle.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from fhirspace.atomic import synchronise
from fhirspace.delivery.audit.chain import CLOSED, EMPTY, RS, Chain, Event, Head, Record, encode, sealed
from fhirspace.errors import Place, Problem, UsageError
from fhirspace.folders import locked, open_own
from fhirspace.foreign import counted

__all__ = ["AUDIT", "Audit", "Event", "Head", "Log", "Record", "anchor", "digest", "log_of", "records", "verify"]

AUDIT = "audit.log"
"""Its name beside ``journal.db``; not ``.ndjson``, since what is called so beside resources is taken for resources."""


@dataclass(frozen=True, slots=True)
class Audit:
    """The result of `verify`: the last valid line, the first fault (None: the log is whole), lines closed off.

    `anchored`: it was compared with a head that the journal stores.
    """

    head: Head
    problem: Problem | None = None
    closed: tuple[int, ...] = ()
    anchored: bool = False

    @property
    def whole(self) -> bool:
        """Whether nothing is wrong."""
        return self.problem is None

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "whole": self.whole,
            **self.head._asdict(),
            "closed": list(self.closed),
            "anchored": self.anchored,
            "problem": self.problem.as_dict() if self.problem else None,
        }

    def summary(self) -> str:
        """One line for people."""
        state = "whole" if self.whole else "not whole"
        held = "" if self.anchored else "; not held against a journal, so a cut at the end would not show"
        closed = f", {len(self.closed)} of them after an unfinished one" if self.closed else ""
        return f"audit log: {state}, {counted(self.head.sequence, 'line')}{closed}, the last {self.head.hash}{held}"


def verify(path: Path, expected: Head | None = None) -> Audit:
    """Check a log from its first line to its last.

    Args:
        path: the log.
        expected: a head that the journal remembers; the log must hold this very line. Without it a log that was cut
            at the end of a line, or written anew from some line on, looks whole.

    Returns:
        Its problem, if there is one: FS571 a line was changed, FS572 lines are missing, added or moved, FS573 the
        end is missing, FS574 it is not the log that `expected` is of, FS575 the last line is unfinished. The place
        is the line at which the chain breaks.

    Raises:
        UsageError: FS576, there is no log.
    """
    chain = Chain()
    remembered, strange = expected or EMPTY, False
    for record in _existing(path, chain):
        strange = strange or (record.sequence == remembered.sequence and record.hash != remembered.hash)
    row, fault = chain.head.sequence + 1, chain.fault
    if strange:
        row, fault = remembered.sequence, "FS574"
    elif chain.head.sequence < remembered.sequence and fault in ("", "FS575"):
        fault = "FS573"
    problem = Problem(fault, Place(path.name, row)) if fault else None
    return Audit(chain.head, problem, tuple(chain.closed), expected is not None)


def records(path: Path) -> Iterator[Record]:
    """The records of a log in their order, as far as the chain is whole. Raises UsageError (FS576): there is no log."""
    return _existing(path, Chain())


def _existing(path: Path, chain: Chain) -> Iterator[Record]:
    if not path.is_file():
        raise UsageError("FS576", str(path), f"a file {AUDIT}")
    return chain.records(path)


def log_of(journal: Path) -> Path:
    """The log that belongs to a journal: ``audit.log`` beside ``journal.db``, ``x.audit.log`` beside ``x.db``."""
    return journal.with_name(AUDIT if journal.name == "journal.db" else f"{journal.stem}.{AUDIT}")


def anchor(rows: Iterable[Mapping[str, Any]]) -> Head | None:
    """The newest head among the rows of `journal.runs`, where a run left it as ``audit``; None without one."""
    heads = [Head(**row["audit"]) for row in rows if row.get("audit")]
    return max(heads, key=lambda head: head.sequence, default=None)


class Log:
    """The log, open for one run at a time. Use it in a `with`; `append` may be called from several threads.

    Args:
        path: the file, beside the journal; made with mode 0600 if it is missing.
        server, run: are in every line.

    Raises:
        UsageError: FS570 another process has it open, FS571 or FS572 it was tampered with: nothing is added to it.
    """

    def __init__(self, path: Path, server: str, run: str) -> None:
        self.path, self.server, self.run = path, server, run
        self._turn = threading.Lock()
        self._head, self._unsure = EMPTY, True
        self._held = ExitStack()
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._held.enter_context(locked(path.with_name(path.name + ".lock"), wait=False))
        except OSError as error:
            raise UsageError("FS570", str(path)) from error
        try:
            self._file = open_own(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            self._held.callback(os.close, self._file)
            synchronise(path.parent)
            self._resume()
        except BaseException:
            self._held.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._held.close()

    @property
    def head(self) -> Head:
        """The last line: what the journal has to remember, so that a cut or a rewritten log is noticed."""
        return self._head

    def append(
        self,
        event: Event,
        *,
        counts: Mapping[str, int] | None = None,
        keys: Iterable[str] = (),
        about: str = "",
    ) -> Head:
        """Add a line; it is on the disk when this returns.

        Args:
            event: what happened.
            counts: how many of what; names of our own, never of the data.
            keys: the keys (``Type/id``) it is about; only one SHA-256 over them, sorted, a line each, is kept.
            about: a run, a plan's digest or the id of a Provenance; nothing out of the data.

        Returns:
            The new head.
        """
        with self._turn:
            if self._unsure:
                self._resume()
            self._unsure = True  # whatever interrupts this, the next call looks first at what has reached the file
            self._add(event, dict(counts or {}), digest(keys), about)
            self._unsure = False
            return self._head

    def _resume(self) -> None:
        """Find the head; close off what a kill or a full disk left unfinished."""
        chain = Chain()
        for _ in chain.records(self.path):
            pass
        if chain.fault not in ("", "FS575"):
            raise UsageError(chain.fault, Place(str(self.path), chain.head.sequence + 1), "a chain that holds")
        self._head = chain.head
        if chain.tail:
            size, junk = len(chain.tail), hashlib.sha256(chain.tail).hexdigest()
            self._add(CLOSED, {"bytes": size}, "", junk, before=RS)
        elif chain.fault:  # a whole record that lacks only its line end
            self._write(b"\n")
        self._unsure = False

    def _add(
        self,
        event: Literal[Event, "line closed off"],
        counts: dict[str, int],
        keys: str,
        about: str,
        before: bytes = b"",
    ) -> None:
        record = Record(
            sequence=self._head.sequence + 1,
            time=datetime.now(UTC).isoformat(timespec="milliseconds"),
            event=event,
            run=self.run,
            server=self.server,
            previous=self._head.hash,
            counts=counts,
            keys=keys,
            about=about,
        )
        whole = sealed(record)
        self._write(before + encode(whole) + b"\n")
        self._head = Head(whole.sequence, whole.hash)

    def _write(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._file, data) :]
        os.fsync(self._file)


def digest(keys: Iterable[str]) -> str:
    """The SHA-256 of sorted keys, a line each, as it is in ``keys``; "" for none."""
    text = "".join(f"{key}\n" for key in sorted(keys))
    return hashlib.sha256(text.encode()).hexdigest() if text else ""
