"""Faults of objects, by data type and the name of the fault."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

Json = dict[str, Any]
Change = Callable[[Json], object]
HL7 = "http://hl7.org/fhir/StructureDefinition/"
SMALL: Json = {"resourceType": "Patient", "id": "inside"}
UCUM = "http://unitsofmeasure.org"


def put(**members: Any) -> Change:
    """Members are set (None: removed); an underscore at the end is cut off (``class_``)."""

    def change(value: Json) -> object:
        for name, content in members.items():
            value.pop(name.rstrip("_"), None)
            if content is not None:
                value[name.rstrip("_")] = copy.deepcopy(content)
        return None

    return change


def only(**members: Any) -> Change:
    """The object has these members and no others."""

    def change(value: Json) -> object:
        value.clear()
        value.update(copy.deepcopy(members))
        return None

    return change


CODING_HL7 = "http://terminology.hl7.org/CodeSystem/"
OBJECTS: dict[str, dict[str, Change]] = {
    "Identifier": {
        "system-relative": put(system="mrn"),
        "system-blank": put(system="http://a b"),
        "value-no-uri": put(system="urn:ietf:rfc:3986", value="1.2.3"),
        "use": put(use="bogus"),
        "type-text": put(type="MR"),
    },
    "Coding": {
        "system-relative": put(system="loinc"),
        "unknown-code": only(system=CODING_HL7 + "observation-category", code="bogus"),
        "unknown-v3": only(system=CODING_HL7 + "v3-ActCode", code="BOGUS"),
        "unknown-v2": only(system=CODING_HL7 + "v2-0203", code="BOGUS"),
        "unit": only(system=UCUM, code="mm Hg"),
        "language": only(system="urn:ietf:bcp:47", code="english!!"),
        "user-selected": put(userSelected="true"),
        "code-blank": put(code=" a"),
        "code-list": put(code=["a"]),
    },
    "CodeableConcept": {
        "coding-object": put(coding={"code": "a"}),
        "coding-empty": put(coding=[]),
        "text-list": put(text=["a"]),
        "unknown": put(txt="a"),
        "empty": only(),
    },
    "Quantity": {
        "code-no-system": put(system=None, code="mg"),
        "unit-of-ucum": put(system=UCUM, code="mm Hg"),
        "unit-case": put(system=UCUM, code="MMHG"),
        "unit-bogus": put(system=UCUM, code="xyz"),
        "unit-open": put(system=UCUM, code="mg/{a"),
        "value-text": put(value="5"),
        "value-comma": put(value="5,5"),
        "comparator": put(comparator="=="),
        "system-relative": put(system="ucum", code="mg"),
    },
    "Period": {
        "reversed": only(start="2021-05-01", end="2020-05-01"),
        "reversed-zones": only(start="2020-05-01T10:00:00Z", end="2020-05-01T11:00:00+05:00"),
        "start-list": put(start=["2020"]),
        "day": put(start="2021-02-29"),
        "unknown": put(begin="2020"),
    },
    "Range": {"reversed": only(low={"value": 5, "unit": "mg"}, high={"value": 3, "unit": "mg"})},
    "Ratio": {"one-side": only(numerator={"value": 1}), "number": put(numerator=1)},
    "Reference": {
        "type-misspelt": put(reference="Pateint/1"),
        "lower": put(reference="patient/1"),
        "id-blank": put(reference="Patient/a b"),
        "id-underscore": put(reference="Patient/a_b"),
        "id-long": put(reference="Patient/" + "a" * 65),
        "dangling": put(reference="#nowhere-at-all"),
        "urn": put(reference="urn:uuid:12"),
        "alone": put(reference="1"),
        "object": put(reference={"id": "1"}),
        "wrong-type": put(reference="Binary/1"),
        "type-bogus": put(type="http://a b"),
        "display-number": put(display=5),
        "empty": put(reference=""),
    },
    "Attachment": {
        "no-type": only(data="QUJD"),
        "size": only(contentType="text/plain", data="QUJD", size=7),
        "data": only(contentType="text/plain", data="!"),
        "language": put(language="english!!"),
    },
    "ContactPoint": {"no-system": put(system=None, value="1"), "system": put(system="telephone"), "rank": put(rank=0)},
    "HumanName": {"use": put(use="bogus"), "given-text": put(given="A"), "family-list": put(family=["A"])},
    "Address": {"use": put(use="bogus"), "type": put(type="bogus"), "line-text": put(line="A")},
    "Annotation": {"no-text": put(text=None), "two-authors": put(authorString="a", authorReference={"display": "b"})},
    "Dosage": {
        "text-number": put(text=5),
        "sequence": put(sequence="1"),
        "two": put(asNeededBoolean=True, asNeededCodeableConcept={"text": "x"}),
    },
    "Timing": {
        "duration-unit": put(repeat={"duration": 1}),
        "period-unit": put(repeat={"period": 1}),
        "negative": put(repeat={"duration": -1, "durationUnit": "h"}),
        "count-max": put(repeat={"countMax": 3}),
        "when-and-time": put(repeat={"when": ["AC"], "timeOfDay": ["10:00:00"]}),
        "offset": put(repeat={"offset": 10}),
        "unit": put(repeat={"duration": 1, "durationUnit": "hours"}),
        "day": put(repeat={"dayOfWeek": ["monday"]}),
    },
    "Money": {"currency": put(currency="EURO"), "currency-case": put(currency="eur"), "value": put(value="1")},
    "Age": {
        "zero": only(value=0, code="a", system=UCUM),
        "no-code": only(value=4),
        "system": only(value=4, code="a", system="http://a.b"),
    },
    "Duration": {"code-only": only(code="h", system=UCUM)},
    "Meta": {
        "profile-text": put(profile="http://a.b"),
        "profile-blank": put(profile=["http://a b"]),
        "updated": put(lastUpdated="2020-01-01"),
        "version": put(versionId="a b"),
        "security": put(security=[{"system": CODING_HL7 + "v3-Confidentiality", "code": "BOGUS"}]),
    },
    "Narrative": {"no-status": put(status=None), "status": put(status="bogus"), "no-div": put(div=None)},
    "Extension": {
        "empty": lambda value: [value.pop(name) for name in list(value) if name != "url"],
        "both": put(extension=[{"url": "a", "valueString": "b"}], valueString="b"),
        "no-url": put(url=None),
        "two-values": lambda value: value.update(valueString="a", valueBoolean=True),
        "value-type": lambda value: value.update(valueBogus="a"),
        "url-blank": put(url="http://a b"),
    },
    "SampledData": {"no-origin": put(origin=None), "period": put(period="1")},
    "Signature": {"no-who": put(who=None), "when": put(when="2020-01-01")},
    "Bundle.entry": {
        "empty": only(),
        "version-in-url": put(fullUrl="http://a.b/Patient/1/_history/2"),
        "other-id": put(fullUrl="http://a.b/Patient/another"),
        "search": put(search={"mode": "match"}),
        "request": put(request={"method": "PUT", "url": "Patient/1"}),
        "response": put(response={"status": "200"}),
        "method": put(request={"method": "DO", "url": "Patient/1"}),
        "relative-url": put(fullUrl="Patient/1"),
        "no-url": put(fullUrl=None),
    },
}
