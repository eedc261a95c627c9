"""Links that a server gives: none leads token or data elsewhere, however it is written and wherever it stands."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fhirspace.cli import main
from fhirspace.errors import ServerError
from fhirspace.fhirserver.auth.kinds import from_environment
from fhirspace.fhirserver.http.client import HttpTransport
from fhirspace.fhirserver.http.links import Link, followed, resolved
from tests.hostile.raw import Asked, Raw, answer, listening, patient, searchset, statement

TOKEN = "LINK-CANARY"
STRANGE = [
    "http://EVIL\\@SERVER/fhir?page=2",
    "http://EVIL\\\\@SERVER/fhir",
    "http://SERVER\\@EVIL/fhir",
    "http://SERVER@EVIL/fhir",
    "http://SERVER:80@EVIL/fhir",
    "http://SERVER%2F@EVIL/fhir",
    "http://user:word@SERVER/fhir",
    "http://@SERVER/fhir",
    "http://EVIL/fhir?page=2",
    "HTTP://EVIL/fhir",
    "https://SERVER/fhir",
    "//EVIL/fhir",
    "///EVIL/fhir",
    "/\\EVIL/fhir",
    "\\\\EVIL/fhir",
    "http:EVIL/../\\@EVIL/",
    "http://SERVER\t@EVIL/fhir",
    "ht\ntp://EVIL/fhir",
    " http://EVIL/fhir",
    "http://EVIL /fhir",
    "http://SERVER\u00a0.EVIL/fhir",
    "http://SERVER\u2028/fhir",
    "http://SERVER\x00/fhir",
    "http://SERVER\x1b[31m/fhir",
    "http://SERVER\u202e/fhir",
    "http://SERVER#@EVIL\\/fhir",
    "http://SERVER:99999/fhir",
    "http://SERVER:port/fhir",
    "http://127.0.0.1:99999/fhir",
    "http://127.0.0.1:-1/fhir",
    "http://127.0.0.1:0/fhir",
    "http://127.0.0.1:\uff18\uff10/fhir",
    "http://127.0.0.1\uff0fEVIL/fhir",
    "http://127.0.0.1%2eEVIL/fhir",
    "http://[::1/fhir",
    "http://[SERVER]/fhir",
    "http:///fhir",
    "http://2130706433:PORT/fhir",
    "http://127.1:PORT/fhir",
    "http://localhost:PORT/fhir",
    "file:///etc/passwd",
    "ftp://SERVER/fhir",
    "javascript:alert(1)",
    "data:application/fhir+json,{}",
    "http://SERVER/fhir?" + "a" * 10_000,
]


SOME = STRANGE[::4]
"""For the other places where links come: they are judged in the same way."""


@pytest.fixture
def evil() -> Iterator[Raw]:
    with listening() as raw:
        yield raw


@pytest.fixture(autouse=True)
def _token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FHIRSPACE_TOKEN", TOKEN)


def written(link: str, server: Raw, evil: Raw) -> str:
    """The link with the places of the two servers in it."""
    return link.replace("SERVER", server.place).replace("EVIL", evil.place).replace("PORT", server.place.split(":")[1])


def pulled(link: str, evil: Raw, out: Path) -> tuple[int, Raw]:
    def answers(asked: Asked) -> bytes:
        if asked.path.endswith("/metadata"):
            return answer(200, statement("Patient"))
        return answer(200, searchset(patient(), link=written(link, server, evil), total=2))

    with listening(answers) as server:
        return main(["pull", "--server", server.url, "--study", "S", "--out", str(out)]), server


def exported(evil: Raw, out: Path, *, place: str = "SERVER/fhir/job", url: str = "", token: bool = True) -> int:
    def answers(asked: Asked) -> bytes:
        if asked.path.endswith("/metadata"):
            return answer(200, statement("Patient"))
        if "$export" in asked.path:
            # What no header can hold is no attack: `http.client` would not read on.
            return answer(202, content_location=written(place, server, evil).replace("\n", "").replace("\x00", ""))
        if asked.path.endswith("/job"):
            output = [{"type": "Patient", "url": written(url, server, evil)}]
            return answer(200, {"output": output, "error": [], "requiresAccessToken": token})
        return answer(404)

    with listening(answers) as server:
        return main(["pull", "--server", server.url, "--study", "S", "--out", str(out), "--bulk"])


@pytest.mark.parametrize("link", STRANGE, ids=ascii)
def test_a_next_link_that_leads_away_is_not_followed(
    link: str, evil: Raw, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, server = pulled(link, evil, tmp_path)
    assert (code, evil.connections) == (4, 0)
    assert "FS530" in capsys.readouterr().err
    assert [each.path for each in server.asked] == ["/fhir/metadata", "/fhir/Patient/_search"]


@pytest.mark.parametrize(
    ("link", "fact"),
    [
        ("http://EVIL/fhir?page=2", "it leads to http://EVIL."),
        ("https://[2001:db8::1]/fhir", "it leads to https://[2001:db8::1]:443."),
        ("http://127.0.0.1:99999/fhir", "it is malformed."),
        ("http://127.0.0.1:port/fhir", "it is malformed."),
    ],
)
def test_the_message_says_where_a_link_leads(
    link: str, fact: str, evil: Raw, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, server = pulled(link, evil, tmp_path)
    assert code == 4
    assert f"not followed: {written(fact, server, evil)} Expected a link" in capsys.readouterr().err


@pytest.mark.parametrize("place", [link for link in SOME if link.isascii()], ids=ascii)
def test_a_status_url_that_leads_away_is_not_asked(
    place: str, evil: Raw, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exported(evil, tmp_path, place=place) == 4
    assert evil.connections == 0
    assert TOKEN not in capsys.readouterr().err


@pytest.mark.parametrize("token", [True, False])
@pytest.mark.parametrize("url", SOME, ids=ascii)
def test_a_file_of_an_export_that_leads_away_gets_no_token(url: str, token: bool, evil: Raw, tmp_path: Path) -> None:
    assert exported(evil, tmp_path, place="http://SERVER/fhir/job", url=url, token=token) == 4
    assert [each for each in evil.asked if each.token] == []
    if token:
        assert evil.connections == 0


def test_a_file_elsewhere_comes_without_token_if_the_server_says_so(evil: Raw, tmp_path: Path) -> None:
    evil.answers = lambda _: answer(200, json.dumps(patient()).encode() + b"\n")
    assert exported(evil, tmp_path, place="http://SERVER/fhir/job", url="http://EVIL/a.ndjson", token=False) == 0
    assert [each.token for each in evil.asked] == [""]
    assert b"p-1" in (tmp_path / "fhir/Patient.ndjson").read_bytes()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(status: int, evil: Raw, tmp_path: Path) -> None:
    with listening(lambda _: answer(status, location=f"{evil.url}/metadata")) as server:
        assert main(["doctor", "--server", server.url]) == 4
    assert evil.connections == 0


@pytest.mark.parametrize("link", STRANGE, ids=ascii)
def test_the_place_that_sends_judges_again(link: str, evil: Raw) -> None:
    """Whoever made the link, and whatever it says: the URL that `requests` made of it is judged before it is sent."""
    with listening() as server:
        transport = HttpTransport(server.url, sign_in=from_environment())
        for send in (Link(written(link, server, evil)), Link(written(link, server, evil).strip())):
            try:
                transport.send("GET", send)
            except ServerError as error:
                assert error.code in ("FS530", "FS510")
        transport.close()
        # Some, such as one that is merely long, go to the server itself.
        assert all(each.headers["host"] == server.place for each in server.asked)
    assert evil.connections == 0


@pytest.mark.parametrize(
    ("link", "came_with", "expected"),
    [
        ("?page=2", "http://h/fhir/Patient/_search", "http://h/fhir/Patient/_search?page=2"),
        ("page/2", "http://h/fhir/Patient/_search", "http://h/fhir/Patient/page/2"),
        ("/fhir?page=2", "http://h/fhir/Patient/_search", "http://h/fhir?page=2"),
        ("//h/fhir?page=2", "http://h/fhir/Patient", "http://h/fhir?page=2"),
        ("Patient?page=2", "", "http://h/fhir/Patient?page=2"),
        ("http://h:80/x", "", "http://h:80/x"),
        ("http://H/x?name=M\u00fcller", "", "http://H/x?name=M\u00fcller"),
        ("http://h/other/../x?a=%7C", "", "http://h/other/../x?a=%7C"),
    ],
)
def test_a_link_at_home_is_followed(link: str, came_with: str, expected: str) -> None:
    assert followed("http://h/fhir", link, came_with) == expected


def test_a_server_with_an_international_name_pages_by_its_name_in_ascii() -> None:
    assert followed("https://b\u00fccher.example/fhir", "https://xn--bcher-kva.example/fhir?page=2")
    with pytest.raises(ServerError, match="FS530"):
        resolved("https://b\u00fccher.example/fhir", "https://b\u00fccher.example/fhir?page=2")


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://EVIL\\@SERVER/token",
        "http://user@EVIL/token",
        "http://192.0.2.1/token",
        "https://EVIL\\@SERVER/token",
        "https://SERVER /token",
        "file:///token",
        "",
    ],
    ids=ascii,
)
def test_a_token_endpoint_that_the_server_makes_up_is_the_servers_fault(
    endpoint: str, evil: Raw, tmp_path: Path, keyed: Callable[[str], list[str]]
) -> None:
    with listening(lambda _: answer(200, {"token_endpoint": written(endpoint, server, evil)})) as server:
        assert main(["pull", *keyed(server.url), "--study", "S", "--out", str(tmp_path / "out")]) == 4
    assert evil.connections == 0


@pytest.fixture
def keyed(tmp_path: Path) -> Callable[[str], list[str]]:
    """A server that is signed in to by a key, as arguments of a command."""
    ec = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ec")
    serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")
    key = ec.generate_private_key(ec.SECP384R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (tmp_path / "key.pem").write_bytes(key)

    def named(url: str) -> list[str]:
        fields = {"url": url, "sign_in": "smart", "client_id": "me", "private_key_file": "key.pem", "kid": "k"}
        text = "\n".join(f'{name} = "{value}"' for name, value in fields.items())
        (tmp_path / "servers.toml").write_text(f"[servers.main]\n{text}\n")
        return ["--server", "main", "--config", str(tmp_path / "servers.toml")]

    return named


@pytest.mark.parametrize("link", STRANGE, ids=ascii)
def test_a_strange_link_is_refused_before_it_is_a_request(link: str) -> None:
    where = link.replace("SERVER", "h.test").replace("EVIL", "evil.test").replace("PORT", "80")
    with pytest.raises(ServerError, match="FS530"):
        followed("http://h.test/fhir", where)
