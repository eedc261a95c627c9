"""Systems of codes where no value set says which: those of FHIR's own exist, and value sets are none; other forms."""

from __future__ import annotations

from typing import Any

import pytest

from fhirspace.fhir.validation.check import check

FHIR = "http://hl7.org/fhir/"
OBSERVATION = {"resourceType": "Observation", "status": "final", "code": {"text": "x"}}


def found(**members: Any) -> list[tuple[str, str]]:
    return [(path.removeprefix("Observation."), code) for path, code, _ in check({**OBSERVATION, **members}, "R4")]


@pytest.mark.parametrize(
    ("system", "right"),
    [
        (FHIR + "administrative-gender", True),
        (FHIR + "administrative-gender/", False),
        (FHIR + "no-such-codes", False),
        (FHIR + "sid/cvx", True),
        (FHIR + "us/core/CodeSystem/of-a-guide", True),
        (FHIR + "ValueSet/observation-codes", False),
        ("http://terminology.hl7.org/ValueSet/v3-ActCode", False),
        ("http://terminology.hl7.org/CodeSystem/of-a-later-release", True),
        ("http://example.org/ValueSet/codes", True),
        (FHIR + "encounter-reason-use", True),  # of R5
    ],
)
def test_a_system_of_fhirs_own_exists_where_any_may_be_used(system: str, right: bool) -> None:
    coding = {"system": system, "code": "male"}
    wrong = [] if right else ["system"]
    assert found(meta={"tag": [coding]}) == [(f"meta.tag[0].{name}", "FS415") for name in wrong]
    amount = {"value": 1, **coding}
    assert found(valueQuantity=amount) == [(f"valueQuantity.{name}", "FS415") for name in wrong]
    extension = [{"url": "http://example.org/e", "valueCoding": coding}]
    assert found(extension=extension) == [(f"extension[0].valueCoding.{name}", "FS415") for name in wrong]
    assert found(code={"coding": [coding]}) == [], "a concept may have it beside others"


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"code": {"coding": [{"system": "http://a.b", "code": "a b"}]}}, []),
        ({"code": {"coding": [{"system": "http://a.b", "code": "a\tb"}]}}, [("code.coding[0].code", "FS415")]),
        ({"code": {"coding": [{"system": "http://a.b", "code": "a\nb"}]}}, [("code.coding[0].code", "FS415")]),
        ({"code": {"coding": [{"system": "http://a.b", "code": "a\u00a0b"}]}}, [("code.coding[0].code", "FS415")]),
        ({"code": {"id": "a_b", "text": "x"}}, []),
        ({"code": {"id": "a b", "text": "x"}}, [("code.id", "FS415")]),
        ({"subject": {"reference": "Patient/1", "type": "Patient"}}, []),
        (
            {"subject": {"reference": "Patient/1", "type": f"{FHIR}StructureDefinition/Patient"}},
            [("subject.type", "FS418")],
        ),
    ],
)
def test_codes_ids_and_types_have_their_forms(members: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    assert found(**members) == expected
