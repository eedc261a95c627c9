"""Which format is a file of, by its content first and its name second, and the tables of a whole folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast

import pyarrow as pa

from fhirspace.errors import InputError, Place, Problem
from fhirspace.tables import csv, listing, parquet, sas7bdat, xpt
from fhirspace.tables.csv.opening import is_binary, refuse_binary
from fhirspace.tables.datasetjson import opening, reading

Format = Literal["csv", "parquet", "xpt", "dataset-json", "sas7bdat", "ndjson", "json", "xml"]
TABLES = ("csv", "parquet", "xpt", "dataset-json", "sas7bdat")
"""The formats that hold one table a file and are read here; the others are only recognised."""
_ARCHIVES = (b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"(\xb5/\xfd", b"7z\xbc\xaf", b"Rar!")
NAMED = frozenset({".csv", ".tsv", ".parquet", ".pq", ".xpt"})
"""Suffixes that only tables have; files of other names are tables by what they hold."""
_IN_FOLDERS = NAMED | {".zip", ".gz"}
_EXTENSIONS = {
    "csv": "csv",
    "tsv": "csv",
    "txt": "csv",
    "parquet": "parquet",
    "pq": "parquet",
    "xpt": "xpt",
    "ndjson": "ndjson",
    "jsonl": "ndjson",
    "json": "json",
    "xml": "xml",
}


@dataclass(frozen=True, slots=True)
class Found:
    """A table of a folder: its name (the file's without extension), its path and its format.

    Of a SAS transport file with several datasets each is one, with the name of the dataset; where it is in the file was
    found out when it was listed. The encoding is that of the texts of transport files, where somebody has named it.
    """

    name: str
    path: Path
    format: Format
    dataset: xpt.Dataset | None = None
    encoding: str | None = None


@dataclass(slots=True)
class Loaded:
    """A table as read: the good rows, the bad rows, and problems of the file as a whole that did not stop it."""

    table: pa.Table
    rejected: csv.Rejected = field(default_factory=csv.Rejected)
    problems: list[Problem] = field(default_factory=list)


def recognise(path: Path) -> Format:
    """The format of a file. Nothing is unpacked.

    Raises:
        InputError: FS101 (no file), FS102 (empty), FS105 and FS114 (called CSV, and no text), FS151 (not recognised),
            FS154 (an archive).
    """
    if not path.is_file():
        raise InputError("FS101", Place(path.name), "a file")
    with path.open("rb") as stream:
        head = stream.read(4096)
    if not head:
        raise InputError("FS102", Place(path.name))
    if opening.is_dataset(path):
        return "dataset-json"
    if sas7bdat.is_dataset(path):
        return "sas7bdat"
    if head.startswith(_ARCHIVES):
        raise InputError("FS154", Place(path.name), "an unpacked file")
    found = _by_content(head) or _by_name(path, head)
    if found is None:
        raise InputError("FS151", Place(path.name), "CSV, Parquet, SAS transport, Dataset-JSON, NDJSON, JSON or XML")
    if found == "csv":
        refuse_binary(head, path.name)
        if is_binary(head):
            raise InputError("FS114", Place(path.name), "CSV text")
    return found


def _by_content(head: bytes) -> Format | None:
    if head.startswith(b"PAR1"):
        return "parquet"
    return "xpt" if head.startswith(xpt.MAGICS) else None


def _by_name(path: Path, head: bytes) -> Format | None:
    """The format that the extension names, where the content does not speak against it."""
    named = _EXTENSIONS.get(path.suffix.lower().lstrip("."))
    first = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    if named == "csv":
        return "csv"
    if named == "xml":
        return "xml" if first == b"<" else None
    if named in ("json", "ndjson"):
        return cast(Format, named) if first in (b"{", b"[") else None
    return None


def scan(
    path: Path,
    faults: dict[Path, InputError] | None = None,
    *,
    follow_links: bool = False,
    encoding: str | None = None,
) -> dict[str, Found]:
    """The tables of a folder (or of one file) by name, in alphabetical order; files of other extensions are left alone.

    A ``.txt`` file is read only when it is named itself: in a folder it is as likely a note as a table. Sub-folders
    and hidden files are not looked at. A link is followed only where it stays inside the folder.

    Args:
        path: the folder or file.
        faults: takes the errors of single files (FS102, FS151, FS154, FS156), which then do not stop the others.
        follow_links: follow links that lead out of the folder, too.
        encoding: that of the texts of SAS transport files; found by itself when absent.

    Raises:
        InputError: FS101, FS152 (a link leads out), FS153 (no table), FS154 (an archive), FS155 (two files, one table),
            FS156, FS157 (no ordinary file), and FS102 or FS151 for a file whose extension says table and whose content
            does not.
    """
    found: dict[str, Found] = {}
    for file in _files(path, follow_links, faults):
        try:
            tables = list(_tables(file, encoding))
        except InputError as fault:
            if faults is None:
                raise
            faults.setdefault(file, fault)
            continue
        for table in tables:
            twin = next((other for other in found if other.lower() == table.name.lower()), None)
            if twin is not None:
                other = found[twin].path
                unlike = f"a table unlike {other.name}" if other != file else "datasets of different names"
                raise InputError("FS155", Place(file.name), unlike)
            found[table.name] = table
    if not found and not faults:
        raise InputError("FS153", Place(path.name), "CSV, Parquet, SAS transport or Dataset-JSON files")
    return found


def _tables(file: Path, encoding: str | None) -> Iterator[Found]:
    """The tables of a file: one, but of a SAS transport file with several datasets each of them."""
    kind = recognise(file)
    datasets = xpt.datasets(file) if kind == "xpt" else []
    if len(datasets) > 1:
        yield from (Found(each.name, file, kind, each, encoding) for each in datasets)
    elif kind in TABLES:
        yield Found(file.stem, file, kind, next(iter(datasets), None), encoding)


def _files(path: Path, follow_links: bool, faults: dict[Path, InputError] | None) -> list[Path]:
    if listing.given(path):
        return [path]

    def named(file: Path) -> bool:
        return file.suffix.lower() in {*_IN_FOLDERS, *opening.SUFFIXES, sas7bdat.SUFFIX}

    files = listing.files(path, named, follow=follow_links, odd=faults)
    return [file for file in files if file.suffix.lower() in _IN_FOLDERS or _holds_dataset(file)]


def _holds_dataset(file: Path) -> bool:
    """Whether a file of a name that others have too is a dataset."""
    return sas7bdat.is_dataset(file) if file.suffix.lower() == sas7bdat.SUFFIX else opening.is_dataset(file)


def whole(path: Path) -> pa.Table:
    """A table of which every row counts, such as that of the enrolled patients; it may have no row.

    Raises:
        InputError: as `recognise` and `load`; the first problem of a row, where one cannot be read.
    """
    loaded = load(Found(path.stem, path, recognise(path)), empty=True)
    for problem in loaded.rejected.problems:
        raise InputError(problem.code, problem.place, problem.expected)
    return loaded.table


def load(found: Found, *, empty: bool = False) -> Loaded:
    """Reads one table file into memory; raises what its format's `read` raises.

    Args:
        found: the file; empty: one without rows is a table without rows, instead of an error (FS103).
    """
    if found.format == "csv":
        return Loaded(*csv.read(found.path, empty=empty))
    if found.format == "xpt":
        table, problems = xpt.read(found.path, found.dataset, encoding=found.encoding, empty=empty)
        return Loaded(table, problems=problems)
    if found.format == "sas7bdat":
        table, problems = sas7bdat.read(found.path, encoding=found.encoding, empty=empty)
        return Loaded(table, problems=problems)
    if found.format == "dataset-json":
        return Loaded(*reading.read(found.path, empty=empty))
    return Loaded(parquet.read(found.path, empty=empty))
