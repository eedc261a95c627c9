"""A FHIR server in this process, small and as unreliable as asked: it keeps versions, and misbehaves by a script."""

from __future__ import annotations

import json
import re
import socket
import struct
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

_TRANSACTION_LOCK = threading.Lock()


class FaultyServer:
    """`faults` are taken one a transaction or search: names of `_Handler` methods, or None for good behaviour.

    `refuse` says of a resource (decoded) whether it is invalid; `versions` counts what was really written.
    """

    def __init__(self) -> None:
        self.faults: deque[str | None] = deque()
        self.refuse: Callable[[dict[str, Any]], bool] = lambda resource: False
        self.name_entries = True
        self.integrity = True
        self.store: dict[str, bytes] = {}
        self.versions: dict[str, int] = defaultdict(int)
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        self.fhir_version = "4.0.1"
        self.page = 500
        self.next_link: str | None = None
        self.types = ["Observation", "Organization", "Patient", "ResearchStudy"]
        self.lock = _TRANSACTION_LOCK
        self.url = ""

    def transactions(self) -> list[bytes]:
        return [body for method, path, _, body in self.requests if method == "POST" and path == "/fhir"]

    def apply(self, body: bytes) -> tuple[int, dict[str, Any]]:
        """A transaction, all or nothing: (status, answer)."""
        entries = json.loads(body)["entry"]
        raw = [part.split(b',"request":{')[0] for part in body.split(b'"resource":')[1:]]
        bad = [index for index, entry in enumerate(entries) if self.refuse(entry["resource"])]
        if bad:
            return 422, self.outcome([f"Bundle.entry[{index}].resource.code" for index in bad])
        known = self.store.keys() | {entry["request"]["url"] for entry in entries}
        for entry in entries:
            for target in re.findall(r'"reference": "([^"]+)"', json.dumps(entry["resource"])):
                if self.integrity and target not in known:
                    return 400, self.outcome(
                        [], f"HAPI-1094: Resource {target} not found, specified in path: X.subject"
                    )
        return 200, {"resourceType": "Bundle", "entry": [self.put(e, r) for e, r in zip(entries, raw, strict=True)]}

    def put(self, entry: dict[str, Any], raw: bytes) -> dict[str, Any]:
        key = entry["request"]["url"]
        if self.store.get(key) == raw:
            return {"response": {"status": "200 OK", "etag": f'W/"{self.versions[key]}"'}}
        self.store[key] = raw
        self.versions[key] += 1
        status = "201 Created" if self.versions[key] == 1 else "200 OK"
        return {"response": {"status": status, "etag": f'W/"{self.versions[key]}"'}}

    def outcome(self, places: list[str], diagnostics: str = "the value 'SECRET-CANARY' is wrong") -> dict[str, Any]:
        places = places if self.name_entries else []
        issues = [
            {"severity": "error", "code": "processing", "diagnostics": diagnostics, "expression": [place]}
            for place in places
        ] or [{"severity": "error", "code": "processing", "diagnostics": diagnostics}]
        return {"resourceType": "OperationOutcome", "issue": issues}

    def search(self, kind: str, offset: int) -> bytes:
        keys = [key for key in self.store if key.startswith(kind + "/")]
        links = []
        if offset + self.page < len(keys):
            url = self.next_link or f"{self.url}?_page={offset + self.page}&kind={kind}"
            links.append({"relation": "next", "url": url})
        entries = b",".join(b'{"resource":' + self.store[key] + b"}" for key in keys[offset : offset + self.page])
        head = json.dumps({"resourceType": "Bundle", "type": "searchset", "link": links})
        return head[:-1].encode() + b', "entry":[' + entries + b"]}"

    def capabilities(self) -> dict[str, Any]:
        resources = [{"type": kind, "interaction": [{"code": "search-type"}]} for kind in self.types]
        return {
            "resourceType": "CapabilityStatement",
            "fhirVersion": self.fhir_version,
            "rest": [{"resource": [*resources, {"type": "Binary", "interaction": [{"code": "read"}]}]}],
        }


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    faulty: FaultyServer

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._note(b"")
        parts = urlsplit(self.path)
        query = parse_qs(parts.query)
        if parts.path == "/fhir/metadata":
            self._json(200, self.faulty.capabilities())
        elif "_page" in query:
            self._misbehave(lambda: (200, self.faulty.search(query["kind"][0], int(query["_page"][0]))))
        else:
            found = self.faulty.store.get(parts.path.removeprefix("/fhir/"))
            self._answer(200, found) if found else self._json(404, self.faulty.outcome([]))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if len(body) < int(self.headers["Content-Length"]):
            self.close_connection = True  # the client was killed while it sent
            return
        self._note(body)
        if self.path.endswith("/_search"):
            kind = self.path.split("/")[2]
            if kind not in self.faulty.types:
                self._json(400, self.faulty.outcome([]))
            else:
                self._misbehave(lambda: (200, self.faulty.search(kind, 0)))
        else:
            self._misbehave(lambda: self._applied(body))

    def _applied(self, body: bytes) -> tuple[int, bytes]:
        with self.faulty.lock:
            status, answer = self.faulty.apply(body)
        return status, json.dumps(answer).encode()

    def _misbehave(self, work: Callable[[], tuple[int, bytes]]) -> None:
        fault = self.faulty.faults.popleft() if self.faulty.faults else None
        if fault is None:
            self._answer(*work())
        else:
            getattr(self, f"_{fault}")(work)

    def _too_many(self, work: Any) -> None:
        self._answer(429, b"{}", {"Retry-After": "1"})

    def _unavailable(self, work: Any) -> None:
        self._answer(503, b"busy", {"Content-Type": "text/plain"})

    def _broken(self, work: Any) -> None:
        self._json(500, self.faulty.outcome([]))

    def _conflict(self, work: Any) -> None:
        self._json(409, self.faulty.outcome([], "HAPI-0550: conflict"))

    def _forbidden(self, work: Any) -> None:
        self._json(403, self.faulty.outcome([]))

    def _moved(self, work: Any) -> None:
        self._answer(302, b"", {"Location": "http://127.0.0.1:9/elsewhere"})

    def _no_bundle(self, work: Any) -> None:
        work()
        self._json(200, {"resourceType": "Bundle"})

    def _strange(self, work: Any) -> None:
        work()
        self._answer(200, b'{"resourceType":"Bundle","entry":5}')

    def _gone(self, work: Any) -> None:
        self._json(410, self.faulty.outcome([]))

    def _reset_before(self, work: Any) -> None:
        self._reset()

    def _reset_after(self, work: Any) -> None:
        work()
        self._reset()

    def _short_body(self, work: Any) -> None:
        status, body = work()
        self._answer(status, body[: len(body) // 2], {"Content-Length": str(len(body))})
        self.close_connection = True

    def _cut_json(self, work: Any) -> None:
        status, body = work()
        self._answer(status, body[: len(body) // 2])

    def _slow(self, work: Any) -> None:
        status, body = work()
        time.sleep(1)
        self._answer(status, body)

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def _note(self, body: bytes) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.faulty.requests.append((self.command, self.path, headers, body))

    def _json(self, status: int, document: Any) -> None:
        self._answer(status, json.dumps(document).encode())

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        sent = {"Content-Type": "application/fhir+json", "Content-Length": str(len(body)), **(headers or {})}
        self.send_response(status)
        for name, value in sent.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


@contextmanager
def serving() -> Iterator[FaultyServer]:
    faulty = FaultyServer()
    http = _Quiet(("127.0.0.1", 0), type("Handler", (_Handler,), {"faulty": faulty}))
    faulty.url = f"http://127.0.0.1:{http.server_port}/fhir"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield faulty
    finally:
        http.shutdown()
        thread.join()
        http.server_close()
