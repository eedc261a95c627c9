"""What a Bundle says is done, or refused by name: requests, links, documents, and what is named alike in two files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fhirspace.cli import main
from fhirspace.delivery.push.push import PushReport, push, retry
from fhirspace.errors import FhirspaceError
from fhirspace.fhirserver.http.client import Client
from fhirspace.testing import FaultyServer
from tests.support.resources import dump

A, B = "4a3c6a2e-8a6d-4b5f-9d3f-0a1b2c3d4e5f", "1b3c6a2e-8a6d-4b5f-9d3f-0a1b2c3d4e5f"
MRN = "identifier=http://h/mrn|4711"


def entry(resource: dict[str, Any] | None = None, full: str = "", **request: str) -> dict[str, Any]:
    found: dict[str, Any] = {"fullUrl": full} if full else {}
    found |= {"resource": resource} if resource else {}
    return found | ({"request": request} if request else {})


def bundle(folder: Path, *entries: dict[str, Any], kind: str = "transaction", name: str = "b.json") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(dump({"resourceType": "Bundle", "type": kind, "entry": list(entries)}), "utf-8")
    return folder


def patient(**elements: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", "active": True, **elements}


def condition(reference: str, **elements: Any) -> dict[str, Any]:
    return {"resourceType": "Condition", "code": {"text": "x"}, "subject": {"reference": reference}, **elements}


def told(report: PushReport) -> list[str]:
    return sorted(f"{problem.code} {problem.place}" for problem in report.problems)


def held(server: FaultyServer, key: str) -> dict[str, Any]:
    return dict(json.loads(server.store[key]))


REQUESTS: dict[str, dict[str, Any]] = {
    "conditional create": entry(patient(), f"urn:uuid:{A}", method="POST", url="Patient", ifNoneExist=MRN),
    "conditional update": entry(patient(), f"urn:uuid:{A}", method="PUT", url=f"Patient?{MRN}"),
    "conditional delete": entry(method="DELETE", url=f"Patient?{MRN}"),
    "delete": entry(method="DELETE", url="Patient/gone"),
    "patch": entry({"resourceType": "Binary", "contentType": "x"}, method="PATCH", url="Patient/gone"),
    "read": entry(method="GET", url="Patient/gone"),
    "head": entry(method="HEAD", url="Patient/gone"),
    "update of another id": entry(patient(id="gone"), method="PUT", url="Patient/new"),
    "update of another type": entry(patient(id="gone"), method="PUT", url="https://x.example/fhir/Practitioner/gone"),
    "update of a version": entry(patient(id="gone"), method="PUT", url="Patient/gone", ifMatch='W/"3"'),
}


@pytest.mark.parametrize("kind", ["transaction", "batch", "history"])
@pytest.mark.parametrize("asked", REQUESTS)
def test_what_is_not_done_is_refused_by_name(
    faulty: FaultyServer, client: Client, tmp_path: Path, asked: str, kind: str
) -> None:
    faulty.store["Patient/gone"] = dump(patient(id="gone")).encode()
    good = entry(patient(id="good"), method="PUT", url="Patient/good")
    report = push(bundle(tmp_path, REQUESTS[asked], good, kind=kind), faulty.url, client=client)
    assert (report.created, report.refused, report.total, report.exit_code) == (1, 1, 2, 3)
    assert told(report) == ["FS579 b.json:1"]
    assert "4711" not in str(report.problems[0]), "a search may name a patient"
    assert faulty.store.keys() == {"Patient/gone", "Patient/good"}
    assert faulty.versions["Patient/gone"] == 1
    with pytest.raises(FhirspaceError, match="FS535"):
        retry(tmp_path, faulty.url, client=client)


def test_a_resource_without_an_id_has_that_of_its_request(faulty: FaultyServer, client: Client, tmp_path: Path) -> None:
    named = [
        entry(patient(), method="PUT", url="Patient/named"),
        entry(patient(), f"urn:uuid:{A}", method="PUT", url=f"{faulty.url}/Patient/known"),
    ]
    assert push(bundle(tmp_path, *named), faulty.url, client=client).created == 2
    assert faulty.store.keys() == {"Patient/named", "Patient/known"}


@pytest.mark.parametrize("more", [{}, {"identifier": [{"system": "urn:x", "value": "a list"}]}], ids=len)
def test_of_a_history_the_latest_version_is_sent(
    faulty: FaultyServer, client: Client, tmp_path: Path, more: dict[str, Any]
) -> None:
    versions = [patient(id="p1", meta={"versionId": version}, active=version == "2") for version in ("1", "2")]
    puts = [entry(each, method="PUT", url="Patient/p1") for each in versions]
    removed = [entry(method="DELETE", url="Patient/p2"), entry(patient(id="p2"), method="PUT", url="Patient/p2")]
    whole = {"resourceType": "Bundle", "type": "history", "entry": [*puts, *removed], **more}
    (tmp_path / "b.json").write_text(dump(whole), "utf-8")
    report = push(tmp_path, faulty.url, client=client)
    assert told(report) == ["FS579 b.json:1", "FS579 b.json:3", "FS579 b.json:4"]
    assert faulty.store.keys() == {"Patient/p1"}
    assert held(faulty, "Patient/p1")["active"]


def test_what_refers_to_what_was_not_done_is_not_sent(faulty: FaultyServer, client: Client, tmp_path: Path) -> None:
    folder = bundle(tmp_path, REQUESTS["conditional create"], entry(condition(f"urn:uuid:{A}", id="c")))
    report = push(folder, faulty.url, client=client)
    assert (told(report), len(faulty.store)) == (["FS524 b.json:2", "FS579 b.json:1"], 0)


def test_a_plan_without_a_server_names_them_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = bundle(tmp_path, REQUESTS["delete"], entry(patient(id="good")))
    assert main(["plan", str(folder)]) == 1
    assert "FS579 b.json:1" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["document", "message"])
@pytest.mark.parametrize(
    "named", [{"id": "doc1"}, {"identifier": {"system": "urn:x", "value": f"urn:uuid:{A}"}}], ids=len
)
def test_a_document_is_stored_whole(
    faulty: FaultyServer, client: Client, tmp_path: Path, kind: str, named: dict[str, Any]
) -> None:
    faulty.types = [*faulty.types, "Bundle"]
    first = {"resourceType": "Composition", "id": "c1", "author": [{"reference": "Patient/dp"}]}
    inner = [entry(first, "http://o/Composition/c1"), entry(patient(id="dp"), "http://o/Patient/dp")]
    whole = {"resourceType": "Bundle", "type": kind, "entry": inner, **named}
    (tmp_path / "d.json").write_text(json.dumps(whole, indent=1), "utf-8")
    assert push(tmp_path, faulty.url, client=client).created == 1
    key = f"Bundle/{named.get('id', A)}"
    assert list(faulty.store) == [key]
    assert held(faulty, key) == {**whole, "id": key.partition("/")[2]}


def test_a_document_without_a_name_is_refused(faulty: FaultyServer, client: Client, tmp_path: Path) -> None:
    report = push(bundle(tmp_path, entry(patient(id="dp")), kind="document"), faulty.url, client=client)
    assert (told(report), len(faulty.store)) == (["FS522 b.json:1"], 0)


LINKS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"content": [{"attachment": {"url": f"urn:uuid:{A}"}}]}, {"content": [{"attachment": {"url": f"Binary/{A}"}}]}),
    ({"extension": [{"url": "http://x", "valueUri": f"urn:uuid:{A}"}]}, {"extension": [{"url": "http://x", "valueUri": f"Binary/{A}"}]}),
    ({"extension": [{"url": "http://x", "valueUrl": f"urn:uuid:{A}"}]}, {"extension": [{"url": "http://x", "valueUrl": f"Binary/{A}"}]}),
    ({"instantiatesUri": f"urn:uuid:{A}"}, {"instantiatesUri": f"Binary/{A}"}),
    (
        {"text": {"status": "generated", "div": f"<div>urn:uuid:{A} <a href=\"urn:uuid:{A}\">x</a><img src='urn:uuid:{A}'/></div>"}},
        {"text": {"status": "generated", "div": f"<div>urn:uuid:{A} <a href=\"Binary/{A}\">x</a><img src='Binary/{A}'/></div>"}},
    ),
    ({"identifier": [{"system": "urn:ietf:rfc3986", "value": f"urn:uuid:{A}"}]},) * 2,
    ({"description": f"urn:uuid:{A}"},) * 2,
    ({"content": [{"attachment": {"url": f"urn:uuid:{B}"}}]},) * 2,
    ({"extension": [{"url": "http://x", "valueCanonical": f"urn:uuid:{A}"}]},) * 2,
]  # fmt: skip


@pytest.mark.parametrize(("before", "after"), LINKS, ids=str)
def test_what_leads_to_an_entry_by_its_urn_leads_to_the_resource(
    faulty: FaultyServer, client: Client, tmp_path: Path, before: dict[str, Any], after: dict[str, Any]
) -> None:
    file = {"resourceType": "Binary", "contentType": "text/plain", "data": "aGVsbG8="}
    about = {"resourceType": "DocumentReference", "id": "d", "status": "current"}
    folder = bundle(tmp_path, entry(file, f"urn:uuid:{A}", method="POST", url="Binary"), entry({**about, **before}))
    assert push(folder, faulty.url, client=client).exit_code == 0
    assert held(faulty, "DocumentReference/d") == {**about, **after}


@pytest.mark.parametrize(
    ("full", "leads"),
    [
        ("http://e.example/fhir/Patient/77", ("/_history/2", "Patient/77/_history/2")),
        ("http://e.example/fhir/Patient/77", ("", "Patient/77")),
        (f"urn:uuid:{A}", ("/_history/2", "Patient/77/_history/2")),
    ],
)
def test_a_version_of_an_entry_is_kept_in_its_reference(
    faulty: FaultyServer, client: Client, tmp_path: Path, full: str, leads: tuple[str, str]
) -> None:
    push(
        bundle(tmp_path, entry(patient(id="77"), full), entry(condition(full + leads[0], id="c"))),
        faulty.url,
        client=client,
    )
    assert held(faulty, "Condition/c")["subject"] == {"reference": leads[1]}


@pytest.mark.parametrize("way", ["transaction", "batch", "single"])
@pytest.mark.parametrize("turn", [1, -1])
def test_a_conditional_reference_goes_behind_its_target(
    faulty: FaultyServer, client: Client, tmp_path: Path, way: Any, turn: int
) -> None:
    faulty.types = [*faulty.types, "Encounter", "Practitioner"]
    who = {"resourceType": "Practitioner", "id": "p", "identifier": [{"system": "s", "value": "8"}]}
    meets = {"resourceType": "Encounter", "id": "e", "participant": [{"individual": {"reference": "Practitioner?identifier=s|8"}}]}  # fmt: skip
    folder = bundle(tmp_path, *[entry(meets), entry(who)][::turn])
    report = push(folder, faulty.url, client=client, way=way)
    assert (report.created, report.refused) == (2, 0)
    if way == "transaction":
        assert held(faulty, "Encounter/e")["participant"][0]["individual"]["reference"] == "Practitioner/p"


@pytest.mark.parametrize("reference", [f"urn:uuid:{B}", "https://ehr.example/fhir/Patient/p", "urn:oid:1.2.3"])
@pytest.mark.parametrize("name", ["Condition.ndjson", "b.json"])
def test_references_that_lead_to_nothing_are_reported(
    faulty: FaultyServer, client: Client, tmp_path: Path, reference: str, name: str
) -> None:
    lines = [patient(id="p"), *(condition(reference, id=f"c{n}") for n in range(3))]
    if name == "b.json":
        bundle(tmp_path, *map(entry, lines))
    else:
        (tmp_path / name).write_text("".join(f"{dump(each)}\n" for each in lines), "utf-8")
    report = push(tmp_path, faulty.url, client=client)
    assert (report.created, told(report), report.exit_code) == (4, [f"FS509 {name}"], 1)
    assert "3 references in Condition" in str(report.problems[0])


def test_an_address_on_the_server_itself_is_no_finding(faulty: FaultyServer, client: Client, tmp_path: Path) -> None:
    lines = [patient(id="p"), condition(f"{faulty.url}/Patient/p", id="c")]
    (tmp_path / "x.ndjson").write_text("".join(f"{dump(each)}\n" for each in lines), "utf-8")
    assert push(tmp_path, faulty.url, client=client).exit_code == 0


def test_one_urn_in_two_files_names_two_resources(faulty: FaultyServer, client: Client, tmp_path: Path) -> None:
    for name in ("one", "two"):
        person = patient(name=[{"text": name}])
        ill = condition(f"urn:uuid:{A}", id=f"c-{name}")
        bundle(tmp_path, entry(person, f"urn:uuid:{A}"), entry(ill), name=f"{name}.json")
    assert push(tmp_path, faulty.url, client=client).created == 4
    for name in ("one", "two"):
        subject = held(faulty, held(faulty, f"Condition/c-{name}")["subject"]["reference"])
        assert subject["name"] == [{"text": name}]
    assert push(tmp_path, faulty.url, client=client).unchanged == 4


def test_one_urn_in_two_files_with_the_same_content_is_one(
    faulty: FaultyServer, client: Client, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        bundle(
            tmp_path, entry(patient(), f"urn:uuid:{A}"), entry(condition(f"urn:uuid:{A}", id=name)), name=f"{name}.json"
        )
    report = push(tmp_path, faulty.url, client=client)
    assert (report.created, report.unchanged, len(faulty.store)) == (3, 1, 3)


def test_what_a_push_leaves_beside_its_input_is_no_finding(
    faulty: FaultyServer, client: Client, tmp_path: Path
) -> None:
    folder = bundle(tmp_path, entry(patient(id="p")))
    assert [push(folder, faulty.url, client=client).exit_code for _ in range(2)] == [0, 0]
