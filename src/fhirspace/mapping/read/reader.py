"""FHIR to rows, compiled: the resources of all mappings read by generated code, equal to `extract` on every line.

A block's struct types let the C decoder check constants and names while it parses; a generated function walks the
struct and appends a row. A line that either refuses goes to `extract`, alone. A full resource object is never made.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import msgspec

from fhirspace.errors import Place, Problem
from fhirspace.foreign import member
from fhirspace.json import JsonError, decoder, parse_resource
from fhirspace.limits import limit
from fhirspace.mapping.library import Library
from fhirspace.mapping.model import SYSTEM, Block, Mapping, Obj
from fhirspace.mapping.read.collect import Collector, ReadBatch, merge
from fhirspace.mapping.read.extract import extract, without_ordinal
from fhirspace.mapping.read.memo import Slow
from fhirspace.mapping.read.program import Program, columns_of, compiled, repeated
from fhirspace.mapping.read.rows import CARRIED_PART, Part

__all__ = ["CARRIED_PART", "Collector", "ReadBatch", "Reader", "merge"]

BATCH: Final = 2048
"""Lines a batch: few enough for their texts to be in the processor's cache when Arrow copies them."""

SAMPLE: Final = 1024
_REFUSALS: Final = (ValueError, LookupError, AttributeError, TypeError, RecursionError)


@dataclass(slots=True)
class _Entry:
    """A block, and its program once a resource of it was met."""

    mapping: Mapping
    index: int
    program: Program | None = None

    @property
    def block(self) -> Block:
        return self.mapping.blocks[self.index]


class Reader:
    """Reads the resources of a library: each by the block of its type and the constant system of its identifier.

    Args:
        library: the mappings; notice: whether unmapped content is listed (else it is ignored, and reading is faster).
    """

    def __init__(self, library: Library, *, notice: bool = True) -> None:
        self._library, self._mappings, self._notice = library, library.mappings, notice
        self._entries: dict[tuple[str, str], _Entry] = {}
        self._known: set[str] = set()
        self._refused: set[str] = set()
        for name in self._mappings:
            self._claim(name)
        self._parts: dict[tuple[str, int], Part] = {}
        self._last: Program | None = None

    def read(self, lines: Iterable[tuple[int, bytes]], file: str) -> Iterator[ReadBatch]:
        """The rows of some resources, about 2 thousand lines at a time, in memory that does not grow.

        Args:
            lines: line number and JSON text of each; file: the file's name, for `@file` and problems.
        """
        source = iter(lines)
        while chunk := list(islice(source, BATCH)):
            batch = ReadBatch()
            collecting = gc.isenabled()
            gc.disable()  # a batch makes only trees that die with their line
            try:
                self._chunk(chunk, file, batch)
            finally:
                if collecting:
                    gc.enable()
            yield batch

    def _chunk(self, chunk: list[tuple[int, bytes]], file: str, batch: ReadBatch) -> None:
        decode, read = self._fast()
        skips = not self._notice
        for position, (number, line) in enumerate(chunk):
            try:
                if skips and not line.isascii():
                    line.decode()  # the decoder skips texts that nobody reads, whatever is in them
                read(decode(line), number)
            except _REFUSALS:
                self._other(chunk, position, file, batch)
                decode, read = self._fast()
        self._take(file, batch)

    def _take(self, file: str, batch: ReadBatch) -> None:
        for (domain, index), part in self._parts.items():
            if self._notice:
                batch.unmapped += [(line, f"{domain}: carried under a reserved name") for line in part.refused()]
            made, carried = part.take(file)
            batch.contradictory += part.twice
            part.twice.clear()
            if made is not None and self._once(domain, index):
                batch.once.append((domain, index, made))
                continue
            for key, table in ((index, made), (CARRIED_PART, carried)):
                if table is not None:
                    batch.tables.setdefault(domain, {})[key] = table
        batch.unmapped.sort(key=lambda place: place[0])

    def _fast(self) -> tuple[Callable[[bytes], Any], Callable[[Any, int], None]]:
        program = self._last
        return (program.decode, program.read) if program else (_refuse, _refuse)

    def _other(self, chunk: list[tuple[int, bytes]], position: int, file: str, batch: ReadBatch) -> None:
        """A line that the last program refused: by the program of its own block, or else by `extract`."""
        number, line = chunk[position]
        entry = self._entry(_head(line))
        if entry is not None:
            program = self._program(entry, chunk, position)
            tried, self._last = self._last is program, program
            if not tried and _done(program, number, line):
                return
        try:
            resource, empty = parse_resource(line)
        except JsonError as error:
            batch.problems.append(Problem(error.code, Place(file, number), error.expected, detail=error.detail))
            return
        if not isinstance(resource, dict):
            batch.problems.append(Problem("FS414", Place(file, number), "a JSON object"))
            return
        if type(kind := resource.get("resourceType")) is not str or not kind:  # a number is a text here, too
            batch.problems.append(
                Problem("FS410", Place(file, number, "resourceType"), f"a resource type of {self._library.release}")
            )
            return
        batch.slow += 1
        batch.empty += [(number, f"{_kind(resource)}.{path}") for path in empty]
        entry = self._entry(resource)
        if entry is None:
            batch.foreign.append(number)
            return
        self._program(entry, chunk, position)  # it lays out the rows to which this one is added
        self._slow(number, entry, resource, file, batch)

    def _slow(self, number: int, entry: _Entry, resource: dict[str, Any], file: str, batch: ReadBatch) -> None:
        batch.extracted.append(number)
        found = extract(entry.mapping, entry.block, resource, self._mappings)
        rows = [(domain, row) for domain, some in found.nested.items() for row in some]
        if not _encodable(cell for row in (found.cells, *(row for _, row in rows)) for cell in (*row, *row.values())):
            batch.problems.append(Problem("FS401", Place(file, number), "text that UTF-8 can hold"))
            return
        self._part(entry.mapping.domain, entry.index).add(found.cells, number)
        for domain, row in rows:
            self._part(domain, 0).add(row, number)
        batch.contradictory += [(number, column) for column in found.contradictory]
        if self._notice:
            batch.absent += [(number, path) for path in found.absent]
            batch.unmapped += [(number, path) for path in found.unmapped]

    def _claim(self, dataset: str) -> None:
        mapping = self._mappings[dataset]
        for index, block in enumerate(mapping.blocks):
            self._entries[block.resource, block.system] = _Entry(mapping, index)
        self._known.add(dataset)

    def _entry(self, resource: Any) -> _Entry | None:
        """The block that claims a resource: the first of its identifiers that one knows decides."""
        kind, identifiers = resource.get("resourceType"), resource.get("identifier")
        for each in identifiers if isinstance(identifiers, list) else (identifiers,):
            system = each.get("system") if isinstance(each, dict) else None
            if isinstance(kind, str) and isinstance(system, str):
                name = system if (kind, system) in self._entries else without_ordinal(system)[0]
                if found := self._claimed(kind, name):
                    return found
        return None

    def _claimed(self, kind: str, system: str) -> _Entry | None:
        """The block of a type and system; a dataset that no file names has the system of our own with its name."""
        key, dataset = (kind, system), system.removeprefix(SYSTEM)
        if key not in self._entries and dataset != system and self._may_be(dataset):
            if self._has(dataset, kind):
                self._claim(dataset)
            elif len(self._refused) < limit("mappings"):
                self._refused.add(dataset)
        return self._entries.get(key)

    def _may_be(self, dataset: str) -> bool:
        return dataset not in self._known and dataset not in self._refused

    def _has(self, dataset: str, kind: str) -> bool:
        """Whether the library has a mapping of a dataset, or from now on; another reader may have asked for it."""
        more = len(self._mappings) < limit("mappings")
        return dataset in self._mappings or (more and self._library.adopt(dataset, resource=kind))

    def _program(self, entry: _Entry, chunk: list[tuple[int, bytes]], position: int) -> Program:
        """The program of a block; made when it is first met, with an eye on what repeats in the lines that follow."""
        if entry.program is None:
            kept = self._kept(entry.block.root, [line for _, line in chunk[position : position + SAMPLE]])
            entry.program = compiled(
                entry.mapping, entry.index, self._mappings, self._part, notice=self._notice, kept=kept
            )
        return entry.program

    def _kept(self, template: Obj, lines: list[bytes]) -> list[str]:
        return repeated(template, lines)

    def _once(self, domain: str, index: int) -> bool:
        """Whether a block makes one resource for many rows, so that no row is read from it."""
        blocks = self._mappings[domain].blocks
        return bool(blocks) and blocks[index].once != ()

    def _part(self, domain: str, index: int) -> Part:
        """The rows of a domain's block, or of a nested domain."""
        if (domain, index) not in self._parts:
            mapping = self._mappings[domain]
            template = mapping.item or mapping.blocks[index].root
            several = sum(not block.once for block in mapping.blocks) > 1
            shared = frozenset(mapping.attach.on if mapping.attach else ())
            columns = columns_of(mapping, template)
            self._parts[domain, index] = Part(columns, mapping.key if several else (), shared)
        return self._parts[domain, index]


def _refuse(*_given: Any) -> Any:
    raise Slow


def _done(program: Program, number: int, line: bytes) -> bool:
    try:
        line.decode()
        program.read(program.decode(line), number)
    except _REFUSALS:
        return False
    return True


class _Head(msgspec.Struct):
    resourceType: Any = None  # noqa: N815 - FHIR's name
    identifier: Any = None


_decode_head = decoder(_Head)


def _head(line: bytes) -> dict[str, Any]:
    """The type and identifiers of a resource; empty where the line cannot be decoded."""
    try:
        head = _decode_head(line)
    except JsonError:
        return {}
    return {"resourceType": head.resourceType, "identifier": head.identifier}


def _kind(resource: dict[str, Any]) -> str:
    """The type of a resource as it may be printed."""
    kind = resource.get("resourceType")
    return member(kind, 1) if isinstance(kind, str) else "resource"


def _encodable(texts: Iterable[str]) -> bool:
    """Whether texts hold no half of a surrogate pair, which JSON can spell and UTF-8 cannot."""
    try:
        "".join(texts).encode()
    except UnicodeEncodeError:
        return False
    return True
