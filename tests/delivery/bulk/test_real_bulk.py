"""Against a real HAPI FHIR server: what is imported in bulk comes back in bulk, to the byte of canonical JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fhirspace.delivery.bulk.export import bulk_pull
from fhirspace.delivery.bulk.load import bulk_push
from fhirspace.delivery.pull.pull import pull
from fhirspace.delivery.push.push import push
from fhirspace.fhir.canonical import canonical
from fhirspace.fhirserver.http.client import Client, HttpTransport
from tests.support.hospital import renamed
from tests.support.resources import dump, lines_of, observation, trial

pytestmark = [pytest.mark.server, pytest.mark.slow]


@pytest.fixture
def real(hapi: Callable[[str], str]) -> Iterator[Client]:
    transport = HttpTransport(hapi("R4"))
    yield Client(hapi("R4"), transport)
    transport.close()


def test_imported_and_exported_it_is_what_was_sent(real: Client, tmp_path: Path) -> None:
    folder = renamed(trial(tmp_path / "in", patients=8, each=8), "BULK")
    sent = sorted(map(canonical, lines_of(folder)))
    report = bulk_push(folder, real.server, client=real, longest=1)
    assert (report.total, report.stored, report.failed, report.jobs) == (74, 74, 0, 3)
    pulled = bulk_pull(real.server, "BULK", tmp_path / "out", client=real, longest=1)
    assert pulled.counts == {"Observation": 64, "Organization": 1, "Patient": 8, "ResearchStudy": 1}
    assert sorted(map(canonical, lines_of(tmp_path / "out"))) == sent
    searched = pull(real.server, "BULK", tmp_path / "searched", client=real)
    assert searched.counts == pulled.counts
    assert searched.problems == pulled.problems == []
    assert lines_of(tmp_path / "searched") == lines_of(tmp_path / "out")
    # A push afterwards asks the server, which holds everything already.
    again = push(folder, real.server, client=real)
    assert (again.unchanged_on_server, again.created, again.updated) == (74, 0, 0)


def test_what_hapi_refuses_is_counted_and_named(real: Client, tmp_path: Path) -> None:
    folder = renamed(trial(tmp_path, patients=2, each=2), "BULKBAD")
    with (folder / "fhir" / "Observation.ndjson").open("a") as file:
        file.write(observation("BULKBAD-lost", "nobody-at-all") + "\n")
    report = bulk_push(folder, real.server, client=real, longest=1)
    assert (report.total, report.stored, report.failed) == (9, 8, 1)
    assert [(problem.code, problem.place.file) for problem in report.problems] == [
        ("FS562", "Observation.ndjson"),
        ("FS563", real.server),
    ]
    assert "HAPI-" in report.problems[0].detail
    assert "nobody-at-all" not in dump(report.as_dict())
