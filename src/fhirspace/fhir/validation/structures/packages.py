"""Packages of profiles (implementation guides): StructureDefinitions, ValueSets and CodeSystems of a folder or .tgz.

Packages that it depends on are looked for beside it, as npm and FHIR's own tools name them: ``name-version.tgz``,
``name-version/``, ``name#version/``. HL7's core, terminology and extensions are there without. Source: FHIR, "NPM
Package Specification".
"""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fhirspace import json
from fhirspace.errors import InputError, Place, UsageError
from fhirspace.fhir.validation.structures.shapes import as_defined, fits
from fhirspace.limits import expands_too_far, limit, read_within, too_much
from fhirspace.standards.fhir import Release
from fhirspace.standards.hl7.expansion import Expansions, codes_of, complete
from fhirspace.standards.hl7.structures import Structure, reduced
from fhirspace.standards.hl7.terms import CodeSystem, Includes, System, Terms, ValueSet, terms
from fhirspace.tables import listing

_BUILT_IN = ("hl7.fhir.r4.", "hl7.fhir.r4b.", "hl7.fhir.r5.", "hl7.terminology", "hl7.fhir.uv.extensions")
_KINDS = ("StructureDefinition", "ValueSet", "CodeSystem")
_MANIFEST = "package.json"
_MOST = 1_000


@dataclass(slots=True)
class Package:
    """What packages define, by addresses.

    Attributes:
        structures: profiles and extensions. values, systems: ValueSets and CodeSystems as they are written.
        codes: the codes of systems that are listed whole in another way.
        missing: names of packages that these depend on and that are not there.
    """

    structures: dict[str, Structure] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
    systems: dict[str, Any] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)
    codes: dict[str, set[str]] = field(default_factory=dict)

    def add(self, other: Package) -> None:
        """Adds what another package defines and this one does not."""
        self.structures = {**other.structures, **self.structures}
        self.values = {**other.values, **self.values}
        self.systems = {**other.systems, **self.systems}
        self.missing |= other.missing
        for system, codes in other.codes.items():
            self.codes[system] = self.codes.get(system, set()) | codes

    def code_systems(self) -> dict[str, CodeSystem]:
        """The code systems of which all codes are known."""
        found = {url: CodeSystem(frozenset(codes), folded=False) for url, codes in self.codes.items()}
        for url, system in self.systems.items():
            if url not in found and complete(system):
                folded = system.get("caseSensitive") is False
                codes = codes_of(system)
                found[url] = CodeSystem(frozenset(map(str.lower, codes) if folded else codes), folded)
        return found

    def value_sets(self, release: Release) -> dict[str, ValueSet]:
        """The value sets, expanded by these code systems and HL7's."""
        known = terms(release)
        expansions = _Expansions(self, known)
        found = {url: expansions.expand(url) for url in self.values}
        own = Terms.of({url: codes for url, codes in found.items() if codes is not None}, self._stored(), known)
        return {url: values for url in found if (values := own.value_set(url)) is not None}

    def _stored(self) -> dict[str, System]:
        found = {
            url: System(sorted(codes_of(system)), system.get("caseSensitive") is False)
            for url, system in self.systems.items()
            if complete(system)
        }
        return found | {url: System(sorted(codes)) for url, codes in self.codes.items()}


class _Expansions(Expansions):
    """Expansions by the packages first, then by HL7's own."""

    def __init__(self, package: Package, known: Terms) -> None:
        super().__init__(package.values, package.systems)
        self._known, self._listed = known, package.codes

    def other(self, url: str) -> Includes | None:
        """A value set of HL7's own."""
        return self._known.stored(url)

    def codes(self, system: str) -> list[str] | None:
        """The codes of a system of the packages or of HL7's own."""
        found = sorted(self._listed[system]) if system in self._listed else super().codes(system)
        if found is not None:
            return found
        known = self._known.system(system)
        return None if known is None else sorted(known.codes)


def load(path: Path) -> Package:
    """The package in a folder or ``.tgz`` file, with those that it depends on.

    Raises:
        UsageError: FS617, it has no definitions, or one that cannot be read.
        InputError: FS101, FS156, FS157 as `listing.given`; FS160, it is too large.
    """
    package = Package()
    _add(path, package, set())
    if not package.structures and not package.values and not package.systems:
        raise UsageError("FS617", path.name, "StructureDefinitions, as JSON files or a package (.tgz)")
    return package


def _add(path: Path, package: Package, done: set[Path]) -> None:
    if path in done or len(done) >= _MOST:
        return
    done.add(path)
    wanted: dict[str, Any] = {}
    for name, content in _documents(path):
        definition = decoded(content, name)
        if name.rpartition("/")[2] == _MANIFEST and isinstance(definition, dict):
            dependencies = definition.get("dependencies")
            wanted |= dependencies if isinstance(dependencies, dict) else {}
        elif isinstance(definition, dict) and definition.get("resourceType") in _KINDS:
            define(definition, name, package)
    for name, version in wanted.items():
        if not name.startswith(_BUILT_IN):
            beside = _beside(path, name, version)
            if beside is None:
                package.missing.add(name)
            else:
                _add(beside, package, done)


def define(definition: dict[str, Any], name: str, package: Package) -> None:
    """Adds a definition, unless one of its address is there.

    Raises:
        UsageError: FS617, its parts are not of the kinds that they should be.
    """
    url = definition.get("url")
    if not isinstance(url, str):
        return
    kind = definition["resourceType"]
    if not fits(definition):
        raise UsageError("FS617", name, f"a {kind} as FHIR defines it")
    if kind == "ValueSet":
        package.values.setdefault(url, definition)
    elif kind == "CodeSystem":
        package.systems.setdefault(url, definition)
    elif definition.get("derivation") == "constraint" or definition.get("type") == "Extension":
        try:
            package.structures.setdefault(url, as_defined(reduced(definition)))
        except (ValueError, LookupError, TypeError, AttributeError):
            raise UsageError("FS617", name, "a StructureDefinition with a snapshot or a differential") from None


def decoded(content: bytes, name: str) -> Any:
    """The JSON of a definition. Raises UsageError: FS617, it is none."""
    try:
        return json.decode(content)
    except json.JsonError:
        raise UsageError("FS617", name, "a definition as JSON") from None


def _documents(path: Path) -> Iterator[tuple[str, bytes]]:
    """The names and contents of the JSON files of a folder or archive, not those of its examples."""
    if path.is_dir():
        folder = path / "package" if (path / "package").is_dir() else path
        for file in sorted(folder.glob("*.json")):
            yield file.name, content(file)
        return
    listing.given(path)
    try:
        with tarfile.open(path) as archive:
            yield from _members(archive, path)
    except (tarfile.TarError, EOFError, zlib.error):
        raise UsageError("FS617", path.name, "a folder, or a package (.tgz)") from None
    except OSError as error:
        raise InputError("FS101", path.name, "a file that can be read") from error


def _members(archive: tarfile.TarFile, path: Path) -> Iterator[tuple[str, bytes]]:
    total, packed = 0, path.stat().st_size
    for member in archive:
        # Members that are skipped are unpacked as well: they count.
        total += member.size
        if total > limit("document-bytes"):
            raise too_much("document-bytes", Place(path.name))
        if expands_too_far(total, packed):
            raise too_much("expansion", Place(path.name))
        parts = Path(member.name).parts
        if not member.isfile() or len(parts) > 2 or not member.name.endswith(".json"):
            continue
        stream = archive.extractfile(member)
        if stream is not None:
            yield parts[-1], stream.read()


def content(file: Path) -> bytes:
    """The bytes of a file with a definition. Raises InputError: FS101; FS156, FS157 as `listing.given`; FS160."""
    listing.given(file)
    try:
        return read_within("document-bytes", file)
    except OSError as error:
        raise InputError("FS101", file.name, "a file that can be read") from error


def _beside(path: Path, name: str, version: object) -> Path | None:
    """The package of a name beside another one: of this version if it is there, else of any."""
    exact = (f"{name}-{version}.tgz", f"{name}-{version}", f"{name}#{version}")
    # The names are compared and never opened: one such as `../x` is that of no package.
    entries = {each.name: each for each in sorted(_entries(path.parent))}
    found = [entries[each] for each in exact if each in entries]
    found += [each for other, each in entries.items() if other.startswith((f"{name}-", f"{name}#"))]
    return next(iter(found), None)


def _entries(folder: Path) -> Iterable[Path]:
    return folder.iterdir() if folder.is_dir() else ()
