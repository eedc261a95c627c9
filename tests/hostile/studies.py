"""Small studies to attack, as fixtures, and a command that must be refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from fhirspace.cli import main
from tests import small_study

FHIR, SDTM = ["--to", "fhir", "--id-key", "demo"], ["--to", "sdtm", "--format", "csv"]


@pytest.fixture(scope="package")  # as `few`: mappings shipped for these tests alone
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`in`: datasets as CSV; `fhir` and `sdtm`: output folders made of them."""
    home = tmp_path_factory.mktemp("made")
    small_study.write(home / "in")
    assert main(["convert", str(home / "in"), *FHIR, "--out", str(home / "fhir")]) == 0
    assert main(["convert", str(home / "fhir"), *SDTM, "--out", str(home / "sdtm")]) == 0
    return home


@pytest.fixture
def home(made: Path, tmp_path: Path) -> Path:
    """A copy of `made`, and `precious.txt`, a file of the user outside of all folders that are named."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    (tmp_path / "precious.txt").write_text("precious\n")
    return tmp_path


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """What was said on stderr since it was asked last."""
    return lambda: capsys.readouterr().err


Told = Callable[[], str]


def refused(told: Told, code: str, *command: object) -> str:
    """Runs a command that must end with 2 and this code; gives the message."""
    told()
    assert main([str(word) for word in command]) == 2
    message = told()
    assert f"error: {code}" in message
    return message
