"""The faults by name, and the script that decides when they occur."""

from __future__ import annotations

import random
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from email.utils import format_datetime
from threading import Lock

import msgspec

from fhirspace.testing.messages import Answer, Refused, document, outcome
from fhirspace.testing.settings import CANARY, Settings

Calls = list[tuple[str, str]]
"""What a request asks for: (method, URL below the base), one for each entry of a Bundle."""

_STATUS = {
    "timeout": 408,
    "conflict": 409,
    "too_early": 425,
    "too_many": 429,
    "too_many_date": 429,
    "broken": 500,
    "bad_gateway": 502,
    "unavailable": 503,
    "gateway_timeout": 504,
    "unauthorized": 401,
    "forbidden": 403,
    "moved": 302,
    "gone": 410,
}
_ENTRY_STATUS = {"entry_too_many": 429, "entry_unavailable": 503, "entry_conflict": 409, "entry_precondition": 412}

FAULTS = {
    "timeout": "408, nothing done",
    "conflict": "409 with HAPI's number for a lost race, nothing done",
    "too_early": "425, nothing done",
    "too_many": "429 with Retry-After in seconds, nothing done",
    "too_many_date": "429 with Retry-After as a date, nothing done",
    "broken": "500, nothing done",
    "bad_gateway": "502 of a proxy, in HTML, nothing done",
    "unavailable": "503 of a proxy, in plain text, nothing done",
    "gateway_timeout": "504, nothing done",
    "gateway_timeout_after": "504, but it was done",
    "reset_before": "the connection is reset, nothing done",
    "reset_after": "the connection is reset, but it was done",
    "short_body": "half of the answer, less than its Content-Length; it was done",
    "cut_json": "half of the answer, as if it were whole; it was done",
    "slow": "the answer takes `delay` seconds; it was done",
    "fewer_entries": "the answer to a Bundle misses the second half of its entries; it was done",
    "no_bundle": "the answer to a Bundle is one without entries; it was done",
    "strange": "the answer to a Bundle is one whose entries are no list; it was done",
    "entry_too_many": "429 for entries of a batch whose answer is 200; they were not done, the others were",
    "entry_unavailable": "503, in the same way",
    "entry_conflict": "409, in the same way",
    "entry_precondition": "412, in the same way",
    "unauthorized": "401, nothing done",
    "forbidden": "403, nothing done",
    "moved": "302 to another server, nothing done",
    "gone": "410, nothing done",
}
"""All faults by name. A fault of an entry applies to the whole request if it is not a batch."""

PASSING = tuple(list(FAULTS)[: list(FAULTS).index("entry_precondition")])
"""The faults that do not occur again when the same request is repeated."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault for the script.

    Args:
        name: one of `FAULTS`.
        where: called with the method and the URL below the base (``"PUT", "Patient/p-1"``) of the request, or of each
            entry of a Bundle: the fault applies to the first request for which it returns True. A fault of entries
            applies to exactly these entries; without `where` to the first, fourth, seventh, ... entry.
        times: how often it occurs before the next item.

    Raises:
        ValueError: there is no fault of that name.
    """

    name: str
    where: Callable[[str, str], bool] | None = None
    times: int = 1

    def __post_init__(self) -> None:
        if self.name not in FAULTS:
            raise ValueError(f"no fault is named {self.name!r}; there are {', '.join(FAULTS)}")

    def fits(self, calls: Callable[[], Calls]) -> bool:
        """Whether it applies to a request."""
        return self.where is None or any(self.where(*call) for call in calls())

    def spoil(self, index: int, method: str, url: str) -> Refused | None:
        """The refusal of an entry of a Bundle, if this is a fault of entries and applies to it."""
        status = _ENTRY_STATUS.get(self.name)
        if status is None or not (self.where(method, url) if self.where else index % 3 == 0):
            return None
        return Refused(status, f"status {status} for this entry")

    @property
    def of_entries(self) -> bool:
        """Whether it is a fault of entries."""
        return self.name in _ENTRY_STATUS


@dataclass(repr=False)
class Script:
    """When faults occur: `faults` in their order and then, with `fault_rate`, by chance.

    Args:
        faults: one is taken for each write or search: the name of a fault, a `Fault`, or None for a correct answer.
        fault_rate: the proportion of requests with a fault when `faults` is empty: 0.3.
        fault_names: the faults from which one is drawn at random.
        fault_reads: reads and histories take faults too.
        seed: of the random numbers.
        fired: how often each fault occurred.
    """

    faults: deque[str | Fault | None] = field(default_factory=deque)
    fault_rate: float = 0.0
    fault_names: Sequence[str | Fault] = PASSING
    fault_reads: bool = False
    seed: int = 0
    fired: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._guard = Lock()
        self._dice: tuple[int, random.Random] | None = None

    def take(self, calls: Callable[[], Calls]) -> Fault | None:
        """The fault for the request with these `calls`; None for none."""
        with self._guard:
            fault = self._scripted(calls) if self.faults else self._by_chance(calls)
            if fault is not None:
                self.fired[fault.name] += 1
            return fault

    def _scripted(self, calls: Callable[[], Calls]) -> Fault | None:
        head = self.faults[0]
        fault = Fault(head) if isinstance(head, str) else head
        if fault is not None and not fault.fits(calls):
            return None
        self.faults.popleft()
        if fault is not None and fault.times > 1:
            self.faults.appendleft(replace(fault, times=fault.times - 1))
        return fault

    def _by_chance(self, calls: Callable[[], Calls]) -> Fault | None:
        if not self.fault_rate:
            return None
        if self._dice is None or self._dice[0] != self.seed:
            self._dice = self.seed, random.Random(self.seed)  # noqa: S311  # nosec B311  # no secret
        dice = self._dice[1]
        if dice.random() >= self.fault_rate:
            return None
        chosen = dice.choice(self.fault_names)
        fault = Fault(chosen) if isinstance(chosen, str) else chosen
        return fault if fault.fits(calls) else None


def misbehave(fault: Fault, good: Callable[[], Answer], settings: Settings) -> Answer:
    """The answer with the fault; `good` carries out the request, and is called if the fault comes after that."""
    if fault.name in _STATUS:
        return _instead(fault.name, settings)
    if fault.name == "reset_before":
        return Answer(0, wire="reset")
    answer = good()
    if fault.name == "gateway_timeout_after":
        return _instead("gateway_timeout", settings)
    if fault.name == "reset_after":
        return Answer(0, wire="reset")
    if fault.name == "short_body":
        answer.wire = "short"
    elif fault.name == "slow":
        time.sleep(settings.delay)
    else:
        answer.body = _spoilt(fault.name, answer)
    return answer


def _spoilt(name: str, answer: Answer) -> bytes:
    if name == "cut_json":
        return answer.body[: len(answer.body) // 2]
    if answer.status != 200:
        return answer.body
    bundle = msgspec.json.decode(answer.body, type=dict[str, msgspec.Raw]) if answer.body else {}
    if bytes(bundle.get("type", b"")) not in (b'"transaction-response"', b'"batch-response"'):
        return answer.body
    if name == "no_bundle":
        return b'{"resourceType":"Bundle"}'
    if name == "strange":
        return b'{"resourceType":"Bundle","entry":5}'
    entries = msgspec.json.decode(bundle["entry"], type=list[msgspec.Raw])
    return msgspec.json.encode({**bundle, "entry": entries[: len(entries) // 2]})


def _instead(name: str, settings: Settings) -> Answer:
    status = _STATUS[name]
    if name == "too_many":
        return Answer(status, b"{}", {"Retry-After": str(settings.retry_after)})
    if name == "too_many_date":
        moment = settings.clock() + timedelta(seconds=settings.retry_after)
        return Answer(status, b"{}", {"Retry-After": format_datetime(moment.replace(microsecond=0), usegmt=True)})
    if name == "moved":
        return Answer(status, b"", {"Location": "http://127.0.0.1:9/elsewhere"})
    if name in ("unavailable", "gateway_timeout"):
        return Answer(status, b"busy", {"Content-Type": "text/plain"})
    if name == "bad_gateway":
        return Answer(status, b"<html><body>502</body></html>", {"Content-Type": "text/html"})
    text = "HAPI-0550: conflict" if name == "conflict" else f"the value '{CANARY}' is wrong"
    return document(status, outcome(text))
