"""Certificates and proxies against real TLS: whom we trust, what we show, and what nobody can switch off."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from fhirspace.errors import FhirspaceError, ServerError, UsageError
from fhirspace.fhirserver.config import connect
from fhirspace.fhirserver.http.client import Client
from fhirspace.fhirserver.http.links import Link
from fhirspace.fhirserver.http.transport import HttpTransport, LostAnswer, Network
from fhirspace.testing import FaultyServer
from tests.fhirserver.auth.authority import AuthorityServer, serving
from tests.fhirserver.auth.certificates import Authority
from tests.fhirserver.auth.proxy import Proxy, proxying

Settings = Callable[..., Path]
Start = Callable[..., AuthorityServer]


@pytest.fixture(autouse=True)
def _quiet_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
            monkeypatch.delenv(name)


@pytest.fixture
def start(faulty: FaultyServer) -> Iterator[Start]:
    """Starts a server that knows the token ``SIGNIN-CANARY`` with this certificate."""
    with ExitStack() as stack:

        def run(certificate: Path, clients: Path | None = None) -> AuthorityServer:
            authority = AuthorityServer(faulty)
            authority._save({"access_token": "SIGNIN-CANARY", "expires_in": 9999, "scope": "system/*.cruds"}, None)
            return stack.enter_context(serving(authority, certificate, clients))

        yield run


@pytest.fixture
def secret(tmp_path: Path) -> str:
    file = tmp_path / "secret"
    file.write_text("SIGNIN-CANARY\n")
    return str(file)


def asked(settings: Settings, **fields: Any) -> int:
    """The status that a server of these settings gives a read."""
    client: Client = connect("main", settings(**fields)).client
    client.attempts, client.sleep = 3, lambda _: None
    return client.request("GET", "Patient/none").status


def test_a_private_authority_is_trusted_when_it_is_named(
    start: Start, certificates: Authority, settings: Settings, secret: str
) -> None:
    server = start(certificates.issue("server"))
    fields = {"url": server.url + "/fhir", "sign_in": "bearer", "token_file": secret}
    assert asked(settings, **fields, ca=str(certificates.file)) == 404
    assert server.shown == ["Bearer SIGNIN-CANARY"]
    with pytest.raises(ServerError, match="FS546") as caught:
        asked(settings, **fields)
    assert caught.value.exit_code == 4


@pytest.mark.parametrize("kind", ["self-signed", "other authority", "other name", "expired"])
def test_a_certificate_that_nobody_vouches_for_is_refused_before_the_token_is_shown(
    kind: str, start: Start, certificates: Authority, settings: Settings, secret: str
) -> None:
    other = Authority(certificates.folder, "other")
    made = {
        "self-signed": lambda: certificates.self_signed("self"),
        "other authority": lambda: other.issue("stranger"),
        "other name": lambda: certificates.issue("elsewhere", names=[x509.DNSName("other.test")]),
        "expired": lambda: certificates.issue("expired", life=timedelta(days=-1)),
    }
    server = start(made[kind]())
    fields = {"url": server.url + "/fhir", "sign_in": "bearer", "token_file": secret, "ca": str(certificates.file)}
    with pytest.raises(ServerError, match="FS546") as caught:
        asked(settings, **fields)
    assert "CANARY" not in str(caught.value)
    assert server.shown == []


@pytest.mark.parametrize("value", ["", "0", "false"])
def test_the_environment_cannot_switch_the_check_off(
    value: str, start: Start, certificates: Authority, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start(certificates.self_signed("self"))
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PYTHONHTTPSVERIFY"):
        monkeypatch.setenv(name, value)
    with pytest.raises(ServerError, match=r"FS5(46|10)"):
        asked(settings, url=server.url + "/fhir")
    assert server.shown == []
    with pytest.raises(UsageError, match=r"FS541.*verify"):
        connect("main", settings(url=server.url + "/fhir", verify=False))


def test_an_authority_of_the_environment_does_not_come_in_place_of_the_named_one(
    start: Start, certificates: Authority, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Authority(certificates.folder, "other")
    server = start(other.issue("stranger"))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(other.file))
    with pytest.raises(ServerError, match="FS546"):
        asked(settings, url=server.url + "/fhir", ca=str(certificates.file))
    with pytest.raises(ServerError, match="FS511"):
        asked(settings, url=server.url + "/fhir")


def test_a_client_certificate_is_shown(
    start: Start, certificates: Authority, settings: Settings, secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY_WORD", "CANARY")
    server = start(certificates.issue("server"), certificates.file)
    fields = {
        "url": server.url + "/fhir",
        "sign_in": "bearer",
        "token_file": secret,
        "ca": str(certificates.file),
    }
    plain = certificates.issue("client")
    hidden = certificates.issue("hidden", password=b"CANARY")
    assert asked(settings, **fields, cert=str(plain)) == 404
    assert asked(settings, **fields, cert=str(plain), key=str(plain)) == 404
    assert asked(settings, **fields, cert=str(hidden), key_password_env="KEY_WORD") == 404
    stranger = Authority(certificates.folder, "other").issue("stranger")
    for shown in ({}, {"cert": str(stranger)}):
        with pytest.raises(ServerError, match=r"FS5(46|10)"):
            asked(settings, **fields, **shown)
    assert len(server.shown) == 3


def test_a_client_certificate_is_not_shown_to_strangers(start: Start, certificates: Authority) -> None:
    """Files of an export that are kept elsewhere come without token and certificate."""
    server = start(certificates.issue("server"), certificates.file)
    transport = HttpTransport(
        f"{server.url}/fhir", network=Network(certificates.file, certificates.issue("client"), insecure_http=True)
    )
    assert transport.send("GET", "metadata").status == 200
    with pytest.raises((ServerError, LostAnswer)):
        transport.elsewhere(Link(f"{server.url}/fhir")).send("GET", "metadata")
    with pytest.raises(UsageError, match="FS595"):
        transport.elsewhere(Link("http://elsewhere.example/file"))


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"ca": "none.pem"}, "none.pem"),
        ({"ca": "text"}, "text"),
        ({"cert": "none.pem"}, "none.pem"),
        ({"cert": "authority.pem"}, "authority.pem"),
        ({"cert": "hidden.pem"}, "hidden.pem"),
        ({"cert": "hidden.pem", "key_password_env": "KEY_WORD"}, "hidden.pem"),
        ({"cert": "client.pem", "key": "server.pem"}, "client.pem"),
    ],
)
def test_a_file_that_does_not_serve_is_said_at_once(
    fields: dict[str, str], place: str, certificates: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY_WORD", "CANARY-wrong")
    for name, password in (("server", None), ("client", None), ("hidden", b"CANARY")):
        certificates.issue(name, password=password)
    (certificates.folder / "text").write_text("CANARY")
    file = certificates.folder / "servers.toml"
    lines = [f'{name} = "{value}"' for name, value in {"url": "https://x/fhir", **fields}.items()]
    file.write_text("[servers.main]\n" + "\n".join(lines))
    with pytest.raises(UsageError, match=f"FS547.*{place}") as caught:
        connect("main", file)
    assert "CANARY" not in str(caught.value)


def test_http_where_https_is_said_is_told(faulty: FaultyServer, settings: Settings) -> None:
    with pytest.raises(ServerError, match="FS546"):
        asked(settings, url=faulty.url.replace("http:", "https:"))


# -- proxies


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with proxying() as running:
        yield running


def through(server: AuthorityServer) -> str:
    return server.url.replace("127.0.0.1", "fhir.test") + "/fhir"


def test_a_proxy_of_the_settings_sees_the_host_alone(
    proxy: Proxy, start: Start, certificates: Authority, settings: Settings, secret: str
) -> None:
    server = start(certificates.issue("server"), certificates.file)
    fields = {
        "url": through(server),
        "sign_in": "bearer",
        "token_file": secret,
        "ca": str(certificates.file),
        "cert": str(certificates.issue("client")),
    }
    assert asked(settings, **fields, proxy=proxy.url) == 404
    named = proxy.url.replace("//", "//us%40er@")
    assert asked(settings, **fields, proxy=named, proxy_password_file=secret) == 404
    first, second = proxy.asked
    assert first.startswith("CONNECT fhir.test:")
    assert "Authorization" not in first
    assert "Proxy-Authorization: Basic dXNAZXI6U0lHTklOLUNBTkFSWQ==" in second
    assert "CANARY" not in first + second
    assert server.shown == ["Bearer SIGNIN-CANARY"] * 2


def test_the_proxy_of_the_settings_wins_over_that_of_the_environment(
    proxy: Proxy, start: Start, certificates: Authority, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start(certificates.issue("server"))
    fields = {"url": through(server), "ca": str(certificates.file)}
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    with pytest.raises(ServerError, match="FS511"):
        asked(settings, **fields)
    assert len(proxy.asked) == 1
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "*")
    with pytest.raises(ServerError, match="FS511"):
        asked(settings, **fields, proxy=proxy.url)
    assert len(proxy.asked) == 2


def test_this_machine_is_never_reached_through_a_proxy(
    proxy: Proxy, faulty: FaultyServer, settings: Settings, secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy.url)
    assert asked(settings, url=faulty.url, sign_in="bearer", token_file=secret, proxy=proxy.url) == 404
    assert proxy.asked == []
    assert faulty.requests[-1][2]["authorization"] == "Bearer SIGNIN-CANARY"


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("proxy.example:3128", "FS541"),
        ("socks5://proxy.example", "FS541"),
        ("http://[", "FS541"),
        ("http://user:CANARY@proxy.example:3128", "FS542"),
    ],
)
def test_a_proxy_that_cannot_be_used(settings: Settings, value: str, code: str) -> None:
    with pytest.raises(FhirspaceError, match=code) as caught:
        connect("main", settings(url="https://fhir.test/fhir", proxy=value))
    assert "CANARY" not in str(caught.value)
