"""FHIR files: NDJSON, a Bundle, one resource, an array of resources; each plain or compressed by gzip.

This is the one place that knows their names and looks into them. A file is recognised once (`recognise`, or `find` for
folders), and the `FhirFile` that comes back is handed on: it knows what it holds and gives its resources as the bytes
that are written in it, so that no value loses its spelling.

Source: FHIR, "Bulk Data Access" (ndjson), "Resource Formats: JSON", "Bundle" (entry.resource).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO, Final, Literal, NamedTuple

import msgspec

from fhirspace.errors import InputError, Place, Problem
from fhirspace.fhir import ndjson, wire
from fhirspace.json import JsonError, bounded, decoder, members, parse
from fhirspace.limits import allowed, limit
from fhirspace.tables import leftovers, listing
from fhirspace.tables.datasetjson.opening import is_dataset
from fhirspace.tables.durable import MANIFEST
from fhirspace.tables.staging import require_finished

Kind = Literal["ndjson", "bundle", "resource", "array"]
_LINES: Final = (".ndjson", ".jsonl")
_PLAIN: Final = (*_LINES, ".json")
SUFFIXES: Final = (*_PLAIN, *(f"{suffix}.gz" for suffix in _PLAIN))
"""How the names of FHIR files end, in upper case too. A file that the user names may be called anything."""
_RUNS: Final = frozenset({MANIFEST, "problems.ndjson", "unread.ndjson"})
"""What runs of ours write beside resources under a name of this kind."""
_WIDE: Final = (b"\xff\xfe", b"\xfe\xff")
"""How UTF-16 and UTF-32 begin; without these bytes, the first letter of JSON has zeros beside it (RFC 4627)."""
_LOOKED_AT: Final = 100
_HOLDS: Final = "NDJSON, a Bundle, a resource or an array of resources, as JSON"

_NONE: Final = msgspec.Raw(b"[]")
_array = decoder(list[msgspec.Raw])
_text = decoder(str)


class Bundle(NamedTuple):
    """A Bundle of a file: its document, the members of that, and its entries."""

    document: bytes
    members: Mapping[str, msgspec.Raw]
    entries: list[wire.Entry]

    @property
    def type(self) -> str:
        """Its type; "" where it has none, or none that is a text."""
        try:
            return _text(self.members["type"]) if "type" in self.members else ""
        except JsonError:
            return ""

    @property
    def is_history(self) -> bool:
        """Whether its entries are versions of resources."""
        return self.type == "history"


@dataclass(frozen=True, slots=True)
class FhirFile:
    """A file that was recognised: its path and what it holds."""

    path: Path
    kind: Kind

    @property
    def name(self) -> str:
        """Its name, without folders."""
        return self.path.name

    def resources(self) -> Iterator[tuple[int, bytes]]:
        """The resources, each with its place: the line in NDJSON, the entry of a Bundle, the item of an array, from 1.

        Raises:
            InputError: FS160 (unpacks to too much), FS401 (entries that are none), FS402 (a name twice in a Bundle or
                entry), FS403 (nested too deeply), FS404 (cannot be read to its end), FS405 (too large).
        """
        if self.kind == "ndjson":
            yield from ndjson.read(self.path)
        elif self.kind == "resource":
            yield 1, self.document()
        else:
            for number, entry in enumerate(self.entries(), 1):
                if raw := bytes(entry.resource):
                    yield number, raw

    def entries(self) -> list[wire.Entry]:
        """The entries of a Bundle; for an array, entries with a resource each. Raises InputError as `resources`."""
        if self.kind != "array":
            return self.bundle().entries
        try:
            return [wire.Entry(resource=item) for item in _array(self.document())]
        except JsonError as error:
            raise _refused(error, self.path) from None

    def bundle(self) -> Bundle:
        """The Bundle that the file holds. Raises InputError as `resources`."""
        try:
            return bundle_of(self.document())
        except JsonError as error:
            raise _refused(error, self.path) from None

    def document(self) -> bytes:
        """The bytes of a JSON document, decompressed, without byte order mark.

        Raises:
            InputError: FS160 (unpacks to too much), FS404 (cannot be read to its end), FS405 (too large).
        """
        return _document(self.path)


def bundle_of(document: bytes) -> Bundle:
    """The Bundle that a document is. Raises JsonError: it is none, or its entries are none."""
    own = members(document)
    items = _array(own.get("entry", _NONE))
    for item in items:
        members(item)
    return Bundle(document, own, [wire.entry_of(item) for item in items])


@dataclass(slots=True)
class Found:
    """What some paths hold.

    Attributes:
        files: those with FHIR, in order. faults: those that are named as FHIR, or by the user, and cannot be read.
        others: what else is in the folders, and is not read (see `leftovers`).
    """

    files: list[FhirFile] = field(default_factory=list)
    faults: dict[Path, InputError] = field(default_factory=dict)
    others: list[Path] = field(default_factory=list)

    def problems(self) -> list[Problem]:
        """A finding for each file that is not read."""
        return [fault.problem for fault in self.faults.values()] + self.unrecognised()

    def nothing(self) -> InputError | None:
        """Why there is no file with FHIR: the first fault, or that a file named as FHIR holds something else."""
        other = next(filter(is_named, self.others), None)
        missing = InputError("FS406", Place(other.name), _HOLDS) if other else None
        return next(iter(self.faults.values()), missing)

    def unrecognised(self) -> list[Problem]:
        """A finding for each of the `others`: FS180 it is not read, or the note FS181."""
        return [leftovers.finding(path) for path in self.others]


def find(paths: Iterable[Path], *, follow_links: bool = False, inner: bool = True) -> Found:
    """The FHIR files among some files and in some folders, each recognised; a broken one does not stop the others.

    Sub-folders and hidden files of a folder are not looked at, nor what runs of ours write beside resources. A file
    that the user names may be called anything.

    Args:
        paths: files and folders.
        follow_links: links may lead out of their folder.
        inner: of a folder with a ``fhir/`` in it, as our output is, that one is meant, and nothing beside it.

    Raises:
        InputError: FS101 (no such path), FS152, FS157 (links that lead out or nowhere), FS156 (a named path that is no
            file). UsageError: FS149, a folder is half written.
    """
    found = Found()
    for path in paths:
        require_finished(path)
        if listing.given(path):
            _look_at(path, found, given=True)
            continue
        folder = path / "fhir" if inner and (path / "fhir").is_dir() else path
        if folder is not path:
            listing.is_file(folder, path, follow=follow_links)
        _look_into(folder, found, follow_links)
    return found


def _look_into(folder: Path, found: Found, follow_links: bool) -> None:
    for file in listing.files(folder, is_named, follow=follow_links, odd=found.faults):
        if file.name not in _RUNS or not (folder / MANIFEST).is_file():
            _look_at(file, found, given=False)
    taken = {*found.faults, *(file.path for file in found.files)}
    found.others += leftovers.leftovers(folder, taken)


def is_named(path: Path) -> bool:
    """Whether a file is named as FHIR."""
    return path.name.lower().endswith(SUFFIXES)


def recognise(path: Path) -> FhirFile:
    """What FHIR a file holds.

    A file named ``.ndjson`` or ``.jsonl`` is read line by line, even with one line or with damaged first lines.

    Raises:
        InputError: FS102 (empty), FS105 (UTF-16), FS160 (unpacks to too much), FS401, FS402 (no JSON), FS403 (nested
            too deeply), FS404 (cannot be read), FS405 (too large), FS406 (it holds something else).
    """
    with ndjson.readable(path) as stream:
        lines = _filled(stream)
        first = next(lines, b"")
        if not first:
            raise InputError("FS102", Place(path.name), "resources")
        if first.startswith(_WIDE) or (b"\0" in first[:4] and first.lstrip(b"\0").startswith((b"{", b"["))):
            raise InputError("FS105", Place(path.name), "JSON in UTF-8", "it is UTF-16 or UTF-32")
        if _in_lines(path):
            if _resource(first) or any(map(_resource, islice(lines, _LOOKED_AT - 1))):
                return FhirFile(path, "ndjson")
            raise InputError("FS406", Place(path.name), "a resource as JSON a line")
        if not first.startswith((b"{", b"[")):
            raise InputError("FS401", Place(path.name), _HOLDS)
        if wire.resource_type(first) and next(lines, b""):
            return FhirFile(path, "ndjson")
    return FhirFile(path, _kind(_document(path), path))


def _kind(raw: bytes, path: Path) -> Kind:
    """What a JSON document holds. Raises InputError as `recognise`."""
    named = wire.resource_type(raw)
    if named:
        return "bundle" if named == "Bundle" else "resource"
    try:
        bounded(raw)
        if raw.lstrip().startswith(b"[") and any(map(wire.resource_type, map(bytes, _array(raw)))):
            return "array"
        parse(raw)
    except JsonError as error:
        raise InputError(error.code, Place(path.name), error.expected, error.detail) from None
    raise InputError("FS406", Place(path.name), _HOLDS)


def _look_at(file: Path, found: Found, *, given: bool) -> None:
    """Puts a file where it belongs; other JSON in a folder, such as a manifest, is no fault, nor are datasets."""
    if is_dataset(file):
        found.others.append(file)
        return
    try:
        found.files.append(recognise(file))
    except InputError as fault:
        something_else = fault.code == "FS406" and not _in_lines(file)
        if given and not is_named(file):
            found.others.append(file)
        elif given or not (something_else or file.name in _RUNS):
            found.faults[file] = fault


def _in_lines(path: Path) -> bool:
    return path.name.lower().removesuffix(".gz").endswith(_LINES)


def _resource(line: bytes) -> bool:
    """Whether a line is a resource, or is nested too deeply to be anything else: that is reported line by line."""
    return bool(wire.resource_type(line)) or (line.startswith(b"{") and _too_deep(line))


def _too_deep(raw: bytes) -> bool:
    try:
        bounded(raw)
    except JsonError:
        return True
    return False


def _refused(error: JsonError, path: Path) -> InputError:
    """The error for a document whose entries are none: FS402 (a name twice), FS403 (nested too deeply), else FS401."""
    if error.code in ("FS402", "FS403"):
        return InputError(error.code, Place(path.name), error.expected, error.detail)
    return InputError("FS401", Place(path.name), "JSON of a Bundle")


def _document(path: Path) -> bytes:
    most = limit("document-bytes")
    with ndjson.readable(path) as stream:
        raw = stream.read(most + 1)
    if len(raw) > most:
        raise InputError("FS405", Place(path.name), allowed("document-bytes"))
    return raw.removeprefix(ndjson.BOM)


def _filled(stream: IO[bytes]) -> Iterator[bytes]:
    """The lines with something in them."""
    start = True
    most = limit("line-bytes")
    while line := stream.readline(most):
        line = (line.removeprefix(ndjson.BOM) if start else line).strip()
        start = False
        if line:
            yield line
