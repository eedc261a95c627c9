"""The StructureDefinitions of our extensions: up to date, valid, and saying what the mappings write."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

from fhirspace.fhir.validation.check import check

_SCRIPT = Path(__file__).parents[2] / "scripts" / "make_profiles.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_profiles", _SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules["make_profiles"] = module
    spec.loader.exec_module(module)
    return module


def test_the_files_are_up_to_date(script: ModuleType) -> None:
    made = dict(script.files())
    assert sorted(made) == sorted(script.TARGET.glob("*.json")), "run scripts/make_profiles.py"
    for path, text in made.items():
        assert path.read_text("utf-8") == text, "run scripts/make_profiles.py"


@pytest.mark.slow
def test_each_is_a_valid_definition(script: ModuleType) -> None:
    from fhir.resources.R4B.structuredefinition import StructureDefinition

    for _, text in script.files():
        assert check(json.loads(text), "R4") == []
        StructureDefinition.model_validate_json(text)


def test_what_a_definition_says(script: ModuleType) -> None:
    made = {path.stem: json.loads(text) for path, text in script.files()}
    standardized = made["standardized"]
    assert [each["expression"] for each in standardized["context"]] == ["Observation"]
    types = {each["id"]: each["type"][0]["code"] for each in standardized["differential"]["element"] if "type" in each}
    assert types["Extension.extension:numeric.value[x]"] == "Quantity"
    assert {each["expression"] for each in made["supplemental"]["context"]} == {"Element"}
    assert made["progress"]["differential"]["element"][0]["max"] == "*"
