"""What an input holds: EDC records, SDTM datasets or FHIR resources, recognised by content and names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fhirspace.errors import InputError, Place, Problem, UsageError
from fhirspace.fhir import bundles
from fhirspace.standards import sdtm
from fhirspace.study.tabulation import InMemory, InParquet, Tabulation
from fhirspace.tables import formats
from fhirspace.tables.csv import Rejected

Kind = Literal["records", "sdtm", "fhir"]
_FOLDERS: tuple[Kind, ...] = ("records", "sdtm", "fhir")
_FHIR = (".ndjson", ".jsonl", ".json", ".ndjson.gz")


@dataclass(frozen=True, slots=True)
class Input:
    """An input as recognised: what it holds, and its files by table name (FHIR: by file name)."""

    kind: Kind
    files: dict[str, formats.Found]
    fhir: tuple[Path, ...] = ()


def recognise(paths: Sequence[Path], target: str = "") -> Input:
    """What some files or a folder hold.

    An output folder of ours, with ``records/``, ``sdtm/`` or ``fhir/`` in it, gives the first of them that is not the
    `target` of the conversion.

    Raises:
        InputError: FS101 and others of `formats.scan`; UsageError: FS610 where kinds are mixed, FS611 nothing known.
    """
    if len(paths) == 1 and paths[0].is_dir():
        inner = [paths[0] / name for name in _FOLDERS if name != target and (paths[0] / name).is_dir()]
        paths = inner[:1] or paths
    files = [file for path in paths for file in _files(path)]
    resources = tuple(file for file in files if file.name.endswith(_FHIR) and bundles.recognise(file) is not None)
    tables = {} if resources else _tables(paths)
    if resources:
        return Input("fhir", {}, resources)
    known = {name: name.upper() for name in tables if _is_dataset(name, tables[name])}
    if known and len(known) == len(tables):
        return Input("sdtm", {known[name]: found for name, found in tables.items()})
    if known:
        odd = ", ".join(sorted(set(tables) - set(known))[:5])
        raise UsageError("FS610", Place(paths[0].name), f"SDTM datasets only, or EDC forms only (not datasets: {odd})")
    return Input("records", tables)


def _is_dataset(name: str, found: formats.Found) -> bool:
    """Whether a table is an SDTM dataset: a form may be called `ecg`, like a split dataset, but has no STUDYID."""
    if found.format != "csv" or not sdtm.known(name.upper()):
        return sdtm.known(name.upper())
    with found.path.open("rb") as stream:
        return b"STUDYID" in stream.readline(1 << 16)


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(file for file in path.iterdir() if file.is_file() and not file.name.startswith("."))
    if not path.is_file():
        raise InputError("FS101", Place(path.name), "a folder or a file")
    return [path]


def _tables(paths: Sequence[Path]) -> dict[str, formats.Found]:
    found: dict[str, formats.Found] = {}
    for path in paths:
        for name, file in formats.scan(path).items():
            if name in found:
                raise InputError("FS155", Place(file.path.name), f"a table unlike {found[name].path.name}")
            found[name] = file
    return found


def tabulation(found: formats.Found) -> tuple[Tabulation, Rejected, list[Problem]]:
    """A dataset of an input: Parquet stays on the disk, the other formats are read into memory."""
    if found.format == "parquet":
        return InParquet(found.path), Rejected(), []
    loaded = formats.load(found)
    return InMemory(loaded.table), loaded.rejected, loaded.problems
