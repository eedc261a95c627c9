"""What a push would change on a server, before anything is written: create, update, unchanged or conflict.

A plan is a SQLite file (mode 0600): the server, and for each resource its key, digest and action, the version on the
server, and for updates the elements that differ: paths, never values. Digests are sealed with the id key, as in the
journal. Memory does not grow with it.
"""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from fhirspace import atomic
from fhirspace.delivery.database import Form, opened, stamp
from fhirspace.delivery.journal import Journal
from fhirspace.delivery.push.order import Item, Reader
from fhirspace.errors import UsageError
from fhirspace.fhir.canonical import canonical, content
from fhirspace.fhirserver.fetch import Fetched, fetch
from fhirspace.fhirserver.http.client import Client
from fhirspace.folders import open_own
from fhirspace.foreign import member
from fhirspace.idkey import IdKey, site_key
from fhirspace.json import JsonError, decode, decoder

Action = Literal["create", "update", "unchanged", "conflict"]
ACTIONS: tuple[Action, ...] = ("create", "update", "unchanged", "conflict")
_PLAN = "fhirspace plan"
_FORMAT = f"{_PLAN} 2"
_MOST_PATHS = 50
_SCHEMA = """
CREATE TABLE head (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE step (at INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, digest BLOB NOT NULL,
                   action TEXT NOT NULL, version TEXT NOT NULL, changes TEXT NOT NULL);
"""
FORM = Form(
    code="FS537",
    missing="FS537",
    expected="a whole plan of `fhirspace plan --out`",
    application=0x66687350,  # "fhsP"
    tables={
        "head": {"name": "'text'", "value": "'text'"},
        "step": {
            "at": "'integer'",
            "digest": "'blob'",
            **dict.fromkeys(("key", "kind", "action", "version", "changes"), "'text'"),
        },
    },
)
"""The requirements for opening a plan."""
_decode = decoder(Any, float_hook=str)


@dataclass(frozen=True, slots=True)
class Step:
    """The action for one resource.

    `version` is what the server holds ("" for nothing); `changes` are the elements that differ: ``+path`` only in
    ours, ``-path`` only on the server, ``~path`` in both.
    """

    key: str
    digest: bytes
    action: Action
    version: str = ""
    changes: tuple[str, ...] = ()


class PlanFile:
    """A plan on the disk: read, or made anew for a server, in the place of an earlier one. Use it in a `with`.

    Args:
        path: the file. server: what a new one is made for. key: seals its digests; None: the site's.

    Raises:
        UsageError: FS537, the file is no whole plan; a file that is something else is not replaced.
    """

    def __init__(self, path: Path, server: str = "", key: IdKey | None = None) -> None:
        new, self._path = bool(server), path
        self._key = (key or site_key()) if new else None
        self._part = path.with_name(f".{path.name}.part") if new else path
        if new:
            _require_replaceable(path)
            self._part.unlink(missing_ok=True)
            os.close(open_own(self._part, os.O_RDWR | os.O_CREAT | os.O_EXCL))
        self._base = opened(self._part, FORM)
        try:
            self._open(server)
        except BaseException:
            self._base.close()
            raise

    def _open(self, server: str) -> None:
        if self._key:
            stamp(self._base)
            self._base.executescript(f"PRAGMA journal_mode=MEMORY; {_SCHEMA} BEGIN;")
            self._base.executemany(
                "INSERT INTO head VALUES (?, ?)",
                (("format", _FORMAT), ("server", server), ("id_key", self._key.fingerprint)),
            )
        form, self.server, self.id_key = (self._head(name) for name in ("format", "server", "id_key"))
        if form != _FORMAT:
            raise self._base.fault()

    def _head(self, name: str) -> str:
        found = self._base.execute("SELECT value FROM head WHERE name = ?", (name,)).fetchone()
        return str(found[0]) if found else ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._base.close()
        if self._part != self._path:
            self._part.unlink(missing_ok=True)

    def add(self, steps: Iterable[Step]) -> Iterator[Step]:
        """Adds steps, and yields each one."""
        for step in steps:
            sealed = self._key.seal(step.digest) if self._key else step.digest
            row = (step.key, step.key.split("/")[0], sealed, step.action, step.version, json.dumps(step.changes))
            self._base.execute(
                "INSERT INTO step (key, kind, digest, action, version, changes) VALUES (?,?,?,?,?,?)", row
            )
            yield step

    def keep(self) -> None:
        """Puts the file in its place; without it nothing is left."""
        self._base.execute("COMMIT")
        if self._part != self._path:
            atomic.replace(self._part, self._path)
            self._part = self._path

    def step(self, key: str) -> Step | None:
        """The step of a resource, its digest sealed; None if the plan does not know it."""
        found = self._base.execute(f"{_STEPS} WHERE key = ?", (key,)).fetchone()
        return _step_of(found) if found else None

    def steps(self, *actions: Action) -> Iterator[Step]:
        """The steps (of these actions), in the order of sending."""
        marks = ",".join("?" * len(actions))
        query = f"{_STEPS} WHERE action IN ({marks}) ORDER BY at" if actions else f"{_STEPS} ORDER BY at"
        yield from map(_step_of, self._base.execute(query, actions))

    def counts(self) -> dict[str, dict[str, int]]:
        """For each resource type, in the order of sending, how many there are of each action."""
        found: dict[str, dict[str, int]] = {}
        query = "SELECT kind, action, count(*) FROM step GROUP BY kind, action ORDER BY min(at)"
        for kind, action, count in self._base.execute(query):
            found.setdefault(kind, dict.fromkeys(ACTIONS, 0))[action] = count
        return found


def _require_replaceable(path: Path) -> None:
    """Raises UsageError (FS537) where something is at `path` that is no plan, of whatever version."""
    if not os.path.lexists(path):
        return
    try:
        with closing(opened(path, FORM, whole=False)) as base:
            found = base.execute("SELECT value FROM head WHERE name = 'format'").fetchone()
    except UsageError:
        found = None
    if found is None or not str(found[0]).startswith(_PLAN):
        raise UsageError("FS537", path.name, "a new file, or an earlier plan to replace")


_STEPS = "SELECT key, digest, action, version, changes FROM step"


def _step_of(row: Any) -> Step:
    key, digest, action, version, changes = row
    try:
        paths = decode(changes.encode(), tuple[str, ...])
    except JsonError:
        raise UsageError(FORM.code, "", FORM.expected) from None
    if action not in ACTIONS:
        raise UsageError(FORM.code, "", FORM.expected)
    return Step(key, digest, action, version, paths)


@dataclass(frozen=True, slots=True)
class OursOnly:
    """Distinguishes by the journal what we wrote from what other clients wrote; without a journal we wrote nothing."""

    journal: Journal | None

    def has(self, held: Fetched) -> bool:
        """Whether we wrote what the server holds: that version, or that content, whatever number its version has."""
        known = self.journal.known(held.key) if self.journal else None
        if self.journal is None or known is None:
            return False
        kept, theirs = self.journal.contents(held.key, known), content(held.line)
        return known.version == held.version or any(self.journal.seal.same(each, theirs) for each in kept)


def compare(
    client: Client,
    items: Iterable[Item],
    reader: Reader,
    ours: OursOnly | None,
    *,
    batch: bool = True,
    connections: int = 1,
) -> Iterator[Step]:
    """Compares resources with what the server holds, one step a resource, in the order of `items`.

    What the server holds with another content than ours, and did not get from us (see `OursOnly`), is a conflict:
    another client wrote it. Where nobody says what is ours, it is an update.

    Raises:
        ServerError: FS510, FS511, FS512 as `fetch`; InputError: FS528 as `Reader.line`.
    """
    waiting: deque[Item] = deque()

    def keys() -> Iterator[str]:
        for item in items:
            waiting.append(item)
            yield item.key

    for held in fetch(client, keys(), batch=batch, connections=connections):
        item = waiting.popleft()
        yield _step(item, reader.line(item), held, ours)


def _step(item: Item, line: bytes, held: Fetched, written: OursOnly | None) -> Step:
    if not held.line:
        return Step(item.key, item.digest, "create")
    ours, theirs = canonical(line), canonical(held.line)
    if ours == theirs:
        return Step(item.key, item.digest, "unchanged", held.version)
    action: Action = "update" if written is None or written.has(held) else "conflict"
    return Step(item.key, item.digest, action, held.version, differences(theirs, ours))


def differences(before: bytes, after: bytes) -> tuple[str, ...]:
    """The elements in which two resources differ, as paths with indices; at most 50, then ``...``."""
    found = list(_differ("", _decode(before), _decode(after)))
    return tuple(found[:_MOST_PATHS] + ["..."] * (len(found) > _MOST_PATHS))


def _differ(path: str, before: Any, after: Any) -> Iterator[str]:
    if isinstance(before, dict) and isinstance(after, dict):
        names = [(member(name, at), name) for at, name in enumerate(sorted(before.keys() | after.keys()), 1)]
        yield from _members([(f"{path}.{label}" if path else label, name) for label, name in names], before, after)
    elif isinstance(before, list) and isinstance(after, list):
        left, right = dict(enumerate(before)), dict(enumerate(after))
        yield from _members([(f"{path}[{at}]", at) for at in range(max(len(left), len(right)))], left, right)
    elif before != after:
        yield f"~{path}"


def _members(parts: list[tuple[str, Any]], before: dict[Any, Any], after: dict[Any, Any]) -> Iterator[str]:
    for path, key in parts:
        if key not in before:
            yield f"+{path}"
        elif key not in after:
            yield f"-{path}"
        else:
            yield from _differ(path, before[key], after[key])
