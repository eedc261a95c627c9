"""A study brought back: complete, sorted, in the server's own spelling, and only from the server itself."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qs

import pytest

from fhirspace.delivery.pull.pull import pull, searchable
from fhirspace.delivery.push.push import push
from fhirspace.errors import FhirspaceError
from fhirspace.fhir.canonical import canonical
from fhirspace.fhirserver.http.client import Client
from fhirspace.fhirserver.http.transport import Response
from fhirspace.testing import FaultyServer
from tests.support.resources import STUDY, lines_of, trial


@pytest.fixture
def loaded(faulty: FaultyServer, client: Client, tmp_path: Path) -> Path:
    folder = trial(tmp_path / "in")
    push(folder, faulty.url, client=client)
    faulty.requests.clear()
    return folder


def test_what_was_pushed_comes_back(faulty: FaultyServer, client: Client, loaded: Path, tmp_path: Path) -> None:
    faulty.page = 5
    said: list[tuple[str, int]] = []
    report = pull(faulty.url, STUDY, tmp_path / "out", client=client, progress=lambda *args: said.append(args))
    assert report.counts == {"Observation": 12, "Organization": 1, "Patient": 3, "ResearchStudy": 1}
    assert report.total == report.as_dict()["total"] == 17
    assert sorted(map(canonical, lines_of(tmp_path / "out"))) == sorted(map(canonical, lines_of(loaded)))
    observations = (tmp_path / "out/fhir/Observation.ndjson").read_bytes()
    assert observations.splitlines() == sorted(observations.splitlines())
    assert said[0] == ("Observation", 12)
    assert sorted(file.name for file in (tmp_path / "out/fhir").iterdir()) == [
        f"{k}.ndjson" for k in sorted(report.counts)
    ]


def test_nothing_searched_for_stands_in_a_url(
    faulty: FaultyServer, client: Client, loaded: Path, tmp_path: Path
) -> None:
    pull(faulty.url, STUDY, tmp_path / "out", client=client, types=["Patient"])
    searches = [request for request in faulty.requests if request[0] == "POST"]
    assert {path for _, path, _, _ in searches} == {"/fhir/Patient/_search"}
    first = parse_qs(searches[0][3].decode())
    assert first == {"_tag": [f"https://fhirspace.org/study|{STUDY}"], "_count": ["500"], "_total": ["accurate"]}
    assert all(headers["cache-control"] == "no-cache" for _, _, headers, _ in searches)
    assert not any(STUDY in path for _, path, _, _ in faulty.requests)


@pytest.mark.parametrize("fault", ["too_many", "unavailable", "reset_before", "short_body", "cut_json"])
def test_a_fault_is_survived(faulty: FaultyServer, client: Client, loaded: Path, tmp_path: Path, fault: str) -> None:
    faulty.page = 5
    faulty.faults.extend([fault, None, fault, None, fault])
    assert pull(faulty.url, STUDY, tmp_path / "out", client=client).total == 17


def test_a_link_to_elsewhere_is_not_followed(
    faulty: FaultyServer, client: Client, loaded: Path, tmp_path: Path
) -> None:
    faulty.page = 5
    for link in ("http://evil.example/fhir?_page=5", "//evil.example/x", faulty.url.replace("http", "https")):
        faulty.next_link = lambda _, link=link: link  # type: ignore[misc]
        with pytest.raises(FhirspaceError, match="FS530"):
            pull(faulty.url, STUDY, tmp_path / "out", client=client)
    assert not list((tmp_path / "out/fhir").glob("*"))


def test_a_relative_link_is_followed(faulty: FaultyServer, client: Client, loaded: Path, tmp_path: Path) -> None:
    faulty.page = 2
    faulty.next_link = lambda link: link.removeprefix(faulty.url.removesuffix("/fhir"))
    assert pull(faulty.url, STUDY, tmp_path / "out", client=client, types=["Patient"]).total == 3


def test_pages_without_an_end_are_refused(faulty: FaultyServer, client: Client, loaded: Path, tmp_path: Path) -> None:
    faulty.page = 1
    seen: list[str] = []
    faulty.next_link = lambda link: seen.append(link) or seen[0]
    with pytest.raises(FhirspaceError, match="FS512"):
        pull(faulty.url, STUDY, tmp_path / "out", client=client, types=["Patient"])


def test_a_broken_pull_leaves_the_old_file(faulty: FaultyServer, client: Client, loaded: Path, tmp_path: Path) -> None:
    pull(faulty.url, STUDY, tmp_path / "out", client=client)
    before = lines_of(tmp_path / "out")
    faulty.page = 5
    faulty.faults.extend([None, *["unavailable"] * client.attempts])
    with pytest.raises(FhirspaceError, match="FS512"):
        pull(faulty.url, STUDY, tmp_path / "out", client=client)
    assert lines_of(tmp_path / "out") == before


def test_a_page_that_is_gone_is_an_error(faulty: FaultyServer, client: Client, loaded: Path, tmp_path: Path) -> None:
    faulty.page = 5
    faulty.faults.extend([None, "gone"])
    with pytest.raises(FhirspaceError, match=r"FS512.*410"):
        pull(faulty.url, STUDY, tmp_path / "out", client=client)


def test_a_type_that_is_gone_loses_its_file(faulty: FaultyServer, client: Client, loaded: Path, tmp_path: Path) -> None:
    pull(faulty.url, STUDY, tmp_path / "out", client=client)
    del faulty.store["ResearchStudy/s-1"]
    assert "ResearchStudy" not in pull(faulty.url, STUDY, tmp_path / "out", client=client).counts
    assert not (tmp_path / "out/fhir/ResearchStudy.ndjson").exists()


def test_what_a_pull_replaced_is_reported(faulty: FaultyServer, client: Client, loaded: Path, tmp_path: Path) -> None:
    assert pull(faulty.url, STUDY, tmp_path, client=client, types=["Patient", "Organization"]).replaced is None
    # Types that are not asked for are left as they are: of them nothing is replaced.
    first = pull(faulty.url, STUDY, tmp_path, client=client, types=["Observation"])
    again = pull(faulty.url, STUDY, tmp_path, client=client, types=["Patient", "Observation"])
    assert (first.replaced, first.as_dict()["replaced"]) == (None, None)
    assert again.as_dict()["replaced"] | {"written": ""} == {"written": "", "files": 2, "folders": {"fhir": 2}}
    assert str(again.replaced).endswith("Z (fhir: 2 files)")


def test_a_study_that_is_not_there_is_an_error(faulty: FaultyServer, client: Client, tmp_path: Path) -> None:
    with pytest.raises(FhirspaceError, match="FS531"):
        pull(faulty.url, "NONE", tmp_path / "out", client=client)


def test_a_type_that_cannot_be_searched(faulty: FaultyServer, client: Client, loaded: Path, tmp_path: Path) -> None:
    with pytest.raises(FhirspaceError, match="FS512"):
        pull(faulty.url, STUDY, tmp_path / "out", client=client, types=["Patient", "Basic"])
    listed = searchable(faulty.capabilities())
    faulty.types.remove("ResearchStudy")

    class Lists:
        """Says that ResearchStudy can be searched, and refuses it."""

        def send(self, method: str, path: str, *rest: object) -> Response:
            answer = client.transport.send(method, path, *rest)  # type: ignore[union-attr, arg-type]
            if path == "metadata":
                faulty_types, faulty.types = faulty.types, listed
                answer = client.transport.send(method, path, *rest)  # type: ignore[union-attr, arg-type]
                faulty.types = faulty_types
            return answer

    report = pull(faulty.url, STUDY, tmp_path / "out", client=Client(faulty.url, Lists()))
    assert [(problem.code, problem.table) for problem in report.problems] == [("FS532", "ResearchStudy")]
    assert report.total == 16


def test_an_answer_that_is_no_bundle(faulty: FaultyServer, client: Client, tmp_path: Path) -> None:
    class Wrong:
        def send(self, method: str, path: str, *_: object) -> Response:
            metadata = b'{"resourceType":"CapabilityStatement"}'
            return Response(200, {}, metadata if path == "metadata" else b"[1]")

    with pytest.raises(FhirspaceError, match="FS512"):
        pull(faulty.url, STUDY, tmp_path / "out", types=["Patient"], client=Client(faulty.url, Wrong()))


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ({}, []),
        (
            {"rest": [{"resource": [{"type": "Task"}, {"type": "List", "interaction": [{"code": "search-type"}]}]}]},
            ["List", "Task"],
        ),
        ({"rest": [{"resource": [{"type": "List", "interaction": [{"code": "read"}]}]}, {}]}, []),
    ],
)
def test_the_types_that_can_be_searched(statement: dict[str, object], expected: list[str]) -> None:
    assert searchable(statement) == expected
