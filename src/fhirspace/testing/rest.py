"""Read, vread, history, create, update and delete, conditional or not, of one resource (FHIR, "http")."""

from __future__ import annotations

import itertools
import re
from datetime import datetime
from email.utils import format_datetime
from typing import Any

import msgspec

from fhirspace.testing.facts import facts_of, parsed, path_of, rendered, with_id
from fhirspace.testing.messages import Answer, Refused, Request, document, outcome
from fhirspace.testing.operation import Done, Operation
from fhirspace.testing.search import Search, parameters
from fhirspace.testing.settings import CANARY, Settings
from fhirspace.testing.store import Store, Version

_KIND = re.compile(r"[A-Z][A-Za-z]+")
_KEY = re.compile(r"[A-Z][A-Za-z]+/[A-Za-z0-9.-]{1,64}")


class Rest:
    """The interactions on a store, by the settings. Nothing here knows of HTTP connections, or of faults."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self.settings = settings
        self.store = store
        self.search = Search(settings, store)
        self._ids = itertools.count(1_000_001)

    def answer(self, request: Request) -> Answer:
        """The answer to a request, if no Bundle is to be done."""
        place = request.place.split("/")
        if not request.place:
            return self._at_the_base(request)
        if request.method == "GET" and len(place) > 2 and place[2] == "_history":
            return self._past(place)
        if request.method == "POST" and place[1:] == ["_search"]:
            self.allow("search-type")
            return self._searched(place[0], request.query, request.body.decode("utf-8", "replace"))
        if request.method == "GET" and len(place) == 1:
            self.allow("search-type")
            return self._searched(place[0], request.query)
        if request.method == "GET" and place[0] == "Patient" and place[2:] == ["$everything"]:
            self.allow("search-type")
            return self.search.everything("/".join(place[:2]), parameters(request.query))
        url = request.place + ("?" + request.query if request.query else "")
        done = self.alone(
            Operation(
                request.method,
                url,
                request.body,
                request.headers.get("if-match", ""),
                request.headers.get("if-none-exist", ""),
            )
        )
        return self._http(done, request)

    def _at_the_base(self, request: Request) -> Answer:
        if request.method == "GET" and request.query.startswith("_page="):
            return self.search.page(request.query.removeprefix("_page="))
        raise Refused(400, "HAPI-0287: the base takes Bundles, and has pages")

    def alone(self, operation: Operation) -> Done:
        """Do one operation, whole or not at all. Raises Refused."""
        self.prepare(operation)
        with self.store.atomic():
            self.resolve(operation)
            done = self.run(operation)
            self.check_references(done)
        return done

    def prepare(self, operation: Operation) -> None:
        """Decode the resource and judge it. Raises Refused: 400 it is none, 422 it is invalid."""
        if operation.method in ("PUT", "POST"):
            operation.resource = parsed(operation.body)
            if operation.resource["resourceType"] != operation.place.partition("/")[0]:
                raise Refused(400, "HAPI-0411: Incorrect resource type for this address")
            if self.settings.poison(operation.resource):
                raise Refused(500, "HAPI-0389: Failed to call access method")
            if self.settings.refuse(operation.resource):
                raise Refused(422, f"the value '{CANARY}' is wrong", [f"{operation.resource['resourceType']}.code"])

    def resolve(self, operation: Operation) -> None:
        """Find which resource it is about. Raises Refused: 400 bad address, 412 several match."""
        kind, query = operation.place, operation.url.partition("?")[2]
        if operation.method == "POST" and _KIND.fullmatch(kind):
            self._resolve_create(operation, kind)
        elif operation.method == "PUT" and _KIND.fullmatch(kind) and query:
            operation.key = self.matched(kind, query) or self._new(operation, kind)
        elif _KEY.fullmatch(operation.place):
            operation.key = operation.place
        elif operation.method != "GET" or not _KIND.fullmatch(kind):
            raise Refused(400, "HAPI-0003: Invalid address for this method")

    def _resolve_create(self, operation: Operation, kind: str) -> None:
        existing = self.matched(kind, operation.if_none_exist) if operation.if_none_exist else ""
        operation.found = bool(existing)
        operation.made = not existing
        operation.key = existing or f"{kind}/{next(self._ids)}"

    def matched(self, kind: str, query: str) -> str:
        """The key of the one that matches; "" for none. Raises Refused (412) for several."""
        keys = self.search.find(kind, parameters(query))
        if len(keys) > 1:
            raise Refused(412, f"HAPI-0958: Failed to process: this search matched {len(keys)} resources")
        return keys[0] if keys else ""

    def _new(self, operation: Operation, kind: str) -> str:
        """The key of what a conditional update creates: with the id of the resource if it has one."""
        if operation.resource.get("id"):
            return f"{kind}/{operation.resource['id']}"
        operation.made = True
        return f"{kind}/{next(self._ids)}"

    def run(self, operation: Operation) -> Done:
        """Do it, references unchecked. Raises Refused: 404, 405, 409, 410, 412."""
        if operation.method == "GET":
            return self._get(operation)
        if operation.method == "DELETE":
            self.allow("delete")
            return self._delete(operation)
        if operation.method in ("PUT", "POST"):
            self.allow("update" if operation.method == "PUT" else "create")
            return self._write(operation)
        raise Refused(405, f"HAPI-0005: {operation.method} is not supported")

    def check_references(self, done: Done) -> None:
        """Check the references after a write: 400, a target does not exist; 409, a deleted resource has references."""
        if not self.settings.integrity or done.version is None or done.unchanged:
            return
        for target in done.version.facts.refs if done.method != "GET" else ():
            if self.store.live(target) is None:
                path = path_of(parsed(done.version.body or b""), target, done.key.partition("/")[0])
                raise Refused(400, f"HAPI-1094: Resource {target} not found, specified in path: {path}")
        if done.method == "DELETE":
            for key in self.store.candidates(done.key):
                other = self.store.live(key)
                if other is not None and done.key in other.facts.refs:
                    raise Refused(
                        409, f"HAPI-0550: HAPI-0515: Unable to delete {done.key}: {key} has a reference to it"
                    )

    def _write(self, operation: Operation) -> Done:
        now = self.store.version(operation.key)
        live = now is not None and now.body is not None
        if operation.found:
            return Done(operation.method, 200, operation.key, now, unchanged=True)
        self._fresh(operation, now)
        body = self._named(operation)
        if now is None and not operation.made and not self.settings.client_ids:
            raise Refused(self.settings.client_id_status, "HAPI-0959: clients may not assign ids")
        facts = facts_of(operation.resource, self.settings.url)
        if now is not None and live and self.settings.keeps_version and now.facts.digest == facts.digest:
            return Done(operation.method, 200, operation.key, now, unchanged=True)
        version = Version(now.number + 1 if now else 1, body, self._moment(), facts)
        self.store.add(operation.key, version)
        return Done(operation.method, 200 if live else 201, operation.key, version)

    def _named(self, operation: Operation) -> bytes:
        """The body, with the id that it must have. Raises Refused (400) when it has another one."""
        name = operation.key.partition("/")[2]
        own = operation.resource.get("id")
        if own == name:
            return operation.body
        if operation.method == "PUT" and (own is not None or "?" not in operation.url):
            raise Refused(400, "HAPI-0420: Can not update resource, resource body must contain the ID of the URL")
        operation.resource["id"] = name
        return with_id(operation.body, name)

    def _delete(self, operation: Operation) -> Done:
        now = self.store.version(operation.key)
        if self.settings.guards_delete:
            self._fresh(operation, now)
        if now is None or now.body is None:
            return Done("DELETE", 200, operation.key, now, unchanged=True)
        version = Version(now.number + 1, None, self._moment())
        self.store.add(operation.key, version)
        return Done("DELETE", 200, operation.key, version)

    def _get(self, operation: Operation) -> Done:
        if not operation.key:
            self.allow("search-type")
            found = self._searched(operation.place, operation.url.partition("?")[2])
            return Done("GET", found.status, content=found.body)
        self.allow("read")
        now = self._known(operation.key)
        if now.body is None:
            raise Refused(410, f"HAPI-2013: Resource {operation.key} was deleted at {now.moment}")
        return Done("GET", 200, operation.key, now, content=rendered(now.body, now.number, now.moment))

    def _past(self, place: list[str]) -> Answer:
        """A version of a resource, or all of them, the newest first."""
        key = "/".join(place[:2])
        self._known(key)
        if len(place) == 3:
            self.allow("history-instance")
            entries = self._history(key)[::-1]
            bundle = {"resourceType": "Bundle", "type": "history", "total": len(entries), "entry": entries}
            return Answer(200, msgspec.json.encode(bundle))
        self.allow("vread")
        version = next((item for item in self.store.history(key) if str(item.number) == place[3]), None)
        if version is None:
            raise Refused(404, f'HAPI-0979: Version "{place[3]}" is not valid for resource {key}')
        if version.body is None:
            raise Refused(410, f"HAPI-2013: Resource {key} was deleted at {version.moment}")
        return self._http(
            Done("GET", 200, key, version, content=rendered(version.body, version.number, version.moment))
        )

    def _history(self, key: str) -> list[dict[str, Any]]:
        """The entries of a history, the oldest first; a resource that was deleted and created again is an update."""
        entries: list[dict[str, Any]] = []
        for version in self.store.history(key):
            method = "DELETE" if version.body is None else "PUT" if entries else "POST"
            done = Done(method, 201 if method == "POST" else 200, key, version)
            entry: dict[str, Any] = {"fullUrl": f"{self.settings.url}/{key}"}
            if version.body is not None:
                entry["resource"] = msgspec.Raw(done.written)
            entry["request"] = {"method": method, "url": f"{key}/_history/{version.number}"}
            entry["response"] = {"status": done.phrase, "etag": done.etag, "lastModified": version.moment}
            entries.append(entry)
        return entries

    def _known(self, key: str) -> Version:
        now = self.store.version(key)
        if now is None:
            raise Refused(404, f"HAPI-2001: Resource {key} is not known")
        return now

    def _fresh(self, operation: Operation, now: Version | None) -> None:
        """``If-Match`` names the version that is there. Raises Refused otherwise."""
        asked = operation.if_match.removeprefix("W/").strip('"')
        if self.settings.ignores_match or (now is None and self.settings.absent_match):
            return
        if operation.if_match and asked != (str(now.number) if now else ""):
            raise Refused(
                self.settings.stale_status, "HAPI-0974: Trying to update a version that is not the current one"
            )

    def _searched(self, kind: str, *queries: str) -> Answer:
        if kind not in self.settings.types:
            raise Refused(404, "HAPI-0302: Unknown resource type")
        return self.search.answer(kind, parameters(*queries))

    def allow(self, interaction: str) -> None:
        """Raises Refused (405) when the settings leave an interaction out."""
        if interaction not in self.settings.interactions:
            raise Refused(405, f"HAPI-0005: {interaction} is not supported")

    def _moment(self) -> datetime:
        now = self.settings.clock()
        return now.replace(microsecond=now.microsecond // 1000 * 1000)

    def _http(self, done: Done, request: Request | None = None) -> Answer:
        headers = {}
        if done.version is not None and done.method != "DELETE":
            moment = done.version.when.replace(microsecond=0)
            headers = {"ETag": done.etag, "Last-Modified": format_datetime(moment, usegmt=True)}
            if done.status == 201:
                headers["Location"] = f"{self.settings.url}/{done.key}/_history/{done.version.number}"
        if done.method == "DELETE" or (request and request.prefers("OperationOutcome")):
            return document(done.status, outcome("done", code="informational", severity="information"), headers)
        minimal = request is not None and done.method != "GET" and request.prefers("minimal")
        return Answer(done.status, b"" if minimal else done.content or done.written, headers)
