"""What the doctor finds, against a server that is one method; and that it writes nothing."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from fhirspace.cli import main
from fhirspace.delivery.doctor import findings as doctor_findings
from fhirspace.delivery.doctor.doctor import TYPES, Preflight, doctor
from fhirspace.delivery.doctor.findings import Finding
from fhirspace.delivery.doctor.probes import NOBODY, Probed
from fhirspace.delivery.doctor.text import text
from fhirspace.errors import ServerError, catalogue
from fhirspace.fhirserver.http.client import JSON, Client, LostAnswer, Response
from fhirspace.fhirserver.http.tls import Certificate
from fhirspace.mapping.library import Library
from fhirspace.testing import FaultyServer
from tests.support import statements

LOCAL = "http://127.0.0.1:8080/fhir"
FAR = "https://fhir.example.org/r4"
NOW = datetime(2026, 3, 1, tzinfo=UTC)
LONG = Certificate("TLSv1.3", "A Hospital CA", datetime(2027, 1, 1, tzinfo=UTC))


@dataclass(slots=True)
class Server:
    """A `Transport` with a FHIR server behind it that answers as it is told."""

    statement: dict[str, Any]
    read: int = 200
    unknown: tuple[str, ...] = ()
    batch: int = 200
    gzip: int = 200
    ahead: float = 0.0
    headers: Mapping[str, str] = field(default_factory=dict)
    smart: dict[str, Any] | None = None
    page: bool = False
    lost: int = 0
    sent: list[tuple[str, str, bytes]] = field(default_factory=list)

    def send(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Response:
        self.sent.append((method, path, body or b""))
        if self.lost and path != "metadata":
            self.lost -= 1
            raise LostAnswer("dropped")
        status, document = self._answer(path, body or b"", headers or {})
        shown = {"content-type": JSON, "date": formatdate(NOW.timestamp() + self.ahead, usegmt=True), **self.headers}
        body = b"<html>Blocked</html>" if self.page and path == "" else json.dumps(document).encode()
        return Response(status, shown, body)

    def _answer(self, path: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
        outcome = {"resourceType": "OperationOutcome", "issue": []}
        if path == "metadata":
            return 200, self.statement
        if path.endswith("smart-configuration"):
            return (404, outcome) if self.smart is None else (200, self.smart)
        if path.endswith("_search"):
            assert headers["Prefer"] == "handling=strict"
            known = body.decode().partition("=")[0] not in self.unknown
            return (self.read if known else 400), {"resourceType": "Bundle", "type": "searchset"}
        packed = headers.get("Content-Encoding") == "gzip"
        sent = json.loads(gzip.decompress(body) if packed else body)
        assert [entry["request"]["method"] for entry in sent["entry"]] == ["GET"]
        answer = {"resourceType": "Bundle", "type": "batch-response", "entry": [{"response": {"status": "404"}}]}
        status = self.gzip if packed else self.batch
        return status, answer if status == 200 else outcome


def full(name: str = "HAPI FHIR Server", **said: Any) -> dict[str, Any]:
    return statements.statement(name, **{"types": TYPES, **statements.BY_ID, **said})


def look(server: Server, address: str = LOCAL, **options: Any) -> Preflight:
    client = Client(address, server, sleep=lambda _: None)
    settings = {"signed": True, "certificate": lambda _: LONG, "now": NOW.timestamp, **options}
    return doctor(address, client=client, **settings)


def finding(found: Preflight, name: str) -> Finding:
    (one,) = [each for each in found.findings if each.name == name]
    return one


def test_a_sound_server_has_nothing_to_complain_of() -> None:
    server = Server(full(), headers={"content-encoding": "gzip"})
    found = look(server, FAR)
    assert (found.fhir, found.verdict, found.exit_code, found.limits.key) == ("R4", "ok", 0, "hapi")
    assert {each.verdict for each in found.findings} == {"ok"}
    assert found.way is not None
    assert (found.way.kind, found.way.gzip, found.way.without) == ("transaction", True, ())
    assert finding(found, "searches").value == "_tag _id _lastUpdated identifier (tried on Patient)"
    assert finding(found, "compression").value == "answers: yes, requests: yes"
    assert finding(found, "encryption").value == "TLSv1.3, certificate of A Hospital CA until 2027-01-01, 306 days left"


def test_nothing_is_written_and_nothing_can_be_found() -> None:
    server = Server(full(rest=statements.security("SMART-on-FHIR")))
    look(server)
    assert {(method, path) for method, path, _ in server.sent} == {
        ("GET", "metadata"),
        ("GET", ".well-known/smart-configuration"),
        ("POST", "Patient/_search"),
        ("POST", ""),
    }
    for _, path, body in server.sent:
        assert not path.endswith("_search") or NOBODY in body.decode() or body == b"_lastUpdated=lt1900-01-01"


@pytest.mark.parametrize(
    ("server", "options", "name", "value", "code"),
    [
        (Server(full(), read=401), {"signed": False}, "sign-in", "needed; the server does not say which kind", "FS511"),
        (Server(full(), read=401), {}, "sign-in", "refused", "FS511"),
        (Server(full(), read=403), {}, "sign-in", "may not read Patient", "FS511"),
        (Server(full()), {"signed": False}, "sign-in", "none needed to read", "FS555"),
        (Server(full(), read=503), {}, "sign-in", "no clear answer to a search", ""),
        (Server(full(), unknown=("_tag",)), {}, "searches", "refused for Patient: _tag", "FS556"),
        (Server(full(), unknown=("_tag",)), {}, "sign-in", "accepted", ""),
        (Server(full(), read=503), {}, "searches", "understood: none; no clear answer to the others", ""),
        (Server(full(), read=501), {}, "searches", "refused for Patient: _tag _id _lastUpdated identifier", "FS556"),
        (Server(full(), batch=405), {}, "bundles", "batch is stated, but failed when tried", "FS559"),
        (Server(full(), page=True), {}, "bundles", "batch is stated, but failed when tried", "FS559"),
        (Server(full(), batch=503), {}, "bundles", "transaction, batch", ""),
        (Server(full(system=("transaction",))), {}, "bundles", "transaction; a batch was tried and works", ""),
        (
            Server(full(system=("transaction",)), batch=404),
            {},
            "bundles",
            "transaction; a batch was tried and failed",
            "",
        ),
        (Server(full(system=None)), {}, "bundles", "not stated; a batch was tried and works", ""),
        (Server(full(system=None), batch=404), {}, "bundles", "not stated; a batch was tried and failed", ""),
        (Server(full(), gzip=415), {}, "compression", "answers: no, requests: no", ""),
        (Server(full(), batch=503), {}, "compression", "answers: no, requests: not tried", ""),
        (Server(full(), ahead=-3), {}, "clock", "agrees within 3 s", ""),
        (Server(full(), ahead=30), {}, "clock", "the server's is 30 s ahead", "FS558"),
        (Server(full(), ahead=-600), {}, "clock", "the server's is 600 s behind", "FS552"),
        (Server(full(), ahead=-600), {"signed": False}, "clock", "the server's is 600 s behind", "FS558"),
        (Server(full(), ahead=-600, headers={"age": "600"}), {}, "clock", "agrees within 1 s", ""),
        (Server(full(), headers={"date": ""}), {}, "clock", "the server does not tell its time", ""),
        (Server(full(versioning="no-version")), {}, "undo", "not for all types: versions", "FS557"),
        (
            Server(full(interactions=("read", "update", "search-type"))),
            {},
            "undo",
            "not for all types: history, deletes",
            "FS557",
        ),
        (
            Server(full(types=("Patient", "Observation"))),
            {"types": ["Patient"]},
            "types",
            "all that are wanted (1)",
            "",
        ),
        (Server(full(types=("Patient",))), {"types": ["Patient", "Basic"]}, "types", "not taken: Basic", "FS551"),
        (Server(full(updateCreate=False)), {}, "types", "not taken: AdverseEvent", "FS551"),
        (Server(full(updateCreate=False)), {}, "client ids", "no", ""),
        (Server(statements.SILENT), {}, "types", "not stated", ""),
        (Server(statements.SILENT), {}, "undo", "not stated", ""),
        (Server(statements.SILENT), {}, "client ids", "not stated; assumed", ""),
        (Server(statements.SILENT), {}, "conditional update", "not stated; assumed not", ""),
        (Server(statements.HAPI), {}, "client ids", "not stated; a setting of HAPI FHIR, assumed", ""),
        (Server(statements.AIDBOX), {}, "client ids", "not stated; Aidbox does", ""),
        (Server(full("Our own")), {}, "limits", "none known", ""),
        (
            Server(full("Azure API for FHIR")),
            {},
            "bulk export",
            "not stated (Azure Health Data Services: into Azure storage)",
            "",
        ),
        (Server(full("medplum")), {}, "bulk import", "not stated", ""),
        (
            Server(full("Aidbox")),
            {},
            "limits",
            "21 MB a request; the most bytes of a request are a setting (BOX_WEB_MAX_BODY)",
            "",
        ),
        (Server(full(interactions=("read",))), {}, "delivery", "no way", "FS550"),
    ],
)
def test_what_is_not_as_it_should_be_is_found(
    server: Server, options: dict[str, Any], name: str, value: str, code: str
) -> None:
    found = finding(look(server, FAR, **options), name)
    assert (found.value, found.code) == (value, code)
    assert found.verdict == (catalogue()[code].level if code else found.verdict)
    assert code or found.verdict in ("ok", "note")


@pytest.mark.parametrize(
    ("server", "code"),
    [(Server(full()), 0), (Server(full(), ahead=30), 1), (Server(full(), read=401), 4)],
)
def test_the_exit_code_is_that_of_the_worst_finding(server: Server, code: int) -> None:
    found = look(server, FAR)
    assert found.exit_code == found.as_dict()["exit_code"] == code


def test_no_way_is_a_finding_and_no_exception() -> None:
    found = look(Server(full(interactions=("read",))))
    assert (found.way, found.exit_code, found.as_dict()["way"]) == (None, 4, None)
    assert text(found).endswith("delivery: no way")


@pytest.mark.parametrize(("spoken", "wanted"), [("5.0.0", "R4"), ("4.0.1", "R5"), ("4.3.0", "R4")])
def test_another_release_is_refused(spoken: str, wanted: str) -> None:
    with pytest.raises(ServerError, match="FS513"):
        look(Server(full(version=spoken)), fhir=wanted)


@pytest.mark.parametrize(
    ("shown", "code"),
    [
        (LONG, ""),
        (Certificate("TLSv1.2", "", datetime(2026, 3, 15, tzinfo=UTC)), "FS553"),
        (None, ""),
    ],
)
def test_a_certificate_that_ends_soon_is_told(shown: Certificate | None, code: str) -> None:
    assert finding(look(Server(full()), FAR, certificate=lambda _: shown), "encryption").code == code


@pytest.mark.parametrize(
    ("address", "value", "code"),
    [(LOCAL, "none, on this machine", ""), ("http://fhir.example.org", "none", "FS554")],
)
def test_what_is_not_encrypted_is_told_unless_it_stays_here(address: str, value: str, code: str) -> None:
    found = finding(look(Server(full()), address), "encryption")
    assert (found.value, found.code) == (value, code)


def test_which_sign_in_is_offered_is_told() -> None:
    smart = {
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "private_key_jwt"],
        "token_endpoint_auth_signing_alg_values_supported": ["RS384", "ES384"],
    }
    server = Server(full(rest=statements.security("OAuth", "SMART-on-FHIR", "OAuth")), read=401, smart=smart)
    found = finding(look(server, signed=False), "sign-in")
    assert found.value == "needed; offered: OAuth, SMART-on-FHIR, private_key_jwt with RS384/ES384"
    assert finding(look(server, signed=False), "searches").value == "not tried without sign-in"


def test_a_proxy_is_told_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://user:SECRET@proxy.example.org:3128")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    found = look(Server(full()), FAR)
    assert finding(found, "proxy") == Finding("proxy", "proxy.example.org:3128", "note")
    assert "SECRET" not in text(found) + json.dumps(found.as_dict())


def test_a_lost_answer_is_asked_for_once_more_and_two_decide_nothing() -> None:
    assert look(Server(full(), lost=1)).verdict == "ok"
    assert finding(look(Server(full(), lost=99)), "sign-in").value == "no clear answer to a search"


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ([True, True], "yes"),
        ([False], "no"),
        ([None, None], "not stated"),
        ([], "not stated"),
        ([True, True, False], "yes for 2, no for 1"),
    ],
)
def test_types_that_differ_are_counted(flags: list[bool | None], said: str) -> None:
    assert doctor_findings._shares(flags) == said


@pytest.mark.parametrize("release", ["R4", *(pytest.param(name, marks=pytest.mark.slow) for name in ("R4B", "R5"))])
def test_the_types_asked_about_are_those_that_the_mappings_write(release: Any) -> None:
    blocks = [block for mapping in Library(release).complete().values() for block in mapping.blocks]
    assert {block.resource for block in blocks} | {"Library", "Provenance"} == set(TYPES)


def test_a_latency_that_was_not_measured_is_unknown() -> None:
    assert doctor_findings.latency(Probed()).value == "unknown"


# -- what a person sees


def test_lines_stand_under_each_other_and_stay_narrow() -> None:
    shown = text(look(Server(full(types=("Patient",)), unknown=("_tag",), ahead=30), FAR)).splitlines()
    assert all(len(line) <= 100 for line in shown)
    marked = [line for line in shown if re.match(r"  (ok|note|warn|FAIL) ", line)]
    assert len(marked) >= 15
    assert len({re.match(r"  \S+ +[a-z -]*[a-z]  +(?=\S)", line).end() for line in marked}) == 1  # type: ignore[union-attr]
    assert any(
        line.startswith("delivery: transactions of PUT Type/id, 50 resources each, 3 at a time") for line in shown
    )


def test_warnings_say_their_code_and_what_to_do() -> None:
    shown = " ".join(text(look(Server(full(), unknown=("_tag",)))).split())
    assert f"FS556: {catalogue()['FS556'].sentence} {catalogue()['FS556'].fix}" in shown


def test_colours_are_for_terminals_only() -> None:
    found = look(Server(full(), ahead=30), FAR)
    plain, painted = text(found), text(found, colour=True)
    assert "\x1b" not in plain
    assert "\x1b[33mwarn\x1b[0m" in painted
    assert re.sub(r"\x1b\[[\d;]*m", "", painted) == plain


# -- the command


@pytest.fixture
def served(faulty: FaultyServer, monkeypatch: pytest.MonkeyPatch) -> FaultyServer:
    monkeypatch.setattr(faulty, "capabilities", lambda: full(version=faulty.fhir_version))
    monkeypatch.setattr(faulty, "types", list(TYPES))
    monkeypatch.delenv("FHIRSPACE_TOKEN", raising=False)
    return faulty


def test_the_command_tells_what_it_found(served: FaultyServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--server", served.url]) in (0, 1)
    shown = capsys.readouterr().out
    assert shown.startswith(served.url + "\n")
    assert "\ndelivery: transactions of PUT" in shown
    assert "\x1b" not in shown
    assert not served.store


def test_the_command_gives_one_json_document(served: FaultyServer, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["doctor", "--server", served.url, "--types", "Patient", "Binary", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert (code, found["exit_code"], found["verdict"]) == (1, 1, "warning")
    assert found["way"]["kind"] == "transaction"
    assert {"name": "types", "value": "not taken: Binary"}.items() <= found["findings"][3].items()


def test_the_command_refuses_another_release_and_silence(
    served: FaultyServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["doctor", "--server", served.url, "--fhir", "R5"]) == 4
    assert "FS513" in capsys.readouterr().err
    monkeypatch.setattr("random.uniform", lambda *_: 0.0)
    assert main(["doctor", "--server", "http://127.0.0.1:9/fhir"]) == 4
    assert "FS510" in capsys.readouterr().err
    assert main(["doctor", "--server", "ftp://x"]) == 2


def test_the_guide_shows_an_answer_of_the_doctor() -> None:
    hapi = json.loads(json.dumps(statements.HAPI))
    hapi["software"]["version"] = "8.8.0"
    hapi["format"] = ["application/fhir+xml", "xml", "application/fhir+json", "json", "application/x-turtle", "ttl"]
    hapi["rest"][0]["operation"] = [{"name": "import"}, {"name": "export"}]
    hapi["rest"][0]["resource"] = [
        statements.resource(kind, versioning="versioned-update", conditionalUpdate=True) for kind in TYPES
    ]
    shown = text(look(Server(hapi, ahead=30, headers={"content-encoding": "gzip"}), FAR))
    guide = (Path(__file__).parents[3] / "docs" / "integration-engineer.md").read_text("utf-8")
    told = guide.partition("$ fhirspace doctor ")[2].partition("\n")[2].partition("\n```")[0]
    masked = re.compile(r"\d+ ms a search")
    assert masked.sub("N", told) == masked.sub("N", shown)
