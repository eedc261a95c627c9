"""Results that several tests look at, made once a session: the SPACE sample as SDTM and as FHIR."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.study.space_study import Space


@pytest.fixture(scope="session")
def space(tmp_path_factory: pytest.TempPathFactory) -> Space:
    return Space(_shared(tmp_path_factory, "space"))


@pytest.fixture(scope="session")
def three(tmp_path_factory: pytest.TempPathFactory) -> Space:
    """The study of three of its subjects: for what does not depend on the number of rows."""
    return Space(_shared(tmp_path_factory, "three"), ("001", "004", "009"))


def _shared(factory: pytest.TempPathFactory, name: str) -> Path:
    base = factory.getbasetemp()
    # Each process of pytest-xdist has a folder of its own in that of the session.
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def msg20() -> Path:
    """The datasets of CDISC's sample submission package, where they are at hand."""
    folder = Path(__file__).parents[3] / "shared" / "data" / "msg20"
    if not folder.is_dir():
        pytest.skip(f"the sample submission package is not at {folder}")
    return folder
