"""Validation of FHIR files (see `files`): each resource by HL7's definitions, then all of them together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from fhirspace.errors import InputError, Place, Problem
from fhirspace.fhir.files import FhirFile, find
from fhirspace.fhir.validation.across import Across, Elsewhere
from fhirspace.fhir.validation.check import Checker, compiled, judged
from fhirspace.fhir.validation.elements.findings import Finding
from fhirspace.fhir.validation.quick import Quick
from fhirspace.fhir.validation.values.addresses import absolute, uri
from fhirspace.fhir.wire import resource_type
from fhirspace.foreign import counted, member
from fhirspace.json import JsonError, parse, parse_resource
from fhirspace.standards.fhir import Release

__all__ = ["findings_of", "validate", "validate_files"]


def validate(paths: Iterable[Path], *, fhir: Release = "R4", full: bool = False) -> Iterator[Problem]:
    """Check FHIR files.

    Args:
        paths: files and folders, as `files.find` takes them.
        fhir: the release of FHIR they are written in.
        full: with what FHIR only recommends: warnings and notes.

    Yields:
        A `Problem` for each finding: the place is file, line (NDJSON) or item (array), and the element's path. A file
        that cannot be read or holds no FHIR, and a folder without any, are findings as well. Never a value.

    Raises:
        InputError: as `files.find`.
    """
    found = find(paths)
    yield from found.problems()
    if not found.files and not found.faults:
        yield Problem("FS406", Place("."), "files of NDJSON or JSON")
    yield from validate_files(found.files, checker=compiled(fhir, full=full))


def validate_files(
    files: Iterable[FhirFile], *, checker: Checker, elsewhere: Elsewhere | None = None
) -> Iterator[Problem]:
    """`validate` for files that were recognised before; one that cannot be read to its end is a finding, too.

    Args:
        files: the files. checker: the checks. elsewhere: where resources are that these refer to.

    Raises:
        InputError: FS160, references name more resources than are looked for elsewhere.
    """
    checker.registry.begin(full=checker.full)
    across = Across(elsewhere)
    quick = Quick(checker)
    for file in files:
        name = file.name
        try:
            for number, raw, one in _resources(file):
                found = quick.findings(raw)
                if found is None:
                    yield from _resource(raw, checker, Place(name, number))
                elif found:
                    yield from _problems(found, raw, Place(name, number))
                across.add(raw, file, number, one=one, sound=found is not None)
        except InputError as error:
            yield error.problem
    yield from across.problems()
    yield from _of_all(checker)


def _of_all(checker: Checker) -> Iterator[Problem]:
    """Notes on all resources together: what profiles ask for and no resource has, what of them could not be judged."""
    known = checker.registry
    for url, missing in known.unsupported(full=checker.full):
        yield Problem("FS428", Place(url), detail=missing)
    for url, keys in known.unread():
        yield Problem("FS454", Place(url), detail=keys)
    for system, count in known.unjudged.counts() if known.unjudged else ():
        named = system if absolute(system) and not uri(system) else "a system without an address"
        yield Problem("FS439", Place(named), detail=counted(count, "different code"))


def _resources(file: FhirFile) -> Iterator[tuple[int | None, bytes, bool]]:
    """A Bundle is checked as the resource that it is, so that its own elements are looked at as well."""
    if file.kind in ("bundle", "resource"):
        yield None, file.document(), True
    else:
        yield from ((number, raw, False) for number, raw in file.resources())


def _resource(raw: bytes, checker: Checker, place: Place) -> list[Problem]:
    try:
        found = findings_of(raw, checker)
    except JsonError as error:
        return [Problem(error.code, place, error.expected, _type(raw), error.detail, unread=place.row is None)]
    return _problems(found, raw, place)


def _problems(found: Sequence[Finding], raw: bytes, place: Place) -> list[Problem]:
    named = _type(raw) if found else ""
    return [
        Problem(code, Place(place.file, place.row, column or None), expected, named) for column, code, expected in found
    ]


def _type(raw: bytes) -> str:
    named = resource_type(raw)
    return member(named, 1) if named else ""


def findings_of(raw: bytes, checker: Checker) -> list[Finding]:
    """The findings about one resource; that something is empty is one of them, also where the element is not known.

    Raises:
        JsonError: the text is no JSON.
    """
    found = judged(parse(raw), checker)
    if any(code == "FS420" for _, code, _ in found):
        return found
    kind = member(resource_type(raw), 1)
    return [*found, *((f"{kind}.{path}", "FS420", "a value, or no element") for path in parse_resource(raw)[1])]
