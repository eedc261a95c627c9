"""Faults of resource types: invariants by their keys, and others that a type is known for."""

from __future__ import annotations

from typing import Any

from tests.fhir.validation.fault_objects import CODING_HL7, HL7, SMALL, UCUM, Change, Json, only, put


def vital(
    profile: str, loinc: str, unit: str = "kg", category: str = "vital-signs", code: str = "", **members: Any
) -> Change:
    """An Observation of a vital sign that breaks HL7's profile of it. Args: its name, the code that it wants, faults."""
    content: Json = {
        "status": "final",
        "category": [{"coding": [{"system": CODING_HL7 + "observation-category", "code": category}]}],
        "code": {"coding": [{"system": "http://loinc.org", "code": code or loinc}]},
        "subject": {"reference": "Patient/1"},
        "effectiveDateTime": "2020-01-01",
        "valueQuantity": {"value": 5, "unit": unit, "system": UCUM, "code": unit},
        **members,
    }
    whole = only(
        resourceType="Observation", id="a", **{name: value for name, value in content.items() if value is not None}
    )

    def change(value: Json) -> object:
        whole(value)
        if profile:
            value["meta"] = {"profile": [HL7 + profile]}
        return None

    return change


INVARIANTS: dict[str, dict[str, Change]] = {
    "Observation": {
        "obs-6": put(dataAbsentReason={"text": "a"}, valueString="b", valueQuantity=None, valueCodeableConcept=None),
        "obs-3": put(referenceRange=[{"appliesTo": [{"text": "a"}]}]),
        "category": put(category=[{"coding": [{"system": CODING_HL7 + "observation-category", "code": "vital"}]}]),
        "vital-profile": put(meta={"profile": [HL7 + "bodyweight"]}),
        "bp-profile": put(meta={"profile": [HL7 + "bp"]}, component=None),
        "height-unit": vital("bodyheight", "8302-2", unit="kg"),
        "weight-code": vital("bodyweight", "29463-8", code="1-1"),
        "weight-unit": vital("bodyweight", "29463-8", unit="lb"),
        "weight-category": vital("bodyweight", "29463-8", category="laboratory"),
        "weight-no-subject": vital("bodyweight", "29463-8", subject=None),
        "weight-no-time": vital("bodyweight", "29463-8", effectiveDateTime=None),
        "weight-no-value": vital("bodyweight", "29463-8", valueQuantity=None),
        "heart-unit": vital("heartrate", "8867-4", unit="mm[Hg]"),
        "saturation": vital("oxygensat", "2708-6", unit="mg"),
        "temperature": vital("bodytemp", "8310-5", unit="K"),
        "bp-no-components": vital("bp", "85354-9", valueQuantity=None),
        "bmi": vital("bmi", "39156-5", unit="kg"),
        "weight-by-code": vital("", "29463-8", unit="lb"),
        "vitals-profile": vital("vitalsigns", "1-1", category="laboratory"),
        "two-values": put(valueString="a", valueInteger=1),
        "status": put(status="done"),
        "no-code": put(code=None),
        "component-no-code": put(component=[{"valueString": "a"}]),
    },
    "Condition": {
        "con-4": put(abatementString="a", clinicalStatus=None),
        "con-5": put(
            verificationStatus={
                "coding": [{"system": CODING_HL7 + "condition-ver-status", "code": "entered-in-error"}]
            },
            clinicalStatus={"coding": [{"system": CODING_HL7 + "condition-clinical", "code": "active"}]},
        ),
        "stage": put(stage=[{"type": {"text": "a"}}]),
        "evidence": put(evidence=[{"id": "a"}]),
        "clinical-code": put(
            clinicalStatus={"coding": [{"system": CODING_HL7 + "condition-clinical", "code": "bogus"}]}
        ),
        "clinical-system": put(clinicalStatus={"coding": [{"system": "http://a.b", "code": "active"}]}),
    },
    "Patient": {
        "pat-1": put(contact=[{"gender": "male"}]),
        "gender": put(gender="m"),
        "birth": put(birthDate="1970-02-30"),
        "link": put(link=[{"type": "seealso"}]),
        "two-deceased": put(deceasedBoolean=True, deceasedDateTime="2020"),
        "communication": put(communication=[{"preferred": True}]),
        "marital": put(maritalStatus={"coding": [{"system": CODING_HL7 + "v3-MaritalStatus", "code": "BOGUS"}]}),
    },
    "Organization": {
        "org-1": put(name=None, identifier=None),
        "org-2": put(address=[{"use": "home"}]),
        "org-3": put(telecom=[{"system": "phone", "use": "home", "value": "1"}]),
    },
    "AllergyIntolerance": {
        "ait-1": put(clinicalStatus=None, verificationStatus=None),
        "category": put(category=["bogus"]),
        "reaction": put(reaction=[{"severity": "mild"}]),
    },
    "Encounter": {
        "no-class": put(class_=None),
        "status": put(status="open"),
        "location": put(location=[{"status": "active"}]),
    },
    "Procedure": {
        "status": put(status="done"),
        "no-subject": put(subject=None),
        "performer": put(performer=[{"function": {"text": "a"}}]),
    },
    "MedicationAdministration": {
        "mad-1": put(dosage={"text": "a"}),
        "no-medication": put(medicationReference=None, medicationCodeableConcept=None),
    },
    "MedicationRequest": {"intent": put(intent="bogus"), "no-subject": put(subject=None)},
    "MedicationDispense": {"mdd-1": put(whenPrepared="2020-05-01", whenHandedOver="2020-04-01")},
    "Questionnaire": {
        "que-2": put(
            item=[{"linkId": "1", "type": "string", "text": "a"}, {"linkId": "1", "type": "string", "text": "b"}]
        ),
        "que-1": put(item=[{"linkId": "1", "type": "group", "text": "a"}]),
        "que-6": put(item=[{"linkId": "1", "type": "display", "text": "a", "required": True}]),
        "que-9": put(item=[{"linkId": "1", "type": "display", "text": "a", "readOnly": True}]),
        "que-7": put(
            item=[
                {
                    "linkId": "1",
                    "type": "string",
                    "text": "a",
                    "enableWhen": [{"question": "2", "operator": "exists", "answerString": "a"}],
                }
            ]
        ),
        "que-11": put(
            item=[
                {
                    "linkId": "1",
                    "type": "choice",
                    "text": "a",
                    "answerOption": [{"valueString": "a"}],
                    "initial": [{"valueString": "a"}],
                }
            ]
        ),
        "que-4": put(
            item=[
                {
                    "linkId": "1",
                    "type": "choice",
                    "text": "a",
                    "answerOption": [{"valueString": "a"}],
                    "answerValueSet": "http://a.b",
                }
            ]
        ),
    },
    "QuestionnaireResponse": {
        "qrs-1": put(item=[{"linkId": "1", "answer": [{"valueString": "a"}], "item": [{"linkId": "2"}]}]),
        "status": put(status="done"),
    },
    "Bundle": {
        "bdl-1": lambda value: value.update(type="collection", total=1),
        "bdl-9": put(type="document", identifier=None),
        "bdl-10": put(type="document", timestamp=None),
        "bdl-12": put(type="message", entry=[{"fullUrl": "http://a.b/Patient/inside", "resource": SMALL}]),
        "bdl-7": put(type="collection", entry=[{"fullUrl": "http://a.b/Patient/inside", "resource": SMALL}] * 2),
        "bdl-4": put(
            type="collection",
            entry=[{"fullUrl": "http://a.b/Patient/inside", "resource": SMALL, "response": {"status": "200"}}],
        ),
        "type": put(type="set"),
        "entry-object": put(entry={"resource": SMALL}),
    },
    "List": {
        "lst-2": put(mode="working", entry=[{"item": {"display": "a"}, "deleted": True}]),
        "lst-1": put(emptyReason={"text": "a"}, entry=[{"item": {"display": "a"}}]),
    },
    "Group": {"grp-1": put(actual=False, member=[{"entity": {"reference": "Patient/1"}}])},
    "Task": {
        "inv-1": put(authoredOn="2021-01-01", lastModified="2020-01-01"),
        "restriction": put(restriction={"repetitions": 0}),
    },
    "Goal": {"gol-1": put(target=[{"detailString": "a"}])},
    "CarePlan": {"cpl-3": put(activity=[{"reference": {"reference": "Task/1"}, "detail": {"status": "completed"}}])},
    "Composition": {
        "cmp-1": put(section=[{"title": "a"}]),
        "cmp-2": put(section=[{"emptyReason": {"text": "a"}, "entry": [{"display": "b"}]}]),
    },
    "Immunization": {"imm-1": put(education=[{"publicationDate": "2020"}]), "no-vaccine": put(vaccineCode=None)},
    "FamilyMemberHistory": {
        "fhs-1": put(ageString="a", bornString="b"),
        "fhs-2": put(ageString=None, ageAge=None, ageRange=None, estimatedAge=True),
    },
    "Appointment": {
        "app-2": put(start="2020-01-01T00:00:00Z", end=None),
        "app-1": put(participant=[{"status": "accepted"}]),
    },
    "Consent": {"ppc-1": put(policy=None, policyRule=None)},
    "Location": {"position": put(position={"longitude": 1}), "mode": put(mode="bogus")},
    "ResearchSubject": {
        "status": put(status="bogus"),
        "no-study": put(study=None),
        "period": put(period={"start": "2021", "end": "2020"}),
    },
    "ResearchStudy": {"status": put(status="bogus"), "arm": put(arm=[{"description": "a"}])},
    "Specimen": {
        "status": put(status="bogus"),
        "two": lambda value: value.update(
            collection={"collectedDateTime": "2020", "collectedPeriod": {"start": "2020"}}
        ),
    },
    "Device": {"name": put(deviceName=[{"name": "a"}]), "udi": put(udiCarrier=[{"carrierAIDC": "!"}])},
    "DiagnosticReport": {"status": put(status="done"), "media": put(media=[{"comment": "a"}])},
    "AdverseEvent": {
        "actuality": put(actuality="maybe"),
        "severity": put(severity={"coding": [{"system": "http://a.b", "code": "c"}]}),
    },
}
"""By resource type: invariants by their keys, and other faults that a type is known for."""
