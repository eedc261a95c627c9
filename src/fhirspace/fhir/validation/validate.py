"""Validation of FHIR files (see `files`) by the own check and, if asked, by fhir.resources."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from fhirspace.errors import InputError, Place, Problem, UsageError
from fhirspace.fhir.files import FhirFile, find
from fhirspace.fhir.validation.check import check
from fhirspace.fhir.validation.leaves import Finding
from fhirspace.fhir.validation.quick import sound
from fhirspace.fhir.wire import resource_type
from fhirspace.foreign import member
from fhirspace.json import JsonError, parse, parse_resource
from fhirspace.standards.fhir import Release

__all__ = ["check", "validate", "validate_files"]

_MODELS = {"R4": "fhir.resources.R4B", "R4B": "fhir.resources.R4B", "R5": "fhir.resources"}


def validate(paths: Iterable[Path], *, fhir: Release = "R4", full: bool = False) -> Iterator[Problem]:
    """Check FHIR files.

    Args:
        paths: files and folders, as `files.find` takes them.
        fhir: the release of FHIR they are written in.
        full: check by the models of fhir.resources as well (R4 by those of R4B; the own check knows R4).

    Yields:
        A `Problem` for each finding: the place is file, line (NDJSON) or item (array), and the element's path. A file
        that cannot be read or holds no FHIR, and a folder without any, are findings as well. Never a value.

    Raises:
        InputError: as `files.find`. UsageError: FS432, `full` is asked for and fhir.resources is not installed.
    """
    found = find(paths)
    yield from found.problems()
    if not found.files and not found.faults:
        yield Problem("FS406", Place("."), "files of NDJSON or JSON")
    yield from validate_files(found.files, fhir=fhir, full=full)


def validate_files(files: Iterable[FhirFile], *, fhir: Release, full: bool) -> Iterator[Problem]:
    """`validate` for files that were recognised before; one that cannot be read to its end is a finding, too."""
    models = models_of(fhir) if full else None
    for file in files:
        try:
            yield from _file(file, fhir, models)
        except InputError as error:
            yield error.problem


def _file(file: FhirFile, release: Release, models: Any) -> Iterator[Problem]:
    """A Bundle is checked as the resource that it is, so that its own elements are looked at as well."""
    whole = file.kind in ("bundle", "resource")
    rows: Iterable[tuple[int | None, bytes]] = [(None, file.document())] if whole else file.resources()
    for number, raw in rows:
        yield from _resource(raw, release, models, Place(file.name, number))


def _resource(raw: bytes, release: Release, models: Any, place: Place) -> list[Problem]:
    try:
        found = [] if sound(raw, release) else _checked(raw, release)
    except JsonError as error:
        return [Problem(error.code, place, error.expected, _type(raw), error.detail)]
    if not found and models is not None:
        found = by_models(raw, models)
    named = _type(raw) if found else ""
    return [Problem(code, replace(place, column=column or None), expected, named) for column, code, expected in found]


def _type(raw: bytes) -> str:
    named = resource_type(raw)
    return member(named, 1) if named else ""


def _checked(raw: bytes, release: Release) -> list[Finding]:
    """The findings of the check; that something is empty is one of them, also where the element is not known."""
    found = check(parse(raw), release)
    if any(code == "FS420" for _, code, _ in found):
        return found
    kind = member(resource_type(raw), 1)
    return [*found, *((f"{kind}.{path}", "FS420", "a value, or no element") for path in parse_resource(raw)[1])]


def models_of(release: Release) -> Any:
    """The module of fhir.resources for a release. Raises UsageError (FS432) when it is not installed."""
    try:
        importlib.import_module("fhir.resources")
        return importlib.import_module(_MODELS[release])
    except ImportError:
        raise UsageError("FS432", "--full", "pip install 'fhirspace[full]'") from None


def by_models(raw: bytes, models: Any) -> list[Finding]:
    """What the models of fhir.resources refuse: the path and the kind of rule, never their message (it quotes)."""
    from pydantic import ValidationError  # noqa: PLC0415 - heavy, and only with full

    kind = resource_type(raw)
    try:
        model = models.get_fhir_model_class(kind)
    except (LookupError, ValueError, ImportError):
        return [(member(kind, 1), "FS431", "a type that fhir.resources knows")]
    try:
        model.model_validate_json(raw)
    except ValidationError as error:
        return [
            (_path(kind, item["loc"]), "FS430", f"what the rule {item['type']} wants")
            for item in error.errors(include_url=False, include_context=False, include_input=False)
        ]
    return []


def _path(kind: str, location: tuple[int | str, ...]) -> str:
    return kind + "".join(
        f"[{part}]" if isinstance(part, int) else f".{member(part, at)}" for at, part in enumerate(location, 1)
    )
