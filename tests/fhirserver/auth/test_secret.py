"""Secrets by reference, and the two sign-ins that show them as they are: basic and bearer."""

from __future__ import annotations

import base64
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.errors import KeyringLocked

from fhirspace.delivery.push.push import push
from fhirspace.errors import FhirspaceError, ServerError, UsageError
from fhirspace.fhirserver.auth.kinds import Basic, Bearer, from_environment
from fhirspace.fhirserver.auth.secret import Secret
from fhirspace.fhirserver.config import connect
from fhirspace.fhirserver.http.client import Client
from fhirspace.fhirserver.http.links import Link
from fhirspace.fhirserver.http.transport import HttpTransport
from fhirspace.testing import FaultyServer
from tests.fhirserver.auth.authority import AuthorityServer
from tests.fhirserver.auth.certificates import Authority
from tests.support.resources import trial

Settings = Callable[..., Path]


class Box(KeyringBackend):
    """A keyring in memory."""

    priority = 1

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[tuple[str, str], str] = {}
        self.locked = False

    def get_password(self, service: str, username: str) -> str | None:
        if self.locked:
            raise KeyringLocked("CANARY")
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.kept[service, username] = password


@pytest.fixture
def box() -> Iterator[Box]:
    before, made = keyring.get_keyring(), Box()
    keyring.set_keyring(made)
    yield made
    keyring.set_keyring(before)


def printing(text: str, code: int = 0) -> tuple[str, ...]:
    return (sys.executable, "-c", "import sys; print(sys.argv[1]); sys.exit(int(sys.argv[2]))", text, str(code))


def test_a_secret_is_read_from_where_it_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, box: Box) -> None:
    monkeypatch.setenv("WORD", "from env")
    (tmp_path / "word").write_text("from file\r\n")
    keyring.set_password("fhir", "me", "from keyring")
    assert Secret("env", "WORD").line() == "from env"
    assert Secret("file", str(tmp_path / "word")).line() == "from file"
    assert Secret("keyring", ("fhir", "me")).line() == "from keyring"
    assert Secret("command", printing("from $HOME; `command`")).line() == "from $HOME; `command`", "no shell reads it"


@pytest.mark.parametrize(
    ("secret", "place"),
    [
        (Secret("env", "NOT_SET"), "NOT_SET"),
        (Secret("env", "EMPTY"), "EMPTY"),
        (Secret("env", "TWO_LINES"), "TWO_LINES"),
        (Secret("file", "none"), "none"),
        (Secret("file", "."), "."),
        (Secret("file", "bytes"), "bytes"),
        (Secret("file", "lines"), "lines"),
        (Secret("command", printing("CANARY", 3)), sys.executable),
        (Secret("command", printing("")), sys.executable),
        (Secret("command", ("no-such-program", "CANARY")), "no-such-program"),
        (Secret("keyring", ("fhir", "nobody")), "fhir"),
        (Secret("keyring", ("locked", "me")), "locked"),
    ],
)
def test_a_secret_that_is_not_there_is_said_without_a_word_of_it(
    secret: Secret, place: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, box: Box
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EMPTY", "  ")
    monkeypatch.setenv("TWO_LINES", "CANARY\nCANARY")
    Path("bytes").write_bytes(b"\xffCANARY")
    Path("lines").write_bytes(b"CANARY\x00\nCANARY")
    box.locked = place == "locked"
    with pytest.raises(UsageError, match="FS544") as caught:
        secret.line()
    assert caught.value.problem.place.file == place
    assert "CANARY" not in str(caught.value)


def test_without_the_keyring_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(UsageError, match=r"FS545.*fhirspace\[.*keyring\]") as caught:
        Secret("keyring", ("fhir", "me")).read()
    assert str(caught.value).count("pip install") == 1


def test_a_password_is_shown_as_the_standard_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORD", "pä:ss")
    basic = Basic("trial", Secret("env", "WORD"))
    assert base64.b64decode(basic.header().removeprefix("Basic ")).decode() == "trial:pä:ss"
    assert not basic.refused(basic.header())


def test_a_push_with_a_password(faulty: FaultyServer, settings: Settings, tmp_path: Path) -> None:
    word = tmp_path / "word"
    word.write_text("open sesame")
    file = settings(url=faulty.url, sign_in="basic", user="trial", password_file="word")
    client = connect("main", file).client
    assert push(trial(tmp_path), client.server, client=client).created == 17
    shown = {headers.get("authorization") for _, _, headers, _ in faulty.requests}
    assert shown == {"Basic " + base64.b64encode(b"trial:open sesame").decode()}


@pytest.mark.parametrize("token", ["a b", "tökén", "a\tb"])
def test_a_token_that_no_header_may_hold_is_refused(token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FHIRSPACE_TOKEN", token)
    with pytest.raises(UsageError, match="FS544") as caught:
        Bearer(Secret("env", "FHIRSPACE_TOKEN")).header()
    assert token not in str(caught.value)


def test_a_token_file_is_read_again_when_it_was_changed(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("one")
    bearer = Bearer(Secret("file", str(file)))
    seen = [bearer.header()]
    (tmp_path / "new").write_text("two-two")
    (tmp_path / "new").replace(file)
    seen.append(bearer.header())
    file.write_text("")  # somebody is about to write it
    seen.append(bearer.header())
    file.unlink()
    seen.append(bearer.header())
    file.write_text("three")
    seen.append(bearer.header())
    assert seen == [f"Bearer {token}" for token in ("one", "two-two", "two-two", "two-two", "three")]


def test_a_token_that_is_refused_is_asked_for_again(tmp_path: Path) -> None:
    counter = tmp_path / "count"
    script = (
        "import sys, pathlib; p = pathlib.Path(sys.argv[1]); p.open('a').write('x'); print('t%d' % len(p.read_text()))"
    )
    bearer = Bearer(Secret("command", (sys.executable, "-c", script, str(counter))))
    assert [bearer.header(), bearer.header()] == ["Bearer t1", "Bearer t1"]
    assert bearer.refused("Bearer t1")
    assert bearer.header() == "Bearer t2"
    assert bearer.refused("Bearer t1"), "another connection has brought a new one already"
    assert counter.read_text() == "xx"


def test_a_token_of_the_environment_has_no_successor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FHIRSPACE_TOKEN", "one")
    bearer = Bearer(Secret("env", "FHIRSPACE_TOKEN"))
    assert not bearer.refused(bearer.header())


def test_a_token_renewed_by_others_in_mid_run_is_picked_up(
    authority: AuthorityServer, tmp_path: Path, certificates: Authority, settings: Settings
) -> None:
    file = tmp_path / "token"

    def give(token: str) -> None:
        authority.tokens.clear()
        authority._save({"access_token": token, "expires_in": 9999, "scope": "system/*.cruds"}, None)

    def replace() -> None:
        if len(authority.fhir.transactions()) == 5:
            file.write_text("SIGNIN-CANARY-second")
            give("SIGNIN-CANARY-second")

    file.write_text("SIGNIN-CANARY-1st")
    give("SIGNIN-CANARY-1st")
    authority.before_answer = replace
    fields = settings(url=authority.url + "/fhir", sign_in="bearer", token_file="token", ca=str(certificates.file))
    client = connect("main", fields).client
    assert push(trial(tmp_path / "study"), client.server, client=client, size=2).created == 17
    assert set(authority.shown) == {"Bearer SIGNIN-CANARY-1st", "Bearer SIGNIN-CANARY-second"}


def test_a_second_refusal_ends_the_run(authority: AuthorityServer, settings: Settings, certificates: Authority) -> None:
    command = [sys.executable, "-c", "import uuid; print(uuid.uuid4())"]
    fields = {"sign_in": "bearer", "token_command": command, "ca": str(certificates.file)}
    file = settings(url=authority.url + "/fhir", **fields)
    with pytest.raises(ServerError, match="FS511"):
        connect("main", file).client.request("GET", "Patient/p-1")
    assert len(set(authority.shown)) == len(authority.shown) == 2


# -- what is shown to whom


def test_the_environment_gives_a_token_to_a_plain_url(
    faulty: FaultyServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("FHIRSPACE_TOKEN", raising=False)
    monkeypatch.delenv("FHIRSPACE_TOKEN_FILE", raising=False)
    assert from_environment() is None
    (tmp_path / "token").write_text("from-file\n")
    monkeypatch.setenv("FHIRSPACE_TOKEN_FILE", str(tmp_path / "token"))
    Client(faulty.url).request("GET", "metadata")
    assert faulty.requests[-1][2]["authorization"] == "Bearer from-file"
    monkeypatch.setenv("FHIRSPACE_TOKEN", "from-env")
    connect(faulty.url + "/").client.request("GET", "metadata")
    assert faulty.requests[-1][2]["authorization"] == "Bearer from-env"
    monkeypatch.setenv("FHIRSPACE_TOKEN", "")
    monkeypatch.setenv("FHIRSPACE_TOKEN_FILE", str(tmp_path / "none"))
    with pytest.raises(UsageError, match="FS544"):
        Client(faulty.url).request("GET", "metadata")
    with pytest.raises(UsageError, match="FS514"):
        connect("http://hospital.example/fhir")


def test_no_token_goes_to_another_address(faulty: FaultyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORD", "CANARY")
    transport = HttpTransport("http://127.0.0.1:9/fhir", sign_in=Bearer(Secret("env", "WORD")))
    for url in (faulty.url, faulty.url.replace("127.0.0.1", "localhost"), "http://127.0.0.1:port/fhir"):
        with pytest.raises(ServerError, match="FS530") as caught:
            transport.send("GET", Link(f"{url}/metadata"))
        assert "CANARY" not in str(caught.value)
    assert faulty.requests == []


def test_no_password_comes_out_of_netrc(faulty: FaultyServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password CANARY\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert HttpTransport(faulty.url).send("GET", "metadata").ok
    assert "authorization" not in faulty.requests[-1][2]


@pytest.mark.parametrize(
    "fields",
    [
        {"sign_in": "basic", "user": "me", "password_env": "WORD"},
        {"sign_in": "bearer", "token_env": "WORD"},
        {"sign_in": "oauth2", "client_id": "me", "client_secret_env": "WORD", "token_url": "https://x/token"},
    ],
)
def test_a_secret_is_only_sent_where_nobody_listens(
    fields: dict[str, str], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORD", "CANARY")
    with pytest.raises(FhirspaceError, match="FS514"):
        connect("main", settings(url="http://hospital.example/fhir", **fields))
    if "token_url" in fields:
        with pytest.raises(FhirspaceError, match="FS514"):
            connect("main", settings(url="https://x/fhir", **{**fields, "token_url": "http://hospital.example/token"}))


def test_nothing_is_put_into_the_environment(settings: Settings, tmp_path: Path) -> None:
    before = dict(os.environ)
    (tmp_path / "word").write_text("CANARY")
    fields = {"proxy": "http://me@proxy.example:1", "proxy_password_file": "word"}
    found = connect("main", settings(url="https://x/fhir", sign_in="bearer", token_file="word", **fields))
    assert "CANARY" not in repr(found)
    assert dict(os.environ) == before
