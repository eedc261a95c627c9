"""Links that a server sends, checked before they are followed: they could lead data and token elsewhere.

`Paging.next` links, ``Location`` and ``Content-Location``, status URLs and files of an export all pass here.
Within the server's own scheme, host and port any path may be followed: gateways use other paths than the FHIR base for
pages, and the same server answers at all paths of its origin.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Protocol
from urllib.parse import urljoin, urlsplit

from fhirspace.errors import ServerError
from fhirspace.fhirserver.http.origin import has_plain_characters, is_at, origin_of, origin_of_base
from fhirspace.limits import answered_too_much, limit

_LONGEST = 8192
"""Characters of a link. HAPI's have some hundred, and most servers take no longer ones."""


class Link(str):
    """A whole URL that may be sent as it is given. Anything else is an address below the FHIR base (`address`)."""

    __slots__ = ()


class _Named(Protocol):
    """A link of a Bundle."""

    @property
    def relation(self) -> str:
        """What it is, such as ``next``."""

    @property
    def url(self) -> str:
        """Where it leads."""


def resolved(server: str, link: str, came_with: str = "") -> Link:
    """A link as a whole URL, wherever it leads (RFC 3986, 5).

    Args:
        server: the FHIR base that gave it.
        link: the link, whole or relative.
        came_with: the URL of the answer that it came with; "" is the FHIR base.

    Raises:
        ServerError: FS530, it has characters that no link has, a user name, an impossible port, another scheme than
            http and https, or can be read in more than one way.
    """
    try:
        if len(link) > _LONGEST or not has_plain_characters(link):
            raise ValueError
        parts = urlsplit(link)
        if (parts.scheme or link.startswith("//")) and not parts.netloc:  # each parser has its own idea of these
            raise ValueError
        whole = urljoin(came_with or f"{server}/", link)
        origin_of(whole)
    except ValueError:
        raise led_away(server, link) from None
    return Link(whole)


def same_origin(server: str, link: Link) -> bool:
    """Whether a link has the server's own scheme, host and port."""
    return is_at(origin_of_base(server), link)


def followed(server: str, link: str, came_with: str = "") -> Link:
    """`resolved`, for links that must stay at the server. Raises ServerError (FS530) where one leads away."""
    whole = resolved(server, link, came_with)
    if not same_origin(server, whole):
        raise led_away(server, whole)
    return whole


def led_away(server: str, url: str) -> ServerError:
    """The error (FS530) for a URL that must not be followed, with the scheme, host and port that it leads to."""
    where = f"it leads to {found}" if (found := named_origin(url)) else "it is malformed"
    return ServerError("FS530", server, "a link at the server's own address", where)


def redirect(location: str, came_with: str) -> str:
    """Where a redirect leads, for people: ``, to`` scheme, host and port; "" where it does not say.

    Args:
        location: its ``Location``. came_with: the URL that it answers.
    """
    try:
        found = named_origin(urljoin(came_with, location)) if location else ""
    except ValueError:
        found = ""
    return f", to {found}" if found else ""


def named_origin(url: str) -> str:
    """Scheme, host and port of a URL, for people; "" where it is none."""
    try:
        scheme, host, port = origin_of(url)
    except ValueError:
        return ""
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


class Paging:
    """Goes from page to page by ``next`` links, within bounds: each link once, and not for ever.

    Args:
        server: the FHIR base.
    """

    def __init__(self, server: str) -> None:
        self._server = server
        self._pages = 1
        self._seen: set[bytes] = set()

    def next(self, links: Iterable[_Named], came_with: str) -> Link | None:
        """The link to the next page; None after the last one.

        Args:
            links: those of the page; came_with: the URL that it was fetched from.

        Raises:
            ServerError: FS512 a link that was there before, FS519 too many pages, FS530 a link that leads away.
        """
        found = next((each.url for each in links if each.relation == "next"), None)
        if not found:
            return None
        link = followed(self._server, found, came_with)
        mark = hashlib.sha256(link.encode("utf-8", "surrogatepass")).digest()
        if mark in self._seen:
            raise ServerError("FS512", self._server, "pages that come to an end")
        if self._pages >= limit("pages"):
            raise answered_too_much("pages", self._server)
        self._seen.add(mark)
        self._pages += 1
        return link
