"""Errors of HL7's validator in HL7's official examples beside ours: ``pytest -m soak -s`` on this file.

Printed are, for each release and kind, the errors that both report, HL7's validator alone, and fhirspace alone; and each
that one alone reports. All of these have to be in ``judged_examples.toml``, where each has its reason. About two minutes
of CPU a release, with Java; the packages come from npm.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fhirspace.fhir.validation.check import compiled
from fhirspace.standards.fhir import Release
from tests.fhir.validation import oracle, published
from tests.fhir.validation.agreement import Compared, compare, errors, table

MOST = 0.02
"""The share of HL7's errors that may be missed."""
JUDGED: dict[str, list[dict[str, Any]]] = tomllib.loads(Path(__file__).with_name("judged_examples.toml").read_text())
"""``missed`` and ``ours``: releases, file, kind of error, how many, why."""


@pytest.mark.soak
def test_examples(tmp_path: Path) -> None:
    oracle.available()
    totals = Counter[str]()
    for release in published.EXAMPLES:
        examples = published.examples(release)
        compared = judged(release, examples, tmp_path / release)
        print(f"\n{release}: {len(examples):,} examples", table((release, each) for each in compared), sep="\n")
        counts = {part: sum(len(getattr(each, part)) for each in compared) for part in ("found", "missed", "ours")}
        print(f"{release}: both {counts['found']:,}, only HL7's {counts['missed']}, only fhirspace {counts['ours']}")
        totals.update(counts)
        for part in JUDGED:
            alone = Counter(_named(examples, compared, part))
            assert alone == _known(part, release), part
    share = totals["missed"] / (totals["found"] + totals["missed"])
    print(
        f"all: both {totals['found']:,}, only HL7's {totals['missed']} ({share:.1%}), only fhirspace {totals['ours']}"
    )
    assert share <= MOST


def judged(release: Release, examples: list[published.Example], folder: Path) -> list[Compared]:
    """The errors of both about each example."""
    folder.mkdir()
    lines = [each.line for each in examples]
    inputs = [oracle.Input(lines, release, _libraries(release, folder / "libraries"))]
    home = published.home_of_validator(folder / "home")
    (verdicts,) = oracle.judge(inputs, folder / "oracle", seconds=3600, home=home)
    return [compare(verdict, errors(line, compiled(release))) for line, verdict in zip(lines, verdicts, strict=True)]


def _libraries(release: Release, folder: Path) -> Path:
    """A folder with the Libraries of the examples, which their Measures refer to."""
    folder.mkdir()
    for path in published.package(published.EXAMPLES[release]).glob("Library-*.json"):
        (folder / path.name).symlink_to(path)
    return folder


def _named(examples: list[published.Example], compared: list[Compared], part: str) -> Iterator[tuple[str, str]]:
    """The errors that only one reports, each by file and kind; they are printed."""
    for example, both in zip(examples, compared, strict=True):
        for each in getattr(both, part):
            print(f"  {part}: {example.file}: {each.kind} at {each.place}: {each.text[:160]}")
            yield example.file, each.kind


def _known(part: str, release: Release) -> Counter[tuple[str, str]]:
    return Counter(
        {(each["file"], each["kind"]): each["count"] for each in JUDGED[part] if release in each["releases"]}
    )
