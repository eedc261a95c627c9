"""One spelling for one resource, so that what was pushed can be compared with what is pulled, byte by byte.

Decimals are never parsed: `5.50` stays `5.50`, also `1.0E+3`. What the server adds to ``meta`` is taken off.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

import msgspec

from fhirspace.fhir.tags import VERSION
from fhirspace.json import canonical as spelt, exact, strict

# HAPI appends "#" and the id of the request (16 letters and digits) to whatever source was sent, or to nothing.
_REQUEST = re.compile(r"#[A-Za-z0-9]{16}$")
_SETS = ("profile", "security", "tag")


def cleaned(resource: bytes) -> bytes:
    """The resource as one line of NDJSON (without line end), elements in their order, without the server's metadata.

    Taken off: ``meta.versionId``, ``meta.lastUpdated``, the request id in ``meta.source``, and a ``meta`` left empty.

    Raises:
        JsonError: it is no strict JSON, or nested too deeply.
    """
    return msgspec.json.encode(_without_server(strict(resource)))


def canonical(line: bytes) -> bytes:
    """`cleaned`, with sorted keys, and the sets ``meta.profile``, ``.security`` and ``.tag`` in one order.

    A version in a Provenance's target is left out if the target also has it as an identifier: HAPI cuts it off.

    Raises:
        JsonError: it is no JSON; what is sent, and what a server sends, is looked at by `json.strict` before.
    """
    resource = _without_server(exact(line))
    if isinstance(resource, dict) and resource.get("resourceType") == "Provenance":
        _cut_versions(resource)
    meta = resource.get("meta") if isinstance(resource, dict) else None
    if isinstance(meta, dict):
        for name in _SETS:
            if isinstance(meta.get(name), list):
                meta[name] = sorted(meta[name], key=spelt)
    return spelt(resource)


def content(line: bytes) -> bytes:
    """The SHA-256 of `canonical`: two resources have the same one where they say the same."""
    return hashlib.sha256(canonical(line)).digest()


def _without_server(resource: Any) -> Any:
    meta = resource.get("meta") if isinstance(resource, dict) else None
    if not isinstance(meta, dict):
        return resource
    meta.pop("versionId", None)
    meta.pop("lastUpdated", None)
    if isinstance(meta.get("source"), str):
        meta["source"] = _REQUEST.sub("", meta["source"])
        if not meta["source"]:
            del meta["source"]
    if not meta:
        del resource["meta"]
    return resource


def _cut_versions(provenance: dict[str, Any]) -> None:
    targets = provenance.get("target")
    for target in targets if isinstance(targets, list) else ():
        match target:
            case {"reference": str(reference), "identifier": {"system": system, "value": value}}:
                if system == VERSION and value == reference:
                    target["reference"] = reference.partition("/_history/")[0]
