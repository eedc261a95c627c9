"""The part of a journal that knows the ids which a server made: our key, what finds it there, and the server's key."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from fhirspace.delivery.database import Base
from fhirspace.delivery.seal import Seal

_KEY = re.compile(r"[A-Z][A-Za-z]{0,63}/(?!\.{1,2}$)[A-Za-z0-9\-.]{1,64}")


class Places:
    """Our keys and the server's, in the database of a journal; for the server of `server`."""

    _base: Base
    server: str
    seal: Seal

    def claim(self, key: str, search: bytes) -> bool:
        """Keep a search (its digest) for one key of this server; False where another key has it."""
        search = self.seal(search)
        query = "SELECT key FROM places WHERE server = ? AND search = ?"
        found = self._base.execute(query, (self.server, search)).fetchone()
        if found is None:
            statement = """INSERT INTO places (server, key, search) VALUES (?, ?, ?)
                           ON CONFLICT (server, key) DO UPDATE SET search = excluded.search"""
            self._base.execute(statement, (self.server, key, search))
        return found is None or found[0] == key

    def release(self, key: str) -> None:
        """Give back the search of a key that did not get onto the server."""
        statement = "DELETE FROM places WHERE server = ? AND key = ? AND place IS NULL"
        self._base.execute(statement, (self.server, key))

    def place(self, key: str) -> str | None:
        """The server's key of a resource whose id it made; None where that is not known."""
        query = "SELECT place FROM places WHERE server = ? AND key = ?"
        found = self._base.execute(query, (self.server, key)).fetchone()
        return self._key(found[0]) if found and found[0] is not None else None

    def key_at(self, place: str) -> str:
        """Our key of what has this key on the server: the same one, unless the server made it."""
        query = "SELECT key FROM places WHERE server = ? AND place = ?"
        found = self._base.execute(query, (self.server, place)).fetchone()
        return self._key(found[0]) if found else place

    def placed(self) -> bool:
        """Whether this server made ids for what was delivered to it."""
        query = "SELECT 1 FROM places WHERE server = ? AND place IS NOT NULL LIMIT 1"
        return self._base.execute(query, (self.server,)).fetchone() is not None

    def unplaced(self, run: str) -> set[str]:
        """The keys of what a run sent, to get an id from the server, and of which no answer is known."""
        query = """SELECT key FROM writes JOIN places USING (key)
                   WHERE run = ? AND server = ? AND state = 'sent' AND place IS NULL"""
        return {self._key(key) for (key,) in self._base.execute(query, (run, self.server))}

    def displace(self, keys: Iterable[str]) -> None:
        """Forget the server's keys of resources that are deleted there."""
        self._write("DELETE FROM places WHERE server = ? AND key = ?", ((self.server, key) for key in keys))

    def _write(self, statement: str, rows: Iterable[tuple[Any, ...]]) -> None:
        self._base.execute("BEGIN IMMEDIATE")
        with self._base:
            self._base.executemany(statement, rows)

    def _key(self, key: str) -> str:
        """A key that the journal gives: it becomes a part of addresses, so it must be one."""
        if not _KEY.fullmatch(key):
            raise self._base.fault("a key")
        return key
