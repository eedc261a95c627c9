"""Small resources written by hand, right in every release they are listed for."""

from copy import deepcopy
from typing import Any

Json = dict[str, Any]

BIRTH_TIME = "http://hl7.org/fhir/StructureDefinition/patient-birthTime"
OBSERVATION: Json = {
    "resourceType": "Observation",
    "id": "a1",
    "meta": {"tag": [{"system": "https://fhirspace.org/study", "code": "S"}]},
    "identifier": [{"system": "https://fhirspace.org/LB", "value": "S-1|1"}],
    "status": "final",
    "category": [{"coding": [{"system": "http://loinc.org", "code": "26436-6"}]}],
    "code": {"coding": [{"system": "http://loinc.org", "code": "1742-6"}], "text": "ALT"},
    "subject": {"reference": "Patient/p1"},
    "effectiveDateTime": "2024-02-29T10:00:00+01:00",
    "valueQuantity": {"value": 5, "comparator": "<", "system": "http://unitsofmeasure.org", "code": "U/L"},
    "referenceRange": [{"low": {"value": 1}, "high": {"value": 40}, "text": "1-40"}],
    "component": [{"code": {"text": "x"}, "valueString": "y", "referenceRange": [{"text": "z"}]}],
    "extension": [{"url": "https://fhirspace.org/x", "extension": [{"url": "A", "valueString": "1"}]}],
}  # fmt: skip
PATIENT: Json = {
    "resourceType": "Patient",
    "id": "p1",
    "contained": [{"resourceType": "Organization", "id": "o", "name": "O"}],
    "name": [{"given": ["A", None], "_given": [None, {"extension": [{"url": "http://x/y", "valueCode": "z"}]}]}],
    "gender": "female",
    "_birthDate": {"extension": [{"url": BIRTH_TIME, "valueDateTime": "1970"}]},
    "managingOrganization": {"reference": "#o"},
    "text": {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">x</div>'},
}  # fmt: skip
ADVERSE_EVENT: Json = {
    "resourceType": "AdverseEvent",
    "actuality": "actual",
    "subject": {"reference": "Patient/p1"},
    "severity": {
        "coding": [{"system": "http://terminology.hl7.org/CodeSystem/adverse-event-severity", "code": "mild"}]
    },
}
ADVERSE_EVENT_R5: Json = {
    "resourceType": "AdverseEvent",
    "status": "completed",
    "actuality": "actual",
    "subject": {"reference": "Patient/p1"},
    "suspectEntity": [{"instanceReference": {"reference": "Medication/m"}}],
}
MEDICATION_R5: Json = {
    "resourceType": "MedicationAdministration",
    "status": "completed",
    "medication": {"reference": {"reference": "Medication/m"}},
    "subject": {"reference": "Patient/p1"},
    "occurenceDateTime": "2024",
}
BUNDLE: Json = {
    "resourceType": "Bundle",
    "type": "collection",
    "entry": [
        {"fullUrl": "urn:uuid:c757873d-ec9a-4326-a141-556f43239520", "resource": OBSERVATION},
        {"fullUrl": "urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0", "resource": PATIENT},
    ],
}
GOOD = {
    "R4": [OBSERVATION, PATIENT, ADVERSE_EVENT, BUNDLE],
    "R4B": [OBSERVATION, PATIENT, ADVERSE_EVENT, BUNDLE],
    "R5": [OBSERVATION, PATIENT, ADVERSE_EVENT_R5, MEDICATION_R5, BUNDLE],
}

ABSENT = object()


def changed(resource: Json, path: str, value: Any) -> Json:
    """A copy with the value at a path (``component.0.code``) replaced, or taken out."""
    copy = deepcopy(resource)
    *way, last = path.split(".")
    place: Any = copy
    for step in way:
        place = place[int(step) if isinstance(place, list) else step]
    key: Any = int(last) if isinstance(place, list) else last
    if value is ABSENT:
        del place[key]
    else:
        place[key] = value
    return copy
