"""What the server stores about a resource: its digest, the tokens it is found by, the resources it refers to.

The bytes of a resource are kept as they were sent; no value is parsed and written again (``5.50`` stays ``5.50``).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from fhirspace.testing.messages import Refused

_decode = msgspec.json.Decoder(float_hook=lambda text: msgspec.Raw(text.encode("ascii"))).decode
_parts = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_LOCAL = re.compile(r"([A-Z][A-Za-z]+/[A-Za-z0-9.-]{1,64})(?:/_history/[A-Za-z0-9.-]+)?")
_SERVERS_OWN = ("versionId", "lastUpdated")


class Facts(NamedTuple):
    """`digest` of the content (key order and the server's own metadata do not matter), `tokens` such as
    ``identifier=system|value``, `refs` such as ``Patient/1``."""

    digest: bytes = b""
    tokens: frozenset[str] = frozenset()
    refs: frozenset[str] = frozenset()


NO_FACTS = Facts()
"""Those of a deletion."""


def parsed(body: bytes) -> dict[str, Any]:
    """The resource, decoded; decimals are kept as text. Raises Refused (400) when it is none."""
    try:
        resource = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Refused(400, "HAPI-0450: Failed to parse request body as JSON resource") from None
    if not isinstance(resource, dict) or not isinstance(resource.get("resourceType"), str):
        raise Refused(400, "HAPI-1838: Invalid JSON content detected, missing required element: 'resourceType'")
    return resource


def facts_of(resource: dict[str, Any], base: str) -> Facts:
    """The facts of a decoded resource; `base` is the server's own address."""
    meta = resource.get("meta")
    if isinstance(meta, dict):
        resource = {**resource, "meta": {name: item for name, item in meta.items() if name not in _SERVERS_OWN}}
        if not resource["meta"]:
            del resource["meta"]
    spelled = msgspec.json.encode(resource, order="sorted")
    tags = meta.get("tag") if isinstance(meta, dict) else None
    tokens = [*_tokens("_tag", tags, "code"), *_tokens("identifier", resource.get("identifier"), "value")]
    # What a Bundle that is stored whole refers to is its own affair.
    refs = frozenset(_refs(resource, base)) if resource.get("resourceType") != "Bundle" else frozenset()
    return Facts(hashlib.blake2b(spelled, digest_size=16).digest(), frozenset(tokens), refs)


def _tokens(name: str, items: Any, value: str) -> Iterator[str]:
    """Each spelling that a search may use: ``system|value``, ``value`` of any system, ``system|`` of any value."""
    for item in items if isinstance(items, list) else [items]:
        if isinstance(item, dict):
            system, text = item.get("system", ""), item.get(value, "")
            yield from (f"{name}={system}|{text}", f"{name}={text}", f"{name}={system}|")


def _refs(resource: dict[str, Any], base: str) -> Iterator[str]:
    for text in referring(resource):
        found = _LOCAL.fullmatch(text.removeprefix(base + "/"))
        if found:
            yield found[1]


def referring(content: Any) -> set[str]:
    """All references of a decoded resource as they are spelled, ``urn:uuid:`` ones and conditional ones too."""
    if isinstance(content, list):
        return {text for item in content for text in referring(item)}
    if not isinstance(content, dict):
        return set()
    inner = {text for item in content.values() for text in referring(item)}
    own = content.get("reference")
    return inner | {own} if isinstance(own, str) else inner


def redirected(content: Any, places: dict[str, str]) -> Any:
    """A decoded resource with references to the keys of `places` replaced by their values."""
    if isinstance(content, list):
        return [redirected(item, places) for item in content]
    if not isinstance(content, dict):
        return content
    made = {name: redirected(item, places) for name, item in content.items()}
    own = content.get("reference")
    return {**made, "reference": places.get(own, own)} if isinstance(own, str) else made


def path_of(content: Any, target: str, path: str) -> str:
    """The path of a reference to `target` in a decoded resource: ``Observation.subject``; "" without one."""
    if isinstance(content, list):
        return next((found for item in content if (found := path_of(item, target, path))), "")
    if not isinstance(content, dict):
        return ""
    if target in str(content.get("reference", "")):
        return path
    return next((found for name, item in content.items() if (found := path_of(item, target, f"{path}.{name}"))), "")


def with_id(body: bytes, name: str) -> bytes:
    """The resource with the id that the server gave it."""
    return msgspec.json.encode({**_parts(body), "id": name})


def rendered(body: bytes, version: int, when: str) -> bytes:
    """The resource as a server gives it out: with ``meta.versionId`` and ``meta.lastUpdated``."""
    parts = _parts(body)
    meta: dict[str, Any] = dict(_parts(parts["meta"])) if "meta" in parts else {}
    meta |= {"versionId": str(version), "lastUpdated": when}
    return msgspec.json.encode({**parts, "meta": meta})
