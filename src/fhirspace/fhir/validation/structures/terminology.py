"""Users' terminologies: CodeSystems and ValueSets as JSON, and the codes of licensed systems as CSV.

A CSV has the columns ``system`` and ``code``, and others that are not read, such as ``display``. It lists all codes of
its systems: what it does not have is no code of them. Source: FHIR, "CodeSystem" (content), "ValueSet".
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fhirspace.errors import InputError, Place, UsageError
from fhirspace.fhir.validation.structures import packages
from fhirspace.fhir.validation.structures.packages import Package
from fhirspace.tables import csv, listing
from fhirspace.tables.text import ROW

_COLUMNS = ("system", "code")
_EXPECTED = "a CodeSystem, a ValueSet or a Bundle of them as JSON, or a CSV with the columns system and code"


def load(path: Path) -> Package:
    """The code systems and value sets of a file, of a package (``.tgz``), or of a folder with such files.

    Raises:
        UsageError: FS645, there is no terminology in it, or one that cannot be read.
        InputError: FS101, FS156, FS157 as `listing.given`, FS160, it is too large; others as `csv.read`.
    """
    try:
        package = _read(path)
    except UsageError as error:  # of a reader that profiles have, too
        raise UsageError("FS645", error.problem.place, error.problem.expected) from None
    if not package.values and not package.systems and not package.codes:
        raise UsageError("FS645", path.name, _EXPECTED)
    return package


def _read(path: Path) -> Package:
    if path.name.lower().endswith((".tgz", ".tar.gz")) or (path / "package").is_dir():
        return packages.load(path)
    package = Package()
    for file in _files(path):
        _add(file, package)
    return package


def _files(path: Path) -> Iterator[Path]:
    if listing.given(path):
        yield path
        return
    for file in sorted(path.iterdir()):
        if file.suffix.lower() in (".csv", ".json") and not file.name.startswith(".") and listing.given(file):
            yield file


def _add(file: Path, package: Package) -> None:
    if file.suffix.lower() == ".csv":
        for system, codes in _listed(file).items():
            package.codes.setdefault(system, set()).update(codes)
        return
    content = packages.decoded(packages.content(file), file.name)
    for definition in _definitions(content):
        packages.define(definition, file.name, package)


def _definitions(content: Any) -> Iterator[dict[str, Any]]:
    """The definitions of a document: one, or those of the entries of a Bundle."""
    kind = content.get("resourceType") if isinstance(content, dict) else None
    if kind in ("CodeSystem", "ValueSet"):
        yield content
    elif kind == "Bundle":
        entries = content.get("entry")
        for entry in entries if isinstance(entries, list) else ():
            yield from _definitions(entry.get("resource") if isinstance(entry, dict) else None)


def _listed(file: Path) -> dict[str, set[str]]:
    """The codes of a CSV by system. Raises UsageError: FS645, a column or a cell is missing."""
    found: dict[str, set[str]] = {}
    for table, rejected in csv.blocks(file):
        for problem in rejected.problems:
            raise InputError(problem.code, problem.place, problem.expected, problem.detail)
        names = {name.lower(): name for name in table.column_names}
        if not names.keys() >= set(_COLUMNS):
            raise UsageError("FS645", file.name, "the columns system and code")
        systems, codes = (table.column(names[each]).to_pylist() for each in _COLUMNS)
        rows = table.column(ROW).to_pylist()
        for row, system, code in zip(rows, systems, codes, strict=True):
            if not system or not code:
                raise UsageError("FS645", Place(file.name, row), "a system and a code in each row")
            found.setdefault(system, set()).add(code)
    return found
