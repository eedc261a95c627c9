"""Resources of the shapes that records of hospitals have: profiles of US Core, of which some are not known here,
references by query, extensions for race, notes in base64, bills with many items. They are right in R4.
"""

from __future__ import annotations

import base64
from typing import Any

from tests.fhir.validation.right import DIV, TEXT

Json = dict[str, Any]
HL7 = "http://hl7.org/fhir/StructureDefinition/"
US_CORE = "http://hl7.org/fhir/us/core/StructureDefinition/"
TERMS = "http://terminology.hl7.org/CodeSystem/"
PATIENT: Json = {"reference": "Patient/47e6f7c1-d198-5367-08f0-f11a17a711a4", "display": "Mr. Clay3 Jami8"}
VISIT: Json = {"reference": "Encounter/32433953-658e-25e1-7ace-aad6d0af05a7"}
BY_QUERY: Json = {"reference": "Practitioner?identifier=http://hl7.org/fhir/sid/us-npi|9999957894", "display": "Dr. K"}
PERIOD: Json = {"start": "2015-08-13T16:14:21+00:00", "end": "2015-08-13T16:45:54+00:00"}
MONEY: Json = {"value": 1.5, "currency": "USD"}
NOTE = base64.b64encode(b"\n2015-08-13\n\n# Chief Complaint\n- Thirst\n- Fatigue\n").decode()


def _made(kind: str, *profiles: str, **members: Any) -> Json:
    meta = {"meta": {"profile": list(profiles)}} if profiles else {}
    return {"resourceType": kind, "id": "0ed66ac5-b82a-721d-cebd-6f1df65b2e56", **meta, **members}


def _coded(system: str, code: str, display: str = "") -> Json:
    named = {"display": display} if display else {}
    return {"coding": [{"system": system, "code": code, **named}], **({"text": display} if display else {})}


def _of_vitals(*profiles: str, **members: Any) -> Json:
    return _made(
        "Observation",
        *profiles,
        status="final",
        category=[_coded(f"{TERMS}observation-category", "vital-signs")],
        subject={"reference": PATIENT["reference"]},
        encounter=VISIT,
        effectiveDateTime="2016-08-18T16:14:21+00:00",
        issued="2016-08-18T16:14:21.127+00:00",
        **members,
    )


def _amount(value: float, unit: str) -> Json:
    return {"value": value, "unit": unit, "system": "http://unitsofmeasure.org", "code": unit}


def _us(name: str, code: str, system: str) -> Json:
    coding = {"url": "ombCategory", "valueCoding": {"system": system, "code": code, "display": "White"}}
    return {"url": f"{US_CORE}us-core-{name}", "extension": [coding, {"url": "text", "valueString": "White"}]}


def _item(number: int) -> Json:
    return {
        "sequence": number,
        "productOrService": _coded("http://snomed.info/sct", f"16267300{number}", "Visit"),
        "servicedPeriod": PERIOD,
        "locationCodeableConcept": _coded(f"{TERMS}ex-serviceplace", "21", "Inpatient"),
        "net": {"value": 129.16 + number, "currency": "USD"},
    }


def _paid(number: int) -> Json:
    kinds = ("coinsurance", "submitted", "allowed")
    paid = [{"category": _coded("https://example.org/paid", kind), "amount": MONEY} for kind in kinds]
    return {**_item(number), "adjudication": paid}


_REPORT: Json = {
    "status": "final",
    "category": [_coded("http://loinc.org", "34117-2", "History")],
    "code": _coded("http://loinc.org", "34117-2", "History"),
    "subject": PATIENT,
    "encounter": VISIT,
    "effectiveDateTime": "2015-08-13T16:14:21+00:00",
    "issued": "2015-08-13T16:14:21.127+00:00",
    "performer": [BY_QUERY],
    "presentedForm": [{"contentType": "text/plain; charset=utf-8", "data": NOTE}],
}
_WEIGHT: Json = {"code": _coded("http://loinc.org", "29463-7", "Body Weight"), "valueQuantity": _amount(86.1, "kg")}
_PRESSURE: Json = {
    "code": _coded("http://loinc.org", "85354-9", "Blood pressure"),
    "component": [
        {"code": _coded("http://loinc.org", code), "valueQuantity": _amount(value, "mm[Hg]")}
        for code, value in (("8480-6", 120), ("8462-4", 80))
    ],
}

RESOURCES: list[Json] = [
    _of_vitals(f"{US_CORE}us-core-body-weight", **_WEIGHT),
    _of_vitals(f"{HL7}bodyweight", **_WEIGHT),
    _of_vitals(f"{HL7}bodyweight|4.0.1", f"{US_CORE}us-core-body-weight|6.1.0", **_WEIGHT),
    _of_vitals(f"{US_CORE}us-core-blood-pressure", f"{HL7}bp", f"{HL7}vitalsigns", **_PRESSURE),
    _of_vitals(**_PRESSURE),
    _made(
        "Patient",
        f"{US_CORE}us-core-patient",
        text={"status": "generated", "div": DIV},
        extension=[
            _us("race", "2106-3", "urn:oid:2.16.840.1.113883.6.238"),
            _us("ethnicity", "2186-5", "urn:oid:2.16.840.1.113883.6.238"),
            {"url": f"{HL7}patient-mothersMaidenName", "valueString": "Ann5 Ott2"},
            {"url": f"{US_CORE}us-core-birthsex", "valueCode": "F"},
            {"url": "http://synthetichealth.github.io/synthea/quality-adjusted-life-years", "valueDecimal": 39.71},
        ],
        identifier=[
            {"system": "https://example.org/synthea", "value": "47e6f7c1-d198-5367-08f0-f11a17a711a4"},
            {"type": _coded(f"{TERMS}v2-0203", "MR", "Record"), "system": "http://hospital.example.org", "value": "4"},
        ],
        name=[{"use": "official", "family": "Jami8", "given": ["Clay3"], "prefix": ["Mr."]}],
        telecom=[{"system": "phone", "value": "555-481-5823", "use": "home"}],
        gender="female",
        birthDate="1972-01-20",
        address=[
            {
                "extension": [
                    {
                        "url": f"{HL7}geolocation",
                        "extension": [
                            {"url": "latitude", "valueDecimal": 42.2},
                            {"url": "longitude", "valueDecimal": -72.1},
                        ],
                    }
                ],
                "line": ["1 Main St"],
                "city": "Ware",
                "country": "US",
            }
        ],
        multipleBirthBoolean=False,
    ),
    _made(
        "Encounter",
        f"{US_CORE}us-core-encounter",
        identifier=[{"use": "official", "system": "https://example.org/synthea", "value": "24b896ae-9497"}],
        status="finished",
        **{"class": {"system": f"{TERMS}v3-ActCode", "code": "AMB"}},
        type=[_coded("http://snomed.info/sct", "162673000", "General examination")],
        subject=PATIENT,
        participant=[
            {
                "type": [_coded(f"{TERMS}v3-ParticipationType", "PPRF", "primary performer")],
                "period": PERIOD,
                "individual": BY_QUERY,
            }
        ],
        period=PERIOD,
        location=[{"location": {"reference": "Location?identifier=https://example.org/x|3a17", "display": "WARE"}}],
    ),
    _made(
        "Condition",
        f"{US_CORE}us-core-condition-encounter-diagnosis",
        clinicalStatus=_coded(f"{TERMS}condition-clinical", "resolved"),
        verificationStatus=_coded(f"{TERMS}condition-ver-status", "confirmed"),
        category=[_coded(f"{TERMS}condition-category", "encounter-diagnosis")],
        code=_coded("http://snomed.info/sct", "314529007", "Review due"),
        subject=PATIENT,
        encounter=VISIT,
        onsetDateTime="2012-07-26T16:14:21+00:00",
        abatementDateTime="2018-08-30T16:14:21+00:00",
        recordedDate="2012-07-26T16:14:21+00:00",
    ),
    _made("DiagnosticReport", f"{US_CORE}us-core-diagnosticreport-note", **_REPORT),
    _made("DiagnosticReport", **{**_REPORT, "text": TEXT, "result": [{"reference": "Observation/1", "display": "K"}]}),
    _made(
        "DocumentReference",
        f"{US_CORE}us-core-documentreference",
        status="superseded",
        type=_REPORT["code"],
        date="2015-08-13T16:14:21.127+00:00",
        content=[{"attachment": _REPORT["presentedForm"][0]}],
        context={"encounter": [VISIT], "period": PERIOD},
    ),
    _made(
        "Claim",
        status="active",
        type=_coded(f"{TERMS}claim-type", "institutional"),
        use="claim",
        patient=PATIENT,
        billablePeriod=PERIOD,
        created="2015-08-13T16:45:54+00:00",
        provider={"reference": "Organization?identifier=https://example.org/synthea|a332", "display": "WARE"},
        priority=_coded(f"{TERMS}processpriority", "normal"),
        insurance=[{"sequence": 1, "focal": True, "coverage": {"display": "Humana"}}],
        item=[{**_item(number), "encounter": [VISIT]} for number in (1, 2)],
        total={"value": 0.45, "currency": "USD"},
    ),
    _made(
        "ExplanationOfBenefit",
        contained=[
            {
                "resourceType": "Coverage",
                "id": "coverage",
                "status": "active",
                "beneficiary": PATIENT,
                "payor": [{"display": "Humana"}],
            }
        ],
        status="active",
        type=_coded(f"{TERMS}claim-type", "professional"),
        use="claim",
        patient=PATIENT,
        billablePeriod=PERIOD,
        created="2015-08-13T16:45:54+00:00",
        insurer={"display": "Humana"},
        provider=BY_QUERY,
        outcome="complete",
        insurance=[{"focal": True, "coverage": {"reference": "#coverage", "display": "Humana"}}],
        item=[_paid(number) for number in (1, 2, 3)],
        total=[{"category": _coded(f"{TERMS}adjudication", "submitted"), "amount": {"value": 9.7, "currency": "USD"}}],
        payment={"amount": {"value": 89.328, "currency": "USD"}},
    ),
    _made(
        "MedicationRequest",
        f"{US_CORE}us-core-medicationrequest",
        status="stopped",
        intent="order",
        medicationCodeableConcept=_coded("http://www.nlm.nih.gov/research/umls/rxnorm", "310798", "Hydro 25 MG"),
        subject=PATIENT,
        authoredOn="2015-08-13T16:14:21+00:00",
        requester=BY_QUERY,
        dosageInstruction=[
            {
                "sequence": 1,
                "timing": {"repeat": {"frequency": 1, "period": 1.0, "periodUnit": "d"}},
                "asNeededBoolean": False,
                "doseAndRate": [
                    {"type": _coded(f"{TERMS}dose-rate-type", "ordered"), "doseQuantity": {"value": 1.0}},
                ],
            }
        ],
    ),
    _made(
        "Procedure",
        f"{US_CORE}us-core-procedure",
        status="completed",
        code=_coded("http://snomed.info/sct", "430193006", "Reconciliation"),
        subject=PATIENT,
        performedPeriod=PERIOD,
        reasonReference=[{"reference": "Condition/529b2c64", "display": "Normal pregnancy"}],
    ),
]
