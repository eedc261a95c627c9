"""A file server for the time of an import: a few files, each at a path that nobody can guess, read and nothing else."""

from __future__ import annotations

import secrets
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from fhirspace.errors import UsageError
from fhirspace.fhirserver.http.origin import is_this_machine

NDJSON = "application/fhir+ndjson"
LOCAL = "127.0.0.1"
_QUIET_SECONDS = 60.0


@dataclass(slots=True)
class FileServer:
    """What is served: `base` is its URL, with the secret path."""

    base: str
    files: dict[str, Path] = field(default_factory=dict)

    def offer(self, files: Sequence[Path]) -> None:
        """Serve these files, by their names, and no others."""
        self.files = {f"/{self.base.rsplit('/', 1)[1]}/{file.name}": file for file in files}


@contextmanager
def serving(bind: str = LOCAL) -> Iterator[FileServer]:
    """Serve files at ``HOST[:PORT]`` until the block is left; without a port the system chooses one.

    Raises:
        UsageError: FS598, nobody could find this address, or it cannot be listened on.
    """
    host, port = _address(bind)
    served = FileServer("")
    try:
        http = _Server((host, port), type("Handler", (_Handler,), {"served": served}))
    except OSError as error:
        raise UsageError(
            "FS598", "--bulk-bind", "an address of this machine with a free port", error.strerror or ""
        ) from error
    served.base = f"http://{host}:{http.server_port}/{secrets.token_urlsafe(32)}"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield served
    finally:
        http.shutdown()
        thread.join()
        http.server_close()


def host_of(bind: str) -> str:
    """The host of ``HOST[:PORT]``. Raises UsageError (FS598): nobody could find it."""
    return _address(bind)[0]


def consented(bind: str, *, allowed: bool) -> None:
    """Raises UsageError: FS595, files would go to other machines unencrypted; FS598 as `serving`."""
    if not allowed and not is_this_machine(host_of(bind)):
        raise UsageError("FS595", "--bulk-bind", "an address of this machine alone, such as 127.0.0.1")


def _address(bind: str) -> tuple[str, int]:
    host, _, port = bind.partition(":")
    if not host or host == "0.0.0.0" or (port and not port.isdigit()) or int(port or 0) > 65535:  # noqa: S104  # nosec B104
        raise UsageError("FS598", "--bulk-bind", "HOST or HOST:PORT, as the server can reach it")
    return host, int(port or 0)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing is printed: a trace could quote the request."""


class _Handler(BaseHTTPRequestHandler):
    served: FileServer
    timeout = _QUIET_SECONDS
    server_version, sys_version = "fhirspace", ""

    def log_message(self, format: str, *args: Any) -> None:
        """No log: paths are secret."""

    def do_GET(self) -> None:
        """One of the files, whole; 404 for anything else."""
        # Looked up by hash in a table of a few entries: its time reveals nothing of 256 random bits.
        file = self.served.files.get(self.path)
        if file is None:
            self.send_error(404)
            return
        with file.open("rb") as source:
            self.send_response(200)
            self.send_header("Content-Type", NDJSON)
            self.send_header("Content-Length", str(file.stat().st_size))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            shutil.copyfileobj(source, self.wfile, 1 << 20)
