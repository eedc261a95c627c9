"""Types, ids and versions that a server names: none becomes another address than a resource's, or another file's name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from fhirspace.cli import main
from fhirspace.delivery.push.bundles import Courier, Entry
from fhirspace.delivery.push.order import Item
from fhirspace.delivery.undo import undo
from fhirspace.errors import ServerError
from fhirspace.fhirserver.address import is_id, is_key, is_type, key, relative, version
from fhirspace.fhirserver.fetch import fetch, versions
from fhirspace.fhirserver.http.client import Client, HttpTransport
from fhirspace.standards.fhir import RELEASES, definitions, resource_types
from tests.hostile.raw import Asked, Raw, answer, listening, patient, searchset, statement

TYPES: list[Any] = [
    "../../x",
    "..",
    ".",
    "",
    "/abs/path",
    "patient",
    "PATIENT",
    "Patient/../../x",
    "Patient ",
    "Patient?x=1",
    "Patient#x",
    "Patient\n",
    "Patient\x00",
    "Patient%2F..",
    "..\\..\\x",
    "C:\\x",
    "Pati\u0435nt",
    "Resource",
    "Element",
    "ActorDefinition",
    7,
    None,
    ["Patient"],
    {"a": 1},
]
IDS: list[Any] = [
    "../../admin/secrets",
    "..",
    ".",
    "a/b",
    "/a",
    "a/",
    "a/_history/1",
    "_search",
    "$export",
    "a?b=c",
    "a#b",
    "a b",
    "a%2F..%2Fb",
    "..\\x",
    "a\nb",
    "a\r\nX-Evil: 1",
    "a\x00",
    "a\x1b[2J",
    "a\x9b31m",
    "a\u202eb",
    "a\u2028b",
    "\u00e4",
    "\uff0e\uff0e",
    "a" * 65,
    "",
    7,
    None,
]


def admin(server: Raw) -> list[str]:
    """Requests for anything else than what is expected of a client of FHIR."""
    allowed = ("/fhir/metadata", "/fhir/Patient/_search", "/fhir?page=2", "/fhir/$export", "/fhir/job", "/fhir/file")
    return [path for path in server.paths if not path.split(" ", 1)[1].startswith(allowed)]


@pytest.mark.parametrize("bulk", [[], ["--bulk"]], ids=["search", "bulk"])
@pytest.mark.parametrize("kind", TYPES, ids=ascii)
def test_a_listed_type_becomes_no_address_and_no_file(
    kind: Any, bulk: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "deep" / "out"
    victims = [tmp_path / "x.ndjson", tmp_path / "deep" / "x.ndjson", Path("/abs/path.ndjson")]
    out.parent.mkdir()
    for victim in victims[:2]:
        victim.write_text("mine")

    def answers(asked: Asked) -> bytes:
        if asked.path == "/fhir/metadata":
            return answer(200, statement("Patient", kind))
        if asked.path.endswith("$export"):
            return answer(202, content_location=f"{server.url}/job")
        if asked.path == "/fhir/job":
            return answer(200, {"output": [{"type": "Patient", "url": f"{server.url}/file"}]})
        if asked.path == "/fhir/file":
            return answer(200, json.dumps(patient()).encode())
        return answer(200, searchset(patient()))

    with listening(answers) as server:
        code = main(["pull", "--server", server.url, "--study", "S", "--out", str(out), "--json", *bulk])
    report = json.loads(capsys.readouterr().out)
    assert (code, report["counts"]) == (0, {"Patient": 1})
    assert [each["code"] for each in report["problems"]] == ["FS596"]
    assert admin(server) == []
    assert [victim.exists() and victim.read_text() for victim in victims] == ["mine", "mine", False]
    assert sorted(each.name for each in out.rglob("*.ndjson")) == ["Patient.ndjson", "problems.ndjson"]


@pytest.mark.parametrize("name", IDS, ids=ascii)
def test_an_id_in_an_answer_ends_the_pull(name: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def answers(asked: Asked) -> bytes:
        whole = asked.path == "/fhir/metadata"
        return answer(200, statement("Patient") if whole else searchset(patient(), patient(name)))

    with listening(answers) as server:
        code = main(["pull", "--server", server.url, "--study", "S", "--out", str(tmp_path / "out")])
    assert code == 4
    assert "FS512" in capsys.readouterr().err
    assert admin(server) == []


@pytest.mark.parametrize("name", IDS[::2], ids=ascii)
def test_a_listed_id_is_not_read_by_itself(name: Any, tmp_path: Path) -> None:
    """The server counts more than it sent, so all ids are listed, and what has not come is read by its id."""

    def answers(asked: Asked) -> bytes:
        if asked.path == "/fhir/metadata":
            return answer(200, statement("Patient"))
        fields = parse_qs(asked.body.decode())
        listed = [patient(), patient(name)] if "_elements" in fields else [patient()]
        return answer(200, searchset(*listed, total=2))

    with listening(answers) as server:
        code = main(["pull", "--server", server.url, "--study", "S", "--out", str(tmp_path / "out")])
    assert code == 4
    assert admin(server) == []


@pytest.mark.parametrize("kind", [kind for kind in TYPES if isinstance(kind, str)][::2], ids=ascii)
def test_a_type_in_a_file_of_an_export_names_no_file(kind: str, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"

    def answers(asked: Asked) -> bytes:
        if asked.path.endswith("$export"):
            return answer(202, content_location=f"{server.url}/job")
        if asked.path == "/fhir/job":
            return answer(200, {"output": [{"type": "Patient", "url": f"{server.url}/file"}]})
        if asked.path == "/fhir/file":
            return answer(200, json.dumps(patient(resourceType=kind)).encode())
        return answer(200, statement("Patient"))

    with listening(answers) as server:
        arguments = ["--study", "S", "--out", str(out), "--bulk", "--bulk-level", "Patient"]
        assert main(["pull", "--server", server.url, *arguments]) == 4
    assert [each for each in tmp_path.rglob("*") if each.suffix == ".ndjson" and each.parent.name != "fhir"] == []


@pytest.mark.parametrize("name", [each for each in IDS if isinstance(each, str)], ids=ascii)
def test_a_version_that_is_none_is_never_sent_back(name: str) -> None:
    """It would be quoted in ``If-Match``, or end the text that it stands in within a Bundle."""
    resource = patient("p-1") | {"meta": {"versionId": name or '"'}}
    with listening(lambda _: answer(200, resource)) as server, pytest.raises(ServerError, match="FS512"):
        list(fetch(Client(server.url), ["Patient/p-1"], batch=False))


@pytest.mark.parametrize("version", ["1\r\nX-Evil: 1", "1\nX: 1"], ids=ascii)
def test_a_version_of_a_plan_or_journal_adds_no_header(version: str) -> None:
    entry = Entry(Item("Patient/p", b"", Path(), 0, 0, (0, 0)), b"{}", b"", version)
    with listening(lambda _: answer(200)) as server:
        with pytest.raises(ServerError, match="FS512"):
            Courier(Client(server.url), "single").send([entry])
        assert server.asked == []


@pytest.mark.parametrize("name", IDS[::2], ids=ascii)
def test_a_deleted_version_in_a_history_names_no_other(name: Any) -> None:
    entry = {"request": {"method": "DELETE"}, "response": {"status": "204", "etag": f'W/"{name}"'}}
    page = {"resourceType": "Bundle", "type": "history", "entry": [entry]}
    with listening(lambda _: answer(200, page)) as server:
        try:
            found = [held.version for held in versions(Client(server.url), "Patient/p-1")]
        except ServerError as error:
            assert error.code == "FS512"
        else:
            assert all(each == "" or is_id(each) for each in found)


@pytest.mark.parametrize(
    "target",
    [
        "../../admin/_history/1",
        "Patient/../_history/1",
        "Patient/..%2Fx/_history/1",
        "Patient/a?b/_history/1",
        "Patient/a/_history/..",
        "Patient/a/_history/1/../../x",
        "patient/a/_history/1",
        "Nosuch/a/_history/1",
        "https://EVIL/fhir/Patient/ /_history/1",
    ],
)
def test_an_undo_by_provenances_deletes_only_resources(target: str, tmp_path: Path) -> None:
    tag = {"system": "https://fhirspace.org/run", "code": "r"}
    provenance: dict[str, Any] = {"resourceType": "Provenance", "id": "x", "meta": {"versionId": "1", "tag": [tag]}}
    provenance["target"] = [{"reference": target}]

    def answers(asked: Asked) -> bytes:
        return answer(200, searchset(provenance) if asked.path.endswith("_search") else statement("Provenance"))

    with listening(answers) as server:
        with pytest.raises(ServerError, match=r"FS577|FS512"):
            undo("r", server.url, journal=tmp_path / "journal.db")
        assert server.paths == ["POST /fhir/Provenance/_search"]


@pytest.mark.parametrize("name", [each for each in IDS if each not in ("a/_history/1", "")], ids=ascii)
def test_an_id_of_the_input_is_rejected_unsent(name: Any, tmp_path: Path) -> None:
    (tmp_path / "Patient.ndjson").write_text(json.dumps({"resourceType": "Patient", "id": name}) + "\n")
    with listening(lambda _: answer(200, statement("Patient"))) as server:
        assert main(["push", str(tmp_path), "--server", server.url]) == 3
    assert server.paths == ["GET /fhir/metadata"]


@pytest.mark.parametrize("name", [each for each in IDS if each not in ("a/_history/1", "")], ids=ascii)
def test_an_id_of_the_input_is_in_no_plan(name: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "Patient.ndjson").write_text(json.dumps({"resourceType": "Patient", "id": name}) + "\n")
    with listening(lambda _: answer(200, statement("Patient"))) as server:
        assert main(["plan", str(tmp_path), "--server", server.url, "--json"]) == 1
    said = capsys.readouterr()
    report = json.loads(said.out)
    assert (report["changes"], [each["code"] for each in report["problems"]]) in (([], ["FS521"]), ([], ["FS522"]))
    assert not [sign for sign in said.out + said.err if sign != "\n" and not sign.isprintable()]
    assert isinstance(name, int | list | type(None)) or len(name) < 5 or name not in said.out + said.err
    assert server.paths == ["GET /fhir/metadata"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--types", "../../x"],
        ["--types", "Patient", "/abs/path"],
        ["--types", "patient"],
        ["--bulk", "--types", "../x"],
        ["--bulk", "--bulk-level", "Group/.."],
        ["--bulk", "--bulk-level", "Group/a/b"],
        ["--bulk", "--bulk-level", "Group/a?x"],
        ["--bulk", "--bulk-level", "../Patient"],
    ],
    ids=" ".join,
)
def test_what_the_user_names_must_fit_too(arguments: list[str], tmp_path: Path) -> None:
    with listening() as server:
        assert main(["pull", "--server", server.url, "--study", "S", "--out", str(tmp_path / "o"), *arguments]) == 2
    assert server.asked == []


@pytest.mark.parametrize(
    "path",
    [
        "../admin",
        "Patient/..",
        "Patient/../x",
        "Patient/a/../b",
        "Patient//a",
        "/Patient",
        "Patient/",
        "Patient/a/",
        "Patient/a/_history/..",
        "Patient/a/_history/",
        "Patient/%2e%2e",
        "Patient/a%2Fb",
        "Patient\\a",
        "patient/a",
        "http://evil/fhir",
        "//evil/fhir",
        "metadata/..",
        "metadata/x",
        ".well-known/../x",
        "$export/../x",
        "Patient/a/b/c",
        "Patient?a=b#c",
        "Patient?a= b",
        "Patient?a=\u00e4",
        "Patient?a=%zz",
        "Patient?a=\n",
        "Patient\n",
    ],
    ids=ascii,
)
def test_what_is_no_address_of_fhir_is_not_sent(path: str) -> None:
    with listening() as server:
        with pytest.raises(ServerError, match="FS512"):
            HttpTransport(server.url).send("GET", path)
        assert server.connections == 0


@pytest.mark.parametrize(
    "path",
    [
        "",
        "metadata",
        ".well-known/smart-configuration",
        "Patient",
        "Patient/_search",
        "Patient/a.b-C",
        "Patient/...",
        "Patient/a/_history?_count=100",
        "Patient/a/_history/1",
        "$export",
        "Group/g-1/$export?_type=Patient&_typeFilter=Patient%3F_tag%3Dx",
        "Patient?identifier=http%3A%2F%2Fx%7C1",
        "NewType/a",
    ],
)
def test_the_addresses_of_fhir_are_sent(path: str) -> None:
    assert relative(path, "http://h/fhir") == path


@pytest.mark.parametrize("release", RELEASES)
def test_the_names_of_types_are_those_of_the_definitions(release: Any) -> None:
    assert resource_types(release) == definitions(release).resources
    assert resource_types("9.9") == resource_types() >= resource_types(release)


def test_names_that_fit() -> None:
    assert is_type("Patient") and is_type("ActorDefinition", "R5") and not is_type("ActorDefinition", "R4")
    assert is_key("Patient/a") and not is_key("Patient") and not is_key("x/a") and not is_key(None)
    assert [key("Patient", name, "h") for name in ("a", "...", ".a", "a.", "A" * 64)]
    assert [version(name, "h") for name in ("", "1", "MTY4.x-1")] == ["", "1", "MTY4.x-1"]
