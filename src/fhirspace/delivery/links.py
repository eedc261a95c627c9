"""Links that a server hands out, judged before they are followed: they could carry data and token elsewhere."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

from fhirspace.errors import ServerError


def at_home(server: str, link: str) -> bool:
    """Whether a link is relative, or stays at the server's own scheme, host and port."""
    there = urlsplit(link)
    return (not there.scheme and not there.netloc) or _origin(there) == _origin(urlsplit(server))


def same_place(server: str, link: str) -> str:
    """The link as it was given. Raises ServerError (FS530) when it leads away from the server."""
    if not at_home(server, link):
        raise ServerError("FS530", server, "a link at the same address")
    return link


def _origin(parts: SplitResult) -> tuple[str, str | None, int | None]:
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)
