"""URI, URL, canonical, OID, UUID and id, as FHIR allows them. Source: FHIR, "Data Types"; RFC 3986, RFC 4122, OID."""

from __future__ import annotations

import re
from typing import Final

_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.\-]*:.")
_OID: Final = re.compile(r"[0-2](?:\.(?:0|[1-9][0-9]*))+", re.ASCII)
_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_BLANK: Final = re.compile(r"\s")
_BARE: Final = ("oid:", "uuid:")
_LONGEST_OID: Final = 1000


def absolute(text: str) -> bool:
    """Whether an address begins with a scheme (``http:``, ``urn:``), in small letters as RFC 3986 asks for: FHIR
    compares URIs letter by letter."""
    return _SCHEME.match(text) is not None


def oid(text: str) -> bool:
    """Whether a text is an object identifier without ``urn:oid:``: ``2.16.840.1``, arcs of 0 and 1 below 40."""
    if len(text) > _LONGEST_OID or not _OID.fullmatch(text):
        return False
    first, second = text.split(".")[:2]
    return first == "2" or (len(second) <= 2 and int(second) < 40)


def uri(text: str) -> str:
    """What was expected of a URI that is none; "" for one that is right.

    A relative address passes. ``urn:oid:`` and ``urn:uuid:`` need the form of what they announce, which
    ``oid:`` and ``uuid:`` do not announce.
    """
    if not text or _BLANK.search(text):
        return "a URI without white space"
    if text.startswith(_BARE):
        return "urn:oid:... or urn:uuid:..., not oid: or uuid:"
    if text.startswith("urn:oid:") and not oid(text[8:]):
        return "an OID after urn:oid:, such as urn:oid:2.16.840.1.113883"
    if text.startswith("urn:uuid:") and not _UUID.fullmatch(text[9:].partition("#")[0]):
        return "a UUID in small letters after urn:uuid:"
    return ""
