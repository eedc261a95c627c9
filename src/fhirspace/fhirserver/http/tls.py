"""The certificate that a server shows, looked at over a connection of its own (through the proxy if there is one)."""

from __future__ import annotations

import os
import ssl
import time
from base64 import b64encode
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from http.client import HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import requests

from fhirspace.fhirserver.http.answer import DEADLINE, LateError, TimelyResponse


@dataclass(frozen=True, slots=True)
class Certificate:
    """TLS version, issuer (organisation or name), and when the certificate ends."""

    version: str
    issuer: str
    ends: datetime


def proxy_of(server: str) -> str | None:
    """The proxy that the environment names for an address (``HTTPS_PROXY``, ``NO_PROXY``); None: directly."""
    return requests.utils.select_proxy(server, requests.utils.get_environ_proxies(server))


def certificate(server: str, *, context: ssl.SSLContext | None = None, timeout: float = 10) -> Certificate | None:
    """What a server shows; None where it cannot be looked at, which says nothing about the server.

    Args:
        server: an https address.
        context: whom to trust and which certificate to show; None trusts what `requests` trusts.
        timeout: seconds for each step.
    """
    parts = urlsplit(server)
    if not parts.hostname:
        return None
    # What a proxy says before the handshake must come to an end, too.
    token = DEADLINE.set(time.monotonic() + 3 * timeout)
    try:
        connection = _connection(parts.hostname, parts.port or 443, proxy_of(server), context or _trust(), timeout)
        with closing(connection):
            connection.connect()
            shown: dict[str, Any] = connection.sock.getpeercert() or {}
            version = connection.sock.version() or ""
    except (OSError, ValueError, HTTPException, LateError):  # ValueError: a proxy with a port that is none
        return None
    finally:
        DEADLINE.reset(token)
    ends = datetime.fromtimestamp(ssl.cert_time_to_seconds(shown["notAfter"]), UTC)
    return Certificate(version, _issuer(shown), ends)


def _connection(host: str, port: int, proxy: str | None, context: ssl.SSLContext, timeout: float) -> HTTPSConnection:
    if proxy is None:
        return HTTPSConnection(host, port, context=context, timeout=timeout)
    by = urlsplit(proxy)
    connection = HTTPSConnection(by.hostname or "", by.port or 80, context=context, timeout=timeout)
    connection.response_class = TimelyResponse
    secret = f"{unquote(by.username)}:{unquote(by.password or '')}" if by.username else ""
    headers = {"Proxy-Authorization": f"Basic {b64encode(secret.encode()).decode()}"} if secret else {}
    connection.set_tunnel(host, port, headers)
    return connection


def _trust() -> ssl.SSLContext:
    named = (
        os.environ.get("REQUESTS_CA_BUNDLE")
        or os.environ.get("CURL_CA_BUNDLE")
        or requests.utils.DEFAULT_CA_BUNDLE_PATH
    )
    folder = Path(named).is_dir()
    return ssl.create_default_context(cafile=None if folder else named, capath=named if folder else None)


def _issuer(shown: dict[str, Any]) -> str:
    names = {key: value for part in shown.get("issuer", ()) for key, value in part}
    return str(names.get("organizationName") or names.get("commonName") or "")
