"""What is wrong with resources by the profiles that they declare, judged once for all that are alike.

Resources are alike if they differ in nothing but what `holes` leaves out, and their profiles ask nothing of that
(`structures.blind`). Others are judged each by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, Final

from fhirspace.fhir.validation.check import Checker
from fhirspace.fhir.validation.elements.findings import Finding
from fhirspace.fhir.validation.holes import around
from fhirspace.fhir.validation.members import bounded_in_number
from fhirspace.json import parse

Key = tuple[Hashable, ...]
_NOTHING: Final[Sequence[Finding]] = ()


class Declared:
    """The profiles of the resources of one type."""

    def __init__(self, kind: str, checker: Checker) -> None:
        """Args: the type; the checks of the release."""
        self._kind = kind
        self._checker = checker
        self._asked = tuple(checker.asked.get(kind, ()))
        self._structures: dict[bytes, tuple[str, ...] | None] = {}
        """By ``meta``: the structures that judge; None where what is around values does not decide."""
        self._found: dict[Key, Sequence[Finding]] = {}

    def findings(self, meta: bytes, line: bytes, alike: Callable[[], Key]) -> Sequence[Finding]:
        """What is wrong with a resource by its profiles.

        Args:
            meta: the text of its ``meta``; empty without one. line: its JSON. alike: gives what it shares with others.
        """
        if not meta and not self._asked:
            return _NOTHING
        rest = around(meta)
        if rest not in self._structures:
            bounded_in_number(self._structures, len(rest))
            self._structures[rest] = self._checker.registry.repeated(self._kind, (*_declared(meta), *self._asked))
        structures = self._structures[rest]
        if structures is None:
            return self._checker.declared(parse(line), self._kind)
        key = alike() if structures else (rest,)
        found = self._found.get(key)
        if found is not None:
            self._checker.registry.count(structures)
            return found
        found = self._checker.declared(parse(line), self._kind)
        bounded_in_number(self._found, sum(len(part) for part in key if isinstance(part, bytes)))
        self._found[key] = found
        return found


def _declared(meta: bytes) -> list[str]:
    """The profiles that a text declares."""
    found: Any = parse(meta) if meta else None
    profiles = found.get("profile") if type(found) is dict else None
    return [url for url in (profiles if type(profiles) is list else ()) if type(url) is str]
