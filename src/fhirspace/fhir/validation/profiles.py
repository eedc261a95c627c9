"""Our own extensions as StructureDefinitions, so that others can check what we write.

Source: FHIR, "Defining Extensions", StructureDefinition (differential only: any tool can make the snapshot of it).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fhirspace.standards.fhir import Release, definitions

BASE = "https://fhirspace.org/StructureDefinition/"
_EXTENSION = "http://hl7.org/fhir/StructureDefinition/Extension"


def extension_definition(
    name: str,
    context: str | Sequence[str],
    value: str | Sequence[str] | Mapping[str, str | Sequence[str]],
    description: str,
    *,
    release: Release = "R4",
    many: bool = False,
) -> dict[str, Any]:
    """The StructureDefinition of one of our extensions.

    Args:
        name: the last part of its address, as in ``unit-original``.
        context: where it may be used (``Observation``, ``Element``), one or several.
        value: the type of its value (``string``) or several; or, for an extension made of parts, the type of
            each part by its name.
        description: what it carries, one sentence.
        release: the release of FHIR that it is written for.
        many: whether it may occur several times.

    Raises:
        ValueError: a value type is none that an extension of that release can have.
    """
    title = " ".join(name.split("-"))
    return {
        "resourceType": "StructureDefinition",
        "id": name,
        "url": BASE + name,
        "name": "".join(part[:1].upper() + part[1:] for part in name.split("-")),
        "title": title[:1].upper() + title[1:],
        "status": "active",
        "description": description,
        "fhirVersion": definitions(release).version,
        "kind": "complex-type",
        "abstract": False,
        "context": [
            {"type": "element", "expression": item} for item in ([context] if isinstance(context, str) else context)
        ],
        "type": "Extension",
        "baseDefinition": _EXTENSION,
        "derivation": "constraint",
        "differential": {
            "element": [
                {"id": "Extension", "path": "Extension", "definition": description, "max": "*" if many else "1"},
                *_content(value, release),
                {"id": "Extension.url", "path": "Extension.url", "fixedUri": BASE + name},
                _value("Extension", None if isinstance(value, Mapping) else value, release),
            ]
        },
    }


def _content(value: str | Sequence[str] | Mapping[str, str | Sequence[str]], release: Release) -> list[dict[str, Any]]:
    """The elements of the parts; for a simple extension, that there are none."""
    path = "Extension.extension"
    if not isinstance(value, Mapping):
        return [{"id": path, "path": path, "max": "0"}]
    slicing = {"discriminator": [{"type": "value", "path": "url"}], "rules": "closed"}
    found: list[dict[str, Any]] = [{"id": path, "path": path, "slicing": slicing}]
    for part, types in value.items():
        inner = f"{path}:{part}"
        found += [
            {"id": inner, "path": path, "sliceName": part, "max": "1"},
            {"id": f"{inner}.extension", "path": f"{path}.extension", "max": "0"},
            {"id": f"{inner}.url", "path": f"{path}.url", "fixedUri": part},
            _value(path, types, release, inner),
        ]
    return found


def _value(path: str, types: str | Sequence[str] | None, release: Release, identity: str = "") -> dict[str, Any]:
    """The element of the value: its types, or that there is none."""
    element: dict[str, Any] = {"id": f"{identity or path}.value[x]", "path": f"{path}.value[x]"}
    if types is None:
        return {**element, "max": "0"}
    names = [types] if isinstance(types, str) else list(types)
    allowed = {
        child.type for child in definitions(release).children("Extension").values() if child.choice == "value[x]"
    }
    if not names or not allowed.issuperset(names):
        raise ValueError(f"{identity or path}: a value type of an {release} extension, such as string or Coding")
    return {**element, "min": 1, "type": [{"code": name} for name in names]}
