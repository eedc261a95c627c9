"""Subjects whose row of DM is quarantined only while it is written: their other rows are written all the same."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fhirspace.idkey import DEMO_KEY
from fhirspace.study.convert import convert

DM = {
    "DOMAIN": ["DM"] * 3,
    "STUDYID": ["S"] * 3,
    "USUBJID": ["S-1", "S-2", "S-2"],
    "SUBJID": ["1", "2", "2"],
    "SITEID": ["10"] * 3,
    "SEX": ["F"] * 3,
    "COUNTRY": ["GBR", "GBR", "GBR"],
}
AE = {
    "DOMAIN": ["AE"] * 2,
    "STUDYID": ["S", "S"],
    "USUBJID": ["S-1", "S-2"],
    "AESEQ": ["1", "1"],
    "AETERM": ["Rash", "Itch"],
    "AEDECOD": ["Rash", "Pruritus"],
}


def study(home: Path, subjid: list[str]) -> Path:
    """A study in Parquet, which can hold the control characters that CSV is not read with."""
    home.mkdir()
    pq.write_table(pa.table(DM | {"SUBJID": subjid}), home / "dm.parquet")
    pq.write_table(pa.table(AE), home / "ae.parquet")
    return home


def subjects(out: Path) -> list[bool]:
    """By adverse event, whether it refers to a Patient."""
    lines = (out / "fhir" / "AdverseEvent.ndjson").read_text("utf-8").splitlines()
    return ["reference" in json.loads(line)["subject"] for line in lines]


@pytest.mark.parametrize(
    ("subjid", "referring"),
    [
        (["1", "2", "3"], [True, True]),
        (["1", "\x07", "\x08"], [True, False]),
        (["1", "2", "3\x07"], [True, True]),  # the other row of DM makes the Patient
    ],
)
def test_references_lead_to_patients_that_are_written(tmp_path: Path, subjid: list[str], referring: list[bool]) -> None:
    out = tmp_path / "out"
    done = convert(study(tmp_path / "in", subjid), to="fhir", out=out, id_key=DEMO_KEY)
    assert subjects(out) == referring
    assert done.tables["AE"]["quarantined"] == 0
    lost = [each for each in done.problems if each.code == "FS727"]
    assert [each.detail for each in lost] == ["its row of DM is quarantined"] * referring.count(False)


def test_strict_quarantines_the_rows_of_a_lost_subject(tmp_path: Path) -> None:
    done = convert(study(tmp_path / "in", ["1", "\x07", "\x08"]), to="fhir", out=tmp_path / "out", strict=True)
    assert done.tables["AE"] == {"in": 2, "out": 1, "quarantined": 1}
