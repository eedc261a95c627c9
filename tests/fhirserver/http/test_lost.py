"""What is said where nobody answers: which of name, port, proxy and time it was."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from fhirspace.errors import ServerError
from fhirspace.fhirserver.http.client import Client

FAR = "https://fhir.example.org/r4"
REFUSED = "refused the connection: nothing listens at this port"


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)


@contextmanager
def answering(answer: bytes | None) -> Iterator[int]:
    """The port of a program that answers so each time, or hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    peer, _ = listener.accept()
                except OSError:
                    return
                with peer:
                    peer.recv(65536)
                    if answer:
                        peer.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        yield int(listener.getsockname()[1])
        listener.shutdown(socket.SHUT_RDWR)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def why(server: str) -> str:
    with pytest.raises(ServerError, match="FS510") as caught:
        Client(server, attempts=2, sleep=lambda _: None).request("GET", "metadata")
    return caught.value.problem.detail


def test_nothing_listens() -> None:
    assert why(f"http://127.0.0.1:{free_port()}/fhir") == f"the server {REFUSED} (2 attempts)"


def test_a_name_that_nobody_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert why(FAR) == "the name of the host is not known (DNS) (2 attempts)"
    monkeypatch.setenv("HTTPS_PROXY", "http://us:secret@proxy.example.org:3128")
    assert why(FAR) == "the name of the proxy is not known (DNS) (2 attempts)"


def test_a_proxy_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://us:secret@127.0.0.1:{free_port()}")
    assert why(FAR) == f"the proxy {REFUSED} (2 attempts)"


def test_a_proxy_that_wants_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n") as port:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
        assert why(FAR) == "the proxy refused to connect with status 407 (2 attempts)"


def test_a_server_that_hangs_up() -> None:
    with answering(None) as port:
        assert (
            why(f"http://127.0.0.1:{port}/fhir")
            == "the connection was closed before an answer was complete (2 attempts)"
        )
