"""What Bundles say beside their resources: versions that count no more, resources that are missing, rules of their own.

Source: FHIR, "Bundle" (total, link, entry.request, entry.response, implicitRules), "http" (history, search, batch).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

import msgspec

from fhirspace.errors import InputError, Place, Problem
from fhirspace.fhir import wire
from fhirspace.fhir.files import Bundle, FhirFile
from fhirspace.fhir.outcome import issues
from fhirspace.fhir.references import parsed
from fhirspace.foreign import counted
from fhirspace.json import JsonError, decoder

OUTDATED: Final = "an earlier version, or deleted"
"""Why a resource of a Bundle is left out."""
_MODIFIERS: Final = ("implicitRules", "modifierExtension")
_SUBSETTED: Final = ("http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "SUBSETTED")
_PAGING: Final = frozenset({"next", "previous", "prev"})
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH"})
_NUMBER: Final = re.compile(r"[0-9]{1,18}")
_STATUS: Final = re.compile(r"[1-5][0-9]{2}(?![0-9])")
T = TypeVar("T")
_links = decoder(list[wire.Link])
_total = decoder(int)


@dataclass(slots=True)
class BundleNotes:
    """Collects what the Bundles of an input say, file by file.

    Attributes:
        outdated: the entries of each file whose resource was replaced, or deleted, or is to be deleted, from 1, and
            those with what the server says of a search.
    """

    outdated: dict[Path, frozenset[int]] = field(default_factory=dict)
    _problems: list[Problem] = field(default_factory=list)
    _pages: set[str] = field(default_factory=set)
    _next: list[tuple[str, str]] = field(default_factory=list)

    def read(self, file: FhirFile, bundle: Bundle) -> frozenset[int]:
        """The entries that are no content: outdated ones of a history, requests to delete, remarks on a search.

        Args:
            file: the file. bundle: what it holds.

        Raises:
            InputError: FS443 (the Bundle, or an entry beside its resource, has implicit rules or a modifier extension).
        """
        entries, kind = bundle.entries, bundle.type
        _require_no_modifiers(file, bundle)
        if _is_subset(bundle):
            place, detail = Place(file.name, None, "meta.tag"), "it is marked SUBSETTED"
            self._problems.append(Problem("FS456", place, "whole resources", detail=detail))
        gone = outdated(entries) if bundle.is_history else to_delete(entries)
        if gone:
            what = "of the history" if bundle.is_history else "to be deleted"
            detail = f"{counted(len(gone), 'resource')} {what}"
            self._problems.append(Problem("FS455", Place(file.name, min(gone)), detail=detail))
        self._problems += _without_resource(entries, file.name, kind)
        remarks = _remarks(entries) if kind == "searchset" else {}
        self._problems += [Problem("FS456", Place(file.name, at), detail=text) for at, text in remarks.items() if text]
        if gone := gone.union(remarks):
            self.outdated[file.path] = gone
        links: list[wire.Link] = _or(_links, bundle.members.get("link"), [])
        self._pages.update(link.url for link in links if link.relation == "self")
        self._next += [(file.name, link.url) for link in links if link.relation == "next"]
        total = _or(_total, bundle.members.get("total"), 0)
        if kind == "searchset" and not _PAGING.intersection(link.relation for link in links):
            self._problems += _too_few(entries, file.name, total)
        return gone

    def problems(self) -> list[Problem]:
        """A finding for each thing that the Bundles tell of and do not hold, and for versions that count no more."""
        pages = [
            Problem("FS456", Place(name, None, "link"), "the next page among the files", detail="another page follows")
            for name, url in self._next
            if url not in self._pages
        ]
        return self._problems + pages


def _require_no_modifiers(file: FhirFile, bundle: Bundle) -> None:
    """Raises InputError (FS443): something that nobody here understands may change the meaning of all resources."""
    for name in _MODIFIERS:
        if bytes(bundle.members.get(name, b"null")) != b"null":
            raise InputError("FS443", Place(file.name, None, name), "", f"{name} of the Bundle")
    for place, entry in enumerate(bundle.entries, 1):
        if bytes(entry.modifierExtension) not in (b"", b"null"):
            path = "entry.modifierExtension"
            raise InputError("FS443", Place(file.name, place, path), "", "modifierExtension of an entry of the Bundle")


def _remarks(entries: list[wire.Entry]) -> dict[int, str]:
    """By entry, from 1, what an OperationOutcome of a search warns of; "" where it only informs."""
    found: dict[int, str] = {}
    for place, entry in enumerate(entries, 1):
        if bytes(entry.resource) and wire.resource_type(entry.resource) == "OperationOutcome":
            warned = [each for each in issues(entry.resource) if each.severity != "information"]
            codes = ", ".join(dict.fromkeys(str(each) for each in warned if str(each)))
            found[place] = f"the server warns: {codes or 'without a code'}" if warned else ""
    return found


def _is_subset(bundle: Bundle) -> bool:
    """Whether a Bundle says that its resources are not whole."""
    meta = bytes(bundle.members.get("meta", b"{}"))
    try:
        return wire.head_of(b'{"meta":%b}' % meta).tagged(*_SUBSETTED)
    except JsonError:
        return False


class _Version(NamedTuple):
    """A version of a resource in a history; nothing where the entry does not say when it was made, or its number."""

    entry: int
    there: bool
    moment: float
    number: int


def outdated(entries: list[wire.Entry]) -> frozenset[int]:
    """The entries of a history, from 1, whose resource has a later version or was deleted later.

    The latest is the one with the latest time, else the highest number; where one of them has neither, the first one.
    """
    versions: dict[str, list[_Version]] = {}
    for place, entry in enumerate(entries, 1):
        if key := _key(entry):
            versions.setdefault(key, []).append(_version(place, entry))
    return frozenset(place for found in versions.values() for place in _earlier(found))


def to_delete(entries: list[wire.Entry]) -> frozenset[int]:
    """The entries, from 1, with a resource that they ask to delete."""
    places = enumerate(entries, 1)
    return frozenset(at for at, each in places if bytes(each.resource) and _request(each).method == "DELETE")


def _earlier(found: list[_Version]) -> Iterator[int]:
    times, numbers = all(each.moment for each in found), all(each.number for each in found)
    latest = max(found, key=lambda each: (each.moment * times, each.number * numbers, -each.entry))
    yield from (each.entry for each in found if each.there and each is not latest)


def _key(entry: wire.Entry) -> str:
    """``Type/id`` that an entry of a history is about; "" where it does not say."""
    key = wire.own_key(entry.resource) if bytes(entry.resource) else ""
    if key and not key.startswith("/") and not key.endswith("/"):
        return key
    for url in (_request(entry).url, entry.fullUrl):
        if (named := parsed(url)) and named.key:
            return named.key
    return ""


def _version(place: int, entry: wire.Entry) -> _Version:
    there, answer = bool(bytes(entry.resource)), _response(entry)
    head = _or(wire.head_of, entry.resource or None, wire.Head())
    text = head.version or answer.etag.removeprefix("W/").strip('"')
    number = int(text) if _NUMBER.fullmatch(text) else 0
    return _Version(place, there, head.moment or wire.seconds(answer.lastModified), number)


def _without_resource(entries: list[wire.Entry], file: str, kind: str) -> Iterator[Problem]:
    """One finding for each reason why entries hold no resource, or one that is none, at the first of them."""
    found: dict[str, list[int]] = {}
    for place, entry in enumerate(entries, 1):
        failed = _STATUS.match(_response(entry).status)
        if not bytes(entry.resource):
            if not (kind == "history" and _request(entry).method == "DELETE"):
                found.setdefault(_reason(entry), []).append(place)
        elif failed and failed[0] >= "400":
            found.setdefault(f"the answer {failed[0]} beside a resource", []).append(place)
    for reason, places in found.items():
        detail = f"{counted(len(places), 'entry has', 'entries have')} {reason}"
        yield Problem("FS456", Place(file, places[0], "entry"), "a resource", detail=detail)


def _reason(entry: wire.Entry) -> str:
    status, method = _STATUS.match(_response(entry).status), _request(entry).method
    if status:
        return f"the answer {status[0]} alone"
    if bytes(entry.request):
        return f"the request {method} alone" if method in _METHODS else "a request alone"
    return "no resource"


def _too_few(entries: list[wire.Entry], file: str, total: int) -> Iterator[Problem]:
    matches = sum(bool(bytes(entry.resource)) and _is_match(entry) for entry in entries)
    if matches < total:
        yield Problem(
            "FS456", Place(file, None, "total"), counted(total, "match", "matches"), detail=f"it has {matches:,}"
        )


def _is_match(entry: wire.Entry) -> bool:
    try:
        return entry.mode == "match"
    except JsonError:
        return True


def _request(entry: wire.Entry) -> wire.Request:
    try:
        return entry.asked
    except JsonError:
        return wire.Request()


def _response(entry: wire.Entry) -> wire.Response:
    try:
        return entry.answered
    except JsonError:
        return wire.Response()


def _or(read: Callable[[bytes | msgspec.Raw], T], raw: bytes | msgspec.Raw | None, other: T) -> T:
    """What `read` makes of a value; something else where it is absent or of another shape."""
    try:
        return other if raw is None else read(raw)
    except JsonError:
        return other
