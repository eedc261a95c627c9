"""Resources that a server sent and was not asked for: left out, counted, and reported without naming one of them.

Servers ignore search parameters that they do not know (FHIR, "search", handling), and some return more than they
were asked for. Each resource is checked here by its own type, tag and id, whatever was searched.
"""

from __future__ import annotations

from collections.abc import Container

import msgspec

from fhirspace.errors import Place, Problem, ServerError
from fhirspace.fhir.outcome import failures, reason
from fhirspace.fhir.wire import Head, head_of
from fhirspace.fhirserver.address import is_id, is_type
from fhirspace.fhirserver.answers import decoded
from fhirspace.json import JsonError

_OUTCOME = "OperationOutcome"


class Others:
    """Leaves out resources that were not requested, and counts them: each resource counts once, however often it comes.

    Args:
        server: whose resources they are, for messages. system, code: the tag that a resource must have; "" for any.
    """

    def __init__(self, server: str, system: str, code: str) -> None:
        self._server, self._system, self._code = server, system, code
        self._left: dict[tuple[str, str], set[str]] = {}
        self._errors: dict[tuple[str, str], None] = {}

    def asked_for(
        self, resource: bytes | msgspec.Raw, kind: str, kinds: Container[str] | None, *, bare: bool = False
    ) -> bool:
        """Whether a resource is one of those that were asked for; if not, it is counted.

        Args:
            resource: as it came. kind: what was searched ("" for an export), under which it is counted.
            kinds: the types that were asked for; None: any. bare: it may have been cut down to its id.

        Raises:
            ServerError: FS512, it is no resource, or one of the study without a legal type and id.
        """
        head = decoded(resource, head_of)
        if head is None:
            raise ServerError("FS512", self._server, "resources with a type and an id")
        try:
            return self._judged(resource, head, kind, kinds, bare=bare)
        except JsonError:
            raise ServerError("FS512", self._server, "resources with tags as FHIR has them") from None

    def _judged(
        self, resource: bytes | msgspec.Raw, head: Head, kind: str, kinds: Container[str] | None, *, bare: bool
    ) -> bool:
        if head.resourceType == _OUTCOME:
            self._note(kind, bytes(resource))
            return False
        came = head.resourceType if is_type(head.resourceType) else ""
        if kinds is not None and head.resourceType not in kinds:
            self._count(kind, came, head)
        elif self._code and not head.tagged(self._system, self._code) and not (bare and self._untold(head)):
            self._count(kind or came, kind or came, head)
        elif not (came and is_id(head.id)):
            raise ServerError("FS512", self._server, "resources with a legal type and id")
        else:
            return True
        return False

    def ids(self, kind: str) -> set[str]:
        """The ids of the resources of a type that came and have not the tag."""
        return self._left.get((kind, kind), set())

    def count(self, kind: str) -> int:
        """How many resources came that a search for a type should not have brought."""
        return sum(len(left) for (asked, _), left in self._left.items() if asked == kind)

    @property
    def total(self) -> int:
        """How many were left out."""
        return sum(map(len, self._left.values()))

    def problems(self, code: str = "FS585") -> list[Problem]:
        """One for each type that was asked for and type that came; and the errors that came with them (FS587)."""
        place = Place(self._server)
        found = [
            Problem(code, place, _expected(asked, came), came or asked, _came(asked, came, len(left)))
            for (asked, came), left in sorted(self._left.items())
        ]
        return found + [Problem("FS587", place, table=kind, detail=detail) for kind, detail in self._errors]

    def _untold(self, head: Head) -> bool:
        """Whether it was cut down so far that its tag is missing."""
        return not head.tagged_by(self._system)

    def _count(self, asked: str, came: str, head: Head) -> None:
        self._left.setdefault((asked, came), set()).add(head.id)

    def _note(self, kind: str, outcome: bytes) -> None:
        if failures(outcome):
            self._errors[kind, reason(outcome)] = None


def _expected(asked: str, came: str) -> str:
    if asked == came:
        return f"{asked or 'resources'} of the study only"
    return f"{asked or 'the types that were asked for'} only"


def _came(asked: str, came: str, count: int) -> str:
    if asked == came:
        return f"{count:,} of other studies came"
    return f"{count:,} {came or 'of no type of FHIR'} came"
