"""The page about it: its example runs, and it names every fault."""

from __future__ import annotations

import re
from pathlib import Path

from fhirspace.testing import FAULTS, FaultyServer

PAGE = (Path(__file__).parents[2] / "docs" / "testing.md").read_text("utf-8")


def test_the_example_runs() -> None:
    (example,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.M | re.S)
    exec(compile(example, "docs/testing.md", "exec"), {})


def test_every_fault_is_told_as_the_code_tells_it() -> None:
    assert re.findall(r"^\| `(\w+)` \| (.*?) \|$", PAGE, re.M) == list(FAULTS.items())


def test_the_switches_that_it_names_exist() -> None:
    table = PAGE.partition("| to be like a server that")[2].partition("\n\n")[0]
    named = re.findall(r"`(\w+)(?: = [^`]*)?`", table)
    assert len(named) > 15
    assert all(hasattr(FaultyServer(), name) for name in named)
