"""A small EHR export for tests of views: resources of two enrolled patients and one who is not in the study."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

LOINC, SCT, RXNORM = "http://loinc.org", "http://snomed.info/sct", "http://www.nlm.nih.gov/research/umls/rxnorm"
CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"
MRN = "http://hospital.example/mrn"

ENROLMENT = """patient,STUDYID,SUBJID,SITEID,COUNTRY,consent,participation end,ARMCD,ARM
p1,EHR9,001,10,USA,2026-01-05,2026-06-30,A,Drug A
http://hospital.example/mrn|222,EHR9,002,10,USA,2026-01-10,2026-06-30,A,Drug A
"""
VISITS = "VISITNUM,VISIT,from day,to day\n1,SCREENING,-28,-1\n2,TREATMENT,1,7\n3,WEEK 4,22,35\n"


def common(views: str) -> str:
    """The common.yaml of a study that extends some views: its zone, subjects, visits and first day."""
    return f"""
extends: {views}
zone: America/New_York
subjects: enrolment.csv
visits: visits.csv
day one: {{least: dose.start}}
"""


COMMON = common("us-core")
DRUG = "value,code,form\n999,DRUG A,TABLET\n"


def coded(system: str, code: str, text: str = "") -> dict[str, Any]:
    """A CodeableConcept."""
    return {"coding": [{"system": system, "code": code, "display": text or code}], "text": text or code}


def patient(name: str, **more: Any) -> dict[str, Any]:
    """A Patient."""
    return {"resourceType": "Patient", "id": name, "gender": "female", "birthDate": "1980-02-03", **more}


def lab(name: str, who: str, when: str, **more: Any) -> dict[str, Any]:
    """A laboratory Observation of a reference to a patient."""
    return {
        "resourceType": "Observation",
        "id": name,
        "status": "final",
        "category": [coded(CATEGORY, "laboratory")],
        "code": coded(LOINC, "718-7", "Hemoglobin"),
        "subject": {"reference": who},
        "effectiveDateTime": when,
        "valueQuantity": {"value": 12.5, "unit": "g/dL", "system": "http://unitsofmeasure.org", "code": "g/dL"},
        **more,
    }


def dose(name: str, who: str, when: str) -> dict[str, Any]:
    """A dose of the study drug."""
    return {
        "resourceType": "MedicationAdministration",
        "id": name,
        "status": "completed",
        "medicationCodeableConcept": coded(RXNORM, "999", "Drug A 5 MG"),
        "subject": {"reference": who},
        "effectiveDateTime": when,
    }


def resources() -> list[dict[str, Any]]:
    """All resources: both patients have a dose, so that study days can be counted."""
    pressure = {
        **lab("bp", "Patient/p1", "2026-02-03T15:00:00Z"),
        "category": [coded(CATEGORY, "vital-signs")],
        "code": coded(LOINC, "85354-9", "Blood pressure panel"),
        "component": [
            {"code": coded(LOINC, code), "valueQuantity": {"value": value, "code": "mm[Hg]"}}
            for code, value in (("8480-6", 120), ("8462-4", 80))
        ],
    }
    del pressure["valueQuantity"]
    return [
        patient("p1"),
        patient("p2", identifier=[{"system": MRN, "value": "222"}]),
        patient("p3"),
        dose("d1", "Patient/p1", "2026-02-02T03:30:00Z"),  # the day before in New York
        dose("d2", "Patient/p2", "2026-02-02T15:00:00Z"),
        lab("l1", "Patient/p1", "2026-01-20T15:00:00Z"),
        lab("l2", "Patient/p1", "2026-02-02T15:00:00Z"),
        lab("l3", "Patient/p2", "2026-02-03T15:00:00Z", status="entered-in-error"),
        lab("l4", "Patient/p3", "2026-02-03T15:00:00Z"),
        lab("l5", "Patient/p2", "2027-02-03T15:00:00Z"),
        pressure,
        {"resourceType": "Claim", "id": "c1"},
        {"resourceType": "Basic", "id": "b1", "code": {"text": "x"}},
    ]


def write(folder: Path, given: Iterable[dict[str, Any]], name: str = "all.ndjson") -> Path:
    """The resources as a file of a folder, which is given back."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("".join(json.dumps(each) + "\n" for each in given))
    return folder


def study(folder: Path, common: str = COMMON) -> Path:
    """A folder with the views of a study."""
    (folder / "codes").mkdir(parents=True, exist_ok=True)
    (folder / "common.yaml").write_text(common)
    (folder / "enrolment.csv").write_text(ENROLMENT)
    (folder / "visits.csv").write_text(VISITS)
    (folder / "codes" / "STUDYDRUG.csv").write_text(DRUG)
    return folder
