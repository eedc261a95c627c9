"""Rules of whole data types whose parts depend on each other: Identifier, Coding, Quantity, Attachment, Money.

Source: FHIR, "Data Types", "Using Codes in Resources" (the code systems of outer standards).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from fhirspace.fhir.validation.values import addresses, base64
from fhirspace.fhir.validation.values.bundle import bundle
from fhirspace.fhir.validation.values.codes import CURRENCIES, country, media_type
from fhirspace.fhir.validation.values.fault import Fault
from fhirspace.fhir.validation.values.languages import language
from fhirspace.fhir.validation.values.words import words
from fhirspace.json import number_text
from fhirspace.standards import ucum_codes

_CANONICAL: Final = words(
    """
    ActivityDefinition CapabilityStatement ChargeItemDefinition CodeSystem CompartmentDefinition ConceptMap
    EventDefinition ExampleScenario GraphDefinition ImplementationGuide Library Measure MessageDefinition NamingSystem
    OperationDefinition PlanDefinition Questionnaire SearchParameter StructureDefinition StructureMap
    TerminologyCapabilities TestScript ValueSet
    """
)
Placed = tuple[str, Fault]
"""The member of the object that is wrong, and how."""
Rule = Callable[[Mapping[str, Any]], list[Placed]]
UCUM: Final = "http://unitsofmeasure.org"
_WELL_KNOWN: Final = (
    "http://loinc.org",
    "http://snomed.info/sct",
    "http://www.nlm.nih.gov/research/umls/rxnorm",
    UCUM,
)
"""Systems of which no other address is one: editions are versions, answer lists are value sets."""
_URIS: Final = "urn:ietf:rfc:3986"
GRAMMARS: Final[Mapping[str, tuple[Callable[[str], bool], str]]] = {
    UCUM: (ucum_codes.valid, "a code of UCUM, such as mm[Hg]"),
    "urn:ietf:bcp:47": (language, "a language tag, such as en-US"),
    "urn:ietf:bcp:13": (media_type, "a media type, such as text/plain"),
    "urn:iso:std:iso:3166": (country, "a code of ISO 3166-1, such as DE or DEU"),
    "urn:iso:std:iso:4217": (CURRENCIES.__contains__, "a currency code of ISO 4217"),
}
"""Code systems without a list: whether a text is a code of one, and what is expected."""
VALUE_SETS: Final[Mapping[str, tuple[Callable[[str], bool], str]]] = {
    "http://hl7.org/fhir/ValueSet/languages": GRAMMARS["urn:ietf:bcp:47"],
    "http://hl7.org/fhir/ValueSet/all-languages": GRAMMARS["urn:ietf:bcp:47"],
    "http://hl7.org/fhir/ValueSet/mimetypes": GRAMMARS["urn:ietf:bcp:13"],
    "http://hl7.org/fhir/ValueSet/currencies": GRAMMARS["urn:iso:std:iso:4217"],
    "http://hl7.org/fhir/ValueSet/ucum-units": GRAMMARS[UCUM],
    "http://hl7.org/fhir/ValueSet/ucum-common": GRAMMARS[UCUM],
}
"""Value sets of such code systems, for elements of type code that are bound to them."""


def coding(value: Mapping[str, Any]) -> list[Placed]:
    """A Coding or Quantity: the system is an absolute address, the code is one of a system with a grammar."""
    system, code = value.get("system"), value.get("code")
    if type(system) is not str:
        return []
    found: list[Placed] = []
    if not addresses.absolute(system) and system[:1] != "#":  # a contained CodeSystem
        found.append(("system", Fault("system-absolute", "an absolute address, such as http://loinc.org")))
    elif system.startswith(_WELL_KNOWN) and system not in _WELL_KNOWN:
        known = max((each for each in _WELL_KNOWN if system.startswith(each)), key=len)
        found.append(("system", Fault("system-known", f"{known}, and nothing after it")))
    grammar = GRAMMARS.get(system)
    if grammar is not None and type(code) is str and not grammar[0](code):
        found.append(("code", Fault("code-grammar", grammar[1])))
    return found


def identifier(value: Mapping[str, Any]) -> list[Placed]:
    """An Identifier: the system is an absolute address; the value of a system of URIs is an absolute one."""
    system, text = value.get("system"), value.get("value")
    if type(system) is not str:
        return []
    if not addresses.absolute(system):
        return [("system", Fault("system-absolute", "an absolute address, such as urn:oid:2.16.840.1.113883.19"))]
    if system == _URIS and type(text) is str and not addresses.absolute(text):
        return [("value", Fault("identifier-uri", "an absolute URI, because of the system"))]
    return []


def attachment(value: Mapping[str, Any]) -> list[Placed]:
    """An Attachment: size (in R5 a text) and hash are those of the data."""
    data, stated, digest = value.get("data"), value.get("size"), value.get("hash")
    size = stated if type(stated) is str else number_text(stated)
    if size is not None and size.startswith("-"):
        return [("size", Fault("attachment-size", "a number of bytes, not below zero"))]
    if type(data) is not str or (size is None and digest is None):
        return []
    length = base64.decoded_length(data)
    if length is None:
        return []
    found: list[Placed] = []
    if size is not None and str(length) != size:
        found.append(("size", Fault("attachment-size", "the number of bytes in data")))
    if type(digest) is str and base64.sha1(data) != "".join(digest.split()):
        found.append(("hash", Fault("attachment-hash", "the SHA-1 of data, as base64")))
    return found


def canonical_resource(value: Mapping[str, Any]) -> list[Placed]:
    """A resource with an address of its own (CodeSystem, Questionnaire): the address is an absolute one."""
    url = value.get("url")
    if type(url) is not str or addresses.absolute(url):
        return []
    return [("url", Fault("canonical-absolute", "an absolute address, such as http://example.org/a"))]


RULES: Final[Mapping[str, Rule]] = {
    "Identifier": identifier,
    "Attachment": attachment,
    "Bundle": bundle,
    **dict.fromkeys(_CANONICAL, canonical_resource),
    **dict.fromkeys(
        words("Coding Quantity SimpleQuantity Age Count Distance Duration MoneyQuantity"),
        coding,
    ),
}
"""The rule of each data type that has one."""
