"""References to what the files do not have are looked for on a server, by choice."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import fhirspace
from fhirspace.cli import main
from fhirspace.errors import EXIT_CLEAN, EXIT_FINDINGS, EXIT_SERVER, EXIT_USAGE, FhirspaceError
from fhirspace.fhirserver.http.client import Client
from fhirspace.fhirserver.http.transport import HttpTransport
from fhirspace.limits import VARIABLE
from fhirspace.study.validate import validate
from fhirspace.testing import FaultyServer, serving

DIV = {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">x</div>'}
P, Q = ({"resourceType": "Patient", "id": name} for name in "pq")
CLASS = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"}
VISIT = {
    "resourceType": "Encounter",
    "id": "v",
    "status": "finished",
    "class": CLASS,
    "subject": {"reference": "Patient/q"},
}


def of(subject: str, identity: str = "o", **more: Any) -> dict[str, Any]:
    whole = {"resourceType": "Observation", "id": identity, "status": "final", "code": {"text": "x"}}
    return {**whole, "subject": {"reference": subject}, **more}


@pytest.fixture
def there() -> Iterator[FaultyServer]:
    with serving(types=["Patient", "Observation", "Encounter"]) as server:
        for each in (P, Q, VISIT):
            server.store[f"{each['resourceType']}/{each['id']}"] = json.dumps(each).encode()
        yield server


@pytest.fixture
def client(there: FaultyServer) -> Iterator[Client]:
    transport = HttpTransport(there.url, timeout=(5, 5))
    yield Client(there.url, transport, sleep=lambda _: None)
    transport.close()


def written(folder: Path, *resources: dict[str, Any], name: str = "a.ndjson") -> Path:
    file = folder / name
    file.write_text("".join(json.dumps(each) + "\n" for each in resources), encoding="utf-8")
    return file


def codes(file: Path, client: Client | None) -> list[tuple[str, int | None]]:
    return [(each.code, each.place.row) for each in validate([file], client=client)]


CASES: list[tuple[str, list[dict[str, Any]], list[tuple[str, int | None]]]] = [
    ("it is there", [of("Patient/p")], []),
    ("it is nowhere", [of("Patient/p"), of("Patient/none", "o2")], [("FS435", 2)]),
    ("each of many", [of(f"Patient/n{at}", f"o{at}") for at in range(250)], [("FS435", at + 1) for at in range(250)]),
    ("a version of it", [of("Patient/p/_history/7")], []),
    ("the files have it", [{**P, "id": "mine"}, of("Patient/mine")], []),
    ("the visit of another patient", [of("Patient/p", encounter={"reference": "Encounter/v"})], [("FS452", 1)]),
    ("the visit of this patient", [of("Patient/q", encounter={"reference": "Encounter/v"})], []),
    ("the files have one of its id", [{**P, "active": True}, of("Patient/p")], []),
    ("a URN is of no server", [of("urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0")], [("FS435", 1)]),
]


@pytest.mark.parametrize(("name", "resources", "expected"), CASES, ids=[case[0] for case in CASES])
def test_what_references_name_is_looked_for(
    name: str, resources: list[dict[str, Any]], expected: list[tuple[str, int | None]], client: Client, tmp_path: Path
) -> None:
    assert codes(written(tmp_path, *resources), client) == expected


def test_each_is_asked_for_once_and_in_no_address(client: Client, there: FaultyServer, tmp_path: Path) -> None:
    file = written(
        tmp_path, *(of("Patient/p", f"o{at}") for at in range(30)), *(of("Patient/q", f"p{at}") for at in range(30))
    )
    assert codes(file, client) == []
    (asked,) = there.requests
    assert (asked.method, asked.path.strip("/").rpartition("/")[2]) == ("POST", "fhir")
    assert sorted(each["request"]["url"] for each in json.loads(asked.body)["entry"]) == ["Patient/p", "Patient/q"]


def test_nothing_is_asked_where_nothing_is_missing(client: Client, there: FaultyServer, tmp_path: Path) -> None:
    assert codes(written(tmp_path, P, of("Patient/p")), client) == []
    assert there.requests == []


def test_an_address_of_the_server_is_looked_for_and_others_are_not(
    client: Client, there: FaultyServer, tmp_path: Path
) -> None:
    resources = [of(f"{there.url}/Patient/p"), of(f"{there.url}/Patient/no", "a"), of("http://a.b/Patient/no", "b")]
    assert codes(written(tmp_path, *resources), client) == [("FS435", 2)]


def test_a_single_resource_and_the_entries_of_a_bundle_refer_to_it_as_well(client: Client, tmp_path: Path) -> None:
    one = written(tmp_path, {**of("Patient/no"), "text": DIV}, name="one.json")
    entry = {"fullUrl": "http://a.b/Observation/o", "resource": {**of("Patient/no"), "text": DIV}}
    bundle = written(tmp_path, {"resourceType": "Bundle", "type": "collection", "entry": [entry]}, name="two.json")
    assert [codes(file, client) for file in (one, bundle)] == [[("FS435", None)], [("FS435", 1)]]
    assert [codes(file, None) for file in (one, bundle)] == [[], []]


def test_the_command_line_asks_a_server(
    there: FaultyServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path, of("Patient/p"), of("Patient/no", "o2"))
    assert main(["validate", str(file), "--server", there.url]) == EXIT_FINDINGS
    assert "FS435 a.ndjson:2:Observation" in capsys.readouterr().out
    assert main(["validate", str(written(tmp_path, of("Patient/p"))), "--server", there.url]) == EXIT_CLEAN
    assert main(["validate", str(file), "--server", "http://192.0.2.1/fhir"]) == EXIT_USAGE, "not unencrypted"


def test_the_interface_takes_a_client(client: Client, tmp_path: Path) -> None:
    file = written(tmp_path, of("Patient/no"))
    assert [each.code for each in fhirspace.validate(file, client=client)] == ["FS435"]
    with pytest.raises(FhirspaceError, match="FS641"):
        list(fhirspace.validate(file, client="http://a.b"))  # type: ignore[arg-type]


def test_a_server_that_answers_with_something_else_proves_nothing(
    there: FaultyServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there.store["Patient/p"] = json.dumps({**P, "id": "q"}).encode()
    assert main(["validate", str(written(tmp_path, of("Patient/p"))), "--server", there.url]) == EXIT_SERVER
    assert "FS512" in capsys.readouterr().err


def test_names_that_no_address_may_have_are_not_asked_for(client: Client, there: FaultyServer, tmp_path: Path) -> None:
    assert [code for code, _ in codes(written(tmp_path, of("Patient/.."), of("Pateint/1", "o2")), client)].count(
        "FS435"
    )
    assert there.requests == []


def test_the_number_of_them_has_a_bound(client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "targets=2")
    file = written(tmp_path, *(of(f"Patient/{name}", name) for name in "abc"))
    with pytest.raises(FhirspaceError, match=r"FS160 a\.ndjson: .*`--limit targets=N`"):
        codes(file, client)
