"""Addresses: what they read, and what is refused with a hint."""

from __future__ import annotations

from typing import Any

import pytest

from fhirspace.json import parse
from fhirspace.views.notation.address import AddressError, ShapeError, address_of, reader
from fhirspace.views.notation.check import WrongAddressError, checked

OBSERVATION = parse(
    b"""{"resourceType": "Observation", "status": "final",
    "code": {"coding": [{"system": "http://loinc.org", "code": "718-7"}, {"system": "http://x", "code": "HB"},
                        {"system": "http://loinc.org", "code": "718-7", "display": "again"}], "text": "Hb"},
    "valueQuantity": {"comparator": "<", "value": 0.50, "code": "g/dL"},
    "subject": {"reference": "Patient/p1"}, "performer": [{"identifier": {"system": "s", "value": "7"}}],
    "referenceRange": [{"low": {"value": 1.0}}, {"low": {"value": 2}}],
    "_effectiveDateTime": {"extension": [{"url": "http://why", "valueCode": "unknown"}]},
    "extension": [{"url": "http://a", "valueBoolean": true}, {"url": "http://b b", "valueString": "two words"}]}"""
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("status", ["final"]),
        ("code.text", ["Hb"]),
        ("code.coding.code", ["718-7", "HB"]),
        ("code.coding[system=http://loinc.org].code", ["718-7"]),
        ("code.coding[system=http://loinc.org, display=again].display", ["again"]),
        ("code.coding[system=http://loinc.org][display=again].code", ["718-7"]),
        ("valueQuantity.value", ["0.50"]),
        ("valueQuantity", ["<0.50"]),
        ("referenceRange.low.value", ["1.0", "2"]),
        ("_effectiveDateTime.extension[url=http://why].valueCode", ["unknown"]),
        ("extension[url=http://a].valueBoolean", ["true"]),
        ("extension[url='http://b b'].valueString", ["two words"]),
        ("subject -> Patient.gender", ["Patient/p1"]),
        ("code.coding", ["http://loinc.org|718-7", "http://x|HB"]),
        ("valueString", []),
        ("component.code.text", []),
    ],
)
def test_an_address_reads_all_values_once(text: str, expected: list[str]) -> None:
    address, _ = checked(address_of(text), "Observation", "R4")
    assert reader(address.alternatives[0])(OBSERVATION) == expected


def test_a_reference_without_a_literal_one_is_its_identifier() -> None:
    address, _ = checked(address_of("performer -> Organization.name"), "Observation", "R4")
    assert reader(address.alternatives[0])(OBSERVATION) == ["?identifier=s|7"]


@pytest.mark.parametrize("value", [{"status": {"code": "final"}}, {"status": [["final"]]}])
def test_an_object_where_a_text_belongs_is_a_fault(value: dict[str, Any]) -> None:
    with pytest.raises(ShapeError, match="status"):
        reader(address_of("status").alternatives[0])(value)


@pytest.mark.parametrize(
    "text", ["", "code..text", "code.coding[system].code", "a | ", "-", "x -> y", "x <- y", "code.coding[a=b"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(AddressError):
        address_of(text)


@pytest.mark.parametrize(
    ("text", "code", "hint"),
    [
        ("code.txt", "FS371", "text"),
        ("value", "FS371", "valueQuantity"),
        ("code.coding[sistem=x].code", "FS371", "system"),
        ("code", "FS372", "text"),
        ("code -> Patient.id", "FS372", "Reference"),
        ("subject -> Organization.name", "FS371", "Patient"),
        ("subject -> Pacient.id", "FS371", "Patient"),
        ("result <- DiagnosticReprt.id", "FS371", "DiagnosticReport"),
        ("specimen <- DiagnosticReport.id", "FS371", "Specimen"),
        ("code <- DiagnosticReport.id", "FS372", "Reference"),
        ("result <- DiagnosticReport.code", "FS372", "text"),
        ("section.entry <- Composition.section.focus -> Patient.id", "FS370", "arrow"),
        ("result <- DiagnosticReport.^id", "FS370", "arrow"),
        ("^status", "FS370", "each"),
        ("effectivePeroid.start | effectiveDateTime", "FS371", "effectivePeriod"),
    ],
)
def test_an_address_that_no_release_has_is_refused_with_what_would_fit(text: str, code: str, hint: str) -> None:
    with pytest.raises(WrongAddressError) as caught:
        checked(address_of(text), "Observation", "R4")
    assert caught.value.code == code
    assert hint in caught.value.expected


def test_an_alternative_of_another_release_is_left_out() -> None:
    address = address_of("event.text | code.text")
    assert [str(way) for way in checked(address, "AdverseEvent", "R4")[0].alternatives] == ["event.text"]
    assert [str(way) for way in checked(address, "AdverseEvent", "R5")[0].alternatives] == ["code.text"]
    with pytest.raises(WrongAddressError):
        checked(address_of("event.text"), "AdverseEvent", "R5")


@pytest.mark.parametrize(("text", "timed"), [("effectiveDateTime", True), ("issued", True), ("status", False)])
def test_a_value_with_a_time_of_day_is_known_by_its_type(text: str, timed: bool) -> None:
    assert checked(address_of(text), "Observation", "R4")[1] is timed
