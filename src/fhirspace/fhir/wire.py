"""Resources and Bundles as they travel: type, id, version and tags of a resource; the entries and links of a Bundle.

Only what all readers want is decoded at once. The parts of an entry that one reader wants, and that others must not
stumble over, stay the bytes that they are.

Source: FHIR, "Bundle", "Resource" (Resource.meta).
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from fhirspace.json import JsonError, decoder


class _Tag(msgspec.Struct):
    system: str = ""
    code: str = ""


_tags = decoder(list[_Tag])


class _Meta(msgspec.Struct):
    versionId: str = ""  # noqa: N815
    lastUpdated: str = ""  # noqa: N815
    tag: msgspec.Raw = msgspec.Raw(b"[]")


def seconds(instant: str) -> float:
    """An instant in seconds; 0 where it is none."""
    try:
        return datetime.fromisoformat(instant).timestamp()
    except (ValueError, OverflowError):
        return 0.0


class Head(msgspec.Struct):
    """What is read of a resource that came: its key, version, tags and identifiers (no bytes without any)."""

    resourceType: str = ""  # noqa: N815
    id: str = ""
    meta: _Meta = msgspec.field(default_factory=_Meta)
    identifier: msgspec.Raw = msgspec.Raw(b"")

    @property
    def moment(self) -> float:
        """When it was last updated, in seconds; 0 where the server does not say."""
        return seconds(self.meta.lastUpdated)

    def tagged(self, system: str, code: str) -> bool:
        """Whether it has a tag. Raises JsonError: its tags are of another shape."""
        return any(tag.system == system and tag.code == code for tag in _tags(self.meta.tag))

    def tagged_by(self, system: str) -> bool:
        """Whether it has a tag of a system. Raises JsonError: its tags are of another shape."""
        return any(tag.system == system for tag in _tags(self.meta.tag))

    @property
    def version(self) -> str:
        """``meta.versionId``; "" without one."""
        return self.meta.versionId


head_of = decoder(Head)


class _Type(msgspec.Struct):
    resourceType: str = ""  # noqa: N815


class _Key(_Type):
    id: str = ""


_type = decoder(_Type)
_key = decoder(_Key)


def resource_type(raw: bytes) -> str:
    """The resourceType of a resource's JSON, "" when it is no JSON object or has none; other members are skipped."""
    try:
        return _type(raw).resourceType
    except JsonError:
        return ""


def own_key(raw: bytes) -> str:
    """``Type/id`` of a resource's JSON, "" when it is no JSON object; a part that is missing is empty."""
    try:
        found = _key(raw)
    except JsonError:
        return ""
    return f"{found.resourceType}/{found.id}"


_NOTHING = msgspec.Raw(b"")


class Request(msgspec.Struct):
    """``Bundle.entry.request``; "" for what is missing."""

    method: str = ""
    url: str = ""


class Response(msgspec.Struct):
    """``Bundle.entry.response``; "" for what is missing."""

    status: str = ""
    etag: str = ""
    lastModified: str = ""  # noqa: N815


class _Search(msgspec.Struct):
    mode: str = "match"


class Link(msgspec.Struct):
    """``Bundle.link``."""

    relation: str = ""
    url: str = ""


_request = decoder(Request)
_response = decoder(Response)
_search = decoder(_Search)
_links = decoder(list[Link])
_total = decoder(int)


class Entry(msgspec.Struct):
    """``Bundle.entry``; what is missing has no bytes."""

    fullUrl: str = ""  # noqa: N815
    resource: msgspec.Raw = _NOTHING
    request: msgspec.Raw = _NOTHING
    response: msgspec.Raw = _NOTHING
    search: msgspec.Raw = _NOTHING
    modifierExtension: msgspec.Raw = _NOTHING  # noqa: N815

    @property
    def asked(self) -> Request:
        """``request``. Raises JsonError: it is of another shape."""
        return _request(self.request) if self.request else Request()

    @property
    def answered(self) -> Response:
        """``response``. Raises JsonError: it is of another shape."""
        return _response(self.response) if self.response else Response()

    @property
    def mode(self) -> str:
        """``search.mode``; ``match`` without one. Raises JsonError: it is of another shape."""
        return _search(self.search).mode if self.search else "match"


class Bundle(msgspec.Struct):
    """A Bundle of a file or of a server; what is missing has no bytes."""

    resourceType: str  # noqa: N815
    type: str = ""
    total: msgspec.Raw = _NOTHING
    entry: list[Entry] = []
    link: msgspec.Raw = _NOTHING

    @property
    def count(self) -> int | None:
        """``total``; None without one. Raises JsonError: it is of another shape."""
        return _total(self.total) if bytes(self.total) not in (b"", b"null") else None

    @property
    def links(self) -> list[Link]:
        """``link``. Raises JsonError: it is of another shape."""
        return _links(self.link) if self.link else []


entry_of = decoder(Entry)
bundle_of = decoder(Bundle)
