"""Bounds: their defaults, how they are chosen, and what the errors say."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from fhirspace import limits
from fhirspace.cli import main
from fhirspace.errors import Place, UsageError


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(limits.VARIABLE, "")


def test_a_bound_has_its_default_until_it_is_chosen() -> None:
    assert limits.limit("columns") == limits.LIMITS["columns"].default
    limits.choose(["columns=7", "rows=8"])
    limits.choose(["rows=9"])
    assert (limits.limit("columns"), limits.limit("rows")) == (7, 9)


def test_processes_that_are_started_have_the_choice_too() -> None:
    limits.choose(["pages=12"])
    asked = "from fhirspace.limits import limit; print(limit('pages'))"
    run = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True, env={**os.environ})
    assert run.stdout == "12\n"


@pytest.mark.parametrize(
    "pair", ["columns=0", "columns=-1", "columns=x", "columns", "colums=5", "=5", "columns=1.5", "columns=²"]
)
def test_what_is_no_bound_is_refused(pair: str) -> None:
    with pytest.raises(UsageError, match="FS619"):
        limits.choose([pair])


def test_the_message_names_the_bound_the_place_and_the_option() -> None:
    said = str(limits.too_much("cell-bytes", Place("lb.csv", 7, "LBORRES")))
    assert "FS160 lb.csv:7:LBORRES" in said
    assert "1,000,000 bytes in a cell" in said
    assert "--limit cell-bytes=N" in said


def test_the_command_line_refuses_a_limit_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "FS160", "--limit", "nothing=1"]) == 2
    assert "FS619" in capsys.readouterr().err
