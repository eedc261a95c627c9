"""The faulty server on a port of this machine: HTTP and TLS, gzip, chunks, and answers that are damaged in transit."""

from __future__ import annotations

import gzip
import socket
import ssl
import struct
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from fhirspace.testing.messages import JSON, Answer, Request, document, outcome
from fhirspace.testing.server import FaultyServer

_WORTH_IT = 1000


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    faulty: FaultyServer

    def finish(self) -> None:
        """End a connection: what is read from is closed also where the client went away before all was sent."""
        try:
            super().finish()
        finally:
            self.rfile.close()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def date_time_string(self, timestamp: float | None = None) -> str:
        """The server's own time."""
        return format_datetime(self.faulty.clock().replace(microsecond=0), usegmt=True)

    def _handle(self) -> None:
        try:
            body = self._body()
        except (ValueError, EOFError, OSError, zlib.error):
            self.close_connection = True  # the client was killed while it sent, or sent what is no HTTP
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        try:
            answer = self.faulty.respond(Request(self.command, self.path, headers, body))
        except Exception as error:  # an error of a user's predicate is raised at the end of `serving`
            self.faulty.errors.append(error)
            answer = document(500, outcome("the test double failed"))
        self._send(answer)

    do_GET = do_PUT = do_POST = do_DELETE = do_PATCH = _handle  # noqa: N815 - the names of http.server

    def _body(self) -> bytes:
        """The body, whole and decompressed. Raises EOFError when the client went away."""
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            body = b"".join(self._chunks())
        else:
            size = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(size)
            if len(body) < size:
                raise EOFError
        return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline().split(b";")[0], 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass

    def _send(self, answer: Answer) -> None:
        if answer.wire == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            return
        sent = {"Content-Type": JSON} if answer.body else {}
        body = answer.body
        if self.faulty.gzip and len(body) >= _WORTH_IT and "gzip" in self.headers.get("Accept-Encoding", ""):
            body = gzip.compress(body, 1)
            sent["Content-Encoding"] = "gzip"
        self.send_response(answer.status)
        for name, value in {**sent, "Content-Length": str(len(body)), **answer.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if answer.wire == "short" else body)
        if answer.wire == "short":
            self.close_connection = True


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, handler: type[_Handler], tls: ssl.SSLContext | None) -> None:
        super().__init__(("127.0.0.1", port), handler)
        self._tls = tls
        self._open: set[socket.socket] = set()

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection, in its own thread; the TLS handshake belongs to it, so that nobody waits for another."""
        if self._tls is None:
            self._serve(request, client_address)
        else:
            with self._tls.wrap_socket(request, server_side=True) as secure:
                self._serve(secure, client_address)

    def _serve(self, connection: Any, client_address: Any) -> None:
        self._open.add(connection)
        try:
            super().finish_request(connection, client_address)
        finally:
            self._open.discard(connection)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Broken connections are intended here."""

    def close_connections(self) -> None:
        """End the connections that are open."""
        for connection in list(self._open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue


@contextmanager
def serving(*, tls: ssl.SSLContext | None = None, port: int = 0, **settings: Any) -> Iterator[FaultyServer]:
    """A faulty FHIR server on 127.0.0.1, for as long as the `with` block lasts; `server.url` is its FHIR base.

    Args:
        tls: makes it HTTPS; a context that asks for certificates makes it mutual.
        port: the port; 0 takes a free one.
        settings: attributes of `FaultyServer`: ``integrity=False``, ``sink=True``.

    Raises:
        RuntimeError: at the end, when a callable of the settings or of a fault raised while a request was served.
    """
    faulty = FaultyServer(**settings)
    http = _Http(port, type("Handler", (_Handler,), {"faulty": faulty}), tls)
    faulty.url = f"{'https' if tls else 'http'}://127.0.0.1:{http.server_port}/fhir"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield faulty
    finally:
        http.shutdown()
        thread.join()
        http.server_close()
        http.close_connections()
        with faulty.lock:
            faulty.store.close()
    if faulty.errors:
        raise RuntimeError("a callable given to the faulty server failed") from faulty.errors[0]
