"""Resources of R4 and R4B that are right by HL7's validator, rich in data types; the generator of faults breaks them."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]
TERMINOLOGY = "http://terminology.hl7.org/CodeSystem/"
DIV = '<div xmlns="http://www.w3.org/1999/xhtml"><p>Made <b>up</b>.</p></div>'
TEXT: Json = {"status": "generated", "div": DIV}
CODE: Json = {"coding": [{"system": "http://example.org/codes", "code": "a", "display": "A"}], "text": "a"}
PATIENT: Json = {"reference": "Patient/1"}
PERIOD: Json = {"start": "2020-01-01", "end": "2020-02-01"}
QUANTITY: Json = {"value": 5.5, "unit": "mg", "system": "http://unitsofmeasure.org", "code": "mg"}
IDENTIFIER: Json = {"use": "usual", "type": CODE, "system": "http://example.org/ids", "value": "1", "period": PERIOD}


def _resource(kind: str, **members: Any) -> Json:
    return {"resourceType": kind, "id": "a1", "meta": {"versionId": "1"}, "language": "en", "text": TEXT, **members}


def _active(system: str, code: str) -> Json:
    return {"coding": [{"system": TERMINOLOGY + system, "code": code}]}


RIGHT: list[Json] = [
    _resource(
        "Patient",
        identifier=[IDENTIFIER],
        active=True,
        name=[{"use": "official", "family": "A", "given": ["B"], "period": PERIOD}],
        telecom=[{"system": "phone", "value": "1", "use": "home", "rank": 1}],
        gender="female",
        birthDate="1970-03-01",
        _birthDate={
            "extension": [
                {
                    "url": "http://hl7.org/fhir/StructureDefinition/patient-birthTime",
                    "valueDateTime": "1970-03-01T10:00:00Z",
                }
            ]
        },
        address=[{"use": "home", "line": ["C"], "city": "D", "country": "DE"}],
        contact=[{"name": {"text": "E"}}],
        communication=[{"language": {"coding": [{"system": "urn:ietf:bcp:47", "code": "de"}]}, "preferred": True}],
        photo=[{"contentType": "image/png", "data": "QUJD"}],
        managingOrganization={"reference": "Organization/1"},
        link=[{"other": {"reference": "Patient/2"}, "type": "seealso"}],
    ),
    _resource(
        "Observation",
        identifier=[IDENTIFIER],
        status="final",
        category=[_active("observation-category", "laboratory")],
        code=CODE,
        subject=PATIENT,
        effectivePeriod=PERIOD,
        issued="2020-01-01T10:00:00Z",
        performer=[{"reference": "Practitioner/1"}],
        valueQuantity=QUANTITY,
        note=[{"text": "a", "time": "2020-01-01"}],
        referenceRange=[{"low": QUANTITY, "text": "a", "age": {"low": QUANTITY}}],
        component=[{"code": {"text": "b"}, "valueString": "c"}],
        contained=[{"resourceType": "Device", "id": "d", "status": "active"}],
        device={"reference": "#d"},
    ),
    _resource(
        "Condition",
        clinicalStatus=_active("condition-clinical", "active"),
        verificationStatus=_active("condition-ver-status", "confirmed"),
        code=CODE,
        subject=PATIENT,
        onsetAge={"value": 4, "unit": "a", "system": "http://unitsofmeasure.org", "code": "a"},
        evidence=[{"code": [CODE]}],
    ),
    _resource(
        "Encounter",
        status="finished",
        class_={"system": TERMINOLOGY + "v3-ActCode", "code": "AMB"},
        subject=PATIENT,
        period=PERIOD,
        length={"value": 1, "unit": "h", "system": "http://unitsofmeasure.org", "code": "h"},
        participant=[{"individual": {"reference": "Practitioner/1"}, "period": PERIOD}],
    ),
    _resource(
        "Procedure", status="completed", code=CODE, subject=PATIENT, performedDateTime="2020-01-01T10:00:00+02:00"
    ),
    _resource(
        "MedicationRequest",
        status="active",
        intent="order",
        medicationCodeableConcept=CODE,
        subject=PATIENT,
        dosageInstruction=[
            {
                "sequence": 1,
                "text": "a",
                "timing": {"repeat": {"frequency": 1, "period": 1, "periodUnit": "d"}},
                "asNeededBoolean": True,
                "doseAndRate": [
                    {"doseQuantity": QUANTITY, "rateRatio": {"numerator": QUANTITY, "denominator": QUANTITY}}
                ],
            }
        ],
    ),
    _resource(
        "ResearchSubject", status="candidate", period=PERIOD, study={"reference": "ResearchStudy/1"}, individual=PATIENT
    ),
    _resource("ResearchStudy", status="active", title="A", period=PERIOD, arm=[{"name": "B"}]),
    _resource("AdverseEvent", actuality="actual", event=CODE, subject=PATIENT, date="2020-01-01"),
    _resource("Specimen", status="available", type=CODE, subject=PATIENT, collection={"collectedPeriod": PERIOD}),
    _resource("Organization", name="A", telecom=[{"system": "email", "value": "a@example.org"}], active=True),
    _resource(
        "Questionnaire",
        url="http://example.org/q",
        status="draft",
        item=[{"linkId": "1", "type": "string", "text": "a", "maxLength": 5}],
    ),
    _resource("QuestionnaireResponse", status="completed", item=[{"linkId": "1", "answer": [{"valueString": "a"}]}]),
    _resource("DiagnosticReport", status="final", code=CODE, subject=PATIENT, effectiveDateTime="2020"),
    _resource("Invoice", status="issued", totalNet={"value": 5.00, "currency": "EUR"}),
    {
        "resourceType": "Bundle",
        "id": "a1",
        "type": "collection",
        "timestamp": "2020-01-01T10:00:00Z",
        "entry": [
            {
                "fullUrl": "http://example.org/fhir/Organization/o",
                "resource": {"resourceType": "Organization", "id": "o", "text": TEXT, "name": "A"},
            },
            {
                "fullUrl": "urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0",
                "resource": {"resourceType": "Patient", "text": TEXT, "active": True},
            },
        ],
    },
]
for _each in RIGHT:
    if "class_" in _each:
        _each["class"] = _each.pop("class_")
