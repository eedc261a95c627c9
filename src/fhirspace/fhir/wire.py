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


class _Meta(msgspec.Struct):
    versionId: str = ""  # noqa: N815
    lastUpdated: str = ""  # noqa: N815
    tag: list[_Tag] = []


class Head(msgspec.Struct):
    """What is read of a resource that came: its key, its version, its tags."""

    resourceType: str = ""  # noqa: N815
    id: str = ""
    meta: _Meta = msgspec.field(default_factory=_Meta)

    @property
    def moment(self) -> float:
        """When it was last updated, in seconds; 0 where the server does not say."""
        try:
            return datetime.fromisoformat(self.meta.lastUpdated).timestamp()
        except (ValueError, OverflowError):
            return 0.0

    def tagged(self, system: str, code: str) -> bool:
        """Whether it has a tag."""
        return any(tag.system == system and tag.code == code for tag in self.meta.tag)


head_of = decoder(Head)


class _Type(msgspec.Struct):
    resourceType: str = ""  # noqa: N815


_type = decoder(_Type)


def resource_type(raw: bytes) -> str:
    """The resourceType of a resource's JSON, "" when it is no JSON object or has none; other members are skipped."""
    try:
        return _type(raw).resourceType
    except JsonError:
        return ""


_NOTHING = msgspec.Raw(b"")


class Entry(msgspec.Struct):
    """``Bundle.entry``; what is missing has no bytes."""

    fullUrl: str = ""  # noqa: N815
    resource: msgspec.Raw = _NOTHING
    request: msgspec.Raw = _NOTHING
    response: msgspec.Raw = _NOTHING
    search: msgspec.Raw = _NOTHING


class Bundle(msgspec.Struct):
    """A Bundle of a file or of a server; what is missing has no bytes."""

    resourceType: str  # noqa: N815
    type: str = ""
    total: msgspec.Raw = _NOTHING
    entry: list[Entry] = []
    link: msgspec.Raw = _NOTHING


bundle_of = decoder(Bundle)
