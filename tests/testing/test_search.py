"""Searches, and their pages."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from fhirspace.testing import FaultyServer
from tests.testing.talk import Talk, patient

START = datetime(2024, 5, 1, tzinfo=UTC)


@pytest.fixture
def filled(server: FaultyServer, talk: Talk) -> Talk:
    """Patients p0 to p4, one a minute; p4 deleted; p0 changed last."""
    for number in range(5):
        server.clock = lambda now=START + timedelta(minutes=number): now  # type: ignore[misc]
        tags = [{"system": "urn:study", "code": f"S{number % 2}"}, {"code": "bare"}]
        keys = [{"system": "urn:s", "value": f"k,{number}"}]
        talk.put(patient(f"p{number}", meta={"tag": tags}, identifier=keys))
    talk("DELETE", "Patient/p4")
    server.clock = lambda: START + timedelta(hours=1)
    talk.put(patient("p0", identifier=[{"system": "urn:s", "value": "new"}]))
    return talk


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", "p0 p1 p2 p3"),
        ("_tag=urn:study|S1", "p1 p3"),
        ("_tag=urn:study|S1,urn:study|S0", "p1 p3 p2"),
        ("_tag=S0", "p2"),
        ("_tag=urn:study|", "p1 p2 p3"),
        ("_tag=|bare", "p1 p2 p3"),
        ("_tag=bare&_tag=S0", "p2"),
        ("_id=p3,p1,p9,p4", "p3 p1"),
        ("_id=p3,p1&_tag=S1&_id=p1", "p1"),
        ("identifier=urn:s|k\\,1", "p1"),
        ("identifier=k\\,2", "p2"),
        ("identifier=urn:s|k\\,0", ""),
        ("identifier=urn:s|new", "p0"),
        ("_lastUpdated=ge2024-05-01T00:02:00Z", "p0 p2 p3"),
        ("_lastUpdated=gt2024-05-01T00:02:00Z", "p0 p3"),
        ("_lastUpdated=gt2024-05-01T00:01:00%2B00:00&_lastUpdated=lt2024-05-01T00:03:00Z", "p2"),
        ("_lastUpdated=2024-05-01T00:01", "p1"),
        ("_lastUpdated=ge2024-05-02", ""),
        ("_sort=-_id&_count=1", "p3 p2 p1 p0"),
        ("_sort=_lastUpdated&_count=3", "p1 p2 p3 p0"),
    ],
)
def test_what_is_found(filled: Talk, query: str, found: str) -> None:
    assert filled.search(f"Patient?{query}") == found.split()
    form = {"Content_Type": "application/x-www-form-urlencoded"}
    first = filled("POST", "Patient/_search", query.replace("|", "%7C").encode(), **form).json()
    assert first["total"] == len(found.split())


@pytest.mark.parametrize("query", ["_summary=count", "_count=0"])
def test_the_count_alone(filled: Talk, query: str) -> None:
    answer = filled("GET", f"Patient?_tag=S1&{query}").json()
    assert (answer["total"], "entry" in answer) == (2, False)


@pytest.mark.parametrize("query", ["name=x", "_tag:not=x", "_lastUpdated=gesoon"])
def test_what_cannot_be_searched_by(filled: Talk, query: str) -> None:
    assert filled("GET", f"Patient?{query}").status_code == 400


def test_search_parameters_can_be_taken_away(server: FaultyServer, filled: Talk) -> None:
    server.search_params.discard("identifier")
    assert filled("GET", "Patient?identifier=new").status_code == 400
    names = [item["name"] for item in filled("GET", "metadata").json()["rest"][0]["resource"][0]["searchParam"]]
    assert names == ["_id", "_lastUpdated", "_tag"]


@pytest.mark.parametrize(("snapshots", "left"), [(True, ["p2", "p3"]), (False, ["p3"])])
def test_pages_are_of_one_moment_or_shift(server: FaultyServer, filled: Talk, snapshots: bool, left: list[str]) -> None:
    server.page, server.snapshots = 2, snapshots
    first = filled("GET", "Patient").json()
    assert [item["resource"]["id"] for item in first["entry"]] == ["p0", "p1"]
    filled("DELETE", "Patient/p1")
    (link,) = first["link"]
    assert filled.search(link["url"]) == left
    assert filled.search(link["url"]) == left, "a page can be asked for again"
