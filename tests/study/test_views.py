"""FHIR that fhirspace did not write, converted by views: to records, to SDTM, and what is reported when nothing fits."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from fhirspace.cli import main
from fhirspace.standards.fhir import resource_types
from fhirspace.template.folders import shipped
from tests.views.ehr import CATEGORY, LOINC, SCT, coded, lab, patient, resources, study, write

RACES = ("2106-3", "2028-9")


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def codes(out: Path) -> set[str]:
    return {json.loads(line)["code"] for line in (out / "problems.ndjson").read_text().splitlines()}


def test_an_export_becomes_sdtm(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    views, given, out = study(tmp_path / "study"), write(tmp_path / "in", resources()), tmp_path / "out"
    exit_code = main(
        ["convert", str(given), "--to", "sdtm", "--views", str(views), "--format", "csv", "--out", str(out)]
    )
    assert exit_code == 3  # one resource that no view claims
    assert [(row["LBSPID"], row["LBTESTCD"], row["LBORRES"], row["VISIT"]) for row in rows(out / "sdtm/lb.csv")] == [
        ("l1", "HGB", "12.5", "SCREENING"),
        ("l2", "HGB", "12.5", "TREATMENT"),
    ]
    assert {row["VSTESTCD"] for row in rows(out / "sdtm/vs.csv")} == {"SYSBP", "DIABP"}
    assert [(row["RFSTDTC"][:10], row["ARM"]) for row in rows(out / "sdtm/dm.csv")] == [
        ("2026-02-01", "Drug A"),
        ("2026-02-02", "Drug A"),
    ]
    assert [(row["QNAM"], row["QORIG"]) for row in rows(out / "sdtm/suppex.csv")] == [("EXRXNORM", "Collected")] * 2
    assert "FS463" in codes(out)
    assert "Observation                      6         3            0         3" in capsys.readouterr().out


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_records_come_by_themselves(tmp_path: Path, form: str) -> None:
    views, given, out = study(tmp_path / "study"), write(tmp_path / "in", resources()[:-1]), tmp_path / "out"
    command = ["convert", str(given), "--to", "records", "--views", str(views), "--format", form, "--out", str(out)]
    assert main(command) == 0
    assert {path.name for path in (out / "records").iterdir()} == {
        f"{name}.{form}" for name in ("dose", "lab", "patient", "vital")
    }
    unmapped = [json.loads(line) for line in (out / "unread.ndjson").read_text().splitlines()]
    assert {"path": "Observation.valueQuantity.system", "resources": 2} in unmapped


def test_another_enrolment_table_wins(tmp_path: Path) -> None:
    views, given, out = study(tmp_path / "study"), write(tmp_path / "in", resources()[:-1]), tmp_path / "out"
    (tmp_path / "mine.csv").write_text("patient,STUDYID,SUBJID\np3,EHR9,003\n")
    command = ["convert", str(given), "--to", "records", "--views", str(views), "--out", str(out)]
    assert main([*command, "--enrolment", str(tmp_path / "mine.csv")]) == 0
    assert [row["USUBJID"] for row in rows(out / "records/lab.csv")] == ["EHR9-003"]


@pytest.mark.parametrize("target", ["records", "sdtm"])
def test_nothing_claimed_is_said_with_what_to_do(
    tmp_path: Path, target: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = write(tmp_path / "in", [{"resourceType": "Basic", "id": str(at)} for at in range(5)])
    command = ["convert", str(given), "--to", target, "--views", "us-core", "--source", "ehr"]
    assert main([*command, "--out", str(tmp_path / "out")]) == 3
    reported = capsys.readouterr().err
    assert "0 of 5 resources" in reported
    assert "view" in reported


def test_quarantined_resources_are_written_unchanged(tmp_path: Path) -> None:
    bad = lab("bad", "Patient/p1", "2026-02-03", implicitRules="http://rules")
    views, given, out = study(tmp_path / "study"), write(tmp_path / "in", [*resources()[:-1], bad]), tmp_path / "out"
    assert main(["convert", str(given), "--to", "records", "--views", str(views), "--out", str(out)]) == 3
    assert json.loads((out / "quarantine/Observation.ndjson").read_text()) == bad


@pytest.mark.parametrize(
    ("name", "text", "hint"),
    [
        ("enrolment.csv", "patient,STUDYID\np1,X\n", "SUBJID"),
        ("enrolment.csv", "patient,STUDYID,SUBJID\np1,X,1\np1,X,2\n", "once"),
        ("enrolment.csv", "patient,STUDYID,SUBJID,consent\np1,X,1,gestern\n", "date"),
        ("visits.csv", "VISITNUM,VISIT\n1,A\n", "from day"),
        ("visits.csv", "VISITNUM,VISIT,from day,to day\n1,A,5,1\n", "first day"),
    ],
)
def test_a_table_that_cannot_be_used_ends_the_run(
    tmp_path: Path, name: str, text: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    views: Any = study(tmp_path / "study")
    (views / name).write_text(text)
    given = write(tmp_path / "in", resources())
    command = ["convert", str(given), "--to", "records", "--views", str(views), "--out", str(tmp_path / "out")]
    assert main(command) == 2
    assert hint in capsys.readouterr().err


def test_a_profile_counts_what_there_is_and_writes_views_to_start_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = lab("odd", "Patient/p9", "2026-02-03T10:00:00+01:00", code=coded(LOINC, "99999-9", "=Odd"))
    odd["valueQuantity"] = {"value": 1, "system": "http://unitsofmeasure.org", "code": "{odd}"}
    given, out = write(tmp_path / "in", [*resources(), odd]), tmp_path / "first"
    assert main(["mapping", "profile", str(given), "--out", str(out), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["types"]["Observation"] == 7
    assert found["offsets"] == {"Z": 8, "+01:00": 1}
    assert found["unresolved"] == {"Observation.subject": 1}
    tests = {each["code"]: (each["resources"], each["test"]) for each in found["tests"]}
    assert tests == {"718-7": (5, "HGB"), "8462-4": (1, "DIABP"), "8480-6": (1, "SYSBP"), "99999-9": (1, "")}
    assert {each["unit"]: each["cdisc"] for each in found["units"]} == {"g/dL": "g/dL", "{odd}": ""}
    assert [row["patient"] for row in rows(out / "enrolment.csv")] == ["p1", "p2", "p3"]
    assert [(row["value"], row["count"], row["display"]) for row in rows(out / "codes/LOINCLB+.csv")] == [
        ("99999-9", "1", "'=Odd")
    ]
    assert main(["mapping", "profile", str(given), "--out", str(out)]) == 2


def test_a_profile_asks_only_for_codes_that_no_list_has(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    codes_ = {
        "86923-0": "vital-signs",
        "74006-8": "vital-signs",
        "72166-2": "social-history",
        "99999-9": "vital-signs",
        "21924-6": "laboratory",
    }
    given = [
        {**lab(code, "Patient/p1", "2026-02-03"), "code": coded(LOINC, code), "category": [coded(CATEGORY, kind)]}
        for code, kind in codes_.items()
    ]
    folder, out = write(tmp_path / "in", [*resources(), *given]), tmp_path / "first"
    assert main(["mapping", "profile", str(folder), "--out", str(out)]) == 0
    lines = {line.split()[0]: line.split("  ")[-1] for line in capsys.readouterr().out.splitlines() if "-" in line}
    assert [lines[code] for code in codes_] == [
        "left: KCCQ-12 questionnaire",
        "WTDIFDIA (extended: not of CDISC)",
        "TOBACCO",
        "none: to be filled",
        "left: Tumor marker without its name: no term of LBTESTCD",
    ]
    assert [row["value"] for row in rows(out / "codes/LOINCVS+.csv")] == ["99999-9"]
    assert rows(out / "codes/LOINCLB+.csv") == []


def test_the_views_that_a_profile_writes_can_be_used(tmp_path: Path) -> None:
    given, out = write(tmp_path / "in", resources()[:-1]), tmp_path / "first"
    assert main(["mapping", "profile", str(given), "--out", str(out)]) == 0
    (out / "enrolment.csv").write_text("patient,STUDYID,SUBJID\np1,S,1\n")
    drugs = out / "codes/STUDYDRUG.csv"
    drugs.write_text(drugs.read_text().replace("999,,", "999,DRUG A,"))
    command = ["convert", str(given), "--to", "records", "--views", str(out), "--out", str(tmp_path / "out")]
    assert main(command) == 0
    assert {path.stem for path in (tmp_path / "out/records").iterdir()} == {"dose", "lab", "patient", "vital"}


def test_a_past_event_that_is_noted_during_the_study_is_history(tmp_path: Path) -> None:
    found = [
        {"resourceType": "Condition", "id": name, "subject": {"reference": "Patient/p1"}, "code": coded(SCT, code)}
        for name, code in (("past", "428251008"), ("new", "74400008"), ("social", "160701002"))
    ]
    given = [*resources()[:-1], *({**each, "onsetDateTime": "2026-02-10T15:00:00Z"} for each in found)]
    views, folder, out = study(tmp_path / "study"), write(tmp_path / "in", given), tmp_path / "out"
    command = ["convert", str(folder), "--to", "sdtm", "--views", str(views), "--source", "ehr", "--format", "csv"]
    assert main([*command, "--out", str(out)]) == 1  # no AEDECOD
    assert [(row["MHSPID"], row["MHSTDTC"]) for row in rows(out / "sdtm/mh.csv")] == [
        ("past", "2026-02-10T10:00:00-05:00")
    ]
    assert [row["AESPID"] for row in rows(out / "sdtm/ae.csv")] == ["new"]


def test_a_study_drug_needs_no_form(tmp_path: Path) -> None:
    views, given, out = study(tmp_path / "study"), write(tmp_path / "in", resources()[:-1]), tmp_path / "out"
    (views / "codes/STUDYDRUG.csv").write_text("value,code,form\n999,DRUG A,\n")
    command = ["convert", str(given), "--to", "sdtm", "--views", str(views), "--source", "ehr", "--format", "csv"]
    assert main([*command, "--out", str(out)]) == 0
    assert [(row["EXSPID"], row["EXTRT"], row.get("EXDOSFRM", "")) for row in rows(out / "sdtm/ex.csv")] == [
        ("d1", "DRUG A", ""),
        ("d2", "DRUG A", ""),
    ]


@pytest.mark.parametrize("name", sorted(path.name for path in (shipped() / "views").iterdir()))
@pytest.mark.parametrize("given", ["export", "types", "odd"])
def test_no_shipped_view_ends_in_a_bug(tmp_path: Path, name: str, given: str) -> None:
    kinds = [{"resourceType": kind, "id": "x"} for kind in sorted(resource_types("R4"))]
    odd: list[Any] = [None, [], [[None]], {}, {"coding": "x"}, {"reference": 7}, 1e5, "x"]
    names = ("component", "code", "subject", "category", "status", "identifier", "contained", "event", "period")
    broken = [{**lab(f"o{at}", "Patient/p1", "2026"), each: value} for each in names for at, value in enumerate(odd)]
    folder = write(tmp_path / "in", {"export": resources(), "types": kinds, "odd": broken}[given])
    command = ["convert", str(folder), "--to", "records", "--views", name, "--out", str(tmp_path / "out")]
    assert main(command) in (0, 1, 3)
    counts = json.loads((tmp_path / "out/manifest.json").read_text())["tables"].values()
    assert all(
        each["rows_in"] == sum(value for key, value in each.items() if key not in ("rows_in", "derived"))
        for each in counts
    )


@pytest.mark.parametrize("views", ["us-core", "vulcan-ae"])
def test_a_gender_without_term_and_several_races_lose_nothing(
    tmp_path: Path, views: str, capsys: pytest.CaptureFixture[str]
) -> None:
    url = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-race"
    races = [{"url": "ombCategory", "valueCoding": {"system": "urn:oid:2", "code": code}} for code in RACES]
    given = write(
        tmp_path / "in",
        [
            patient("p1", gender="other", extension=[{"url": url, "extension": races}]),
            patient("p2", gender="unknown", extension=[{"url": url, "extension": races[:1]}]),
        ],
    )
    (tmp_path / "enrolment.csv").write_text("patient,STUDYID,SUBJID,SITEID\np1,S,1,01\np2,S,2,01\n")
    source = "ehr" if views == "us-core" else views
    command = ["convert", str(given), "--to", "sdtm", "--views", views, "--source", source, "--format", "csv"]
    out = tmp_path / "out"
    assert main([*command, "--enrolment", str(tmp_path / "enrolment.csv"), "--out", str(out)]) == 1
    assert [(row["SEX"], row["RACE"]) for row in rows(out / "sdtm/dm.csv")] == [("", "MULTIPLE"), ("U", "WHITE")]
    assert {(row["QNAM"], row["QVAL"]) for row in rows(out / "sdtm/suppdm.csv")} == {
        ("GENDER", "other"),
        ("RACE1", "WHITE"),
        ("RACE2", "ASIAN"),
    }
    assert "FS264 all.ndjson:1:gender" in capsys.readouterr().err


def test_a_ph_has_no_unit_in_sdtm(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    acid = lab("l1", "Patient/p1", "2026-02-03", code=coded(LOINC, "5803-2", "pH of Urine"))
    acid["valueQuantity"] = {"value": 6.5, "system": "http://unitsofmeasure.org", "code": "[pH]"}
    views, given, out = study(tmp_path / "study"), write(tmp_path / "in", [patient("p1"), acid]), tmp_path / "out"
    command = ["convert", str(given), "--to", "sdtm", "--views", str(views), "--source", "ehr", "--format", "csv"]
    assert main([*command, "--out", str(out)]) == 0
    (row,) = rows(out / "sdtm/lb.csv")
    assert (row["LBTESTCD"], row["LBORRES"], row["LBORRESU"]) == ("PH", "6.5", "")
    assert not (out / "sdtm/supplb.csv").exists()
    assert "lab: 1 cell empty by `missing:`" in capsys.readouterr().out


@pytest.mark.slow
def test_the_definitions_name_the_ehr_as_origin(tmp_path: Path) -> None:
    views, given, out = study(tmp_path / "study"), write(tmp_path / "in", resources()[:-1]), tmp_path / "out"
    command = ["convert", str(given), "--to", "sdtm", "--views", str(views), "--format", "csv", "--define", "--guide"]
    assert main([*command, "--out", str(out)]) in (0, 1)  # the source mappings are found by the names of the views
    define = (out / "sdtm/define.xml").read_text()
    assert "EHR lab: unit, range_unit" in define
    assert "FHIR of an EHR" in define
    assert "Form lab" not in define
    assert any("FHIR of an EHR" in path.read_text() for path in out.rglob("*.md"))


@pytest.mark.parametrize(("formats", "left"), [(["csv"], 1), (["csv", "parquet"], 1), (["parquet"], 2)])
def test_a_record_that_csv_cannot_hold_stops_no_other(tmp_path: Path, formats: list[str], left: int) -> None:
    odd = {**lab("l2", "Patient/p1", "2026-02-02T15:00:00Z"), "code": coded(LOINC, "718-7", "=1+1")}
    given = write(tmp_path / "in", [patient("p1"), lab("l1", "Patient/p1", "2026-02-02T15:00:00Z"), odd])
    views, out = study(tmp_path / "study"), tmp_path / "out"
    (views / "mine.yaml").write_text("view: lab\nof: Observation\ncolumns:\n  id: id\n  name: code.coding.display\n")
    command = ["convert", str(given), "--to", "records", "--views", str(views), "--out", str(out), "--format", *formats]
    assert main(command) == (3 if left == 1 else 0)
    counts = json.loads((out / "manifest.json").read_text())["tables"]["lab"]
    assert (counts["rows_in"], counts["rows_out"], counts["quarantined"]) == (2, left, 2 - left)
    assert ("FS111" in codes(out)) == (left == 1)
    if "csv" in formats:
        assert [row["id"] for row in rows(out / "records/lab.csv")] == ["l1"]


def test_a_profile_names_what_it_does_not_count(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = write(tmp_path / "in", [patient("p1")])
    whole = (given / "all.ndjson").read_bytes()
    (given / "all.ndjson").write_bytes(whole + b'{"resourceType":"Patient","id":"\xe9"}\n{"id":"x"}\n')
    assert main(["mapping", "profile", str(given)]) == 3
    printed = capsys.readouterr().out
    assert "1 resource of 1 patient" in printed
    assert "not read: FS401 all.ndjson:2" in printed and "not read: FS410 all.ndjson:3" in printed
    (given / "all.ndjson").write_bytes(b'{"resourceType":"Patient","id":"\xe9"}\n')
    assert main(["mapping", "profile", str(given), "--out", str(tmp_path / "out")]) == 2
    assert not (tmp_path / "out").exists()
