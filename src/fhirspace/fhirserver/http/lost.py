"""Why an attempt brought no answer, in words for people: a name, a port, a proxy, or time."""

from __future__ import annotations

import errno
import re
import socket
from collections.abc import Iterator

import requests
import urllib3

_TUNNEL = re.compile(r"Tunnel connection failed: ([1-5][0-9]{2})\b")
_NO_ROUTE = {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTDOWN}


def why_lost(error: BaseException) -> str:
    """What happened to an attempt, without its URL, which may hold a password of a proxy.

    Args:
        error: of `requests`, `urllib3` or a socket; what it was made from is looked at as well.
    """
    causes = list(_causes(error))
    if not any(isinstance(each, requests.exceptions.ProxyError | urllib3.exceptions.ProxyError) for each in causes):
        return _reason(causes, "the host", "the server")
    refused = next((found[1] for each in causes if (found := _TUNNEL.search(str(each)))), "")
    if refused:
        return f"the proxy refused to connect with status {refused}"
    return _reason(causes, "the proxy", "the proxy")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and what it was made from: libraries keep that in `reason`, in `args` or as its cause."""
    waiting, seen = [error], set[int]()
    while waiting:
        each = waiting.pop()
        if id(each) not in seen:
            seen.add(id(each))
            yield each
            inner = (each.__cause__, each.__context__, getattr(each, "reason", None), *each.args)
            waiting += [found for found in inner if isinstance(found, BaseException)]


def _reason(causes: list[BaseException], host: str, server: str) -> str:
    def has(*kinds: type[BaseException]) -> bool:
        return any(isinstance(each, kinds) for each in causes)

    if has(socket.gaierror, urllib3.exceptions.NameResolutionError):
        return f"the name of {host} is not known (DNS)"
    if has(ConnectionRefusedError):
        return f"{server} refused the connection: nothing listens at this port"
    if any(isinstance(each, OSError) and each.errno in _NO_ROUTE for each in causes):
        return f"the network has no route to {host}"
    if has(requests.exceptions.ConnectTimeout, urllib3.exceptions.ConnectTimeoutError):
        return f"{server} did not take the connection in time"
    if has(requests.exceptions.Timeout, urllib3.exceptions.TimeoutError, TimeoutError):
        return f"{server} took the request and did not answer in time"
    return "the connection was closed before an answer was complete"
