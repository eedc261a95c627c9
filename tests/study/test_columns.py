"""Columns that no mapping names: what of them is in the files that are written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fhirspace.cli import main

PULSE = """\
form: pulse
key: [id]
makes: VS
rows: {STUDYID: P, USUBJID: P-<id>, VSTESTCD: PULSE, VSTEST: Pulse Rate, VSORRES: <rate decimal>, VSORRESU: beats/min}
"""
SECRET = b"0170 5550100"


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m" / "sources" / "s").mkdir(parents=True)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "pulse.csv").write_text("id,rate,phone\n11,64,0170 5550100\n12,71,\n", "utf-8")
    return tmp_path


def convert(study: Path, form: str, target: str = "fhir") -> tuple[bytes, dict[str, dict[str, int]]]:
    """All bytes that are written, and the counts of the manifest."""
    (study / "m" / "sources" / "s" / "pulse.yaml").write_text(form, "utf-8")
    code = main(["convert", "in", "--to", target, "--mappings", "m", "--source", "s", "--out", "out"])
    assert code in (0, 1)
    written = b"".join(path.read_bytes() for path in sorted((study / "out").rglob("*")) if path.is_file())
    return written, json.loads((study / "out" / "manifest.json").read_bytes())["tables"]


@pytest.mark.parametrize(
    ("declared", "target", "there"),
    [
        ("", "fhir", False),
        ("", "sdtm", True),
        ("carry unmapped: false\n", "fhir", False),
        ("carry unmapped: true\n", "fhir", True),
        ("columns: [phone]\n", "fhir", True),
        ("drop: [phone]\n", "sdtm", False),
        ("drop: ['ph?ne']\ncarry unmapped: true\n", "fhir", False),
        ("drop: [phone]\nskip when: phone\n", "sdtm", False),
    ],
)
def test_an_unmapped_cell_is_in_no_file_of_fhir_unless_asked_for(
    study: Path, declared: str, target: str, there: bool
) -> None:
    written, _ = convert(study, PULSE + declared, target)
    assert (SECRET in written) is there
    assert b"64" in written or "skip" in declared


def test_rows_that_stay_out_are_counted(study: Path) -> None:
    _, counts = convert(study, PULSE + "skip when: rate is 71\n")
    none = {"derived": 0, "quarantined": 0}
    assert counts["SUPPVS"] == {"rows_in": 1, "rows_out": 0, "dropped": 1, **none}
    assert counts["pulse"] == {"rows_in": 2, "rows_out": 1, "skipped": 1, **none}
    assert counts["VS"] == {"rows_in": 1, "rows_out": 1, **none}


def test_quarantined_records_are_as_they_came(study: Path) -> None:
    """Also what is dropped or means empty: who corrects a record needs all of it."""
    (study / "in" / "pulse.csv").write_text("id,rate,phone\n11,fast,0170 5550100\n12,NA,x\n13,7,y\n", "utf-8")
    (study / "m" / "sources" / "s" / "pulse.yaml").write_text(PULSE + "drop: [phone]\nmissing: NA\n", "utf-8")
    assert main(["convert", "in", "--to", "sdtm", "--mappings", "m", "--source", "s", "--out", "out"]) == 3
    quarantined = (study / "out" / "quarantine" / "pulse.csv").read_text("utf-8").splitlines()
    assert quarantined == ["id,rate,phone", "11,fast,0170 5550100", "12,NA,x"]
