"""Checks whether an answer proves what it is taken for: a write, a deletion, or the content of a read.

Source: FHIR, "http" (update, delete, ETag, Location, ``Prefer: return=minimal``), "Bundle" (transaction-response).

A status of 200 proves nothing: sign-in pages, proxies and file servers give it too. Proof of a write is FHIR that
names the resource: its body, or a version as ``ETag``, or an address ``Type/id`` below the base. Servers that are asked
for no body send ``ETag`` and ``Location`` alone, so one of the three is enough, and none may name another resource. An
OperationOutcome with an error beside them invalidates the proof.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TypeVar
from urllib.parse import urljoin

import msgspec

from fhirspace.errors import ServerError
from fhirspace.fhir import wire
from fhirspace.fhir.outcome import failures
from fhirspace.fhir.references import Reference, parsed
from fhirspace.fhir.wire import Head
from fhirspace.fhirserver.address import ID, is_id
from fhirspace.fhirserver.http.transport import Response
from fhirspace.json import JsonError, decoder, strict

T = TypeVar("T")

_WRITTEN = frozenset({200, 201})
_DELETED = frozenset({200, 204, 404, 410})
# Bundle.entry.response.status: "201", or "201 Created".
_STATUS = re.compile(r"([1-5][0-9]{2})(?:\s.*)?", re.DOTALL | re.ASCII)
_MEDIA = re.compile(r"[a-z0-9][a-z0-9.+-]{0,40}/[a-z0-9][a-z0-9.+-]{0,60}")
_WEAK = re.compile(rf'W/"({ID})"')
# HAPI leaves quotes and ``W/`` out where the tag is an element of a Bundle and no header.
TAG = re.compile(rf'(?:W/)?"?({ID})"?')


class Answer(msgspec.Struct):
    """What was answered for one entry (Bundle.entry.response); `repeated`: an earlier attempt may have had effect.

    `resource` is the body that came with it.
    """

    status: str = ""
    etag: str = ""
    lastModified: str = ""  # noqa: N815 - FHIR's name
    outcome: msgspec.Raw = msgspec.Raw(b"")
    repeated: bool = False
    location: str = ""
    resource: msgspec.Raw = msgspec.Raw(b"")

    @property
    def code(self) -> int:
        """The HTTP status as a number, 0 where there is none: three digits, and after a blank maybe words."""
        found = _STATUS.fullmatch(self.status)
        return int(found[1]) if found else 0

    @property
    def good(self) -> bool:
        """A status of 200 to 299."""
        return self.code // 100 == 2

    @property
    def denied(self) -> bool:
        """Whether it contains an OperationOutcome with an error, whatever its status."""
        return any(failures(answer) for answer in {bytes(self.outcome), bytes(self.resource)} if answer)

    @property
    def version(self) -> str:
        """The version id of the ETag."""
        return self.etag.removeprefix("W/").strip('"')


_answer = decoder(Answer)


def decoded(body: bytes | msgspec.Raw, decode: Callable[[bytes | msgspec.Raw], T]) -> T | None:
    """What a decoder (of `json`) makes of a body; None where it is no JSON, or of another shape."""
    try:
        return decode(body)
    except JsonError:
        return None


def head_of(body: bytes | msgspec.Raw) -> Head | None:
    """Type, id and version of a resource; None where the body is no JSON object with a ``resourceType``."""
    found = decoded(body, wire.head_of)
    return found if found is not None and found.resourceType else None


def whole(resource: bytes | msgspec.Raw) -> bool:
    """Whether a resource is strict JSON to its end: where only its head is read, anything may be in the rest."""
    return decoded(resource, strict) is not None


def seen(answer: Response) -> str:
    """The answer for messages: status and kind of body, none of its content."""
    kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not answer.body.strip():
        return f"status {answer.status} without a body"
    return f"status {answer.status} with {kind if _MEDIA.fullmatch(kind) else 'a body of no known type'}"


def no_fhir(server: str, expected: str, answer: Response) -> ServerError:
    """The error (FS512) for an answer that does not prove what it was taken for."""
    return ServerError("FS512", server, expected, seen(answer))


def absent(answer: Response) -> bool:
    """Whether an answer says that a resource is not there: 404 or 410, with FHIR or nothing as its body.

    The "not found" page of a proxy proves nothing about the resource.
    """
    body = answer.body.strip()
    return answer.status in (404, 410) and (not body or head_of(body) is not None or body == b"{}")


def single_answer(answer: Response) -> Answer:
    """The answer to a request of one entry."""
    tell = answer.headers.get
    body = msgspec.Raw(answer.body) if answer.body[:1] == b"{" else msgspec.Raw(b"")
    place = tell("location", "") or tell("content-location", "")
    status = str(answer.status)
    whole = msgspec.Raw(answer.body.strip())
    return Answer(status, tell("etag", ""), tell("last-modified", ""), body, answer.repeated, place, whole)


def matched(whole: Response, asked: Sequence[tuple[str, str]], kind: str, server: str) -> list[Answer] | None:
    """The answers in a Bundle, one an entry in the order sent; None when they do not fit what was sent.

    Args:
        whole: the answer to a Bundle. asked: method and key (``Type/id``, or ``Type?...``) of each entry.
        kind: "transaction" or "batch". server: the base.

    Raises:
        ServerError: FS512, it is no Bundle at all.
    """
    head = head_of(whole.body)
    if head is None or head.resourceType != "Bundle" or whole.status not in _WRITTEN:
        raise no_fhir(server, f"a Bundle of type {kind}-response as the answer to a {kind}", whole)
    found = decoded(whole.body, wire.bundle_of)
    if found is None or found.type != f"{kind}-response" or len(found.entry) != len(asked):
        return None
    try:
        answers = [answer_of(entry) for entry in found.entry]
    except JsonError:
        return None
    pairs = zip(asked, answers, strict=True)
    return answers if all(_fits(method, key, answer, server) for (method, key), answer in pairs) else None


def answer_of(entry: wire.Entry) -> Answer:
    """The answer in the entry of a Bundle. Raises JsonError: there is none."""
    answer = _answer(entry.response)
    answer.resource, answer.repeated = entry.resource, False
    return answer


def _fits(method: str, key: str, answer: Answer, server: str) -> bool:
    """Whether the answer in a Bundle can be the one to this entry. What was refused needs no proof."""
    if not answer.good:
        return answer.code > 0
    if method == "DELETE":
        return answer.code in _DELETED and not answer.denied and not _names_another(key, answer)
    return wrote(key, answer, server, TAG)


def wrote(key: str, answer: Answer, server: str, tag: re.Pattern[str] = _WEAK) -> bool:
    """Whether an answer proves a write; if so, `location` becomes the key that it names ("" if it names none), and an
    `etag` that is missing is taken from the rest of the answer.

    Args:
        key: ``Type/id``, or ``Type?...`` where the server chooses the id. answer: to a PUT or POST.
        server: the base. tag: how an ETag is spelled.
    """
    if answer.code not in _WRITTEN or answer.denied or _names_another(key, answer):
        return False
    place = _place(answer.location, server)
    body = head_of(answer.resource)
    if body is not None and body.resourceType != _parts(key)[0]:
        body = None  # an OperationOutcome: it proves nothing, and denies nothing
    if not (body or place or tag.fullmatch(answer.etag)):
        return False
    if not TAG.fullmatch(answer.etag):
        version = (place.version if place else "") or (body.version if body else "")
        answer.etag = f'W/"{version}"' if version else ""
    key = place.key if place else f"{body.resourceType}/{body.id}" if body else ""
    answer.location = key
    return True


def deleted(key: str, answer: Answer) -> bool | None:
    """Whether an answer to a DELETE proves that the resource is deleted; None: it must be read to check.

    Many servers answer 204 without content, and so does a program that ignores the request.
    """
    if answer.code not in _DELETED or _names_another(key, answer):
        return False
    body = head_of(answer.resource)
    if answer.good and answer.denied:
        return False
    return True if body is not None or (answer.good and _WEAK.fullmatch(answer.etag)) else None


def _names_another(key: str, answer: Answer) -> bool:
    """Whether body or location name another resource than the requested one, or the body is no FHIR."""
    kind, name = _parts(key)
    place = _named(answer.location)
    if place and (place.type != kind or place.id != (name or place.id)):
        return True
    if not bytes(answer.resource):
        return False
    body = head_of(answer.resource)
    if body is None:
        return True
    if body.resourceType == "OperationOutcome":
        return False
    return body.resourceType != kind or body.id != (name or body.id) or not is_id(body.id)


def _named(address: str) -> Reference | None:
    """The resource that an address names at its end, maybe with a version."""
    found = parsed(address.partition("?")[0])
    return found if found and is_id(found.id) and is_id(found.version or found.id) else None


def _place(location: str, server: str) -> Reference | None:
    """What an address below the base names; it may be relative to the base."""
    try:
        whole = urljoin(f"{server}/", location.partition("?")[0])
    except ValueError:
        return None
    below = whole.removeprefix(f"{server}/")
    found = _named(below) if location and below != whole else None
    return found if found and found.base in ("", "/") else None


def _parts(key: str) -> tuple[str, str]:
    kind, _, name = key.partition("?")[0].partition("/")
    return kind, name
