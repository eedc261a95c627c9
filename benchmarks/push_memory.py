"""Peak memory of ``fhirspace push`` for a small and a large folder, on a server that takes all and keeps nothing."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from benchmarks.push_contenders import Spent, fhirspace, spend
from benchmarks.push_corpus import TYPES, write

_URL = re.compile(rb'"request":\{"method":"PUT","url":"([^"]+)"')


class _Sink(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: a line a request would be what is measured."""

    def do_GET(self) -> None:
        if not self.path.endswith("/metadata"):
            self._answer(404, b'{"resourceType":"OperationOutcome","issue":[]}')
            return
        kinds = [{"type": kind, "updateCreate": True} for kind in (*TYPES, "Provenance")]
        rest = {"mode": "server", "interaction": [{"code": "transaction"}], "resource": kinds}
        statement = {"resourceType": "CapabilityStatement", "fhirVersion": "4.0.1", "rest": [rest]}
        self._answer(200, json.dumps(statement).encode())

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        parts = [
            b'{"response":{"status":"201 Created","etag":"W/\\"1\\"","location":"' + url + b'/_history/1"}}'
            for url in _URL.findall(body)
        ]
        kind = b"transaction-response" if parts else b"searchset"
        self._answer(200, b'{"resourceType":"Bundle","type":"' + kind + b'","entry":[' + b",".join(parts) + b"]}")

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/fhir+json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def _sink() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Sink)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/fhir"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def memory(work: Path, sizes: Sequence[int], options: Sequence[str] = ()) -> list[Spent]:
    """What a push of so many resources took, for each of `sizes`. Raises RuntimeError when one did not end well."""
    found = []
    with _sink() as server:
        for size in sizes:
            folder = work / f"memory-{size}"
            write(folder, size, "mem")
            spent = spend(fhirspace(options).command(folder, server), work / "memory.log")
            if spent.code:
                raise RuntimeError(f"push ended with {spent.code}: {(work / 'memory.log').read_text('utf-8')[-2000:]}")
            found.append(spent)
            shutil.rmtree(folder)
    return found
