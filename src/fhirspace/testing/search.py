"""Search by ``_id``, ``_tag``, ``identifier`` and ``_lastUpdated``, with pages behind opaque links (FHIR, "search")."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from operator import eq, ge, gt, le, lt
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import msgspec

from fhirspace.testing.facts import rendered
from fhirspace.testing.messages import Answer, Refused
from fhirspace.testing.settings import Settings
from fhirspace.testing.store import Store, Version

_FORM = frozenset({"_count", "_summary", "_sort", "_format", "_pretty", "_total", "_elements"})
_COMPARE: dict[str, Callable[[datetime, datetime], bool]] = {"ge": ge, "gt": gt, "le": le, "lt": lt, "eq": eq}
_COMMA = re.compile(r"(?<!\\),")
Parameters = list[tuple[str, str]]


def parameters(*queries: str) -> Parameters:
    """The parameters of queries or forms, decoded."""
    return [pair for query in queries for pair in parse_qsl(query, keep_blank_values=True)]


class _Place(NamedTuple):
    """Where a page begins in what was found."""

    kind: str
    asked: Parameters
    keys: list[str]
    start: int
    size: int


class Search:
    """Finds resources of a store and answers in pages; a link is good for as long as the server runs."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings = settings
        self._store = store
        self._pages: dict[str, _Place] = {}

    def find(self, kind: str, asked: Parameters) -> list[str]:
        """The keys of the live resources of a type that match. Raises Refused (400) for a parameter not known."""
        criteria = [(name, value) for name, value in asked if name not in _FORM]
        for name, _ in criteria:
            if name not in self._settings.search_params:
                raise Refused(400, f"HAPI-0524: Unknown search parameter for resource type {kind}")
        found = [key for key in self._narrowed(kind, criteria) if key.startswith(kind + "/")]
        for name, value in criteria:
            found = [key for key in found if self._matches(key, name, value)]
        return found

    def answer(self, kind: str, asked: Parameters) -> Answer:
        """The first page, or the count alone."""
        keys = self.find(kind, asked)
        how = dict(asked)
        if how.get("_summary") == "count" or how.get("_count") == "0":
            return self._bundle({"total": len(keys), "link": []})
        return self._page(_Place(kind, asked, self._sorted(keys, how.get("_sort", "")), 0, self._size(asked)))

    def everything(self, key: str, asked: Parameters) -> Answer:
        """A patient, what refers to it, and what these refer to but other patients. Raises Refused (404)."""
        if self._store.live(key) is None:
            raise Refused(404, f"HAPI-2001: Resource {key} is not known")
        known = {each: version for each in self._store if (version := self._store.live(each)) is not None}
        near = [each for each, version in known.items() if key in version.facts.refs]
        others = {other for each in (key, *near) for other in known[each].facts.refs if other in known}
        far = sorted(other for other in others if not other.startswith("Patient/"))
        return self._page(_Place("", [], list(dict.fromkeys([key, *near, *far])), 0, self._size(asked)))

    def _size(self, asked: Parameters) -> int:
        count = dict(asked).get("_count", "")
        return min(int(count), self._settings.page) if count.isdecimal() else self._settings.page

    def page(self, token: str) -> Answer:
        """The page behind a ``next`` link. Raises Refused (410) when it leads to none."""
        if token not in self._pages:
            raise Refused(410, "HAPI-2005: Search does not exist and may have expired")
        place = self._pages[token]
        if not self._settings.snapshots and place.kind:
            keys = self._sorted(self.find(place.kind, place.asked), dict(place.asked).get("_sort", ""))
            place = place._replace(keys=keys)
        return self._page(place)

    def _narrowed(self, kind: str, criteria: Parameters) -> Iterable[str]:
        """Keys among which all that match are."""
        for name, value in criteria:
            if name == "_id":
                return dict.fromkeys(f"{kind}/{item}" for item in _items(value))
            if name in ("_tag", "identifier"):
                if not self._store.keeps_bodies:
                    raise Refused(501, "a sink can be searched by _id only")
                found = (self._store.candidates(f"{kind}?{name}={item}") for item in _items(value))
                return dict.fromkeys(key for keys in found for key in keys)
        return self._store

    def _matches(self, key: str, name: str, value: str) -> bool:
        version = self._store.live(key)
        if version is None:
            return False
        if name == "_id":
            return key.partition("/")[2] in _items(value)
        if name == "_lastUpdated":
            return _compared(version, value)
        return any(f"{name}={item}" in version.facts.tokens for item in _items(value))

    def _sorted(self, keys: list[str], by: str) -> list[str]:
        name, down = by.removeprefix("-"), by.startswith("-")
        if name == "_lastUpdated":
            return sorted(keys, key=lambda key: found.when if (found := self._store.version(key)) else 0, reverse=down)
        return sorted(keys, reverse=down) if name == "_id" else keys

    def _page(self, place: _Place) -> Answer:
        end = place.start + place.size
        links = []
        if end < len(place.keys):
            token = uuid.uuid4().hex
            self._pages[token] = place._replace(start=end)
            link = f"{self._settings.url}?_page={token}"
            links.append({"relation": "next", "url": self._settings.next_link(link)})
        entries = []
        for key in place.keys[place.start : end]:
            version = self._store.live(key)
            if version is not None and version.body is not None:
                body = msgspec.Raw(rendered(version.body, version.number, version.moment))
                full = f"{self._settings.url}/{key}"
                entries.append({"fullUrl": full, "resource": body, "search": {"mode": "match"}})
        return self._bundle({"total": len(place.keys), "link": links, "entry": entries})

    def _bundle(self, content: dict[str, Any]) -> Answer:
        meta = {"lastUpdated": self._settings.clock().isoformat(timespec="milliseconds")}
        bundle = {"resourceType": "Bundle", "meta": meta, "type": "searchset", **content}
        return Answer(200, msgspec.json.encode(bundle))


def _items(value: str) -> list[str]:
    """The alternatives of a value, at the commas that are not escaped."""
    return [re.sub(r"\\([,|$\\])", r"\1", item) for item in _COMMA.split(value)]


def _compared(version: Version, value: str) -> bool:
    compare = _COMPARE.get(value[:2])
    text = (value[2:] if compare else value).replace(" ", "+")
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Refused(400, "HAPI-1883: Invalid date/time format") from None
    return (compare or eq)(version.when, moment if moment.tzinfo else moment.replace(tzinfo=UTC))
