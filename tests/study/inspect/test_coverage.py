"""What part of SDTM has an element, an extension, or is carried: variables of the guide, and cells of a package."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from fhirspace.cli import main
from fhirspace.errors import InputError
from fhirspace.mapping.library import Library
from fhirspace.standards import sdtm
from fhirspace.study.inspect import coverage, mappings as views

LIBRARY = Library("R4")


@pytest.mark.slow
def test_every_dataset_of_the_guide_has_a_file():
    listed = {entry["dataset"]: entry["file"] for entry in views.list()[0]["datasets"]}
    own = [name for name in sdtm.domains() if name != "SUPPQUAL"]
    assert len(own) == 62
    assert {name: listed.get(name) for name in own} == {name: f"{name.lower()}.yaml" for name in own}


@pytest.mark.parametrize("release", ["R4", "R4B", "R5"])
def test_every_variable_of_the_guide_has_a_place_or_a_reason(release):
    found = coverage.total(Library(release))
    assert found["variables"] == 1917
    assert found["without"] == 0
    assert found["native"] > 900 and found["carried"] < 250
    assert found["native"] + found["standard extension"] + found["ours"] + found["carried"] == 1917


def test_what_is_carried_on_purpose_has_a_reason():
    data, text = views.coverage()
    assert [
        (entry["dataset"], name) for entry in data["datasets"] for name, why in entry["reasons"].items() if not why
    ] == []
    assert {name for entry in data["datasets"] for name in entry["reasons"]} >= {"EPOCH", "LBDY", "AEPATT"}
    for entry in data["datasets"]:
        assert sum(entry["kinds"].values()) == entry["variables"]
    assert "SDTMIG   1,917" in text


def test_the_kind_of_a_variable_is_that_of_its_best_place():
    LIBRARY.complete()
    lb, vs, ae = (coverage.variables(LIBRARY, name) for name in ("LB", "VS", "AE"))
    assert [lb[name] for name in ("LBORRES", "LBSTRESN", "LBDY", "DOMAIN")] == ["native", "ours", "carried", "native"]
    assert vs["VSPOS"] == "standard extension"
    assert ae["AETOXGR"] == "standard extension"
    assert coverage.variables(LIBRARY, "DS")["DSTERM"] in ("native", "ours")
    assert coverage.variables(LIBRARY, "SUPPAE")["QVAL"] == "ours"


def package(folder: Path) -> Path:
    rows = [
        ["STUDYID", "DOMAIN", "USUBJID", "VSSEQ", "VSTESTCD", "VSORRES", "VSDTC", "VSDY", "VSMINE"],
        ["S", "VS", "S-1", "1", "PULSE", "60", "2024-01-01", "1", ""],
        ["S", "VS", "S-1", "2", "PULSE", "61", "2024-01-01T10:30", "1", "x"],
    ]
    with (folder / "vs.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows(rows)
    return folder


def test_cells_are_counted_by_what_gives_them_back(tmp_path):
    (found,) = coverage.cells(LIBRARY, [package(tmp_path)])
    # 2 x STUDYID DOMAIN USUBJID VSSEQ VSTESTCD VSORRES, and the date without a time
    assert found == {
        "dataset": "VS", "cells": 17, "native": 13, "standard extension": 0, "ours": 0, "carried": 4, "without": 0,
    }  # fmt: skip


def test_the_command_counts_cells(tmp_path, capsys):
    assert main(["mapping", "coverage", "VS", "--data", str(package(tmp_path)), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert [entry["cells"] for entry in data["cells"]] == [17]
    assert "total" not in data
    assert main(["mapping", "coverage", "VS", "--data", str(tmp_path)]) == 0
    assert "all" in capsys.readouterr().out


def test_a_folder_without_datasets_is_refused(tmp_path):
    (tmp_path / "x.csv").write_text("A,B\n1,2\n", "utf-8")
    with pytest.raises(InputError):
        coverage.cells(LIBRARY, [tmp_path])
