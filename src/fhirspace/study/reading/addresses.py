"""References that others made absolute, or gave a version, read as the relative ones that were written.

Our ids are keyed hashes: at whatever server, a resource with such an id is the one that was written. A version says
when somebody looked, not which resource is meant. What is the address of an entry of the same Bundle is the resource
of this entry. Source: FHIR, "References" (literal references, versions), "Bundle" (resolving references).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from fhirspace.fhir.files import FhirFile
from fhirspace.fhir.references import parsed, rewritten
from fhirspace.fhir.wire import own_key

_OURS: Final = re.compile(r"[0-9a-f]{32}(?:-.*)?")
_KEY: Final = re.compile(r"[^/]+/[^/]+")
_MARKS: Final = (b"/_history/", b'"reference":"http', b'"reference": "http', b'"urn:uuid:')


def relative(line: bytes, targets: Callable[[], Mapping[str, str]] = dict) -> bytes:
    """A resource with its references as they were written; the same object where they are so.

    Args:
        line: the resource as JSON. targets: gives the keys of addresses (`addressed`), asked for only if needed.
    """
    if not any(mark in line for mark in _MARKS):
        return line
    known = targets()
    return rewritten(line, lambda text: known.get(text) or _written(text))


def addressed(file: FhirFile) -> dict[str, str]:
    """By the address of an entry of a Bundle ``Type/id`` of its resource; nothing for other files.

    An address of two resources names none, and what has no id cannot be referred to.
    """
    found: dict[str, set[str]] = {}
    for entry in file.entries() if file.kind == "bundle" else ():
        if entry.fullUrl and _KEY.fullmatch(key := own_key(bytes(entry.resource))):
            found.setdefault(entry.fullUrl, set()).add(key)
    return {url: next(iter(keys)) for url, keys in found.items() if len(keys) == 1}


def _written(text: str) -> str | None:
    found = parsed(text)
    if found is None or not found.key:
        return None
    base = "" if _OURS.fullmatch(found.id) else found.base
    return f"{base}{found.key}" if base != found.base or found.version else None
