"""One thing to do with a resource, and what it came to."""

from __future__ import annotations

from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from fhirspace.testing.facts import rendered
from fhirspace.testing.store import Version


@dataclass(slots=True)
class Operation:
    """One thing to do, as a request or as the entry of a Bundle.

    `url` is relative to the base, with its query. `Rest.prepare` decodes `resource`; `Rest.resolve` finds the `key`:
    `made` says that the server made the id, `found` that a conditional create has nothing to do.
    """

    method: str
    url: str
    body: bytes = b""
    if_match: str = ""
    if_none_exist: str = ""
    resource: dict[str, Any] = field(default_factory=dict)
    key: str = ""
    made: bool = False
    found: bool = False

    @property
    def place(self) -> str:
        """The URL without its query."""
        return self.url.partition("?")[0]


@dataclass(slots=True)
class Done:
    """What an operation came to; `content` is the answer to a GET, `unchanged` says that no version was made."""

    method: str
    status: int
    key: str = ""
    version: Version | None = None
    unchanged: bool = False
    content: bytes = b""

    @property
    def etag(self) -> str:
        """The version as an entity tag; "" without one."""
        return f'W/"{self.version.number}"' if self.version else ""

    @property
    def phrase(self) -> str:
        """The status as a Bundle spells it: ``201 Created``."""
        return f"{self.status} {HTTPStatus(self.status).phrase}"

    @property
    def written(self) -> bytes:
        """The resource as it is now; b"" when there is none."""
        if self.version is None or self.version.body is None:
            return b""
        return rendered(self.version.body, self.version.number, self.version.moment)
