"""Small CapabilityStatements of the shapes that products publish, made by what their documents say."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

ALL = ("read", "vread", "update", "delete", "history-instance", "create", "search-type")
COMMON = ("_id", "_lastUpdated", "_tag")


def resource(
    kind: str, *, interactions: Iterable[str] = ALL, parameters: Iterable[str] = COMMON, **said: Any
) -> dict[str, Any]:
    """One ``rest.resource``; AdverseEvent of R4 has no search by identifier."""
    names = [*parameters, *([] if kind == "AdverseEvent" else ["identifier"])]
    return {
        "type": kind,
        "interaction": [{"code": code} for code in interactions],
        "searchParam": [{"name": name, "type": "token"} for name in names],
        **said,
    }


def statement(
    name: str,
    *,
    system: Iterable[str] | None = ("transaction", "batch"),
    types: Iterable[str] = ("Patient", "Observation", "AdverseEvent"),
    version: str = "4.0.1",
    top: dict[str, Any] | None = None,
    rest: dict[str, Any] | None = None,
    **said: Any,
) -> dict[str, Any]:
    """A CapabilityStatement of a product; `said` stands in each ``rest.resource``."""
    whole: dict[str, Any] = {"mode": "server", "resource": [resource(kind, **said) for kind in types], **(rest or {})}
    if system is not None:
        whole["interaction"] = [{"code": code} for code in system]
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "kind": "instance",
        "fhirVersion": version,
        "format": ["application/fhir+json", "json"],
        **({"software": {"name": name, "version": "1.0"}} if name else {}),
        **(top or {}),
        "rest": [whole],
    }


def security(*codes: str) -> dict[str, Any]:
    """A ``rest.security`` with these services."""
    return {"security": {"service": [{"coding": [{"code": code}]} for code in codes]}}


BY_ID: dict[str, Any] = {"versioning": "versioned", "updateCreate": True, "conditionalUpdate": True}

HAPI = statement(
    "HAPI FHIR Server",
    system=("transaction", "history-system"),
    top={"publisher": "Not provided", "implementation": {"description": "HAPI FHIR"}},
    versioning="versioned-update",
    conditionalUpdate=True,
)
AZURE = statement("Azure Health Data Services FHIR", rest=security("OAuth"), **BY_ID)
AZURE_OLD = statement("Azure API for FHIR", system=("batch",), **BY_ID)
GOOGLE = statement("", top={"publisher": "Google"}, **BY_ID)
GOOGLE_OWN_IDS = statement("", **{**BY_ID, "updateCreate": False})
HEALTHLAKE = statement("", top={"publisher": "AWS HealthLake"}, rest=security("SMART-on-FHIR"), versioning="versioned")
FIRELY = statement("Firely Server", **BY_ID)
MEDPLUM = statement("medplum", rest=security("OAuth", "Basic", "SMART-on-FHIR"), **{**BY_ID, "updateCreate": False})
AIDBOX = statement("", system=None, top={"publisher": "Aidbox by Health Samurai"}, versioning="versioned")
LINUXFORHEALTH = statement("LinuxForHealth FHIR Server", **BY_ID)
MICROSOFT = statement("Microsoft FHIR Server", top={"publisher": "Microsoft"}, system=("batch",), **BY_ID)
SILENT = {"resourceType": "CapabilityStatement", "fhirVersion": "4.0.1", "rest": [{"mode": "server"}]}
READ_ONLY = statement("A facade", system=("search-system",), interactions=("read", "search-type"))
