"""The kind of an input: EDC records, SDTM datasets or FHIR resources, recognised by content and names.

Arrow is imported only where there are tables: that is half of what it costs to start on FHIR.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from fhirspace.errors import NOT_READ, InputError, Place, Problem, UsageError
from fhirspace.fhir.files import FhirFile, find
from fhirspace.foreign import listed
from fhirspace.standards import sdtm, sdtm_model
from fhirspace.study.define import find as find_define
from fhirspace.tables import listing
from fhirspace.tables.durable import MANIFEST
from fhirspace.tables.leftovers import besides, finding, leftovers
from fhirspace.tables.staging import require_finished

if TYPE_CHECKING:
    import pyarrow as pa

    from fhirspace.study.dataset import Read
    from fhirspace.tables import formats

Kind = Literal["records", "sdtm", "fhir"]
_FOLDERS: tuple[Kind, ...] = ("records", "sdtm", "fhir")
_READABLE = "CSV, Parquet, SAS transport, Dataset-JSON, or FHIR in JSON"
_DOMAIN = re.compile("(?:AP)?[A-Z][A-Z0-9]")
_EXACT = (".parquet", ".xpt", ".dsjc", ".ndjson", ".json", ".csv")


@dataclass(frozen=True, slots=True)
class Input:
    """A recognised input: its kind, its tables by name or its FHIR files, and what cannot be read.

    Attributes:
        faults: broken files, with what is wrong with them. problems: a finding for each file that is not read.
        define: the define.xml of datasets, None where there is none. study: their study.yaml.
        records: records by form that are in memory already: views made them of FHIR.
    """

    kind: Kind
    files: dict[str, formats.Found]
    fhir: tuple[FhirFile, ...] = ()
    faults: dict[Path, InputError] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    define: Path | None = None
    study: Path | None = None
    records: dict[str, pa.Table] = field(default_factory=dict)

    @property
    def forms(self) -> tuple[str, ...]:
        """The names of its tables."""
        return (*self.files, *self.records)

    @property
    def source(self) -> str:
        """What its data are: its kind, or ``views`` where views made records of FHIR."""
        return "views" if self.records else self.kind

    @property
    def paths(self) -> list[Path]:
        """All files of it."""
        files = [*(found.path for found in self.files.values()), *(file.path for file in self.fhir), *self.faults]
        return [*files, *(path for path in (self.define, self.study) if path)]


def recognise(
    paths: Sequence[Path], target: str = "", *, follow_links: bool = False, encoding: str | None = None
) -> Input:
    """What some files or a folder hold. A broken file does not stop the others: it is in `Input.faults`.

    An output folder of ours, with ``records/``, ``sdtm/`` or ``fhir/`` in it, gives the first of them that is not the
    `target` of the conversion. Links are followed where they stay in their folder, and elsewhere if `follow_links`.
    The `encoding` is that of the texts of SAS transport files.

    Raises:
        InputError: FS101, FS152 and others of `formats.scan`, and the first fault where every file is broken;
            UsageError: FS149, an output folder is half written; FS610 where kinds are mixed.
    """
    for path in paths:
        require_finished(path)
    faults: dict[Path, InputError] = {}
    given, beside, define, study = _inside(paths, target, follow_links, faults)
    looked = find(given, follow_links=follow_links, inner=False)
    faults |= looked.faults
    if looked.files:
        return Input("fhir", {}, tuple(looked.files), faults, [*map(finding, beside), *looked.unrecognised()])
    try:
        tables = _tables(given, faults, follow_links, encoding)
    except InputError as fault:
        nothing = fault.code == "FS153"
        if nothing and target and inner_folders(paths[0], [target], follow_links=follow_links):
            raise already(target) from None
        raise (looked.nothing() if nothing else None) or (_naming(fault, looked.others) if nothing else fault) from None
    if not tables:
        raise next(iter(faults.values()))
    sure = {name for name in tables if _is_dataset(name, tables[name])}
    odd = [name for name in tables if name not in sure and not (sure and _may_be_dataset(name, tables[name]))]
    if sure and odd:
        detail = f"not datasets: {listed(sorted(odd))}"
        raise UsageError("FS610", Place(paths[0].name), "SDTM datasets only, or EDC forms only", detail)
    define = define if sure and target != "records" else None  # records have no place for it
    study = study if sure else None  # that of records is beside the mappings of their forms
    read = [*faults, *(found.path for found in tables.values()), *(path for path in (define, study) if path)]
    problems = [finding(path) for path in besides((*beside, *looked.others), read)]
    named = {name.upper(): found for name, found in tables.items()} if sure else tables
    return Input("sdtm" if sure else "records", named, (), faults, problems, define, study)


def already(target: str) -> UsageError:
    """The error that an input is what it is to be converted to."""
    others = " or ".join(f"`--to {each}`" for each in reversed(_FOLDERS) if each != target)
    return UsageError("FS613", f"--to {target}", others)


def _inside(
    paths: Sequence[Path], target: str, follow_links: bool, odd: dict[Path, InputError]
) -> tuple[list[Path], list[Path], Path | None, Path | None]:
    """What `paths` mean: folders and files, what is not read beside them in an output folder of ours, and the
    define.xml and the study.yaml there."""
    define = find_define.beside(paths, follow_links=follow_links)
    study = find_define.beside(paths, find_define.is_design, follow_links=follow_links)
    if len(paths) != 1 or not paths[0].is_dir():
        return [path for path in paths if path not in (define, study)] or list(paths), [], define, study
    names = [name for name in _FOLDERS if name != target] + (["sdtm"] if target == "sdtm" else [])
    inner = inner_folders(paths[0], names, follow_links=follow_links)[:1]
    beside = list(leftovers(paths[0], inner)) if inner else []
    folder = (inner or paths)[0]
    if folder != paths[0]:
        define = find_define.beside([folder], follow_links=follow_links)
        study = find_define.beside([folder], find_define.is_design, follow_links=follow_links) or study
    given, twins = _one_format(folder, follow_links, odd)
    return given, [*beside, *(leftovers(folder, twins) if twins else ())], define, study


def _naming(fault: InputError, others: Sequence[Path]) -> InputError:
    """The fault that nothing can be read, with the names of what there is."""
    names = listed([path.name for path in others if finding(path).code == NOT_READ])
    return InputError(fault.code, fault.problem.place, _READABLE, f"there is only {names}" if names else "")


def inner_folders(folder: Path, names: Sequence[str], *, follow_links: bool = False) -> list[Path]:
    """The sub-folders of these names. Raises InputError as `listing.is_file`: one is a link that leads out."""
    found = [folder / name for name in names if (folder / name).is_dir()]
    for each in found:
        listing.is_file(each, folder, follow=follow_links)
    return found


def _one_format(folder: Path, follow_links: bool, odd: dict[Path, InputError]) -> tuple[list[Path], list[Path]]:
    """The folder; of datasets that a run of ours wrote in several formats, one file each (the first of `_EXACT`), and
    all files with them."""
    twins: dict[str, list[Path]] = {}
    if folder.name == "sdtm" and (folder.parent / MANIFEST).is_file():
        for file in listing.files(folder, lambda file: file.suffix in _EXACT, follow=follow_links, odd=odd):
            twins.setdefault(file.stem, []).append(file)
    if all(len(files) == 1 for files in twins.values()):
        return [folder], []
    chosen = [min(files, key=lambda file: _EXACT.index(file.suffix)) for files in twins.values()]
    return chosen, [file for files in twins.values() for file in files]


def _is_dataset(name: str, found: formats.Found) -> bool:
    """Whether a table is an SDTM dataset: a form may be called `ecg`, like a split dataset, but has no STUDYID.

    Of a name that no standard has (APMH, XR), the columns STUDYID and DOMAIN say so together.
    """
    name = name.upper()
    if (sdtm.known(name) and not sdtm.sponsor_defined(name)) or name in sdtm_model.DATASETS:
        return _has(found, "STUDYID")
    return _DOMAIN.fullmatch(name) is not None and _has(found, "STUDYID") and _has(found, "DOMAIN")


def _may_be_dataset(name: str, found: formats.Found) -> bool:
    """Whether a table can be an SDTM dataset where others are: by its name, its format, or what all domains have."""
    named = sdtm.known(name.upper()) and not sdtm.sponsor_defined(name.upper())
    if name.upper() in sdtm_model.DATASETS:  # POOLDEF, RELREF and APRELSUB have no DOMAIN
        return _has(found, "STUDYID")
    return named or (_has(found, "STUDYID") and _has(found, "DOMAIN"))


def _has(found: formats.Found, column: str) -> bool:
    """Whether the file has a column; a transport file is taken to have it, as nobody else writes any."""
    if found.format == "parquet":
        from fhirspace.tables import parquet  # noqa: PLC0415 - only tables need Arrow

        with suppress(InputError):  # one that cannot be read is reported when it is loaded
            return column in parquet.names(found.path)
    if found.format != "csv":
        return True
    with found.path.open("rb") as stream:
        return column.encode() in stream.readline(1 << 16)


def _tables(
    paths: Sequence[Path], faults: dict[Path, InputError], follow_links: bool, encoding: str | None
) -> dict[str, formats.Found]:
    from fhirspace.tables import formats  # noqa: PLC0415 - only tables need Arrow

    found: dict[str, formats.Found] = {}
    for path in paths:
        for name, file in formats.scan(path, faults, follow_links=follow_links, encoding=encoding).items():
            if name in found:
                raise InputError("FS155", Place(file.path.name), f"a table unlike {found[name].path.name}")
            found[name] = file
    return found


class Opened:
    """What some folders or files hold, for several checks: each dataset is read once, when it is first asked for.

    Of an output folder of ours, both ``sdtm/`` and ``fhir/`` are inputs.

    Attributes:
        paths: the folders and files. They are opened when `inputs` or `beside` is first asked for.
    """

    def __init__(self, paths: Sequence[Path], *, follow_links: bool = False, encoding: str | None = None) -> None:
        self.paths = paths
        self._follow_links, self._encoding = follow_links, encoding
        self._read: dict[tuple[Path, str], Read | InputError] = {}

    @property
    def inputs(self) -> list[Input]:
        """The inputs. Raises InputError as `recognise`; UsageError: FS149, FS610."""
        return self._found[0]

    @property
    def beside(self) -> list[Problem]:
        """A finding for each file beside the inputs that is not read. Raises as `inputs`."""
        return self._found[1]

    @cached_property
    def _found(self) -> tuple[list[Input], list[Problem]]:
        inputs, beside = list[Input](), list[Problem]()
        for path in self.paths:
            inner = inner_folders(path, ("sdtm", "fhir"), follow_links=self._follow_links)
            beside += map(finding, leftovers(path, inner) if inner else ())
            inputs += map(self._recognised, inner or [path])
        faults = [fault for given in inputs for fault in given.faults.values()]
        if len(faults) == 1 and not any(given.files or given.fhir for given in inputs):
            raise faults[0]
        return inputs, beside

    def _recognised(self, path: Path) -> Input:
        """What a path holds; broken files are an input with faults, so that all of them are named."""
        try:
            return recognise([path], follow_links=self._follow_links, encoding=self._encoding)
        except InputError as fault:
            if fault.code == "FS101":
                raise
            looked = find([path], follow_links=self._follow_links, inner=False)
            if len(looked.faults) > 1:
                return Input("fhir", {}, (), looked.faults, looked.unrecognised())
            if len(self.paths) == 1:
                raise
            return Input("fhir", {}, (), {path: fault})

    def tabulation(self, found: formats.Found) -> Read:
        """A dataset of an input. Raises InputError as `dataset.tabulation`, each time."""
        from fhirspace.study.dataset import tabulation  # noqa: PLC0415 - only tables need Arrow

        key = found.path, found.name  # a transport file may hold several
        if key not in self._read:
            try:
                self._read[key] = tabulation(found)
            except InputError as fault:
                self._read[key] = fault
        known = self._read[key]
        if isinstance(known, InputError):
            raise known
        return known
