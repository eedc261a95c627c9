"""SMART Backend Services against a real authorization server and a resource server that checks its tokens."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from flask import Response

from fhirspace.delivery.push.push import push
from fhirspace.errors import FhirspaceError, ServerError, UsageError
from fhirspace.fhirserver.auth.oauth import TokenEndpoint
from fhirspace.fhirserver.auth.secret import Secret
from fhirspace.fhirserver.auth.smart import signing_key, token_endpoint
from fhirspace.fhirserver.config import connect
from fhirspace.fhirserver.http.client import Client
from fhirspace.fhirserver.http.transport import Network
from tests.fhirserver.auth.authority import OAUTH_URIS, AuthorityServer
from tests.fhirserver.auth.certificates import Authority
from tests.support.resources import lines_of, trial

Settings = Callable[..., Path]


@pytest.fixture
def smart(authority: AuthorityServer, certificates: Authority, settings: Settings) -> Callable[..., Client]:
    """A client that signs in with a key: `smart(key_file, kid=...)`."""

    def client(key: Path, **more: Any) -> Client:
        fields = {
            "url": authority.url + "/fhir",
            "sign_in": "smart",
            "client_id": "trial",
            "ca": str(certificates.file),
        }
        return connect("main", settings(**fields, private_key_file=str(key), **more)).client

    return client


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return trial(tmp_path, patients=5, each=5)


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["RS384", "ES384"])
def test_a_push_lives_through_many_short_tokens(
    smart: Callable[..., Client], authority: AuthorityServer, keys: dict[str, Path], algorithm: str, folder: Path
) -> None:
    authority.life = 1
    authority.before_answer = lambda: time.sleep(0.1)
    client = smart(keys[algorithm], kid=f"kid-{algorithm}")
    report = push(folder, client.server, client=client, size=1)
    assert (report.created, report.refused) == (32, 0)
    assert sorted(authority.fhir.store.values()) == sorted(lines_of(folder))
    assert set(authority.fhir.versions.values()) == {1}
    assert authority.asked >= 3, "32 answers of a tenth of a second outlive three tokens of a second"
    _, headers, claims = zip(*authority.assertions, strict=True)
    assert all(header == {"alg": algorithm, "typ": "JWT", "kid": f"kid-{algorithm}"} for header in headers)
    assert all(claim["iss"] == claim["sub"] == "trial" for claim in claims)
    assert all(claim["aud"] == authority.url + "/token" for claim in claims)
    assert len({claim["jti"] for claim in claims}) == authority.asked


@pytest.mark.slow
def test_tokens_that_are_withdrawn_in_mid_run_are_renewed_once_for_all_connections(
    smart: Callable[..., Client], authority: AuthorityServer, keys: dict[str, Path], folder: Path
) -> None:
    answers = count()

    def withdraw() -> None:
        if next(answers) == 10:
            authority.tokens.clear()

    authority.before_answer = withdraw
    client = smart(keys["ES384"], kid="kid-ES384")
    report = push(folder, client.server, client=client, size=1, connections=4)
    assert (report.created, report.refused) == (32, 0)
    assert sorted(authority.fhir.store.values()) == sorted(lines_of(folder))
    assert 1 <= authority.refused <= 4
    assert authority.asked == 2
    told = [json.loads(line) for line in (folder / "audit.log").read_text("utf-8").splitlines()]
    assert [line["counts"] for line in told if line["event"] == "token renewed"] == [{"times": 1}]


def test_a_token_that_is_never_accepted_ends_the_run(
    smart: Callable[..., Client], authority: AuthorityServer, keys: dict[str, Path]
) -> None:
    authority.forgetful = True
    client = smart(keys["ES384"].with_suffix(".jwk"))
    with pytest.raises(ServerError, match="FS511") as caught:
        client.request("GET", "Patient/p-1")
    assert authority.asked == 2
    assert "CANARY" not in str(caught.value)


def test_a_scope_that_was_not_granted_ends_the_run(
    smart: Callable[..., Client], authority: AuthorityServer, keys: dict[str, Path]
) -> None:
    client = smart(keys["ES384"].with_suffix(".jwk"), scope=["system/*.rs"])
    with pytest.raises(ServerError, match=r"FS511.*status 403"):
        client.request("GET", "Patient/p-1")


def test_a_key_that_is_not_registered_is_refused_by_code_alone(
    smart: Callable[..., Client], authority: AuthorityServer, tmp_path: Path
) -> None:
    other = tmp_path / "other.pem"
    key = ec.generate_private_key(ec.SECP384R1())
    other.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    client = smart(other, kid="kid-ES384")
    for _ in range(3):
        with pytest.raises(ServerError, match=r"FS548.*invalid_client, status 40[01]") as caught:
            client.request("GET", "Patient/p-1")
        assert "CANARY" not in str(caught.value)
        assert caught.value.exit_code == 4
    assert authority.asked == 1, "a client that is refused is not locked out by asking on"


@pytest.mark.parametrize("body", [None, "<html>", "[]", '{"token_endpoint": 5}'])
def test_without_a_smart_configuration_the_capability_statement_tells(
    smart: Callable[..., Client], authority: AuthorityServer, keys: dict[str, Path], body: str | None
) -> None:
    authority.discovery = Response(body) if body else None
    client = smart(keys["RS384"].with_suffix(".jwk"))
    assert client.request("GET", "Patient/none").status == 404
    assert authority.asked == 1


@pytest.mark.parametrize(
    ("discovery", "code"),
    [
        ({"token_endpoint_auth_signing_alg_values_supported": ["RS384"]}, "FS549"),
        ({"token_endpoint": "http://hospital.example/token"}, "FS514"),
        ({"token_endpoint": "ftp://hospital.example/token"}, "FS514"),
        ({"token_endpoint": "https://user:pw@hospital.example/token"}, "FS514"),
    ],
)
def test_a_token_endpoint_that_must_not_be_used(
    smart: Callable[..., Client], authority: AuthorityServer, keys: dict[str, Path], discovery: Any, code: str
) -> None:
    authority.discovery = discovery
    with pytest.raises(FhirspaceError, match=code):
        smart(keys["ES384"].with_suffix(".jwk")).request("GET", "Patient/none")
    assert authority.assertions == []


NO_URI = [{"url": OAUTH_URIS, "extension": [{"url": "authorize", "valueUri": "https://x/a"}, {"url": "token"}]}]


@pytest.mark.parametrize("statement", [{}, [], {"rest": 5}, {"rest": [{"security": {"extension": NO_URI}}]}])
def test_a_server_that_says_nothing_of_tokens(
    smart: Callable[..., Client], authority: AuthorityServer, keys: dict[str, Path], statement: Any
) -> None:
    authority.discovery, authority.statement = None, statement
    key = keys["ES384"].with_suffix(".jwk")
    with pytest.raises(ServerError, match="FS549"):
        smart(key).request("GET", "Patient/none")
    told = smart(key, token_url=authority.url + "/token")
    assert told.request("GET", "Patient/none").status == 404
    with pytest.raises(UsageError, match="FS514"):
        smart(key, token_url="http://hospital.example/token")


def test_a_server_that_is_busy_is_asked_again(
    authority: AuthorityServer, certificates: Authority, waits: list[float]
) -> None:
    authority.discovery = Response("", 503, {"Retry-After": "3"})
    asker = TokenEndpoint(Network(ca=certificates.file), waits.append)
    with pytest.raises(ServerError, match="FS510"):
        token_endpoint(asker, authority.url + "/fhir", "ES384")
    assert waits == [3.0] * 6


@pytest.mark.parametrize("algorithm", ["RS384", "ES384"])
def test_a_key_comes_as_pem_jwk_or_out_of_a_set(keys: dict[str, Path], algorithm: str, tmp_path: Path) -> None:
    jwks = [json.loads(key.with_suffix(".jwk").read_text()) for key in keys.values()]
    one = json.loads(keys[algorithm].with_suffix(".jwk").read_text())
    forms = {
        "pem": keys[algorithm].read_text(),
        "jwk": json.dumps(one),
        "set": json.dumps({"keys": [*jwks, {**jwks[0], "d": "x", "kid": "none"}]}),
        "nameless": json.dumps({name: value for name, value in one.items() if name != "kid"}),
    }
    for name, text in forms.items():
        file = tmp_path / name
        file.write_text(text)
        found = signing_key(Secret("file", str(file)), kid=f"kid-{algorithm}")
        assert (found.algorithm, found.kid) == (algorithm, f"kid-{algorithm}")
        assert "key" not in repr(found).replace("SigningKey", "")


def test_a_key_may_be_encrypted(keys: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = ec.generate_private_key(ec.SECP384R1())
    file = tmp_path / "key.pem"
    file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"CANARY")))
    monkeypatch.setenv("KEY_WORD", "CANARY")
    assert signing_key(Secret("file", str(file)), Secret("env", "KEY_WORD"), "k").algorithm == "ES384"
    monkeypatch.setenv("KEY_WORD", "CANARY-2")
    with pytest.raises(UsageError, match="FS544"):
        signing_key(Secret("file", str(file)), Secret("env", "NOT_SET"), "k")
    for password in (None, Secret("env", "KEY_WORD")):
        with pytest.raises(UsageError, match="FS547") as caught:
            signing_key(Secret("file", str(file)), password, "k")
        assert "CANARY" not in str(caught.value)


def pem(key: Any) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@pytest.mark.parametrize(
    "text",
    [
        "-----BEGIN PRIVATE KEY-----\nSIGNIN-CANARY\n-----END PRIVATE KEY-----",
        "SIGNIN-CANARY",
        '{"kty": "RSA", "d": "SIGNIN-CANARY", "kid": "k"}',
        '{"kty": "oct", "k": "SIGNIN-CANARY", "d": "x"}',
        '{"keys": []}',
        '{"keys": 5}',
        '{"kty": "EC",',
        "weak rsa",
        "other curve",
        "public",
    ],
)
def test_what_is_no_key_for_this_is_said_without_it(text: str, tmp_path: Path, keys: dict[str, Path]) -> None:
    made = {
        "weak rsa": lambda: pem(rsa.generate_private_key(65537, 1024)),
        "other curve": lambda: pem(ec.generate_private_key(ec.SECP256R1())),
        "public": lambda: keys["ES384"].with_suffix(".pub").read_text(),
    }
    file = tmp_path / "key"
    file.write_text(made[text]() if text in made else text)
    with pytest.raises(UsageError, match="FS547") as caught:
        signing_key(Secret("file", str(file)), kid="k")
    assert "CANARY" not in str(caught.value)


def test_a_key_needs_its_name(keys: dict[str, Path]) -> None:
    with pytest.raises(UsageError, match=r"FS547.*`kid`"):
        signing_key(Secret("file", str(keys["ES384"])))


def test_without_the_extra_it_says_what_to_install(keys: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jwt", None)
    for key in (keys["ES384"], keys["ES384"].with_suffix(".jwk")):
        with pytest.raises(UsageError, match=r"FS545.*fhirspace\[signin") as caught:
            signing_key(Secret("file", str(key)), kid="k")
        assert str(caught.value).count("pip install") == 1
