"""How a resource is found on a server that makes the ids itself: by an identifier, and in which form it is sent there.

Source: FHIR, "http" (conditional update), "search" (token; the escaping of ``|``, ``,``, ``$``), "Identifier".

Its own first identifier with system and value, else one that is added: system `ADDED`, value ``Type/id``. It is sent
without its id, and its references lead to the ids that the server has made. Bytes of values are never written anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec

from fhirspace.delivery.journal import Journal
from fhirspace.delivery.push.bundles import Entry, Sought
from fhirspace.fhir.canonical import content
from fhirspace.fhir.references import redirected, references
from fhirspace.fhirserver.search import escaped
from fhirspace.json import decode, decoder
from fhirspace.standards.fhir import Definitions

ADDED: Final = "https://fhirspace.org/id"
"""The system of the identifier that a resource gets which has none of its own; its value is ``Type/id``."""

Parts = dict[str, msgspec.Raw]
_parts = decoder(Parts)


class UnfindableError(Exception):
    """The resource cannot go to a server that makes the ids: the code, and what was expected."""

    def __init__(self, code: str, expected: str) -> None:
        super().__init__(code)
        self.code, self.expected = code, expected


@dataclass(frozen=True, slots=True)
class Addressing:
    """Addresses resources to a server that makes the ids.

    Args:
        journal: knows the server's ids. definitions: the elements of the server's release.
        without: types that it does not find by identifier.
        own: whether identifiers of their own may be used. They may name a patient, so never where they would be in the
            URL of a request.
    """

    journal: Journal
    definitions: Definitions
    without: Collection[str]
    own: bool

    def addressed(self, unit: list[Entry]) -> list[Entry]:
        """The entries as they are sent, with their `sought`; the journal keeps each search for one key.

        Raises:
            UnfindableError: FS580 no identifier to be found by, FS581 another resource has the same one, FS582 they
                refer to each other in a circle.
        """
        open_keys = {entry.item.key for entry in unit if not self._place(entry.item.key)}
        if any(references(entry.line) & open_keys for entry in unit):
            raise UnfindableError("FS582", "references without a circle")
        return [self._one(entry) for entry in unit]

    def _one(self, entry: Entry) -> Entry:
        key = entry.item.key
        kind = key.partition("/")[0]
        parts = _parts(redirected(entry.line, self._place))
        parts.pop("id", None)
        element = self.definitions.children(kind).get("identifier") if kind in self.definitions.resources else None
        if element is None or kind in self.without:
            raise UnfindableError("FS580", "a type that the server finds by `identifier`")
        token = escaped(*identified(parts, key, several=element.is_list, own=self.own))
        if not self.journal.claim(key, hashlib.sha256(f"{kind}?{token}".encode()).digest()):
            raise UnfindableError("FS581", "an identifier that no other resource of its type has")
        doubt = self.journal.resumed and self.journal.intended(key) is not None
        body = msgspec.json.encode(parts)
        return replace(entry, content=content(body), sought=Sought(token, body, self._place(key) or "", doubt))

    def _place(self, key: str) -> str | None:
        """The server's key. What was delivered before the server began to make ids has its own."""
        return self.journal.place(key) or (key if self.journal.known(key) else None)


def identified(parts: Parts, key: str, *, several: bool, own: bool) -> tuple[str, str]:
    """System and value that a resource is found by; where it has none to be used, one is added to `parts`.

    Args:
        parts: the resource by elements. key: ``Type/id``. several: whether `identifier` is a list in its type.
        own: whether its own identifiers may be used.

    Raises:
        UnfindableError: FS580, there is room for one identifier only, and it is taken.
    """
    raw = parts.get("identifier")
    held: Any = decode(raw) if raw else []
    items = held if isinstance(held, list) else [held]
    pairs = [pair for item in items if (pair := _pair(item))]
    ours = (ADDED, key)
    if (own and pairs) or ours in pairs:
        return pairs[0] if own else ours
    added = {"system": ADDED, "value": key}
    if several:
        kept = decode(raw, list[msgspec.Raw]) if raw and isinstance(held, list) else []
        parts["identifier"] = msgspec.Raw(msgspec.json.encode([*kept, added]))
    elif items:
        raise UnfindableError("FS580", "an identifier with system and value that can be part of a URL")
    else:
        parts["identifier"] = msgspec.Raw(msgspec.json.encode(added))
    return ours


def _pair(item: Any) -> tuple[str, str] | None:
    system, value = (item.get("system"), item.get("value")) if isinstance(item, dict) else ("", "")
    if isinstance(system, str) and isinstance(value, str) and system and value:
        return system, value
    return None


def named(body: bytes, place: str) -> bytes:
    """A resource without id, with the id of `place` (``Type/id``)."""
    return msgspec.json.encode({**_parts(body), "id": place.partition("/")[2]})


def unnamed(line: bytes) -> bytes:
    """A resource without its id."""
    parts = _parts(line)
    parts.pop("id", None)
    return msgspec.json.encode(parts)


def content_of(journal: Journal, key: str, line: bytes) -> bytes:
    """The digest of what a server holds, to be compared with what the journal knows: an id of its own left out."""
    return content(unnamed(line) if journal.place(key) else line)
