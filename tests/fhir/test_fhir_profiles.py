"""The StructureDefinitions of our own extensions are right by the standard they are written for."""

import json

import pytest

from fhirspace.fhir.validation.check import check
from fhirspace.fhir.validation.profiles import extension_definition
from fhirspace.standards.fhir import RELEASES, Release


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize(
    ("value", "many"),
    [("string", False), (["Coding", "dateTime"], True), ({"variable": "code", "text": ["string", "decimal"]}, False)],
)
def test_a_definition_is_right(
    release: Release, value: str | list[str] | dict[str, str | list[str]], many: bool
) -> None:
    made = extension_definition(
        "carried-cell", ["Observation", "Patient"], value, "A cell.", release=release, many=many
    )
    assert check(made, release) == []
    assert made["name"] == "CarriedCell"
    assert made["differential"]["element"][0]["max"] == ("*" if many else "1")
    ids = [element["id"] for element in made["differential"]["element"]]
    assert len(ids) == len(set(ids))


def test_parts_are_slices_with_a_fixed_name() -> None:
    made = extension_definition("carried", "Element", {"A": "string"}, "Cells.")
    elements = {element["id"]: element for element in made["differential"]["element"]}
    assert elements["Extension.extension:A.url"]["fixedUri"] == "A"
    assert elements["Extension.extension:A.value[x]"]["type"] == [{"code": "string"}]
    assert elements["Extension.value[x]"]["max"] == "0"
    assert elements["Extension.url"]["fixedUri"] == made["url"]


def test_a_definition_is_what_fhir_resources_takes() -> None:
    models = pytest.importorskip("fhir.resources.R4B.structuredefinition")
    made = extension_definition("carried", "Element", {"A": "string"}, "Cells.")
    assert models.StructureDefinition.model_validate_json(json.dumps(made)).url == made["url"]


@pytest.mark.parametrize("value", ["integer64", "Nothing", [], {"A": "Observation"}])
def test_a_type_that_no_extension_can_have_is_refused(value: str | list[str] | dict[str, str]) -> None:
    with pytest.raises(ValueError, match="R4 extension"):
        extension_definition("x", "Element", value, "X.")
