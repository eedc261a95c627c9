"""A FHIR server without a network, whose data others change while its pages are read: a `Transport`.

It keeps versions and times, tells totals, and pages either through a snapshot or by counting rows anew ("offset"). Its
order is that of the last change, so that an update moves a resource to the end, as on servers that sort so.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

from fhirspace.fhirserver.http.client import Response
from tests.support.resources import STUDY, resource

BEGIN = datetime(2026, 3, 1, tzinfo=UTC)


class MovingServer:
    """`between` is called before each page after a first one; `totals` says whether it counts."""

    url = "http://moving.example/fhir"

    def __init__(self, style: str = "offset", page: int = 3) -> None:
        self.style, self.page = style, page
        self.totals = True
        self.now = BEGIN
        self.store: dict[str, dict[str, Any]] = {}
        self.between: Callable[[], None] = lambda: None
        self.snapshots: list[list[dict[str, Any]]] = []
        self.requests: list[tuple[str, str, dict[str, list[str]]]] = []

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def put(self, kind: str, id_: str, study: str = STUDY, *, late: float = 0, **elements: Any) -> None:
        """A resource created or updated now. `late`: it got its time these seconds ago, and is visible only now."""
        self.now += timedelta(seconds=0 if late else 60)
        key = f"{kind}/{id_}"
        version = int(self.store[key]["meta"]["versionId"]) + 1 if key in self.store else 1
        body = resource(kind, id_, study, **elements)
        body["meta"] |= {"versionId": str(version), "lastUpdated": (self.now - timedelta(seconds=late)).isoformat()}
        self.store.pop(key, None)
        self.store[key] = body

    def delete(self, kind: str, name: str) -> None:
        self.now += timedelta(seconds=60)
        del self.store[f"{kind}/{name}"]

    def send(self, method: str, path: str, body: bytes | None = None, headers: Any = None) -> Response:
        parts = urlsplit(path)
        query = parse_qs((body or b"").decode() or parts.query)
        self.requests.append((method, parts.path, query))
        if path == "metadata":
            kinds = ["Observation", "Organization", "Patient"]
            found = {"resourceType": "CapabilityStatement", "rest": [{"resource": [{"type": kind} for kind in kinds]}]}
            return self._answer(200, found)
        if parts.path.endswith("_search"):
            return self._page(self._matches(path.split("/", maxsplit=1)[0], query), query, 0)
        if "offset" in query:
            self.between()
            matches = self._matches(query["kind"][0], query)
            if self.style == "snapshot":
                matches = self.snapshots[int(query["snapshot"][0])]
            return self._page(matches, query, int(query["offset"][0]))
        stored = self.store.get(path)
        return self._answer(200, stored) if stored else self._answer(410, {"resourceType": "OperationOutcome"})

    def _matches(self, kind: str, query: dict[str, list[str]]) -> list[dict[str, Any]]:
        code = query["_tag"][0].split("|")[1]
        since = datetime.fromisoformat(query.get("_lastUpdated", ["ge" + BEGIN.isoformat()])[0].removeprefix("ge"))
        return [
            body
            for key, body in self.store.items()
            if key.startswith(kind + "/")
            and any(tag["code"] == code for tag in body["meta"]["tag"])
            and datetime.fromisoformat(body["meta"]["lastUpdated"]) >= since
        ]

    def _page(self, matches: list[dict[str, Any]], query: dict[str, list[str]], offset: int) -> Response:
        bundle: dict[str, Any] = {"resourceType": "Bundle", "type": "searchset"}
        if self.totals:
            bundle["total"] = len(matches)
        if "_summary" in query:
            return self._answer(200, bundle)
        bundle["entry"] = [{"resource": body} for body in matches[offset : offset + self.page]]
        if offset + self.page < len(matches):
            if offset == 0:
                self.snapshots.append(matches)
            same = "&".join(
                f"{name}={query[name][0].replace('+', '%2B')}" for name in ("_tag", "_lastUpdated") if name in query
            )
            kind = matches[0]["resourceType"]
            link = f"?kind={kind}&offset={offset + self.page}&snapshot={len(self.snapshots) - 1}&{same}"
            bundle["link"] = [{"relation": "next", "url": link}]
        return self._answer(200, bundle)

    def _answer(self, status: int, body: dict[str, Any]) -> Response:
        head = {"content-type": "application/fhir+json", "date": self.now.strftime("%a, %d %b %Y %H:%M:%S GMT")}
        return Response(status, head, json.dumps(body).encode())
