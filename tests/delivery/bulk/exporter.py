"""A FHIR server that exports, over HTTP in this process, as HL7's Bulk Data Access guide says; and is told to misbehave."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

KINDS = ["Binary", "Observation", "Organization", "Patient", "ResearchStudy"]


class Exporter:
    """`files` maps a name to type and content; the job is ready after `looks` looks.

    A job that is asked with a filter exports what has the study's tag, unless `unfiltered`.

    `ranges`: pieces can be had. `refuse`: which kick-offs are refused, by method and whether they filter. `stall`: the
    path whose next piece is not answered until `go` is set; then `stalled` is set.
    """

    def __init__(self, files: dict[str, tuple[str, bytes]]) -> None:
        self.files = files
        self.looks = 2
        self.ranges = True
        self.token = True
        self.errors: dict[str, bytes] = {}
        self.refuse: set[tuple[str, bool]] = set()
        self.failed = False
        self.unsure = False
        self.expired: set[str] = set()
        self.refused: set[str] = set()
        self.counts = True
        self.elsewhere = ""
        self.unfiltered = False
        self.jobs: list[int] = []
        self.filters: list[bool] = []
        self.deleted: list[str] = []
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        self.stall = ""
        self.stalled, self.go = threading.Event(), threading.Event()
        self.url = ""

    def kick_offs(self) -> list[tuple[str, str, dict[str, str], bytes]]:
        return [request for request in self.requests if "$export" in request[1]]

    def fetched(self) -> list[tuple[str, str]]:
        """Path and range of each file that was asked for."""
        return [(path, headers.get("range", "")) for _, path, headers, _ in self.requests if "/files/" in path]

    def content(self, job: str, name: str) -> bytes:
        """What a job exports of a file."""
        body = self.files[name][1]
        if self.unfiltered or not self.filters[int(job)]:
            return body
        return b"".join(line for line in body.splitlines(keepends=True) if b'"code":"OTHER"' not in line)

    def manifest(self, job: str) -> dict[str, Any]:
        base = self.elsewhere or self.url
        return {
            "transactionTime": "2026-03-01T00:00:00Z",
            "request": f"{self.url}/$export",
            "requiresAccessToken": self.token,
            "output": [
                {
                    "type": kind,
                    "url": f"{base}/files/{job}/{name}",
                    **({"count": len(self.content(job, name).splitlines())} if self.counts else {}),
                }
                for name, (kind, _) in self.files.items()
            ],
            "error": [{"type": "OperationOutcome", "url": f"{base}/files/{job}/{name}"} for name in self.errors],
            "extension": {"anything": [1]},
        }


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    exporter: Exporter

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._handle(b"")

    def do_DELETE(self) -> None:
        self._handle(b"")

    def do_POST(self) -> None:
        self._handle(self.rfile.read(int(self.headers["Content-Length"])))

    def _handle(self, body: bytes) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.exporter.requests.append((self.command, self.path, headers, body))
        path = urlsplit(self.path).path.removeprefix("/fhir/")
        if path == "metadata":
            found = [{"type": kind} for kind in KINDS]
            self._json(200, {"resourceType": "CapabilityStatement", "rest": [{"resource": found}]})
        elif path.endswith("$export"):
            self._kick_off(headers, body)
        elif path.startswith("jobs/"):
            self._job(path.split("/")[1])
        else:
            _, job, name, *_ = path.split("/")
            self._file(job, name, asked=headers.get("range", ""))

    def _kick_off(self, headers: dict[str, str], body: bytes) -> None:
        filtered = b"_typeFilter" in body or "_typeFilter" in parse_qs(urlsplit(self.path).query)
        if (self.command, filtered) in self.exporter.refuse or headers.get("prefer") != "respond-async":
            self._json(
                400, {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "not-supported"}]}
            )
            return
        if self.exporter.unsure:
            self._json(200, {"resourceType": "Bundle"})
            return
        self.exporter.jobs.append(0)
        self.exporter.filters.append(filtered)
        place = f"{self.exporter.url}/jobs/{len(self.exporter.jobs) - 1}"
        self._answer(202, b"", {"Content-Location": place})

    def _job(self, job: str) -> None:
        if self.command == "DELETE":
            self.exporter.deleted.append(job)
            self._answer(202, b"")
        elif job in self.exporter.expired:
            self._json(404, {"resourceType": "OperationOutcome", "issue": []})
        elif self.exporter.jobs[int(job)] < self.exporter.looks:
            self.exporter.jobs[int(job)] += 1
            done = 100 * self.exporter.jobs[int(job)] // (self.exporter.looks + 1)
            self._answer(202, b"", {"Retry-After": "120", "X-Progress": f"{done}.5% done"})
        elif self.exporter.failed:
            issue = {"severity": "error", "code": "exception", "diagnostics": "HAPI-1234: SECRET-CANARY"}
            self._json(500, {"resourceType": "OperationOutcome", "issue": [issue]})
        else:
            self._json(200, self.exporter.manifest(job))

    def _file(self, job: str, name: str, asked: str) -> None:
        if job in self.exporter.refused:
            self._answer(403, b"<Error><Code>AccessDenied</Code></Error>", {"Content-Type": "application/xml"})
            return
        if job in self.exporter.expired:
            self._json(410, {"resourceType": "OperationOutcome", "issue": []})
            return
        body = self.exporter.errors.get(name) or self.exporter.content(job, name)
        start = int(asked.removeprefix("bytes=").split("-")[0]) if asked else 0
        if self.exporter.stall == name and start:
            self.exporter.stalled.set()
            self.exporter.go.wait(30)
        ndjson = {"Content-Type": "application/fhir+ndjson"}
        if not (asked and self.exporter.ranges):
            self._answer(200, body, ndjson)
        elif start >= len(body):
            self._answer(416, b"", {"Content-Range": f"bytes */{len(body)}"})
        else:
            piece = body[start : int(asked.split("-")[1]) + 1]
            span = f"bytes {start}-{start + len(piece) - 1}/{len(body)}"
            self._answer(206, piece, {**ndjson, "Content-Range": span})

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
def exporting(files: dict[str, tuple[str, bytes]]) -> Iterator[Exporter]:
    exporter = Exporter(files)
    http = _Quiet(("127.0.0.1", 0), type("Handler", (_Handler,), {"exporter": exporter}))
    exporter.url = f"http://127.0.0.1:{http.server_port}/fhir"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield exporter
    finally:
        exporter.go.set()
        http.shutdown()
        thread.join()
        http.server_close()
