"""Preflight: what a FHIR server is and supports, and the strategy to deliver to it.

Only reads, searches that find nothing, and batches of one such read are sent: nothing is written.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from fhirspace.delivery.doctor import findings as find
from fhirspace.delivery.doctor.findings import Finding, Verdict
from fhirspace.delivery.doctor.probes import Probed, Watch, probe, searchable
from fhirspace.errors import EXIT_CLEAN, EXIT_FINDINGS, EXIT_SERVER, ServerError
from fhirspace.fhirserver.auth.kinds import from_environment
from fhirspace.fhirserver.capability import Capability, read
from fhirspace.fhirserver.http import tls
from fhirspace.fhirserver.http.client import Client, release_of, require_release
from fhirspace.fhirserver.products import Limits, limits_of
from fhirspace.fhirserver.strategy import Strategy, way

TYPES = (
    "AdverseEvent",
    "Basic",
    "CarePlan",
    "Condition",
    "Encounter",
    "Library",
    "MedicationAdministration",
    "MedicationStatement",
    "Observation",
    "Organization",
    "Patient",
    "Procedure",
    "Provenance",
    "ResearchStudy",
    "ResearchSubject",
    "Specimen",
)
"""The types that fhirspace writes: the default types to check."""

_EXITS: dict[Verdict, int] = {
    "error": EXIT_SERVER,
    "warning": EXIT_FINDINGS,
    "note": EXIT_CLEAN,
    "ok": EXIT_CLEAN,
}


@dataclass(frozen=True, slots=True)
class Preflight:
    """The result of examining a server before anything is sent to it.

    Args:
        server: the FHIR base; fhir: its release ("R4", ...).
        findings: in the order in which people read them.
        way: the strategy (None: delivery is impossible, and a finding says so).
        limits: what is known of its product.
    """

    server: str
    fhir: str
    findings: tuple[Finding, ...]
    way: Strategy | None
    limits: Limits

    @property
    def verdict(self) -> Verdict:
        """The worst verdict of the findings."""
        found = {finding.verdict for finding in self.findings}
        return next(verdict for verdict in _EXITS if verdict in found)

    @property
    def exit_code(self) -> int:
        """0 clean, 1 warnings, 4 a push would not work."""
        return _EXITS[self.verdict]

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "server": self.server,
            "fhir": self.fhir,
            "product": self.limits.key or None,
            "verdict": self.verdict,
            "way": self.way.as_dict() if self.way else None,
            "findings": [asdict(finding) for finding in self.findings],
            "exit_code": self.exit_code,
        }


def doctor(
    server: str,
    *,
    fhir: str | None = None,
    types: Iterable[str] = (),
    client: Client | None = None,
    signed: bool | None = None,
    certificate: Callable[[str], tls.Certificate | None] = tls.certificate,
    now: Callable[[], float] = time.time,
    insecure_http: bool = False,
) -> Preflight:
    """Look at a server before delivery; nothing is written.

    Args:
        server: its FHIR base URL.
        fhir: the release of what is to be delivered ("R4", "R4B", "R5"); None takes the server's.
        types: the resource types to be delivered; none are those that fhirspace writes.
        client: the transport; None: HTTP.
        insecure_http: whether data may go to another machine unencrypted, where no `client` is given.
        signed: whether the client signs in; None: if the environment has a token.
        certificate: looks at the certificate of an https address.
        now: seconds since 1970 by our clock.

    Raises:
        UsageError: FS514, FS595 the URL cannot be used.
        ServerError: FS510 unreachable, FS511 even the CapabilityStatement needs a sign-in, FS512 no FHIR server,
            FS513 another release.
    """
    client = client or Client(server, insecure_http=insecure_http)
    watch = Watch(client.seam, now)
    client = replace(client, transport=watch)
    statement = require_release(client, fhir)
    capability = read(statement)
    limits = limits_of(capability, client.server)
    wanted = tuple(dict.fromkeys(types)) or TYPES
    kind = searchable(capability.types, wanted)
    probed = probe(client, watch, kind, smart=bool(capability.security))
    chosen, refusal = _way(statement, limits, _listed(capability, wanted), probed)
    facts = Facts(
        server=client.server,
        release=f"{release_of(statement)} ({capability.release})",
        capability=capability,
        limits=limits,
        wanted=wanted,
        probed=probed,
        signed=from_environment() is not None if signed is None else signed,
        shown=certificate(client.server) if client.server.startswith("https:") else None,
        now=datetime.fromtimestamp(now(), UTC),
    )
    findings = (*refusal, *_findings(facts, chosen.without if chosen else ()))
    return Preflight(client.server, release_of(statement), findings, chosen, limits)


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that the findings are made from."""

    server: str
    release: str
    capability: Capability
    limits: Limits
    wanted: tuple[str, ...]
    probed: Probed
    signed: bool
    shown: tls.Certificate | None
    now: datetime


def _listed(capability: Capability, wanted: tuple[str, ...]) -> tuple[str, ...]:
    """The types wanted that the server lists; all of them where it lists none, or none of them."""
    return tuple(name for name in wanted if name in capability.types) or wanted


def _way(
    statement: dict[str, Any], limits: Limits, types: tuple[str, ...], probed: Probed
) -> tuple[Strategy | None, list[Finding]]:
    try:
        return way(statement, limits, types, batch=probed.batch, gzip=probed.gzip), []
    except ServerError as error:
        why = f"Expected {error.problem.expected}."
        return None, [Finding("delivery", "no way", "error", why, error.code)]


def _findings(facts: Facts, without: tuple[str, ...]) -> Iterator[Finding]:
    capability, probed, limits = facts.capability, facts.probed, facts.limits
    yield find.software(capability, limits)
    yield Finding("release", facts.release)
    yield from find.strange(probed)
    yield find.bundles(capability, probed)
    yield find.types(capability, facts.wanted, without)
    yield from find.ids(capability, limits, facts.wanted)
    yield find.searches(probed)
    yield find.undo(capability, facts.wanted)
    yield from find.bulk(capability, limits)
    yield find.limit(limits)
    yield find.formats(capability)
    yield find.compression(probed)
    yield find.sign_in(capability, probed, facts.server, signed=facts.signed)
    yield find.clocks(probed, signing=facts.signed or probed.read in (401, 403))
    yield find.encryption(facts.server, facts.shown, facts.now)
    yield find.proxy(tls.proxy_of(facts.server))
    yield find.latency(probed)
