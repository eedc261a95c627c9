"""`fhirspace rules add`, `validate --rules` and `explain`: rules of others kept, datasets judged, values apart."""

import io
import json
import stat
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from fhirspace import limits
from fhirspace.cli import main
from fhirspace.sdtm.rules.catalogue import own
from fhirspace.sdtm.rules.engine import Engine
from fhirspace.sdtm.rules.operations import OPERATIONS
from fhirspace.sdtm.rules.operators import OPERATORS
from fhirspace.sdtm.rules.study import Study
from fhirspace.study.rules import judging

RULE = """\
Core: {{Id: {id}, Status: {status}}}
Rule Type: Record Data
Sensitivity: {sensitivity}
Authorities: [{{Standards: [{{Name: SDTMIG, Version: "{version}", References: [{{Rule Identifier: {{Id: CG9001}}}}]}}]}}]
Description: What the rule is about.
Check: {{all: [{{name: AETERM, operator: equal_to, value: SECRET}}]}}
Outcome: {{Message: A term is wrong, Output Variables: [AETERM]}}
"""
AE = "STUDYID,DOMAIN,USUBJID,AESEQ,AETERM\nS,AE,S-1,1,SECRET\nS,AE,S-1,2,OTHER\nS,AE,S-2,1,SECRET\n"
DM = "STUDYID,DOMAIN,USUBJID,SUBJID\nS,DM,S-1,1\nS,DM,S-2,2\n"


def text(id_: str = "CORE-9", status: str = "Published", sensitivity: str = "Record", version: str = "3.4") -> str:
    return RULE.format(id=id_, status=status, sensitivity=sensitivity, version=version)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FHIRSPACE_DATA", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def study(tmp_path: Path) -> Path:
    folder = tmp_path / "study"
    folder.mkdir()
    (folder / "ae.csv").write_text(AE)
    (folder / "dm.csv").write_text(DM)
    return folder


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    for name, content in {
        "A/rule.yml": text(),
        "B/rule.yml": text("CORE-8", "Draft"),
        ".github/x.yml": "on: push",
    }.items():
        file = tmp_path / "clone" / name
        file.parent.mkdir(parents=True)
        file.write_text(content)
    return tmp_path / "clone"


def tarred(folder: Path, into: Path) -> Path:
    with tarfile.open(into, "w:xz") as archive:
        archive.add(folder, "open-rules")
    return into


def zipped(folder: Path, into: Path) -> Path:
    with zipfile.ZipFile(into, "w") as archive:
        for file in folder.rglob("*.yml"):
            archive.write(file, file.relative_to(folder))
    return into


def judged(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    capsys.readouterr()
    code = main(["validate", *arguments, "--rules", "--json"])
    return code, json.loads(capsys.readouterr().out)["rules"]


@pytest.mark.parametrize("form", ["folder", "tar", "zip"])
def test_rules_of_a_clone_or_archive_are_kept_and_run(
    *, form: str, clone: Path, study: Path, home: Path, tmp_path: Path, capsys: Any
) -> None:
    made = {
        "folder": lambda: clone,
        "tar": lambda: tarred(clone, tmp_path / "r.tar.xz"),
        "zip": lambda: zipped(clone, tmp_path / "r.zip"),
    }
    assert main(["rules", "add", str(made[form]())]) == 0
    assert "1 rule of" in (said := capsys.readouterr().out)
    assert "1 draft left out" in said
    assert stat.S_IMODE((home / "rules" / "rules.json").stat().st_mode) == 0o600
    code, report = judged(capsys, str(study))
    (found,) = (each for each in report["findings"] if each["rule"] == "CORE-9")
    assert code == 1
    assert found == {
        "rule": "CORE-9",
        "ids": ["CG9001"],
        "level": "warning",
        "dataset": "AE",
        "file": "ae.csv",
        "count": 2,
        "records": [1, 3],
        "variables": ["AETERM"],
        "message": "A term is wrong",
    }


def test_values_are_in_the_report_file_only(clone: Path, study: Path, tmp_path: Path, capsys: Any) -> None:
    main(["rules", "add", str(clone)])
    values = tmp_path / "values.ndjson"
    assert main(["validate", str(study), "--rules", "--values", str(values)]) == 1
    out, err = capsys.readouterr()
    assert "warning: CORE-9 (CG9001) AE: 2 records, records 1, 3: A term is wrong" in out
    assert "SECRET" not in out + err
    assert stat.S_IMODE(values.stat().st_mode) == 0o600
    lines = [json.loads(line) for line in values.read_text().splitlines()]
    assert {"rule": "CORE-9", "dataset": "AE", "record": "3", "variable": "AETERM", "value": "SECRET"} in lines


def test_without_added_rules_the_report_says_that_only_ours_ran(study: Path, capsys: Any) -> None:
    main(["validate", str(study), "--rules"])
    assert "fhirspace's own: add CDISC's with `fhirspace rules add`" in capsys.readouterr().err


def test_rules_of_a_folder_run_instead_of_the_added_ones(clone: Path, study: Path, tmp_path: Path, capsys: Any) -> None:
    main(["rules", "add", str(clone)])
    mine = tmp_path / "mine.yml"
    mine.write_text(text("STUDY-1", sensitivity="Dataset"))
    assert main(["validate", str(study), "--rules", str(mine)]) == 1
    out = capsys.readouterr().out
    assert "STUDY-1 (CG9001) AE: dataset: A term is wrong" in out
    assert "CORE-9" not in out


def test_rules_for_another_guide_do_not_run(clone: Path, study: Path, capsys: Any) -> None:
    (clone / "A" / "rule.yml").write_text(text(version="3.2"))
    main(["rules", "add", str(clone)])
    assert "CORE-9" not in {each["rule"] for each in judged(capsys, str(study))[1]["findings"]}


def test_a_rule_that_cannot_be_judged_is_named_and_the_others_run(clone: Path, study: Path, capsys: Any) -> None:
    (clone / "B" / "rule.yml").write_text(text("CORE-8").replace("equal_to", "no_such_operator"))
    main(["rules", "add", str(clone)])
    _, report = judged(capsys, str(study))
    reasons = {each["rule"]: each["datasets"] for each in report["not_judged"]}
    assert reasons["CORE-8"]["AE"] == "the operator `no_such_operator` is not supported"
    assert "CORE-9" in {each["rule"] for each in report["findings"]}


def test_files_that_are_no_rules_are_reported_and_the_others_added(clone: Path, capsys: Any) -> None:
    (clone / "B" / "rule.yml").write_text("Core: {Id: X}\nCheck: {every: []}\n")
    assert main(["rules", "add", str(clone), "--json"]) == 1
    assert [each["code"] for each in json.loads(capsys.readouterr().out)["problems"]] == ["FS801"]


def test_explain_finds_rules_by_any_of_their_ids(clone: Path, capsys: Any) -> None:
    main(["rules", "add", str(clone)])
    capsys.readouterr()
    assert main(["explain", "cg9001"]) == 0
    assert capsys.readouterr().out == "CORE-9 (CG9001, warning)\nA term is wrong\n\nWhat the rule is about.\n"
    assert main(["explain", "CG0000"]) == 2


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [("x.tar", b"no archive", "FS804"), ("x.zip", b"PK\3\4broken", "FS804"), ("absent", None, "FS101")],
)
def test_an_archive_that_cannot_be_read(tmp_path: Path, capsys: Any, name: str, content: Any, code: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert main(["rules", "add", str(tmp_path / name)]) == 2
    assert code in capsys.readouterr().err


def test_an_archive_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setenv(limits.VARIABLE, "rule-bytes=1000000")
    with tarfile.open(tmp_path / "bomb.tar.xz", "w:xz") as archive:
        info = tarfile.TarInfo("zeros.bin")
        info.size = 20_000_000
        archive.addfile(info, io.BytesIO(bytes(info.size)))
    assert main(["rules", "add", str(tmp_path / "bomb.tar.xz")]) == 2
    assert "FS160" in capsys.readouterr().err


def test_kept_rules_that_are_damaged(home: Path, study: Path, capsys: Any) -> None:
    (home / "rules").mkdir(parents=True)
    (home / "rules" / "rules.json").write_text("{")
    assert main(["validate", str(study), "--rules"]) == 2
    assert "FS805" in capsys.readouterr().err


def test_our_rules_can_all_be_run() -> None:
    rules = own.rules()
    assert len({rule.id for rule in rules}) == len(rules)
    assert {check.operator for rule in rules for check in rule.check.leaves()} <= set(OPERATORS)
    assert {work.operator for rule in rules for work in rule.operations} <= set(OPERATIONS)
    assert all(rule.message and rule.output for rule in rules)
    engine = Engine(Study([]))
    assert all(not engine.run(rule).errors for rule in rules)


def test_a_file_of_rules_that_is_wrong_does_not_stop_the_others(study: Path, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "good.yml").write_text(text("STUDY-1"))
    (tmp_path / "mine" / "bad.yml").write_text("Core: {Id: BAD}\nCheck: !!python/object/apply:os.system [id]\n")
    assert main(["validate", str(study), "--rules", str(tmp_path / "mine")]) == 1
    out = capsys.readouterr().out
    assert "STUDY-1 (CG9001) AE: 2 records" in out
    assert "not judged: bad.yml: FS301" in out


def test_a_column_that_a_rule_asks_for_is_no_copy() -> None:
    """A million rows are in memory once: pieces of dictionaries become one array of texts, which rules are given."""
    pieces = pa.chunked_array([pa.array(["a", "b"]).dictionary_encode(), pa.array(["c"]).dictionary_encode()])
    plain = pa.chunked_array([["1"], ["2", "3"]])
    tables = {"AE": pa.table({"AETERM": pieces, "AESPID": plain})}
    (dataset,) = judging.judge_tables(tables, []).datasets
    for name in ("AETERM", "AESPID"):
        whole, given = dataset.table[name], dataset.column(name)
        assert whole.num_chunks == 1
        assert whole.chunk(0).buffers()[2].address == given.buffers()[2].address


def test_what_a_rule_of_others_and_a_check_find_is_reported_once(tmp_path: Path, study: Path, capsys: Any) -> None:
    """Their CG0435 runs instead of ours, which is FS761."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    theirs = text().replace("CG9001", "CG0435").replace("{name: AETERM, operator: equal_to, value: SECRET}", "{}")
    (folder / "rule.yml").write_text(
        theirs.replace("{}", "{name: DTHDTC, operator: non_empty}").replace("AETERM", "DTHFL")
    )
    (study / "dm.csv").write_text("STUDYID,DOMAIN,USUBJID,SUBJID,DTHDTC\nS,DM,S-1,1,2020-01-01\nS,DM,S-2,2,\n")
    assert main(["rules", "add", str(folder)]) == 0
    capsys.readouterr()
    main(["validate", str(study), "--rules", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert "FS761" not in {each["code"] for each in found["findings"]}
    assert [each["rule"] for each in found["rules"]["findings"] if "CG0435" in each["ids"]] == ["CORE-9"]
