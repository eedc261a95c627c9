"""The strategy of delivery: transactions, batches, single requests or conditional updates, in which size, and why.

Decided from the server's CapabilityStatement and what is known of its product. The CapabilityStatement has priority; if
neither says anything, the reason names the assumption.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from fhirspace.errors import ServerError
from fhirspace.fhirserver.capability import Capability, TypeCapability, read
from fhirspace.fhirserver.products import SIZE, Known, Limits
from fhirspace.foreign import counted

Carrier = Literal["transaction", "batch", "single"]
Kind = Literal[Carrier, "conditional"]

_MOST_BYTES = 8_000_000
_NOT_STATED = TypeCapability()


@dataclass(frozen=True, slots=True)
class Strategy:
    """How resources are sent to a server.

    Args:
        kind: ``PUT Type/id`` in transactions, in batches, or one a request ("single"); or ``PUT Type?identifier=``
            one a request ("conditional").
        size: entries of a bundle to begin with; most: a bundle may never have more (None: nobody says).
        bytes: a request is kept below it.
        connections: requests under way at once.
        rate: at most so many requests a second (None: nobody says).
        gzip: requests are sent compressed.
        why: a sentence for each of kind, size, connections and gzip.
        without: the wanted types that this server does not take at all.
    """

    kind: Kind
    size: int
    most: int | None
    bytes: int
    connections: int
    rate: float | None
    gzip: bool
    why: Mapping[str, str]
    without: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {**asdict(self), "without": list(self.without)}

    def __str__(self) -> str:
        what = {
            "transaction": f"transactions of PUT Type/id, {counted(self.size, 'resource')} each",
            "batch": f"batches of PUT Type/id, {counted(self.size, 'resource')} each",
            "single": "PUT Type/id, one resource a request",
            "conditional": "conditional updates (PUT Type?identifier=...), one resource a request",
        }
        return f"{what[self.kind]}, {self.connections} at a time{', gzip' if self.gzip else ''}"


def way(
    statement: Mapping[str, Any],
    limits: Limits,
    types: Iterable[str] = (),
    *,
    batch: bool | None = None,
    gzip: bool | None = None,
    conditional: bool = False,
) -> Strategy:
    """The strategy for a server. A pure function.

    Args:
        statement: its CapabilityStatement, decoded.
        limits: what is known of its product.
        types: the resource types to deliver; none are all that the server lists.
        batch: whether a batch was tried and understood (None: not tried).
        gzip: whether a compressed request was tried and understood (None: not tried).
        conditional: the server is to make the ids, whatever it says.

    Raises:
        ServerError: FS550, none of the types can be delivered.
    """
    capability = read(statement)
    wanted = tuple(dict.fromkeys(types)) or tuple(capability.types)
    refusing = [name for name in wanted if not _takes_ids(capability.types.get(name, _NOT_STATED), limits)]
    if conditional or refusing or (not wanted and limits.client_ids == "no"):
        kind: Kind = "conditional"
        why = "As it was asked for." if conditional else _why_conditional(refusing, capability, limits)
        without = tuple(name for name in wanted if not _conditionally(capability.types.get(name, _NOT_STATED), limits))
    else:
        kind, why = _bundled(capability, limits, batch)
        without = tuple(name for name in wanted if capability.types.get(name, _NOT_STATED).may("update") is False)
    if wanted and len(without) == len(wanted):
        raise ServerError("FS550", capability.software or limits.name, _expected(kind))
    return _sized(kind, why, limits, gzip, without)


def carrier(statement: Mapping[str, Any], limits: Limits) -> Carrier:
    """As what a conditional update travels: in a Bundle, so that its identifier is in no URL, if the server takes
    Bundles.

    Args: as `way`.
    """
    return _bundled(read(statement), limits, None)[0]


def _takes_ids(of: TypeCapability, limits: Limits) -> bool:
    """Whether ``PUT Type/id`` makes a resource; where nobody says, it is tried."""
    return limits.client_ids != "no" if of.update_create is None else of.update_create


def _conditionally(of: TypeCapability, limits: Limits) -> bool:
    able = limits.conditional_update in ("yes", "setting") if of.conditional_update is None else of.conditional_update
    findable = of.parameters is None or "identifier" in of.parameters
    return able and findable and of.may("update") is not False


def _expected(kind: str) -> str:
    if kind == "conditional":
        return "ids made by the client, or conditional updates of types that are searched by identifier"
    return "the interaction `update`"


def _why_conditional(refusing: list[str], capability: Capability, limits: Limits) -> str:
    stated = any(capability.types.get(name, _NOT_STATED).update_create is False for name in refusing)
    who = "The server says" if stated else f"It is known of {limits.name}"
    what = "" if not refusing or set(refusing) >= set(capability.types) else f" for {_some(refusing)}"
    return f"{who} that it makes the ids itself{what}, so resources are found by their identifier."


def _some(names: list[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _bundled(capability: Capability, limits: Limits, batch: bool | None) -> tuple[Carrier, str]:
    if capability.system is not None:
        return _stated(capability.system, batch)
    known: list[tuple[Carrier, Known]] = [("transaction", limits.transaction), ("batch", limits.batch)]
    for kind, value in known:
        if value == "yes":
            return kind, f"The server does not say what bundles it takes; {limits.name} is known to take this kind."
    if batch is False:
        return "single", "The server does not say what bundles it takes, and a batch that was tried failed."
    return "transaction", "The server does not say what bundles it takes; assumed, since one refused writes nothing."


def _stated(system: frozenset[str], batch: bool | None) -> tuple[Carrier, str]:
    if "transaction" in system:
        return "transaction", "The server says that it takes transactions: a bundle is stored whole or not at all."
    if batch is True or (batch is None and "batch" in system):
        tried = "One that was tried worked" if batch else "The server says so"
        return "batch", f"{tried}: batches, and no transactions; each entry stands for itself."
    if "batch" in system:
        return "single", "The server says that it takes batches, but one that was tried failed."
    return "single", "The server says that it takes neither transactions nor batches."


def _sized(kind: Kind, why: str, limits: Limits, gzip: bool | None, without: tuple[str, ...]) -> Strategy:
    bundled = kind in ("transaction", "batch")
    size = min(limits.size, limits.entries or limits.size) if bundled else 1
    return Strategy(
        kind=kind,
        size=size,
        most=limits.entries if bundled else 1,
        bytes=min(_MOST_BYTES, limits.bytes or _MOST_BYTES),
        connections=limits.connections,
        rate=limits.rate,
        gzip=gzip is True,
        why={
            "kind": why,
            "size": _why_size(size, limits) if bundled else "One resource a request.",
            "connections": _why_connections(kind, limits),
            "gzip": _why_gzip(gzip),
        },
        without=without,
    )


def _why_size(size: int, limits: Limits) -> str:
    if size == limits.entries:
        return f"{limits.name} takes no more than {counted(size, 'entry', 'entries')}."
    bound = f"{limits.name} takes up to {limits.entries:,}" if limits.entries else "No limit is known"
    start = f"sending begins with {size}" if size == SIZE else f"{size} did well with this product"
    return f"{bound}; {start}, and 413 halves it."


def _why_connections(kind: Kind, limits: Limits) -> str:
    if limits.connections == 1:
        return "Nothing is known of how many it likes at once, so one at a time."
    owner = " Each identifier has one writer." if kind == "conditional" else ""
    return f"Chosen for {limits.name}: enough to keep it busy without crowding others out.{owner}"


def _why_gzip(gzip: bool | None) -> str:
    reasons = {True: "A compressed request was tried and understood.", False: "A compressed request was refused."}
    return "Not tried." if gzip is None else reasons[gzip]
