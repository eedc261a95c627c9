"""Every dataset of the guide has a mapping, and a package with splits and domains of no file comes back exact."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fhirspace.standards import sdtm
from fhirspace.study.convert import convert
from fhirspace.study.inspect import mappings as views
from fhirspace.study.roundtrip import roundtrip
from tests import small_study
from tests.study.bad.bad_runs import table

QS = "STUDYID,DOMAIN,USUBJID,QSSEQ,QSTESTCD,QSTEST,QSCAT,QSORRES,QSSTRESC,QSDTC\n"
SUPP = "STUDYID,RDOMAIN,USUBJID,IDVAR,IDVARVAL,QNAM,QLABEL,QVAL,QORIG\n"
PACKAGE = {
    # The sequence numbers of two split datasets may be the same.
    "QSAB": QS + "TINY,QS,TINY-1,1,AB0101,Item one,AB,Yes,1,2025-03-05\n",
    "QSMN": QS + "TINY,QS,TINY-1,1,MN0101,Item one,MN,No,0,2025-03-05\n",
    "SUPPQSAB": SUPP + "TINY,QS,TINY-1,QSSEQ,1,QSWHO,Who answered,CAREGIVER,CRF\n",
    "FAAE": "STUDYID,DOMAIN,USUBJID,FASEQ,FATESTCD,FATEST,FAOBJ,FAORRES\nTINY,FA,TINY-1,1,OCCUR,Occurrence,RASH,Y\n",
    "EC": "STUDYID,DOMAIN,USUBJID,ECSEQ,ECTRT,ECMOOD,ECOCCUR,ECDOSE,ECDOSU,ECDOSFRM,ECSTDTC\n"
    "TINY,EC,TINY-1,1,DRUG A,SCHEDULED,,10,mg,TABLET,2025-03-05\n"
    "TINY,EC,TINY-1,2,DRUG A,PERFORMED,N,,mg,TABLET,2025-03-05\n"
    "TINY,EC,TINY-1,3,DRUG A,PERFORMED,Y,0,mg,TABLET,2025-03-06\n",
    "RELREC": "STUDYID,RDOMAIN,USUBJID,IDVAR,IDVARVAL,RELTYPE,RELID\nTINY,AE,TINY-1,AESEQ,1,,R1\nTINY,EC,TINY-1,ECSEQ,2,,R1\n"
    "TINY,AE,,AELNKID,,ONE,R2\nTINY,FA,,FALNKID,,MANY,R2\n",
    "CO": "STUDYID,DOMAIN,RDOMAIN,USUBJID,COSEQ,IDVAR,IDVARVAL,COVAL,CODTC\n"
    "TINY,CO,AE,TINY-1,1,AESEQ,1,Seen by a neighbour,2025-03\nTINY,CO,,TINY-1,2,,,No parent,\n",
    "YT": "STUDYID,DOMAIN,USUBJID,YTSEQ,YTTRT,YTDOSE,YTDOSU,YTSTDTC\nTINY,YT,TINY-1,1,Yoga,30,min,2025\n",
    "APMH": "STUDYID,DOMAIN,APID,RSUBJID,SREL,MHSEQ,MHTERM\nTINY,APMH,A1,TINY-1,MOTHER,1,Asthma\n",
    "RELSPEC": "STUDYID,USUBJID,REFID,SPEC,PARENT,LEVEL\nTINY,TINY-1,S1,BLOOD,,1\nTINY,TINY-1,S2,SERUM,S1,2\n",
}  # fmt: skip


def test_the_list_names_a_file_for_each_dataset_of_the_guide() -> None:
    data, _ = views.list()
    files = {entry["dataset"]: entry["file"] for entry in data["datasets"]}
    assert [name for name in sdtm.domains() if name != "SUPPQUAL" and name not in files] == []
    assert {entry["dataset"]: entry["releases"] for entry in data["datasets"] if len(entry["releases"]) < 3} == {}
    assert (files["EG"], files["SUPPEG"]) == ("eg.yaml", "supp.yaml")


def test_no_variable_of_the_guide_is_without_an_element_or_a_reason() -> None:
    data, _ = views.coverage()
    assert {entry["dataset"]: entry["without"] for entry in data["datasets"] if entry["without"]} == {}


@pytest.mark.slow
@pytest.mark.parametrize("release", ["R4", "R4B", "R5"])
def test_a_package_of_all_kinds_comes_back_exact(release: Any, tmp_path: Path) -> None:
    proof = roundtrip(small_study.write(tmp_path / "in", **PACKAGE), fhir=release)
    assert (proof.exit_code, proof.quarantined, proof.losses) == (0, 0, [])
    assert {leg.table for leg in proof.legs} == {"AE", "DM", *PACKAGE}


@pytest.mark.slow
def test_the_files_of_a_split_are_the_same_again(tmp_path: Path) -> None:
    made = convert(small_study.write(tmp_path / "in", **PACKAGE), to="fhir", out=tmp_path / "fhir")
    assert {row["quarantined"] for row in made.tables.values()} == {0}
    back = convert(made.out / "fhir", to="sdtm", out=tmp_path / "back", formats=("csv",))
    assert {path.stem.upper() for path in (back.out / "sdtm").iterdir()} == {"AE", "DM", *PACKAGE}
    assert table(back.out / "sdtm" / "qsmn.csv")[1][:5] == ["TINY", "QS", "TINY-1", "1", "MN0101"]
    assert table(back.out / "sdtm" / "suppqsab.csv")[1][:3] == ["TINY", "QS", "TINY-1"]
    assert table(back.out / "sdtm" / "apmh.csv")[1] == ["TINY", "APMH", "A1", "TINY-1", "MOTHER", "1", "Asthma"]


@pytest.mark.slow
def test_a_finding_about_an_event_refers_to_it(tmp_path: Path) -> None:
    made = convert(small_study.write(tmp_path / "in", **PACKAGE), to="fhir", out=tmp_path / "fhir")
    rows = [json.loads(line) for line in (made.out / "fhir" / "Observation.ndjson").read_text("utf-8").splitlines()]
    ((focus,),) = [row["focus"] for row in rows if "focus" in row]
    assert focus["display"] == "RASH" and focus["reference"].startswith("AdverseEvent/")
    assert focus["reference"].endswith("-AE-2")
    edited = (made.out / "fhir" / "Observation.ndjson").read_text("utf-8").replace("-AE-2", "-AE-1")
    (made.out / "fhir" / "Observation.ndjson").write_text(edited, "utf-8")
    back = convert(made.out / "fhir", to="sdtm", out=tmp_path / "back")
    assert [(each.code, each.table) for each in back.problems if each.code == "FS448"] == [("FS448", "FAAE")]


def test_what_a_hospital_sees_of_a_dose_and_a_relationship(tmp_path: Path) -> None:
    made = convert(small_study.write(tmp_path / "in", **PACKAGE), to="fhir", out=tmp_path / "fhir")
    lines = (made.out / "fhir" / "MedicationAdministration.ndjson").read_text("utf-8").splitlines()
    doses = [json.loads(line) for line in lines]
    status = {dose["identifier"][0]["value"] + dose["identifier"][0]["system"][-3:]: dose["status"] for dose in doses}
    assert status == {
        "TINY-1|1/EC": "unknown",
        "TINY-1|2/EC": "not-done",
        "TINY-1|3/EC": "completed",
        "TINY-1|1/YT": "completed",
    }
    text = (made.out / "fhir" / "Basic.ndjson").read_text("utf-8")
    assert '"valueReference":{"identifier":{"system":"https://fhirspace.org/EC","value":"TINY-1|2"}}' in text
