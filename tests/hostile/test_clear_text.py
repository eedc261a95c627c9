"""Data of patients leave this machine encrypted, or because somebody allowed the opposite; a proxy changes nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fhirspace import UsageError, bulk_push, connect, doctor, plan, pull, push, verify
from fhirspace.cli import main
from fhirspace.delivery.journal import Journal
from fhirspace.fhirserver.http.client import Client, HttpTransport
from fhirspace.fhirserver.http.transport import Network
from tests.hostile.raw import Raw, answer, listening, patient, resolving, statement

AWAY = "http://fhir.example.test/fhir"
ELSEWHERE = [
    "http://192.0.2.1/fhir",
    "http://10.0.0.1:8080/fhir",
    "http://hospital/fhir",
    "http://127.0.0.1.example.test/fhir",
    "http://localhost.example.test/fhir",
    "http://localhost./fhir",
    "http://127.1/fhir",
    "http://2130706433/fhir",
    "http://0.0.0.0/fhir",
    "http://[::ffff:127.0.0.1]/fhir",
    "http://[2001:db8::1]/fhir",
    "HTTP://FHIR.EXAMPLE.TEST/fhir",
]
HERE = ["http://127.0.0.1:9/fhir", "http://127.1.2.3/fhir", "http://localhost:8080/fhir", "http://[::1]/fhir"]


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Raw]:
    """A proxy that the environment names, on this machine; whatever is sent anywhere comes here."""
    with listening(lambda _: answer(200, statement("Patient", "Observation"))) as raw:
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://{raw.place}")
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        yield raw


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A folder with a resource, and a journal that knows a run to another machine."""
    (tmp_path / "Patient.ndjson").write_text(json.dumps(patient()) + "\n")
    with Journal(tmp_path / "journal.db", AWAY) as book:
        book.begin("run-1")
        book.finish({"created": 1})
    return tmp_path


COMMANDS: dict[str, Callable[[Path], list[str]]] = {
    "doctor": lambda folder: ["doctor", "--server", AWAY],
    "plan": lambda folder: ["plan", str(folder), "--server", AWAY],
    "push": lambda folder: ["push", str(folder), "--server", AWAY],
    "push --bulk": lambda folder: ["push", str(folder), "--server", AWAY, "--bulk"],
    "retry": lambda folder: ["retry", str(folder), "--server", AWAY],
    "verify": lambda folder: ["verify", "run-1", "--server", AWAY, "--journal", str(folder)],
    "verify by the journal": lambda folder: ["verify", "run-1", "--journal", str(folder)],
    "undo": lambda folder: ["undo", "run-1", "--server", AWAY, "--journal", str(folder)],
    "undo by the journal": lambda folder: ["undo", "run-1", "--journal", str(folder)],
    "pull": lambda folder: ["pull", "--server", AWAY, "--study", "S", "--out", str(folder / "out")],
    "pull --bulk": lambda folder: ["pull", "--server", AWAY, "--study", "S", "--out", str(folder / "out"), "--bulk"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_nothing_leaves_unencrypted_unless_allowed(
    command: str, study: Path, proxy: Raw, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = COMMANDS[command](study)
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert "FS595" in said
    assert [said.count(word) for word in ("https", "--insecure-http", "insecure_http")] == [1, 1, 1]
    assert proxy.connections == 0
    assert not (study / "out").exists()


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "retry"])
def test_the_option_allows_it(command: str, study: Path, proxy: Raw, capsys: pytest.CaptureFixture[str]) -> None:
    main([*COMMANDS[command](study), "--insecure-http"])
    assert "FS595" not in capsys.readouterr().err
    assert proxy.asked[0].path == f"{AWAY}/metadata"


@pytest.mark.parametrize("url", ELSEWHERE)
def test_another_machine_by_any_name_is_another_machine(url: str) -> None:
    for make in (Client, HttpTransport, connect):
        with pytest.raises(UsageError, match="FS595"):
            make(url)
    assert Client(url, insecure_http=True).transport
    assert HttpTransport(url, network=Network(insecure_http=True))


@pytest.mark.parametrize("url", [*HERE, "https://fhir.example.test/fhir"])
def test_this_machine_and_what_is_encrypted_need_no_leave(url: str) -> None:
    assert Client(url).transport
    assert connect(url).client


@pytest.mark.parametrize("call", [doctor, plan, push, pull, verify], ids=lambda call: str(call.__name__))
def test_the_functions_take_the_same_leave(call: Callable[..., object], study: Path, proxy: Raw) -> None:
    arguments = {
        "doctor": (AWAY,),
        "plan": (study, AWAY),
        "push": (study, AWAY),
        "pull": (AWAY, "S", study / "out"),
        "verify": ("run-1", None),
    }[call.__name__]
    more = {"journal": study} if call is verify else {}
    with pytest.raises(UsageError, match="FS595"):
        call(*arguments, **more)
    assert proxy.connections == 0
    try:
        call(*arguments, **more, insecure_http=True)
    except Exception as error:
        assert "FS595" not in str(error)
    assert proxy.asked


@pytest.mark.parametrize(
    ("entry", "code"),
    [
        ("", "FS595"),
        ("insecure_http = false", "FS595"),
        ("insecure_http = true", ""),
        ('insecure_http = "true"', "FS541"),
        ("insecure_http = 1", "FS541"),
    ],
)
def test_the_entry_of_a_server_allows_it(entry: str, code: str, proxy: Raw, tmp_path: Path) -> None:
    file = tmp_path / "servers.toml"
    file.write_text(f'[servers.main]\nurl = "{AWAY}"\n{entry}\n')
    if code:
        with pytest.raises(UsageError, match=code):
            connect("main", file)
        assert proxy.connections == 0
    else:
        assert connect("main", file).client.request("GET", "metadata").ok
        assert [each.path for each in proxy.asked] == [f"{AWAY}/metadata"]


def test_a_token_is_never_sent_unencrypted_whatever_is_allowed(
    proxy: Raw, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FHIRSPACE_TOKEN", "CLEAR-CANARY")
    assert main(["doctor", "--server", AWAY, "--insecure-http"]) == 2
    assert "FS514" in capsys.readouterr().err
    assert proxy.connections == 0


def test_no_proxy_is_respected(proxy: Raw, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "fhir.example.test")
    with listening(lambda _: answer(200, statement("Patient"))) as server:
        resolving(monkeypatch, server)
        assert Client(AWAY, insecure_http=True).request("GET", "metadata").ok
        assert [each.path for each in server.asked] == ["/fhir/metadata"]
    assert proxy.connections == 0


@pytest.mark.parametrize("url", HERE)
def test_this_machine_is_reached_through_no_proxy(url: str, proxy: Raw, monkeypatch: pytest.MonkeyPatch) -> None:
    with listening(lambda _: answer(200, statement("Patient"))) as server:
        resolving(monkeypatch, server)
        assert Client(url).request("GET", "metadata").ok
        assert server.connections == 1
    assert proxy.connections == 0


def test_https_through_a_proxy_shows_it_the_host_alone(proxy: Raw, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://{proxy.place}")
    proxy.answers = lambda _: [answer(200)]  # in pieces: then it hangs up, and the client does not wait for TLS
    client = Client("https://fhir.example.test/fhir", attempts=1, sleep=lambda _: None)
    with pytest.raises(Exception, match=r"FS510|FS546"):
        client.request("GET", "Patient/SECRET-CANARY")
    assert (proxy.asked[0].method, proxy.asked[0].path) == ("CONNECT", "fhir.example.test:443")
    assert "CANARY" not in str(proxy.asked)  # what follows is TLS


@pytest.mark.parametrize("bind", ["192.0.2.1", "192.0.2.1:8099", "host.example.test:1", "127.0.0.1.example.test"])
def test_files_are_served_to_others_only_if_allowed(bind: str, study: Path) -> None:
    with listening(lambda _: answer(200, statement("Patient"))) as server:
        with pytest.raises(UsageError, match="FS595 --bulk-bind"):
            bulk_push(study, server.url, bind=bind)
        assert server.asked == []
        with pytest.raises(UsageError, match="FS598 --bulk-bind"):  # no address of this machine
            bulk_push(study, server.url, bind=bind, insecure_http=True)
