"""Searches (FHIR, "search" interaction): by POST, so that no search value lands in the URL log of a proxy.

The ``next`` links are followed if they stay at the server (see `links`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import urlencode

import msgspec

from fhirspace.errors import UsageError
from fhirspace.fhir import wire
from fhirspace.fhir.tags import TAG_SYSTEM
from fhirspace.fhirserver.address import is_id
from fhirspace.fhirserver.answers import decoded, no_fhir, whole
from fhirspace.fhirserver.http.client import Client, Response
from fhirspace.fhirserver.http.links import Link, Paging
from fhirspace.fhirserver.http.retry import http_date
from fhirspace.fhirserver.unrequested import Others
from fhirspace.json import JsonError, decoder

PAGE = 500
FRESH = {"Cache-Control": "no-cache"}
_FORM = {**FRESH, "Content-Type": "application/x-www-form-urlencoded"}
_UNWILLING = (400, 404, 405, 501)


class NotSearchableError(Exception):
    """The server refuses this search; `answer` is its answer."""

    def __init__(self, answer: Response) -> None:
        super().__init__("not searchable")
        self.answer = answer


class _Identifier(msgspec.Struct):
    system: str = ""
    value: str = ""


_identifiers = decoder(list[_Identifier])
_ESCAPED = re.compile(r"([\\|,$])")


def by_identifier(client: Client, kind: str, token: str) -> list[bytes]:
    """The resources of a type with an identifier, the first few of them.

    Args:
        token: ``system|value``, escaped (FHIR, "search", token).

    Raises:
        ServerError: as `Client.request`; FS512 the server refuses it, or answers with something else.
    """
    answer = client.request("POST", f"{kind}/_search", urlencode({"identifier": token}).encode("ascii"), headers=_FORM)
    found = [bytes(resource) for resource in _read(client, answer).matches if not _is_outcome(resource)]
    # One that is not what was searched for means that nothing can be concluded from what was not found.
    if not all(_identified(resource, kind, token) and whole(resource) for resource in found):
        raise no_fhir(client.server, f"only {kind} with the identifier that was searched for", answer)
    return found


def _is_outcome(resource: msgspec.Raw) -> bool:
    """Whether it is what the server says of the search, whatever the mode of its entry."""
    head = decoded(resource, wire.head_of)
    return head is not None and head.resourceType == "OperationOutcome"


def _identified(resource: bytes, kind: str, token: str) -> bool:
    head = decoded(resource, wire.head_of)
    if head is None or head.resourceType != kind or not is_id(head.id):
        return False
    raw = bytes(head.identifier)
    held = decoded(raw if raw[:1] == b"[" else b"[" + raw + b"]", _identifiers) or []
    # Servers may find a value in another case (FHIR, "search", token).
    return any(escaped(item.system, item.value).casefold() == token.casefold() for item in held)


def escaped(system: str, value: str) -> str:
    """An identifier as a search wants it: ``system|value``, with what has a meaning in there escaped."""
    return "|".join(_ESCAPED.sub(r"\\\1", text) for text in (system, value))


@dataclass(frozen=True, slots=True)
class _Page:
    """A page: what was searched for, without what comes along, how many there are in all, links, where it came from."""

    matches: list[msgspec.Raw]
    total: int | None
    links: list[wire.Link]
    url: str


def _read(client: Client, answer: Response) -> _Page:
    if not answer.ok:
        raise client.unexpected(answer)
    page = decoded(answer.body, wire.bundle_of)
    try:
        if page is not None and (page.resourceType, page.type) == ("Bundle", "searchset"):
            matches = [item.resource for item in page.entry if item.mode != "include" and item.resource]
            return _Page(matches, page.count, page.links, answer.url)
    except JsonError:  # an entry or a link of another shape
        pass
    raise no_fhir(client.server, "a Bundle of type searchset as the answer to a search", answer)


@dataclass(slots=True)
class Study:
    """What to search for on which server: the resources of a study, changed since a moment or at any time.

    `opened` is the server's time of the first search since it was set to None. `system` is that of the tag `name`.
    `others` counts resources of another type or without the tag.
    """

    client: Client
    name: str
    since: str | None = None
    opened: datetime | None = None
    system: str = TAG_SYSTEM
    others: Others = field(init=False)

    def __post_init__(self) -> None:
        self.others = Others(self.client.server, self.system, self.name)

    def pages(self, kind: str, **further: str) -> Pages:
        """All resources of a type; what the server sends beside them is left out (see `others`).

        Args:
            kind: the resource type.
            further: search parameters beside the tag, such as ``_lastUpdated``; they win over `since`.
                ``_elements``: what comes may have no tags then, and is not judged by them.

        Raises:
            NotSearchableError: the server refuses it.
            ServerError: FS512 the answer is no Bundle.
        """
        page = self._search(kind, {"_count": str(PAGE), "_total": "accurate", **further})
        return Pages(self, kind, page, bare="_elements" in further)

    def count(self, kind: str) -> int | None:
        """How many there are now; None where the server does not say."""
        try:
            return self._search(kind, {"_summary": "count"}).total
        except NotSearchableError:
            return None

    def follow(self, link: Link) -> _Page:
        """The page behind a ``next`` link. Raises ServerError (FS512)."""
        return _read(self.client, self.client.request("GET", link, headers=FRESH))

    def _search(self, kind: str, further: dict[str, str]) -> _Page:
        since = {"_lastUpdated": f"ge{self.since}"} if self.since else {}
        form = urlencode({"_tag": f"{self.system}|{self.name}", **since, **further}).encode("ascii")
        answer = self.client.request("POST", f"{kind}/_search", form, headers=_FORM)
        self.opened = self.opened or server_now(answer)
        if answer.status in _UNWILLING:
            raise NotSearchableError(answer)
        return _read(self.client, answer)


@dataclass(slots=True)
class Pages:
    """The matches of a search, page by page as they are asked for; they can be iterated once."""

    study: Study
    kind: str
    first: _Page
    bare: bool = False

    @property
    def total(self) -> int | None:
        """How many the server says there are; None: it does not say."""
        return self.first.total

    def __iter__(self) -> Iterator[msgspec.Raw]:
        """The server's own bytes.

        Raises:
            ServerError: FS512 no Bundle, or a page that was there before; FS519 too many pages; FS530 a link elsewhere.
        """
        found, paging = self.first, Paging(self.study.client.server)
        while True:
            yield from (each for each in found.matches if self._asked_for(each))
            link = paging.next(found.links, found.url)
            if link is None:
                return
            found = self.study.follow(link)

    def _asked_for(self, resource: msgspec.Raw) -> bool:
        return self.study.others.asked_for(resource, self.kind, (self.kind,), bare=self.bare)


def server_now(answer: Response) -> datetime:
    """The server's time as of an answer: its ``Date`` header, else our own clock, in whole seconds."""
    return (http_date(answer.headers.get("date", "")) or datetime.now(UTC)).replace(microsecond=0)


def moment(since: str) -> str:
    """A FHIR instant for an instant or a date (which begins at 00:00 UTC). Raises UsageError (FS622): it is neither."""
    try:
        when = datetime.fromisoformat(since)
    except ValueError:
        when = None
    if when is None or (when.tzinfo is None and len(since) != len("2024-05-01")):
        raise UsageError("FS622", f"--since {since}")
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).isoformat(timespec="milliseconds")
