"""Which requests are repeated, how long to wait before it, and the loop that does it."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import msgspec

from fhirspace.errors import ServerError
from fhirspace.fhirserver.http.transport import LostAnswer, Response
from fhirspace.foreign import counted
from fhirspace.json import JsonError, decode

JSON = "application/fhir+json"
RETRIED = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
ATTEMPTS = 7
BASE = 0.5
CAP = 30.0
_LONGEST_WAIT = 300.0
_LONGEST_DATE = 100
# Times of a server are used in computations: those at the ends of the calendar would overflow.
_FIRST_YEAR, _LAST_YEAR = 1970, 9000


def repeated(
    send: Callable[[], Response],
    attempts: int,
    wait: Callable[[int, Response | None], None],
    final: frozenset[int] = frozenset(),
    instead: Callable[[], Response | None] | None = None,
    *,
    server: str,
) -> Response:
    """Send until there is an answer that will not change by asking again.

    Args:
        send: one attempt; may raise LostAnswer.
        attempts: how often in all.
        wait: called between two attempts with the number of the first and its answer (None: it was lost).
        final: statuses that asking again would not change, although they often pass.
        instead: called before an attempt when an earlier one may have had effect; its answer is used.
        server: to whom, for the error.

    Returns:
        That answer, `repeated` when an earlier attempt may have had effect; else the last one, which is `passing`.

    Raises:
        ServerError: FS510, the last one was lost.
    """
    answer: Response | None = None
    lost, why = False, ""
    for attempt in range(1, attempts + 1):
        if lost and instead is not None and (found := instead()) is not None:
            return replace(found, repeated=True)
        try:
            answer = send()
        except LostAnswer as error:
            answer, why = None, str(error)
        if answer is not None and (answer.status in final or not passing(answer)):
            return replace(answer, repeated=lost)
        # After a timely refusal nothing was done; after anything else something may have been.
        lost |= answer is None or answer.ok or answer.status >= 500
        if attempt < attempts:
            wait(attempt, answer)
    if answer is None:
        raise ServerError("FS510", server, detail=f"{why} ({counted(attempts, 'attempt')})")
    return answer


def passing(answer: Response) -> bool:
    """Whether a request is repeated: after a temporary error of the server, or a success whose JSON is incomplete."""
    if answer.status in RETRIED:
        return True
    return answer.ok and bool(answer.body) and not _whole(answer)


def _whole(answer: Response) -> bool:
    if "json" not in answer.headers.get("content-type", JSON):
        return True
    try:
        decode(answer.body, msgspec.Raw)
    except JsonError as error:
        return error.code == "FS403"  # whole, and the same when it is asked for again
    return True


def pause(attempt: int, answer: Response | None, base: float = BASE, cap: float = CAP) -> float:
    """Seconds to wait after an attempt: ``Retry-After`` up to five minutes, else a random part of a doubling bound."""
    asked = retry_after(answer.headers.get("retry-after", "")) if answer else None
    if asked is not None:
        return min(asked, _LONGEST_WAIT)
    return random.uniform(0, min(cap, base * 2 ** (attempt - 1)))  # noqa: S311  # nosec B311  # no secret


def retry_after(value: str) -> float | None:
    """Seconds to wait by ``Retry-After`` (RFC 9110, 10.2.3): seconds, or an HTTP date. None: it says nothing."""
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(text)
    when = http_date(text)
    return None if when is None else max(0.0, (when - datetime.now(UTC)).total_seconds())


def http_date(text: str) -> datetime | None:
    """The moment that a header such as ``Date`` names (RFC 9110, 5.6.7), with its zone; None: it names none."""
    try:
        when = parsedate_to_datetime(text[:_LONGEST_DATE])
        aware = when if when.tzinfo else when.replace(tzinfo=UTC)
        return aware.astimezone(UTC) if _FIRST_YEAR <= aware.year <= _LAST_YEAR else None
    except (TypeError, ValueError, OverflowError, IndexError):  # `email` raises all of them
        return None


def since(moment: str, first: str) -> bool:
    """Whether a moment of the server (an instant, or the date of a header) is not before another one."""
    try:
        at = http_date(moment) if moment[:1].isalpha() else datetime.fromisoformat(moment)
        return at is not None and at >= datetime.fromisoformat(first)
    except (TypeError, ValueError):
        return False
