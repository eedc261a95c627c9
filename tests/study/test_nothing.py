"""Runs over nothing: no command ends as a success where no row or resource was converted, compared or checked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fhirspace.cli import main

HEADER = "STUDYID,DOMAIN,USUBJID,SUBJID,SITEID,SEX,COUNTRY\n"
FOREIGN = '{"resourceType":"Practitioner","id":"p1"}\n{"resourceType":"Organization","id":"o1"}\n'
STOPPED = '{"resourceType":"Observation","id":"o1","status":"entered-in-error","code":{"text":"x"}}\n'
SUCCESS = ("exact: every", "no findings", "1 row\n")


def write(name: str, text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(text)


INPUTS: dict[str, tuple[Callable[[Path], object], dict[str, tuple[int, str]]]] = {
    "empty folder": (
        lambda folder: None,
        {"fhir": (2, "FS153"), "sdtm": (2, "FS153"), "roundtrip": (2, "FS153"), "plan": (2, "FS523")},
    ),
    "empty file": (
        write("dm.csv", ""),
        {"fhir": (2, "FS102"), "sdtm": (2, "FS102"), "roundtrip": (2, "FS102"), "plan": (2, "FS523")},
    ),
    "empty FHIR file": (
        write("Patient.ndjson", ""),
        {"fhir": (2, "FS102"), "sdtm": (2, "FS102"), "roundtrip": (2, "FS102"), "plan": (2, "FS102")},
    ),
    "header alone": (
        write("dm.csv", HEADER),
        {"fhir": (2, "FS103"), "sdtm": (2, "FS103"), "roundtrip": (2, "FS103"), "plan": (2, "FS523")},
    ),
    "form with a header alone": (
        write("demography.csv", "site_no,subject_no\n"),
        {"fhir": (2, "FS"), "sdtm": (2, "FS"), "roundtrip": (2, "FS"), "plan": (2, "FS523")},
    ),
    "a format that is not read": (
        write("dm.xlsx", "x"),
        {"fhir": (2, "dm.xlsx"), "sdtm": (2, "dm.xlsx"), "roundtrip": (2, "dm.xlsx"), "plan": (2, "dm.xlsx")},
    ),
    "foreign FHIR": (
        write("all.ndjson", FOREIGN),
        {"fhir": (2, "FS613"), "sdtm": (3, "NOTHING was converted"), "roundtrip": (3, "nothing was compared")},
    ),
    "FHIR that never happened": (
        write("all.ndjson", STOPPED),
        {"fhir": (2, "FS613"), "sdtm": (3, "NOTHING was converted"), "roundtrip": (3, "nothing was compared")},
    ),
    "empty Bundle": (
        write("all.json", '{"resourceType":"Bundle","type":"collection","entry":[]}'),
        {"fhir": (2, "FS613"), "sdtm": (2, "FS406"), "roundtrip": (2, "FS406"), "plan": (2, "FS523")},
    ),
    "wholly quarantined": (
        write("dm.csv", HEADER.replace("USUBJID,", "") + "S,DM,1,10,M,AUS\n"),
        {
            "fhir": (3, "NOTHING was converted"),
            "sdtm": (3, "NOTHING was converted"),
            "roundtrip": (3, "nothing was compared"),
            "validate": (1, "FS721"),
        },
    ),
}
COMMANDS = {
    "fhir": "convert {home} --to fhir --out {out} --id-key demo",
    "sdtm": "convert {home} --to sdtm --out {out}",
    "roundtrip": "roundtrip {home}",
    "plan": "plan {home}",
    "validate": "validate {home}",
}


RUNS = [(name, command) for name, (_, expected) in INPUTS.items() for command in expected]


@pytest.mark.parametrize(("name", "command"), RUNS)
def test_nothing_is_no_success(name: str, command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make, expected = INPUTS[name]
    home, out = tmp_path / "in", tmp_path / "out"
    home.mkdir()
    make(home)
    code = main(COMMANDS[command].format(home=home, out=out).split())
    printed = "".join(capsys.readouterr())
    assert (code, expected[command][1] in printed) == (expected[command][0], True), printed
    assert [words for words in SUCCESS if words in printed] == []
    assert code == 3 or not out.exists()


@pytest.mark.parametrize("name", [name for name in INPUTS if "FHIR" not in name and name != "empty Bundle"])
def test_nothing_passes_no_check(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make, _ = INPUTS[name]
    make(tmp_path)
    assert main(["validate", str(tmp_path)]) in (1, 2)
    assert "no findings" not in "".join(capsys.readouterr())
