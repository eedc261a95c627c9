"""fhirspace carries clinical-trial records to and from HL7 FHIR and CDISC tabulations, and proves that nothing is lost.

The public API, all of it. Everything is loaded when it is first used, so that importing the package costs nothing::

    import fhirspace

    done = fhirspace.convert("export", to="fhir", out="study")
    proof = fhirspace.roundtrip("export")
    fhirspace.push("study", "https://fhir.example.org/fhir")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from fhirspace.version import __version__

if TYPE_CHECKING:
    from fhirspace.api.delivery import bulk_pull, bulk_push, doctor, plan, pull, push, retry, undo, verify
    from fhirspace.api.demonstration import demo
    from fhirspace.api.functions import convert, roundtrip, validate
    from fhirspace.api.journals import connect, runs, status
    from fhirspace.api.result import Resources, Tables
    from fhirspace.api.study import Study
    from fhirspace.delivery.bulk.load import BulkReport
    from fhirspace.delivery.doctor.doctor import Preflight
    from fhirspace.delivery.plan.plan import Planned
    from fhirspace.delivery.pull.pull import PullReport
    from fhirspace.delivery.push.push import PushReport
    from fhirspace.delivery.undo import UndoReport
    from fhirspace.delivery.verify import VerifyReport
    from fhirspace.errors import (
        FhirspaceError,
        InputError,
        InterruptedRun,
        MappingError,
        Place,
        Problem,
        ServerError,
        UsageError,
        ValidationError,
        explain,
    )
    from fhirspace.fhirserver.config import Connection
    from fhirspace.forms.library import SourceLibrary
    from fhirspace.mapping.library import Library
    from fhirspace.mapping.read.extract import extract
    from fhirspace.mapping.write.render import render
    from fhirspace.study.convert import Conversion
    from fhirspace.study.roundtrip import Proof

__all__ = [
    "BulkReport",
    "Connection",
    "Conversion",
    "FhirspaceError",
    "InputError",
    "InterruptedRun",
    "Library",
    "MappingError",
    "Place",
    "Planned",
    "Preflight",
    "Problem",
    "Proof",
    "PullReport",
    "PushReport",
    "Resources",
    "ServerError",
    "SourceLibrary",
    "Study",
    "Tables",
    "UndoReport",
    "UsageError",
    "ValidationError",
    "VerifyReport",
    "__version__",
    "bulk_pull",
    "bulk_push",
    "connect",
    "convert",
    "demo",
    "doctor",
    "explain",
    "extract",
    "plan",
    "pull",
    "push",
    "render",
    "retry",
    "roundtrip",
    "runs",
    "status",
    "undo",
    "validate",
    "verify",
]

_MODULES = {
    "delivery.doctor.doctor": ("Preflight",),
    "delivery.bulk.load": ("BulkReport",),
    "delivery.pull.pull": ("PullReport",),
    "delivery.plan.plan": ("Planned",),
    "delivery.push.push": ("PushReport",),
    "delivery.undo": ("UndoReport",),
    "delivery.verify": ("VerifyReport",),
    "fhirserver.config": ("Connection",),
    "errors": (
        "FhirspaceError",
        "InputError",
        "InterruptedRun",
        "MappingError",
        "Place",
        "Problem",
        "ServerError",
        "UsageError",
        "ValidationError",
        "explain",
    ),
    "mapping.read.extract": ("extract",),
    "mapping.library": ("Library",),
    "mapping.write.render": ("render",),
    "forms.library": ("SourceLibrary",),
    "api.delivery": ("bulk_pull", "bulk_push", "doctor", "plan", "pull", "push", "retry", "undo", "verify"),
    "api.journals": ("connect", "runs", "status"),
    "api.demonstration": ("demo",),
    "api.functions": ("convert", "roundtrip", "validate"),
    "api.result": ("Resources", "Tables"),
    "api.study": ("Study",),
    "study.convert": ("Conversion",),
    "study.roundtrip": ("Proof",),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
