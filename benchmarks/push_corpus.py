"""Resources for the benchmark of delivery: valid R4, small, varied, the same for each contender but for their ids.

Twenty resources a subject: Patient, Encounter, Condition, MedicationStatement and sixteen Observations, the last of
which names the others as its members.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

Resource = dict[str, Any]

TYPES = ("Patient", "Encounter", "Condition", "MedicationStatement", "Observation")
"""In an order in which targets of references come first, for those who send by the file."""

# name, LOINC, unit, UCUM, low, high, decimals
_TESTS = [
    ("Hemoglobin", "718-7", "g/L", "g/L", 120, 175, 0),
    ("Leukocytes", "6690-2", "10*9/L", "10*9/L", 4, 11, 2),
    ("Platelets", "777-3", "10*9/L", "10*9/L", 150, 400, 0),
    ("Alanine aminotransferase", "1742-6", "U/L", "U/L", 7, 56, 0),
    ("Bilirubin", "14631-6", "umol/L", "umol/L", 3, 21, 1),
    ("Creatinine", "14682-9", "umol/L", "umol/L", 60, 110, 1),
    ("Glucose", "14749-6", "mmol/L", "mmol/L", 4, 6, 2),
    ("Potassium", "2823-3", "mmol/L", "mmol/L", 3, 5, 2),
]
_TERMS = ["Headache", "Nausea", "Rash", "Fatigue", "Dizziness", "Cough", "Fever", "Back pain", "Insomnia", "Anaemia"]
_DRUGS = ["Paracetamol", "Ibuprofen", "Omeprazole", "Metformin", "Amlodipine", "Atorvastatin", "Ramipril"]
_OBSERVATIONS = 16
_BEGIN = datetime(2021, 1, 4, 8)


def write(folder: Path, count: int, prefix: str, seed: int = 11) -> None:
    """Write ``fhir/<Type>.ndjson`` with `count` resources whose ids begin with `prefix`; equal but for it each time."""
    (folder / "fhir").mkdir(parents=True)
    with ExitStack() as stack:
        files = {
            kind: stack.enter_context((folder / "fhir" / f"{kind}.ndjson").open("w", encoding="utf-8"))
            for kind in TYPES
        }
        for resource in islice(_resources(prefix, random.Random(seed)), count):
            text = json.dumps(resource, separators=(",", ":"))
            files[resource["resourceType"]].write(text + "\n")


def read(folder: Path) -> Iterator[Resource]:
    """The resources of a folder as a plain loop reads them: decoded, type after type."""
    for kind in TYPES:
        with (folder / "fhir" / f"{kind}.ndjson").open(encoding="utf-8") as lines:
            for line in lines:
                yield json.loads(line)


def bundles(folder: Path, server: str, size: int = 100) -> Iterator[Resource]:
    """The same as transaction bundles of `size`, as they are mostly written."""
    resources = read(folder)
    while chunk := list(islice(resources, size)):
        entries = [
            {
                "fullUrl": f"{server}/{resource['resourceType']}/{resource['id']}",
                "resource": resource,
                "request": {"method": "PUT", "url": f"{resource['resourceType']}/{resource['id']}"},
            }
            for resource in chunk
        ]
        yield {"resourceType": "Bundle", "type": "transaction", "entry": entries}


def _resources(prefix: str, rng: random.Random) -> Iterator[Resource]:
    number = 0
    while True:
        yield from _subject(f"{prefix}-{number:06d}", rng)
        number += 1


def _subject(name: str, rng: random.Random) -> Iterator[Resource]:
    begin = _BEGIN + timedelta(minutes=rng.randrange(900_000))
    subject, encounter = {"reference": f"Patient/{name}"}, {"reference": f"Encounter/{name}"}
    yield {
        "resourceType": "Patient",
        "id": name,
        "identifier": [{"system": "https://example.org/subjects", "value": name}],
        "active": True,
        "gender": rng.choice(["female", "male"]),
        "birthDate": f"{rng.randint(1935, 2004)}-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}",
    }
    yield {
        "resourceType": "Encounter",
        "id": name,
        "status": "finished",
        "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"},
        "subject": subject,
        "period": {"start": _time(begin), "end": _time(begin + timedelta(minutes=rng.randint(20, 300)))},
    }
    yield {
        "resourceType": "Condition",
        "id": name,
        "clinicalStatus": _coded("http://terminology.hl7.org/CodeSystem/condition-clinical", "active"),
        "code": {"text": f"{rng.choice(_TERMS)}, grade {rng.randint(1, 4)}"},
        "subject": subject,
        "encounter": encounter,
        "onsetDateTime": f"{begin:%Y-%m-%d}",
    }
    yield {
        "resourceType": "MedicationStatement",
        "id": name,
        "status": "completed",
        "medicationCodeableConcept": {"text": rng.choice(_DRUGS)},
        "subject": subject,
        "effectivePeriod": {"start": f"{begin:%Y-%m-%d}"},
        "dosage": [{"text": f"{rng.randint(1, 40) * 25} mg"}],
    }
    for number in range(_OBSERVATIONS - 1):
        yield _measured(name, number, begin, rng)
    members = [{"reference": f"Observation/{name}-{number:02d}"} for number in range(_OBSERVATIONS - 1)]
    panel = {"code": {"text": "Laboratory panel"}, "hasMember": members}
    yield {**_observation(name, _OBSERVATIONS - 1, begin), **panel}


def _observation(name: str, number: int, begin: datetime) -> Resource:
    return {
        "resourceType": "Observation",
        "id": f"{name}-{number:02d}",
        "identifier": [{"system": "https://example.org/results", "value": f"{name}-{number:02d}"}],
        "status": "final",
        "category": [_coded("http://terminology.hl7.org/CodeSystem/observation-category", "laboratory")],
        "subject": {"reference": f"Patient/{name}"},
        "encounter": {"reference": f"Encounter/{name}"},
        "effectiveDateTime": _time(begin + timedelta(days=7 * (number // len(_TESTS)))),
    }


def _measured(name: str, number: int, begin: datetime, rng: random.Random) -> Resource:
    test, loinc, unit, ucum, low, high, digits = _TESTS[number % len(_TESTS)]
    quantity = {"unit": unit, "system": "http://unitsofmeasure.org", "code": ucum}
    value = round(abs(rng.gauss((low + high) / 2, (high - low) / 3)), digits)
    return {
        **_observation(name, number, begin),
        "code": {"coding": [{"system": "http://loinc.org", "code": loinc, "display": test}], "text": test},
        "valueQuantity": {"value": value, **quantity},
        "referenceRange": [{"low": {"value": low, **quantity}, "high": {"value": high, **quantity}}],
    }


def _coded(system: str, code: str) -> Resource:
    return {"coding": [{"system": system, "code": code}]}


def _time(when: datetime) -> str:
    return f"{when:%Y-%m-%dT%H:%M:%S}+00:00"
