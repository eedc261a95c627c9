import base64
import json
from dataclasses import replace

import pytest

from fhirspace.errors import Place, Problem
from fhirspace.fhir.validation.validate import validate
from fhirspace.idkey import DEMO_KEY
from fhirspace.study.metadata.describe import Metadata, together
from fhirspace.study.metadata.order import Order
from fhirspace.study.metadata.resource import found_in, resource
from fhirspace.tables.description import Column, Description

COLUMNS = (Column("STUDYID", "Study", "Char", 8), Column("AESEQ", "Seq", "Num", 8, "8.2", "F8."), Column("AESTDTC"))
METADATA = Metadata(
    Description("AE", "Adverse Events", COLUMNS), 3, Order("abc", "def"), {"STUDYID": 3, "AESTDTC": 2}, {"AESTDTC": 1}
)
EMPTY = Metadata(Description("AE", "", (Column("A"),)), 0)
PLACE = Place("Library.ndjson", 1)


@pytest.mark.parametrize("metadata", [METADATA, EMPTY])
def test_metadata_come_back(metadata):
    assert found_in(resource("AE", metadata, "S", DEMO_KEY), PLACE) == (
        "AE",
        replace(metadata, description=replace(metadata.description, name="AE")),
    )


@pytest.mark.parametrize("fhir", ["R4", "R4B", "R5"])
def test_it_is_valid(fhir, tmp_path):
    (tmp_path / "Library.ndjson").write_bytes(resource("AE", METADATA, "S", DEMO_KEY))
    assert list(validate([tmp_path], fhir=fhir, full=True)) == []


def test_one_dataset_of_one_study_has_one_id():
    first, second, other = (
        json.loads(resource("AE", each, study, DEMO_KEY))["id"]
        for each, study in ((METADATA, "S"), (EMPTY, "S"), (METADATA, "T"))
    )
    assert first == second != other


@pytest.mark.parametrize(("study", "tagged"), [("S 1", True), ("", False), (" S", False), ("a  b", False)])
def test_the_tag_is_a_code(study, tagged):
    assert ("meta" in json.loads(resource("AE", METADATA, study, DEMO_KEY))) is tagged


def test_other_resources_are_left_alone():
    assert found_in(b'{"resourceType":"Patient","id":"x"}', PLACE) is None
    assert (
        found_in(b'{"resourceType":"Library","identifier":[{"system":"https://fhirspace.org/datasets"}]}', PLACE)
        is None
    )
    assert found_in(b'{"resourceType":"Patient","x":"Library https://fhirspace.org/dataset "Library""', PLACE) is None


def changed(**members):
    content = json.loads(resource("AE", METADATA, "S", DEMO_KEY))
    data = json.loads(base64.b64decode(content["content"][0]["data"]))
    data |= {name: value for name, value in members.items() if name in data}
    content["content"][0]["data"] = base64.b64encode(json.dumps(data).encode()).decode()
    content |= {name: value for name, value in members.items() if name not in data}
    return json.dumps(content).encode()


BAD = {
    "retired": changed(status="retired"),
    "entered in error": changed(status="entered-in-error"),
    "no content": changed(content=[]),
    "no base64": changed(content=[{"data": "?"}]),
    "no JSON": changed(content=[{"data": "AAAA"}]),
    "no dataset": changed(dataset=""),
    "a name of ours": changed(columns=[{"name": "@row"}]),
    "a name that is none": changed(columns=[{"name": "A\n"}]),
    "a column twice": changed(columns=[{"name": "A"}, {"name": "A"}]),
    "a length that is none": changed(columns=[{"name": "A", "length": 0}]),
    "a type that is none": changed(columns=[{"name": "A", "type": "Date"}]),
    "too many rows": changed(rows=10**12),
    "a modifier": changed(modifierExtension=[{"url": "https://example.org/not", "valueBoolean": True}]),
    "rules of others": changed(implicitRules="https://example.org/rules"),
    "more cells than rows": changed(columns=[{"name": "A", "cells": 4}]),
    "more times than cells": changed(columns=[{"name": "A", "cells": 1, "times": 2}]),
    "fewer than no rows": changed(rows=-1),
    "too many columns": changed(columns=[{"name": f"A{at}"} for at in range(10_001)]),
}


@pytest.mark.parametrize("name", BAD)
def test_what_was_changed_is_reported_and_not_used(name):
    found = found_in(BAD[name], PLACE)
    assert isinstance(found, Problem) and found.code == "FS449"


def test_two_studies_have_the_columns_of_both():
    other = Metadata(Description("AE", "Other", (Column("AESEQ"), Column("Y"))), 2)
    both = together(METADATA, other)
    assert [column.name for column in both.description.columns] == ["STUDYID", "AESEQ", "AESTDTC", "Y"]
    assert (both.rows, both.order, both.description.label) == (5, Order("", ""), "Adverse Events")
    assert not both.cells  # nobody counted those of the other study
    counted = together(METADATA, replace(other, cells={"STUDYID": 2, "Y": 1}, times={}))
    assert (counted.cells, counted.times) == ({"STUDYID": 5, "AESTDTC": 2, "Y": 1}, {"AESTDTC": 1})
    assert together(METADATA, METADATA) is METADATA
