"""The whole way with a real FHIR server that validates what it is sent: SPACE goes there and comes back as it was.

A server takes minutes for all that was seen and done in SPACE, so that of one subject goes; `soak_server.py` sends all
of it.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from fhirspace.delivery.pull.pull import PullReport, pull
from fhirspace.delivery.push.push import PushReport, push
from fhirspace.fhir import ndjson
from fhirspace.fhir.canonical import canonical
from fhirspace.study.convert import convert
from fhirspace.study.demo.figures import Published, from_resources
from fhirspace.study.demo.run import sample
from fhirspace.study.reading.from_fhir import fhir_files
from fhirspace.tables import xpt
from fhirspace.tables.compare import compare
from tests.study.space_study import Space

SOME = 5
"""So many resources of each type are pushed a second time."""
MANY = ("CM", "CP", "EX", "IS", "LB", "MB", "MI", "PR", "SE", "SU", "TR", "TU", "VS")
"""The datasets of what was seen and done: nothing else refers to them, and no published figure is made of them."""
DONE = re.compile(rb'"https://fhirspace\.org/(?:%s)"' % "|".join(MANY).encode())
"""In the identifier of a resource that is made of one of these."""

pytestmark = [pytest.mark.server, pytest.mark.slow]


@dataclass
class Trip:
    """SPACE pushed to a server once and pulled back."""

    release: Any
    subjects: set[str]
    sent: Path
    back: Path
    pushed: PushReport
    again: PushReport
    pulled: PullReport


@pytest.fixture(scope="module")
def subjects(space: Space) -> set[str]:
    """Of whom all goes: of those with rows in all these datasets the one with the fewest."""
    counts: list[Counter[str]] = [
        Counter(xpt.read(path)[0]["USUBJID"].to_pylist())
        for path in sorted((space.sdtm().out / "sdtm").glob("*.xpt"))
        if path.stem.upper().removeprefix("SUPP") in MANY
    ]
    everywhere = set.intersection(*map(set, counts))
    return {min(sorted(everywhere), key=lambda subject: sum(count[subject] for count in counts))}


def chosen(folder: Path, out: Path, subjects: set[str]) -> Path:
    """The resources of a folder, of the many only those of some subjects."""
    patients = [json.loads(line) for _, line in ndjson.read(folder / "Patient.ndjson")]
    theirs = {
        b'"Patient/' + patient["id"].encode() + b'"'
        for patient in patients
        if {each["value"] for each in patient["identifier"]} & subjects
    }
    assert len(theirs) == len(subjects)
    out.mkdir()
    for file in fhir_files(folder):
        lines = file.read_bytes().splitlines(keepends=True)
        kept = [line for line in lines if not DONE.search(line) or any(patient in line for patient in theirs)]
        (out / file.name).write_bytes(b"".join(kept))
    return out


@pytest.fixture(scope="module", params=["R4", "R5"])
def trip(
    request: pytest.FixtureRequest,
    space: Space,
    subjects: set[str],
    hapi: Callable[[str], str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Trip:
    folder, url = tmp_path_factory.mktemp(request.param), hapi(request.param)
    sent = chosen(space.fhir(request.param).out / "fhir", folder / "sent", subjects)
    pushed = push(sent, url, fhir=request.param, journal=folder / "first.db", size=50, connections=3)
    # All types again, of the many Observations the first ones: a server takes its time for each.
    some = folder / "some"
    some.mkdir()
    for file in fhir_files(sent):
        (some / file.name).write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:SOME]))
    again = push(some, url, fhir=request.param, journal=folder / "fresh.db", size=50, connections=3)
    return Trip(request.param, subjects, sent, folder / "back", pushed, again, pull(url, "SPACE", folder / "back"))


def resources(folder: Path) -> Iterator[bytes]:
    for file in fhir_files(folder):
        for _, line in ndjson.read(file):
            yield line


def test_the_server_refuses_nothing(trip: Trip) -> None:
    assert trip.pushed.problems == []
    assert (trip.pushed.refused, trip.pushed.created) == (0, trip.pushed.total)
    assert trip.pushed.total == sum(1 for _ in resources(trip.sent)) > 500


def test_a_second_push_that_remembers_nothing_makes_no_new_version(trip: Trip) -> None:
    assert (trip.again.created, trip.again.updated, trip.again.refused) == (0, 0, 0)
    counts = [sum(1 for _ in ndjson.read(file)) for file in fhir_files(trip.sent)]
    assert trip.again.unchanged_on_server == trip.again.total == sum(min(count, SOME) for count in counts)


def test_what_comes_back_is_what_was_sent(trip: Trip) -> None:
    assert trip.pulled.total == trip.pushed.total
    assert sorted(map(canonical, resources(trip.back))) == sorted(map(canonical, resources(trip.sent)))


def test_the_datasets_from_the_server_are_those_from_the_records(trip: Trip, space: Space, tmp_path: Path) -> None:
    done = convert(trip.back, to="sdtm", out=tmp_path, fhir=trip.release)
    assert (done.exit_code, done.unread) == (0, 0)
    before, after = (sorted((folder / "sdtm").glob("*.xpt")) for folder in (space.sdtm().out, tmp_path))
    assert [path.name for path in before] == [path.name for path in after]
    for left, right in zip(before, after, strict=True):
        whole = of_the_sent(xpt.read(left)[0], left.stem.upper(), trip.subjects)
        assert whole.num_rows
        assert compare(whole, xpt.read(right)[0], ()) == [], left.name


def of_the_sent(rows: pa.Table, name: str, subjects: set[str]) -> pa.Table:
    """The rows whose resources `chosen` sends: also what is said of a record is one of the many, if that is."""
    if "USUBJID" not in rows.column_names:
        return rows
    of = rows["RDOMAIN"].cast("string") if "RDOMAIN" in rows.column_names else pa.repeat(name, len(rows))
    theirs = pc.is_in(rows["USUBJID"].cast("string"), pa.array(sorted(subjects)))
    return rows.filter(pc.or_(theirs, pc.invert(pc.is_in(of, pa.array(MANY)))))


def test_the_figures_from_the_server_are_the_published_ones(trip: Trip) -> None:
    published = Published.load(sample() / "published.toml")
    assert from_resources(fhir_files(trip.back), published) == published.figures


def test_every_resource_on_the_server_says_that_it_is_synthetic(trip: Trip) -> None:
    for line in resources(trip.back):
        assert {"HTEST"} == {label["code"] for label in json.loads(line)["meta"]["security"]}
