"""Rules of single values: right and wrong twins."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest

from fhirspace.fhir.validation.values import addresses, base64, codes, languages, objects, references
from fhirspace.fhir.validation.values.words import words
from fhirspace.standards import ucum_codes
from fhirspace.standards.fhir import definitions

RIGHT_UNITS = words(
    "mg mm[Hg] 10*3/uL 10*-6 10^9/L /min {score} %{vol} kg/(m2.d) m2 m-2 m+2 [pH] [degF] 1/d /100{WBCs} mg/dL [IU]/L"
    " k[IU]/L a_j B[10.nV] cm[H2O].s2 meq/L g.m/{hb} /(min.L) 1 {a} [in_i'H2O] [m/s2/Hz^(1/2)] kg.m-2 % Kibit"
)
WRONG_UNITS = [
    *words("mmHg kkg mg//dL mg/ 10*3/ (mg mg)) {a mg{}} {ä} .mg x beats/min lbs mg..l °C µg () cm[Hg 0 k% mgg tbl"),
    "mm Hg",
    "mg ",
    "",
    "(" * 300,
    "10*3" * 100,
]


@pytest.mark.parametrize("code", sorted(RIGHT_UNITS))
def test_a_unit_of_ucum(code: str) -> None:
    assert ucum_codes.valid(code)


@pytest.mark.parametrize("code", sorted(WRONG_UNITS))
def test_no_unit_of_ucum(code: str) -> None:
    assert not ucum_codes.valid(code)


TAGS = words(
    "en pt-BR zh-Hant-TW de-CH-1996 sl-rozaj-biske x-own i-klingon es-419 en-US-u-islamcal haw en-XK de-DD ar-001 en-QM fr-150"
)
NO_TAGS = [
    "english!!",
    "e",
    "en_US",
    "en-",
    "-en",
    "xx",
    "en US",
    "",
    "en--US",
    "toolonglanguage",
    "qq-DE",
    "german",
    "deu",
    "ger",
    "en-UK",
    "de-999",
    "zh-Hant-ZY",
]
ADDRESSES = ["http://a/b", "urn:oid:2.16.840.1", "urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0", "Patient/1", "#a"]
NO_ADDRESSES = ["", "a b", "oid:1.2", "uuid:0c3151bd", "urn:oid:3.1", "urn:oid:1.02", "urn:oid:1.40", "urn:uuid:12"]
NO_ADDRESSES += ["urn:uuid:0C3151BD-1cbf-4d64-b04d-cd9187a4c6e0", "urn:oid:"]
MEDIA = ["text/plain", "application/fhir+json; fhirVersion=4.0", "json", 'text/html;charset="utf-8"', "image/svg+xml"]
NO_MEDIA = ["", "plain text", "text/", "/plain", "text/plain/x", "text/plain;", "a" * 2000]


@pytest.mark.parametrize(
    ("rule", "right", "wrong"),
    [
        (languages.language, sorted(TAGS), NO_TAGS),
        (lambda text: not addresses.uri(text), ADDRESSES, NO_ADDRESSES),
        (codes.media_type, MEDIA, NO_MEDIA),
        (codes.CURRENCIES.__contains__, ["EUR", "USD", "XXX"], ["eur", "EURO", "", "ZZZ"]),
        (
            base64.decoded_length,
            ["QQ==", "QUI=", "QUJD", "QUJD\nQUJD"],
            ["QUJ", "Q===", "QQ==QQ==", "QU-D", "", "Qä=="],
        ),
        (addresses.absolute, ["http:a", "urn:x", "mailto:a"], ["a", "#a", "/a:b", "1:b"]),
    ],
)
def test_right_and_wrong(rule: Any, right: list[str], wrong: list[str]) -> None:
    assert [text for text in right if not rule(text)] == []
    assert [text for text in wrong if rule(text)] == []


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("Patient/1", "Patient"),
        ("Patient/1/_history/2", "Patient"),
        ("http://a.b/fhir/Patient/1", "Patient"),
        ("Patient?identifier=a|b", "Patient"),
        ("urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0", ""),
        ("http://a.b/anything", ""),
        ("urn:uuid:12", None),
        ("Pateint/1", None),
        ("patient/1", None),
        ("/Patient/1", None),
        ("fhir/Patient/1", None),
        ("Patient/a b", None),
        ("Patient/a_b", None),
        ("Patient/" + "a" * 65, None),
        ("Patient/1/_history/", None),
        ("Patient/", None),
        ("Patient", None),
        ("1", None),
    ],
)
def test_the_form_of_a_reference(text: str, named: str | None) -> None:
    assert references.named_type(text, definitions("R4").resources) == named


@pytest.mark.parametrize(
    ("kind", "value", "member"),
    [
        ("Identifier", {"system": "mrn", "value": "1"}, "system"),
        ("Identifier", {"system": "urn:ietf:rfc:3986", "value": "2.16.840"}, "value"),
        ("Identifier", {"system": "urn:ietf:rfc:3986", "value": "urn:oid:2.16.840"}, None),
        ("Identifier", {"system": 1, "value": 2}, None),
        ("Coding", {"system": "loinc", "code": "1"}, "system"),
        ("Coding", {"system": "#contained", "code": "1"}, None),
        ("Coding", {"system": objects.UCUM, "code": "mm Hg"}, "code"),
        ("Coding", {"system": "urn:ietf:bcp:47", "code": "xx"}, "code"),
        ("Quantity", {"system": objects.UCUM, "code": "mmHg"}, "code"),
        ("Quantity", {"system": objects.UCUM, "code": "mm[Hg]"}, None),
        ("Quantity", {"system": "http://snomed.info/sct", "code": "mm Hg"}, None),
        ("Coding", {"system": "http://loinc.org", "code": "1-8"}, None),
        ("Coding", {"system": "URN:OID:1.2.3", "code": "1-8"}, "system"),
        ("Coding", {"system": "http:", "code": "1-8"}, "system"),
        ("Identifier", {"system": "URN:OID:1.2.3", "value": "1"}, "system"),
        ("Coding", {"system": "http://loinc.org/", "code": "1-8"}, "system"),
        ("Coding", {"system": "http://snomed.info/sct/900000000000207008", "code": "1"}, "system"),
        ("Quantity", {"system": objects.UCUM + "/", "code": "mg"}, "system"),
        ("Coding", {"system": "urn:iso:std:iso:3166", "code": "DE"}, None),
        ("Coding", {"system": "urn:iso:std:iso:3166", "code": "DEU"}, None),
        ("Coding", {"system": "urn:iso:std:iso:3166", "code": "276"}, None),
        ("Coding", {"system": "urn:iso:std:iso:3166", "code": "de"}, "code"),
        ("Coding", {"system": "urn:iso:std:iso:3166", "code": "QQQ"}, "code"),
        ("Attachment", {"data": "QUJD", "size": 4}, "size"),
        ("Attachment", {"data": "QUJD", "size": 3}, None),
        ("Attachment", {"data": "QUJD", "size": "4"}, "size"),
        ("Attachment", {"data": "QUJD", "size": "3"}, None),
        ("Attachment", {"size": "-1"}, "size"),
        ("Attachment", {"data": "not base64!", "size": 3}, None),
        ("Attachment", {"data": "aGVsbG8=", "hash": "qvTGHdzF6KLavt4PO0gs2a6pQ00="}, None),
        ("Attachment", {"data": "aGVsbG8=", "hash": "QUJD"}, "hash"),
        ("ValueSet", {"url": "vs"}, "url"),
        ("ValueSet", {"url": "urn:oid:1.2.3"}, None),
    ],
)
def test_parts_of_a_data_type(kind: str, value: dict[str, Any], member: str | None) -> None:
    assert [name for name, _ in objects.RULES[kind](value)] == ([member] if member else [])


def test_base64_needs_no_memory_that_grows() -> None:
    text = "QUJD" * 2_500_000
    tracemalloc.start()
    try:
        assert base64.decoded_length(text) == 7_500_000
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def entries(kind: str, *listed: dict[str, Any]) -> dict[str, Any]:
    return {"resourceType": "Bundle", "type": kind, "entry": list(listed)}


INSIDE = {"resourceType": "Patient", "id": "1"}
LINKED = {"resourceType": "Observation", "id": "o", "subject": {"reference": "Patient/1"}}
AT = "http://a.b/fhir/"
SEARCH = AT + "Patient?active=true"


def searched(url: str, mode: str, kind: str = "Group", relation: str = "self") -> dict[str, Any]:
    resource = {"resourceType": kind, "id": "1"}
    entry = {"fullUrl": f"{AT}{kind}/1", "resource": resource, "search": {"mode": mode}}
    return {**entries("searchset", entry), "link": [{"relation": relation, "url": url}]}


COMPOSITION = {"resourceType": "Composition", "id": "c", "subject": {"reference": "Patient/1"}}


def document(*more: dict[str, Any]) -> dict[str, Any]:
    """A document about a Patient, with more resources."""
    named = ({"fullUrl": f"{AT}{each['resourceType']}/{each['id']}", "resource": each} for each in more)
    inside = {"fullUrl": AT + "Patient/1", "resource": INSIDE}
    return entries("document", {"fullUrl": AT + "Composition/c", "resource": COMPOSITION}, inside, *named)


@pytest.mark.parametrize(
    ("value", "place"),
    [
        (entries("collection", {"fullUrl": AT + "Patient/1", "resource": INSIDE}), None),
        (entries("collection", {"fullUrl": "urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0", "resource": INSIDE}), None),
        (entries("collection", {"fullUrl": AT + "Patient/2", "resource": INSIDE}), "entry[0].fullUrl"),
        (entries("collection", {"fullUrl": AT + "Group/1", "resource": INSIDE}), "entry[0].fullUrl"),
        (entries("collection", {"fullUrl": AT + "Other/1", "resource": INSIDE}), None),
        (entries("collection", {"fullUrl": "Patient/1", "resource": INSIDE}), "entry[0].fullUrl"),
        (entries("collection", {"resource": INSIDE}), "entry[0]"),
        (entries("batch", {"resource": INSIDE}), None),
        (entries("history", {"request": {}}), None),
        (
            entries(
                "document",
                {"fullUrl": AT + "Observation/o", "resource": LINKED},
                {"fullUrl": AT + "Patient/1", "resource": INSIDE},
            ),
            None,
        ),
        (
            entries(
                "document",
                {"fullUrl": "urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0", "resource": LINKED},
                {"fullUrl": AT + "Patient/1", "resource": INSIDE},
            ),
            "entry[0].resource",
        ),
        (
            entries(
                "message",
                {"fullUrl": "http://other/Observation/o", "resource": LINKED},
                {"fullUrl": AT + "Patient/1", "resource": INSIDE},
            ),
            "entry[0].resource",
        ),
        (entries("document", {"fullUrl": AT + "Observation/o", "resource": LINKED}), None),
        (
            entries("searchset", {"fullUrl": AT + "Patient/1", "resource": {"resourceType": "Patient"}}),
            "entry[0].fullUrl",
        ),
        (entries("batch", {"fullUrl": AT + "Patient/1", "resource": {"resourceType": "Patient"}}), None),
        ({"link": [{"relation": "self"}, {"relation": "next"}, {"relation": "self"}]}, "link[2].relation"),
        ({"link": [{"relation": "item"}, {"relation": "item"}, 1]}, None),
        (
            entries("document", {"fullUrl": AT + "Composition/c", "resource": COMPOSITION}),
            "entry[0].resource",
        ),
        (
            entries(
                "document",
                {"fullUrl": AT + "Composition/c", "resource": COMPOSITION},
                {"fullUrl": AT + "Patient/1", "resource": INSIDE},
            ),
            None,
        ),
        (document({"resourceType": "Organization", "id": "o"}), "entry[2]"),
        (document({"resourceType": "Organization", "id": "o"}, {"resourceType": "Binary", "id": "b"}), "entry[2]"),
        (document({"resourceType": "Binary", "id": "b"}), None),
        (document({"resourceType": "Provenance", "id": "v", "target": [{"reference": "Composition/c"}]}), None),
        (document({"resourceType": "Group", "id": "g", "member": [{"entity": {"reference": AT + "Patient/1"}}]}), None),
        (searched(SEARCH, "match"), "entry[0].resource"),
        (searched(SEARCH, "match", "Patient"), None),
        (searched(SEARCH, "include"), None),
        (searched(SEARCH, "outcome"), "entry[0].resource"),
        (searched(SEARCH, "outcome", "OperationOutcome"), None),
        (searched(SEARCH, "match", relation="next"), None),
        (searched(AT + "Patient/_search?active=true", "match"), "entry[0].resource"),
        (searched("Patient", "match"), "entry[0].resource"),
        (searched(AT + "?_type=Patient,Device", "match"), "entry[0].resource"),
        (searched(AT + "?_type=Patient,Group", "match"), None),
        (searched(AT + "Patient/1/$everything", "match"), None),
        (searched(AT[:-1], "match"), None),
        ({"type": ["document"], "entry": {"fullUrl": 1}}, None),
        ({"entry": [1, {"fullUrl": 1, "resource": 2}]}, None),
        ({"type": "document", "entry": [{"fullUrl": AT, "resource": 2.5}]}, None),
    ],
)
def test_entries_of_a_bundle(value: dict[str, Any], place: str | None) -> None:
    assert [name for name, _ in objects.RULES["Bundle"](value)] == ([place] if place else [])
