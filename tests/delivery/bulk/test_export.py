"""A study by $export: the same files as by search, resumable, and with the token where it belongs."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from fhirspace.delivery.bulk.export import bulk_pull
from fhirspace.delivery.bulk.manifest import FOLDER
from fhirspace.delivery.pull.pull import PullReport
from fhirspace.errors import FhirspaceError
from fhirspace.fhir.canonical import canonical
from fhirspace.fhirserver.http.client import Client, HttpTransport
from tests.delivery.bulk.exporter import Exporter, exporting
from tests.support.resources import STUDY, dump, lines_of, observation, organization, patient, resource

TOKEN = "t0ken"


def line(body: dict[str, Any] | str, version: int = 1) -> str:
    """As a server exports it: with its own metadata."""
    text = body if isinstance(body, str) else dump(body)
    meta = f'"meta":{{"versionId":"{version}","lastUpdated":"2026-03-0{version}T00:00:00Z",'
    return text.replace('"meta":{', meta, 1)


def ndjson(*bodies: Any) -> bytes:
    return "".join(f"{line(body)}\n" for body in bodies).encode()


EXPECTED = [
    *(observation(f"ob-{number:02}", "p-1", "5.50") for number in range(30)),
    dump(organization()),
    dump(patient("p-1")),
]


@pytest.fixture
def server() -> Iterator[Exporter]:
    other = dump(resource("Patient", "stranger", "OTHER"))
    files = {
        "b": ("Observation", ndjson(*EXPECTED[29:14:-1])),
        "a": ("Observation", ndjson(*EXPECTED[:15])),
        "p": ("Patient", ndjson(dump(patient("p-1")), other)),
        "o": ("Organization", ndjson(dump(organization()))),
        "empty": ("ResearchStudy", b""),
    }
    with exporting(files) as exporter:
        yield exporter


class Token:
    """A `SignIn` that shows one token."""

    def header(self) -> str:
        return f"Bearer {TOKEN}"

    def refused(self, shown: str) -> bool:
        return False


def exported(server: Exporter, out: Path, **options: Any) -> PullReport:
    transport = HttpTransport(server.url, sign_in=Token())
    try:
        client = Client(server.url, transport, sleep=_no_wait)
        return bulk_pull(server.url, STUDY, out, client=client, piece=1000, **options)
    finally:
        transport.close()


def _no_wait(seconds: float) -> None:
    pass


def test_the_study_comes_as_it_comes_by_search(server: Exporter, tmp_path: Path) -> None:
    said: list[tuple[str, int]] = []
    report = exported(server, tmp_path, progress=lambda *args: said.append(args))
    assert report.counts == {"Observation": 30, "Organization": 1, "Patient": 1}
    assert report.problems == []
    assert lines_of(tmp_path) == [text.encode() for text in EXPECTED]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["fhir", "manifest.json", "problems.ndjson"]
    assert server.deleted == ["0"]
    assert said[:2] == [("export %", 33), ("export %", 66)]
    assert said[-1] == ("files", 5)


def test_what_an_export_replaced_is_reported(server: Exporter, tmp_path: Path) -> None:
    assert exported(server, tmp_path).replaced is None
    again = exported(server, tmp_path)
    assert again.as_dict()["replaced"]["folders"] == {"fhir": 3}


def test_what_is_asked_for_stands_in_no_url(server: Exporter, tmp_path: Path) -> None:
    exported(server, tmp_path, since="2026-03-01", types=["Patient", "Observation"])
    ((method, path, headers, body),) = server.kick_offs()
    assert (method, path, headers["prefer"]) == ("POST", "/fhir/$export", "respond-async")
    asked = [tuple(part.values()) for part in json.loads(body)["parameter"]]
    tag = "_tag=https%3A%2F%2Ffhirspace.org%2Fstudy%7CTRIAL01"
    assert asked == [
        ("_outputFormat", "application/fhir+ndjson"),
        ("_type", "Patient,Observation"),
        ("_since", "2026-03-01T00:00:00.000+00:00"),
        ("_typeFilter", f"Patient?{tag}"),
        ("_typeFilter", f"Observation?{tag}"),
    ]
    assert not any(STUDY in path for _, path, _, _ in server.requests)


@pytest.mark.parametrize(
    ("refuse", "taken"),
    [
        ({("POST", True)}, ("GET", True)),
        ({("POST", True), ("GET", True)}, ("POST", False)),
        ({("POST", True), ("GET", True), ("POST", False)}, ("GET", False)),
    ],
)
def test_servers_that_take_less(
    server: Exporter, tmp_path: Path, refuse: set[tuple[str, bool]], taken: tuple[str, bool]
) -> None:
    server.refuse = refuse
    assert exported(server, tmp_path, types=["Patient"]).counts["Patient"] == 1
    method, path, _, body = server.kick_offs()[-1]
    query = parse_qs(urlsplit(path).query)
    assert (method, "_typeFilter" in query or b"_typeFilter" in body) == taken
    if method == "GET":
        assert query["_type"] == ["Patient"]
    assert not any(b"stranger" in text for text in lines_of(tmp_path))


def test_a_server_that_exports_nothing(server: Exporter, tmp_path: Path) -> None:
    server.refuse = {(method, filtered) for method in ("GET", "POST") for filtered in (True, False)}
    with pytest.raises(FhirspaceError, match=r"FS560.*status 400: not-supported"):
        exported(server, tmp_path)


@pytest.mark.parametrize(
    ("level", "path"), [("Patient", "/fhir/Patient/$export"), ("Group/g-1", "/fhir/Group/g-1/$export")]
)
def test_levels(server: Exporter, tmp_path: Path, level: str, path: str) -> None:
    exported(server, tmp_path, level=level)
    assert server.kick_offs()[0][1] == path
    assert b"_type" not in server.kick_offs()[0][3]
    with pytest.raises(FhirspaceError, match="FS567"):
        exported(server, tmp_path, level="Group")


def test_a_killed_export_downloads_nothing_twice(server: Exporter, tmp_path: Path) -> None:
    server.stall = "a"
    command = [sys.executable, "-m", "tests.delivery.bulk.exports", server.url, str(tmp_path)]
    with subprocess.Popen(command) as child:
        assert server.stalled.wait(60)
        child.send_signal(signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL
    server.stall = ""
    server.go.set()
    before = server.fetched()
    report = exported(server, tmp_path)
    after = server.fetched()[len(before) :]
    assert len(server.kick_offs()) == 1
    assert [path for path, _ in before][-1].endswith("/a")
    # The piece that the first one asked for and never got is the only one that is asked for again.
    assert set(before) & set(after) == {before[-1]}
    assert len(after) == len(set(after))
    assert not any(path.endswith("/b") for path, _ in after)
    assert lines_of(tmp_path) == [text.encode() for text in EXPECTED]
    assert report.problems == []


def test_without_pieces_files_come_whole(server: Exporter, tmp_path: Path) -> None:
    server.ranges = False
    exported(server, tmp_path)
    assert len(server.fetched()) == len(server.files)
    assert lines_of(tmp_path) == [text.encode() for text in EXPECTED]


def test_a_file_that_was_touched_meanwhile_is_fetched_anew(
    server: Exporter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("fhirspace.delivery.bulk.export._written", _power_cut)
        with pytest.raises(KeyboardInterrupt):
            exported(server, tmp_path)
    assert (tmp_path / FOLDER).stat().st_mode & 0o777 == 0o700
    assert (tmp_path / FOLDER / "state.json").stat().st_mode & 0o777 == 0o600
    before = len(server.fetched())
    (tmp_path / FOLDER / "000002.ndjson").write_bytes(b"{}\n")
    # Killed between its last byte and the note of it: it has its name, so it is whole.
    state = json.loads((tmp_path / FOLDER / "state.json").read_bytes())
    state["manifest"]["output"][0] |= {"size": -1, "sha256": ""}
    (tmp_path / FOLDER / "state.json").write_text(json.dumps(state))
    exported(server, tmp_path)
    assert [path.rsplit("/", 1)[1] for path, _ in server.fetched()[before:]] == ["p"]
    assert len(server.kick_offs()) == 1


def _power_cut(*_: object) -> None:
    raise KeyboardInterrupt


def test_another_request_is_another_export(server: Exporter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("fhirspace.delivery.bulk.export._written", _power_cut)
        with pytest.raises(KeyboardInterrupt):
            exported(server, tmp_path)
    assert exported(server, tmp_path, types=["Patient"]).counts["Patient"] == 1
    assert len(server.kick_offs()) == 2


def test_an_export_that_the_server_forgot_is_begun_anew(
    server: Exporter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("fhirspace.delivery.bulk.export._written", _power_cut)
        with pytest.raises(KeyboardInterrupt):
            exported(server, tmp_path)
    (tmp_path / FOLDER / "000000.ndjson").unlink()
    server.expired = {"0"}
    report = exported(server, tmp_path)
    assert [problem.code for problem in report.problems] == ["FS565"]
    assert lines_of(tmp_path) == [text.encode() for text in EXPECTED]
    server.expired = {"0", "1", "2", "3"}
    with pytest.raises(FhirspaceError, match="FS561"):
        exported(server, tmp_path)


def test_a_job_that_is_gone_before_it_is_done_is_begun_anew(server: Exporter, tmp_path: Path) -> None:
    server.expired = {"0"}
    assert [problem.code for problem in exported(server, tmp_path).problems] == ["FS565"]
    assert server.deleted == ["1"]


def test_a_server_that_fails_at_the_beginning_is_not_asked_in_other_ways(server: Exporter, tmp_path: Path) -> None:
    server.unsure = True
    with pytest.raises(FhirspaceError, match=r"FS560.*status 200"):
        exported(server, tmp_path)
    assert len(server.kick_offs()) == 1


def test_types_beyond_those_asked_for_are_written_too(server: Exporter, tmp_path: Path) -> None:
    server.files["g"] = ("Group", ndjson(dump(resource("Group", "g-1", actual=True))))
    assert exported(server, tmp_path).counts["Group"] == 1
    server.files["g"] = ("Group", ndjson(dump(resource("../Group", "g-1"))))
    with pytest.raises(FhirspaceError, match="FS512"):
        exported(server, tmp_path)


def test_the_token_goes_where_it_is_wanted_and_nowhere_else(server: Exporter, tmp_path: Path) -> None:
    exported(server, tmp_path)
    assert {headers.get("authorization") for _, path, headers, _ in server.requests if "/files/" in path} == {
        f"Bearer {TOKEN}"
    }
    server.requests.clear()
    server.token = False
    exported(server, tmp_path)
    assert {headers.get("authorization") for _, path, headers, _ in server.requests if "/files/" in path} == {None}
    assert {headers.get("authorization") for _, path, headers, _ in server.requests if "/files/" not in path} == {
        f"Bearer {TOKEN}"
    }


def test_a_file_elsewhere_does_not_get_the_token(server: Exporter, tmp_path: Path) -> None:
    server.elsewhere = "http://127.0.0.1:9/fhir"
    with pytest.raises(FhirspaceError, match="FS564"):
        exported(server, tmp_path)
    assert server.fetched() == []


def test_what_was_encrypted_stays_so() -> None:
    from fhirspace.delivery.bulk.export import _Export
    from fhirspace.delivery.bulk.manifest import Manifest, Output

    client = Client("https://fhir.example/r4", HttpTransport("https://fhir.example/r4"))
    export = _Export(client, client, *[None] * 6)  # type: ignore[arg-type]
    for url, token, well in [
        ("https://fhir.example/x", True, True),
        ("https://files.example/x", False, True),
        ("https://files.example/x", True, False),
        ("http://files.example/x", False, False),
        ("http://fhir.example/x", True, False),
    ]:
        manifest = Manifest([], requiresAccessToken=token)
        if well:
            export._client(manifest, Output(url))
        else:
            with pytest.raises(FhirspaceError, match="FS564"):
                export._client(manifest, Output(url))


def test_errors_beside_the_files_are_told_without_values(server: Exporter, tmp_path: Path) -> None:
    issue = {"severity": "error", "code": "exception", "diagnostics": "HAPI-0389: SECRET-CANARY"}
    outcome = json.dumps({"resourceType": "OperationOutcome", "issue": [issue]}).encode()
    server.errors = {"e": outcome + b"\n" + outcome + b"\n"}
    report = exported(server, tmp_path)
    (problem,) = report.problems
    assert (problem.code, problem.detail) == ("FS566", "exception HAPI-0389")


def test_what_the_server_notes_beside_the_files_is_no_error(server: Exporter, tmp_path: Path) -> None:
    issue = {"severity": "information", "code": "informational"}
    server.errors = {"e": json.dumps({"resourceType": "OperationOutcome", "issue": [issue]}).encode() + b"\n"}
    assert exported(server, tmp_path).problems == []


def test_a_file_without_a_resource_of_its_type_is_reported(server: Exporter, tmp_path: Path) -> None:
    server.files["b"] = ("Observation", ndjson(dump(patient("p-1"))))
    (problem,) = exported(server, tmp_path).problems
    assert (problem.code, problem.detail) == ("FS566", "no Observation came in a file of them")


def test_contents_without_versions_are_reported(server: Exporter, tmp_path: Path) -> None:
    both = (dump(patient("p-1", active=active)) for active in (True, False))
    server.files["p"] = ("Patient", "\n".join(both).encode())
    (problem,) = exported(server, tmp_path).problems
    assert (problem.code, problem.table) == ("FS471", "Patient")


def test_a_link_that_needs_no_token_and_is_refused_has_expired(server: Exporter, tmp_path: Path) -> None:
    server.token, server.refused = False, {"0"}
    assert [problem.code for problem in exported(server, tmp_path).problems] == ["FS565"]
    assert lines_of(tmp_path) == [text.encode() for text in EXPECTED]
    server.token, server.refused = True, {"2"}
    with pytest.raises(FhirspaceError, match="FS511"):
        exported(server, tmp_path)


def test_a_file_elsewhere_that_cannot_be_reached_is_named_by_its_host(server: Exporter, tmp_path: Path) -> None:
    server.token, server.elsewhere = False, "http://127.0.0.1:9/fhir"
    with pytest.raises(FhirspaceError, match=r"FS510 http://127\.0\.0\.1:9: "):
        exported(server, tmp_path)


def test_fewer_resources_than_the_server_counted(server: Exporter, tmp_path: Path) -> None:
    kind, body = server.files["a"]
    manifest = server.manifest

    def wrong(job: str) -> dict[str, Any]:
        found = manifest(job)
        found["output"][1]["count"] += 1
        return found

    server.manifest = wrong  # type: ignore[method-assign]
    (problem,) = exported(server, tmp_path).problems
    assert (problem.code, problem.table, problem.detail) == ("FS566", kind, "16 resources announced, 15 came")
    assert len(body.splitlines()) == 15


def test_a_failed_job(server: Exporter, tmp_path: Path) -> None:
    server.failed = True
    with pytest.raises(FhirspaceError, match=r"FS561.*HAPI-1234") as error:
        exported(server, tmp_path)
    assert "CANARY" not in str(error.value)
    server.failed = False
    assert exported(server, tmp_path).total == 32


def test_the_newest_of_two_versions_is_kept(server: Exporter, tmp_path: Path) -> None:
    new, old = (line(dump(patient("p-1", active=active)), version) for active, version in ((True, 2), (False, 1)))
    server.files = {"p": ("Patient", f"{new}\n{old}\n".encode())}
    exported(server, tmp_path)
    assert [json.loads(text)["active"] for text in lines_of(tmp_path)] == [True]


@pytest.mark.parametrize("body", [b"[1]\n", b'{"resourceType":"Patient"\n', b"\xff\n"])
def test_files_that_hold_no_resources(server: Exporter, tmp_path: Path, body: bytes) -> None:
    server.files = {"p": ("Patient", body)}
    with pytest.raises(FhirspaceError, match="FS512"):
        exported(server, tmp_path)
    assert not list((tmp_path / "fhir").glob("*"))
    assert not (tmp_path / FOLDER).exists()


def test_nothing_of_the_study(server: Exporter, tmp_path: Path) -> None:
    server.files = {}
    assert exported(server, tmp_path, since="2026-03-01").total == 0
    with pytest.raises(FhirspaceError, match="FS531"):
        exported(server, tmp_path)


def test_a_type_that_is_gone_loses_its_file(server: Exporter, tmp_path: Path) -> None:
    exported(server, tmp_path)
    del server.files["o"]
    exported(server, tmp_path)
    assert sorted(file.name for file in (tmp_path / "fhir").iterdir()) == ["Observation.ndjson", "Patient.ndjson"]
    assert sorted(map(canonical, lines_of(tmp_path))) == sorted(
        canonical(text.encode()) for text in EXPECTED if "o-1" not in json.loads(text)["id"]
    )
