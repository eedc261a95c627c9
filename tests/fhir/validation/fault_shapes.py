"""Faults of shapes: Bundles and their entries, contained resources, companions of primitives, codes in another case.

They add to `fault_objects`, `fault_resources` and the table STRUCTURE of `faults`.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from typing import Any

from tests.fhir.validation.fault_objects import HL7, SMALL, Change, Json, only, put
from tests.fhir.validation.fault_resources import _extension, _set

URN = "urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e1"
INSIDE = "http://a.b/Patient/inside"
BUNDLE_SHAPES: dict[str, dict[str, Change]] = {
    "Bundle.entry": {
        "url-only": only(fullUrl=INSIDE),
        "nested-type": only(fullUrl=URN, resource={"resourceType": "Bundle", "type": "bogus"}),
        "nested-no-type": only(fullUrl=URN, resource={"resourceType": "Bundle"}),
        "resource-list": put(resource=[SMALL]),
        "resource-text": put(resource="Patient/1"),
        "resource-unknown": only(fullUrl=URN, resource={"resourceType": "Pateint"}),
        "url-fragment": put(fullUrl="#a"),
        "url-urn": put(fullUrl="urn:uuid:12"),
        "url-type": put(fullUrl="http://a.b/Observation/inside", resource=SMALL),
        "score": put(search={"mode": "match", "score": 2}),
        "search-mode": put(search={"mode": "found"}),
        "request-no-url": put(request={"method": "GET"}),
        "response-no-status": put(response={"location": "a"}),
        "response-time": put(response={"status": "200", "lastModified": "2020"}),
        "link": put(link=[{"url": "http://a.b"}]),
    },
}
_ENTRY = {"fullUrl": INSIDE, "resource": SMALL}
BUNDLES: dict[str, Change] = {
    "link-twice": put(link=[{"relation": "self", "url": "http://a"}, {"relation": "self", "url": "http://b"}]),
    "link-no-url": put(link=[{"relation": "self"}]),
    "link-no-relation": put(link=[{"url": "http://a"}]),
    "total-negative": put(type="searchset", total=-1),
    "total-of-batch": put(type="batch", total=1, entry=None),
    "entry-empty": put(entry=[]),
    "entry-twice": put(type="collection", entry=[_ENTRY, _ENTRY]),
    "time": put(timestamp="2020-01-01"),
    "request-missing": put(type="transaction", entry=[_ENTRY], total=None),
    "response-missing": put(type="transaction-response", entry=[_ENTRY], total=None),
    "request-in-collection": put(type="collection", entry=[{**_ENTRY, "request": {"method": "PUT", "url": "a"}}]),
    "document-without-composition": put(
        type="document",
        entry=[_ENTRY],
        timestamp="2020-01-01T10:00:00Z",
        identifier={"system": "http://a", "value": "1"},
    ),
    "search-in-collection": put(type="collection", entry=[{**_ENTRY, "search": {"mode": "match"}}]),
}
_NESTED = {"resourceType": "Organization", "id": "o", "name": "a"}
Whole = Callable[[Json, random.Random], None]


def _choice_untyped(resource: Json, rng: random.Random) -> None:
    name = rng.choice([each for each in resource if each.startswith(("value", "effective", "onset", "performed"))])
    stem = next(stem for stem in ("value", "effective", "onset", "performed") if name.startswith(stem))
    resource[stem] = resource.pop(name)


WHOLE_SHAPES: dict[str, Whole] = {
    "contained-same-ids": _set(contained=[_NESTED, _NESTED]),
    "contained-hash": _set(contained=[{**_NESTED, "id": "#o"}]),
    "contained-unknown": _set(contained=[{**_NESTED, "bogus": "a"}]),
    "contained-type": _set(contained=[{"resourceType": "Pateint", "id": "a"}]),
    "contained-bundle": _set(contained=[{"resourceType": "Bundle", "id": "b"}]),
    "contained-null": _set(contained=[None]),
    "contained-in-contained": _set(contained=[{**_NESTED, "contained": [{**_NESTED, "id": "p"}]}]),
    "companion-list": _set(_language=[{"id": "a"}]),
    "companion-unknown": _set(_language={"bogus": "a"}),
    "companion-value": _set(_language={"value": "en"}),
    "companion-of-object": _set(_meta={"id": "a"}),
    "companion-extension-empty": _set(_language={"extension": []}),
    "companion-extension-bare": _set(_language={"extension": [{"url": "http://a.b"}]}),
    "companion-of-none": _set(_bogus={"id": "a"}),
    "companion-of-type": _set(_resourceType={"id": "a"}),
    "choice-untyped": _choice_untyped,
    "type-lower": lambda resource, rng: resource.update(resourceType=resource["resourceType"].lower()),
    "type-list": lambda resource, rng: resource.update(resourceType=[resource["resourceType"]]),
    "type-abstract": _set(resourceType="DomainResource"),
    "comments": _set(fhir_comments=["a"]),
    "id-slash": _set(id="a/b"),
    "id-empty": _set(id=""),
    "id-letters": _set(id="ä"),
    "id-object": _set(id={"value": "a"}),
    "language-underscore": _set(language="en_US"),
    "language-blank": _set(language="en US"),
    "language-list": _set(language=["en"]),
    "rules-relative": _set(implicitRules=["http://a.b"]),
    "meta-text": _set(meta="a"),
    "text-list": _set(text=[{"status": "generated"}]),
    "extension-null": _set(extension=[None]),
    "extension-text": _set(extension=["a"]),
    "extension-twice": lambda resource, rng: resource.update(
        extension=[{"url": HL7 + "data-absent-reason", "valueCode": "unknown"}] * 2
    ),
    "extension-https": _extension(url="https://hl7.org/fhir/StructureDefinition/data-absent-reason", valueCode="a"),
    "extension-version": _extension(url=HL7 + "data-absent-reason|4.0.1", valueCode="unknown"),
    "extension-part-of-hl7": _extension(url=HL7 + "patient-nationality#code", valueString="a"),
    "extension-hl7-code-case": _extension(url=HL7 + "data-absent-reason", valueCode="Unknown"),
    "extension-hl7-empty-parts": _extension(url=HL7 + "geolocation", extension=[]),
    "extension-hl7-parts-twice": _extension(
        url=HL7 + "geolocation",
        extension=[{"url": name, "valueDecimal": 1.5} for name in ("latitude", "latitude", "longitude")],
    ),
    "modifier-known": _set(modifierExtension=[{"url": HL7 + "data-absent-reason", "valueCode": "unknown"}]),
    "modifier-relative": _set(modifierExtension=[{"url": "a", "valueString": "b"}]),
}


def _companion(content: Any) -> Callable[[Any, random.Random], bool]:
    def change(site: Any, rng: random.Random) -> bool:
        if not site.element.primitive or site.holder is not site.owner or site.key in ("id", "div", "url"):
            return False
        site.owner[f"_{site.key}"] = copy.deepcopy(content)
        return True

    return change


def _companions(content: Any) -> Callable[[Any, random.Random], bool]:
    def change(site: Any, rng: random.Random) -> bool:
        if not site.element.primitive or site.holder is site.owner:
            return False
        site.owner[f"_{site.element.name}"] = copy.deepcopy(content)
        return True

    return change


def _other_case(site: Any, rng: random.Random) -> bool:
    binding = site.element.binding
    if site.element.type != "code" or binding is None or binding.strength != "required" or type(site.value) is not str:
        return False
    other = site.value.upper() if site.value != site.value.upper() else site.value.lower()
    site.set(other)
    return True


def _too_many(site: Any, rng: random.Random) -> bool:
    if site.holder is not site.owner:
        return False
    site.set([site.value, copy.deepcopy(site.value)])
    return True


def _none_left(site: Any, rng: random.Random) -> bool:
    if site.holder is site.owner:
        return False
    site.holder.clear()
    return True


def _listed_item(site: Any, rng: random.Random) -> bool:
    if site.holder is site.owner:
        return False
    site.set([site.value])
    return True


def _member(**members: Any) -> Callable[[Any, random.Random], bool]:
    def change(site: Any, rng: random.Random) -> bool:
        if type(site.value) is not dict or "resourceType" in site.value:
            return False
        site.value.update(copy.deepcopy(members))
        return True

    return change


def _only_companion(site: Any, rng: random.Random) -> bool:
    if not site.element.primitive or site.holder is not site.owner or site.key in ("id", "div", "url"):
        return False
    del site.owner[site.key]
    site.owner[f"_{site.key}"] = {"extension": [{"url": HL7 + "data-absent-reason", "valueCode": "bogus"}]}
    return True


SITES: dict[str, Callable[[Any, random.Random], bool]] = {
    "companion-empty": _companion({}),
    "companion-null": _companion(None),
    "companion-id-empty": _companion({"id": ""}),
    "companion-of-list": _companion([{"id": "a"}]),
    "companion-bogus": _companion({"bogus": 1}),
    "companion-no-url": _companion({"extension": [{"valueString": "a"}]}),
    "companion-only": _only_companion,
    "companions-longer": _companions([None] * 9 + [{"id": "a"}]),
    "companions-object": _companions({"id": "a"}),
    "companions-empty": _companions([]),
    "companions-null": _companions([None]),
    "code-case": _other_case,
    "too-many": _too_many,
    "none-left": _none_left,
    "listed-item": _listed_item,
    "element-type": _member(resourceType="Patient"),
    "element-id-blank": _member(id="a b"),
    "element-id-empty": _member(id=""),
    "element-id-number": _member(id=5),
    "element-extension-empty": _member(extension=[]),
    "element-extension-value": _member(extension=[{"url": "http://a.b", "valueString": ""}]),
    "element-modifier": _member(modifierExtension=[{"url": "http://a.b", "valueString": ""}]),
}
