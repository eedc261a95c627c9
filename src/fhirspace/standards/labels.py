"""The labels that the SDTM model gives to the variables of its general observation classes.

A domain of the guide words some of them for itself ("Category for Lab Test"). A domain to which the class lends the
variable is not that one, and has the model's label.

Source: CDISC SDTM 2.0, section 3.1. Of labels over 40 bytes the usual short form.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_ALL: Final = {
    "--CAT": "Category",
    "--SCAT": "Subcategory",
    "--PRESP": "Pre-Specified",
    "--OCCUR": "Occurrence Indicator",
    "--REASND": "Reason Not Done",
    "--LAT": "Laterality",
    "--DIR": "Directionality",
    "--REFID": "Reference ID",
    "--LNKGRP": "Link Group ID",
    "NHOID": "Non-host Organism Identifier",
}
_INTERVENTIONS: Final = {
    "--TRT": "Name of Treatment",
    "--MODIFY": "Modified Treatment Name",
    "--DECOD": "Standardized Treatment Name",
    "--CLAS": "Class",
    "--CLASCD": "Class Code",
    "--DOSE": "Dose",
    "--DOSTXT": "Dose Description",
    "--DOSU": "Dose Units",
    "--DOSFRQ": "Dosing Frequency per Interval",
    "--DOSTOT": "Total Daily Dose",
    "--LOC": "Location of Dose Administration",
}
_EVENTS: Final = {"--TERM": "Reported Term", "--DECOD": "Dictionary-Derived Term", "--LOC": "Location of Event"}
_FINDINGS: Final = {
    "--TESTCD": "Short Name of Measurement, Test or Exam",
    "--TEST": "Name of Measurement, Test or Examination",
    "--ORRES": "Result or Finding in Original Units",
    "--STRESC": "Character Result/Finding in Std Format",
    "--STRESN": "Numeric Result/Finding in Standard Units",
    "--NAM": "Laboratory/Vendor Name",
    "--SPEC": "Specimen Material Type",
    "--METHOD": "Method of Test or Examination",
    "--ORNRLO": "Normal Range Lower Limit-Original Units",
    "--ORNRHI": "Normal Range Upper Limit-Original Units",
    "--STNRLO": "Normal Range Lower Limit-Standard Units",
    "--STNRHI": "Normal Range Upper Limit-Standard Units",
    "--STNRC": "Normal Range for Character Results",
    "--NRIND": "Normal/Reference Range Indicator",
    "--POS": "Position of Subject During Observation",
    "--LOC": "Location Used for the Measurement",
    "--XFN": "External File Path",
    "--TSTDTL": "Measurement, Test or Examination Detail",
    "--STREFC": "Reference Result in Standard Format",
}


def model_labels(klass: str) -> Mapping[str, str]:
    """The labels of an observation class by the general name of the variable (``--TRT``).

    A sponsor's own domain, whose class its name does not show, has those of all classes that agree.
    """
    own = {"Interventions": _INTERVENTIONS, "Events": _EVENTS, "Findings": _FINDINGS, "Findings About": _FINDINGS}
    if klass in own:
        return {**_ALL, **own[klass]}
    every = [_INTERVENTIONS, _EVENTS, _FINDINGS]
    shared = {name: text for labels in every for name, text in labels.items()}
    return _ALL | {name: text for name, text in shared.items() if all(each.get(name, text) == text for each in every)}
