"""The own check of resources: nothing found in right ones, each fault found at its place."""

import json
from decimal import Decimal
from typing import Any

import pytest

from fhirspace.errors import catalogue
from fhirspace.fhir.validation.check import check, compiled
from fhirspace.fhir.validation.quick import sound
from fhirspace.json import Number, parse
from fhirspace.limits import LIMITS
from fhirspace.standards.fhir import RELEASES, Release
from tests.fhir.fhir_samples import (
    ABSENT,
    ADVERSE_EVENT,
    BIRTH_TIME,
    BUNDLE,
    GOOD,
    MEDICATION_R5,
    OBSERVATION,
    PATIENT,
    Json,
    changed,
)

COMPONENT = OBSERVATION["component"][0]
EXTENSION = {"url": "http://x/y", "valueString": "z"}
NESTED: Json = {
    "resourceType": "Organization",
    "id": "o",
    "name": "O",
    "contained": [{"resourceType": "Location", "id": "l"}],
}


@pytest.mark.parametrize(("release", "resource"), [(name, item) for name in RELEASES for item in GOOD[name]])
def test_nothing_is_found_in_a_right_resource(release: Release, resource: Json) -> None:
    assert check(resource, release) == []
    assert check(parse(json.dumps(resource).encode()), release) == []


FAULTS: list[tuple[Json, str, Any, str, str]] = [
    # resource, path changed, new value, code, path of the finding
    (OBSERVATION, "resourceType", "Obsrvation", "FS410", "resourceType"),
    (OBSERVATION, "resourceType", ABSENT, "FS410", "resourceType"),
    (OBSERVATION, "resourceType", ["Observation"], "FS410", "resourceType"),
    (OBSERVATION, "resourceType", "DomainResource", "FS410", "resourceType"),
    (OBSERVATION, "vlaueString", "x", "FS411", "Observation.vlaueString"),
    (OBSERVATION, "_code", {"id": "x"}, "FS411", "Observation._code"),
    (OBSERVATION, "_cod", {"id": "x"}, "FS411", "Observation._cod"),
    (OBSERVATION, "valueAddress", {"city": "x"}, "FS411", "Observation.valueAddress"),
    (OBSERVATION, "code.resourceType", "CodeableConcept", "FS411", "Observation.code.resourceType"),
    (OBSERVATION, "referenceRange.0.low.comparator", "<", "FS411", "Observation.referenceRange[0].low.comparator"),
    (OBSERVATION, "status", ABSENT, "FS412", "Observation.status"),
    (OBSERVATION, "component.0.code", ABSENT, "FS412", "Observation.component[0].code"),
    (OBSERVATION, "extension.0.url", ABSENT, "FS412", "Observation.extension[0].url"),
    (OBSERVATION, "identifier", OBSERVATION["identifier"][0], "FS414", "Observation.identifier"),
    (OBSERVATION, "code", [OBSERVATION["code"]], "FS414", "Observation.code"),
    (OBSERVATION, "code", "ALT", "FS414", "Observation.code"),
    (OBSERVATION, "status", 1, "FS414", "Observation.status"),
    (OBSERVATION, "status", Number("1"), "FS414", "Observation.status"),
    (OBSERVATION, "id", Number("1"), "FS414", "Observation.id"),
    (OBSERVATION, "id", True, "FS414", "Observation.id"),
    (OBSERVATION, "valueQuantity.value", "5", "FS414", "Observation.valueQuantity.value"),
    (OBSERVATION, "valueQuantity.value", True, "FS414", "Observation.valueQuantity.value"),
    (OBSERVATION, "valueQuantity.value", Number("05"), "FS415", "Observation.valueQuantity.value"),
    (OBSERVATION, "valueQuantity.value", float("inf"), "FS415", "Observation.valueQuantity.value"),
    (PATIENT, "active", "true", "FS414", "Patient.active"),
    (PATIENT, "active", 1, "FS414", "Patient.active"),
    (PATIENT, "multipleBirthInteger", 2**31, "FS415", "Patient.multipleBirthInteger"),
    (PATIENT, "multipleBirthInteger", Number("1.0"), "FS415", "Patient.multipleBirthInteger"),
    (PATIENT, "multipleBirthInteger", Number("1" * 5000), "FS415", "Patient.multipleBirthInteger"),
    (OBSERVATION, "id", "a_1", "FS415", "Observation.id"),
    (OBSERVATION, "effectiveDateTime", "2024-02-29T10:00:00", "FS415", "Observation.effectiveDateTime"),
    (OBSERVATION, "effectiveDateTime", "2023-02-29", "FS415", "Observation.effectiveDateTime"),
    (OBSERVATION, "effectiveDateTime", "2024-1-1", "FS415", "Observation.effectiveDateTime"),
    (OBSERVATION, "component.0.valueString", "a\x00", "FS415", "Observation.component[0].valueString"),
    (OBSERVATION, "component.0.valueString", "a" * (2**20 + 1), "FS415", "Observation.component[0].valueString"),
    (PATIENT, "text.div", "<p>x</p>", "FS415", "Patient.text.div"),
    (OBSERVATION, "valueString", "x", "FS416", "Observation.valueQuantity"),
    (OBSERVATION, "_valueString", {"id": "x"}, "FS416", "Observation.valueQuantity"),
    (OBSERVATION, "status", "finished", "FS417", "Observation.status"),
    (PATIENT, "gender", "F", "FS417", "Patient.gender"),
    (OBSERVATION, "subject.reference", "Encounter/p", "FS418", "Observation.subject.reference"),
    (OBSERVATION, "subject.reference", "http://server/fhir/Encounter/p", "FS418", "Observation.subject.reference"),
    (OBSERVATION, "subject.reference", "p1", "FS418", "Observation.subject.reference"),
    (OBSERVATION, "subject.reference", "Patiant/p1", "FS418", "Observation.subject.reference"),
    (OBSERVATION, "subject.type", "Encounter", "FS418", "Observation.subject.type"),
    (OBSERVATION, "subject.reference", "#p", "FS419", "Observation.subject.reference"),
    (PATIENT, "managingOrganization", ABSENT, "FS419", "Patient.contained[0]"),
    (PATIENT, "contained.0.id", ABSENT, "FS412", "Patient.contained[0].id"),
    (PATIENT, "contained.0", NESTED, "FS419", "Patient.contained[0].contained"),
    (PATIENT, "contained.0.resourceType", "Practitioner", "FS418", "Patient.managingOrganization.reference"),
    (PATIENT, "contained.0", "o", "FS414", "Patient.contained[0]"),
    (OBSERVATION, "code", {}, "FS420", "Observation.code"),
    (OBSERVATION, "code", None, "FS420", "Observation.code"),
    (OBSERVATION, "component", [], "FS420", "Observation.component"),
    (OBSERVATION, "component", [None], "FS420", "Observation.component[0]"),
    (OBSERVATION, "code.text", "", "FS420", "Observation.code.text"),
    (OBSERVATION, "status", "", "FS420", "Observation.status"),
    (PATIENT, "name.0._given", ABSENT, "FS421", "Patient.name[0].given[1]"),
    (PATIENT, "name.0.given", ["A", "B", "C"], "FS421", "Patient.name[0]._given"),
    (PATIENT, "name.0._given", [None, {"value": "x"}], "FS411", "Patient.name[0]._given[1].value"),
    (OBSERVATION, "extension", [{"url": "http://x/y"}], "FS422", "Observation.extension[0]"),
    (OBSERVATION, "extension", [EXTENSION | {"extension": [EXTENSION]}], "FS422", "Observation.extension[0]"),
    (OBSERVATION, "extension", [EXTENSION | {"valueCode": "a"}], "FS416", "Observation.extension[0].valueCode"),
    (BUNDLE, "entry.1.resource.gender", "F", "FS417", "Bundle.entry[1].resource.gender"),
    (BUNDLE, "entry.1.resource", "x", "FS414", "Bundle.entry[1].resource"),
]  # fmt: skip


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found_at_its_place(release: Release, fault: tuple[Json, str, Any, str, str]) -> None:
    resource, path, value, code, place = fault
    found = check(changed(resource, path, value), release)
    assert (place, code) in [(item[0], item[1]) for item in found]
    assert all(item[1] in catalogue() for item in found)


DAY = {"system": "http://hl7.org/fhir/days-of-week", "code": "mon"}
APPOINTMENT: Json = {
    "resourceType": "Appointment",
    "status": "proposed",
    "participant": [{"status": "accepted", "actor": {"display": "x"}}],
    "recurrenceTemplate": [{
        "recurrenceType": {"text": "monthly"},
        "monthlyTemplate": {"monthInterval": 1, "dayOfWeek": DAY},
    }],
}  # fmt: skip
CITIZEN = "http://hl7.org/fhir/StructureDefinition/patient-citizenship"
CODE_PART = {"url": "code", "valueCodeableConcept": {"text": "x"}}
RELEASE_FAULTS: list[tuple[Release, Json, str, Any, str, str]] = [
    ("R4", ADVERSE_EVENT, "severity.coding.0.code", "MILD", "FS417", "severity"),
    ("R4", ADVERSE_EVENT, "severity.coding.0.system", "http://x", "FS417", "severity"),
    ("R4", ADVERSE_EVENT, "severity", {"text": "mild"}, "FS417", "severity"),
    ("R4", OBSERVATION, "subject.reference", "Practitioner/p", "FS418", "subject.reference"),
    ("R4", PATIENT, "_birthDate.extension.0", {"url": BIRTH_TIME, "valueDate": "1970"}, "FS423",
     "_birthDate.extension[0].valueDate"),
    ("R4", PATIENT, "extension", [{"url": CITIZEN, "extension": [EXTENSION | {"url": "cod"}]}], "FS423",
     "extension[0].extension[0].url"),
    ("R5", APPOINTMENT, "recurrenceTemplate.0.monthlyTemplate.dayOfWeek.code", "monday", "FS417",
     "recurrenceTemplate[0].monthlyTemplate.dayOfWeek"),
    ("R4", PATIENT, "extension", [{"url": CITIZEN, "valueString": "x"}], "FS423", "extension[0].value[x]"),
    ("R5", MEDICATION_R5, "medication.reference.reference", "Patient/p", "FS418", "medication.reference.reference"),
    ("R5", MEDICATION_R5, "occurenceDateTime", ABSENT, "FS412", "occurence[x]"),
    ("R5", OBSERVATION, "effectiveDateTime", "2024+01:00", "FS415", "effectiveDateTime"),
]  # fmt: skip


@pytest.mark.parametrize("fault", RELEASE_FAULTS)
def test_a_fault_against_one_release_is_found(fault: tuple[Release, Json, str, Any, str, str]) -> None:
    release, resource, path, value, code, place = fault
    found = check(changed(resource, path, value), release)
    assert (f"{resource['resourceType']}.{place}", code) in [(item[0], item[1]) for item in found]


def test_releases_differ_in_what_an_observation_is_about() -> None:
    resource = changed(OBSERVATION, "subject.reference", "Practitioner/p")
    assert check(resource, "R4") != []
    assert check(resource, "R4B") == []


@pytest.mark.parametrize(
    ("text", "right"), [("9223372036854775807", True), ("9223372036854775808", False), ("1" * 30, False)]
)
def test_r5_writes_long_integers_as_strings(text: str, right: bool) -> None:
    found = check(changed(PATIENT, "extension", [{"url": "http://x/y", "valueInteger64": text}]), "R5")
    assert [item[:2] for item in found] == ([] if right else [("Patient.extension[0].valueInteger64", "FS415")])


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("subject", {"display": "somebody"}),
        ("subject.reference", "urn:uuid:c757873d-ec9a-4326-a141-556f43239520"),
        ("subject.reference", "https://server.org/fhir/Patient/p1/_history/2"),
        ("subject.reference", "https://server.org/anything"),
        ("subject.reference", "Patient?identifier=x|y"),
        ("status", ABSENT),
        ("valueQuantity.value", Number("5.50")),
        ("valueQuantity.value", Decimal("5.50")),
        ("valueQuantity.value", 5.5),
        ("valueQuantity.value", 1e-7),
        ("code.text", "\u00b5g/l \U0001f600"),
    ],
)
def test_what_the_standard_allows_is_not_refused(path: str, value: Any) -> None:
    resource = OBSERVATION if value is not ABSENT else OBSERVATION | {"_status": {"extension": [EXTENSION]}}
    assert check(changed(resource, path, value), "R4") == []


@pytest.mark.parametrize(
    ("release", "resource"),
    [
        ("R5", APPOINTMENT),
        ("R4", changed(PATIENT, "photo", [{"contentType": "image/png", "url": "http://x/y"}])),
        ("R4", changed(PATIENT, "extension", [{"url": CITIZEN, "extension": [CODE_PART]}])),
        ("R4", changed(OBSERVATION, "code.text", "a" * 100)),
    ],
)
def test_further_right_resources_pass(release: Release, resource: Json) -> None:
    assert check(resource, release) == []


def test_a_code_under_a_required_binding_may_stand_beside_others() -> None:
    mild = ADVERSE_EVENT["severity"]["coding"][0]
    local = {"system": "http://local", "code": "1"}
    assert check(changed(ADVERSE_EVENT, "severity.coding", [local, mild]), "R4") == []
    assert check(changed(ADVERSE_EVENT, "severity", {"extension": [EXTENSION]}), "R4") == []


def test_a_contained_resource_may_refer_to_its_container_instead() -> None:
    device = {
        "resourceType": "DeviceMetric",
        "id": "d",
        "type": {"text": "x"},
        "category": "setting",
        "source": {"reference": "#"},
    }
    resource = {"resourceType": "Device", "contained": [device]}
    assert check(resource, "R4") == []


def test_an_address_uses_a_contained_resource_too() -> None:
    resource = {
        "resourceType": "Questionnaire",
        "status": "active",
        "contained": [{"resourceType": "ValueSet", "id": "v", "status": "active"}],
        "item": [{"linkId": "1", "type": "choice", "answerValueSet": "#v"}],
    }
    assert check(resource, "R4") == []
    assert [item[1] for item in check(changed(resource, "item.0.answerValueSet", "http://v"), "R4")] == ["FS419"]


@pytest.mark.parametrize("release", RELEASES)
def test_every_element_of_a_release_has_a_check(release: Release) -> None:
    checker = compiled(release)
    todo, seen = sorted(checker.definitions.resources), set[str]()
    while todo:
        key = todo.pop()
        if key not in seen:
            seen.add(key)
            children = checker.definitions.children(key)
            assert all(checker.object(key).member(name) is not None for name in children)
            todo += [child.children_path for child in children.values()]
    assert len(seen) > 600


def test_no_object_is_no_resource() -> None:
    assert [item[1] for item in check(["x"], "R4")] == ["FS414"]


def test_depth_is_bounded() -> None:
    extension: Json = {"url": "http://x/y", "valueString": "z"}
    for _ in range((LIMITS["json-depth"].most or 0) + 5):
        extension = {"url": "http://x/y", "extension": [extension]}
    assert {item[1] for item in check(changed(OBSERVATION, "extension", [extension]), "R4")} == {"FS403"}


def test_no_finding_repeats_a_value() -> None:
    canary = "C4N4RY"
    for resource, path, _, _, _ in FAULTS:
        for value in (canary, [canary], {"reference": canary}, {"url": canary}):
            assert canary not in str(check(changed(resource, path, value), "R4")), path


def test_the_short_way_accepts_what_the_full_way_accepts() -> None:
    line = json.dumps(OBSERVATION, separators=(",", ":")).encode()
    assert sound(line, "R4")
    assert sound(line, "R4"), "a second time, from memory"
    assert sound(line.replace(b'"value":5', b'"value":5.50'), "R4")


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if not isinstance(fault[2], float | Number)])
def test_the_short_way_accepts_no_fault(fault: tuple[Json, str, Any, str, str]) -> None:
    resource, path, value, _, _ = fault
    assert not sound(json.dumps(changed(resource, path, value), separators=(",", ":")).encode(), "R4")


@pytest.mark.parametrize(
    "line",
    [
        b'{"resourceType":"Basic","code":{"text":"a"},"code":{"text":"a"}}',
        b'{"resourceType":"Basic","resourceType":"Basic","code":{"text":"a"}}',
        b'{"resourceType":"Basic","code":{"text":"a","text":"b"}}',
        b'{"resourceType":"Basic","code":{"text":NaN}}',
        b'{"resourceType":"Basic","code":{"text":"\xff"}}',
        b'{"resourceType":"Basic","code":{"text":"\\ud800"}}',
        b'{"resourceType":"Basic","code":{"text":"a"},"subject":{"reference":"#a"}}',
        b'{"resourceType":"Basic","code":{"text":"a"}',
        b'{"code":{"text":"a"}}',
        b"[]",
        b"",
    ],
)
def test_the_short_way_leaves_what_is_doubtful_to_the_full_way(line: bytes) -> None:
    assert sound(b'{"resourceType":"Basic","code":{"text":"a"}}', "R4")
    assert not sound(line, "R4")
