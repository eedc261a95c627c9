"""The words that Define-XML 2.1 allows in an attribute, and what words of other versions and misspelt ones mean.

Source: CDISC Define-XML 2.1, controlled terminology for Define-XML (classes, origins, standards); 2.0 for older words.
"""

from __future__ import annotations

from typing import Final

LANGUAGE: Final = "http://www.w3.org/XML/1998/namespace lang"
GUIDE: Final = "STD.IG"
"""The OID of the implementation guide's standard where a file of version 2.0 has none."""
TEXT_TYPES: Final = frozenset({"text", "string"})
NUMBER_TYPES: Final = frozenset({"integer", "float"})
_TYPES: Final = (
    *("text", "integer", "float", "date", "time", "datetime", "partialDate", "partialTime", "partialDatetime"),
    *("incompleteDatetime", "incompleteDate", "incompleteTime", "durationDatetime", "intervalDatetime"),
    *("string", "double", "URI", "boolean", "hexBinary", "base64Binary", "hexFloat", "base64Float"),
)
_CLASSES: Final = (
    *("ADAM OTHER", "BASIC DATA STRUCTURE", "DEVICE LEVEL ANALYSIS DATASET", "EVENTS", "FINDINGS", "FINDINGS ABOUT"),
    *("INTERVENTIONS", "MEDICAL DEVICE BASIC DATA STRUCTURE", "MEDICAL DEVICE OCCURRENCE DATA STRUCTURE"),
    *("OCCURRENCE DATA STRUCTURE", "REFERENCE DATA STRUCTURE", "RELATIONSHIP", "SPECIAL PURPOSE", "STUDY REFERENCE"),
    *("SUBJECT LEVEL ANALYSIS DATASET", "TRIAL DESIGN"),
)
_STANDARDS: Final = (
    *("ADaM-OCCDSIG", "ADaMIG", "ADaMIG-MD", "ADaMIG-NCA", "ADaMIG-popPK", "BIMO", "CDISC/NCI", "SDTMIG", "SDTMIG-AP"),
    *("SDTMIG-MD", "SENDIG", "SENDIG-AR", "SENDIG-DART", "SENDIG-GENETOX"),
)
_PUBLISHING_SETS: Final = ("ADaM", "CDASH", "DEFINE-XML", "SDTM", "SEND")
_STATUSES: Final = ("Draft", "Final", "Provisional")
_ORIGINS: Final = ("Assigned", "Collected", "Derived", "Not Available", "Other", "Predecessor", "Protocol")
_SOURCES: Final = ("Investigator", "Sponsor", "Subject", "Vendor")
_OLD_ORIGINS: Final = {"crf": ("Collected", "Investigator"), "edt": ("Collected", "Vendor")}
_COMPARATORS: Final = ("EQ", "NE", "IN", "NOTIN", "LT", "LE", "GT", "GE")
_METHODS: Final = ("Computation", "Imputation")


def _same(text: str) -> str:
    return "".join(sign for sign in text.casefold() if sign.isalnum())


def _one_of(allowed: tuple[str, ...], text: str, otherwise: str) -> str:
    """The allowed word that a text is, whatever its case and its hyphens."""
    return next((word for word in allowed if _same(word) == _same(text)), otherwise)


def data_type(text: str) -> str:
    """A data type; text for what is none."""
    return _one_of(_TYPES, text, "text")


def klass(text: str) -> str:
    """The class of a dataset, "" for what is none."""
    return _one_of(_CLASSES, text, "")


def standard(text: str, kind: str) -> str:
    """The name of a standard; a misspelt one is the guide, or the terminology where `kind` is CT."""
    plain = text.replace(" ", "")
    fallback = "CDISC/NCI" if kind == "CT" else "SDTMIG"
    return _one_of(_STANDARDS, plain, fallback)


def publishing_set(text: str) -> str:
    """The publishing set of a terminology, "" for what is none."""
    return _one_of(_PUBLISHING_SETS, text, "")


def status(text: str) -> str:
    """The status of a standard."""
    return _one_of(_STATUSES, text, "Final")


def origin(kind: str, source: str) -> tuple[str, str]:
    """Type and source of an origin; types of version 2.0 are translated; ("", "") for none."""
    old = _OLD_ORIGINS.get(_same(kind))
    if old:
        return old
    found = _one_of(_ORIGINS, kind, "Other" if kind.strip() else "")
    return found, _one_of(_SOURCES, source, "")


def comparator(text: str) -> str:
    """A comparator of a where clause."""
    return _one_of(_COMPARATORS, text, "EQ")


def method(text: str) -> str:
    """The type of a method."""
    return _one_of(_METHODS, text, "Computation")
