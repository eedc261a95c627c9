"""Digests of contents and searches in a journal: sealed with the id key, so that nobody can test guesses.

A resource of a trial is short and follows a form, and a search names one identifier. A plain digest of either is undone
by trying all that may be in it. So the journal keeps a keyed hash of each digest, and knows its key by the fingerprint.
It is for one key: under another one the same subjects would be delivered once more, with other ids.
"""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

from fhirspace.errors import UsageError
from fhirspace.idkey import DEMO_KEY, IdKey, chosen

SCHEMA = "CREATE TABLE IF NOT EXISTS id_key (fingerprint TEXT NOT NULL);"
_MADE = re.compile(r"[A-Z][A-Za-z]+/[a-f][0-9a-f]{31}(?:-.*)?")
_PLAIN = 32
"""Bytes of a digest of versions before this one; sealed ones have 24."""
_COLUMNS = (("delivered", "digest"), ("delivered", "content"), ("writes", "digest"), ("writes", "content"))
_SEALED = (*_COLUMNS, ("places", "search"))


class Seal:
    """Seals and compares digests for one journal.

    Args:
        base: the journal's database; path: its file, for messages.
        given: the key, or its file; None: the site's, but the published one for a journal that was made with that.
    """

    def __init__(self, base: sqlite3.Connection, path: Path, given: IdKey | Path | str | None) -> None:
        self._base, self._path, self._given = base, path, given
        self._key: IdKey | None = None
        self._bound = False

    @property
    def key(self) -> IdKey:
        """The key. Raises UsageError: FS590 it is not the journal's, FS630 to FS633 as `idkey.chosen`."""
        if self._key is None:
            stored = self._stored()
            known = self._given is None and stored == DEMO_KEY.fingerprint
            key = DEMO_KEY if known else chosen(self._given)
            if stored not in ("", key.fingerprint):
                used = f"the key in use is {key.fingerprint}"
                raise UsageError("FS590", str(self._path), f"the key {stored}", used)
            self._key = key
        return self._key

    def bind(self) -> None:
        """Makes the journal one of this key, and seals what versions before this one left. Raises: as `key`."""
        if self._bound:
            return
        key = self.key
        if self._row() != key.fingerprint:
            self._base.execute("PRAGMA secure_delete = ON")  # plain digests shall not stay in what is freed
            self._base.create_function("seal", 1, key.seal, deterministic=True)
            self._base.execute("BEGIN IMMEDIATE")
            with self._base:
                for table, column in _SEALED:
                    self._base.execute(
                        f"UPDATE {table} SET {column} = seal({column}) WHERE length({column}) = ?",  # noqa: S608  # nosec B608
                        (_PLAIN,),
                    )
                self._base.execute("DELETE FROM id_key")
                self._base.execute("INSERT INTO id_key VALUES (?)", (key.fingerprint,))
            self._base.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._bound = True

    def __call__(self, digest: bytes) -> bytes:
        """A digest as the journal keeps it; none stays none. Raises: as `key`."""
        if not digest:
            return digest
        self.bind()
        return self.key.seal(digest)

    def same(self, kept: bytes | None, digest: bytes) -> bool:
        """Whether what the journal keeps is this digest. Raises: as `key`."""
        if not kept:
            return False
        return kept == (digest if len(kept) == _PLAIN else self.key.seal(digest))

    def _stored(self) -> str:
        """The fingerprint that the journal has to be used with; "" where any will do: it has put nothing anywhere."""
        sent = "SELECT 1 FROM delivered UNION ALL SELECT 1 FROM writes WHERE state = 'sent' LIMIT 1"
        if self._base.execute(sent).fetchone() is None:
            return ""
        return self._row() or (DEMO_KEY.fingerprint if self._older() else "")

    def _row(self) -> str:
        found = self._base.execute("SELECT fingerprint FROM id_key").fetchone()
        return str(found[0]) if found else ""

    def _older(self) -> bool:
        """Whether a version before keys of sites delivered ids: all of them were made with the published key."""
        keys = self._base.execute("SELECT key FROM delivered UNION ALL SELECT key FROM writes WHERE state = 'sent'")
        return any(_MADE.fullmatch(key) for (key,) in keys)
