"""Resources of many types with a canary in every text, number and date, nested ones too, by FHIR's own definitions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from fhirspace.standards.fhir import Definitions, Element, definitions
from fhirspace.testing import CANARY
from fhirspace.testing.settings import TYPES
from tests.support.resources import ref, resource

NUMBER, DAY = 47110815, "1888-08-08"
CANARIES = (CANARY, str(NUMBER), DAY)
_AS_THEY_ARE = {"id", "meta", "contained", "extension", "modifierExtension"}
_DEPTH = 4


def filled(kind: str, name: str) -> dict[str, Any]:
    """A resource with every element of its type, one of each choice; its references lead to ``Organization/o-1``."""
    body = resource(kind, name, **_content(definitions(), kind, 0))
    body["contained"] = [{"resourceType": "Basic", "id": CANARY, "code": {"text": CANARY}}]
    body["extension"] = [{"url": f"urn:{CANARY}", "valueString": CANARY}]
    return body


def types() -> list[str]:
    """All types that the double lists, but for what the push itself writes."""
    return [kind for kind in TYPES.split() if kind != "Provenance"]


def canaries(node: Any) -> Iterator[str]:
    """The values of a resource that hold one."""
    if isinstance(node, dict | list):
        for each in node.values() if isinstance(node, dict) else node:
            yield from canaries(each)
    elif any(secret in json.dumps(node) for secret in CANARIES):
        yield str(node)


def _content(known: Definitions, path: str, depth: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    chosen: set[str] = set()
    for name, element in known.children(path).items():
        if name in _AS_THEY_ARE or (element.choice or "") in chosen or not (element.primitive or depth < _DEPTH):
            continue
        chosen |= {element.choice} if element.choice else set()
        value = _value(known, element, f"{path}.{name}", depth)
        found[name] = [value] if element.is_list else value
    return found


def _value(known: Definitions, element: Element, path: str, depth: int) -> Any:
    if element.type == "Reference":
        return {**ref("Organization", "o-1"), "display": CANARY, "identifier": {"system": "urn:x", "value": CANARY}}
    if not element.primitive:
        return _content(known, element.children_path, depth + 1)
    if element.type == "boolean":
        return True
    if element.type in ("integer", "positiveInt", "unsignedInt", "decimal"):
        return NUMBER
    if element.type in ("date", "dateTime", "instant"):
        return DAY if element.type == "date" else f"{DAY}T08:08:08Z"
    return f"{CANARY} {path}"
