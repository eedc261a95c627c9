"""Packages that HL7 publishes on npm: the official examples of each release, definitions, guides.

A package is fetched once, into the cache folder; FHIRSPACE_FHIR_PACKAGES names a folder of unpacked packages instead
(``hl7.fhir.r4.examples-4.0.1/package/*.json`` and so on).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from msgspec.json import encode

from fhirspace.json import exact
from fhirspace.localserver.jars import private_cache
from fhirspace.standards.fhir import Release

EXAMPLES: dict[Release, str] = {
    "R4": "hl7.fhir.r4.examples-4.0.1",
    "R4B": "hl7.fhir.r4b.examples-4.3.0",
    "R5": "hl7.fhir.r5.examples-5.0.0",
}
CORES = {"hl7.fhir.r4.core#4.0.1": EXAMPLES["R4"], "hl7.fhir.r4b.core#4.3.0": "hl7.fhir.r4b.core-4.3.0"}
"""What HL7's validator calls the packages of the core, and where they are. R4's is not on npm; that of its examples
carries all definitions as well."""
DEFINITIONS = frozenset(
    {"CodeSystem", "ConceptMap", "OperationDefinition", "SearchParameter", "StructureDefinition", "ValueSet"}
)
"""Types of which a release has thousands that are alike."""
FEW = 5
"""The examples of each of these."""


class Example(NamedTuple):
    """A resource of a package: the name of its file, and its JSON without line feeds."""

    file: str
    line: bytes


def folder() -> Path | None:
    """The folder of unpacked packages that the user names."""
    named = os.environ.get("FHIRSPACE_FHIR_PACKAGES")
    return Path(named) if named else None


def package(name: str) -> Path:
    """The folder with the files of a package; skips the test, loudly, where it cannot be had."""
    home = folder() or private_cache("packages")
    if not (home / name / "package").is_dir():
        _fetch(name, home)
    return home / name / "package"


def _fetch(name: str, home: Path) -> None:
    part = home / f"{name}.{os.getpid()}"
    part.mkdir(parents=True)
    title, _, version = name.rpartition("-")
    command = ["npm", "pack", "--silent", "--pack-destination", str(part), f"{title}@{version}"]
    try:
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL, timeout=600)
        with tarfile.open(part / f"{name}.tgz") as archive:
            archive.extractall(part, filter="data")
        part.rename(home / name)
    except (OSError, subprocess.SubprocessError) as error:
        shutil.rmtree(part, ignore_errors=True)
        pytest.skip(f"{name} IS NOT THERE, nothing was compared: {error}")


def resources(files: Path) -> Iterator[tuple[str, dict[str, Any], bytes]]:
    """The resources of a folder: file, content, and their text."""
    for path in sorted(files.glob("*.json")):
        content = exact(path.read_bytes())
        if isinstance(content, dict) and isinstance(content.get("resourceType"), str):
            yield path.name, content, encode(content)


def examples(release: Release, longest: int = 300_000) -> list[Example]:
    """The official examples of a release up to a length; of definitions the first few of each type."""
    seen = Counter[str]()
    chosen = []
    for file, content, line in resources(package(EXAMPLES[release])):
        kind = content["resourceType"]
        seen[kind] += 1
        if len(line) < longest and (kind not in DEFINITIONS or seen[kind] <= FEW):
            chosen.append(Example(file, line))
    return chosen


def home_of_validator(home: Path) -> Path:
    """A home folder for HL7's validator, with the packages of the core where it looks them up."""
    packages = home / ".fhir" / "packages"
    for called, name in CORES.items():
        (packages / called).mkdir(parents=True)
        (packages / called / "package").symlink_to(package(name))
    (packages / "packages.ini").write_text("[cache]\nversion = 3\n")
    return home
