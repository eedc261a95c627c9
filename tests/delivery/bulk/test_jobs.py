"""A job is looked at as seldom as the server asks, within bounds; a passing fault is no end of it."""

from __future__ import annotations

import json

import pytest

from fhirspace.delivery.bulk.jobs import watched
from fhirspace.errors import FhirspaceError
from fhirspace.fhirserver.http.client import Client, LostAnswer, Response

FAILED = json.dumps(
    {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "exception"}]}
).encode()


class Script:
    def __init__(self, *answers: Response | None) -> None:
        self.answers = list(answers)

    def send(self, *_: object) -> Response:
        found = self.answers.pop(0)
        if found is None:
            raise LostAnswer("dropped")
        return found


def running(**headers: str) -> Response:
    return Response(202, {name.replace("_", "-"): value for name, value in headers.items()}, b"")


def test_waits_are_those_of_the_server_within_bounds() -> None:
    waits: list[float] = []
    said: list[int] = []
    script = Script(
        running(retry_after="120", x_progress="Current completion: 40.5% and ETA"),
        running(retry_after="2", x_progress="in progress"),
        running(retry_after="0", x_progress="999%"),
        running(),
        Response(503, {"retry-after": "3"}, b""),
        None,
        running(),
        Response(200, {}, b"{}"),
    )
    client = Client("http://x/fhir", script, base=0, sleep=waits.append)
    assert watched(client, "http://x/fhir/job", longest=30, percent=said.append).status == 200
    assert waits[:3] == [30, 2, 0.2]
    assert 0.2 < waits[3] < 2
    assert waits[4:6] == [3, 0]
    assert waits[6] > waits[3]
    assert said == [40, 100]


def test_a_500_with_an_outcome_is_the_end_and_one_without_is_not() -> None:
    client = Client(
        "http://x/fhir", Script(Response(500, {}, b"oops"), running(), Response(500, {}, FAILED)), sleep=lambda _: None
    )
    assert watched(client, "http://x/fhir/job").body == FAILED
    client = Client("http://x/fhir", Script(*[Response(500, {}, b"oops")] * 3), attempts=3, sleep=lambda _: None)
    with pytest.raises(FhirspaceError, match="FS512"):
        watched(client, "http://x/fhir/job")
