"""Input of another FHIR release than it was read as: elements that only the other release has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from fhirspace.errors import Place, Problem
from fhirspace.foreign import listed
from fhirspace.standards.fhir import RELEASES, Release, definitions


def of_another_release(unmapped: Iterable[tuple[str, int, str]], release: Release) -> Iterator[Problem]:
    """One warning for each file and type with elements that its release does not have, and another one has.

    Args:
        unmapped: places of what no mapping reads: file, line, path. release: as which the files were read.
    """
    names: dict[tuple[str, str], dict[str, int]] = {}
    for file, line, path in unmapped:
        kind, _, element = path.partition(".")
        names.setdefault((file, kind), {}).setdefault(element.partition(".")[0].partition("[")[0].lstrip("_"), line)
    for (file, kind), lines in names.items():
        unknown = lines.keys() - _elements(kind, release)
        known = {other: unknown & _elements(kind, other) for other in RELEASES if other != release}
        other = max(known, key=lambda each: len(known[each]))
        if known[other]:
            line = min(lines[name] for name in known[other])
            detail = f"{listed(sorted(known[other]))} of {other}"
            yield Problem("FS472", Place(file, line, kind), f"elements that {kind} has in {release}", detail=detail)


def _elements(kind: str, release: Release) -> frozenset[str]:
    found = definitions(release)
    return frozenset(found.children(kind)) if kind in found.types else frozenset()
