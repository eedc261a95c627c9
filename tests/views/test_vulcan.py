"""Adverse events by Vulcan's guide, R5 and its twin for R4, give the same rows of AE."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from fhirspace.cli import main
from tests.views.ehr import coded, patient, write

NCIT, MEDDRA = "http://ncicb.nci.nih.gov/xml/owl/EVS/Thesaurus.owl", "https://www.meddra.org"
THO = "http://terminology.hl7.org/CodeSystem"


def event(guide: str) -> dict[str, Any]:
    """What both releases have."""
    base = f"http://hl7.org/fhir/uv/{guide}/StructureDefinition"
    criterion = [
        {"url": "criterionCode", "valueCodeableConcept": coded(NCIT, "C83052")},
        {"url": "criterionPresent", "valueBoolean": True},
    ]
    return {
        "resourceType": "AdverseEvent",
        "id": "a1",
        "actuality": "actual",
        "subject": {"reference": "Patient/p1"},
        "recordedDate": "2026-03-02",
        "extension": [
            {"url": f"{base}/ae-grade", "valueCodeableConcept": coded(NCIT, "C41340")},
            {"url": f"{base}/seriousness-criteria", "extension": criterion},
        ],
    }


def r4() -> dict[str, Any]:
    made = event("ae-research-backport-ig")
    base = "http://hl7.org/fhir/uv/ae-research-backport-ig/StructureDefinition"
    item = [{"url": "item", "valueCodeableConcept": coded(NCIT, "C49502")}]
    made["extension"] += [
        {"url": f"{base}/resolve-date", "valueDateTime": "2026-03-05"},
        {"url": f"{base}/mitigating-action", "extension": item},
    ]
    cause = {"assessment": coded(f"{THO}/adverse-event-causality-assess", "Possible")}
    return made | {
        "event": coded(MEDDRA, "10019211", "Headache"),
        "date": "2026-03-01",
        "seriousness": coded(f"{THO}/adverse-event-seriousness", "Serious"),
        "outcome": coded(f"{THO}/adverse-event-outcome", "resolved"),
        "suspectEntity": [{"instance": {"display": "drug"}, "causality": [cause]}],
    }


def r5() -> dict[str, Any]:
    cause = {"entityRelatedness": coded(f"{THO}/adverse-event-causality-assess", "possible")}
    return event("ae-research-ig") | {
        "status": "completed",
        "code": coded(MEDDRA, "10019211", "Headache"),
        "occurrencePeriod": {"start": "2026-03-01", "end": "2026-03-05"},
        "seriousness": coded(f"{THO}/adverse-event-seriousness", "serious"),
        "outcome": [coded(NCIT, "C49498")],
        "suspectEntity": [{"instanceCodeableConcept": {"text": "drug"}, "causality": cause}],
        "mitigatingAction": [{"itemCodeableConcept": coded(NCIT, "C49502")}],
    }


@pytest.mark.parametrize(("release", "given"), [("R4", r4()), ("R5", r5())])
def test_both_releases_give_the_same_row(tmp_path: Path, release: str, given: dict[str, Any]) -> None:
    (tmp_path / "enrolment.csv").write_text("patient,STUDYID,SUBJID,SITEID\np1,V,1,01\n")
    folder = write(tmp_path / "in", [patient("p1"), given])
    command = [
        "convert",
        str(folder),
        "--to",
        "sdtm",
        "--views",
        "vulcan-ae",
        "--source",
        "vulcan-ae",
        "--fhir",
        release,
    ]
    command += ["--enrolment", str(tmp_path / "enrolment.csv"), "--format", "csv", "--out", str(tmp_path / "out")]
    assert main(command) in (0, 1)
    with (tmp_path / "out/sdtm/ae.csv").open(newline="") as stream:
        (row,) = csv.DictReader(stream)
    assert {name: row[name] for name in row if row[name] and name not in ("STUDYID", "DOMAIN", "USUBJID", "AESEQ")} == {
        "AESPID": "a1",
        "AETERM": "Headache",
        "AEDECOD": "Headache",
        "AESER": "Y",
        "AEACN": "DRUG WITHDRAWN",
        "AEREL": "POSSIBLY RELATED",
        "AEOUT": "RECOVERED/RESOLVED",
        "AESHOSP": "Y",
        "AETOXGR": "3",
        "AEDTC": "2026-03-02",
        "AESTDTC": "2026-03-01",
        "AEENDTC": "2026-03-05",
    }


@pytest.mark.parametrize(
    ("causes", "expected"),
    [
        (("Possible", "Possible"), ("POSSIBLY RELATED", [])),
        (("Possible", "Unlikely"), ("", [("AEREL1", "POSSIBLY RELATED"), ("AEREL2", "UNLIKELY RELATED")])),
    ],
)
def test_the_relation_to_one_of_several_drugs_is_not_taken_by_chance(
    tmp_path: Path, causes: tuple[str, str], expected: tuple[str, list[tuple[str, str]]]
) -> None:
    given = r4()
    system = f"{THO}/adverse-event-causality-assess"
    given["suspectEntity"] = [
        {"instance": {"display": f"drug {at}"}, "causality": [{"assessment": coded(system, cause)}]}
        for at, cause in enumerate(causes)
    ]
    (tmp_path / "enrolment.csv").write_text("patient,STUDYID,SUBJID,SITEID\np1,V,1,01\n")
    folder, out = write(tmp_path / "in", [patient("p1"), given]), tmp_path / "out"
    command = ["convert", str(folder), "--to", "sdtm", "--views", "vulcan-ae", "--source", "vulcan-ae"]
    command += ["--enrolment", str(tmp_path / "enrolment.csv"), "--format", "csv", "--out", str(out)]
    assert main(command) in (0, 1)
    with (out / "sdtm/ae.csv").open(newline="") as stream:
        (row,) = csv.DictReader(stream)
    with (out / "sdtm/suppae.csv").open(newline="") as stream:
        qualifiers = [(each["QNAM"], each["QVAL"]) for each in csv.DictReader(stream)]
    assert (row["AEREL"], [each for each in qualifiers if each[0].startswith("AEREL")]) == expected
