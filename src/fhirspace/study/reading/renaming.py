"""Resources whose ids two keys have made, compared: the ids of one side are renamed to those of the other.

A round trip of FHIR writes its input again. The key that made the input's ids may not be at hand; the same resource is
recognised by `identifier`. So the ids of the input become those that were written, in `id` and in references.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from fhirspace.fhir.references import renamed
from fhirspace.fhir.wire import head_of
from fhirspace.json import JsonError, canonical, decode

_MADE = re.compile(r"[a-f][0-9a-f]{31}(?:-[A-Za-z0-9.-]{1,31})?")
"""An id that a key has made: 32 digits of a hash, and what distinguishes the resources of one subject."""
_HASH = 32


def named(lines: Iterable[bytes]) -> dict[tuple[str, bytes], str]:
    """The ids of resources by type and identifiers; what has no identifier, or is no resource, is left out."""
    found = {}
    for line in lines:
        try:
            head = head_of(line)
            spelt = canonical(decode(head.identifier))
        except JsonError:
            continue
        if spelt != b"null":
            found[head.resourceType, spelt] = head.id
    return found


class Renaming:
    """Renames ids in resources: in ``id`` and in references, read as JSON.

    Args:
        before: ids by type and identifiers, as they are in the resources; after: as they shall be (see `named`).
    """

    def __init__(self, before: dict[tuple[str, bytes], str], after: dict[tuple[str, bytes], str]) -> None:
        self._whole: dict[str, str] = {}
        self._hashes: dict[str, str] = {}
        for place, old in before.items():
            new = after.get(place, "")
            if _MADE.fullmatch(old) and _MADE.fullmatch(new):
                self._whole.setdefault(old, new)
                self._hashes.setdefault(old[:_HASH], new[:_HASH])

    def __call__(self, line: bytes) -> bytes:
        """The resource with the other ids; an id without a counterpart is not changed."""
        return renamed(line, self._other)

    def _other(self, text: str) -> str | None:
        """The text of an id or a reference with the other id; None to leave it."""
        path, slash, old = text.rpartition("/")
        if not _MADE.fullmatch(old):
            return None
        start = old[:_HASH]
        return path + slash + (self._whole.get(old) or self._hashes.get(start, start) + old[_HASH:])
