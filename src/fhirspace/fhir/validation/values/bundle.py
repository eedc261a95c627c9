"""Rules of a Bundle that are no invariants: identities of entries, and references that look as if they led to one.

Source: FHIR, "Bundle" (fullUrl, resolving references in bundles).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from fhirspace.fhir.references import parsed, texts
from fhirspace.fhir.validation.values import addresses
from fhirspace.fhir.validation.values.fault import Fault
from fhirspace.standards.fhir import resource_types

_WITHOUT_URL: Final = frozenset({"transaction", "batch", "transaction-response", "batch-response"})
_CLOSED: Final = frozenset({"document", "message"})
"""Types of Bundles whose references have to be resolved within them where they can."""

Placed = tuple[str, Fault]


def bundle(value: Mapping[str, Any]) -> list[Placed]:
    """A Bundle: each entry has the address of its resource; references match addresses, not ids alone."""
    listed = value.get("entry")
    entries = [each if type(each) is dict else {} for each in listed] if type(listed) is list else []
    kind = value.get("type")
    found = [placed for place, entry in enumerate(entries) for placed in _identity(place, entry, kind)]
    if kind in _CLOSED:
        found += _references(entries)
    return found


def _identity(place: int, entry: dict[str, Any], kind: Any) -> Iterator[Placed]:
    url, resource = entry.get("fullUrl"), entry.get("resource")
    if url is None:
        if type(resource) is dict and kind not in _WITHOUT_URL:
            yield f"entry[{place}]", Fault("bundle-url", "fullUrl, the address of the resource")
        return
    if type(url) is not str:
        return
    if not addresses.absolute(url):
        yield f"entry[{place}].fullUrl", Fault("bundle-url", "an absolute address")
        return
    named = parsed(url) if url.startswith("http") else None
    if named is None or not named.id or named.version or named.type not in resource_types(""):
        return
    own = (resource.get("resourceType"), resource.get("id")) if type(resource) is dict else (None, None)
    if type(own[1]) is str and own != (named.type, named.id):
        yield f"entry[{place}].fullUrl", Fault("bundle-url", "an address that ends with the resource's type and id")


def _references(entries: list[dict[str, Any]]) -> Iterator[Placed]:
    """Relative references that name a resource of the Bundle by type and id, but not by its address."""
    addressed: dict[str, set[str]] = {}
    for entry in entries:
        resource = entry.get("resource")
        if type(resource) is dict and type(entry.get("fullUrl")) is str:
            key = f"{resource.get('resourceType')}/{resource.get('id')}"
            addressed.setdefault(key, set()).add(entry["fullUrl"])
    for place, entry in enumerate(entries):
        url = entry.get("fullUrl")
        source = parsed(url) if type(url) is str and url.startswith("http") else None
        for text in sorted(set(texts(entry.get("resource") or {}))):
            named = parsed(text)
            if named is None or named.base or named.key not in addressed:
                continue
            base = source.base if source is not None and source.id else None
            if base is None or base + named.key not in addressed[named.key]:
                expected = "references that lead to the fullUrl of an entry: by the same base as its own, or in full"
                yield f"entry[{place}].resource", Fault("bundle-reference", expected)
                break
