"""A job on the server: polled until it has ended, as seldom as the server asks, within bounds of our own."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from fhirspace.errors import ServerError
from fhirspace.fhir.outcome import issues, reason
from fhirspace.fhirserver.http.client import Client, Response
from fhirspace.fhirserver.http.retry import retry_after
from fhirspace.limits import answered_too_much, limit

Percent = Callable[[int], None]
"""Called with how much of a job is done, of 100."""

LONGEST = 30.0
"""Seconds between two looks at most. Servers ask for more (HAPI: 120) where a job may be done in a second."""
_SHORTEST = 0.2
_MANY = 50
_PERCENT = re.compile(r"(\d{1,3})(?:\.\d+)?\s?%")
# A failed job is answered with 500 and an OperationOutcome; a temporary 500 comes from a proxy, without one.
_FINAL = frozenset({500})


def still_running(answer: Response) -> bool:
    """The usual sign: 202."""
    return answer.status == 202


def watched(
    client: Client,
    url: str,
    *,
    running: Callable[[Response], bool] = still_running,
    longest: float = LONGEST,
    percent: Percent | None = None,
) -> Response:
    """Poll a job until it has ended.

    Args:
        client: the server.
        url: its status URL.
        running: whether an answer says that it goes on.
        longest: the most seconds between two looks, whatever ``Retry-After`` says.
        percent: called with what ``X-Progress`` says.

    Returns:
        The answer that says how it ended, of any status.

    Raises:
        ServerError: FS510 unreachable, FS511 sign-in refused, FS512 it keeps failing, FS519 it does not end.
    """
    looks = strikes = 0
    begin, waited = time.monotonic(), 0.0
    while True:
        answer = client.request("GET", url, headers={"Cache-Control": "no-cache"}, final=_FINAL)
        looks += 1
        if answer.status == 500 and not issues(answer.body):
            strikes += 1
            if strikes >= client.attempts:
                raise client.unexpected(answer)
        elif running(answer):
            strikes = 0
            _tell(answer, percent)
        else:
            return answer
        seconds = retry_after(answer.headers.get("retry-after", ""))
        pause = max(_SHORTEST, min(longest, seconds if seconds is not None else _SHORTEST * 1.5 ** min(looks, _MANY)))
        waited += pause
        if max(waited, time.monotonic() - begin) > limit("job-seconds"):
            raise answered_too_much("job-seconds", client.server)
        client.sleep(pause)


def failed(client: Client, answer: Response) -> ServerError:
    """The error (FS561) for a job that did not end well."""
    why = reason(answer.body)
    return ServerError("FS561", client.server, detail=f"status {answer.status}{why and ': ' + why}")


def refused(client: Client, answer: Response) -> ServerError:
    """The error (FS560) for a job that was not begun."""
    why = reason(answer.body)
    return ServerError("FS560", client.server, "status 202", f"status {answer.status}{why and ': ' + why}")


def _tell(answer: Response, percent: Percent | None) -> None:
    found = _PERCENT.search(answer.headers.get("x-progress", ""))
    if percent and found:
        percent(min(100, int(found[1])))
