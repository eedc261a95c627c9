"""Profiles of a small guide: what conforms passes, what does not is found; beside HL7's validator where it can run."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
from msgspec.json import encode

from fhirspace.fhir.validation.check import Checker, judged as findings_of
from fhirspace.fhir.validation.structures.packages import load
from fhirspace.fhir.validation.structures.registry import Registry
from fhirspace.json import parse
from fhirspace.standards.fhir import definitions
from tests.fhir.validation import guide
from tests.fhir.validation.conftest import TWINS, Judged

LEAST = 0.95
"""The share of what HL7's validator refuses that our check has to find."""


@pytest.fixture(scope="module")
def checker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checker]:
    folder = guide.written(tmp_path_factory.mktemp("guide"))
    yield Checker(definitions("R4"), Registry.of("R4", load(folder)), full=False)


def _set(resource: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy with a value at a path (``component.0.code``); None removes it."""
    made = copy.deepcopy(resource)
    *steps, last = (int(step) if step.isdecimal() else step for step in path.split("."))
    holder: Any = made
    for step in steps:
        holder = holder[step]
    if value is None:
        del holder[last]
    else:
        holder[last] = value
    return made


LABORATORY = guide.RIGHT_PANEL["category"][0]
OTHER_COMPONENT = {"code": {"coding": [{"system": guide.LOINC, "code": "1-8"}]}, "valueString": "x"}
WRONG_TYPE = {"code": guide.REMARK["code"], "valueInteger": 1}
BROKEN: list[tuple[str, dict[str, Any], str, Any, str]] = [
    ("slice by value missing", guide.RIGHT_PERSON, "identifier.0.system", "http://e.org/x", "identifier"),
    ("slice by value twice", guide.RIGHT_PERSON, "identifier.1.system", f"{guide.OWN}subjects", "identifier"),
    ("text too long", guide.RIGHT_PERSON, "identifier.0.value", "123456789", "identifier[0].value"),
    ("member of a slice missing", guide.RIGHT_PERSON, "identifier.0.value", None, "identifier[0].value"),
    ("element missing", guide.RIGHT_PERSON, "gender", None, "gender"),
    ("inner element missing", guide.RIGHT_PERSON, "name.0.family", None, "name[0].family"),
    ("element twice", guide.RIGHT_PERSON, "name", [{"family": "A"}, {"family": "B"}], "name"),
    ("element that must not be", guide.RIGHT_PERSON, "contact", [{"name": {"text": "x"}}], "contact"),
    ("extension missing", guide.RIGHT_PANEL, "extension", None, "extension"),
    ("code that an extension has not", guide.RIGHT_PANEL, "extension.0.valueCode", "other", "extension[0].valueCode"),
    ("slice by pattern missing", guide.RIGHT_PANEL, "category.0.coding.0.code", "imaging", "category"),
    ("slice by pattern twice", guide.RIGHT_PANEL, "category.1", LABORATORY, "category"),
    ("pattern", guide.RIGHT_PANEL, "code.coding.0.code", "1-8", "code"),
    ("target", guide.RIGHT_PANEL, "subject.reference", "Device/1", "subject.reference"),
    ("code of no value set", guide.RIGHT_PANEL, "interpretation.0.coding.0.code", "bogus", "interpretation[0]"),
    ("too many", guide.RIGHT_PANEL, "interpretation", guide.RIGHT_PANEL["interpretation"] * 2, "interpretation"),
    ("invariant", guide.RIGHT_PANEL, "method", None, ""),
    ("closed", guide.RIGHT_PANEL, "component.1", OTHER_COMPONENT, "component[1]"),
    ("order", guide.RIGHT_PANEL, "component", [guide.REMARK, guide.SODIUM], "component"),
    ("required slice", guide.RIGHT_PANEL, "component", [guide.REMARK], "component"),
    ("fixed", guide.RIGHT_PANEL, "component.0.valueQuantity.code", "mg/dL", "component[0].valueQuantity.code"),
    ("fixed value missing", guide.RIGHT_PANEL, "component.0.valueQuantity.code", None, "component[0].valueQuantity"),
    ("type in a slice", guide.RIGHT_PANEL, "component.1", WRONG_TYPE, "component[1].valueInteger"),
]


def test_what_conforms_passes(checker: Checker) -> None:
    assert [found for each in guide.RIGHT for found in findings_of(parse(encode(each)), checker)] == []


@pytest.mark.parametrize("broken", BROKEN, ids=[each[0] for each in BROKEN])
def test_what_does_not_conform_is_found(broken: tuple[str, dict[str, Any], str, Any, str], checker: Checker) -> None:
    _, right, path, value, where = broken
    found = findings_of(parse(encode(_set(right, path, value))), checker)
    prefix = right["resourceType"] + (f".{where}" if where else "")
    assert any(each[0].startswith(prefix) for each in found), found


@pytest.mark.server
@pytest.mark.slow
def test_what_hl7s_validator_refuses_is_found(checker: Checker, judged: dict[str, Judged]) -> None:
    seed, right, refused = judged["guide"]
    assert right == []
    missed = [change for change, line in refused if not findings_of(parse(line), checker)]
    assert len(refused) > TWINS / 2
    assert len(missed) <= len(refused) * (1 - LEAST), f"seed {seed}: {missed}"
