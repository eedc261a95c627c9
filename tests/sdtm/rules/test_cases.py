"""`fhirspace rules test`: cases of rules from a folder, and those that CDISC publishes."""

import json
import re
import tarfile
from pathlib import Path
from typing import Any

import pytest

from fhirspace.cli import main
from fhirspace.sdtm.rules import cases
from tests.sdtm.rules.rules_data import ARCHIVE

RULE = """\
Core: {Id: STUDY-001}
Rule Type: Record Data
Sensitivity: Record
Scope: {Classes: {Include: [EVENTS]}, Domains: {Include: [ALL]}}
Check:
  all:
    - {name: --ENDTC, operator: date_less_than, value: --STDTC}
Outcome:
  Message: The event ends before it starts
  Output Variables: [--STDTC, --ENDTC]
"""
DATA = "STUDYID,DOMAIN,USUBJID,AESEQ,AESTDTC,AEENDTC\nS,AE,1,1,2020-01-02,{}\n"
VARIABLES = "dataset,variable,label,type,length\nae,AESEQ,Sequence Number,Num,8\n"
HEAD = "Dataset,Record,Variable,Value\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rule = tmp_path / "STUDY-001"
    for kind, end, results in (
        ("positive", "2020-01-03", HEAD),
        ("negative", "2020-01-01", HEAD + "AE,1,AESTDTC,2020-01-02\nAE,1,AEENDTC,2020-01-01\n"),
    ):
        for part, name, text in (
            ("data", "ae.csv", DATA.format(end)),
            ("data", "_variables.csv", VARIABLES),
            ("results", "results.csv", results),
        ):
            (rule / kind / "01" / part).mkdir(parents=True, exist_ok=True)
            (rule / kind / "01" / part / name).write_text(text)
    (rule / "rule.yml").write_text(RULE)
    return tmp_path


def told(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_a_rule_that_passes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rules", "test", str(folder)]) == 0
    out, err = capsys.readouterr()
    assert out == "pass   STUDY-001  2 of 2 cases\n"
    assert err == "1 of 1 rule passed\n"


def test_a_rule_that_finds_too_little_and_too_much(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = folder / "STUDY-001" / "negative" / "01" / "results" / "results.csv"
    results.write_text(HEAD + "AE,1,AESTDTC,2020-01-02\nAE,2,AEENDTC,2020-01-01\n")
    assert main(["rules", "test", str(folder / "STUDY-001"), "--json"]) == 1
    (found,) = told(capsys)["rules"]
    assert found == {
        "id": "STUDY-001",
        "status": "fail",
        "differences": [
            "negative/01: missing: AE,2,AEENDTC,2020-01-01",
            "negative/01: unexpected: AE,1,AEENDTC,2020-01-01",
        ],
    }


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("date_less_than", "no_such", "the operator `no_such` is not supported"),
        ("Record Data", "JSONata", "rules of the type `JSONata` are not supported"),
        ("Core: {Id: STUDY-001}", "Core: {}", "FS801"),
        ("Core: {Id", "Core: {Id: [", "FS301"),
    ],
)
def test_a_rule_that_cannot_be_run(folder: Path, capsys: Any, old: str, new: str, said: str) -> None:
    file = folder / "STUDY-001" / "rule.yml"
    file.write_text(RULE.replace(old, new))
    assert main(["rules", "test", str(folder), "--json"]) == 1
    (found,) = told(capsys)["rules"]
    assert found["status"] == "error"
    assert any(said in line for line in found["differences"])


def test_data_that_cannot_be_read(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "STUDY-001" / "negative" / "01" / "data" / "ae.csv").write_bytes(b"A,B\n\xff\xfe,1,2\n")
    assert main(["rules", "test", str(folder), "--json"]) == 1
    assert told(capsys)["rules"][0]["status"] == "error"


def test_results_that_lack_a_column(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "STUDY-001" / "negative" / "01" / "results" / "results.csv").write_text("Dataset,Record,Value\nAE,1,x\n")
    assert main(["rules", "test", str(folder)]) == 1
    assert "FS803 results.csv" in (said := capsys.readouterr().out) and "the column Variable" in said


def test_datasets_that_core_could_not_judge_are_not_compared(folder: Path) -> None:
    results = folder / "STUDY-001" / "negative" / "01" / "results" / "results.csv"
    results.write_text(HEAD + 'AE,,EXECUTION_ERROR,"Failed to run"\n')
    assert main(["rules", "test", str(folder)]) == 0
    results.write_text(HEAD + 'LB,,EXECUTION_ERROR,"Failed to run"\n')
    assert main(["rules", "test", str(folder)]) == 1


def test_a_folder_without_rules(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rules", "test", str(tmp_path)]) == 2
    assert "FS802" in capsys.readouterr().err


DIFFERENT = {
    "CORE-000328": "negative/01: the results are of a CORE that left out the output variable which is not there; those of"
    " CORE-000023, of the same shape, have it as `Not in dataset`",
    "CORE-000356": "negative/01 and positive/01: STUDYID and USUBJID are required in AE (SDTMIG 6.2.1) and empty in record"
    " 1; the results leave them out",
    "CORE-000718": "negative/01 and positive/01: the results of the two are exchanged: the end is before the start in the"
    " data of positive/01",
    "CORE-000793": "negative/01: as CORE-000328",
    "CORE-000864": "negative/01: as CORE-000328; its numbers lack the decimal point that CORE writes elsewhere",
    "CORE-000866": "positive/01: the check is `date_greater_than_or_equal_to`, and the dates are equal; the results are"
    " those of `date_greater_than`",
    "CORE-000929": "negative/01: define.xml names terminology 2020-12-18; only 2025-03-28 is here, so that the rule is"
    " reported as not judged (tests/sdtm/rules/test_defined.py judges it by the terminology that is here)",
}
"""Rules of the archive of which a case differs, and how it was judged."""


@pytest.mark.slow
@pytest.mark.skipif(not ARCHIVE.is_file(), reason=f"CDISC's rules are not here: {ARCHIVE.name}")
def test_the_cases_that_cdisc_publishes(tmp_path: Path) -> None:
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    root = tmp_path / "open-rules"
    for case in (root / "cases").iterdir():
        (case / "rule.yml").write_bytes((root / "rules" / f"{case.name}.yml").read_bytes())
    tested = list(cases.run(root / "cases"))
    assert {each.id for each in tested if each.status != "pass"} == set(DIFFERENT)
    assert sum(each.cases for each in tested) == 414
    assert sum(each.passed for each in tested) == 405


def test_the_rule_of_the_page_passes_its_cases(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).parents[3] / "docs" / "rules.md").read_text("utf-8")
    rule, right, wrong, results = re.findall(r"```(?:yaml|text)\n(.*?)```", page, re.S)[:4]
    names = ("rule.yml", "positive/01/data/ae.csv", "negative/01/data/ae.csv", "negative/01/results/results.csv")
    for name, text in zip(names, (rule, right, wrong, results), strict=True):
        file = tmp_path / "STUDY-001" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    assert main(["rules", "test", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "pass   STUDY-001  2 of 2 cases\n"
