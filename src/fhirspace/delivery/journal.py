"""The journal: what a server is known to hold and what each run wrote: one SQLite file, so that a killed run resumes.

Its keys are recorded before a bundle is sent (`intend`), and the results after the answer (`record`). It holds server
URLs, keys (``Type/id``; the server's too, where it makes them), SHA-256 digests, version numbers, times and counts; no
content of any resource. The digests are sealed with the id key (see `seal`).
"""

from __future__ import annotations

import errno
import json
import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from fhirspace.delivery.attempts import UNDO, Attempts, Known
from fhirspace.delivery.database import Base, Form, opened, stamp
from fhirspace.delivery.seal import SCHEMA, Seal
from fhirspace.delivery.used_journals import remember
from fhirspace.errors import UsageError
from fhirspace.fhirserver.http.origin import spelled
from fhirspace.folders import locked, open_own
from fhirspace.foreign import as_strict_json
from fhirspace.idkey import IdKey
from fhirspace.json import decode

JOURNAL = "journal.db"
RETRY = "-retry"
"""How the names of runs end that send dead letters once more."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS delivered (
  server TEXT NOT NULL, key TEXT NOT NULL, digest BLOB NOT NULL, version TEXT NOT NULL, run TEXT NOT NULL,
  content BLOB, PRIMARY KEY (server, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS runs (
  run TEXT PRIMARY KEY, server TEXT NOT NULL, started TEXT NOT NULL, finished TEXT, report TEXT,
  turn INT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS writes (
  run TEXT NOT NULL, key TEXT NOT NULL, digest BLOB NOT NULL, sent TEXT NOT NULL,
  version TEXT, content BLOB, action TEXT, bundle INT, state TEXT NOT NULL DEFAULT 'sent',
  PRIMARY KEY (run, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS places (
  server TEXT NOT NULL, key TEXT NOT NULL, search BLOB, place TEXT, PRIMARY KEY (server, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS earlier (
  run TEXT NOT NULL, key TEXT NOT NULL, digest BLOB NOT NULL, sent TEXT NOT NULL,
  version TEXT, content BLOB, action TEXT, bundle INT, state TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS before ON earlier (run, key);
CREATE UNIQUE INDEX IF NOT EXISTS searched ON places (server, search);
CREATE INDEX IF NOT EXISTS placed ON places (server, place);
CREATE INDEX IF NOT EXISTS unproven ON writes (run, bundle) WHERE state = 'done';
CREATE INDEX IF NOT EXISTS undoing ON writes (run, key) WHERE state = 'undoing';
"""

_TEXT, _BLOB, _TEXT_OR_NONE, _BLOB_OR_NONE = "'text'", "'blob'", "'text', 'null'", "'blob', 'null'"
_WRITES = {
    **dict.fromkeys(("run", "key", "sent", "state"), _TEXT),
    **dict.fromkeys(("version", "action"), _TEXT_OR_NONE),
    "digest": _BLOB,
    "content": _BLOB_OR_NONE,
    "bundle": "'integer', 'null'",
}
_REFUSED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT})
FORM = Form(
    code="FS525",
    missing="FS594",
    expected="a journal of fhirspace",
    application=0x6668734A,  # "fhsJ"
    tables={
        "delivered": {
            **dict.fromkeys(("server", "key", "version", "run"), _TEXT),
            "digest": _BLOB,
            "content": _BLOB_OR_NONE,
        },
        "runs": {
            **dict.fromkeys(("run", "server", "started"), _TEXT),
            **dict.fromkeys(("finished", "report"), _TEXT_OR_NONE),
            "turn": "'integer', 'null'",
        },
        "writes": _WRITES,
        "earlier": _WRITES,
        "places": {"server": _TEXT, "key": _TEXT, "search": _BLOB_OR_NONE, "place": _TEXT_OR_NONE},
        "id_key": {"fingerprint": _TEXT},
    },
    indexes=frozenset({"searched", "placed", "unproven", "before", "undoing"}),
)
"""The requirements for opening a journal."""
# What is put into the text of a query below is one of these constants, never a value (which S608 and B608 cannot see).
IN_TURN = "coalesce(turn, 0) DESC, started DESC, run DESC"
"""The order of runs, the last one first. Clocks are set back now and then, so the times of their begins do not tell."""
_OF_WRITES = """key, digest, coalesce(content, x''), coalesce(version, ''), coalesce(action, ''),
                coalesce(bundle, 0), sent, state"""
_COLUMNS = "run, key, digest, sent, version, content, action, bundle, state"
_KEPT = f"INSERT INTO earlier SELECT {_COLUMNS} FROM writes WHERE run = ?1 AND key = ?2 AND "  # noqa: S608  # nosec B608
_BACK = (
    "DELETE FROM writes WHERE run = ?1 AND key = ?2 AND state = 'sent'",
    f"""INSERT OR IGNORE INTO writes ({_COLUMNS}) SELECT {_COLUMNS} FROM earlier
        WHERE run = ?1 AND key = ?2 ORDER BY rowid DESC LIMIT 1""",  # noqa: S608  # nosec B608
)


@dataclass(frozen=True, slots=True)
class Written:
    """One resource that a run created or updated, with the version that it made and the digest of its canonical form.

    `bundle` numbers the answer that it came with; `sent` is the server's time before it was first sent. `state` is what
    became of it since: ``undoing`` where an undo was about to take it back.
    """

    key: str
    digest: bytes
    content: bytes
    version: str
    action: str
    bundle: int = 0
    sent: str = ""
    state: str = ""


class Journal(Attempts):
    """The journal file, locked by this process, for one server. Use it in a `with`; `begin` starts a run.

    `seal` compares its digests, which it takes plain and returns sealed.

    Args:
        path: the file. server: the FHIR base URL. id_key: the key, or its file; None: see `Seal`.

    Raises:
        UsageError: FS593, another push uses it (the message says which); FS525, the file is none; FS590, it was
            made with another key (when a digest is first kept or compared).
    """

    def __init__(self, path: Path, server: str, id_key: IdKey | Path | str | None = None) -> None:
        self.path, self.server, self.run = path, server, ""
        self.resumed = False
        self._held = ExitStack()
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.with_name(path.name + ".lock")
        try:
            self._held.enter_context(locked(lock, wait=False))
            # Keys may name patients; SQLite's other files get the mode of this one.
            os.close(open_own(path, os.O_RDWR | os.O_CREAT))
        except BlockingIOError as error:
            raise UsageError("FS593", str(path), detail=_holder(lock)) from error
        except OSError as error:
            self._held.close()
            if error.errno in _REFUSED:
                raise UsageError("FS602", str(path), detail=error.strerror or "") from error
            raise UsageError("FS525", str(path), "an ordinary file, as its lock has to be, and no link") from error
        try:
            self._base = self._opened()
            self.seal = Seal(self._base, path, id_key)
        except BaseException:
            self._held.close()
            raise
        with suppress(OSError):  # the owner's name is for information; some systems do not let a locked file be written
            owner = {"process": os.getpid(), "host": socket.gethostname(), "since": _now()}
            if not lock.stat().st_size or _holder(lock):  # else it is somebody else's, such as a package manager's
                lock.write_text(json.dumps(owner), "utf-8")

    def _opened(self) -> Base:
        base = opened(self.path, FORM)
        self._held.callback(base.close)
        base.execute("PRAGMA journal_mode=WAL")
        base.execute("PRAGMA synchronous=FULL")
        base.executescript(_SCHEMA + SCHEMA)
        # A journal of version 0.1 has no digests of canonical forms, one of format 1 no order of runs.
        for table, column, kind in (("delivered", "content", "BLOB"), ("runs", "turn", "INT")):
            if column not in {row[1] for row in base.execute(f"PRAGMA table_info({table})")}:
                base.execute(f"ALTER TABLE {table} ADD COLUMN {column} {kind}")
        self._respell(base)
        stamp(base)
        return base

    def _respell(self, base: Base) -> None:
        """Take over what was noted under another spelling of the server's address, before there was one only."""
        scheme, _, host = self.server.partition("://")
        query = "SELECT DISTINCT server FROM runs WHERE server <> ? AND lower(server) LIKE ?"
        like = f"{scheme}://{host.partition('/')[0].partition(':')[0]}%"
        for (name,) in base.execute(query, (self.server, like)).fetchall():
            if spelled(name) == self.server:
                base.execute("BEGIN IMMEDIATE")
                with base:
                    for table in ("runs", "delivered", "places"):
                        move = f"UPDATE OR IGNORE {table} SET server = ? WHERE server = ?"  # noqa: S608  # nosec B608
                        base.execute(move, (self.server, name))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._held.close()

    def begin(self, run: str, *, resume: bool = True) -> None:
        """Start a run; with `resume`, a push that was not finished (killed, a failing server) is resumed by name."""
        query = f"""SELECT run, finished FROM runs WHERE server = ? AND run NOT LIKE ? AND run NOT LIKE ?
                    ORDER BY {IN_TURN} LIMIT 1"""  # noqa: S608  # nosec B608
        last = self._base.execute(query, (self.server, f"%{UNDO}", f"%{RETRY}")).fetchone() if resume else None
        if last is not None and last[1] is None:
            self.run, self.resumed = last[0], True
        else:
            self.run = run
            if run.endswith(RETRY):  # the dead letters of an interrupted one are sent again: it is closed
                statement = "UPDATE runs SET finished = ? WHERE server = ? AND run LIKE ? AND finished IS NULL"
                self._base.execute(statement, (_now(), self.server, f"%{RETRY}"))
            statement = """INSERT INTO runs (run, server, started, turn)
                           SELECT ?, ?, ?, 1 + coalesce(max(turn), 0) FROM runs"""
            self._base.execute(statement, (run, self.server, _now()))
        remember(self.path)

    def later(self, run: str, than: str) -> bool:
        """Whether a run was begun later than another one; by their names, where one of them is not in the journal."""
        query = f"SELECT run FROM runs WHERE run IN (?, ?) ORDER BY {IN_TURN}"  # noqa: S608  # nosec B608
        found = self._base.execute(query, (run, than)).fetchall()
        return bool(found[0] == (run,)) if len(found) == 2 else run > than

    def delivered(self, run: str | None = None) -> Iterator[tuple[str, Known]]:
        """Everything delivered to this server (by one run), by key."""
        query = """SELECT key, digest, content, version, run FROM delivered
                   WHERE server = ? AND (? IS NULL OR run = ?) AND key > ? ORDER BY key LIMIT 1000"""
        after = ""
        # By the thousand: a read that stays open would block the checkpoint of later writes.
        while rows := self._base.execute(query, (self.server, run, run, after)).fetchall():
            yield from ((self._key(key), Known(*rest)) for key, *rest in rows)
            after = rows[-1][0]

    def intend(self, rows: Iterable[tuple[str, bytes, bytes]], when: str) -> None:
        """Remember what is about to be sent, at the server's time `when`; an earlier note of the same stays.

        Args:
            rows: (key, digest, digest of the canonical form).
        """
        statement = """INSERT INTO writes (run, key, digest, content, sent) VALUES (?, ?, ?, ?, ?)
                       ON CONFLICT DO UPDATE SET digest = excluded.digest, content = excluded.content,
                           sent = excluded.sent, version = NULL, action = NULL, state = 'sent'
                       WHERE writes.digest <> excluded.digest OR writes.state = 'undone'"""
        seal = self.seal
        sealed = [(self.run, key, seal(digest), seal(text), when) for key, digest, text in rows]
        if self.resumed:
            self._write(_KEPT + "digest <> ?3", (row[:3] for row in sealed))
        self._write(statement, sealed)

    def intended(self, key: str) -> str | None:
        """The server's time before this run first sent the resource as it is now; None if it did not."""
        found = self._base.execute("SELECT sent FROM writes WHERE run = ? AND key = ?", (self.run, key)).fetchone()
        return found[0] if found else None

    def record(
        self,
        stored: Iterable[tuple[str, bytes, bytes, str]],
        written: Iterable[Written] = (),
        dropped: Iterable[str] = (),
        places: Iterable[tuple[str, str]] = (),
    ) -> None:
        """Remember an answer, all or nothing; it is on the disk when this returns.

        Args:
            stored: (key, digest, digest of the canonical form, version) of everything that the server has now.
            written: those of them that this run created or updated.
            dropped: keys that were sent and not written by this run: their intent is forgotten, and what the run wrote
                of them before counts again.
            places: (key, the server's key) of those whose ids the server made.
        """
        server, run, seal = self.server, self.run, self.seal
        known = [(server, key, seal(digest), seal(text), version, run) for key, digest, text, version in stored]
        done = [(run, w.key, seal(w.digest), w.version, seal(w.content), w.action, w.bundle) for w in written]
        self._base.execute("BEGIN IMMEDIATE")
        with self._base:
            self._base.executemany(
                "INSERT OR REPLACE INTO delivered (server, key, digest, content, version, run) VALUES (?,?,?,?,?,?)",
                known,
            )
            self._base.executemany(_KEPT + "version <> ?3", ((run, w.key, w.version) for w in written))
            self._base.executemany(
                """INSERT OR REPLACE INTO writes (run, key, digest, sent, version, content, action, bundle, state)
                   SELECT ?1, ?2, ?3, coalesce((SELECT sent FROM writes WHERE run = ?1 AND key = ?2), ''),
                          ?4, ?5, ?6, ?7, 'done'""",
                done,
            )
            forgotten = [(run, key) for key in dropped]
            for statement in _BACK:
                self._base.executemany(statement, forgotten)
            self._base.executemany(
                "UPDATE places SET place = ? WHERE server = ? AND key = ?",
                ((place, self.server, key) for key, place in places),
            )

    def finished(self, run: str) -> bool:
        """Whether a run came to its end, or was closed."""
        found = self._base.execute("SELECT finished FROM runs WHERE run = ?", (run,)).fetchone()
        return found is not None and found[0] is not None

    def started(self) -> datetime:
        """When this run began (the first time, if it was taken up again)."""
        found = self._base.execute("SELECT started FROM runs WHERE run = ?", (self.run,)).fetchone()
        try:
            return datetime.fromisoformat(found[0])
        except ValueError:
            raise self._base.fault("a time") from None

    def bundles(self) -> int:
        """The highest bundle number that this run has used."""
        found = self._base.execute("SELECT max(bundle) FROM writes WHERE run = ?", (self.run,)).fetchone()[0]
        return int(found or 0)

    def earlier(self, run: str, key: str) -> list[Written]:
        """What a run wrote, or sent without an answer, of a resource before its last form."""
        query = f"SELECT {_OF_WRITES} FROM earlier WHERE run = ? AND key = ?"  # noqa: S608  # nosec B608
        return [Written(*row) for row in self._base.execute(query, (run, key))]

    def write(self, run: str, key: str) -> Written | None:
        """What a run wrote of one resource; None if it did not, or if that was undone."""
        query = f"SELECT {_OF_WRITES} FROM writes WHERE run = ? AND key = ? AND state <> 'undone'"  # noqa: S608  # nosec B608
        found = self._base.execute(query, (run, key)).fetchone()
        return Written(*found) if found else None

    def writes(self, run: str, after: str = "") -> list[Written]:
        """Up to a thousand resources that a run wrote, by key, from behind the key `after`.

        Those without a version were sent, and no answer is known: whether they were written is to be found out.
        """
        query = f"""SELECT {_OF_WRITES} FROM writes WHERE run = ? AND key > ? AND state <> 'undone'
                    ORDER BY key LIMIT 1000"""  # noqa: S608  # nosec B608
        return [Written(self._key(key), *rest) for key, *rest in self._base.execute(query, (run, after))]

    def close(self, run: str) -> None:
        """Close a run that was not finished: it will not be resumed."""
        self._base.execute("UPDATE runs SET finished = ? WHERE run = ? AND finished IS NULL", (_now(), run))

    def unproven(self, bundles: int) -> list[list[Written]]:
        """What this run wrote and no Provenance lists yet, bundle by bundle, the first so many of them."""
        query = """SELECT key, digest, content, version, action, bundle FROM writes INDEXED BY unproven
                   WHERE run = ?1 AND state = 'done' AND bundle < ?2 + (
                     SELECT min(bundle) FROM writes INDEXED BY unproven WHERE run = ?1 AND state = 'done')
                   ORDER BY bundle, key"""
        found: dict[int, list[Written]] = {}
        for key, *rest in self._base.execute(query, (self.run, bundles)):
            each = Written(self._key(key), *rest)
            if each.action not in ("created", "updated"):
                raise self._base.fault("an action")
            found.setdefault(each.bundle, []).append(each)
        return list(found.values())

    def mark(self, run: str, keys: Iterable[str], state: str) -> None:
        """Put writes of a run into another state: ``proven``, ``undoing`` or ``undone``."""
        self._write("UPDATE writes SET state = ? WHERE run = ? AND key = ?", ((state, run, key) for key in keys))

    def drop(self, keys: Iterable[str]) -> None:
        """Forget that resources were delivered to this server."""
        self._write("DELETE FROM delivered WHERE server = ? AND key = ?", ((self.server, key) for key in keys))

    def restore(self, key: str, content: bytes, version: str) -> None:
        """Know a resource again as the last run delivered it that wrote this content (its digest), or forget it."""
        self.drop([key])
        statement = f"""INSERT INTO delivered (server, key, digest, version, run, content)
                        SELECT server, key, digest, ?, run, content FROM writes JOIN runs USING (run)
                        WHERE server = ? AND key = ? AND content = ? AND state IN ('done', 'proven')
                        ORDER BY {IN_TURN} LIMIT 1"""  # noqa: S608  # nosec B608
        self._base.execute(statement, (version, self.server, key, self.seal(content)))

    def finish(self, report: dict[str, Any]) -> None:
        """Close the run with its counts."""
        text = as_strict_json(dict(sorted(report.items()))).decode().rstrip()
        self._base.execute("UPDATE runs SET finished = ?, report = ? WHERE run = ?", (_now(), text, self.run))


def _holder(lock: Path) -> str:
    try:
        owner = decode(lock.read_bytes())
        return f"process {owner['process']} on {owner['host']} has used it since {owner['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
