"""What a hospital's software looks for in the resources: codes, references and extensions where it expects them."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest

from fhirspace.idkey import DEMO_KEY
from fhirspace.mapping.library import Library
from fhirspace.mapping.read.reader import Collector, Reader
from fhirspace.mapping.write.render import render
from fhirspace.standards.fhir import Release

BOTH: tuple[Release, ...] = ("R4", "R5")
SUBJECT = {"STUDYID": "S", "USUBJID": "S-1", "_STATUS": "on-study"}
VISIT = {"VISITNUM": "2", "VISIT": "WEEK 2", "_has_SV_USUBJID_VISITNUM": "Y"}
SNOMED, NCIT = "http://snomed.info/sct", "http://ncicb.nci.nih.gov/xml/owl/EVS/Thesaurus.owl"
US_CORE = "http://hl7.org/fhir/us/core/StructureDefinition"


@cache
def library(release: Release) -> Library:
    found = Library(release, key=DEMO_KEY)
    found.complete()
    return found


def made(release: Release, domain: str, **cells: str) -> dict[str, Any]:
    """The resources of a row, by type."""
    return {kind: json.loads(text) for kind, text in render(library(release).mappings[domain], SUBJECT | cells) if kind}


def rows(release: Release, resource: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    lib = library(release)
    collector = Collector(lib)
    for batch in Reader(lib).read([(1, json.dumps(resource).encode())], "x.ndjson"):
        assert not batch.unmapped
        collector.add(batch)
    return {name: table.to_pylist() for name, table in collector.tables().items()}


def test_race_and_ethnicity_are_where_us_core_looks():
    patient = made("R4", "DM", SUBJID="1", RACE="ASIAN", ETHNIC="NOT HISPANIC OR LATINO")["Patient"]
    race, ethnicity = patient["extension"]
    assert (race["url"], ethnicity["url"]) == (f"{US_CORE}/us-core-race", f"{US_CORE}/us-core-ethnicity")
    assert race["extension"] == [
        {
            "url": "ombCategory",
            "valueCoding": {"system": "urn:oid:2.16.840.1.113883.6.238", "code": "2028-9", "display": "Asian"},
        },
        {"url": "text", "valueString": "ASIAN"},
    ]
    assert ethnicity["extension"][0]["valueCoding"]["code"] == "2186-5"


@pytest.mark.parametrize("race", ["OTHER", "MULTIPLE", "UNKNOWN"])
def test_a_race_outside_the_categories_is_a_text(race):
    (found,) = made("R4", "DM", SUBJID="1", RACE=race)["Patient"]["extension"]
    assert found["extension"] == [{"url": "text", "valueString": race}]


def test_the_race_of_older_output_is_read():
    patient = made("R4", "DM", SUBJID="1")["Patient"]
    old = {
        "coding": [{"system": "urn:oid:2.16.840.1.113883.6.238", "code": "2106-3"}],
        "text": "WHITE",
    }
    patient["extension"] = [{"url": "https://fhirspace.org/StructureDefinition/race", "valueCodeableConcept": old}]
    assert rows("R4", patient)["DM"][0]["RACE"] == "WHITE"


@pytest.mark.parametrize(
    ("domain", "cells", "resource", "element"),
    [
        ("MH", {"MHSEQ": "1", "MHTERM": "x"}, "Condition", "encounter"),
        ("EX", {"EXSEQ": "1", "EXTRT": "x"}, "MedicationAdministration", "context"),
        ("CM", {"CMSEQ": "1", "CMTRT": "x"}, "MedicationStatement", "context"),
    ],
)
def test_the_visit_of_a_record_is_its_encounter(domain, cells, resource, element):
    for release in BOTH:
        name = element if release == "R4" else "encounter"
        found = made(release, domain, **cells, **VISIT)[resource]
        assert found[name]["display"] == "WEEK 2"
        assert found[name]["reference"].endswith("-SV-2")
        without = made(release, domain, **cells, VISITNUM="2", VISIT="WEEK 2")[resource]
        assert name not in without  # SV has no such visit: the cells are carried
        assert "carried" in json.dumps(without)


def test_a_condition_has_severity_and_the_levels_of_meddra():
    cells = {
        "MHSEQ": "1", "MHTERM": "headache", "MHDECOD": "Headache", "MHPTCD": "10019211", "MHLLT": "Head pain",
        "MHSOC": "Nervous system disorders", "MHSEV": "MODERATE",
    }  # fmt: skip
    condition = made("R4", "MH", **cells)["Condition"]
    assert condition["severity"] == {
        "coding": [{"system": SNOMED, "code": "6736007"}, {"system": NCIT, "code": "C41339"}],
        "text": "MODERATE",
    }
    levels = {each["extension"][0]["valueCode"]: each.get("display") for each in condition["code"]["coding"]}
    assert levels == {"PT": "Headache", "LLT": "Head pain", "SOC": "Nervous system disorders"}
    assert condition["code"]["coding"][0]["code"] == "10019211"
    assert "carried" not in json.dumps(condition)
    (row,) = rows("R4", condition)["MH"]
    assert {name: row[name] for name in cells} == cells


def test_the_trial_summary_is_in_elements_of_the_study():
    summary = {
        "TITLE": "T", "TINDTP": "TREATMENT", "TRT": "drug", "SSTDTC": "2024-03", "REGID": "NCT00000000", "OBJPRIM": "o",
        "OBJSEC": "p", "PLANSUB": "300", "ACTSUB": "about 250", "OUTMSPRI": "m",
    }  # fmt: skip
    helpers = {f"_TS_{name}": text for name, text in summary.items()}
    for release in BOTH:
        study = made(release, "DM", SUBJID="1", **helpers)["ResearchStudy"]
        assert study["identifier"][1]["value"] == "NCT00000000"
        assert study["primaryPurposeType"]["coding"][0]["code"] == "treatment"
        assert study["period"] == {"start": "2024-03"}
        assert [(each["name"], each["type"]["coding"][0]["code"]) for each in study["objective"]] == [
            ("o", "primary"),
            ("p", "secondary"),
        ]
    assert study["focus"] == [{"concept": {"text": "drug"}}]
    assert study["recruitment"] == {"targetNumber": 300}
    assert study["outcomeMeasure"][0]["name"] == "m"


def test_limits_and_standardized_values_have_their_units():
    cells = {
        "LBSEQ": "1", "LBTESTCD": "GLUC", "LBTEST": "Glucose", "LBORRES": "5", "LBORRESU": "mmol/L", "LBORNRLO": "4",
        "LBSTRESC": "90", "LBSTRESN": "90", "LBSTRESU": "mg/dL",
    }  # fmt: skip
    observation = made("R4", "LB", **cells)["Observation"]
    unit = {"unit": "mmol/L", "system": "http://unitsofmeasure.org", "code": "mmol/L"}
    assert observation["referenceRange"] == [{"low": {"value": 4} | unit}]
    (standardized,) = (each for each in observation["extension"] if each["url"].endswith("/standardized"))
    assert standardized["extension"][1]["valueQuantity"]["code"] == "mg/dL"


def test_a_pulse_is_a_heart_rate():
    cells = {"VSSEQ": "1", "VSTESTCD": "PULSE", "VSORRES": "60", "VSORRESU": "beats/min", "_LOINC": "8867-4"}
    observation = made("R4", "VS", **cells)["Observation"]
    assert observation["valueQuantity"]["code"] == "/min"
    assert observation["valueQuantity"]["unit"] == "beats/min"


@pytest.mark.parametrize("domain", ["EG", "ML"])
def test_a_reason_without_a_status_does_not_cancel_a_finding(domain):
    """FHIR's `cancelled` would come back as NOT DONE, which the row does not say."""
    cells = {f"{domain}SEQ": "1", f"{domain}TESTCD": "A", f"{domain}TRT": "A", f"{domain}REASND": "why"}
    assert made("R4", domain, **cells)["Observation"]["status"] == "final"
