"""Validation of files: FHIR resources against their definitions, SDTM datasets against the guide and terminology."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fhirspace.errors import InputError, Place, Problem, UsageError
from fhirspace.fhir.validation import validate as fhir_validate
from fhirspace.fhir.validation.across import Elsewhere
from fhirspace.fhir.validation.check import Checker, compiled
from fhirspace.fhir.validation.structures import packages
from fhirspace.fhir.validation.structures.registry import Registry
from fhirspace.standards import sdtm
from fhirspace.standards.fhir import Release, definitions
from fhirspace.study.inputs import Input, Opened
from fhirspace.tables.leftovers import finding

if TYPE_CHECKING:
    import pyarrow as pa

    from fhirspace.fhirserver.http.client import Client

_ANY = ("parquet",)
"""The format of datasets that holds the most: what it cannot hold, no conversion keeps."""


def validate(
    paths: Sequence[Path],
    *,
    fhir: Release = "R4",
    full: bool = False,
    profile: Path | Sequence[Path | str] | None = None,
    terminology: Sequence[Path] = (),
    follow_links: bool = False,
    encoding: str | None = None,
    opened: Opened | None = None,
    client: Client | None = None,
) -> Iterator[Problem]:
    """The problems of FHIR files or of SDTM datasets, and where a define.xml beside datasets differs from them.

    An output folder of ours, with ``sdtm/`` and ``fhir/`` in it, has both validated.

    Args:
        paths: folders or files.
        fhir: the FHIR release.
        full: with what FHIR only recommends: warnings and notes.
        profile: packages of profiles: folders with StructureDefinitions, or ``.tgz`` files; addresses of profiles, by
            which all resources of their types are checked as well.
        terminology: code systems and value sets: JSON, CSV with the columns system and code, or folders of these.
        follow_links: follow links that lead out of an input folder, too.
        encoding: that of the texts of SAS transport files; found by itself when absent.
        opened: the same paths, where their datasets are looked at by others, too.
        client: a server that is asked for the resources that references name and the files do not have.

    Raises:
        InputError: a file is missing or cannot be read; UsageError: FS615 where there is nothing to validate,
            FS617, FS645 where the profile or the terminology is none; ServerError: FS510 to FS512, the server's answer.
    """
    checker, missing = _checker(profile, terminology, fhir, full=full)
    opened = opened or Opened(paths, follow_links=follow_links, encoding=encoding)
    if all(given.kind == "records" for given in opened.inputs):
        raise UsageError("FS615", ", ".join(path.name for path in paths), "FHIR files or SDTM datasets")
    yield from opened.beside
    yield from (Problem("FS437", Place(name), "the package beside the one that needs it") for name in sorted(missing))
    for given in opened.inputs:
        yield from (fault.problem for fault in given.faults.values())
        yield from given.problems
        if given.kind == "sdtm":
            yield from _datasets(given, opened, fhir)
        elif given.kind == "records":
            yield from (finding(found.path) for found in given.files.values())
    files = [file for given in opened.inputs for file in given.fhir]  # references lead from one input to another
    elsewhere = None if client is None else _elsewhere(client)
    yield from fhir_validate.validate_files(files, checker=checker, elsewhere=elsewhere)


def _elsewhere(client: Client) -> Elsewhere:
    """A server as the place where resources are that the files do not have: each is asked for once."""
    from fhirspace.fhirserver.address import is_key  # noqa: PLC0415
    from fhirspace.fhirserver.fetch import fetch  # noqa: PLC0415 - only with a server

    def resources(keys: Iterable[str]) -> Iterator[bytes]:
        wanted = (key for key in keys if is_key(key))
        return (found.line for found in fetch(client, wanted) if found.line)

    return Elsewhere(client.server, resources)


def _checker(
    profile: Path | Sequence[Path | str] | None, terminology: Sequence[Path], fhir: Release, *, full: bool
) -> tuple[Checker, set[str]]:
    """The checks by HL7's definitions and by those of packages, and the names of packages that are missing."""
    given = [] if profile is None else [profile] if isinstance(profile, Path) else list(profile)
    urls = [str(each) for each in given if "://" in str(each)]
    folders = [Path(each) for each in given if "://" not in str(each)]
    if not given and not terminology:
        return compiled(fhir, full=full), set()
    package = packages.Package()
    for each in folders:
        package.add(packages.load(each))
    if terminology:
        from fhirspace.fhir.validation.structures.terminology import load  # noqa: PLC0415 - it reads tables, by Arrow

        for path in terminology:
            package.add(load(path))
    known = Registry.of(fhir, package)
    known.noting = bool(terminology)
    for url in urls:
        if known.find(url) is None:
            raise UsageError("FS617", url, "the address of a profile of FHIR's core or of a package given by --profile")
    return Checker(definitions(fhir), known, full=full, profiles=urls), package.missing


def _outside_the_guide(name: str, place: Place, columns: Sequence[str], fhir: Release) -> Problem:
    """What to report of a dataset that SDTMIG does not have: whether a conversion takes it, by its class."""
    from fhirspace.mapping.library import Library  # noqa: PLC0415 - few inputs have such a dataset

    code = "FS767" if Library(fhir).adopt(name.removeprefix("SUPP"), columns) else "FS753"
    return Problem(code, place, "a dataset of SDTMIG " + sdtm.version(), name)


def _datasets(given: Input, opened: Opened, fhir: Release) -> Iterator[Problem]:
    """The findings in SDTM datasets. Raises InputError: of the first file where none can be read; FS103, no row."""
    from fhirspace.study.accounting import as_finding  # noqa: PLC0415 - only datasets need it
    from fhirspace.study.metadata.describe import disagreements  # noqa: PLC0415

    tables: dict[str, pa.Table] = {}
    findings: list[Problem] = []
    faults: list[InputError] = []
    for name, found in given.files.items():
        try:
            data, rejected, problems = opened.tabulation(found)
        except InputError as fault:
            faults.append(fault)
            findings.append(as_finding(fault, found.path))
            continue
        if not sdtm.known(name.removeprefix("SUPP")):
            findings.append(_outside_the_guide(name, Place(found.path.name), data.columns, fhir))
        findings += (*problems, *rejected.problems, *disagreements(name, data.description, found.path.name))
        if data.rows or rejected:
            tables[name] = data.table()
    if faults and len(faults) == len(given.files):
        raise faults[0]
    if not tables and not faults:  # a check of nothing finds nothing, which nobody may take for clean
        raise InputError("FS103", Place(next(iter(given.files.values())).path.name), "at least one row")
    yield from findings
    if "DM" not in tables:
        yield from _in_need_of_a_parent(given, tables, fhir)
    yield from _conformance(given, tables)


def _in_need_of_a_parent(given: Input, tables: dict[str, pa.Table], fhir: Release) -> Iterator[Problem]:
    """The datasets whose records are parts of another dataset's resources, which is not there."""
    from fhirspace.mapping.library import Library  # noqa: PLC0415 - few inputs are without DM

    mappings = Library(fhir).mappings
    for name in tables:
        attach = mappings[name].attach if name in mappings else None
        if attach and not attach.via and attach.to not in tables:
            yield Problem("FS768", Place(given.files[name].path.name), f"the dataset {attach.to}", name)


def _conformance(given: Input, tables: dict[str, pa.Table]) -> Iterator[Problem]:
    """The findings in the tables of a package, and where its define.xml does not agree with them."""
    from fhirspace.sdtm import versions  # noqa: PLC0415 - only datasets need it
    from fhirspace.sdtm.ct import kept  # noqa: PLC0415
    from fhirspace.sdtm.define import agreement  # noqa: PLC0415
    from fhirspace.sdtm.define.document import reading  # noqa: PLC0415
    from fhirspace.study import screening  # noqa: PLC0415 - a second of CPU

    define = None
    try:
        define = reading.read(given.define) if given.define else None
    except InputError as fault:
        yield fault.problem
    named = versions.terminology(define, tables.get("TS"))
    used = kept.chosen(named).version()
    if named and named != used:
        place = Place(given.define.name if given.define and define else "TS")
        yield Problem("FS783", place, f"SDTM terminology {named}", "TS", f"{used} is used")
    own_key = agreement.keyed(define) if define else frozenset[str]()  # a sponsor may choose other keys than the guide
    for problem, _ in screening.screen(tables, _ANY, terminology=named).findings:
        if problem.code != "FS725" or problem.table not in own_key:
            yield problem
    if define and given.define:
        yield from agreement.check(define, tables, given.define.name)
