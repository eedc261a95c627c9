"""The settings of the server, with their defaults."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

CANARY = "SECRET-CANARY"
"""A text in each OperationOutcome, since real servers quote values: check that it is not in your logs."""

TYPES = (
    "AdverseEvent AllergyIntolerance Basic CarePlan Condition Consent Coverage Device DiagnosticReport "
    "DocumentReference Encounter Group ImagingStudy Immunization Library List Location Medication "
    "MedicationAdministration MedicationRequest MedicationStatement Observation Organization Patient "
    "PlanDefinition Practitioner Procedure Provenance QuestionnaireResponse ResearchStudy ResearchSubject "
    "ServiceRequest Specimen Task"
)
INTERACTIONS = ("read", "vread", "history-instance", "create", "update", "delete", "search-type")
SEARCH = {"_id": "token", "_lastUpdated": "date", "_tag": "token", "identifier": "token"}


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(repr=False)
class Settings:
    """The settings; each may be changed at any time.

    Args:
        url: the FHIR base.
        fhir_version: what the metadata says.
        types: resource types that the metadata lists and that can be searched; others can be written and read.
        interactions: what can be done with a type; anything else answers 405.
        search_params: what can be searched by (of these four); anything else answers 400.
        versioning: what the metadata says of it.
        statement: elements that replace those of the metadata.
        documents: more JSON to serve, by the path below the base: ``{".well-known/smart-configuration": {...}}``.
        page: the most matches on a page.
        snapshots: the pages of a search are those of its first answer; otherwise each page counts anew, so that changes
            meanwhile shift them.
        next_link: makes another one of each ``next`` link, such as one that leads away.
        gzip: answers of 1,000 bytes and more are compressed for those who accept it.
        clock: the server's time, for ``Date`` and ``meta.lastUpdated``.
        integrity: a reference to what is not there is refused (400), and so is a deletion of what is referred to (409).
        keeps_version: content that has not changed makes no new version, as with HAPI.
        stale_status: the answer to an ``If-Match`` that does not fit; HAPI says 409.
        absent_match: any ``If-Match`` fits what was never there, as with HAPI; FHIR has it the other way round.
        ignores_match: ``If-Match`` is looked past.
        guards_delete: ``If-Match`` of a deletion counts; HAPI looks past it.
        client_ids: ``PUT Type/id`` of an unknown id creates it; otherwise it is answered with `client_id_status`
            (405, 400; HAPI: 404).
        bundle_types: the kinds of Bundle that are taken; the others are answered with `bundle_status` (400, 501).
        most_entries: a Bundle with more is answered with 413.
        most_bytes: a body with more is answered with 413.
        refuse: whether a resource (decoded) is invalid: 422.
        poison: whether the server fails at a resource (decoded): 500.
        name_entries: the OperationOutcome says which entries of a transaction were refused.
        authorize: whether the value of ``Authorization`` ("" when missing) is good; otherwise 401. The metadata and
            `documents` are open.
        token_life: how many requests one value of ``Authorization`` is good for; then 401.
        retry_after: seconds that ``Retry-After`` asks for.
        delay: seconds that a slow answer takes.
    """

    url: str = "http://127.0.0.1/fhir"
    fhir_version: str = "4.0.1"
    types: list[str] = field(default_factory=TYPES.split)
    interactions: set[str] = field(default_factory=lambda: set(INTERACTIONS))
    search_params: set[str] = field(default_factory=lambda: set(SEARCH))
    versioning: str = "versioned-update"
    statement: dict[str, Any] = field(default_factory=dict)
    documents: dict[str, Any] = field(default_factory=dict)
    page: int = 500
    snapshots: bool = True
    next_link: Callable[[str], str] = lambda link: link
    gzip: bool = True
    clock: Callable[[], datetime] = _now
    integrity: bool = True
    keeps_version: bool = True
    stale_status: int = 412
    absent_match: bool = False
    ignores_match: bool = False
    guards_delete: bool = True
    client_ids: bool = True
    client_id_status: int = 405
    bundle_types: set[str] = field(default_factory=lambda: {"transaction", "batch"})
    bundle_status: int = 400
    most_entries: int | None = None
    most_bytes: int | None = None
    refuse: Callable[[dict[str, Any]], bool] = lambda resource: False
    poison: Callable[[dict[str, Any]], bool] = lambda resource: False
    name_entries: bool = True
    authorize: Callable[[str], bool] = lambda value: True
    token_life: int | None = None
    retry_after: int = 1
    delay: float = 1.0

    def capabilities(self) -> dict[str, Any]:
        """The CapabilityStatement for these settings (FHIR, "capabilities" interaction)."""
        common = {
            "interaction": [{"code": code} for code in INTERACTIONS if code in self.interactions],
            "versioning": self.versioning,
            "readHistory": True,
            "updateCreate": self.client_ids,
            "conditionalCreate": True,
            "conditionalUpdate": True,
            "searchParam": [{"name": name, "type": SEARCH[name]} for name in sorted(self.search_params)],
        }
        binary = {"type": "Binary", "interaction": [{"code": "read"}]}
        rest = {
            "mode": "server",
            "resource": [*({"type": kind, **common} for kind in self.types), binary],
            "interaction": [{"code": code} for code in sorted(self.bundle_types)],
        }
        return {
            "resourceType": "CapabilityStatement",
            "status": "active",
            "date": self.clock().isoformat(timespec="seconds"),
            "kind": "instance",
            "software": {"name": "fhirspace.testing"},
            "fhirVersion": self.fhir_version,
            "format": ["application/fhir+json"],
            "rest": [rest],
            **self.statement,
        }
