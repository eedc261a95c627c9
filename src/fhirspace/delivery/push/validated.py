"""Validation before delivery: resources that break FHIR's rules are found before any of them is sent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fhirspace.errors import Place, Problem, ValidationError
from fhirspace.fhir.files import FhirFile
from fhirspace.fhir.judging import FailOn, Judging, counting, findings
from fhirspace.fhirserver.capability import known_release
from fhirspace.foreign import counted


def validated(
    files: Sequence[FhirFile], statement: dict[str, Any], judging: Judging | None, fail_on: FailOn, name: str
) -> list[Problem]:
    """What is wrong with the resources of files that are about to be sent; nothing where nobody asks.

    Files that cannot be read are left out: delivery reports them itself.

    Args:
        files: the files. statement: that of the server, whose release of FHIR they must be in.
        judging: what is looked for, None: nothing. fail_on: the findings that keep everything from being sent.
        name: that of the folder, for the error.

    Raises:
        ValidationError: FS570, there are such findings.
    """
    if judging is None:
        return []
    found = [each for each in findings(files, known_release(statement), judging) if not each.unread]
    if wrong := counting(found, fail_on):
        raise ValidationError("FS570", Place(name), detail=counted(len(wrong), "finding"), problems=found)
    return found
