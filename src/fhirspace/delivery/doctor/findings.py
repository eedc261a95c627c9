"""The findings of `doctor`: pure functions of a server's CapabilityStatement, its answers and its product."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import ceil
from typing import Literal
from urllib.parse import urlsplit

from fhirspace.delivery.doctor.probes import Probed
from fhirspace.errors import explain
from fhirspace.fhirserver.capability import Capability, text
from fhirspace.fhirserver.http.origin import is_this_machine
from fhirspace.fhirserver.http.tls import Certificate
from fhirspace.fhirserver.products import Known, Limits
from fhirspace.foreign import counted

Verdict = Literal["ok", "note", "warning", "error"]

SOME_SECONDS = 5.0
"""From here on a difference of the clocks is worth a warning."""

TOO_MANY_SECONDS = 60.0
"""From here on servers refuse signed assertions, or take them for expired."""

_DAYS = 21


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found out about a server.

    Args:
        name: what was looked at; value: what was found, in few words.
        verdict: ok, note (worth knowing), warning, error (a push would not work).
        why: a sentence about it; "" where the value says all.
        code: the entry of the error catalogue, for warnings and errors.
    """

    name: str
    value: str
    verdict: Verdict = "ok"
    why: str = ""
    code: str = ""


def _wrong(name: str, value: str, code: str, why: str = "") -> Finding:
    """A warning or an error, as the catalogue has it."""
    return Finding(name, value, explain(code).level, why, code)


def software(capability: Capability, limits: Limits) -> Finding:
    """What product it is, and whether it is known."""
    name = f"{capability.software or limits.name} {capability.version}".strip()
    if not limits.key:
        return Finding("software", name, "note", "Nothing is known of this product beside what it says itself.")
    return Finding(
        "software", name, "ok", "" if limits.name.casefold() in name.casefold() else f"This is {limits.name}."
    )


def bundles(capability: Capability, probed: Probed) -> Finding:
    """Which bundles it takes."""
    if probed.batch is False and capability.system is not None and "batch" in capability.system:
        return _wrong("bundles", "batch is stated, but failed when tried", "FS559")
    tried = {True: "; a batch was tried and works", False: "; a batch was tried and failed", None: ""}[probed.batch]
    if capability.system is None:
        return Finding("bundles", f"not stated{tried}", "note")
    kinds = [kind for kind in ("transaction", "batch") if kind in capability.system]
    return Finding("bundles", (", ".join(kinds) or "none") + tried, "ok" if kinds else "note")


def strange(probed: Probed) -> Iterator[Finding]:
    """What answers with success and is no FHIR: a push would be stopped by it."""
    if probed.strange:
        why = "A sign-in page, a proxy or another program answers in the server's place."
        yield _wrong("answers", "; ".join(probed.strange), "FS512", why)


def types(capability: Capability, wanted: Sequence[str], without: Sequence[str]) -> Finding:
    """Which of the types wanted it takes."""
    if not capability.types:
        return Finding("types", "not stated", "note")
    missing = [name for name in wanted if name not in capability.types or name in without]
    if missing:
        return _wrong("types", f"not taken: {', '.join(missing)}", "FS551")
    return Finding("types", f"all that are wanted ({len(wanted)})")


def ids(capability: Capability, limits: Limits, wanted: Sequence[str]) -> Iterator[Finding]:
    """Whether clients may make ids, and conditional updates; what is assumed if the server does not state it."""
    there = [capability.types[name] for name in wanted if name in capability.types]
    created, conditional = [each.update_create for each in there], [each.conditional_update for each in there]
    yield _able("client ids", created, limits, limits.client_ids, unknown="assumed")
    yield _able("conditional update", conditional, limits, limits.conditional_update, unknown="assumed not")


def _able(name: str, flags: Sequence[bool | None], limits: Limits, known: Known, *, unknown: str) -> Finding:
    value = _shares(flags)
    if value != "not stated":
        return Finding(name, value)
    silent = {
        "yes": f"{limits.name} does",
        "no": f"{limits.name} does not",
        "setting": f"a setting of {limits.name}, assumed",
        "": unknown,
    }
    return Finding(name, f"{value}; {silent[known]}", "ok" if known in ("yes", "no") else "note")


def _shares(flags: Sequence[bool | None]) -> str:
    counts = {"yes": flags.count(True), "no": flags.count(False), "not stated": flags.count(None)}
    some = {word: count for word, count in counts.items() if count}
    if len(some) == 1:
        return next(iter(some))
    return ", ".join(f"{word} for {count}" for word, count in some.items()) or "not stated"


def undo(capability: Capability, wanted: Sequence[str]) -> Finding:
    """Whether a run can be undone: versions, their history, and deletes."""
    there = [capability.types[name] for name in wanted if name in capability.types]
    lacking = {
        "versions": any(each.versioning == "no-version" for each in there),
        "history": any(each.may("history-instance") is False for each in there),
        "deletes": any(each.may("delete") is False for each in there),
    }
    missing = [name for name, lacks in lacking.items() if lacks]
    if missing:
        return _wrong("undo", f"not for all types: {', '.join(missing)}", "FS557")
    if not any(each.versioning or each.interactions for each in there):
        return Finding("undo", "not stated", "note")
    return Finding("undo", "versions, history, deletes")


def searches(probed: Probed) -> Finding:
    """Which of the searches needed it understands; tried, not only stated."""
    if probed.read in (401, 403):
        return Finding("searches", "not tried without sign-in", "note")
    known = [name for name, understood in probed.parameters.items() if understood]
    refused = [name for name, understood in probed.parameters.items() if understood is False]
    if refused:
        return _wrong("searches", f"refused for {probed.type}: {' '.join(refused)}", "FS556")
    if probed.ignored:
        return _wrong("searches", f"passed over for {probed.type}: {' '.join(probed.ignored)}", "FS556")
    if len(known) < len(probed.parameters):
        return Finding("searches", f"understood: {' '.join(known) or 'none'}; no clear answer to the others", "note")
    return Finding("searches", f"{' '.join(known)} (tried on {probed.type})")


def bulk(capability: Capability, limits: Limits) -> Iterator[Finding]:
    """Bulk import and export: what the server states, and what is known of its product."""
    for name, known in (("import", limits.bulk_import), ("export", limits.bulk_export)):
        value = f"${name}" if name in capability.operations else "not stated"
        yield Finding(f"bulk {name}", f"{value} ({limits.name}: {known})" if known else value)


def limit(limits: Limits) -> Finding:
    """What is known of limits."""
    parts = [
        f"{counted(limits.entries, 'entry', 'entries')} a bundle" if limits.entries else "",
        f"{limits.bytes / 1e6:,.0f} MB a request" if limits.bytes else "",
        f"{limits.rate:g} bundles a second" if limits.rate else "",
        limits.advice,
    ]
    return Finding("limits", "; ".join(part for part in parts if part) or "none known")


def formats(capability: Capability) -> Finding:
    """Which formats it speaks."""
    short = dict.fromkeys(name.removeprefix("application/").removeprefix("fhir+") for name in capability.formats)
    return Finding("formats", ", ".join(short) or "not stated")


def compression(probed: Probed) -> Finding:
    """Whether answers come compressed and requests may be; tried."""
    requests = {True: "yes", False: "no", None: "not tried"}[probed.gzip]
    return Finding("compression", f"answers: {'yes' if probed.packed else 'no'}, requests: {requests}")


def sign_in(capability: Capability, probed: Probed, server: str, *, signed: bool) -> Finding:
    """Whether a read needs a sign-in, and which is offered."""
    offers = [*dict.fromkeys(capability.security), *_smart(probed)]
    offered = f"offered: {', '.join(offers)}" if offers else "the server does not say which kind"
    if probed.read == 401:
        return _wrong("sign-in", "refused" if signed else f"needed; {offered}", "FS511")
    if probed.read == 403:
        return _wrong("sign-in", f"may not read {probed.type}", "FS511")
    if probed.read is None or probed.read >= 400:
        return Finding("sign-in", "no clear answer to a search", "note")
    if signed:
        return Finding("sign-in", "accepted")
    if local(server):
        return Finding("sign-in", "none needed")
    return _wrong("sign-in", f"none needed to read; {offered}" if offers else "none needed to read", "FS555")


def _smart(probed: Probed) -> Iterator[str]:
    methods = probed.smart.get("token_endpoint_auth_methods_supported")
    if isinstance(methods, list) and "private_key_jwt" in methods:
        signed = probed.smart.get("token_endpoint_auth_signing_alg_values_supported")
        names = "/".join(map(text, signed)) if isinstance(signed, list) else "any algorithm"
        yield f"private_key_jwt with {names}"


def clocks(probed: Probed, *, signing: bool) -> Finding:
    """Whether the clocks agree; `signing`: a sign-in is needed."""
    if probed.skew is None:
        return Finding("clock", "the server does not tell its time", "note")
    off = abs(probed.skew)
    if off <= SOME_SECONDS:
        return Finding("clock", f"agrees within {max(1, ceil(off))} s")
    value = f"the server's is {off:,.0f} s {'ahead' if probed.skew > 0 else 'behind'}"
    return _wrong("clock", value, "FS552" if signing and off > TOO_MANY_SECONDS else "FS558")


def encryption(server: str, shown: Certificate | None, now: datetime) -> Finding:
    """TLS and how long the certificate lasts."""
    if not server.startswith("https:"):
        if local(server):
            return Finding("encryption", "none, on this machine")
        return _wrong("encryption", "none", "FS554")
    if shown is None:
        return Finding("encryption", "accepted; the certificate could not be looked at", "note")
    days = (shown.ends - now).days
    value = f"{shown.version}, certificate of {shown.issuer or 'an unnamed issuer'} until {shown.ends:%Y-%m-%d}"
    if days < _DAYS:
        return _wrong("encryption", f"{value}, {counted(days, 'day')} left", "FS553")
    return Finding("encryption", f"{value}, {counted(days, 'day')} left")


def proxy(address: str | None) -> Finding:
    """Whether a proxy of the environment is used; its user name and password are not shown."""
    if address is None:
        return Finding("proxy", "none")
    parts = urlsplit(address)
    try:
        port = parts.port
    except ValueError:
        return Finding("proxy", f"{parts.hostname}, with a port that is none", "note")
    return Finding("proxy", f"{parts.hostname}:{port}" if port else str(parts.hostname), "note")


def latency(probed: Probed) -> Finding:
    """How long a search takes."""
    return Finding("latency", "unknown" if probed.latency is None else f"{probed.latency * 1000:,.0f} ms a search")


def local(server: str) -> bool:
    """Whether the server is on this machine."""
    return is_this_machine(urlsplit(server).hostname)
