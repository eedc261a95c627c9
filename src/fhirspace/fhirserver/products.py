"""Facts about FHIR servers beyond their CapabilityStatements: limits, behaviour, bulk import and export.

The facts are data (``products.toml``, with the documents they come from); ``docs/servers.md`` is made out of it.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec

from fhirspace.fhirserver.capability import Capability

Known = Literal["yes", "no", "setting", ""]
"""Whether a server does a thing: it depends on its settings ("setting"), or nothing is known ("")."""

SIZE = 160
"""Entries of a bundle to begin with, if nothing else is known."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What is known of one product. None and "" mean that no limit is published, or nothing is known.

    Args:
        key: its name in ``products.toml``; "" for a server that is not known.
        name: as people call it.
        software: patterns of names in the CapabilityStatement; hosts: patterns of the host name.
        entries: most entries of a bundle; bytes: most bytes of a request; resource_bytes: of one resource.
        size: entries of a bundle to begin with; connections: bundles under way at once; rate: bundles a second.
        transaction: what is known of transactions; batch: of batches; client_ids: of ``PUT Type/id`` that creates;
            conditional_update: of ``PUT Type?...``; integrity: of references to what is not there being refused;
            absent_version: the version that ``If-Match`` may name so that only what is not there is written.
        bulk_import: how bulk data get in; bulk_export: out.
        advice: on rates and sizes; quirks: other habits worth knowing; sources: titles of documents.
    """

    key: str = ""
    name: str = "an unknown server"
    software: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    entries: int | None = None
    bytes: int | None = None
    resource_bytes: int | None = None
    size: int = SIZE
    connections: int = 1
    rate: float | None = None
    transaction: Known = ""
    batch: Known = ""
    client_ids: Known = ""
    conditional_update: Known = ""
    integrity: Known = ""
    absent_version: str = ""
    bulk_import: str = ""
    bulk_export: str = ""
    advice: str = ""
    quirks: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()


@cache
def known_servers() -> tuple[Limits, ...]:
    """All products with facts, in the order of ``products.toml``."""
    text = files("fhirspace.fhirserver").joinpath("products.toml").read_text("utf-8")
    return tuple(_limits(key, fields) for key, fields in tomllib.loads(text).items())


def _limits(key: str, fields: dict[str, Any]) -> Limits:
    renamed = {
        {"import": "bulk_import", "export": "bulk_export"}.get(name, name): each for name, each in fields.items()
    }
    return msgspec.convert({"key": key, **renamed}, Limits)


def limits_of(capability: Capability, server: str) -> Limits:
    """The facts of the product behind a CapabilityStatement and an address; `Limits()` where it is not known.

    The address is asked first: cloud services run products of other names.
    """
    host = urlsplit(server).hostname or ""
    for facts in known_servers():
        if any(re.search(pattern, host, re.I) for pattern in facts.hosts):
            return facts
    for facts in known_servers():
        if any(re.search(pattern, name, re.I) for pattern in facts.software for name in capability.names):
            return facts
    return Limits()
