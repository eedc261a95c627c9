"""Writes mappings/profiles/*.json: a StructureDefinition for each extension of ours that the domain mappings use.

The content of an extension and its place are read from the compiled mappings of all releases, so that the published
definitions cannot disagree with what is written. Run it after a change of a mapping; a test holds that the files are
up to date. Source: FHIR R4, "Defining Extensions".
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fhirspace.fhir.validation.profiles import BASE, extension_definition
from fhirspace.mapping.library import Library
from fhirspace.mapping.model import CARRIED_URL, Arr, Carried, Each, Mapping, Node, Obj, OneOf, walk
from fhirspace.standards.fhir import Release, definitions
from fhirspace.template.slots import Leaf

RELEASES: tuple[Release, ...] = ("R4", "R4B", "R5")
TARGET = Path(__file__).parents[1] / "mappings" / "profiles"
_CARRIED = "Cells of a source row that have no element here, by variable: text as it was."
_MORE = "supplemental qualifiers and carried cells"


@dataclass
class Use:
    """What the mappings do with an extension: its places, value types, parts, nested extensions, domains, number."""

    contexts: set[str] = field(default_factory=set)
    types: set[str] = field(default_factory=set)
    parts: dict[str, set[str]] = field(default_factory=dict)
    nested: bool = False
    columns: set[str] = field(default_factory=set)
    domains: set[str] = field(default_factory=set)
    many: bool = False


def uses(releases: tuple[Release, ...] = RELEASES) -> dict[str, Use]:
    """All uses of extensions of ours in the shipped mappings, by name (the last part of the address)."""
    found: dict[str, Use] = {}
    for release in releases:
        mappings = Library(release).complete()
        for mapping in mappings.values():
            if mapping.item is not None and (name := _name(mapping.item)):
                _note(mapping.item, name, _parent(mapping, mappings), mapping, found, many=True)
            for root in mapping.roots():
                _walk(root, mapping, found)
    return dict(sorted(found.items()))


def _walk(node: Node, mapping: Mapping, found: dict[str, Use]) -> None:
    if isinstance(node, Obj):
        for _, child in node.fields:
            if isinstance(child, Arr):
                _extensions(child, node.path, mapping, found)
            _walk(child, mapping, found)
    elif isinstance(node, Arr | OneOf):
        for child in node.items if isinstance(node, Arr) else node.options:
            _walk(child, mapping, found)


def _extensions(arr: Arr, path: str, mapping: Mapping, found: dict[str, Use]) -> None:
    names = [_name(each) for each in arr.items if isinstance(each, Obj)]
    for each in arr.items:
        if isinstance(each, Obj) and (name := _name(each)):
            _note(each, name, path, mapping, found, many=names.count(name) > 1)
        elif isinstance(each, Carried):
            use = found.setdefault(CARRIED_URL.removeprefix(BASE), Use(nested=True))
            use.contexts.add("Extension" if path == "Extension" else path)


def _name(obj: Obj) -> str:
    url = dict(obj.fields).get("url")
    text = url.constant if isinstance(url, Leaf) else None
    return text.removeprefix(BASE) if text and text.startswith(BASE) else ""


def _parent(mapping: Mapping, mappings: dict[str, Mapping]) -> str:
    """The place of a nested domain's items: in the object with their place; SUPP-- at any element."""
    if mapping.attach is None or mapping.attach.via:
        return "Element"
    for root in mappings[mapping.attach.to].roots():
        for node in (each for each in walk(root) if isinstance(each, Obj)):
            items = [item for _, child in node.fields if isinstance(child, Arr) for item in child.items]
            if any(isinstance(item, Each) and item.domain == mapping.domain for item in items):
                return node.path
    raise LookupError(mapping.domain)


def _note(obj: Obj, name: str, path: str, mapping: Mapping, found: dict[str, Use], *, many: bool) -> None:
    use = found.setdefault(name, Use())
    use.contexts.add(path)
    use.many = use.many or many
    use.domains.add("SUPP--" if mapping.domain.startswith("SUPP") else mapping.domain)
    for field_name, child in obj.fields:
        if field_name == "extension" and isinstance(child, Arr):
            _parts(child, use)
        elif field_name.startswith("value"):
            use.types.add(_type(field_name))


def _parts(arr: Arr, use: Use) -> None:
    for each in arr.items:
        if not isinstance(each, Obj):
            use.nested = True
            continue
        url = dict(each.fields).get("url")
        if isinstance(url, Leaf) and url.constant and not url.constant.startswith("http"):
            types = use.parts.setdefault(url.constant, set())
            types.update(_type(name) for name, _ in each.fields if name.startswith("value"))
        else:
            use.nested = True


def _type(name: str) -> str:
    """The FHIR type of ``valueString``, from HL7's definition of Extension."""
    return definitions("R4").children("Extension")[name].type


def definition(name: str, use: Use) -> dict[str, Any]:
    """The StructureDefinition of an extension."""
    if use.nested and not use.parts:
        return _open(name, sorted(use.contexts), _CARRIED)
    words = " ".join(name.split("-"))
    text = f"{words[:1].upper()}{words[1:]} of a row of {', '.join(sorted(use.domains))}."
    value: Any = {part: sorted(types) for part, types in use.parts.items()} if use.parts else sorted(use.types)
    made = extension_definition(name, sorted(use.contexts), value, text, many=use.many)
    return _with_more(made) if use.nested else made


def _open(name: str, contexts: list[str], text: str) -> dict[str, Any]:
    """An extension of text parts whose names are the variables of the source."""
    made = extension_definition(name, contexts, {"VARIABLE": "string"}, text)
    inside = "Extension.extension"
    text_only = {"id": f"{inside}.value[x]", "path": f"{inside}.value[x]", "min": 1, "type": [{"code": "string"}]}
    made["differential"]["element"] = [
        {"id": "Extension", "path": "Extension", "definition": text, "max": "1"},
        {"id": inside, "path": inside, "min": 1},
        {"id": f"{inside}.extension", "path": f"{inside}.extension", "max": "0"},
        text_only,
        {"id": "Extension.url", "path": "Extension.url", "fixedUri": BASE + name},
        {"id": "Extension.value[x]", "path": "Extension.value[x]", "max": "0"},
    ]  # fmt: skip
    return made


def _with_more(made: dict[str, Any]) -> dict[str, Any]:
    """An extension of parts beside whole extensions: its slicing is open."""
    for element in made["differential"]["element"]:
        if "slicing" in element:
            element["slicing"]["rules"] = "open"
            element["comment"] = f"Beside the parts: {_MORE}."
    return made


def files() -> Iterator[tuple[Path, str]]:
    """Each file with its text."""
    for name, use in uses().items():
        yield TARGET / f"{name}.json", json.dumps(definition(name, use), indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    """Write the files, and remove those of extensions that no mapping uses any more."""
    TARGET.mkdir(parents=True, exist_ok=True)
    made = dict(files())
    for path in TARGET.glob("*.json"):
        if path not in made:
            path.unlink()
    for path, text in made.items():
        path.write_text(text, "utf-8")
    print(f"{len(made)} extensions")


if __name__ == "__main__":
    main()
