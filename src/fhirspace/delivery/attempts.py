"""The part of a journal that says what the server may hold of ours where that is not known for sure.

An answer was lost, an undo was killed, or the server is no longer what it was.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from fhirspace.delivery.places import Places

UNDO = "-undo"
"""How the names of runs end that undo another one."""


@dataclass(frozen=True, slots=True)
class Known:
    """A resource as it was last delivered: digest of its line, digest of its canonical form, version, and the run.

    No digest of its line: whether the server still holds it is in doubt.
    """

    digest: bytes
    content: bytes | None
    version: str
    run: str


class Attempts(Places):
    """What was sent and perhaps not answered; `run` is the run under way."""

    run: str

    def tried(self, key: str) -> list[bytes]:
        """The digests of the contents that this run sent, without an answer or before its last form."""
        query = """SELECT content FROM writes WHERE run = ?1 AND key = ?2 AND state = 'sent'
                   UNION ALL SELECT content FROM earlier WHERE run = ?1 AND key = ?2"""
        return [found for (found,) in self._base.execute(query, (self.run, key)) if found]

    @cached_property
    def undoing(self) -> frozenset[str]:
        """Keys that an undo was about to write or delete when it was killed, and that no later run has delivered.

        Nobody knows whether the server holds them as they are in the journal, or as they were before.
        """
        query = """SELECT DISTINCT writes.key FROM writes INDEXED BY undoing JOIN runs USING (run)
                   LEFT JOIN delivered ON delivered.server = runs.server AND delivered.key = writes.key
                   LEFT JOIN runs AS last ON last.run = delivered.run
                   WHERE state = 'undoing' AND runs.server = ?1 AND coalesce(last.turn, 0) < (
                     SELECT max(turn) FROM runs WHERE server = ?1 AND run LIKE ?2 AND finished IS NULL)"""
        return frozenset(self._key(key) for (key,) in self._base.execute(query, (self.server, f"%{UNDO}")))

    def contents(self, key: str, known: Known | None) -> list[bytes | None]:
        """The digests of what the server may hold of ours: what was delivered last; in doubt all that runs wrote."""
        last = [known.content] if known else []
        if not self.in_doubt(key, known):
            return last
        query = """SELECT content FROM writes JOIN runs USING (run)
                   WHERE server = ? AND key = ? AND state <> 'undone'"""
        return [*last, *(found for (found,) in self._base.execute(query, (self.server, key)))]

    def sure(self, key: str) -> Known | None:
        """A resource as the server holds it by all that is known; None if it never had it, or if that is in doubt."""
        known = self.known(key)
        return known if known and not self.in_doubt(key, known) else None

    def in_doubt(self, key: str, known: Known | None) -> bool:
        """Whether the server may hold another form of a resource than the last one that is `known` of it."""
        return key in self.undoing or (known is not None and not known.digest)

    def known(self, key: str) -> Known | None:
        """A resource as it was last delivered to this server; None if it never was."""
        query = "SELECT digest, content, version, run FROM delivered WHERE server = ? AND key = ?"
        found = self._base.execute(query, (self.server, key)).fetchone()
        return Known(*found) if found else None

    def samples(self) -> dict[str, str]:
        """The first and the last key of each resource type delivered to this server, and two of those that the latest
        runs delivered, with their versions.
        """
        query = """SELECT min(key), max(key) FROM delivered WHERE server = ?1 GROUP BY substr(key, 1, instr(key, '/'))
                   UNION SELECT min(key), max(key) FROM delivered WHERE server = ?1 AND run = (
                     SELECT run FROM runs WHERE server = ?1 AND run IN (SELECT run FROM delivered WHERE server = ?1)
                     ORDER BY coalesce(turn, 0) DESC, started DESC, run DESC LIMIT 1) HAVING min(key) IS NOT NULL"""
        keys = {self._key(key) for pair in self._base.execute(query, (self.server,)) for key in pair}
        return {key: known.version for key in sorted(keys) if (known := self.known(key))}

    def doubt(self) -> None:
        """Take nothing about this server for sure any more: it was emptied, replaced, or restored to an older state.

        What was delivered is kept only as what may be there. Keys that the server made may be those of others now.
        """
        if self.placed():
            self._base.execute("DELETE FROM delivered WHERE server = ?", (self.server,))
            self._base.execute("DELETE FROM places WHERE server = ?", (self.server,))
        self._base.execute("UPDATE delivered SET digest = x'', version = '' WHERE server = ?", (self.server,))
