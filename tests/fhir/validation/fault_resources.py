"""Faults of whole resources, by name."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from typing import Any

from tests.fhir.validation.fault_objects import HL7, SMALL, Json, put


def _rename(resource: Json, rng: random.Random) -> None:
    name = rng.choice([each for each in resource if each != "resourceType"] or ["id"])
    resource[name + "x"] = resource.pop(name, "a")


def _listed(resource: Json, rng: random.Random) -> None:
    name = rng.choice(
        [each for each, value in resource.items() if not isinstance(value, list) and each != "resourceType"]
    )
    resource[name] = [resource[name]]


def _unlisted(resource: Json, rng: random.Random) -> None:
    name = rng.choice([each for each, value in resource.items() if isinstance(value, list)])
    resource[name] = resource[name][0]


def _doubled_item(resource: Json, rng: random.Random) -> None:
    name = rng.choice([each for each, value in resource.items() if isinstance(value, list)])
    resource[name] = [resource[name]]


def _extension(**extension: Any) -> Callable[[Json, random.Random], None]:
    def change(resource: Json, _: random.Random) -> None:
        resource["extension"] = [*resource.get("extension", ()), copy.deepcopy(extension)]

    return change


def _set(**members: Any) -> Callable[[Json, random.Random], None]:
    change = put(**members)
    return lambda resource, rng: (change(resource), None)[1]


WHOLE: dict[str, Callable[[Json, random.Random], None]] = {
    "unknown-element": _set(bogus="a"),
    "misspelt-element": _rename,
    "scalar-as-array": _listed,
    "array-as-scalar": _unlisted,
    "array-in-array": _doubled_item,
    "null-element": _set(language=None, implicitRules=None, _bogus={"id": "a"}),
    "type-missing": lambda resource, rng: (resource.pop("resourceType"), None)[1],
    "type-unknown": _set(resourceType="Pateint"),
    "language": _set(language="english!!"),
    "language-two": _set(language="xx"),
    "implicit-rules": _set(implicitRules="a b"),
    "id-underscore": _set(id="a_b"),
    "id-long": _set(id="a" * 65),
    "id-number": _set(id=5),
    "text-string": _set(text="a"),
    "meta-list": _set(meta=[{"versionId": "1"}]),
    "companion-alone-empty": _set(_language={}),
    "companion-text": _set(_language="a"),
    "contained-object": _set(contained=SMALL),
    "contained-no-id": _set(contained=[{"resourceType": "Patient"}]),
    "contained-unused": _set(contained=[SMALL]),
    "contained-nested": _set(contained=[{**SMALL, "contained": [{"resourceType": "Patient", "id": "b"}]}]),
    "contained-version": _set(contained=[{**SMALL, "meta": {"versionId": "1"}}]),
    "contained-security": _set(contained=[{**SMALL, "meta": {"security": [{"code": "a"}]}}]),
    "contained-no-type": _set(contained=[{"id": "a"}]),
    "extension-object": _set(extension={"url": "http://a.b", "valueString": "c"}),
    "extension-empty": _extension(url="http://a.b"),
    "extension-no-url": _extension(valueString="c"),
    "extension-relative": _extension(url="a", valueString="c"),
    "extension-both": _extension(url="http://a.b", valueString="c", extension=[{"url": "d", "valueString": "e"}]),
    "extension-type": _extension(url="http://a.b", valueElement="c"),
    "extension-hl7-unknown": _extension(url=HL7 + "no-such-extension", valueString="c"),
    "extension-hl7-context": _extension(url=HL7 + "iso21090-nullFlavor-x", valueString="c"),
    "extension-hl7-elsewhere": _extension(url=HL7 + "humanname-own-prefix", valueString="c"),
    "extension-hl7-value": _extension(url=HL7 + "data-absent-reason", valueString="c"),
    "extension-hl7-code": _extension(url=HL7 + "data-absent-reason", valueCode="bogus"),
    "extension-hl7-part": _extension(url=HL7 + "patient-nationality", extension=[{"url": "bogus", "valueString": "c"}]),
    "extension-hl7-part-type": _extension(
        url=HL7 + "patient-nationality", extension=[{"url": "code", "valueString": "c"}]
    ),
    "extension-hl7-part-missing": _extension(
        url=HL7 + "geolocation", extension=[{"url": "latitude", "valueDecimal": 1.5}]
    ),
    "extension-hl7-two-types": _extension(url=HL7 + "geolocation", valueString="c"),
    "extension-hl7-null-flavor": _extension(url=HL7 + "iso21090-nullFlavor", valueCode="BOGUS"),
    "extension-hl7-place": _extension(url=HL7 + "patient-birthPlace", valueString="c"),
    "extension-hl7-position": _extension(url=HL7 + "observation-bodyPosition", valueString="c"),
    "extension-hl7-importance": _extension(url=HL7 + "patient-importance", valueString="c"),
    "extension-hl7-gender": _extension(url=HL7 + "patient-genderIdentity", valueBoolean=True),
    "extension-hl7-mothers": _extension(url=HL7 + "patient-mothersMaidenName", valueCode="c"),
    "extension-hl7-as-modifier": _set(
        modifierExtension=[{"url": HL7 + "patient-mothersMaidenName", "valueString": "c"}]
    ),
    "extension-hl7-translation": _extension(url=HL7 + "translation", extension=[{"url": "lang", "valueCode": "de"}]),
    "extension-hl7-display": _extension(url=HL7 + "rendered-value", valueBoolean=True),
    "modifier-object": _set(modifierExtension={"url": "http://a.b", "valueString": "c"}),
    "modifier-empty": _set(modifierExtension=[{"url": "http://a.b"}]),
}
