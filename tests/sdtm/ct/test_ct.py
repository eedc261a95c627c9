"""Packages of terminology that users add: the formats of NCI EVS, what is kept, and which one a study is judged by."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from fhirspace import limits
from fhirspace.cli import main
from fhirspace.errors import InputError, UsageError
from fhirspace.sdtm import versions
from fhirspace.sdtm.conformance import check
from fhirspace.sdtm.ct import kept
from fhirspace.sdtm.ct.reading import read
from fhirspace.sdtm.rules.study import Dataset, Study
from fhirspace.standards import terminology
from tests.sdtm.define.test_making import made
from tests.sdtm.sdtm_tables import table

HEAD = (
    "Code", "Codelist Code", "Codelist Extensible (Yes/No)", "Codelist Name", "CDISC Submission Value",
    "CDISC Synonym(s)", "CDISC Definition", "NCI Preferred Term", "Standard and Date",
)  # fmt: skip
STANDARD = "SDTM CT 2030-03-28"
ROWS = [
    ("C66741", "", "Yes", "Vital Signs Test Code", "VSTESTCD", "Vital Signs Test Code", "x", "Code", STANDARD),
    ("C1", "C66741", "", "Vital Signs Test Code", "AURA", "Glow; Halo", 'a "word', "Aura", STANDARD),
    ("C67153", "", "Yes", "Vital Signs Test Name", "VSTEST", "", "x", "Name", STANDARD),
    ("C1", "C67153", "", "Vital Signs Test Name", "Aura of Person", "", "x", "Aura", STANDARD),
    ("C66731", "", "No", "Sex", "SEX", "", "x", "Sex", STANDARD),
    ("C9", "C66731", "", "Sex", "X", "", "x", "X", STANDARD),
]
ODM = """<?xml version="1.0" encoding="UTF-8"?>
<ODM xmlns="http://www.cdisc.org/ns/odm/v1.3" xmlns:nciodm="http://ncicb.nci.nih.gov/xml/odm/EVS/CDISC">
<Study OID="CDISC_CT.SDTM.2030-03-28"><MetaDataVersion OID="CDISC_CT_MetaDataVersion.SDTM.2030-03-28" Name="CT">
<CodeList OID="CL.C66741.VSTESTCD" Name="Vital Signs Test Code" DataType="text" nciodm:ExtCodeID="C66741"
 nciodm:CodeListExtensible="Yes">
<EnumeratedItem CodedValue="AURA" nciodm:ExtCodeID="C1"><nciodm:CDISCSynonym>Glow</nciodm:CDISCSynonym>
<nciodm:CDISCSynonym>Halo</nciodm:CDISCSynonym><nciodm:PreferredTerm>Aura</nciodm:PreferredTerm></EnumeratedItem>
<nciodm:CDISCSubmissionValue>VSTESTCD</nciodm:CDISCSubmissionValue></CodeList>
<CodeList OID="CL.C67153.VSTEST" Name="Vital Signs Test Name" DataType="text" nciodm:ExtCodeID="C67153"
 nciodm:CodeListExtensible="Yes">
<EnumeratedItem CodedValue="Aura of Person" nciodm:ExtCodeID="C1"><nciodm:PreferredTerm>Aura</nciodm:PreferredTerm>
</EnumeratedItem><nciodm:CDISCSubmissionValue>VSTEST</nciodm:CDISCSubmissionValue></CodeList>
<CodeList OID="CL.C66731.SEX" Name="Sex" DataType="text" nciodm:ExtCodeID="C66731" nciodm:CodeListExtensible="No">
<EnumeratedItem CodedValue="X" nciodm:ExtCodeID="C9"><nciodm:PreferredTerm>X</nciodm:PreferredTerm></EnumeratedItem>
<nciodm:CDISCSubmissionValue>SEX</nciodm:CDISCSubmissionValue></CodeList>
</MetaDataVersion></Study></ODM>
"""
TEXT = "\n".join("\t".join(row) for row in (HEAD, *ROWS)) + "\n"
CSV = "\n".join(",".join('"' + cell.replace('"', '""') + '"' for cell in row) for row in (HEAD, *ROWS)) + "\n"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FHIRSPACE_DATA", str(tmp_path / "home"))
    return tmp_path / "home"


def file(folder: Path, text: str, name: str = "package.txt") -> Path:
    path = folder / name
    path.write_bytes(text.encode("utf-8"))
    return path


@pytest.mark.parametrize("text", [TEXT, CSV, ODM, "\ufeff" + TEXT], ids=["text", "csv", "odm", "mark"])
def test_each_format_gives_the_same(tmp_path: Path, text: str) -> None:
    found = read(file(tmp_path, text))
    assert (found.version, found.terms, list(found.codelists)) == ("2030-03-28", 3, ["C66741", "C67153", "C66731"])
    listed = found.codelists["C66741"]
    assert (listed.submission_value, listed.name, listed.extensible) == ("VSTESTCD", "Vital Signs Test Code", True)
    assert listed.terms == [("AURA", "C1", "Aura", "Glow", "Halo")]
    assert not found.codelists["C66731"].extensible


def test_the_date_is_in_the_file_its_name_or_given(tmp_path: Path) -> None:
    bare = TEXT.replace("\t" + STANDARD, "\t").replace("Standard and Date", "")
    assert read(file(tmp_path, bare, "SDTM Terminology 2031-01-01.txt")).version == "2031-01-01"
    assert read(file(tmp_path, bare), "2032-01-01").version == "2032-01-01"
    with pytest.raises(InputError, match="--date"):
        read(file(tmp_path, bare))


BAD = {
    "no columns": (TEXT.replace("CDISC Submission Value", "Value"), "the columns cdisc submission value"),
    "no codelist": ("\n".join(TEXT.splitlines()[:1] + TEXT.splitlines()[2:]), "a row for each codelist"),
    "nothing": ("", "the columns code"),
    "no terms": ("\t".join(HEAD) + "\n", "codelists with terms"),
    "another standard": (TEXT.replace("SDTM CT", "ADaM CT"), "a package of SDTM terminology"),
    "another standard in ODM": (ODM.replace(".SDTM.", ".SEND."), "a package of SDTM terminology"),
    "broken XML": (ODM[:400], "not a package of SDTM terminology"),
    "entities": ('<!DOCTYPE x [<!ENTITY a "b">]>' + ODM[ODM.index("<ODM") :], "FS808"),
    "another document": ("<html/>", "ODM-XML"),
    "broken quotes": (CSV + '"a"b"c,d', "CSV, or text with tabs"),
    "a date that is none": (ODM.replace("2030-03-28", "../../x"), "--date"),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_package_is_refused(tmp_path: Path, kind: str, capsys: Any) -> None:
    text, wanted = BAD[kind]
    assert main(["terminology", "add", str(file(tmp_path, text))]) == 2
    assert wanted in capsys.readouterr().err
    assert not (tmp_path / "home" / "terminology").exists()


def test_a_file_has_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(limits.VARIABLE, "define-bytes=100")
    with pytest.raises(InputError, match="FS160"):
        read(file(tmp_path, TEXT))
    with pytest.raises(InputError, match="FS101"):
        read(tmp_path / "nothing")


def test_a_package_is_added_and_listed(tmp_path: Path, home: Path, capsys: Any) -> None:
    assert main(["terminology", "add", str(file(tmp_path, TEXT)), "--json"]) == 0
    added = json.loads(capsys.readouterr().out)
    assert (added["version"], added["codelists"], added["terms"], len(added["digest"])) == ("2030-03-28", 3, 3, 64)
    assert stat.S_IMODE((home / "terminology" / "2030-03-28.json").stat().st_mode) == 0o600
    assert main(["terminology", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{terminology.version()}  ")
    assert lines[1] == f"2030-03-28  3 codelists, 3 terms, of package.txt (sha256 {added['digest'][:12]})"


@pytest.mark.parametrize("date", ["2030-13-01", "2030-02-32", "\u0662\u0660\u0663\u0660-\u0660\u0663-\u0662\u0668"])
def test_what_is_no_date_is_no_version(tmp_path: Path, date: str) -> None:
    """Nor are digits of other scripts, which no study can name."""
    with pytest.raises(InputError, match="FS808"):
        read(file(tmp_path, TEXT.replace("2030-03-28", date)))


def test_nothing_is_left_where_a_package_cannot_be_kept(tmp_path: Path, home: Path) -> None:
    (home / "terminology" / "2030-03-28.json").mkdir(parents=True)
    with pytest.raises(OSError, match="directory"):
        kept.add(file(tmp_path, TEXT))
    assert [each.name for each in (home / "terminology").iterdir()] == ["2030-03-28.json"]


@pytest.mark.parametrize("words", [["add"], ["list", "x"], ["list", "--date", "2030-01-01"]])
def test_wrong_usage_is_refused(words: list[str], capsys: Any) -> None:
    assert main(["terminology", *words]) == 2
    assert "FS810" in capsys.readouterr().err


def test_what_is_kept_and_damaged_is_named(tmp_path: Path, home: Path) -> None:
    kept.add(file(tmp_path, TEXT))
    (home / "terminology" / "2030-03-28.json").write_text("{")
    with pytest.raises(UsageError, match="FS809"):
        kept.chosen("2030-03-28")


@pytest.mark.parametrize("version", ["", "2029-01-01", "../home/terminology/2030-03-28", "2030-03-28\n", "/etc/passwd"])
def test_without_the_version_the_shipped_one_is_used(tmp_path: Path, version: str) -> None:
    kept.add(file(tmp_path, TEXT))
    assert kept.chosen(version).version() == terminology.version()


def test_an_added_package_answers_as_the_shipped_one(tmp_path: Path) -> None:
    kept.add(file(tmp_path, ODM))
    package = kept.chosen("2030-03-28")
    assert package.version() == "2030-03-28"
    assert package.known("SEX")
    assert not package.known("NY")
    assert package.decode("C66741") == {"AURA": "Aura of Person"}
    term = package.codelist("VSTESTCD").find("halo")
    assert term
    assert term.code == "C1"
    with pytest.raises(UsageError, match="FS702"):
        package.codelist("NY")


def test_what_a_study_names() -> None:
    define = made(VS={"VSTESTCD": ["AURA"]})
    parameters = table("TSPARMCD|TSVAL|TSVCDREF|TSVCDVER", "A|x|CDISC CT|2030-03-28", "SDTIGVER|3.3||", "B|x|CDISC|x")
    assert versions.terminology(define, parameters) == terminology.version()  # a define.xml of ours names it
    define.standards.clear()
    assert versions.terminology(define, parameters) == "2030-03-28"
    assert (versions.guide(None, parameters), versions.guide(None, None)) == ("3.3", "")
    assert versions.terminology(None, table("TSPARMCD|TSVAL", "A|x")) == ""


DM = "DOMAIN|USUBJID|SEX"
TS = ("DOMAIN|TSSEQ|TSPARMCD|TSPARM|TSVAL|TSVCDREF|TSVCDVER", "TS|1|TITLE|Trial Title|x|CDISC CT|2030-03-28")


def sexes(named: str = "") -> set[tuple[str, int | None]]:
    """The findings about SEX of a study whose TS names a version."""
    ts = {"TS": table(TS[0], TS[1].replace("2030-03-28", named))} if named else {}
    tables = {"DM": table(DM, "DM|A|X", "DM|B|F"), **ts}
    return {(problem.code, row) for problem, row in check(tables) if problem.place.column == "SEX"}


def test_terms_are_judged_by_the_version_that_ts_names(tmp_path: Path) -> None:
    assert sexes("2030-03-28") == sexes() == {("FS723", 0)}
    kept.add(file(tmp_path, TEXT))
    assert sexes("2030-03-28") == {("FS723", 1)}
    assert sexes() == {("FS723", 0)}


def test_rules_ask_the_version_that_the_study_names(tmp_path: Path) -> None:
    kept.add(file(tmp_path, TEXT))
    study = Study([Dataset("TS", table(*TS))])
    assert (study.terminology, study.terms.version()) == ("2030-03-28", "2030-03-28")


def test_a_version_that_is_not_at_hand_is_a_note(tmp_path: Path, capsys: Any) -> None:
    folder = tmp_path / "study"
    folder.mkdir()
    (folder / "ts.csv").write_text("STUDYID," + TS[0].replace("|", ",") + "\nS," + TS[1].replace("|", ",") + "\n")
    main(["validate", str(folder), "--json"])
    found = [each for each in json.loads(capsys.readouterr().out)["findings"] if each["code"] == "FS783"]
    assert [(each["level"], each["expected"], each["detail"]) for each in found] == [
        ("note", "SDTM terminology 2030-03-28", f"{terminology.version()} is used")
    ]
    kept.add(file(tmp_path, TEXT))
    main(["validate", str(folder), "--json"])
    assert "FS783" not in capsys.readouterr().out
