"""The part of a journal that says what the server may hold of ours where an answer was lost, or an undo was killed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from fhirspace.delivery.places import Places

UNDO = "-undo"
"""How the names of runs end that undo another one."""


@dataclass(frozen=True, slots=True)
class Known:
    """A resource as it was last delivered: digest of its line, digest of its canonical form, version, and the run."""

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
        """The digests of what the server may hold of ours: what was delivered last; all of them while it is undone."""
        last = [known.content] if known else []
        if key not in self.undoing:
            return last
        query = """SELECT content FROM writes JOIN runs USING (run)
                   WHERE server = ? AND key = ? AND state <> 'undone'"""
        return [*last, *(found for (found,) in self._base.execute(query, (self.server, key)))]
