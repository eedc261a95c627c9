"""References that others made absolute, or gave a version, read as the relative ones that were written.

Our ids are keyed hashes: at whatever server, a resource with such an id is the one that was written. A version says
when somebody looked, not which resource is meant. Source: FHIR, "References" (literal references, versions).
"""

from __future__ import annotations

import re
from typing import Final

from fhirspace.fhir.references import parsed, rewritten

_OURS: Final = re.compile(r"[0-9a-f]{32}(?:-.*)?")
_MARKS: Final = (b"/_history/", b'"reference":"http', b'"reference": "http')


def relative(line: bytes) -> bytes:
    """A resource with its references as they were written; the same object where they are so."""
    return rewritten(line, _written) if any(mark in line for mark in _MARKS) else line


def _written(text: str) -> str | None:
    found = parsed(text)
    if found is None or not found.key:
        return None
    base = "" if _OURS.fullmatch(found.id) else found.base
    return f"{base}{found.key}" if base != found.base or found.version else None
