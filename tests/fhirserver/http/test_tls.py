"""The certificate of a real TLS server on this machine, directly and through a proxy."""

from __future__ import annotations

import importlib.util
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from fhirspace.fhirserver.http.tls import certificate, proxy_of

ENDS = datetime(2040, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with a key and a certificate for 127.0.0.1 that vouches for itself."""
    if importlib.util.find_spec("cryptography") is None:
        message = "NO CERTIFICATES: cryptography is not installed"
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail(message)
        pytest.skip(message)
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "A Hospital")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - timedelta(days=1))
        .not_valid_after(ENDS)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = tmp_path_factory.mktemp("tls") / "server.pem"
    file.write_bytes(secret + made.public_bytes(serialization.Encoding.PEM))
    return file


def listen(serve: Callable[[socket.socket], None]) -> tuple[socket.socket, threading.Thread]:
    listener = socket.create_server(("127.0.0.1", 0))

    def run() -> None:
        with suppress(OSError):
            while True:
                taken, _ = listener.accept()
                with taken, suppress(OSError):
                    serve(taken)

    thread = threading.Thread(target=run)
    thread.start()
    return listener, thread


def close(listener: socket.socket, thread: threading.Thread) -> None:
    with suppress(OSError):
        listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()


@pytest.fixture
def port(signed: Path) -> Iterator[int]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(signed)

    def serve(taken: socket.socket) -> None:
        with context.wrap_socket(taken, server_side=True) as wrapped:
            wrapped.recv(1)

    listener, thread = listen(serve)
    yield listener.getsockname()[1]
    close(listener, thread)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)


def test_version_issuer_and_end_are_read(port: int, signed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(signed))
    found = certificate(f"https://127.0.0.1:{port}/fhir")
    assert found is not None
    assert (found.version, found.issuer, found.ends) == ("TLSv1.3", "A Hospital", ENDS)


def test_one_that_nobody_vouches_for_is_not_read(port: int) -> None:
    assert certificate(f"https://127.0.0.1:{port}/fhir") is None


def test_a_server_that_is_not_there_says_nothing(signed: Path) -> None:
    assert certificate("https://127.0.0.1:9/fhir") is None


def test_it_is_read_through_a_proxy_that_wants_a_password(
    port: int, signed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bytes] = []

    def serve(taken: socket.socket) -> None:
        asked.append(taken.recv(4096))
        taken.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        with socket.create_connection(("127.0.0.1", port)) as behind:
            back = threading.Thread(target=carry, args=(behind, taken))
            back.start()
            carry(taken, behind)
            back.join()

    listener, thread = listen(serve)
    proxy = f"http://us%40er:secret@127.0.0.1:{listener.getsockname()[1]}"
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(signed))
    server = f"https://127.0.0.1:{port}/fhir"
    try:
        assert proxy_of(server) == proxy
        found = certificate(server)
    finally:
        close(listener, thread)
    assert found is not None
    assert found.ends == ENDS
    assert asked[0].startswith(f"CONNECT 127.0.0.1:{port} HTTP/1.".encode())
    assert b"Proxy-Authorization: Basic dXNAZXI6c2VjcmV0\r\n" in asked[0]


def carry(one: socket.socket, other: socket.socket) -> None:
    with suppress(OSError):
        while data := one.recv(4096):
            other.sendall(data)
        other.shutdown(socket.SHUT_WR)
