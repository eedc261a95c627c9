"""The models of fhir.resources: a second witness of what is right, and resources as objects for Python users."""

from __future__ import annotations

import importlib
from typing import Any

from fhirspace.errors import UsageError
from fhirspace.fhir.validation.elements.findings import Finding
from fhirspace.fhir.wire import resource_type
from fhirspace.foreign import member
from fhirspace.standards.fhir import Release

_MODELS = {"R4": "fhir.resources.R4B", "R4B": "fhir.resources.R4B", "R5": "fhir.resources"}


def models_of(release: Release) -> Any:
    """The module of fhir.resources for a release. Raises UsageError (FS432) when it is not installed."""
    try:
        importlib.import_module("fhir.resources")
        return importlib.import_module(_MODELS[release])
    except ImportError:
        raise UsageError("FS432", "fhir.resources") from None


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
