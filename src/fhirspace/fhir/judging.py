"""Validation as a part of other work: of what a run has written or pulled, or is about to send.

What validation needs is loaded when it is asked for, so that runs without it start as fast as before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Literal

from fhirspace.errors import Place, Problem
from fhirspace.fhir.files import FhirFile
from fhirspace.foreign import counted
from fhirspace.standards.fhir import Release

Judging = Literal["errors", "full"]
"""What is looked for: what breaks FHIR's rules; or also what FHIR only recommends."""
FailOn = Literal["error", "warning", "never"]
"""The lowest level of findings that keep a run from going on."""
_MOST = 10_000
"""Findings of one code that are listed; the rest is counted, so that memory does not grow with the faults."""
_DANGLING = "FS435"


def findings(files: Iterable[FhirFile], release: Release, judging: Judging, *, whole: bool = True) -> list[Problem]:
    """What is wrong with the resources of FHIR files.

    Args:
        files: the files. release: the release of FHIR they are written in. judging: what is looked for.
        whole: they are all of a set; else references that nothing among them answers are as they should be.

    Returns:
        The findings, as `fhirspace validate` prints them; of very many of one code the first, and how many more.
    """
    from fhirspace.fhir.validation.check import compiled  # noqa: PLC0415 - loaded only where somebody asks for it
    from fhirspace.fhir.validation.validate import validate_files  # noqa: PLC0415

    found = validate_files(files, checker=compiled(release, full=judging == "full"))
    return list(_first(each for each in found if whole or each.code != _DANGLING))


def counting(problems: Iterable[Problem], fail_on: FailOn) -> list[Problem]:
    """Those of some findings that are of a level that keeps a run from going on."""
    levels = {"error": ("error",), "warning": ("error", "warning"), "never": ()}[fail_on]
    return [each for each in problems if each.level in levels]


def _first(problems: Iterable[Problem]) -> Iterator[Problem]:
    counts: Counter[str] = Counter()
    for each in problems:
        counts[each.code] += 1
        if counts[each.code] <= _MOST:
            yield each
    for code, count in counts.items():
        if count > _MOST:
            more = counted(count - _MOST, "more finding", "more findings")
            yield Problem(code, Place("FHIR"), detail=f"{more} of this kind")
