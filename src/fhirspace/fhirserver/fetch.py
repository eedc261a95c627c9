"""The current resources of given keys on a server: many reads at once, in the order of the keys.

Source: FHIR, "http" (read, vread, history, batch).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import msgspec

from fhirspace.errors import ServerError
from fhirspace.fhir import wire
from fhirspace.fhirserver import address
from fhirspace.fhirserver.answers import Answer, absent, answer_of, decoded, head_of, no_fhir, whole
from fhirspace.fhirserver.http.client import Client, Response
from fhirspace.fhirserver.http.links import Link, Paging
from fhirspace.fhirserver.http.retry import RETRIED
from fhirspace.foreign import counted
from fhirspace.json import JsonError

_ABSENT = frozenset({404, 410})
_NOT_SO = frozenset({400, 404, 405, 501})
"""Answers of servers that do not take a batch of reads, or a parameter; CapabilityStatements cannot be relied on."""
_TOO_LARGE = 413
_HEADERS = {"Cache-Control": "no-cache"}
_EVER = "_since=1970-01-01T00:00:00Z"
"""HAPI counts the versions of a resource once a minute, and lists no more of them, unless a history has a beginning."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A resource on the server: its bytes and version; no bytes if it is not there.

    `deleted`: the server says that somebody deleted it (410), and not that it has never heard of it.
    """

    key: str
    line: bytes = b""
    version: str = ""
    deleted: bool = False


def version_of(line: bytes | msgspec.Raw) -> str:
    """The ``meta.versionId`` of a resource; "" without one."""
    return wire.head_of(line).version


def modified(line: bytes) -> str:
    """The ``meta.lastUpdated`` of a resource; "" without one."""
    return wire.head_of(line).meta.lastUpdated


def fetch(
    client: Client, keys: Iterable[str], *, batch: bool = True, size: int = 100, connections: int = 1
) -> Iterator[Fetched]:
    """Reads many resources.

    Args:
        client: the server. keys: ``Type/id``, or ``Type/id/_history/version`` for one version.
        batch: whether the server takes batches; else each key is read by itself.
        size: keys a batch. connections: batches under way at once.

    Raises:
        ServerError: FS510, FS511, FS512 as `Client.request`, or an answer that is neither this resource nor "deleted".
    """
    waiting = iter(keys)
    flying: deque[Future[list[Fetched]]] = deque()
    with ThreadPoolExecutor(connections) as pool:
        while True:
            while len(flying) < connections and (part := list(islice(waiting, size if batch else 1))):
                flying.append(pool.submit(_many if batch else _one, client, part))
            if not flying:
                return
            yield from flying.popleft().result()


def versions(client: Client, key: str) -> Iterator[Fetched]:
    """The versions of a resource that the server lists, newest first; no bytes for a deletion.

    A page is asked for when it is needed, so that a long history costs no more than the pages that are used.

    Raises:
        ServerError: as `fetch`; FS512 where the server keeps no history, FS519 and FS530 as `links.Paging`.
    """
    paging = Paging(client.server)
    link: str | Link | None = f"{key}/_history?_count=100&{_EVER}"
    while link is not None:
        answer = client.request("GET", link, headers=_HEADERS)
        if answer.status in _NOT_SO and not isinstance(link, Link):  # a server without `_since`
            answer = client.request("GET", f"{key}/_history?_count=100", headers=_HEADERS)
        if not answer.ok:
            raise client.unexpected(answer)
        page = decoded(answer.body, wire.bundle_of)
        if page is None or (page.resourceType, page.type) != ("Bundle", "history"):
            raise no_fhir(client.server, "a Bundle of type history", answer)
        try:
            links = page.links
            yield from (_version(client, key, entry) for entry in page.entry)
        except JsonError:
            raise no_fhir(client.server, "a Bundle of type history", answer) from None
        link = paging.next(links, answer.url)


def _version(client: Client, key: str, entry: wire.Entry) -> Fetched:
    answer = _entry_answer(entry)
    if entry.asked.method == "DELETE":
        return Fetched(key, b"", address.version(answer.version, client.server))
    return _judged(client, key, Response(200, {}, bytes(entry.resource)))


def _many(client: Client, keys: list[str]) -> list[Fetched]:
    asked = [{"request": {"method": "GET", "url": key}} for key in keys]
    body = msgspec.json.encode({"resourceType": "Bundle", "type": "batch", "entry": asked})
    answer = client.request("POST", "", body, headers=_HEADERS)
    if answer.status == _TOO_LARGE and len(keys) > 1:
        half = len(keys) // 2
        return _many(client, keys[:half]) + _many(client, keys[half:])
    if answer.status in _NOT_SO or answer.status == _TOO_LARGE:
        return [held for key in keys for held in _one(client, [key])]
    if not answer.ok:
        raise client.unexpected(answer)
    found = decoded(answer.body, wire.bundle_of)
    if found is None or found.type != "batch-response" or len(found.entry) != len(keys):
        entries = counted(len(keys), "entry", "entries")
        raise no_fhir(client.server, f"a Bundle of type batch-response with {entries}", answer)
    try:
        answers = [_entry_answer(entry) for entry in found.entry]
    except JsonError:
        raise no_fhir(client.server, "a Bundle of type batch-response", answer) from None
    return [_resource(client, key, answer) for key, answer in zip(keys, answers, strict=True)]


def _entry_answer(entry: wire.Entry) -> Answer:
    """The answer in an entry; an empty one where there is none. Raises JsonError: it is of another shape."""
    return answer_of(entry) if entry.response else Answer(resource=entry.resource)


def _resource(client: Client, key: str, answer: Answer) -> Fetched:
    if answer.status and not answer.code:
        raise ServerError("FS512", client.server, "a status of three digits in each entry of a batch-response")
    code = answer.code or 200
    if code in RETRIED:
        return _one(client, [key])[0]
    return _judged(client, key, Response(code, {}, bytes(answer.resource)))


def _one(client: Client, keys: list[str]) -> list[Fetched]:
    return [_judged(client, keys[0], client.request("GET", keys[0], headers=_HEADERS))]


def _judged(client: Client, key: str, answer: Response) -> Fetched:
    """The resource of a key by an answer. Raises ServerError (FS512): it is neither this resource nor "deleted"."""
    if absent(answer):
        return Fetched(key, deleted=answer.status == 410)
    kind, name, version = _parts(key)
    if not answer.ok and answer.status not in _ABSENT:
        raise client.unexpected(answer)
    head = head_of(answer.body)
    if not answer.ok or head is None or (head.resourceType, head.id) != (kind, name) or not whole(answer.body):
        raise no_fhir(client.server, f"the {kind} that was asked for", answer)
    if version and head.version not in ("", version):
        raise no_fhir(client.server, f"the version of {kind} that was asked for", answer)
    return Fetched(key, answer.body, address.version(head.version, client.server))


def _parts(key: str) -> tuple[str, str, str]:
    """Type, id and version ("" for the last one) of a key."""
    kind, _, rest = key.partition("/")
    name, _, version = rest.partition("/_history/")
    return kind, name, version
