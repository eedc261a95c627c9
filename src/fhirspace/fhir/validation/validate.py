"""Validation of FHIR files: NDJSON, single resources and Bundles, by the own check and, if asked, by fhir.resources."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from fhirspace.errors import InputError, Place, Problem, UsageError
from fhirspace.fhir.bundles import Kind, document, recognise
from fhirspace.fhir.ndjson import read, resource_type
from fhirspace.fhir.validation.check import check
from fhirspace.fhir.validation.leaves import Finding
from fhirspace.fhir.validation.quick import sound
from fhirspace.foreign import member
from fhirspace.json import JsonError, parse
from fhirspace.standards.fhir import Release, definitions
from fhirspace.tables.listing import is_file

__all__ = ["check", "validate"]

SUFFIXES = (".json", ".ndjson", ".json.gz", ".ndjson.gz")
_MODELS = {"R4": "fhir.resources.R4B", "R4B": "fhir.resources.R4B", "R5": "fhir.resources"}


def validate(paths: Iterable[Path], *, release: Release = "R4", full: bool = False) -> Iterator[Problem]:
    """Check FHIR files.

    Args:
        paths: files (NDJSON, a Bundle, one resource; gzip or not), and folders, of which all FHIR files are taken.
        release: the release of FHIR they are written in.
        full: check by the models of fhir.resources as well (R4 by those of R4B; the own check knows R4).

    Yields:
        A `Problem` for each finding: the place is file, line (NDJSON) and the element's path. A line that is no
        strict JSON, a file that is no FHIR or a folder without any are findings as well. Never a value.

    Raises:
        UsageError: FS432, `full` is asked for and fhir.resources is not installed.
    """
    models = models_of(release) if full else None
    found = False
    for path, given in _files(paths):
        try:
            kind = recognise(path)
            found = found or given or kind is not None
            if kind is not None:
                yield from _file(path, kind, release, models)
            elif given or path.name.partition(".")[0] in definitions(release).resources:
                # A folder of results holds other JSON too (a manifest), but what is named as a resource has to be one.
                found = True
                yield Problem("FS406", Place(path.name), "NDJSON, a Bundle or a resource")
        except InputError as error:
            found = True
            yield error.problem
    if not found:
        yield Problem("FS406", Place("."), "files of NDJSON or JSON")


def _files(paths: Iterable[Path]) -> Iterator[tuple[Path, bool]]:
    """Each file, and whether it was named itself (not found in a folder)."""
    for path in paths:
        if path.is_dir():
            named = (item for item in sorted(path.rglob("*")) if _named_json(item))
            yield from ((item, False) for item in named if is_file(item, path))
        else:
            yield path, True


def _named_json(path: Path) -> bool:
    return path.name.endswith(SUFFIXES)


def _file(path: Path, kind: Kind, release: Release, models: Any) -> Iterator[Problem]:
    lines: Iterable[tuple[int | None, bytes]] = read(path) if kind == "ndjson" else [(None, document(path))]
    for number, raw in lines:
        for column, code, expected in _resource(raw, release, models):
            named = resource_type(raw)
            table = member(named, 1) if named else ""
            yield Problem(code, Place(path.name, number, column or None), expected, table)


def _resource(raw: bytes, release: Release, models: Any) -> list[Finding]:
    try:
        found = [] if sound(raw, release) else check(parse(raw), release)
    except JsonError as error:
        return [("", error.code, error.expected)]
    return found or (by_models(raw, models) if models is not None else [])


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
