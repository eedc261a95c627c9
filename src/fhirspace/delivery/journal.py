"""What a server is known to hold: one SQLite file, written after each answer, so that a killed run resumes.

It holds server URLs, keys (``Type/id``), SHA-256 digests, version numbers and counts; no content of any resource.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from fhirspace.delivery.cache import locked
from fhirspace.errors import UsageError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS delivered (
  server TEXT NOT NULL, key TEXT NOT NULL, digest BLOB NOT NULL, version TEXT NOT NULL, run TEXT NOT NULL,
  PRIMARY KEY (server, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS runs (
  run TEXT PRIMARY KEY, server TEXT NOT NULL, started TEXT NOT NULL, finished TEXT, report TEXT) WITHOUT ROWID;
"""


class Journal:
    """The journal file, for one server and one run at a time. Use it in a `with`.

    Raises:
        UsageError: FS525, another push holds it, or the file is none.
    """

    def __init__(self, path: Path, server: str, run: str) -> None:
        self.path, self.server, self.run = path, server, run
        self._held = ExitStack()
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._held.enter_context(locked(path.with_name(path.name + ".lock"), wait=False))
        except OSError as error:
            raise UsageError("FS525", str(path), "a journal that no other push uses") from error
        try:
            self._base = sqlite3.connect(path, isolation_level=None)
            self._held.callback(self._base.close)
            self._base.execute("PRAGMA journal_mode=WAL")
            self._base.execute("PRAGMA synchronous=FULL")
            self._base.executescript(_SCHEMA)
        except sqlite3.DatabaseError as error:
            self._held.close()
            raise UsageError("FS525", str(path), "a journal of fhirspace") from error

    def __enter__(self) -> Self:
        self._base.execute("INSERT INTO runs VALUES (?, ?, ?, NULL, NULL)", (self.run, self.server, _now()))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._held.close()

    def known(self, key: str) -> tuple[bytes, str] | None:
        """Digest and version of a resource as it was last delivered to this server; None if it never was."""
        query = "SELECT digest, version FROM delivered WHERE server = ? AND key = ?"
        found: tuple[bytes, str] | None = self._base.execute(query, (self.server, key)).fetchone()
        return found

    def record(self, rows: Iterable[tuple[str, bytes, str]]) -> None:
        """Remember (key, digest, version) of delivered resources, all or none, on the disk when this returns."""
        self._base.execute("BEGIN IMMEDIATE")
        with self._base:
            statement = "INSERT OR REPLACE INTO delivered VALUES (?, ?, ?, ?, ?)"
            self._base.executemany(statement, ((self.server, *row, self.run) for row in rows))

    def samples(self) -> list[str]:
        """The first and the last key of each resource type delivered to this server."""
        query = """SELECT min(key), max(key) FROM delivered WHERE server = ?
                   GROUP BY substr(key, 1, instr(key, '/')) ORDER BY 1"""
        return sorted({key for pair in self._base.execute(query, (self.server,)) for key in pair})

    def forget(self) -> None:
        """Forget everything about this server (it was emptied or replaced)."""
        self._base.execute("DELETE FROM delivered WHERE server = ?", (self.server,))

    def finish(self, report: dict[str, Any]) -> None:
        """Close the run with its counts."""
        said = json.dumps(report, sort_keys=True)
        self._base.execute("UPDATE runs SET finished = ?, report = ? WHERE run = ?", (_now(), said, self.run))


def runs(path: Path) -> list[dict[str, Any]]:
    """The runs of a journal, oldest first: run, server, started, finished (None: killed), and the counts.

    Raises:
        UsageError: FS525, there is no journal at `path`.
    """
    if not path.is_file():
        raise UsageError("FS525", str(path), "a journal of fhirspace")
    base = sqlite3.connect(path)
    try:
        rows = base.execute("SELECT run, server, started, finished, report FROM runs ORDER BY started, run").fetchall()
    except sqlite3.DatabaseError as error:
        raise UsageError("FS525", str(path), "a journal of fhirspace") from error
    finally:
        base.close()
    heads = ("run", "server", "started", "finished")
    return [{**dict(zip(heads, row[:4], strict=True)), **json.loads(row[4] or "{}")} for row in rows]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
