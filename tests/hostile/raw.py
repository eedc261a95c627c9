"""A server on this machine that answers with whatever bytes a test gives it, and remembers all that it was sent."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import Any, NamedTuple

FHIR = "application/fhir+json"


class Asked(NamedTuple):
    """A request: what came in its first line, headers in lower case, the body."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def token(self) -> str:
        """What it shows to be let in; "" for nothing."""
        return self.headers.get("authorization", "")


Answers = Callable[[Asked], bytes | Iterable[bytes]]


class Raw:
    """`url` is its FHIR base; `connections` counts those who came at all, with a request or without."""

    def __init__(self, answers: Answers) -> None:
        self.answers = answers
        self.url = self.place = ""
        self.asked: list[Asked] = []
        self.connections = 0

    @property
    def paths(self) -> list[str]:
        """Method and path of each request."""
        return [f"{each.method} {each.path}" for each in self.asked]


def answer(status: int = 200, body: object = b"", **headers: str) -> bytes:
    """A whole HTTP answer; what is no bytes becomes JSON. Headers are given as names with ``_`` for ``-``."""
    whole = body if isinstance(body, bytes) else json.dumps(body).encode()
    sent = {"content-type": FHIR, "content-length": str(len(whole))}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
    return f"HTTP/1.1 {status} Fine\r\n{head}\r\n".encode("latin-1") + whole


def chunk(data: bytes) -> bytes:
    """One chunk of an answer whose ``transfer-encoding`` is ``chunked``."""
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def searchset(*resources: object, link: str | None = None, total: int | None = None) -> dict[str, Any]:
    """A Bundle that answers a search, with a ``next`` link."""
    found: dict[str, Any] = {"resourceType": "Bundle", "type": "searchset"}
    found["entry"] = [{"resource": each, "search": {"mode": "match"}} for each in resources]
    found["total"] = len(resources) if total is None else total
    if link is not None:
        found["link"] = [{"relation": "next", "url": link}]
    return found


def statement(*types: object) -> dict[str, Any]:
    """A CapabilityStatement of R4 with these types."""
    listed = [{"type": kind, "interaction": [{"code": "search-type"}, {"code": "update"}]} for kind in types]
    return {"resourceType": "CapabilityStatement", "fhirVersion": "4.0.1", "rest": [{"resource": listed}]}


def patient(name: object = "p-1", study: str = "S", **more: Any) -> dict[str, Any]:
    """A Patient of a study."""
    tag = {"system": "https://fhirspace.org/study", "code": study}
    return {"resourceType": "Patient", "id": name, "meta": {"versionId": "1", "tag": [tag]}, **more}


class _Handler(StreamRequestHandler):
    raw: Raw

    def handle(self) -> None:
        self.raw.connections += 1
        self.connection.settimeout(20)
        with suppress(OSError, ValueError):
            while self._one():
                pass

    def _one(self) -> bool:
        line = self.rfile.readline(65536).decode("latin-1").split()
        if len(line) < 2:
            return False
        headers = {}
        while text := self.rfile.readline(65536).decode("latin-1").strip():
            name, _, value = text.partition(":")
            headers[name.strip().lower()] = value.strip()
        body = self.rfile.read(int(headers.get("content-length", 0)))
        asked = Asked(line[0], line[1], headers, body)
        self.raw.asked.append(asked)
        said = self.raw.answers(asked)
        for piece in [said] if isinstance(said, bytes) else said:
            self.wfile.write(piece)
        return isinstance(said, bytes)


class _Server(ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, *_: object) -> None:
        """A client that hangs up is what the tests are about."""


@contextmanager
def listening(answers: Answers = lambda _: answer(404), host: str = "127.0.0.1") -> Iterator[Raw]:
    """Serve until the block is left."""
    raw = Raw(answers)
    with _Server((host, 0), type("Handler", (_Handler,), {"raw": raw})) as server:
        raw.place = f"{host}:{server.server_address[1]}"
        raw.url = f"http://{raw.place}/fhir"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.005})
        thread.start()
        try:
            yield raw
        finally:
            server.shutdown()
            thread.join()


def resolving(monkeypatch: Any, raw: Raw) -> None:
    """Every connection, to whatever name and port, comes to `raw`."""
    host, _, port = raw.place.partition(":")

    def connect(_: object, timeout: float | None = None, *__: object, **___: object) -> socket.socket:
        return socket.create_connection((host, int(port)), timeout if isinstance(timeout, int | float) else 5)

    monkeypatch.setattr("urllib3.util.connection.create_connection", connect)
