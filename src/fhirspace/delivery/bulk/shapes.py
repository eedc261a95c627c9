"""How servers expect requests for imports, and how they report the result: HAPI, Azure, Google.

There is no standard for ``$import``. HAPI takes a Parameters resource made after a proposal of SMART, Azure its own
one, Google no FHIR at all. What is common to them is `Shape`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Protocol
from urllib.parse import urlsplit

import msgspec

from fhirspace.delivery.bulk.jobs import still_running
from fhirspace.errors import UsageError
from fhirspace.fhir.outcome import reason
from fhirspace.fhirserver.http.client import JSON, Client, Response
from fhirspace.fhirserver.http.links import Link, followed
from fhirspace.json import JsonError, decode

_ASYNC = {"Prefer": "respond-async", "Content-Type": JSON}
_NDJSON = "application/fhir+ndjson"
_NUMBER = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class Part:
    """A file to import: its type, where the server finds it, how many resources it has, its name for people."""

    kind: str
    url: str
    count: int
    name: str


@dataclass(slots=True)
class Fate:
    """The result of a part: how many resources the server stored by its report, how many failed, and why."""

    stored: int = 0
    failed: int = 0
    reasons: str = ""


class Shape(Protocol):
    """One server's way of importing.

    `checks`: it refuses references to what is not there yet, so that each wave of references needs its own job.
    `alone`: a job takes one file. `serves`: it fetches over HTTP, so that we can serve the files.
    """

    checks: ClassVar[bool]
    alone: ClassVar[bool]
    serves: ClassVar[bool]

    def request(self, server: str, parts: list[Part]) -> tuple[str, bytes, dict[str, str]]:
        """URL (or path below the base), body and headers of the POST that begins a job."""

    def status_url(self, client: Client, answer: Response) -> str | None:
        """Where to look at the job; None: it was not begun."""

    def running(self, answer: Response) -> bool:
        """Whether an answer of the status URL says that the job goes on."""

    def fates(self, answer: Response, parts: list[Part]) -> list[Fate] | None:
        """The result of each part; None: the job failed as a whole."""


class _Asynchronous:
    """The asynchronous pattern of FHIR: 202 with ``Content-Location``, then 202 until it is done."""

    def status_url(self, client: Client, answer: Response) -> str | None:
        """See `Shape`."""
        place = answer.headers.get("content-location", "")
        return followed(client.server, place, answer.url) if answer.status == 202 and place else None

    def running(self, answer: Response) -> bool:
        """See `Shape`."""
        return still_running(answer)


class Hapi(_Asynchronous):
    """HAPI FHIR JPA: fetches each file twice, stores by PUT in chunks, several at a time and in no order.

    The report is text in an OperationOutcome; a job with any error is "failed" and still has stored the rest.
    """

    checks: ClassVar = True
    alone: ClassVar = False
    serves: ClassVar = True
    _source = re.compile(r"^Source: (\S+)$", re.MULTILINE)
    _stored = re.compile(r"^\s+\* SUCCESSFUL_[A-Z_]+: ([0-9]{1,18})$", re.MULTILINE)
    _failed = re.compile(r"^\s+\* FAILURE: ([0-9]{1,18})$", re.MULTILINE)
    _error = re.compile(r"^\s+\* (.+)$", re.MULTILINE)

    def request(self, server: str, parts: list[Part]) -> tuple[str, bytes, dict[str, str]]:
        """See `Shape`."""
        detail = [_code("type", "https"), _text("maxBatchResourceCount", "500")]
        inputs = [{"name": "input", "part": [_code("type", part.kind), _uri("url", part.url)]} for part in parts]
        head = [_code("inputFormat", _NDJSON), _uri("inputSource", "https://fhirspace.org")]
        return "$import", _parameters([*head, {"name": "storageDetail", "part": detail}, *inputs]), _ASYNC

    def fates(self, answer: Response, parts: list[Part]) -> list[Fate] | None:
        """See `Shape`."""
        report = next((text for text in _diagnostics(answer.body) if "Bulk Import Report" in text), None)
        if report is None:
            return None
        sections = self._source.split(report)[1:]
        reply = {url: self._fate(text) for url, text in zip(sections[::2], sections[1::2], strict=True)}
        return [reply.get(part.url, Fate()) for part in parts]

    def _fate(self, text: str) -> Fate:
        outcomes, _, errors = text.partition("Errors:")
        stored, refused = (sum(map(_number, found.findall(outcomes))) for found in (self._stored, self._failed))
        reply = self._error.findall(errors)
        reasons = dict.fromkeys(map(_quotable, reply))
        return Fate(stored, max(refused, len(reply)), "; ".join(filter(None, reasons)))


class Azure(_Asynchronous):
    """Azure Health Data Services: blobs of one type each; versions are kept, references are not checked."""

    checks: ClassVar = False
    alone: ClassVar = False
    serves: ClassVar = False

    def __init__(self, mode: str = "IncrementalLoad") -> None:
        self._mode = mode

    def request(self, server: str, parts: list[Part]) -> tuple[str, bytes, dict[str, str]]:
        """See `Shape`."""
        inputs = [{"name": "input", "part": [_text("type", part.kind), _uri("url", part.url)]} for part in parts]
        head = [_text("inputFormat", _NDJSON), _text("mode", self._mode)]
        return "$import", _parameters([*head, *inputs]), _ASYNC

    def fates(self, answer: Response, parts: list[Part]) -> list[Fate] | None:
        """See `Shape`."""
        reply = _decoded(answer.body)
        if answer.status != 200 or not isinstance(reply, dict):
            return None
        # What is not listed was not stored: an empty answer proves nothing.
        fates = {part.url: Fate() for part in parts}
        for item in _objects(reply.get("output")):
            fate = fates.get(str(item.get("inputUrl")))
            if fate:
                fate.stored = _number(item.get("count"))
        for item in _objects(reply.get("error")):
            fate = fates.get(str(item.get("inputUrl")))
            if fate:
                fate.failed += _number(item.get("count"))
                fate.reasons = "the outcomes are in the storage, in the container `fhirlogs`"
        return [fates[part.url] for part in parts]


class Google:
    """Google Cloud Healthcare API: an operation of its own outside of FHIR; references are not checked.

    What is there already is overwritten without a new version.
    """

    checks: ClassVar = False
    alone: ClassVar = True
    serves: ClassVar = False
    _base = re.compile(
        r"(https?://[^/]+/v1(?:beta1)?)/(projects/[^/]+/locations/[^/]+/datasets/[^/]+)/fhirStores/[^/]+"
    )
    _operation = re.compile(r"[A-Za-z0-9_-]{1,200}")

    def request(self, server: str, parts: list[Part]) -> tuple[str, bytes, dict[str, str]]:
        """See `Shape`."""
        store = self._base.match(server)
        if store is None or urlsplit(server).path.removeprefix(urlsplit(store[0]).path) not in ("", "/fhir"):
            raise UsageError("FS567", "--server", "https://HOST/v1/projects/P/locations/L/datasets/D/fhirStores/S/fhir")
        body = {"contentStructure": "RESOURCE", "gcsSource": {"uri": parts[0].url}}
        return Link(f"{store[0]}:import"), msgspec.json.encode(body), {"Content-Type": "application/json"}

    def status_url(self, client: Client, answer: Response) -> str | None:
        """See `Shape`."""
        reply = _decoded(answer.body)
        name = str(reply.get("name", "")) if isinstance(reply, dict) else ""
        store = self._base.match(client.server)
        if not answer.ok or store is None or not name.startswith(f"{store[2]}/operations/"):
            return None
        number = name.removeprefix(f"{store[2]}/operations/")
        return followed(client.server, f"{store[1]}/{name}") if self._operation.fullmatch(number) else None

    def running(self, answer: Response) -> bool:
        """See `Shape`."""
        reply = _decoded(answer.body)
        return answer.ok and isinstance(reply, dict) and "name" in reply and not reply.get("done")

    def fates(self, answer: Response, parts: list[Part]) -> list[Fate] | None:
        """See `Shape`."""
        reply = _decoded(answer.body)
        if not answer.ok or not isinstance(reply, dict):
            return None
        metadata = reply.get("metadata")
        counter = metadata.get("counter") if isinstance(metadata, dict) else None
        counter = counter if isinstance(counter, dict) else {}
        if (reply.get("error") and not counter) or not reply.get("done"):
            return None
        reasons = "the reasons are in Cloud Logging" if reply.get("error") or counter.get("failure") else ""
        return [Fate(_number(counter.get("success")), _number(counter.get("failure")), reasons)]


SHAPES: dict[str, Callable[[], Shape]] = {
    "hapi": Hapi,
    "azure": Azure,
    "azure-initial": partial(Azure, "InitialLoad"),
    "google": Google,
}
"""By name. Azure has two modes: the initial one is for an empty server that nobody else writes to."""


def shape_named(name: str) -> Shape:
    """The shape of this name. Raises UsageError (FS567): there is none."""
    if name not in SHAPES:
        raise UsageError("FS567", "--bulk-shape", ", ".join(SHAPES))
    return SHAPES[name]()


def _code(name: str, value: str) -> dict[str, str]:
    return {"name": name, "valueCode": value}


def _text(name: str, value: str) -> dict[str, str]:
    return {"name": name, "valueString": value}


def _uri(name: str, value: str) -> dict[str, str]:
    return {"name": name, "valueUri": value}


def _parameters(parts: list[dict[str, Any]]) -> bytes:
    return msgspec.json.encode({"resourceType": "Parameters", "parameter": parts})


def _decoded(body: bytes) -> Any:
    try:
        return decode(body)
    except JsonError:
        return None


def _objects(value: Any) -> list[dict[str, Any]]:
    """The objects of a list; [] where it is none."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _number(value: Any) -> int:
    """A count, which Google's counters of 64 bits spell as a text; 0 where it is none."""
    text = str(value)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0


def _diagnostics(body: bytes) -> list[str]:
    """The texts of an OperationOutcome; one that holds JSON (HAPI keeps its report so) gives the report in it."""
    reply = _decoded(body)
    issues = _objects(reply.get("issue")) if isinstance(reply, dict) else []
    texts = [str(issue.get("diagnostics", "")) for issue in issues]
    inner = [_decoded(text.encode("utf-8", "replace")) for text in texts]
    return [
        str(found.get("reportMsg", text)) if isinstance(found, dict) else text
        for text, found in zip(texts, inner, strict=True)
    ]


def _quotable(text: str) -> str:
    """The part of an error's text that may be shown: HAPI's number and the element's path (see `outcome`)."""
    issue = {"severity": "error", "code": "processing", "diagnostics": text}
    return reason(msgspec.json.encode({"resourceType": "OperationOutcome", "issue": [issue]}))
