"""What a server sends and was not asked for: never written, counted and reported; and what is no resource at all.

Each attack is told by what comes, and by the request that it comes with.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from fhirspace.cli import main
from fhirspace.delivery.bulk.export import bulk_pull
from fhirspace.delivery.provenance import RUN
from fhirspace.errors import FhirspaceError
from fhirspace.fhirserver.http.client import Client
from fhirspace.fhirserver.http.transport import HttpTransport
from tests.delivery.bulk.exporter import Exporter, exporting
from tests.hostile.liar import LIES, OUTCOME, SECRET, Liar, answer, liar
from tests.support.resources import STUDY, dump, observation, patient, resource, trial

__all__ = ["liar"]

THEIRS = "CANARY-of-another-study"
"""The id of somebody of another study: no message names it, and no file."""


@pytest.fixture
def loaded(liar: Liar, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Liar:
    """A server that holds two studies."""
    folder = trial(tmp_path / "in", patients=2, each=2)
    assert main(["push", str(folder), "--server", liar.server.url, "--json"]) == 0
    capfd.readouterr()
    for name in (THEIRS, f"{THEIRS}-2"):
        liar.server.store[f"Patient/{name}"] = dump(resource("Patient", name, "OTHER", gender="male")).encode()
    liar.about = lambda method, url: url == "Patient/_search"
    liar.wait(60)
    liar.sent.clear()
    return liar


def pulled(liar: Liar, out: Path, capfd: pytest.CaptureFixture[str], *more: str) -> tuple[int, dict[str, Any]]:
    """Exit code and report of a pull; nothing that was said names somebody of another study."""
    code = main(["pull", "--server", liar.server.url, "--study", STUDY, "--out", str(out), "--json", *more])
    told = capfd.readouterr()
    assert THEIRS not in told.out + told.err
    assert SECRET not in told.out + told.err
    assert "Traceback" not in told.err
    return code, json.loads(told.out)


def written(out: Path) -> dict[str, list[str]]:
    """The ids in each file; nothing of another study is anywhere."""
    assert not any(THEIRS.encode() in file.read_bytes() for file in out.rglob("*") if file.is_file())
    return {
        file.stem: [json.loads(line)["id"] for line in file.read_bytes().splitlines()]
        for file in (out / "fhir").glob("*.ndjson")
    }


WHOLE = {
    "Observation": ["ob-p-0-0", "ob-p-0-1", "ob-p-1-0", "ob-p-1-1"],
    "Organization": ["o-1"],
    "Patient": ["p-0", "p-1"],
    "ResearchStudy": ["s-1"],
}


def told(*parts: str) -> str:
    return "; ".join(filter(None, parts))


def findings(report: dict[str, Any]) -> list[tuple[str, str]]:
    return [(each["code"], told(each["expected"], each["detail"])) for each in report["problems"]]


STUDIES = [("FS585", "Patient of the study only; 2 of other studies came")]


@pytest.mark.parametrize("page", [500, 2, 1])
@pytest.mark.parametrize(
    "ignoring",
    [
        {"_tag"},
        {"_tag", "_lastUpdated"},
        {"_tag", "_summary"},
        {"_tag", "_elements"},
        {"_tag", "_count", "_total"},
        {"_tag", "_lastUpdated", "_summary", "_elements", "_count", "_total"},
    ],
    ids=lambda each: " ".join(sorted(each)) if isinstance(each, set) else str(each),
)
def test_a_server_that_passes_over_parameters(
    loaded: Liar, tmp_path: Path, ignoring: set[str], page: int, capfd: pytest.CaptureFixture[str]
) -> None:
    loaded.ignoring, loaded.server.page = ignoring, page
    code, report = pulled(loaded, tmp_path / "out", capfd)
    assert (code, findings(report)) == (1, STUDIES)
    assert written(tmp_path / "out") == WHOLE
    assert len(loaded.sent) < 80, "it comes to an end"
    if page == 500:  # what was left out counts among what the server counts: nothing is missing, so nothing is listed
        assert not any(b"_elements" in form for form in loaded.forms)


def test_parameters_that_are_passed_over_and_change_nothing_are_no_finding(
    loaded: Liar, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    loaded.ignoring = {"_lastUpdated", "_summary", "_elements", "_count", "_total"}
    code, report = pulled(loaded, tmp_path / "out", capfd)
    assert (code, report["problems"]) == (0, [])
    assert written(tmp_path / "out") == WHOLE


Page = dict[str, Any]
ANNOUNCED: dict[str, tuple[Callable[[Page, int], Page], list[str]]] = {
    # each makes another page of one and of how many were made before; and what is said of it
    "all are sent": (lambda page, _: page | {"total": 10**9}, ["1,000,000,000 Patient announced, 2 came"]),
    "one is sent": (
        lambda page, _: page | {"total": 10**9, "entry": page.get("entry", [])[:1], "link": []},
        ["1,000,000,000 Patient announced, 1 came"],
    ),
    "none is sent": (lambda page, _: page | {"total": 3, "entry": [], "link": []}, ["3 Patient announced, 0 came"]),
    "one less is sent": (lambda page, _: page | {"total": 3}, ["3 Patient announced, 2 came"]),
    "a number without end": (
        lambda page, _: page | {"total": 10**4_000},
        [f"10{',000' * 9},0...0{',000' * 5} Patient announced, 2 came"],
    ),
    "the first page alone says so": (lambda page, made: page if made else page | {"total": 10**9}, []),
    "fewer than are sent": (lambda page, _: page | {"total": 1}, []),
    "none at all": (lambda page, _: page | {"total": 0}, []),
    "a negative number": (lambda page, _: page | {"total": -1}, []),
    "no number": (lambda page, _: {name: value for name, value in page.items() if name != "total"}, []),
}


@pytest.mark.parametrize("page", [500, 1])
@pytest.mark.parametrize("name", ANNOUNCED)
def test_resources_that_are_announced_and_not_sent_are_a_finding(
    name: str, page: int, loaded: Liar, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    spoil, expected = ANNOUNCED[name]
    made = count()
    loaded.server.page = page
    loaded.spoil = lambda found: spoil(found, next(made))
    code, report = pulled(loaded, tmp_path / "out", capfd)
    assert (code, findings(report)) == (1 if expected else 0, [("FS589", each) for each in expected])
    assert written(tmp_path / "out").get("ResearchStudy") == ["s-1"]


def added(*resources: Any, mode: str | None = None, first: bool = False) -> Any:
    """Adds entries to a page."""
    more = [{"resource": each, **({"search": {"mode": mode}} if mode else {})} for each in resources]

    def spoil(page: dict[str, Any]) -> dict[str, Any]:
        entries = list(page.get("entry", []))
        return {**page, "entry": [*more, *entries] if first else [*entries, *more]}

    return spoil


OBSERVED = json.loads(observation(THEIRS, "p-0"))
FAILED = {
    "resourceType": "OperationOutcome",
    "issue": [{"severity": "error", "code": "timeout", "diagnostics": SECRET}],
}
ODD = resource("Patient", THEIRS, "OTHER")
CASES: dict[str, tuple[Any, int, list[tuple[str, str]]]] = {
    "an Observation of the study among Patients": (added(OBSERVED), 1, [("FS585", "Patient only; 1 Observation came")]),
    "an Observation of the study, first": (
        added(OBSERVED, first=True),
        1,
        [("FS585", "Patient only; 1 Observation came")],
    ),
    "a Patient of another study": (added(ODD), 1, [("FS585", "Patient of the study only; 1 of other studies came")]),
    "a Patient of no study": (
        added({"resourceType": "Patient", "id": THEIRS}),
        1,
        [("FS585", "Patient of the study only; 1 of other studies came")],
    ),
    "the code of the study in another system": (
        added({**ODD, "meta": {"tag": [{"system": "urn:x", "code": STUDY}, {"code": STUDY}]}}),
        1,
        [("FS585", "Patient of the study only; 1 of other studies came")],
    ),
    "the same one many times": (
        added(*[ODD] * 50),
        1,
        [("FS585", "Patient of the study only; 1 of other studies came")],
    ),
    "two kinds": (
        added(ODD, OBSERVED, resource("Group", THEIRS)),
        1,
        [
            ("FS585", "Patient only; 1 Group came"),
            ("FS585", "Patient only; 1 Observation came"),
            ("FS585", "Patient of the study only; 1 of other studies came"),
        ],
    ),
    "a type that is a path": (
        added({**ODD, "resourceType": f"../../{THEIRS}"}),
        1,
        [("FS585", "Patient only; 1 of no type of FHIR came")],
    ),
    "a type that steers a terminal": (
        added({**ODD, "resourceType": f"\x1b[2J{THEIRS}"}),
        1,
        [("FS585", "Patient only; 1 of no type of FHIR came")],
    ),
    "duplicates": (added(*[json.loads(dump(patient("p-0")))] * 3, first=True), 0, []),
    "a hint": (added(OUTCOME, mode="outcome"), 0, []),
    "an error beside the results": (
        added(FAILED, mode="outcome"),
        1,
        [("FS587", "timeout")],
    ),
    "an error that claims to match": (
        added(FAILED),
        1,
        [("FS587", "timeout")],
    ),
    "what is included": (added(OBSERVED, resource("Group", THEIRS, "OTHER"), mode="include"), 0, []),
    "an entry without a resource": (
        lambda page: {**page, "entry": [*page.get("entry", []), {"fullUrl": THEIRS}]},
        0,
        [],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_was_not_asked_for_is_left_out_and_told_without_names(
    loaded: Liar, tmp_path: Path, case: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """In the pages, in the rounds afterwards, and in the list of ids, since the server counts no totals."""
    spoil, code, expected = CASES[case]
    loaded.spoil = lambda page: spoil({key: value for key, value in page.items() if key != "total"})
    found, report = pulled(loaded, tmp_path / "out", capfd)
    assert (found, findings(report)) == (code, expected)
    assert not any(THEIRS in url for _, url in loaded.sent), "what was left out once is not looked for"
    assert {kind: sorted(names) for kind, names in written(tmp_path / "out").items()} == WHOLE


IDS = ["../../x", "a b", "", "x" * 65, "a/b", "..%2f", "p\n0", "\u0660"]


@pytest.mark.parametrize("name", [*IDS, 5, None, ["p"]])
def test_an_id_that_is_none_stops_the_pull(
    loaded: Liar, tmp_path: Path, name: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    assert pulled(loaded, tmp_path / "out", capfd)[0] == 0
    before = written(tmp_path / "out")
    loaded.spoil = added({**resource("Patient", "x"), "id": name})
    code, report = pulled(loaded, tmp_path / "out", capfd)
    assert (code, report["error"]["code"]) == (4, "FS512")
    assert written(tmp_path / "out") == before == WHOLE, "what an earlier pull wrote is left as it is"


@pytest.mark.parametrize(
    "page",
    [
        *({"resourceType": "Bundle", "type": kind, "entry": []} for kind in ("collection", "history", "", 5)),
        {"resourceType": "Patient", "type": "searchset"},
        {"resourceType": "Bundle", "entry": []},
        {"resourceType": "Bundle", "type": "searchset", "entry": 5},
        {"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": 5}]},
        {"resourceType": "Bundle", "type": "searchset", "link": [{"relation": "next", "url": 5}]},
        *(name for name in LIES if name != "search result"),
    ],
    ids=lambda each: each if isinstance(each, str) else dump(each).replace("resourceType", "type")[:60],
)
def test_what_is_no_search_result_stops_the_pull(
    loaded: Liar, tmp_path: Path, page: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    assert pulled(loaded, tmp_path / "out", capfd)[0] == 0
    loaded.lie = LIES[page] if isinstance(page, str) else lambda method, url: answer(200, page)
    code, report = pulled(loaded, tmp_path / "out", capfd)
    assert (code, report["error"]["code"]) == (4, "FS512")
    assert written(tmp_path / "out") == WHOLE
    loaded.lie = None
    assert pulled(loaded, tmp_path / "out", capfd)[0] == 0, "the next one works"


@pytest.mark.parametrize("lie", ["page", "empty", "list", "null", "outcome", "another type"])
def test_a_resource_that_is_read_alone_and_is_another(
    loaded: Liar, tmp_path: Path, lie: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """One that is listed and has not come is read by itself."""
    sound = loaded.send

    def send(method: str, path: str, body: bytes | None = None, headers: Any = None) -> Any:
        if method == "GET" and path == "Patient/p-1":
            return LIES[lie](method, path)
        found = sound(method, path, body, headers)
        if path == "Patient/_search" and b"_elements" not in (body or b""):
            page = json.loads(found.body)
            kept = [each for each in page.get("entry", []) if each["resource"]["id"] != "p-1"]
            return answer(200, {**page, "total": 5, "entry": kept})
        return found

    loaded.send = send  # type: ignore[method-assign]
    code, report = pulled(loaded, tmp_path / "out", capfd)
    assert (code, report["error"]["code"]) == (4, "FS512")
    assert not (tmp_path / "out" / "fhir").exists() or not written(tmp_path / "out")
    loaded.send = sound  # type: ignore[method-assign]
    assert pulled(loaded, tmp_path / "out", capfd)[0] == 0
    assert written(tmp_path / "out") == WHOLE


def test_where_nothing_of_the_study_came_it_is_said_what_did(
    loaded: Liar, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for key in [key for key in loaded.server.store if THEIRS not in key]:
        del loaded.server.store[key]
    loaded.ignoring = {"_tag"}
    code, report = pulled(loaded, tmp_path / "out", capfd)
    assert (code, report["error"]["code"]) == (4, "FS531")
    assert "2 resources without the study's tag were left out" in report["error"]["detail"]


def test_an_undo_takes_back_its_own_run_where_the_server_sends_others(
    liar: Liar, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Without the journal the server's Provenances tell what a run wrote: those of other runs are not its work."""
    liar.server.types.append("Provenance")
    runs = []
    for name in ("one", "two"):
        folder = tmp_path / name
        (folder / "fhir").mkdir(parents=True)
        (folder / "fhir" / "Patient.ndjson").write_text(dump(resource("Patient", name)) + "\n")
        assert main(["push", str(folder), "--server", liar.server.url, "--json"]) == 0
        runs.append(json.loads(capfd.readouterr().out)["run"])
    liar.ignoring = {"_tag"}
    command = ["undo", runs[1], "--server", liar.server.url, "--journal", str(tmp_path / "none.db"), "--json"]
    assert main(command) == 0
    assert "Patient/one" in liar.server.store
    assert "Patient/two" not in liar.server.store


TAGGED = {"tag": [{"system": RUN, "code": "r-1"}]}


@pytest.mark.parametrize(
    ("spoilt", "expected"),
    [
        ({"id": None}, (4, "FS512")),
        ({"id": "../x"}, (4, "FS512")),
        ({"meta": {}}, (2, "FS529")),
        ({"meta": TAGGED}, (4, "FS577")),
        ({"meta": TAGGED | {"versionId": ""}}, (4, "FS577")),
        ({"meta": {"tag": 5}}, (4, "FS512")),
        ({"target": [5]}, (4, "FS577")),
        ({"target": [{"identifier": 5}]}, (4, "FS577")),
        ({"target": [{"reference": ["Patient/p/_history/1"]}]}, (4, "FS577")),
        ({"target": 5}, (0, "")),
    ],
)
def test_a_provenance_of_odd_shapes_is_no_bug(
    liar: Liar, tmp_path: Path, spoilt: dict[str, Any], expected: tuple[int, str], capfd: pytest.CaptureFixture[str]
) -> None:
    body = {"resourceType": "Provenance", "id": "p", "meta": TAGGED | {"versionId": "1"}}
    page = {"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": {**body, **spoilt}}]}
    liar.lie, liar.about = lambda method, url: answer(200, page), lambda method, url: url == "Provenance/_search"
    command = ["undo", "r-1", "--server", liar.server.url, "--journal", str(tmp_path / "none.db"), "--json"]
    code, said = main(command), capfd.readouterr()
    assert (code, json.loads(said.out).get("error", {}).get("code", "")) == expected
    assert "Traceback" not in said.err


def export(server: Exporter, out: Path, **options: Any) -> tuple[dict[str, int], list[tuple[str, str]]]:
    client = Client(server.url, HttpTransport(server.url), sleep=lambda seconds: None)
    report = bulk_pull(server.url, STUDY, out, client=client, **options)
    assert THEIRS not in json.dumps(report.as_dict())
    written(out)
    return report.counts, [(problem.code, told(problem.expected, problem.detail)) for problem in report.problems]


def exported(**files: tuple[str, list[Any]]) -> dict[str, tuple[str, bytes]]:
    sound = {"p": ("Patient", [patient("p-0"), patient("p-1")])}
    lines = {name: (kind, map(dump, found)) for name, (kind, found) in {**sound, **files}.items()}
    return {name: (kind, "".join(f"{line}\n" for line in found).encode()) for name, (kind, found) in lines.items()}


def test_an_export_that_was_asked_to_filter_and_does_not(tmp_path: Path) -> None:
    others = [ODD, resource("Patient", f"{THEIRS}-2", "OTHER")]
    with exporting(exported(o=("Patient", [*others, *others]))) as server:
        server.unfiltered = True
        assert export(server, tmp_path) == ({"Patient": 2}, STUDIES)
        server.refuse = {("POST", True), ("GET", True)}  # then everything comes, and that is right
        assert export(server, tmp_path) == ({"Patient": 2}, [("FS586", STUDIES[0][1])])


def test_an_export_with_a_type_of_another_study_that_is_none(tmp_path: Path) -> None:
    with exporting(exported(o=("Patient", [{**ODD, "resourceType": f"\x1b[2J{THEIRS}"}]))) as server:
        server.unfiltered = True
        expected = [
            ("FS566", "no Patient came in a file of them"),
            ("FS585", "resources of the study only; 1 of other studies came"),
        ]
        assert export(server, tmp_path) == ({"Patient": 2}, expected)


def test_an_export_with_types_that_were_not_asked_for(tmp_path: Path) -> None:
    with exporting(exported(o=("Patient", [OBSERVED, OUTCOME, FAILED]))) as server:
        server.unfiltered = True
        expected = [
            ("FS566", "no Patient came in a file of them"),
            ("FS585", "the types that were asked for only; 1 Observation came"),
            ("FS587", "timeout"),
        ]
        assert export(server, tmp_path, types=["Patient"]) == ({"Patient": 2}, expected)


@pytest.mark.parametrize("name", IDS)
def test_an_exported_id_that_is_none(tmp_path: Path, name: str) -> None:
    with exporting(exported(o=("Patient", [resource("Patient", name)]))) as server:
        with pytest.raises(FhirspaceError, match="FS512"):
            export(server, tmp_path)
        assert not (tmp_path / "fhir").exists()
