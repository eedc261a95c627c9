"""A document of the International Patient Summary: a Composition with sections, and the entries that they name."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from fhirspace.cli import main
from tests.views.ehr import CATEGORY, LOINC, SCT, coded

ABSENT = "http://hl7.org/fhir/uv/ips/CodeSystem/absent-unknown-uv-ips"
WHO = {"reference": "urn:uuid:p"}
NOW = {"effectiveDateTime": "2026-02-03T10:00:00+01:00"}
GRAM = {"value": 12.5, "unit": "g/dL", "system": "http://unitsofmeasure.org", "code": "g/dL"}
ENTRIES: dict[str, dict[str, Any]] = {
    "p": {"resourceType": "Patient", "gender": "male", "birthDate": "1970-05-01"},
    "problem": {"resourceType": "Condition", "code": coded(SCT, "38341003", "Hypertension"), "onsetDateTime": "2010"},
    "past": {"resourceType": "Condition", "code": coded(ABSENT, "no-known-problems")},
    "former": {"resourceType": "Condition", "code": coded(SCT, "195967001", "Asthma"), "onsetDateTime": "2026-02-05"},
    "latex": {"resourceType": "AllergyIntolerance", "code": coded(SCT, "111088007", "Latex")},
    "none": {"resourceType": "AllergyIntolerance", "code": coded(ABSENT, "no-known-allergies")},
    "drug": {"resourceType": "Medication", "code": coded("http://www.whocc.no/atc", "C09AA05", "Ramipril")},
    "takes": {"resourceType": "MedicationStatement", "status": "active", "effectivePeriod": {"start": "2015-03"},
              "medicationReference": {"reference": "urn:uuid:drug"},
              "dosage": [{"timing": {"repeat": {"frequency": 1, "period": 1, "periodUnit": "d"}},
                          "doseAndRate": [{"doseQuantity": {"value": 5, "code": "mg"}}]}]},
    "nodrug": {"resourceType": "MedicationStatement", "status": "active",
               "medicationCodeableConcept": coded(ABSENT, "no-known-medications")},
    "ordered": {"resourceType": "MedicationRequest", "status": "active", "intent": "order", "authoredOn": "2026-01-02",
                "medicationReference": {"reference": "urn:uuid:drug"}},
    "shot": {"resourceType": "Immunization", "status": "completed", "occurrenceDateTime": "2025-10-10",
             "vaccineCode": coded("http://hl7.org/fhir/sid/cvx", "140", "Influenza")},
    "noshot": {"resourceType": "Immunization", "status": "completed", "occurrenceDateTime": "2025-10-10",
               "vaccineCode": coded(ABSENT, "no-known-immunizations")},
    "result": {"resourceType": "Observation", "status": "final", "category": [coded(CATEGORY, "laboratory")],
               "code": coded(LOINC, "718-7"), "valueQuantity": GRAM, **NOW},
    "smoking": {"resourceType": "Observation", "status": "final", "category": [coded(CATEGORY, "social-history")],
                "code": coded(LOINC, "72166-2"), "valueCodeableConcept": coded(LOINC, "LA15920-4", "Former smoker"),
                **NOW},
    "smoked": {"resourceType": "Observation", "status": "final", "code": coded(LOINC, "72166-2"),
               "valueCodeableConcept": coded(LOINC, "LA18978-9", "Never smoker"), **NOW},
    "weight": {"resourceType": "Observation", "status": "final", "code": {"text": "Weight"},
               "valueQuantity": {"value": 70, "code": "kg"}, **NOW},
    "op": {"resourceType": "Procedure", "status": "completed", "code": coded(SCT, "80146002", "Appendectomy"),
           "performedDateTime": "2026-02-10"},
    "noop": {"resourceType": "Procedure", "status": "completed", "code": coded(ABSENT, "no-known-procedures")},
    "hip": {"resourceType": "DeviceUseStatement", "status": "active"},
}  # fmt: skip
DATASETS = {
    "cm": [("ordered", "Ramipril"), ("shot", "Influenza"), ("takes", "Ramipril")],
    "mh": [("former", "Asthma"), ("latex", "Latex"), ("problem", "Hypertension")],
    "lb": [("result", "HGB")],
    "pr": [("op", "Appendectomy")],
    "su": [("smoked", "TOBACCO"), ("smoking", "TOBACCO")],
    "vs": [("weight", "WEIGHT")],
}
NAMES = {"cm": "CMTRT", "mh": "MHTERM", "lb": "LBTESTCD", "pr": "PRTRT", "su": "SUTRT", "vs": "VSTESTCD"}


SECTIONS = {"problem": "11450-4", "former": "11348-0", "smoked": "29762-2", "weight": "8716-3"}
"""Their sections decide: a past illness during the participation, and two Observations without a category."""


def document() -> dict[str, Any]:
    """The document: its Composition is the first entry, and each section names its entries."""
    sections = [
        {"title": name, "code": coded(LOINC, SECTIONS.get(name, "x")), "entry": [{"reference": f"urn:uuid:{name}"}]}
        for name in ENTRIES
    ]
    composition: dict[str, Any] = {"resourceType": "Composition", "status": "final", "subject": WHO, "title": "Summary"}
    entries = {"c": {**composition, "section": sections[1:]}, **ENTRIES}
    own: dict[str, dict[str, Any]] = {"Patient": {}, "Medication": {}}
    made = []
    for name, each in entries.items():
        patient = "patient" if each["resourceType"] in ("AllergyIntolerance", "Immunization") else "subject"
        resource = {"id": name, **each, **own.get(each["resourceType"], {patient: WHO})}
        made.append({"fullUrl": f"urn:uuid:{name}", "resource": resource})
    return {"resourceType": "Bundle", "type": "document", "entry": made}


@pytest.mark.slow
def test_the_sections_of_a_summary_are_datasets_and_what_is_absent_makes_no_row(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "summary.json").write_text(json.dumps(document()))
    views, out = tmp_path / "views", tmp_path / "out"
    views.mkdir()
    (views / "common.yaml").write_text("extends: ips\nsubjects: enrolment.csv\n")
    (views / "codes").mkdir()
    (views / "codes" / "LOINCVS+.csv").write_text("value,code,test\nWeight,WEIGHT,Weight\n")
    (views / "enrolment.csv").write_text("patient,STUDYID,SUBJID,consent,ARMCD,ARM\np,S,1,2026-02-01,A,Arm A\n")
    run = ["convert", str(tmp_path / "in"), "--to", "sdtm", "--views", str(views), "--source", "ehr"]
    assert main([*run, "--format", "csv", "--out", str(out)]) in (0, 1)
    for name, expected in DATASETS.items():
        with (out / "sdtm" / f"{name}.csv").open(newline="") as stream:
            found = sorted((row[f"{name.upper()}SPID"], row[NAMES[name]]) for row in csv.DictReader(stream))
        assert found == expected, name
    with (out / "sdtm" / "mh.csv").open(newline="") as stream:
        assert {row["MHSPID"]: row["MHCAT"] for row in csv.DictReader(stream)} == {
            "former": "HISTORY OF PAST ILLNESS",
            "latex": "ALLERGY",
            "problem": "PROBLEM LIST",
        }
    counts = json.loads((out / "manifest.json").read_text())["tables"]
    resources = {name: each for name, each in counts.items() if name in {e["resourceType"] for e in ENTRIES.values()}}
    assert sum(each["rows_in"] for each in resources.values()) == len(ENTRIES)
    assert not any(each.get("not_converted") or each["quarantined"] for each in resources.values())
    problems = [json.loads(line) for line in (out / "problems.ndjson").read_text().splitlines()]
    assert sum("NONEKNOWN" in each["detail"] for each in problems) == 5
