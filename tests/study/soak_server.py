"""All of SPACE to a real FHIR server that validates it, R4 and R5: ``pytest tests/study/soak_server.py`` (minutes)."""

from __future__ import annotations

import pytest

from fhirspace.study.reading.from_fhir import fhir_files
from fhirspace.tables import xpt
from tests.study.space_study import Space
from tests.study.test_server import *  # noqa: F403 - the same tests, with everything
from tests.study.test_server import Trip


@pytest.fixture(scope="module")  # type: ignore[no-redef]
def subjects(space: Space) -> set[str]:
    """Of whom all goes: of everybody."""
    return set(xpt.read(space.sdtm().out / "sdtm" / "dm.xpt")[0]["USUBJID"].to_pylist())


def test_everything_was_sent(trip: Trip, space: Space) -> None:
    made = [file.read_bytes().count(b"\n") for file in fhir_files(space.fhir(trip.release).out / "fhir")]
    assert trip.pushed.created == sum(made) > 8_000
