"""Reports of conformance rules: formats, explanations, and which findings give exit code 1."""

import io
import json
import re
import stat
import zipfile
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from fhirspace.cli import main
from fhirspace.sdtm.rules.model import load_all
from fhirspace.study import dataset

BAD = '<script>alert(1)</script> & =HYPERLINK("x")'
RULE = """\
Core: {{Id: {id}}}
Rule Type: Record Data
Sensitivity: Record
Scope: {{Domains: {{Include: [{domain}]}}}}
Authorities: [{{Standards: [{{Name: SDTMIG, Version: "3.4", References: [{{Rule Identifier: {{Id: CG9001}}}}]}}]}}]
Check: {{all: [{{name: USUBJID, operator: equal_to, value: S-1}}]}}
Outcome: {{Severity: {level}, Message: {message}, Output Variables: [{shown}]}}
"""
AE = f"STUDYID,DOMAIN,USUBJID,AESEQ,AETERM\nS,AE,S-1,1,{json.dumps(BAD).replace(chr(92) + chr(34), chr(34) * 2)}\nS,AE,S-1,2,pain\n"
DM = "STUDYID,DOMAIN,USUBJID,SUBJID\nS,DM,S-1,1\n"


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FHIRSPACE_DATA", str(tmp_path / "home"))
    monkeypatch.setattr("fhirspace.sdtm.rules.catalogue.own.rules", tuple)  # only the rules of these tests
    folder = tmp_path / "study"
    folder.mkdir()
    (folder / "ae.csv").write_text(AE)
    (folder / "dm.csv").write_text(DM)
    (tmp_path / "rules.yml").write_text(
        RULE.format(id="T-1", domain="AE", level="error", message="A term is wrong", shown="AETERM")
        + "---\n"
        + RULE.format(id="T-2", domain="DM", level="warning", message="A subject is <odd>", shown="SUBJID")
    )
    return folder


def validated(study: Path, *options: str) -> int:
    return main(["validate", str(study), "--rules", str(study.parent / "rules.yml"), *options])


def written(study: Path, name: str, *options: str) -> bytes:
    file = study.parent / name
    assert validated(study, "--overwrite", "--report", str(file), *options) in (0, 1)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    return file.read_bytes()


def cells(workbook: bytes) -> dict[str, list[list[str]]]:
    space = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
    found = {}
    with zipfile.ZipFile(io.BytesIO(workbook)) as archive:
        names = [
            each.get("name") or ""
            for each in ElementTree.fromstring(archive.read("xl/workbook.xml")).iter(f"{space}sheet")
        ]
        for at, name in enumerate(names, 1):
            sheet = ElementTree.fromstring(archive.read(f"xl/worksheets/sheet{at}.xml"))
            assert not list(sheet.iter(f"{space}f"))
            found[name] = [["".join(cell.itertext()) for cell in row] for row in sheet.iter(f"{space}row")]
    return found


def test_a_workbook_has_the_sheets_that_reviewers_know(study: Path) -> None:
    sheets = cells(written(study, "r.xlsx"))
    assert list(sheets) == ["Conformance Details", "Issue Summary", "Issue Details", "Rules"]
    assert sheets["Issue Summary"][1] == ["AE", "T-1", "CG9001", "error", "A term is wrong", "2"]
    assert sheets["Issue Details"][1] == [
        "AE",
        "T-1",
        "CG9001",
        "error",
        "1",
        "S-1",
        "1",
        "AETERM",
        BAD,
        "A term is wrong",
    ]
    assert ["T-2", "CG9001", "warning", "findings", "1", "1", "A subject is <odd>"] in sheets["Rules"]
    assert [each for each in sheets["Conformance Details"][-2] if each != "Adverse Events"] == ["AE", "ae.csv", "2"]


def test_a_page_is_escaped_and_loads_nothing(study: Path) -> None:
    page = written(study, "r.html").decode()
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "A subject is &lt;odd&gt;" in page
    assert re.findall(r'(?:src|href)="(?!#)', page) == []
    assert "default-src 'none'" in page


def test_a_sarif_log_has_no_values(study: Path, capsys: Any) -> None:
    assert validated(study, "--format", "sarif") == 1
    run = json.loads(capsys.readouterr().out)["runs"][0]
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == ["T-1", "T-2"]
    first = run["results"][0]
    assert (first["ruleId"], first["level"], first["properties"]["records"]) == ("T-1", "error", 2)
    assert first["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "ae.csv"
    assert [each["fullyQualifiedName"] for each in first["locations"][0]["logicalLocations"]] == ["AE[1]", "AE[2]"]
    assert "alert" not in json.dumps(run)


def test_a_json_report_has_the_values_and_the_screen_has_not(study: Path, capsys: Any) -> None:
    report = json.loads(written(study, "r.json"))
    assert {"rule": "T-1", "dataset": "AE", "record": "1", "variable": "AETERM", "value": BAD} in report["values"]
    assert "alert" not in "".join(capsys.readouterr())


def test_the_same_findings_give_the_same_bytes(study: Path) -> None:
    for name in ("r.xlsx", "r.html", "r.json", "r.sarif", "r.txt"):
        assert written(study, name) == written(study, name)


def explain(study: Path, text: str) -> None:
    (study / "explained.yaml").write_text(text)


WHY = "explained:\n  - {rule: T-1, scope: AE, records: 2, reason: As in the protocol, by: J. Doe}\n"


@pytest.mark.parametrize(
    ("options", "explained", "code"),
    [
        ((), "", 1),
        (("--fail-on", "error"), "", 1),
        (("--fail-on", "never"), "", 0),
        ((), WHY, 1),
        (("--fail-on", "error"), WHY, 0),
        ((), WHY.replace("rule: T-1, scope: AE, records: 2", "rule: CG9001"), 0),
        (("--fail-on", "error"), WHY.replace("records: 2", "records: 1"), 1),
        (("--fail-on", "error"), WHY.replace("AE", "LB"), 1),
    ],
)
def test_which_findings_give_exit_code_1(
    *, study: Path, options: tuple[str, ...], explained: str, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fhirspace.study.validate._datasets", lambda *_: iter(()))  # only what rules find
    if explained:
        explain(study, explained)
    found = validated(study, *options)
    assert found == code


def test_explained_findings_are_shown_with_their_reason_in_each_run(study: Path, capsys: Any) -> None:
    explain(study, WHY)
    for _ in range(2):
        validated(study)
        out, err = capsys.readouterr()
        assert (
            "explained: T-1 (CG9001) AE: 2 records, records 1, 2: A term is wrong (J. Doe: As in the protocol)" in out
        )
        assert "2 records explained" in err
    assert cells(written(study, "r.xlsx"))["Issue Summary"][1][-2:] == ["As in the protocol", "J. Doe"]
    validated(study, "--format", "sarif")
    run = json.loads(capsys.readouterr().out.partition("\n{")[2].join(("{", "")))["runs"][0]
    assert run["results"][0]["suppressions"][0]["justification"] == "J. Doe: As in the protocol"


def test_an_explanation_of_nothing_is_named(study: Path, capsys: Any) -> None:
    explain(study, WHY.replace("AE", "LB"))
    validated(study)
    assert "explanation not used: explained.yaml:2 T-1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "where"),
    [
        (WHY.replace("by:", "because:"), "explained.yaml:2:because"),
        (WHY.replace("reason: As in the protocol, ", ""), "a text for `reason`"),
        (WHY.replace("2", "two"), "a whole number"),
        (WHY.replace("2", "0"), "a whole number of at least 1"),
        (WHY.replace("scope: AE", "scope: {a: b}"), "a list of datasets"),
        (WHY.replace("rule: T-1", "rule: [T-1]"), "a text for `rule`"),
        ("explained: yes\n", "a list under `explained`"),
        (WHY + "other: 1\n", "a list under `explained`"),
        ("- rule: T-1\n", "FS301"),
        ("explained: [\n", "FS301"),
    ],
)
def test_explanations_that_cannot_be_read(study: Path, capsys: Any, text: str, where: str) -> None:
    explain(study, text)
    assert validated(study) == 2
    assert where in capsys.readouterr().err


@pytest.mark.parametrize(
    "options",
    [
        ["--format", "html"],
        ["--report", "r.html"],
        ["--explained", "x.yaml"],
        ["--rules", "", "--format", "xlsx"],
        ["--rules", "", "--format", "html"],
    ],
)
def test_options_that_do_not_go_together(study: Path, capsys: Any, options: list[str]) -> None:
    assert main(["validate", str(study), *options]) == 2
    assert "FS807" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--report", "--values"])
def test_no_input_is_replaced_by_a_report(study: Path, capsys: Any, option: str) -> None:
    assert validated(study, option, str(study / "ae.csv")) == 2
    assert "FS807 ae.csv" in capsys.readouterr().err
    assert (study / "ae.csv").read_text() == AE


@pytest.mark.parametrize("option", ["--report", "--values"])
@pytest.mark.parametrize("name", ["another name of ae.csv", "a link to ae.csv", "explained.yaml", "rules.yml"])
def test_no_file_that_is_read_is_replaced_by_whatever_name(study: Path, capsys: Any, option: str, name: str) -> None:
    explain(study, WHY)
    files = [study / "ae.csv", study / "explained.yaml", study.parent / "rules.yml"]
    before = [file.read_bytes() for file in files]
    target = (study.parent if name != "explained.yaml" else study) / name
    if name == "a link to ae.csv":
        target.symlink_to(study / "ae.csv")
    elif name == "another name of ae.csv":
        target.hardlink_to(study / "ae.csv")
    assert validated(study, option, str(target)) == 2
    assert f"FS807 {name}" in capsys.readouterr().err
    assert [file.read_bytes() for file in files] == before


def test_the_explanations_that_are_named_are_not_replaced(study: Path, capsys: Any) -> None:
    why = study.parent / "why.yaml"
    why.write_text(WHY)
    assert validated(study, "--explained", str(why), "--report", str(why)) == 2
    assert "FS807 why.yaml" in capsys.readouterr().err
    assert why.read_text() == WHY


def test_the_report_and_the_values_are_two_files(study: Path, capsys: Any) -> None:
    both = str(study.parent / "both.json")
    assert validated(study, "--report", both, "--values", both) == 2
    assert "FS807 both.json" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--report", "--values"])
def test_a_file_of_the_users_is_replaced_only_if_asked_and_becomes_private(
    study: Path, capsys: Any, option: str
) -> None:
    file = study.parent / "old.json"
    file.write_text("long " * 10_000)
    file.chmod(0o644)
    assert validated(study, option, str(file)) == 2
    assert "FS644" in capsys.readouterr().err
    assert file.read_text() == "long " * 10_000
    assert validated(study, option, str(file), "--overwrite") == 1
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "long" not in file.read_text()


def test_explanations_that_are_no_text(study: Path, capsys: Any) -> None:
    (study / "explained.yaml").write_bytes(b"\xff\xfe")
    assert validated(study) == 2
    assert "FS806 explained.yaml" in capsys.readouterr().err


def test_each_dataset_is_read_once(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    read = dataset.tabulation
    monkeypatch.setattr(dataset, "tabulation", lambda found: (seen.append(found.path.name), read(found))[1])
    validated(study)
    assert sorted(seen) == ["ae.csv", "dm.csv"]


def test_a_dataset_that_cannot_be_read_does_not_stop_the_rules(study: Path, capsys: Any) -> None:
    (study / "lb.xpt").write_bytes(b"no transport file" * 100)
    assert validated(study) in (1, 3)
    out = capsys.readouterr().out
    assert "lb.xpt" in out
    assert "T-1 (CG9001) AE: 2 records" in out


def converted(study: Path, capsys: Any, *options: str) -> tuple[int, dict[str, Any], str]:
    """Exit code, result and messages of `convert --to sdtm`."""
    code = main(["convert", str(study), "--to", "sdtm", "--out", str(study.parent / "out"), "--json", *options])
    out, err = capsys.readouterr()
    return code, json.loads(out), err


def test_what_convert_writes_is_judged_and_stays_whole(
    study: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = tuple(load_all(study.parent / "rules.yml"))
    monkeypatch.setattr("fhirspace.sdtm.rules.catalogue.own.rules", lambda: mine)
    code, result, err = converted(study, capsys)
    assert result["rules"] == {"ran": 2, "errors": 2, "warnings": 1, "notes": 0, "explained": 0}
    assert "2 conformance rules: 2 errors, 1 warning," in err
    assert result["tables"]["AE"]["out"] == 2
    explain(study, WHY)
    assert converted(study, capsys)[1]["rules"]["explained"] == 2
    explain(study, "explained: [")
    again, result, err = converted(study, capsys)
    assert (again, "rules" in result) == (code, False)
    assert "conformance rules did not run: FS301" in err
    assert "rules" not in converted(study, capsys, "--no-rules")[1]


def test_what_a_check_and_a_rule_find_is_reported_once(tmp_path: Path, capsys: Any) -> None:
    """The age below zero is FS755 and FS-DM-004; the country is found by both, too, in another record."""
    columns = "STUDYID,DOMAIN,USUBJID,SUBJID,AGE,AGEU,COUNTRY"
    (tmp_path / "dm.csv").write_text(f"{columns}\nS,DM,S-1,1,-5,YEARS,DEU\nS,DM,S-2,2,50,YEARS,DE\n")
    main(["validate", str(tmp_path), "--json"])
    alone = {each["code"] for each in json.loads(capsys.readouterr().out)["findings"]}
    assert {"FS755", "FS756"} <= alone
    main(["validate", str(tmp_path), "--rules", "--json"])
    both = json.loads(capsys.readouterr().out)
    assert not {"FS755", "FS756"} & {each["code"] for each in both["findings"]}
    assert {"FS-DM-004", "FS-DM-034"} <= {each["rule"] for each in both["rules"]["findings"]}
    assert main(["explain", "FS755"]) == 0
    assert "Conformance rules: FS-DM-004" in capsys.readouterr().out
