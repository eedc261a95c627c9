"""Answers that prove nothing: whatever a server says, only what it did counts, and the next run works.

Each attack is told by the kind of false answer, the way of sending, and the operation.
"""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from msgspec import Raw

from fhirspace.cli import main
from fhirspace.delivery.bulk.shapes import Part, shape_named
from fhirspace.delivery.conditional.identify import ADDED
from fhirspace.fhir.canonical import canonical
from fhirspace.fhirserver.answers import TAG, Answer, deleted, wrote
from tests.hostile.liar import (
    FAILED,
    LIES,
    OF_ONE,
    OUTCOME,
    PAGE,
    SECRET,
    Liar,
    Lie,
    answer,
    everything,
    liar,
    reads,
    writes,
)
from tests.support.resources import lines_of, organization, patient, resource, trial, write

__all__ = ["liar"]

WAYS: dict[str, dict[str, Any]] = {
    "transaction": {"bundle_types": {"transaction", "batch"}},
    "batch": {"bundle_types": {"batch"}},
    "single": {"bundle_types": {"history-system"}},
    "conditional": {"client_ids": False},
    "conditional, single": {"client_ids": False, "bundle_types": {"history-system"}},
}
TOTAL = 5


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return trial(tmp_path / "in", patients=1, each=2)


def run(capfd: pytest.CaptureFixture[str], *command: str) -> tuple[int, str, dict[str, Any]]:
    """Exit code, what is said on both streams, and the report; no false answer is ever quoted."""
    code = main([*command, "--json"])
    told = capfd.readouterr()
    said = told.out + told.err
    assert SECRET not in said
    assert "Traceback" not in said
    return code, said, json.loads(told.out)


def there(liar: Liar, command: str, folder: Path, about: str = "last") -> list[str]:
    """A command with its arguments; `about`: the run that is looked at."""
    if command == "doctor":
        return ["doctor", "--server", liar.server.url]
    if command in ("verify", "undo"):
        return [command, about, "--journal", str(folder / "journal.db")]
    if command == "pull":
        return ["pull", "--server", liar.server.url, "--study", "TRIAL01", "--out", str(folder.parent / "out")]
    return [command, str(folder), "--server", liar.server.url]


def delivered(folder: Path) -> int:
    """How many resources the journal has as delivered."""
    with sqlite3.connect(folder / "journal.db") as base:
        found = int(base.execute("SELECT count(*) FROM delivered").fetchone()[0])
    base.close()
    return found


def set_up(liar: Liar, way: str) -> None:
    for name, value in WAYS[way].items():
        setattr(liar.server, name, value)


def exactly_once(liar: Liar, folder: Path) -> None:
    """The server holds all of the folder, each in one version (of the ids that it makes, only the number is known)."""
    assert set(liar.server.versions.values()) == {1}
    assert len(liar.server.store) == TOTAL
    if liar.server.client_ids:
        assert sorted(map(canonical, liar.server.store.values())) == sorted(map(canonical, lines_of(folder)))


FULL = [(lie, way) for way in ("transaction", "single") for lie in LIES]
SOME = [(lie, way) for way in WAYS for lie in ("page", "empty", "no content", "another type")]


@pytest.mark.parametrize(("lie", "way"), sorted({*FULL, *SOME}))
def test_a_push_that_is_lied_to_counts_nothing_and_the_next_one_sends_all(
    liar: Liar, folder: Path, lie: str, way: str, capfd: pytest.CaptureFixture[str]
) -> None:
    set_up(liar, way)
    liar.lie = LIES[lie]
    code, said, _ = run(capfd, *there(liar, "push", folder))
    assert (code, "FS512" in said, len(liar.server.store)) == (4, True, 0)
    assert f"status {LIES[lie]('PUT', 'Patient/p-0').status} with" in said
    assert delivered(folder) == 0
    sent = [method for method, url in liar.sent if writes(method, url)]
    if lie not in ("search result", "page that claims to be FHIR"):  # Bundles are cut in parts, broken JSON is repeated
        assert len(sent) == 1, "what is no Bundle at all is believed in no smaller part either"
    liar.lie = None
    code, _, report = run(capfd, *there(liar, "push", folder))
    assert (code, report["sent"]) == (0, TOTAL)
    exactly_once(liar, folder)
    assert delivered(folder) == TOTAL


@pytest.mark.parametrize("lie", OF_ONE)
def test_another_resource_is_not_the_one_that_was_sent(
    liar: Liar, folder: Path, lie: str, capfd: pytest.CaptureFixture[str]
) -> None:
    set_up(liar, "single")
    liar.lie = OF_ONE[lie]
    assert run(capfd, *there(liar, "push", folder))[0] == 4
    assert delivered(folder) == 0
    liar.lie = None
    assert run(capfd, *there(liar, "push", folder))[0] == 0
    exactly_once(liar, folder)


@pytest.mark.parametrize("lie", ["page", "empty", "list", "object", "outcome", "another type"])
def test_a_server_that_lies_to_all_is_not_believed_by_the_next_push_either(
    liar: Liar, folder: Path, lie: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """What was delivered before is looked up first: a page in its place was a bug (exit 70)."""
    assert run(capfd, *there(liar, "push", folder))[0] == 0
    write(folder, {"Organization": [organization() | {"name": "Site 2"}]})
    liar.lie, liar.about = LIES[lie], everything
    for _ in range(2):
        code, said, _ = run(capfd, *there(liar, "push", folder))
        assert (code, "FS512" in said) == (4, True)
    assert delivered(folder) == TOTAL, "a page says nothing of what is there"
    liar.lie = None
    code, _, report = run(capfd, *there(liar, "push", folder))
    assert (code, report["updated"], report["unchanged"]) == (0, 1, TOTAL - 1)


def entries(bundle: dict[str, Any]) -> list[dict[str, Any]]:
    return list(bundle.get("entry", []))


def named(bundle: dict[str, Any], **response: Any) -> dict[str, Any]:
    """The Bundle, with other things in the response of each entry (None: left out)."""
    changed = [
        {"response": {name: value for name, value in {**entry["response"], **response}.items() if value is not None}}
        for entry in entries(bundle)
    ]
    return {**bundle, "entry": changed}


BUNDLES: dict[str, Any] = {
    "of another type": lambda bundle: {**bundle, "type": "history"},
    "a batch for a transaction, a transaction for a batch": lambda bundle: {
        **bundle,
        "type": {"transaction-response": "batch-response"}.get(bundle["type"], "transaction-response"),
    },
    "without a type": lambda bundle: {key: value for key, value in bundle.items() if key != "type"},
    "without entries": lambda bundle: {**bundle, "entry": []},
    "one entry more": lambda bundle: {**bundle, "entry": [*entries(bundle), *entries(bundle)[:1]]},
    "one entry less": lambda bundle: {**bundle, "entry": entries(bundle)[1:]},
    "entries in another order": lambda bundle: {**bundle, "entry": entries(bundle)[::-1]},
    "no response": lambda bundle: {**bundle, "entry": [{} for _ in entries(bundle)]},
    "no status": lambda bundle: named(bundle, status=None),
    "status of letters": lambda bundle: named(bundle, status="fine"),
    "status of other digits": lambda bundle: named(bundle, status="\u0662\u0660\u0661"),
    "status of four digits": lambda bundle: named(bundle, status="2010"),
    "status with more behind it": lambda bundle: named(bundle, status="201x Created"),
    "status that there is not": lambda bundle: named(bundle, status="099"),
    "an error beside the version": lambda bundle: named(bundle, outcome=FAILED["error"]),
    "a fatal error beside the version": lambda bundle: named(bundle, outcome=FAILED["fatal"]),
    "an error in place of the resource": lambda bundle: (
        bundle | {"entry": [entry | {"resource": FAILED["error"]} for entry in entries(bundle)]}
    ),
    "status alone": lambda bundle: named(bundle, etag=None, location=None),
    "accepted": lambda bundle: named(bundle, status="202 Accepted"),
    "no content": lambda bundle: named(bundle, status="204 No Content"),
    "all of one place": lambda bundle: named(bundle, location="Patient/somebody/_history/1"),
    "numbers for texts": lambda bundle: named(bundle, status=201),
    "null": lambda bundle: named(bundle) | {"entry": None},
}


BY_BATCH = ["of another type", "one entry less", "entries in another order", "status alone", "all of one place"]
BY_BATCH += ["status of four digits", "an error beside the version", "an error in place of the resource"]


@pytest.fixture
def pushing(liar: Liar, folder: Path) -> tuple[Liar, Path]:
    return liar, folder


@pytest.mark.parametrize("more", [[], ["--overwrite"]], ids=["looks", "overwrites"])
@pytest.mark.parametrize(
    ("kind", "way"), [*((kind, "transaction") for kind in BUNDLES), *((kind, "batch") for kind in BY_BATCH)]
)
def test_a_bundle_that_does_not_fit_is_no_proof(
    pushing: tuple[Liar, Path], kind: str, way: str, more: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    """It was done, or not: what the Bundle does not prove is looked for, or sent again, at last without a Bundle."""
    liar, folder = pushing
    set_up(liar, way)
    liar.spoil = BUNDLES[kind]
    liar.about = lambda method, url: method == "POST" and not url
    code, _, report = run(capfd, *there(liar, "push", folder), *more)
    assert (code, report["created"]) == (0, TOTAL)
    exactly_once(liar, folder)
    alone = [url for method, url in liar.sent if method == "PUT"]
    if more:
        assert len(alone) == (TOTAL if kind != "entries in another order" else 0), "one entry has no order"


def test_bundles_that_do_not_fit_and_requests_that_are_not_answered_stop_the_push(
    liar: Liar, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    liar.spoil = BUNDLES["status alone"]
    sound = liar.send

    def send(method: str, path: str, *more: Any) -> Any:
        return answer(200) if method == "PUT" else sound(method, path, *more)

    liar.send = send  # type: ignore[method-assign, assignment]
    code, said, _ = run(capfd, *there(liar, "push", folder), "--overwrite")
    assert (code, "status 200 without a body" in said, delivered(folder)) == (4, True, 0)
    liar.spoil, liar.send = None, sound  # type: ignore[method-assign]
    assert run(capfd, *there(liar, "push", folder))[0] == 0
    exactly_once(liar, folder)


@pytest.mark.parametrize("lie", ["page", "no content", "outcome"])
@pytest.mark.parametrize("way", ["transaction", "single"])
def test_a_retry_that_is_lied_to_keeps_the_letters(
    liar: Liar, folder: Path, lie: str, way: str, capfd: pytest.CaptureFixture[str]
) -> None:
    set_up(liar, way)
    liar.server.refuse = lambda body: body["resourceType"] == "Observation"
    assert run(capfd, *there(liar, "push", folder))[0] == 3
    liar.server.refuse = lambda body: False
    liar.lie = LIES[lie]
    assert run(capfd, *there(liar, "retry", folder))[0] == 4
    assert delivered(folder) == TOTAL - 2
    liar.lie = None
    code, _, report = run(capfd, *there(liar, "retry", folder))
    assert (code, report["created"]) == (0, 2)
    exactly_once(liar, folder)


@pytest.mark.parametrize("lie", ["page", "empty", "no content", "outcome", "another type"])
@pytest.mark.parametrize("way", ["transaction", "single"])
def test_an_undo_that_is_lied_to_undoes_nothing_and_the_next_one_all(
    liar: Liar, folder: Path, lie: str, way: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """A 204 to a DELETE is right, and proves nothing: it is looked whether the resource is gone."""
    set_up(liar, way)
    assert run(capfd, *there(liar, "push", folder))[0] == 0
    first = sorted(liar.server.store)
    write(folder, {"Organization": [organization() | {"name": "Site 2"}], "Patient": [patient("p-0"), patient("p-9")]})
    assert run(capfd, *there(liar, "push", folder))[0] == 0
    liar.lie = LIES[lie]
    code, said, _ = run(capfd, *there(liar, "undo", folder))
    assert (code, "FS512" in said) == (4, True)
    assert sorted(liar.server.store) == sorted([*first, "Patient/p-9"])
    liar.lie = None
    code, _, report = run(capfd, *there(liar, "undo", folder))
    assert (code, report["restored"], report["deleted"], report["left"]) == (0, 1, 1, 0)
    assert sorted(liar.server.store) == first
    assert b"Site 1" in liar.server.store["Organization/o-1"]


@pytest.mark.parametrize("way", ["transaction", "single"])
def test_a_delete_that_is_only_said_to_be_done(
    liar: Liar, folder: Path, way: str, capfd: pytest.CaptureFixture[str]
) -> None:
    set_up(liar, way)
    assert run(capfd, *there(liar, "push", folder))[0] == 0
    liar.lie, liar.about = LIES["no content"], lambda method, url: method == "DELETE"
    code, said, _ = run(capfd, *there(liar, "undo", folder))
    assert (code, "proof that it deleted" in said) == ((4, True) if way == "single" else (0, False))
    assert len(liar.server.store) == (TOTAL if way == "single" else 0)
    liar.lie = None
    assert run(capfd, *there(liar, "undo", folder))[0] == 0
    assert len(liar.server.store) == 0


READ_LIES: dict[str, Lie] = {
    name: LIES[name] for name in ("page", "text", "empty", "no content", "list", "object", "null", "no type", "outcome")
} | {
    "another type": lambda method, url: answer(200, {"resourceType": "Basic", "id": url.split("/")[-1]}),
    "another id": lambda method, url: answer(200, {"resourceType": url.split("/")[0], "id": "other"}),
    "not found, a page": lambda method, url: answer(404, PAGE, "text/html"),
    "not found, a text": lambda method, url: answer(404, b"404 page not found", "text/plain"),
}


@pytest.mark.parametrize(
    ("lie", "way"),
    [*((lie, "single") for lie in READ_LIES), *((lie, "batch") for lie in ("page", "empty", "not found, a page"))],
)
def test_what_was_not_read_is_neither_equal_nor_missing(
    liar: Liar, folder: Path, lie: str, way: str, capfd: pytest.CaptureFixture[str]
) -> None:
    set_up(liar, way)
    code, _, report = run(capfd, *there(liar, "push", folder))
    first, before = report["run"], dict(liar.server.store)
    write(folder, {"ResearchStudy": [resource("ResearchStudy", "s-2", status="active")]})
    liar.lie, liar.about = READ_LIES[lie], reads
    for command in ("verify", "plan", "undo", "push"):
        code, said, report = run(capfd, *there(liar, command, folder, first))
        assert (code, "error" in report) == (4, True), command
        assert "FS512" in said
        assert dict(liar.server.store) == before
    assert not (folder / "plan.db").exists()
    liar.lie = None
    code, _, report = run(capfd, *there(liar, "verify", folder, first))
    assert (code, report["same"], report["missing"], report["changed"]) == (0, TOTAL, 0, 0)
    code, _, report = run(capfd, *there(liar, "push", folder))
    assert (code, report["created"], report["unchanged"]) == (0, 1, TOTAL - 1)


@pytest.mark.parametrize("lie", [*sorted(READ_LIES.keys() - {"another id"}), "search result"])
def test_an_undo_that_gets_no_history_takes_nothing_back(
    liar: Liar, folder: Path, lie: str, capfd: pytest.CaptureFixture[str]
) -> None:
    run(capfd, *there(liar, "push", folder))
    write(folder, {"Organization": [organization() | {"name": "Site 2"}]})
    assert run(capfd, *there(liar, "push", folder))[2]["updated"] == 1
    before = dict(liar.server.store)
    liar.lie, liar.about = (READ_LIES | LIES)[lie], lambda method, url: "_history" in url
    code, said, report = run(capfd, *there(liar, "undo", folder))
    assert (code, "error" in report or report["left"]) in ((4, True), (1, 1))
    assert "FS512" in said or "FS516" in said
    changed = {key for key in before if before[key] != liar.server.store.get(key) and not key.startswith("Provenance/")}
    assert not changed
    liar.lie = None
    code, _, report = run(capfd, *there(liar, "undo", folder))
    assert (code, report["restored"], report["left"]) == (0, 1, 0)


NO_STATEMENTS = ["page", "empty", "list", "null", "outcome", "search result", "another type", "deep"]
OTHERS = ["doctor", "plan", "pull", "verify", "undo"]


@pytest.mark.parametrize(
    ("command", "lie"),
    [*(("push", lie) for lie in NO_STATEMENTS), *((other, lie) for other in OTHERS for lie in ("page", "list"))],
)
def test_what_is_no_capability_statement_is_no_fhir_server(
    liar: Liar, folder: Path, command: str, lie: str, capfd: pytest.CaptureFixture[str]
) -> None:
    if command in ("verify", "undo"):
        assert run(capfd, *there(liar, "push", folder))[0] == 0
    deep = answer(200, b'{"resourceType":"CapabilityStatement","rest":' + b"[" * 5000 + b"]" * 5000 + b"}")
    liar.lie, liar.about = LIES.get(lie, lambda method, url: deep), lambda method, url: url == "metadata"
    code, said, report = run(capfd, *there(liar, command, folder))
    assert (code, "error" in report) == (4, True)
    assert "FS512" in said or "FS519" in said
    assert [method for method, url in liar.sent if url != "metadata"] == [] or command in ("verify", "undo")


@pytest.mark.parametrize("rest", [5, "x", [5], [{"resource": 5}], [{"resource": [5, {"type": 5}, {"type": "../x"}]}]])
def test_a_statement_of_odd_shapes_is_read_as_far_as_it_goes(
    liar: Liar, folder: Path, rest: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    liar.server.statement = {"rest": rest}
    for command, codes in (("doctor", {0, 1, 4}), ("plan", {0}), ("pull", {4}), ("push", {0})):
        code, said, _ = run(capfd, *there(liar, command, folder))
        assert code in codes, (command, said)


ANSWERED = {"a search": "Patient/_search", "a batch": ""}


@pytest.mark.parametrize("lie", ["page", "text", "empty", "list", "object", "outcome", "another type"])
@pytest.mark.parametrize("what", ANSWERED)
def test_the_doctor_says_what_is_no_fhir(
    liar: Liar, folder: Path, what: str, lie: str, capfd: pytest.CaptureFixture[str]
) -> None:
    liar.lie, liar.about = LIES[lie], lambda method, url: method in ("POST", "READ") and url == ANSWERED[what]
    code, _, report = run(capfd, *there(liar, "doctor", folder))
    found = {each["name"]: each for each in report["findings"]}
    fhir = what == "a batch" and lie in ("outcome", "another type")  # it refuses batches, in FHIR
    assert (code == 4) is ("answers" in found) is not fhir
    if not fhir:
        assert (found["answers"]["verdict"], found["answers"]["code"]) == ("error", "FS512")
        assert f"{what}: status 200" in found["answers"]["value"]
    if what == "a search":
        assert "no clear answer" in found["sign-in"]["value"]
        assert "understood: none" in found["searches"]["value"]
    else:
        assert "failed when tried" in found["bundles"]["value"]


def test_the_doctor_says_which_parameters_are_passed_over(
    liar: Liar, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run(capfd, *there(liar, "push", folder))
    liar.ignoring = {"_tag", "identifier"}
    code, _, report = run(capfd, *there(liar, "doctor", folder))
    (found,) = [each for each in report["findings"] if each["name"] == "searches"]
    assert (code, found["code"], found["value"]) == (1, "FS556", "passed over for Patient: _tag identifier")


def found_instead(**changed: Any) -> dict[str, Any]:
    """A search result with a Patient of somebody else."""
    body = {"resourceType": "Patient", "id": "other", "identifier": [{"system": ADDED, "value": "Patient/other"}]}
    return {"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": {**body, **changed}}]}


SEARCHED: dict[str, Any] = {
    "another identifier": found_instead(),
    "no identifier": found_instead(identifier=None),
    "an identifier of another shape": found_instead(identifier="Patient/p-0"),
    "another system": found_instead(identifier=[{"system": "urn:x", "value": "Patient/p-0"}]),
    "another type": found_instead(resourceType="Person", identifier=[{"system": ADDED, "value": "Patient/p-0"}]),
    "an id that is a path": found_instead(id="../x", identifier=[{"system": ADDED, "value": "Patient/p-0"}]),
    "a collection": {**found_instead(), "type": "collection"},
    "a page": PAGE,
    "nothing": b"",
    "a list": [],
    "an outcome": OUTCOME,
}


@pytest.mark.parametrize(
    ("kind", "carrier"), [*((kind, "conditional") for kind in SEARCHED), ("another identifier", "conditional, single")]
)
def test_a_search_for_an_identifier_that_brings_something_else(
    liar: Liar, tmp_path: Path, kind: str, carrier: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """After a lost answer it is searched; nothing else may be taken for it, nor sent again before that is known."""
    set_up(liar, carrier)
    folder = write(tmp_path / "in", {"Patient": [{"resourceType": "Patient", "id": "p-0"}]})
    liar.server.faults.append("gateway_timeout_after")
    liar.lie = lambda method, url: answer(200, SEARCHED[kind])
    liar.about = lambda method, url: url.endswith("_search")
    code, said, _ = run(capfd, *there(liar, "push", folder), "--overwrite")
    assert (code, "FS512" in said, delivered(folder)) == (4, True, 0)
    assert len(liar.server.store) == 1, "it was made once, and its answer lost"
    liar.lie = None
    code, _, report = run(capfd, *there(liar, "push", folder))
    assert (code, report["sent"]) == (0, 1)
    assert list(liar.server.versions.values()) == [1]


@pytest.mark.parametrize(
    "place", ["", "Person/p-1", "../../admin", "Patient/a b", "https://elsewhere.example/fhir/Patient/x"]
)
def test_the_id_that_a_server_made_is_searched_where_it_is_not_told(
    liar: Liar, tmp_path: Path, place: str, capfd: pytest.CaptureFixture[str]
) -> None:
    set_up(liar, "conditional")
    folder = write(tmp_path / "in", {"Patient": [{"resourceType": "Patient", "id": "p-0"}]})
    liar.spoil, liar.about = lambda bundle: named(bundle, location=place), writes
    assert run(capfd, *there(liar, "push", folder))[0] == 0
    with sqlite3.connect(folder / "journal.db") as base:
        places = [found for (found,) in base.execute("SELECT place FROM places")]
    base.close()
    assert places == list(liar.server.store)
    assert list(liar.server.versions.values()) == [1]


@pytest.mark.parametrize("lie", ["page", "no content", "outcome"])
@pytest.mark.parametrize("way", ["transaction", "single"])
def test_a_provenance_that_was_not_written_is_written_by_the_next_push(
    liar: Liar, folder: Path, lie: str, way: str, capfd: pytest.CaptureFixture[str]
) -> None:
    set_up(liar, way)
    liar.server.types.append("Provenance")
    sound = liar.send
    liar.lie = LIES[lie]
    liar.about = lambda method, url: False

    def send(method: str, path: str, body: bytes | None = None, headers: Any = None) -> Any:
        told = b'"resourceType":"Provenance"' in (body or b"")
        return LIES[lie](method, path) if told and liar.lie else sound(method, path, body, headers)

    liar.send = send  # type: ignore[method-assign]
    code, said, _ = run(capfd, *there(liar, "push", folder))
    assert (code, "FS512" in said) == (4, True)
    liar.lie = None
    code, _, report = run(capfd, *there(liar, "push", folder))
    assert (code, report["refused"]) == (0, 0)
    told = [json.loads(body) for key, body in liar.server.store.items() if key.startswith("Provenance/")]
    assert sum(len(each["target"]) for each in told) == TOTAL
    assert set(liar.server.versions.values()) == {1}


def test_provenances_whose_bundle_does_not_fit_are_written_one_by_one(
    liar: Liar, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    liar.server.types.append("Provenance")
    liar.spoil = lambda bundle: BUNDLES["status alone"](bundle) if len(bundle["entry"]) > 1 else bundle
    code, _, report = run(capfd, *there(liar, "push", folder), "--size", "1")
    assert (code, report["problems"]) == (0, [])
    assert sum(key.startswith("Provenance/") for key in liar.server.store) == TOTAL
    assert set(liar.server.versions.values()) == {1}


PART = Part("Patient", "https://storage.example/Patient.ndjson", 3, "Patient.ndjson")
IMPORTED: dict[str, tuple[Any, int | None]] = {
    "page": (PAGE, None),
    "nothing": (b"", None),
    "list": ([], None),
    "number": (b"5", None),
    "object": ({}, 0),
    "outcome": (OUTCOME, 0),
    "lists that are none": ({"output": 5, "error": "x", "done": True, "metadata": 5}, 0),
    "objects that are none": ({"output": [5, None], "error": [[]], "done": True, "metadata": {"counter": []}}, 0),
    "counts that are none": (
        {
            "output": [{"inputUrl": PART.url, "count": "many"}],
            "done": True,
            "metadata": {"counter": {"success": "1e9"}},
        },
        0,
    ),
    "endless counts": (
        {
            "output": [{"inputUrl": PART.url, "count": "9" * 5000}],
            "done": True,
            "metadata": {"counter": {"success": []}},
        },
        0,
    ),
    "another file": ({"output": [{"inputUrl": "https://storage.example/x", "count": 3}], "done": True}, 0),
}


@pytest.mark.parametrize("shape", ["hapi", "azure", "google"])
@pytest.mark.parametrize("kind", IMPORTED)
def test_an_import_stored_what_the_server_says_and_nothing_else(kind: str, shape: str) -> None:
    content, stored = IMPORTED[kind]
    fates = shape_named(shape).fates(answer(200, content), [PART])
    if fates is None:
        assert stored is None or shape in ("hapi", "google"), "the job failed as a whole"
    else:
        assert [fate.stored for fate in fates] == [stored] == [0]


BASE = "https://fhir.example.org/r4"
REAL: dict[str, tuple[str, Answer]] = {
    "HAPI, updated": ("Patient/p", Answer("200", 'W/"2"', location=f"{BASE}/Patient/p/_history/2")),
    "HAPI, an entry": ("Patient/p", Answer("201 Created", "1", location="Patient/p/_history/1")),
    "IBM, an entry": ("Patient/p", Answer("200", 'W/"3"', location="Patient/p/_history/3")),
    "Azure, an entry": ("Patient/p", Answer("201", 'W/"1"', location=f"{BASE}/Patient/p/_history/1")),
    "Google, an entry": (
        "Patient/p",
        Answer(
            "200 OK", 'W/"MTY1OTc0MjQwMDAwMDAwMDAwMA"', location=f"{BASE}/Patient/p/_history/MTY1OTc0MjQwMDAwMDAwMDAwMA"
        ),
    ),
    "Medplum, an entry": ("Patient/p", Answer("201", location="Patient/p")),
    "Firely, unchanged": ("Patient/p", Answer("200", 'W/"5"')),
    "behind a proxy that it does not know of": (
        "Patient/p",
        Answer("200", 'W/"5"', location="http://10.0.0.5:8080/fhir/Patient/p/_history/5"),
    ),
    "relative to the host": ("Patient/p", Answer("201", location="/r4/Patient/p/_history/1")),
    "only its body": ("Patient/p", Answer("200", resource=Raw(b'{"resourceType":"Patient","id":"p"}'))),
    "an outcome and a version": ("Patient/p", Answer("200", 'W/"1"', resource=Raw(json.dumps(OUTCOME).encode()))),
    "an id that it made": ("Patient?identifier=x", Answer("201", location=f"{BASE}/Patient/4711/_history/1")),
}


@pytest.mark.parametrize("kind", REAL)
def test_the_answers_of_real_servers_count(kind: str) -> None:
    key, said = REAL[kind]
    assert wrote(key, said, BASE, *([TAG] if "entry" in kind else []))
    assert said.location in ("", "Patient/p", "Patient/4711")


STATUSES = {"201": 201, "200 OK": 200, "404 Not Found": 404, "412\tPrecondition Failed": 412, "500 a\nb": 500}
STATUSES |= dict.fromkeys(
    ["", "20", "2000", "200OK", " 200", "-200", "2e2", "000", "099", "600", "\u0662\u0660\u0660"], 0
)


@pytest.mark.parametrize("status", STATUSES)
def test_a_status_has_three_digits_and_maybe_words(status: str) -> None:
    assert Answer(status).code == STATUSES[status]


def test_a_version_that_only_the_place_or_the_body_tells_is_taken() -> None:
    placed = Answer("201", location=f"{BASE}/Patient/p/_history/7")
    bodied = Answer("200", resource=Raw(b'{"resourceType":"Patient","id":"p","meta":{"versionId":"8"}}'))
    assert [wrote("Patient/p", each, BASE) for each in (placed, bodied)] == [True, True]
    assert (placed.version, bodied.version) == ("7", "8")


@pytest.mark.parametrize(
    ("said", "proof"),
    [
        (Answer("204", 'W/"2"'), True),
        (Answer("200", resource=Raw(json.dumps(OUTCOME).encode())), True),
        (Answer("404", resource=Raw(json.dumps(OUTCOME).encode())), True),
        (Answer("204"), None),
        (Answer("200"), None),
        (Answer("404"), None),
        (Answer("202"), False),
        (Answer("200", resource=Raw(PAGE)), False),
        (Answer("404", resource=Raw(PAGE)), False),
        (Answer("200", 'W/"2"', location="Patient/other"), False),
        (Answer("200", resource=Raw(json.dumps(FAILED["error"]).encode())), False),
        (Answer("200", 'W/"2"', outcome=Raw(json.dumps(FAILED["fatal"]).encode())), False),
        (Answer("2000", 'W/"2"'), False),
    ],
)
def test_what_proves_a_deletion(said: Answer, proof: bool | None) -> None:
    assert deleted("Patient/p", said) is proof


READ_TOGETHER = ["of another type", "a batch for a transaction, a transaction for a batch", "without a type"]
READ_TOGETHER += [
    "status of four digits",
    "status with more behind it",
    "status that there is not",
    "without entries",
    "one entry more",
    "one entry less",
    "entries in another order",
    "no response",
    "null",
]


@pytest.mark.parametrize("kind", READ_TOGETHER)
def test_a_batch_of_reads_whose_answer_does_not_fit(
    liar: Liar, folder: Path, kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    _, _, report = run(capfd, *there(liar, "push", folder))
    liar.spoil, liar.about = BUNDLES[kind], lambda method, url: method == "READ"
    for command in ("verify", "plan", "undo"):
        code, said, _ = run(capfd, *there(liar, command, folder, report["run"]))
        assert (code, "FS512" in said) == (4, True), command
    assert len(liar.server.store) == TOTAL
    liar.spoil = None
    assert run(capfd, *there(liar, "verify", folder, report["run"]))[0] == 0


def history(**changed: Any) -> dict[str, Any]:
    """A history of two versions of the Organization."""
    entries = [
        {
            "resource": {"resourceType": "Organization", "id": "o-1", "meta": {"versionId": version}, "name": SECRET},
            "request": {"method": "PUT", "url": "Organization/o-1"},
            **changed,
        }
        for version in ("2", "1")
    ]
    return {"resourceType": "Bundle", "type": "history", "entry": entries}


HISTORIES: dict[str, Any] = {
    "a page": PAGE,
    "nothing": b"",
    "a list": [],
    "an outcome": OUTCOME,
    "a search result": {**history(), "type": "searchset"},
    "without a type": {key: value for key, value in history().items() if key != "type"},
    "of another resource": history(
        resource={"resourceType": "Organization", "id": "other", "meta": {"versionId": "2"}}
    ),
    "of another type": history(resource={"resourceType": "Location", "id": "o-1", "meta": {"versionId": "2"}}),
    "without resources": history(resource=None),
    "with pages": history(resource="page"),
    "entries that are none": {**history(), "entry": [5]},
    "links that are none": {**history(), "link": 5},
}


@pytest.mark.parametrize("kind", HISTORIES)
def test_a_history_that_is_none_restores_and_deletes_nothing(
    liar: Liar, folder: Path, kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """What a history leaves out was a deletion to us once, and then the resource would be deleted."""
    run(capfd, *there(liar, "push", folder))
    write(folder, {"Organization": [organization() | {"name": "Site 2"}]})
    run(capfd, *there(liar, "push", folder))
    before = dict(liar.server.store)
    liar.lie, liar.about = lambda method, url: answer(200, HISTORIES[kind]), lambda method, url: "_history" in url
    code, said, _ = run(capfd, *there(liar, "undo", folder))
    assert (code, "FS512" in said) == (4, True)
    assert dict(liar.server.store) == before
    liar.lie = None
    code, _, report = run(capfd, *there(liar, "undo", folder))
    assert (code, report["restored"]) == (0, 1)
    assert b"Site 1" in liar.server.store["Organization/o-1"]
