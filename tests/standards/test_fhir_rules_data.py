"""The packaged codes, value sets, profiles and invariants of FHIR."""

from __future__ import annotations

import hashlib
from importlib.resources import files

import pytest

from fhirspace.standards.fhir import RELEASES, Release, definitions
from fhirspace.standards.hl7.structures import ElementRule, reduced, structures
from fhirspace.standards.hl7.terms import terms

THO = "http://terminology.hl7.org/CodeSystem/"


def test_each_packaged_file_has_the_checksum_that_is_listed() -> None:
    data = files("fhirspace.standards").joinpath("data")
    listed = dict(
        line.split()[::-1] for line in data.joinpath("fhir-definitions.sha256").read_text("ascii").splitlines()
    )
    assert listed == {
        each.name: hashlib.sha256(each.read_bytes()).hexdigest()
        for each in data.iterdir()
        if each.name.startswith("fhir-") and each.name.endswith(".gz")
    }


@pytest.mark.parametrize("release", RELEASES)
def test_codes_of_complete_systems_are_known(release: Release) -> None:
    system = terms(release).system(f"{THO}observation-category")
    assert system is not None
    assert system.holds("vital-signs")
    assert not system.holds("bogus")
    assert terms(release).system("http://loinc.org") is None
    assert terms(release).system("http://hl7.org/fhir/administrative-gender") is not None


@pytest.mark.parametrize("release", RELEASES)
def test_value_sets_with_parts_that_are_not_listed_judge_only_the_others(release: Release) -> None:
    known = terms(release)
    units = known.value_set("http://hl7.org/fhir/ValueSet/data-absent-reason|4.0.1")
    assert units is not None
    assert units.listed
    assert units.holds(f"{THO}data-absent-reason", "masked")
    assert units.holds(None, "masked")
    assert units.holds(f"{THO}data-absent-reason", "bogus") is False
    assert units.holds("http://loinc.org", "masked") is False
    country = known.value_set("http://hl7.org/fhir/ValueSet/body-site")
    assert country is not None
    assert country.holds("http://snomed.info/sct", "1") is None
    assert country.holds("http://loinc.org", "1") is False


@pytest.mark.parametrize("release", RELEASES)
def test_bindings_that_are_examples_are_not_extensible(release: Release) -> None:
    element = definitions(release).element("Observation.code")
    assert element.binding is not None
    assert element.binding.strength == "example"


@pytest.mark.parametrize("release", RELEASES)
def test_invariants_are_listed_once_and_where_they_are_declared(release: Release) -> None:
    found = structures(release).invariants()
    where = {key: [path for path, rules in found.items() if key in {rule.key for rule in rules}] for key in ("obs-6",)}
    assert where["obs-6"] == ["Observation"]
    assert [path for path, rules in found.items() if "ele-1" in {rule.key for rule in rules}] == ["Element"]


@pytest.mark.parametrize("release", RELEASES)
def test_profiles_say_what_their_type_does_not(release: Release) -> None:
    weight = structures(release).get("http://hl7.org/fhir/StructureDefinition/bodyweight|4.0.1")
    assert weight is not None
    assert weight.type == "Observation"
    assert any(each.id == "Observation.category:VSCat" and each.min == 1 for each in weight.elements)
    assert not [each for each in weight.elements if each == ElementRule(each.id)]
    assert structures(release).get("http://example.org/x") is None


def test_a_differential_is_reduced_as_well() -> None:
    made = reduced(
        {
            "url": "http://e/x",
            "type": "Patient",
            "baseDefinition": "http://e/base",
            "differential": {
                "element": [
                    {"path": "Patient.active", "fixedBoolean": True, "min": 1},
                    {"path": "Patient.name", "sliceName": "usual", "mustSupport": True},
                ]
            },
        }
    )
    assert not made.whole
    assert [each.id for each in made.elements] == ["Patient.active", "Patient.name:usual"]
    assert made.elements[0].fixed is True
