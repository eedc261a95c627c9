"""Origins of URLs: scheme, host and port, as all parsers in use read them.

One parser may read ``http://one\\@two/`` as host ``one`` and the next as host ``two``. So a URL is judged only if the
parsers of `urllib` and `urllib3` agree on it (`requests` connects by these two), and characters on which they could
disagree are refused: backslashes, blanks, control characters and user names.
"""

from __future__ import annotations

import ipaddress
from typing import NamedTuple
from urllib.parse import urlsplit

import requests
from urllib3.util import parse_url

from fhirspace.errors import UsageError

_PORTS = {"http": 80, "https": 443}


class Origin(NamedTuple):
    """Scheme (``http`` or ``https``), host in lower case (IPv6 without brackets), and port."""

    scheme: str
    host: str
    port: int


def has_plain_characters(url: str) -> bool:
    """Whether there is nothing in a URL that its parsers could disagree on: no backslash, blank, control character."""
    return url.isprintable() and " " not in url and "\\" not in url


def origin_of(url: str) -> Origin:
    """Where a URL leads.

    Raises:
        ValueError: it is no http or https URL, has a user name or a character that no URL has, or is not read alike by
            all parsers.
    """
    if not has_plain_characters(url):
        raise ValueError("a character that no URL has")
    one, other = urlsplit(url), parse_url(url)
    if one.scheme not in _PORTS or not one.hostname or "@" in one.netloc or other.auth is not None:
        raise ValueError("no http or https URL without user name")
    found = Origin(one.scheme, one.hostname, _PORTS[one.scheme] if one.port is None else one.port)
    port = _PORTS.get(other.scheme or "", 0) if other.port is None else other.port
    if found != (other.scheme, (other.host or "").strip("[]"), port):
        raise ValueError("not read alike by all parsers")
    return found


def origin_of_base(server: str) -> Origin | None:
    """Scheme, host and port of a FHIR base; None where it is no address at all."""
    try:
        return origin_of(prepared(server))
    except ValueError:
        return None


def is_at(home: Origin | None, url: str) -> bool:
    """Whether a URL leads to an origin; one that can be read in more than one way leads to none."""
    try:
        return home is not None and origin_of(url) == home
    except ValueError:
        return False


def prepared(url: str) -> str:
    """A URL as `requests` sends it: percent-encoded, an international host name in ASCII. Raises ValueError."""
    return requests.Request("GET", url).prepare().url or ""


def is_this_machine(host: str | None) -> bool:
    """Whether a host is this machine: ``localhost``, 127.0.0.0/8 or ::1. Other names are not looked up."""
    try:
        return host == "localhost" or ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def checked_url(server: str, *, secret: bool, query: bool = False) -> str:
    """An address in its one spelling (`spelled`). Raises UsageError (FS514) for what must not be used.

    Args:
        server: the FHIR base, or a token endpoint.
        secret: whether a secret goes there, so that it must be https or this machine.
        query: whether it may have a query, as token endpoints may (RFC 6749, 3.2).
    """
    try:
        parts = urlsplit(server)
        _ = parts.port
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in _PORTS or not parts.hostname:
        raise UsageError("FS514", "the server address", "a URL such as https://host/fhir")
    if parts.username or parts.password or (parts.query and not query) or parts.fragment:
        raise UsageError("FS514", parts.hostname, "a URL without user name, password, query or fragment")
    _read_alike(server)
    if secret and parts.scheme == "http" and not is_this_machine(parts.hostname):
        raise UsageError("FS514", parts.hostname, "https, because a secret would be sent")
    return spelled(server)


def spelled(server: str) -> str:
    """The one spelling of an address, under which journals know it: scheme and host in lower case, no slash at its end,
    no port that the scheme implies. What is no address is left as it is.
    """
    try:
        parts = urlsplit(server)
        port = parts.port
    except ValueError:
        return server
    if not parts.hostname or "@" in parts.netloc:
        return server.rstrip("/")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    at = host if port in (None, _PORTS.get(parts.scheme)) else f"{host}:{port}"
    return parts._replace(netloc=at).geturl().rstrip("/")


def _read_alike(server: str) -> None:
    try:
        if not has_plain_characters(server):
            raise ValueError
        origin_of(prepared(server))
    except ValueError:
        # The address itself is not repeated: it could steer a terminal.
        raise UsageError("FS514", "the server address", "a URL that can be read in one way only") from None


def refuse_clear_text(server: str, *, allowed: bool) -> None:
    """Raises UsageError (FS595) where data would leave this machine unencrypted, and nobody allowed it.

    Whatever begins with ``http://`` and is not this machine is meant, with a proxy or without. Through a
    proxy, https stays encrypted from end to end.
    """
    parts = urlsplit(server)
    if parts.scheme == "http" and parts.hostname and not is_this_machine(parts.hostname) and not allowed:
        raise UsageError("FS595", parts.hostname, "an address that begins with `https://`")
