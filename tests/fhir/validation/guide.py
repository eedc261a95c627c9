"""A small guide of our own: slices of each kind, extensions, invariants, bindings; and resources that conform to it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

CORE = "http://hl7.org/fhir/StructureDefinition/"
OWN = "http://example.org/guide/"
LOINC = "http://loinc.org"
UCUM = "http://unitsofmeasure.org"
CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"
Json = dict[str, Any]


def _profile(name: str, kind: str, elements: list[Json], **more: Any) -> Json:
    return {
        "resourceType": "StructureDefinition",
        "id": name,
        "url": OWN + name,
        "name": name.title(),
        "status": "active",
        "fhirVersion": "4.0.1",
        "kind": "complex-type" if kind == "Extension" else "resource",
        "abstract": False,
        "type": kind,
        "baseDefinition": CORE + kind,
        "derivation": "constraint",
        "differential": {"element": [_element(each) for each in elements]},
        **more,
    }


def _element(element: Json) -> Json:
    """An element with the path and the name of the slice that its id says."""
    identity = str(element["id"])
    steps = [step.partition(":") for step in identity.split(".")]
    name = steps[-1][2]
    return {"path": ".".join(step[0] for step in steps), **({"sliceName": name} if name else {}), **element}


def _sliced(path: str, *by: tuple[str, str], rules: str = "open", ordered: bool = False) -> Json:
    found = [{"type": kind, "path": where} for kind, where in by]
    return {"id": path, "slicing": {"discriminator": found, "rules": rules, "ordered": ordered}}


def _coding(system: str, code: str) -> Json:
    return {"coding": [{"system": system, "code": code}]}


def _required(name: str) -> Json:
    return {"strength": "required", "valueSet": OWN + name}


SEVERITY = _profile(
    "severity",
    "Extension",
    [
        {"id": "Extension.extension", "max": "0"},
        {"id": "Extension.url", "fixedUri": f"{OWN}severity"},
        {"id": "Extension.value[x]", "min": 1, "type": [{"code": "code"}], "binding": _required("severities")},
    ],
    context=[{"type": "element", "expression": "Observation"}],
)
PERSON = _profile(
    "person",
    "Patient",
    [
        _sliced("Patient.identifier", ("value", "system")),
        {"id": "Patient.identifier:subject", "min": 1, "max": "1"},
        {"id": "Patient.identifier:subject.system", "min": 1, "fixedUri": f"{OWN}subjects"},
        {"id": "Patient.identifier:subject.value", "min": 1, "maxLength": 8},
        {"id": "Patient.name", "min": 1, "max": "1"},
        {"id": "Patient.name.family", "min": 1},
        {"id": "Patient.gender", "min": 1},
        {"id": "Patient.contact", "max": "0"},
        {"id": "Patient.deceased[x]", "type": [{"code": "boolean"}]},
    ],
)
ITEM = _profile(
    "item",
    "Observation",
    [{"id": "Observation.value[x]", "min": 1, "type": [{"code": "Quantity"}]}, {"id": "Observation.note", "max": "0"}],
)
PANEL = _profile(
    "panel",
    "Observation",
    [
        {
            "id": "Observation",
            "constraint": [
                {
                    "key": "own-1",
                    "severity": "error",
                    "human": "a panel with parts says how it was made",
                    "expression": "component.exists() implies method.exists()",
                }
            ],
        },
        _sliced("Observation.extension", ("value", "url")),
        {
            "id": "Observation.extension:severity",
            "min": 1,
            "max": "1",
            "type": [{"code": "Extension", "profile": [f"{OWN}severity"]}],
        },
        _sliced("Observation.category", ("pattern", "$this")),
        {
            "id": "Observation.category:laboratory",
            "min": 1,
            "max": "1",
            "patternCodeableConcept": _coding(CATEGORY, "laboratory"),
        },
        {"id": "Observation.code", "patternCodeableConcept": _coding(LOINC, "24323-8")},
        {
            "id": "Observation.subject",
            "min": 1,
            "type": [{"code": "Reference", "targetProfile": [f"{OWN}person", f"{CORE}Group"]}],
        },
        {"id": "Observation.effective[x]", "min": 1, "type": [{"code": "dateTime"}]},
        {"id": "Observation.interpretation", "max": "1", "binding": _required("interpretations")},
        _sliced("Observation.hasMember", ("profile", "resolve()")),
        {
            "id": "Observation.hasMember:item",
            "max": "2",
            "type": [{"code": "Reference", "targetProfile": [f"{OWN}item"]}],
        },
        _sliced("Observation.component", ("pattern", "code"), rules="closed", ordered=True),
        {"id": "Observation.component:sodium", "min": 1, "max": "1"},
        {"id": "Observation.component:sodium.code", "patternCodeableConcept": _coding(LOINC, "2951-2")},
        {"id": "Observation.component:sodium.value[x]", "min": 1, "type": [{"code": "Quantity"}]},
        {"id": "Observation.component:sodium.value[x].system", "min": 1, "fixedUri": UCUM},
        {"id": "Observation.component:sodium.value[x].code", "min": 1, "fixedCode": "mmol/L"},
        {"id": "Observation.component:remark", "max": "1"},
        {"id": "Observation.component:remark.code", "patternCodeableConcept": _coding(LOINC, "8251-1")},
        {"id": "Observation.component:remark.value[x]", "min": 1, "type": [{"code": "string"}]},
    ],
)
SYSTEM: Json = {
    "resourceType": "CodeSystem",
    "id": "levels",
    "url": f"{OWN}levels",
    "status": "active",
    "content": "complete",
    "concept": [{"code": "low"}, {"code": "high"}, {"code": "other"}],
}


def _values(name: str, *codes: str) -> Json:
    include = {"system": f"{OWN}levels", "concept": [{"code": code} for code in codes]}
    compose = {"include": [include if codes else {"system": f"{OWN}levels"}]}
    return {"resourceType": "ValueSet", "id": name, "url": OWN + name, "status": "active", "compose": compose}


DEFINITIONS = (SEVERITY, PERSON, ITEM, PANEL, SYSTEM, _values("severities", "low", "high"), _values("interpretations"))


def written(folder: Path) -> Path:
    """The folder, with the definitions as files."""
    folder.mkdir(parents=True, exist_ok=True)
    for each in DEFINITIONS:
        (folder / f"{each['resourceType']}-{each['id']}.json").write_text(json.dumps(each), encoding="utf-8")
    return folder


def _component(code: str, **value: Any) -> Json:
    return {"code": _coding(LOINC, code), **value}


SODIUM = _component("2951-2", valueQuantity={"value": 140, "unit": "mmol/L", "system": UCUM, "code": "mmol/L"})
REMARK = _component("8251-1", valueString="as expected")
RIGHT_PERSON: Json = {
    "resourceType": "Patient",
    "id": "p",
    "meta": {"profile": [f"{OWN}person"]},
    "identifier": [
        {"system": f"{OWN}subjects", "value": "S-0001"},
        {"system": "http://example.org/mrn", "value": "a-longer-number"},
    ],
    "name": [{"family": "Doe", "given": ["J"]}],
    "gender": "female",
    "birthDate": "1970-01-01",
    "deceasedBoolean": False,
}
_ITEM: Json = {
    "resourceType": "Observation",
    "id": "i",
    "status": "final",
    "code": {"text": "item"},
    "valueQuantity": {"value": 1},
}
RIGHT_PANEL: Json = {
    "resourceType": "Observation",
    "id": "o",
    "meta": {"profile": [f"{OWN}panel"]},
    "contained": [_ITEM],
    "extension": [{"url": f"{OWN}severity", "valueCode": "low"}],
    "status": "final",
    "category": [_coding(CATEGORY, "laboratory"), {"text": "routine"}],
    "code": {"text": "panel", **_coding(LOINC, "24323-8")},
    "subject": {"reference": "Patient/p"},
    "effectiveDateTime": "2020-02-03",
    "interpretation": [_coding(f"{OWN}levels", "other")],
    "method": {"text": "ion-selective electrode"},
    "hasMember": [{"reference": "#i"}],
    "component": [SODIUM, REMARK],
}
RIGHT = (RIGHT_PERSON, RIGHT_PANEL)
