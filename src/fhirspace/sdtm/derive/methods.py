"""Every derived variable with its method in words: the one table that Define-XML and the documentation are made from.

``--`` is the domain's prefix; names in braces are filled in where a derivation knows them. A derived value fills only
an empty cell.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

_PART: Final = re.compile(r"\{(\w+)\}")


class Method(NamedTuple):
    """How a variable is derived: its text, the section of SDTMIG 3.4 that asks for it, and where it is derived."""

    text: str
    section: str
    datasets: str


_LAST: Final = "Y on the last result on or before RFXSTDTC within {tests}."
_FINDINGS: Final = "findings with --TESTCD and --ORRES"
_VISITS: Final = "datasets with VISITNUM in the guide"
_ELEMENTS: Final = "From the study's elements and the subject's reference dates in DM."
_SV: Final = "SV, where a study that plans visits came without it"
_COLLECTED: Final = (
    "date of collection of the visit's records in any dataset, those not done left out, as far as partial dates leave "
    "it certain."
)
_AS_PLANNED: Final = (
    "As planned: the subject was treated and the study's design says all treated got their planned arm."
)

BEFORE: Final = "On the day on which an element starts, that of the element before it, unless times of day tell."
"""What is added to the method of EPOCH where the study says so."""

METHODS: Final[dict[str, Method]] = {
    "DOMAIN": Method("The domain's code, {code}.", "4.1.3", "all"),
    "--SEQ": Method("Whole numbers from 1 within {owner} in the order of the natural keys.", "4.1.5", "all with --SEQ"),
    "RFSTDTC": Method("Same as {source}.", "5.2", "DM"),
    "RFENDTC": Method("Same as {source}, of subjects with RFSTDTC.", "5.2", "DM"),
    "RFXSTDTC": Method("Earliest EXSTDTC of the subject, as far as partial dates leave it certain.", "5.2", "DM"),
    "RFXENDTC": Method(
        "Latest EXENDTC of the subject (EXSTDTC where it is empty), as far as partial dates leave it certain.",
        "5.2",
        "DM",
    ),
    "RFICDTC": Method("Earliest DSSTDTC with DSDECOD INFORMED CONSENT OBTAINED.", "5.2", "DM"),
    "RFPENDTC": Method(
        "Latest date of collection, exposure, visit, element or disposition of the subject in any dataset, or DTHDTC, "
        "with its time of day where one of that day is known.",
        "5.2",
        "DM",
    ),
    "DTHDTC": Method("Earliest DSSTDTC with DSDECOD DEATH.", "5.2", "DM"),
    "DTHFL": Method("Y where DTHDTC is filled, DSDECOD is DEATH or AEOUT is FATAL.", "5.2", "DM"),
    "AGE": Method(
        "Completed years from BRTHDTC to RFICDTC, or to RFSTDTC, or to DMDTC, the first that is filled; empty where a "
        "partial date leaves two ages possible.",
        "5.2",
        "DM",
    ),
    "AGEU": Method("YEARS where AGE is derived.", "5.2", "DM"),
    "ACTARMCD": Method(_AS_PLANNED, "5.2", "DM"),
    "ACTARM": Method(_AS_PLANNED, "5.2", "DM"),
    **dict.fromkeys(("SESEQ", "ETCD", "ELEMENT", "SESTDTC", "SEENDTC"), Method(_ELEMENTS, "5.3", "SE")),
    "SE.EPOCH": Method(_ELEMENTS, "5.3", "SE"),
    "VISITNUM": Method(
        "Number of the planned visit with this VISIT; unscheduled: last planned visit before it and two decimals.",
        "4.4.5",
        _VISITS,
    ),
    "VISIT": Method("Name of the planned visit with this VISITNUM.", "4.4.5", _VISITS),
    "VISITDY": Method("Planned day of the visit with this VISITNUM.", "4.4.5", _VISITS),
    "SV.VISITNUM": Method("Number of a visit of the subject in any dataset.", "5.4", _SV),
    **dict.fromkeys(("SV.VISIT", "SV.VISITDY"), Method("Of the records of the visit with this VISITNUM.", "5.4", _SV)),
    "SV.SVSTDTC": Method(f"Earliest {_COLLECTED}", "5.4", _SV),
    "SV.SVENDTC": Method(f"Latest {_COLLECTED}", "5.4", _SV),
    **dict.fromkeys(
        ("--DY", "--STDY", "--ENDY"),
        Method("{date} minus RFSTDTC in days, plus 1 on and after RFSTDTC.", "4.4.4", "all with the date"),
    ),
    "EPOCH": Method("EPOCH of the element in SE during which {date} falls.", "5.3", "all with EPOCH in the guide"),
    "--STRESC": Method(
        "--ORRES in the test's standard unit; its score where the study or other records of the test say it; as it is "
        "where it is no number or needs no conversion.",
        "6.3.1",
        _FINDINGS,
    ),
    "--STRESN": Method("The number of --STRESC where it is one without a comparator.", "6.3.1", _FINDINGS),
    "--STRESU": Method(
        "The test's standard unit, the original unit where the result cannot be converted.", "6.3.1", _FINDINGS
    ),
    "--STNRLO": Method("--ORNRLO in the standard unit.", "6.3.1", _FINDINGS),
    "--STNRHI": Method("--ORNRHI in the standard unit.", "6.3.1", _FINDINGS),
    "--NRIND": Method(
        "LOW below --ORNRLO, HIGH above --ORNRHI, otherwise NORMAL; a limit that is not given is none.",
        "6.3.1",
        _FINDINGS,
    ),
    "--LOBXFL": Method(_LAST, "4.5.9", "findings with --TESTCD and --DTC"),
    "--BLFL": Method(_LAST, "4.5.9", "the same, where study.yaml asks for it"),
}
"""The derived variables in the order in which they are derived."""


def method(variable: str, prefix: str = "", **parts: str) -> str:
    """The text of a variable's method, with the domain's prefix for ``--`` and `parts` for the names in braces."""
    text = METHODS[variable].text.replace("--", prefix)
    return _PART.sub(lambda part: parts[part[1]], text)
