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
_ONCE: Final = frozenset({"self", "first", "previous", "prev", "next", "last"})
_INSIDE: Final = {
    "Composition": ("subject", "encounter", "author", "attester", "custodian", "section"),
    "MessageHeader": ("focus",),
}

Placed = tuple[str, Fault]


def bundle(value: Mapping[str, Any]) -> list[Placed]:
    """A Bundle: each entry has the address of its resource; references match addresses, not ids alone."""
    listed = value.get("entry")
    entries = [each if type(each) is dict else {} for each in listed] if type(listed) is list else []
    named = value.get("type")
    kind = named if type(named) is str else ""
    found = [placed for place, entry in enumerate(entries) for placed in _identity(place, entry, kind)]
    found += _links(value.get("link"))
    if kind == "searchset":
        found += _matches(entries, value.get("link"))
    if kind in _CLOSED:
        found += _references(entries)
        found += _head(entries)
    if kind == "document":
        found += _orphans(entries)
    return found


def _links(links: Any) -> Iterator[Placed]:
    """``self``, ``next`` and the like lead to one page each."""
    seen: set[str] = set()
    for place, link in enumerate(links if type(links) is list else ()):
        relation = link.get("relation") if type(link) is dict else None
        if type(relation) is str and relation in _ONCE and relation in seen:
            yield f"link[{place}].relation", Fault("bundle-link", f"{relation} once")
        elif type(relation) is str:
            seen.add(relation)


def _matches(entries: list[dict[str, Any]], links: Any) -> Iterator[Placed]:
    """What matched a search is of a type that its address names; what reports on a search is an OperationOutcome."""
    found = [_searched(link) for link in links if type(link) is dict] if type(links) is list else []
    kinds = next((each for each in found if each), frozenset())
    for place, entry in enumerate(entries):
        search, resource = entry.get("search"), entry.get("resource")
        if type(search) is not dict or type(resource) is not dict:
            continue
        mode, named = search.get("mode"), resource.get("resourceType")
        if mode == "match" and kinds and named not in kinds:
            expected = f"{' or '.join(sorted(kinds))}, as the address of the search says"
            yield f"entry[{place}].resource", Fault("bundle-match", expected)
        elif mode == "outcome" and named != "OperationOutcome":
            yield f"entry[{place}].resource", Fault("bundle-outcome", "an OperationOutcome, as search.mode says")


def _searched(link: dict[str, Any]) -> frozenset[str]:
    """The types that are searched for by the address of a search; none where it does not say."""
    url = link.get("url")
    if link.get("relation") != "self" or type(url) is not str:
        return frozenset()
    path, _, query = url.partition("?")
    named = [path.removesuffix("/_search").rstrip("/").rpartition("/")[2]]
    if named[0] not in resource_types(""):
        asked = [each.removeprefix("_type=") for each in query.split("&") if each.startswith("_type=")]
        named = asked[0].split(",") if len(asked) == 1 else []
    return frozenset(named) if resource_types("").issuperset(named) else frozenset()


def _head(entries: list[dict[str, Any]]) -> Iterator[Placed]:
    """What the Composition of a document, or the MessageHeader of a message, refers to is in the Bundle."""
    first = entries[0].get("resource") if entries else None
    kind = first.get("resourceType") if type(first) is dict else None
    if type(first) is not dict or type(kind) is not str or kind not in _INSIDE:
        return
    url = entries[0].get("fullUrl")
    source = parsed(url) if type(url) is str and url.startswith("http") else None
    present = {entry["fullUrl"] for entry in entries if type(entry.get("fullUrl")) is str}
    keys = {f"{r.get('resourceType')}/{r.get('id')}" for e in entries if type(r := e.get("resource")) is dict}
    parts = {name: first[name] for name in _INSIDE[kind] if name in first}
    for text in sorted(set(texts(parts))):
        named = parsed(text)
        relative = named is not None and not named.base
        if text[:1] == "#" or (relative and named is not None and named.key in keys):
            continue
        address = (source.base if source is not None else "") + text if relative else text
        if address.partition("/_history/")[0] not in present:
            yield "entry[0].resource", Fault("bundle-reference", f"the resources that a {kind} names, in the Bundle")
            return


def _orphans(entries: list[dict[str, Any]]) -> Iterator[Placed]:
    """What the Composition of a document does not lead to, by references either way; a Binary may be a style sheet."""
    resources = [each["resource"] if type(each.get("resource")) is dict else {} for each in entries]
    if not resources or resources[0].get("resourceType") != "Composition":
        return
    linked = _linked(entries, resources)
    reached, waiting = {0}, [0]
    while waiting:
        new = linked[waiting.pop()] - reached
        reached |= new
        waiting += new
    for place, resource in enumerate(resources):
        if place not in reached and resource.get("resourceType") not in (None, "Binary"):
            yield f"entry[{place}]", Fault("bundle-orphan", "a resource that the Composition leads to")


def _linked(entries: list[dict[str, Any]], resources: list[dict[str, Any]]) -> list[set[int]]:
    """The places of the entries that each refers to, or that refer to it: by address, or by type and id."""
    linked: list[set[int]] = [set() for _ in entries]
    places: dict[str, int] = {}

    def link(place: int, name: str) -> None:
        other = places.get(name, place)
        linked[place].add(other)
        linked[other].add(place)

    for place, (entry, resource) in enumerate(zip(entries, resources, strict=True)):
        for name in (entry.get("fullUrl"), f"{resource.get('resourceType')}/{resource.get('id')}"):
            if type(name) is str:
                places.setdefault(name, place)
                link(place, name)  # to another entry of the same name
    for place, resource in enumerate(resources):
        for text in set(texts(resource)):
            named = parsed(text)
            link(place, text.partition("/_history/")[0])
            link(place, named.key if named is not None else "")
    return linked


def _identity(place: int, entry: dict[str, Any], kind: str) -> Iterator[Placed]:
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
    if type(resource) is not dict or (own[1] is None and kind in _WITHOUT_URL):
        return
    if own != (named.type, named.id):
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
        resource = entry.get("resource")
        for text in sorted(set(texts(resource))) if type(resource) is dict else ():
            named = parsed(text)
            if named is None or named.base or named.key not in addressed:
                continue
            base = source.base if source is not None and source.id else None
            if base is None or base + named.key not in addressed[named.key]:
                expected = "references that lead to the fullUrl of an entry: by the same base as its own, or in full"
                yield f"entry[{place}].resource", Fault("bundle-reference", expected)
                break
