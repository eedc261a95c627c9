"""Make the packaged FHIR definitions out of HL7's own npm packages (all CC0-1.0).

Run ``python scripts/make_definitions.py`` with npm on the path, or with ``--packages DIR`` where DIR holds the
unpacked packages (``DIR/<name>-<version>/package/*.json``). Users never need npm: the files it writes are committed.
The same packages give the same bytes. What is kept, and why, is written in docs/decisions/0004-definitions.md.
"""

from __future__ import annotations

import argparse
import gzip
import json
import subprocess
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from fhirspace.localserver import jars

Json = dict[str, Any]

RELEASES = {
    # hl7.fhir.r4.core is not on npm; the package of R4's examples carries all definitions as well.
    "R4": "hl7.fhir.r4.examples-4.0.1",
    "R4B": "hl7.fhir.r4b.core-4.3.0",
    "R5": "hl7.fhir.r5.core-5.0.0",
}
TERMINOLOGY = "hl7.terminology.r5-7.0.1"
"""Code systems that R4B and R5 moved out of the core packages."""
EXTENSIONS_R5 = "hl7.fhir.uv.extensions.r5-1.0.0"
"""R5 moved its extensions out of the core package. This version was published with R5; npm has only a later one, of
which some definitions are stricter. HAPI's jar of R5 (see ``localserver/lock-all.txt``) holds it."""

OUT = Path(__file__).parents[1] / "src/fhirspace/standards/data"
PREFIX = "http://hl7.org/fhir/StructureDefinition/"
SYSTEM_TYPE = "http://hl7.org/fhirpath/System."
INHERITING = ("Element", "BackboneElement", "BackboneType", "DataType", "Base", "Resource", "DomainResource")
"""Types whose elements every heir repeats in its snapshot; the loader adds them again."""
PATTERNS = {
    # R4's own pattern is ambiguous (exponential time), R5's forbids the white space that both releases allow.
    "base64Binary": r"\s*(?:[0-9A-Za-z+/]\s*){2,}(?:=\s*){0,2}",
    # The text of both releases forbids control characters, their patterns do not.
    "string": r"[^\x00-\x08\x0b\x0c\x0e-\x1f]+",
    "markdown": r"[^\x00-\x08\x0b\x0c\x0e-\x1f]+",
    "xhtml": r"\s*<div[\s>/][^\x00-\x08\x0b\x0c\x0e-\x1f]*>\s*",
    # No primitive value may be empty in JSON.
    "uri": r"\S+",
    "url": r"\S+",
    "canonical": r"\S+",
    # R5 writes {1,9}}, a slip.
    "decimal": r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?",
    # R5's accepts an offset without a time and a time without an offset; its text wants both or neither.
    "dateTime": (
        r"([0-9]([0-9]([0-9][1-9]|[1-9]0)|[1-9]00)|[1-9]000)(-(0[1-9]|1[0-2])(-(0[1-9]|[1-2][0-9]|3[0-1])"
        r"(T([01][0-9]|2[0-3]):[0-5][0-9]:([0-5][0-9]|60)(\.[0-9]+)?(Z|(\+|-)((0[0-9]|1[0-3]):[0-5][0-9]|14:00)))?)?)?"
    ),
}
"""Patterns that replace HL7's, where HL7's contradicts its own text or cannot be run safely."""


@dataclass
class Package:
    """The definitions of one npm package, by canonical address."""

    structures: list[Json]
    value_sets: dict[str, Json]
    code_systems: dict[str, Json]

    @classmethod
    def load(cls, folder: Path) -> Package:
        """Read a package out of the folder of its unpacked JSON files."""

        def every(kind: str) -> list[Json]:
            return [json.loads(path.read_bytes()) for path in sorted(folder.glob(f"{kind}-*.json"))]

        return cls(
            [item for item in every("StructureDefinition") if "snapshot" in item],
            {item["url"]: item for item in every("ValueSet")},
            {item["url"]: item for item in every("CodeSystem")},
        )


def definitions(release: str, package: Package, terminology: Package, extensions: Package) -> Json:
    """All that is kept of a release: types, patterns, codes of required bindings, extensions."""
    own = [item for item in package.structures if item.get("derivation") != "constraint" and item["kind"] != "logical"]
    own.sort(key=lambda item: str(item["type"]))
    snapshots = {item["type"]: item["snapshot"]["element"] for item in own}
    inherited = {
        element["path"]: element for name in INHERITING if name in snapshots for element in snapshots[name][1:]
    }
    types = {item["type"]: type_rows(item, inherited) for item in own if item["kind"] != "primitive-type"}
    wanted = sorted(
        {row[4][1:] for _, rows in types.values() for row in rows if len(row) > 4 and row[4].startswith("r")}
    )
    return {
        "release": release,
        "version": own[0]["fhirVersion"],
        "resources": sorted(
            item["type"] for item in own if item["kind"] == "resource" and not item.get("abstract", False)
        ),
        "types": types,
        "primitives": {item["type"]: pattern(item) for item in own if item["kind"] == "primitive-type"},
        "values": {url: codes for url in wanted if (codes := expand(url, package, terminology)) is not None},
        "extensions": dict(sorted(extension_rows(extensions.structures))),
    }


def type_rows(structure: Json, inherited: dict[str, Json]) -> tuple[str, list[list[Any]]]:
    """The base of a type and a row for each own element: path, min, max (0 = any number), types, binding."""
    elements = structure["snapshot"]["element"]
    name = structure["type"]
    parents = {element["path"].rpartition(".")[0] for element in elements}
    rows = []
    for element in elements[1:]:
        origin = element.get("base", {}).get("path", element["path"])
        if origin in inherited and origin != element["path"] and same(element, inherited[origin]):
            continue
        row = [
            element["path"].removeprefix(name + "."),
            element["min"],
            maximum(element["max"]),
            type_text(element, has_children=element["path"] in parents),
        ]
        binding = element.get("binding", {})
        if "valueSet" in binding:
            strength = "x" if binding["strength"] == "example" else binding["strength"][0]  # e is extensible
            row.append(strength + binding["valueSet"].partition("|")[0])
        rows.append(row)
    return structure.get("baseDefinition", "").removeprefix(PREFIX), rows


def maximum(text: str) -> int:
    """The upper bound of a cardinality, 0 for any number."""
    if text == "*":
        return 0
    if int(text) < 1:
        raise ValueError("a base definition forbids nothing")
    return int(text)


def same(element: Json, origin: Json) -> bool:
    """Whether an inherited element says what its origin says (Extension.url and Bundle.entry narrow theirs)."""
    return all(element.get(key) == origin.get(key) for key in ("min", "max")) and type_text(
        element, has_children=False
    ) == type_text(origin, has_children=False)


def type_text(element: Json, *, has_children: bool) -> str:
    """The types of an element in one text: ``Quantity Reference(Patient,Group)`` or ``#Path`` of a reused content."""
    if "contentReference" in element:
        return "#" + str(element["contentReference"]).rpartition("#")[2]
    if element["path"].endswith(".id") and element.get("base", {}).get("path") == "Resource.id":
        return "id"
    texts = []
    for kind in element.get("type", []):
        code = kind["code"]
        if code.startswith(SYSTEM_TYPE):
            # HL7's annotation of Element.id says `id` in some places and `string` in others; the text says string.
            code = "uri" if element["path"] == "Extension.url" else "string"
        if PREFIX + "SimpleQuantity" in kind.get("profile", []):
            code = "SimpleQuantity"
        targets = sorted({target.rpartition("/")[2] for target in kind.get("targetProfile", [])} - {"Resource"})
        texts.append(f"{code}({','.join(targets)})" if targets else code)
    if has_children and texts not in (["BackboneElement"], ["Element"]):
        raise ValueError(element["path"])
    return " ".join(texts)


def pattern(structure: Json) -> str:
    """The regular expression that a primitive's whole text has to match."""
    name = structure["type"]
    if name in PATTERNS:
        return PATTERNS[name]
    for element in structure["snapshot"]["element"]:
        for kind in element.get("type", []):
            for extension in kind.get("extension", []):
                if extension["url"].endswith("/regex"):
                    return str(extension["valueString"])
    raise ValueError(f"no pattern for {name}")


def expand(url: str, package: Package, terminology: Package) -> dict[str, list[str]] | None:
    """The codes of a value set by system; None where the packages do not enumerate them."""
    value_set = package.value_sets.get(url) or terminology.value_sets.get(url)
    compose = (value_set or {}).get("compose", {})
    if not compose.get("include") or "exclude" in compose:
        return None
    found: dict[str, set[str]] = {}
    for include in compose["include"]:
        part = expand_include(include, package, terminology)
        if part is None:
            return None
        for system, codes in part.items():
            found.setdefault(system, set()).update(codes)
    return {system: sorted(codes) for system, codes in sorted(found.items())}


def expand_include(include: Json, package: Package, terminology: Package) -> dict[str, list[str]] | None:
    """The codes of one `include` of a value set."""
    if "filter" in include:
        return None
    if "valueSet" in include:
        if len(include["valueSet"]) > 1 or "system" in include:
            return None
        return expand(include["valueSet"][0].partition("|")[0], package, terminology)
    system = include["system"]
    if "concept" in include:
        return {system: [concept["code"] for concept in include["concept"]]}
    source = package.code_systems.get(system) or terminology.code_systems.get(system)
    if source is None or source["content"] != "complete":
        return None
    return {system: list(concept_codes(source.get("concept", [])))}


def concept_codes(concepts: list[Json]) -> Iterator[str]:
    """All codes of a code system's tree."""
    for concept in concepts:
        yield concept["code"]
        yield from concept_codes(concept.get("concept", []))


def extension_rows(structures: list[Json]) -> Iterator[tuple[str, list[list[str]]]]:
    """For each extension its address: the contexts, the types of its value, the names of its parts."""
    for structure in structures:
        if structure["type"] != "Extension" or structure.get("derivation") != "constraint":
            continue
        contexts = [item["expression"] for item in structure.get("context", []) if item["type"] == "element"]
        if len(contexts) != len(structure.get("context", [])):
            contexts = []  # a FHIRPath expression or another extension: no claim
        types: list[str] = []
        parts = []
        for element in structure["snapshot"]["element"]:
            if element["path"] in ("Extension.value[x]", "Extension.value") and element["max"] != "0":
                types = sorted({kind["code"] for kind in element["type"]})
            if element["id"].startswith("Extension.extension:") and element["id"].endswith(".url"):
                parts.append(element.get("fixedUri", ""))
        yield structure["url"], [sorted(set(contexts)), types, sorted(set(parts))]


def unpack(name: str, folder: Path) -> Path:
    """The folder of an unpacked package; fetched with npm when it is not there."""
    target = folder / name
    if not target.exists():
        archive = folder / f"{name}.tgz"
        if name == EXTENSIONS_R5:
            archive.write_bytes(out_of_jars(archive.name))
        else:
            package, _, version = name.partition("-")
            subprocess.run(  # noqa: S603  # nosec B603 B607  # a fixed list of names
                ["npm", "pack", "--silent", "--pack-destination", str(folder), f"{package}@{version}"],  # noqa: S607
                check=True,
            )
        with tarfile.open(archive) as opened:
            opened.extractall(target, filter="data")
    return target / "package"


def out_of_jars(name: str) -> bytes:
    """A package out of the jars of the local server."""
    for path in jars.fetch(jars.read_lock(jars.packaged("lock-all.txt"))):
        with zipfile.ZipFile(path) as jar:
            for member in jar.namelist():
                if member.endswith(f"/{name}"):
                    return jar.read(member)
    raise LookupError(name)


@contextmanager
def packages(description: str | None) -> Iterator[tuple[Package, Iterator[tuple[str, Package, Package]]]]:
    """HL7's terminology; and, one after the other, each release with its package and that of its extensions.

    Args:
        description: of the script, whose command line says where the packages are.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--packages", type=Path, help="a folder of unpacked packages; default: fetch them with npm")
    folder: Path | None = parser.parse_args().packages
    with tempfile.TemporaryDirectory() as temporary:
        root = folder or Path(temporary)
        terminology, extensions_r5 = (Package.load(unpack(name, root)) for name in (TERMINOLOGY, EXTENSIONS_R5))
        loaded = ((release, Package.load(unpack(name, root))) for release, name in RELEASES.items())
        yield terminology, ((each, own, extensions_r5 if each == "R5" else own) for each, own in loaded)


def write(name: str, content: Any) -> str:
    """Write a packaged file. Returns the line that is printed about it."""
    text = msgspec.json.encode(content)
    data = gzip.compress(text, compresslevel=9, mtime=0)
    (OUT / name).write_bytes(data)
    return f"{name}: {len(text)} bytes, {len(data)} gzipped"


def main() -> None:
    """Write one file a release."""
    with packages(__doc__) as (terminology, releases):
        OUT.mkdir(parents=True, exist_ok=True)
        for release, package, extensions in releases:
            content = definitions(release, package, terminology, extensions)
            print(write(f"fhir-{release.lower()}.json.gz", content), len(content["types"]), "types")


if __name__ == "__main__":
    main()
