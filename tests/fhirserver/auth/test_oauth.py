"""Tokens by client credentials: asked for once, renewed in time, and whatever a token endpoint may answer."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from flask import Response

from fhirspace.delivery.push.push import push
from fhirspace.errors import ServerError
from fhirspace.fhirserver.auth.oauth import Grant, Proof, TokenEndpoint, Tokens
from fhirspace.fhirserver.config import connect
from fhirspace.fhirserver.http.transport import Network
from tests.fhirserver.auth.authority import AuthorityServer
from tests.fhirserver.auth.certificates import Authority
from tests.support.resources import trial


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(("life", "renewed_at"), [(60.0, 45), (4.0, 3), (3600.0, 3570)])
def test_a_token_is_renewed_before_it_expires(life: float, renewed_at: float) -> None:
    clock, asked = Clock(), []

    def ask() -> Grant:
        asked.append(clock.now)
        return Grant(f"t{len(asked)}", life)

    tokens = Tokens(ask, clock)
    seen = [tokens.header()]
    clock.now = renewed_at - 0.1
    seen.append(tokens.header())
    clock.now = renewed_at
    seen += [tokens.header(), tokens.header()]
    assert seen == ["Bearer t1", "Bearer t1", "Bearer t2", "Bearer t2"]


def test_many_threads_bring_one_token() -> None:
    inside, asked = threading.Semaphore(1), []

    def ask() -> Grant:
        assert inside.acquire(blocking=False), "two renewals at a time"
        asked.append(1)
        inside.release()
        return Grant(f"t{len(asked)}", 300)

    tokens = Tokens(ask)
    with ThreadPoolExecutor(16) as pool:
        first = set(pool.map(lambda _: tokens.header(), range(64)))
        assert first == {"Bearer t1"}
        assert all(pool.map(lambda _: tokens.refused("Bearer t1") and bool(tokens.header()), range(64)))
    assert tokens.header() == "Bearer t2"
    assert len(asked) == 2


def test_a_refusal_stands_but_a_lost_network_does_not() -> None:
    answers: list[Any] = [ServerError("FS510", "x"), Grant("t", 300), ServerError("FS548", "x")]

    def ask() -> Grant:
        answer = answers.pop(0)
        if isinstance(answer, ServerError):
            raise answer
        return answer

    tokens = Tokens(ask)
    with pytest.raises(ServerError, match="FS510"):
        tokens.header()
    assert tokens.header() == "Bearer t"
    assert tokens.refused("Bearer t")
    for _ in range(2):
        with pytest.raises(ServerError, match="FS548"):
            tokens.header()


@pytest.fixture
def endpoint(authority: AuthorityServer, certificates: Authority, waits: list[float]) -> Callable[[], Grant]:
    """Asks the authority for a token; waits are not waited."""
    authority.register("robot", secret="CANARY", scopes="a b")
    asker = TokenEndpoint(Network(ca=certificates.file), waits.append)
    proof = Proof({"client_id": "robot", "client_secret": "CANARY"})
    return lambda: asker.grant(authority.url + "/token", ["a", "b"], lambda: proof)


@pytest.mark.parametrize(
    ("expires", "life"),
    [({"expires_in": 60}, 60), ({"expires_in": 59.5}, 59.5), ({"expires_in": "60"}, 60), ({}, 300)]
    + [({"expires_in": value}, 86_400) for value in (10**12, 10**400, 1e300, "9" * 5000)],
)
def test_the_life_of_a_token(
    endpoint: Callable[[], Grant], authority: AuthorityServer, expires: dict[str, Any], life: float
) -> None:
    authority.broken = [Response(json.dumps({"access_token": "t", "token_type": "BEARER", **expires}))]
    assert endpoint() == Grant("t", life)


GOOD = {"access_token": "CANARY", "token_type": "bearer", "expires_in": 60}


@pytest.mark.parametrize(
    "answer",
    [{**GOOD, "expires_in": value} for value in (0, -5, True, "soon", "", "-1", "²", [60], {"x": 1})]
    + [{**GOOD, "access_token": value} for value in ("", "a\r\nX-Evil: CANARY", "a b", "é", 5, None, "x" * 40_000)]
    + [{**GOOD, "token_type": value} for value in ("mac", None, 5)]
    + [[], None, "CANARY", {}, {"error": "invalid_client"}],
)
def test_an_answer_that_is_no_token_is_refused(
    endpoint: Callable[[], Grant], authority: AuthorityServer, waits: list[float], answer: Any
) -> None:
    authority.broken = [Response(json.dumps(answer))]
    with pytest.raises(ServerError, match="FS548") as caught:
        endpoint()
    assert "CANARY" not in str(caught.value)
    assert waits == []


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (Response('{"error": "invalid_scope", "error_description": "CANARY"}', 400), "invalid_scope, status 400"),
        (Response('{"error": "invalid_client", "error_uri": "https://CANARY"}', 401), "invalid_client, status 401"),
        (Response('{"error": "CANARY"}', 400), "it answered status 400"),
        (Response('{"error": ["CANARY"]}', 403), "it answered status 403"),
        (Response("<html>CANARY", 404), "it answered status 404"),
        (Response(b"\xff\xfe", 400), "it answered status 400"),
        (Response("", 302, {"Location": "http://127.0.0.1:9/CANARY"}), "it answered status 302"),
        (Response("", 307, {"Location": "http://127.0.0.1:9/CANARY"}), "it answered status 307"),
    ],
)
def test_a_refusal_is_told_by_its_code_and_not_tried_again(
    endpoint: Callable[[], Grant], authority: AuthorityServer, waits: list[float], answer: Response, told: str
) -> None:
    authority.broken = [answer]
    with pytest.raises(ServerError, match=f"FS548.*{told}") as caught:
        endpoint()
    assert "CANARY" not in str(caught.value)
    assert (waits, authority.asked) == ([], 1)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_passing_failure_is_tried_again(
    endpoint: Callable[[], Grant], authority: AuthorityServer, waits: list[float], status: int
) -> None:
    authority.broken = [Response("", status, {"Retry-After": "2"}), Response('{"access_', mimetype="application/json")]
    assert endpoint().token in authority.tokens
    assert waits[0] == 2
    assert len(waits) == 2


def test_a_lasting_failure_ends_the_run(
    endpoint: Callable[[], Grant], authority: AuthorityServer, waits: list[float]
) -> None:
    authority.broken = [Response("", 503)] * 20
    with pytest.raises(ServerError, match=r"FS548.*status 503"):
        endpoint()
    assert len(waits) == 6


def test_nobody_at_the_token_endpoint(waits: list[float]) -> None:
    asker = TokenEndpoint(Network(), waits.append)
    with pytest.raises(ServerError, match="FS510") as caught:
        asker.grant("http://127.0.0.1:9/token?tenant=CANARY", [], lambda: Proof({}))
    assert "CANARY" not in str(caught.value)
    assert len(waits) == 6


@pytest.mark.parametrize("way", ["basic", "post"])
@pytest.mark.parametrize("secret", ["CANARY", "CANARY:+/ %é=&"])
def test_a_push_with_a_client_secret(
    authority: AuthorityServer, certificates: Authority, settings: Callable[..., Path], way: str, secret: str
) -> None:
    authority.register("robot", secret=secret)
    kept = certificates.folder / "robot"
    kept.write_text(secret + "\n")
    file = settings(
        url=authority.url + "/fhir",
        sign_in="oauth2",
        token_url=authority.url + "/token",
        client_id="robot",
        client_secret_file=str(kept),
        client_auth=way,
        scope=["system/*.cruds"],
        ca=str(certificates.file),
    )
    before = dict(os.environ)
    client = connect("main", file).client
    assert push(trial(file.parent / "study"), client.server, client=client).created == 17
    assert authority.asked == 1
    assert dict(os.environ) == before
    assert set(authority.shown) <= {f"Bearer {token}" for token in authority.tokens}
