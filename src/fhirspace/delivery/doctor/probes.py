"""Harmless requests to a server: reads and searches that match nothing, and one batch with one read in it."""

from __future__ import annotations

import gzip
import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any
from urllib.parse import quote

from fhirspace.fhirserver.answers import decoded, head_of, seen
from fhirspace.fhirserver.http.client import JSON, Client, LostAnswer, Response, Transport
from fhirspace.fhirserver.http.retry import http_date
from fhirspace.json import decode

_AGE = re.compile(r"[0-9]{1,9}")
NOBODY = "fhirspace-doctor-nobody"
"""An id, tag and identifier that no resource has."""

QUESTIONS: Mapping[str, str] = {
    "_tag": f"https://fhirspace.org/run|{NOBODY}",
    "_id": NOBODY,
    "_lastUpdated": "lt1900-01-01",
    "identifier": f"https://fhirspace.org/doctor|{NOBODY}",
}
"""The searches that are needed, each with values that match nothing."""

# A server that knows the preference refuses parameters that it does not know (FHIR, search, "handling").
_STRICT = {"Prefer": "handling=strict", "Content-Type": "application/x-www-form-urlencoded"}


@dataclass(slots=True)
class Watch:
    """A `Transport` that measures: how long answers took, and the server's clock.

    Args:
        inner: what sends.
        now: seconds since 1970 by our clock.
    """

    inner: Transport
    now: Callable[[], float] = time.time
    seconds: list[float] = field(default_factory=list)
    skews: list[float] = field(default_factory=list)
    packed: bool = False

    def send(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Response:
        """See `Transport`."""
        begin, tick = self.now(), time.perf_counter()
        answer = self.inner.send(method, path, body, headers)
        took = time.perf_counter() - tick
        self.seconds.append(took)
        self.packed |= answer.headers.get("content-encoding", "") in ("gzip", "br", "deflate", "zstd")
        shown = clock(answer.headers)
        if shown is not None:
            self.skews.append(shown - (begin + took / 2))
        return answer


def clock(headers: Mapping[str, str]) -> float | None:
    """The server's time when it answered (RFC 9110, Date and Age), seconds since 1970; None: it sends none.

    A Date has whole seconds, so half of one is added: it is right by half a second.
    """
    when, age = http_date(headers.get("date", "")), headers.get("age", "0").strip()
    if when is None or not _AGE.fullmatch(age):
        return None
    return when.timestamp() + int(age) + 0.5


@dataclass(frozen=True, slots=True)
class Probed:
    """What a server answered. None: not asked, or the answer decides nothing.

    Args:
        type: the resource type that was searched.
        read: 200 where a search was answered, else the status of the first: 401, 403, ...; None: no answer.
        parameters: the searches that were understood or refused.
        ignored: those that returned something, although nothing matches; strange: successes that are no FHIR.
        batch: a batch of one read was answered as one; gzip: a compressed one too.
        packed: answers come compressed.
        smart: the SMART configuration, if asked for and there.
        skew: how many seconds the server's clock is ahead of ours.
        latency: seconds a search takes (median).
    """

    type: str = "Patient"
    read: int | None = None
    parameters: Mapping[str, bool | None] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()
    strange: tuple[str, ...] = ()
    batch: bool | None = None
    gzip: bool | None = None
    packed: bool = False
    smart: Mapping[str, Any] = field(default_factory=dict)
    skew: float | None = None
    latency: float | None = None


def probe(client: Client, watch: Watch, kind: str, *, smart: bool) -> Probed:
    """Ask the questions; nothing is written, and nothing raises where a question fails.

    Args:
        client: whom to ask, over `watch`.
        watch: what carries the questions.
        kind: the resource type to search.
        smart: look for a SMART configuration even if signing in works.
    """
    before = len(watch.seconds)
    first, *others = QUESTIONS
    answers = {first: _search(client, kind, first)}
    closed = _status(answers[first]) in (401, 403)
    if not closed:
        answers |= {name: _search(client, kind, name) for name in others}
    latency = median(watch.seconds[before:] or watch.seconds)
    bundled = _batch(client, kind, packed=False) if not closed else None
    understood = _as_a_batch(bundled)
    return Probed(
        type=kind,
        read=next((200 for answer in answers.values() if _status(answer) == 200), _status(answers[first])),
        parameters={name: _understood(_status(answer)) for name, answer in answers.items()},
        ignored=tuple(name for name, answer in answers.items() if _found(answer)),
        strange=tuple(_strange(answers, bundled)),
        batch=understood,
        gzip=_as_a_batch(_batch(client, kind, packed=True)) if understood else None,
        packed=watch.packed,
        smart=_smart(client) if smart or closed else {},
        skew=median(watch.skews) if watch.skews else None,
        latency=latency,
    )


def searchable(listed: Iterable[str], wanted: Iterable[str]) -> str:
    """The type to ask for: Patient where the server has it, else the first wanted one that it has."""
    there = list(listed)
    return next((name for name in ("Patient", *wanted) if name in there), there[0] if there else "Patient")


def _search(client: Client, kind: str, parameter: str) -> Response | None:
    body = f"{quote(parameter)}={quote(QUESTIONS[parameter], safe='')}".encode()
    return _ask(client, "POST", f"{kind}/_search", body, _STRICT)


def _status(answer: Response | None) -> int | None:
    """The status of an answer to a search; None where there is no answer, or a success that is no search result."""
    return answer.status if answer and not (answer.ok and not _is_result(answer)) else None


def _is_result(answer: Response) -> bool:
    found = _object(answer)
    return (found.get("resourceType"), found.get("type")) == ("Bundle", "searchset")


def _understood(status: int | None) -> bool | None:
    if status is None or status in (401, 403, 408, 425, 429) or status >= 500:
        return None if status != 501 else False
    return 200 <= status < 300


def _found(answer: Response | None) -> bool:
    """Whether a search for what nobody has brought something."""
    entries = _object(answer).get("entry") if answer and answer.ok else None
    found = [each for each in entries if isinstance(each, dict)] if isinstance(entries, list) else []
    return any(_object_in(each.get("resource")).get("resourceType") not in (None, "OperationOutcome") for each in found)


def _strange(answers: Mapping[str, Response | None], bundled: Response | None) -> Iterator[str]:
    """What was answered as a success and is no FHIR: any success of a search that is no search result, and a page."""
    for answer in answers.values():
        if answer and answer.ok and not _is_result(answer):
            yield f"a search: {seen(answer)}"
            break
    if bundled and bundled.ok and head_of(bundled.body) is None:
        yield f"a batch: {seen(bundled)}"


def _batch(client: Client, kind: str, *, packed: bool) -> Response | None:
    entry = {"request": {"method": "GET", "url": f"{kind}/{NOBODY}"}}
    body = json.dumps({"resourceType": "Bundle", "type": "batch", "entry": [entry]}).encode()
    headers = {"Content-Type": JSON, **({"Content-Encoding": "gzip"} if packed else {})}
    return _ask(client, "POST", "", gzip.compress(body) if packed else body, headers)


def _as_a_batch(answer: Response | None) -> bool | None:
    """Whether a batch of one read was answered as one."""
    if answer is None or answer.status in (401, 403, 408, 425, 429) or answer.status in (502, 503, 504):
        return None
    found = _object(answer)
    fits = (found.get("resourceType"), found.get("type")) == ("Bundle", "batch-response")
    entries = found.get("entry")
    return answer.ok and fits and isinstance(entries, list) and len(entries) == 1


def _smart(client: Client) -> Mapping[str, Any]:
    answer = _ask(client, "GET", ".well-known/smart-configuration", None, {"Accept": "application/json"})
    return _object(answer) if answer and answer.ok else {}


def _ask(client: Client, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Response | None:
    """One answer of any status, or None. A lost one is asked for once more."""
    for _ in range(2):
        try:
            return client.seam.send(method, path, body, {"Accept": JSON, **headers})
        except LostAnswer:
            continue
    return None


def _object(answer: Response) -> dict[str, Any]:
    return _object_in(decoded(answer.body, decode))


def _object_in(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
