"""What is read of a resource beside its content: type, id, version, tags."""

from __future__ import annotations

from datetime import datetime

import msgspec

from fhirspace.json import decoder


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
