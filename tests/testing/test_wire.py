"""On the network: TLS, gzip, chunks, a sink, and what a test finds out about its own mistakes."""

from __future__ import annotations

import gzip
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
import requests

from fhirspace.testing import Fault, FaultyServer, serving
from tests.testing.talk import JSON, Talk, entry, patient, statuses


def test_gzip_both_ways(server: FaultyServer, talk: Talk) -> None:
    body = gzip.compress(b'{"resourceType":"Patient","id":"p","language":"' + b"x" * 2000 + b'"}')
    answer = talk("PUT", "Patient/p", body, Content_Encoding="gzip")
    assert (answer.status_code, answer.headers["Content-Encoding"]) == (201, "gzip")
    assert len(server.store["Patient/p"]) > 2000
    server.gzip = False
    assert "Content-Encoding" not in talk("GET", "Patient/p").headers
    with pytest.raises(requests.ConnectionError):
        talk("PUT", "Patient/p", b"no gzip", Content_Encoding="gzip")


def test_chunks(server: FaultyServer, talk: Talk) -> None:
    def pieces() -> Iterator[bytes]:
        yield b'{"resourceType":"Patient",'
        yield b'"id":"p"}'

    answer = talk.session.put(f"{server.url}/Patient/p", data=pieces(), headers=JSON, timeout=9)
    assert answer.status_code == 201


def test_a_client_that_dies_while_it_sends_does_nothing(server: FaultyServer, talk: Talk) -> None:
    port = int(server.url.split(":")[2].split("/")[0])
    with socket.create_connection(("127.0.0.1", port)) as line:
        line.sendall(b'PUT /fhir/Patient/p HTTP/1.1\r\nContent-Length: 100\r\n\r\n{"resourceType"')
        line.shutdown(socket.SHUT_WR)
        assert line.recv(100) == b""
    assert not server.store and not server.requests


def test_a_sink_keeps_no_bodies(tmp_path: Path) -> None:
    with serving(sink=True, integrity=False) as server, Talk(server.url) as talk:
        entries = [entry(patient(f"p{number}")) for number in range(100)]
        assert set(statuses(talk.bundle("transaction", *entries))) == {"201"}
        assert set(statuses(talk.bundle("batch", *entries))) == {"200"}
        assert statuses(talk.bundle("batch", entry(patient("p7", gender="male")))) == ["200"]
        assert talk.bundle("transaction", entry(patient("new")), entry(None, "GET", "Patient/none")).status_code == 404
        assert (len(server.store), server.versions["Patient/p7"], "Patient/new" in server.store) == (100, 2, False)
        assert talk("DELETE", "Patient/p1").ok
        assert [talk("GET", f"Patient/{name}").status_code for name in ("p1", "p2", "p300")] == [410, 200, 404]
        assert sorted(talk.search("Patient?_id=p1,p2,p3&_count=1")) == ["p2", "p3"]
        assert talk("GET", "Patient?_tag=x").status_code == 501
        assert len(talk("GET", "Patient/p7/_history").json()["entry"]) == 1
        assert b"".join(request.body for request in server.requests) == b""
        assert set(server.store) == set(server.versions) - {"Patient/p1"}
        for _ in range(3):
            del server.store["Patient/p2"]
            with pytest.raises(KeyError):
                del server.store["Patient/p2"]
            server.store["Patient/p2"] = b'{"resourceType":"Patient","id":"p2"}'
        server.store.clear()
        assert not server.store


def test_a_callable_that_fails_is_told_at_the_end() -> None:
    def wrong(method: str, url: str) -> bool:
        raise LookupError("in the test")

    with pytest.raises(RuntimeError) as caught, serving() as server, Talk(server.url) as talk:
        server.faults.append(Fault("broken", where=wrong))
        assert talk.put(patient("p")).status_code == 500
    assert isinstance(caught.value.__cause__, LookupError)


def test_when_it_is_over_nobody_answers(server: FaultyServer) -> None:
    with serving() as other, Talk(other.url) as talk:
        assert talk("GET", "metadata").ok
        with serving() as third:
            assert len({server.url, other.url, third.url}) == 3
    with pytest.raises(requests.ConnectionError):
        talk("GET", "metadata")


def test_it_needs_neither_pytest_nor_the_rest_of_the_package() -> None:
    code = (
        "import sys; sys.modules['pytest'] = None; import fhirspace.testing; "
        "print(sorted(m for m in sys.modules if m.startswith('fhirspace.')"
        " and not m.startswith(('fhirspace.testing', 'fhirspace.version'))),"
        "[m for m in ('requests', 'pyarrow', 'yaml') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] []"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of 127.0.0.1 that signs itself, with its key, in one PEM file."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    today = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(today - timedelta(days=1))
        .not_valid_after(today + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    plain = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    path.write_bytes(pem + signed.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.mark.parametrize("mutual", [False, True])
def test_tls_and_mutual_tls(certificate: Path, mutual: bool) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    if mutual:
        context.load_verify_locations(certificate)
        context.verify_mode = ssl.CERT_REQUIRED
    with serving(tls=context) as server, Talk(server.url) as talk:
        assert server.url.startswith("https://")
        with pytest.raises(requests.exceptions.SSLError):
            talk("GET", "metadata")
        talk.session.verify = str(certificate)
        if mutual:
            with pytest.raises(requests.exceptions.ConnectionError):
                talk("GET", "metadata")
            talk.session.cert = str(certificate)
        assert talk.put(patient("p")).status_code == 201
        for name in ("reset_after", "short_body"):
            server.faults.append(name)
            with pytest.raises(requests.exceptions.RequestException):
                talk.put(patient("p"))
        assert server.versions == {"Patient/p": 1}
