"""The content of the server: every version of every resource, or (`Sink`) only keys, digests and versions."""

from __future__ import annotations

import sqlite3
from abc import abstractmethod
from collections import Counter, defaultdict
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from fhirspace.testing.facts import NO_FACTS, Facts, facts_of, parsed


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a resource: its number, the bytes as sent (None: deleted by this version), when, and its facts."""

    number: int
    body: bytes | None
    when: datetime
    facts: Facts = NO_FACTS

    @property
    def moment(self) -> str:
        """`when` as a FHIR instant."""
        return self.when.isoformat(timespec="milliseconds")


class Store(MutableMapping[str, bytes]):
    """The live resources: ``Type/id`` -> bytes as sent.

    To set an item is what another client's update would be: a new version. To delete one leaves no trace of it, as if
    the database had been emptied.
    """

    keeps_bodies = True

    @abstractmethod
    def version(self, key: str) -> Version | None:
        """The last version; None when there never was one."""

    @abstractmethod
    def history(self, key: str) -> list[Version]:
        """All versions, the oldest first."""

    @abstractmethod
    def add(self, key: str, version: Version) -> None:
        """Keep a version as the last one."""

    @abstractmethod
    def candidates(self, token: str) -> list[str]:
        """Keys of resources that have the token, or had it once: the caller has to check."""

    @abstractmethod
    def atomic(self) -> Any:
        """A `with` block whose additions are undone when it ends with an exception."""

    @abstractmethod
    def numbers(self) -> Counter[str]:
        """The number of the last version of each key."""

    @abstractmethod
    def close(self) -> None:
        """Release its resources."""

    def live(self, key: str) -> Version | None:
        """The last version, unless the resource is deleted."""
        found = self.version(key)
        return found if found is not None and found.body is not None else None

    def __getitem__(self, key: str) -> bytes:
        found = self.live(key)
        if found is None or found.body is None:
            raise KeyError(key)
        return found.body

    def __setitem__(self, key: str, body: bytes) -> None:
        now = self.version(key)
        self.add(key, Version(now.number + 1 if now else 1, body, datetime.now(UTC), facts_of(parsed(body), "")))

    def __len__(self) -> int:
        return sum(1 for _ in self)


class Memory(Store):
    """All versions, in memory."""

    def __init__(self) -> None:
        self._kept: dict[str, list[Version]] = {}
        self._having: dict[str, dict[str, None]] = defaultdict(dict)
        self._added: list[str] = []

    def version(self, key: str) -> Version | None:
        """See `Store`."""
        found = self._kept.get(key)
        return found[-1] if found else None

    def history(self, key: str) -> list[Version]:
        """See `Store`."""
        return list(self._kept.get(key, ()))

    def add(self, key: str, version: Version) -> None:
        """See `Store`."""
        self._kept.setdefault(key, []).append(version)
        self._added.append(key)
        kind = key.partition("/")[0]
        for token in version.facts.tokens:
            self._having[f"{kind}?{token}"][key] = None
        for target in version.facts.refs:
            self._having[target][key] = None

    def candidates(self, token: str) -> list[str]:
        """See `Store`."""
        return list(self._having.get(token, ()))

    @contextmanager
    def atomic(self) -> Iterator[None]:
        """See `Store`."""
        self._added.clear()
        try:
            yield
        except BaseException:
            for key in reversed(self._added):
                self._kept[key].pop()
                if not self._kept[key]:
                    del self._kept[key]
            raise

    def numbers(self) -> Counter[str]:
        """See `Store`."""
        return Counter({key: found[-1].number for key, found in list(self._kept.items())})

    def close(self) -> None:
        """See `Store`."""

    def __delitem__(self, key: str) -> None:
        del self._kept[key]

    def __iter__(self) -> Iterator[str]:
        return iter([key for key, found in list(self._kept.items()) if found[-1].body is not None])

    def clear(self) -> None:
        """Empty it: nothing was ever there."""
        self._kept.clear()
        self._having.clear()


class Sink(Store):
    """Keys, digests and versions only, in a temporary file of SQLite: memory does not grow with what is sent.

    A read brings the type and the id and no more, and a search only knows ``_id``.
    """

    keeps_bodies = False

    def __init__(self) -> None:
        self._base = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._base.execute("PRAGMA journal_mode=MEMORY")
        self._base.execute("PRAGMA synchronous=OFF")
        self._base.execute("CREATE TABLE kept(key TEXT PRIMARY KEY, number INT, gone INT, digest BLOB) WITHOUT ROWID")

    def version(self, key: str) -> Version | None:
        """See `Store`."""
        row = self._base.execute("SELECT number, gone, digest FROM kept WHERE key = ?", (key,)).fetchone()
        if row is None:
            return None
        kind, _, name = key.partition("/")
        body = None if row[1] else f'{{"resourceType":"{kind}","id":"{name}"}}'.encode()
        return Version(row[0], body, datetime.now(UTC), Facts(row[2]))

    def history(self, key: str) -> list[Version]:
        """The last version only."""
        found = self.version(key)
        return [found] if found else []

    def add(self, key: str, version: Version) -> None:
        """See `Store`."""
        row = (key, version.number, version.body is None, version.facts.digest)
        self._base.execute("INSERT OR REPLACE INTO kept VALUES (?, ?, ?, ?)", row)

    def candidates(self, token: str) -> list[str]:
        """None: bodies are not kept."""
        return []

    @contextmanager
    def atomic(self) -> Iterator[None]:
        """See `Store`."""
        self._base.execute("BEGIN")
        try:
            yield
        except BaseException:
            self._base.execute("ROLLBACK")
            raise
        self._base.execute("COMMIT")

    def numbers(self) -> Counter[str]:
        """See `Store`; it needs the memory that the sink otherwise saves."""
        return Counter(dict(self._base.execute("SELECT key, number FROM kept")))

    def close(self) -> None:
        """See `Store`."""
        self._base.close()

    def __delitem__(self, key: str) -> None:
        if not self._base.execute("DELETE FROM kept WHERE key = ?", (key,)).rowcount:
            raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        return (row[0] for row in self._base.execute("SELECT key FROM kept WHERE NOT gone"))

    def __len__(self) -> int:
        return int(self._base.execute("SELECT count(*) FROM kept WHERE NOT gone").fetchone()[0])

    def clear(self) -> None:
        """Empty it: nothing was ever there."""
        self._base.execute("DELETE FROM kept")
