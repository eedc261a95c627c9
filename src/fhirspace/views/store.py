"""The resources of an input by type, as columns, with the place of each; read file by file, a block at a time."""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.errors import InputError, Place
from fhirspace.fhir import ndjson, wire
from fhirspace.fhir.bundles import BundleNotes
from fhirspace.fhir.files import FhirFile
from fhirspace.fhir.references import id_in
from fhirspace.fhir.status import Verdict
from fhirspace.foreign import shown
from fhirspace.json import JsonError, canonical, exact
from fhirspace.tables.text import TEXT, decode
from fhirspace.views.definition.rows import Table, joined
from fhirspace.views.plan import Plan
from fhirspace.views.reading.blocks import Block, Fault, Items, Values, concatenated
from fhirspace.views.reading.columns import Columns

_BLOCK: Final = 5_000
_BYTES: Final = 8_000_000
"""Resources, and bytes, of a block."""
_KEPT: Final = 8_000_000
"""When so many bytes were given back once, glibc keeps as much from then on, instead of asking the system for each
block, and having it clear the pages each time (mallopt(3), M_MMAP_THRESHOLD)."""
_TYPE: Final = re.compile(rb'\{"resourceType":"([A-Za-z]{1,64})"[,}]')


class _Waiting(NamedTuple):
    """A resource that is in no block yet: its place, its address, the type and row of the one around it, its bytes."""

    file: int
    line: int
    url: str
    inside: tuple[str, int] | None
    raw: bytes


_NARRATIVE: Final = ("text", "meta")


@dataclass(slots=True)
class Resources:
    """All resources of one type.

    Attributes:
        files, lines: the place of each, the file by its number; a contained one has that of the resource around it.
        urls: ``fullUrl`` of the entry of a Bundle, "" without one.
        inside: the row and the type of the resource around a contained one; such rows make no records.
        contained: their bytes, by a digest.
        blocks: their values. waiting, size: those that are in no block yet, and their bytes.
        columns: reads them.
    """

    plan: Plan
    files: array[int] = field(default_factory=lambda: array("i"))
    lines: array[int] = field(default_factory=lambda: array("q"))
    urls: list[str] = field(default_factory=list)
    inside: dict[int, tuple[str, int]] = field(default_factory=dict)
    contained: dict[int, int] = field(default_factory=dict)
    blocks: list[Block] = field(default_factory=list)
    waiting: list[_Waiting] = field(default_factory=list)
    size: int = 0
    columns: Columns = field(init=False)
    _whole: dict[str, Values] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.columns = Columns(self.plan)

    @property
    def count(self) -> int:
        """The number of rows, contained resources among them."""
        return len(self.lines)

    @property
    def rows(self) -> pa.Array:
        """The numbers of the rows."""
        return pa.array(np.arange(self.count))

    def wait(self, waiting: _Waiting) -> bool:
        """Adds a resource that is in no block yet; gives whether there are enough of them for one."""
        self.waiting.append(waiting)
        self.size += len(waiting.raw)
        return len(self.waiting) >= _BLOCK or self.size >= _BYTES

    def add(self, file: int, numbers: Sequence[int], block: Block) -> None:
        """Adds the resources of a block, which are in one file."""
        self.files += array("i", [file]) * block.count
        self.lines += array("q", np.asarray(numbers, np.int64).tobytes())
        self.urls += [""] * block.count
        self.blocks.append(block)

    def close(self) -> tuple[Block, int]:
        """Makes a block of the resources that are in none; gives it with the row of its first one."""
        waiting, start, self.waiting, self.size = self.waiting, self.count, [], 0
        for row, each in enumerate(waiting, start):
            self.files.append(each.file)
            self.lines.append(each.line)
            self.urls.append(each.url)
            if each.inside is not None:
                self.inside[row] = each.inside
                self.contained[row] = hash(each.raw)
        self.blocks.append(self.columns.block([each.raw for each in waiting]))
        return self.blocks[-1], start

    def values(self, name: str) -> Values:
        """One value of all rows, once all are read; null where this release does not have it."""
        if name not in self._whole:
            parts = [each.values.pop(name) for each in self.blocks if name in each.values]
            found = concatenated(parts) if parts else Values(pa.nulls(self.count, TEXT), None)
            self._whole[name] = self._with_urls(found) if name == "id" and any(self.urls) else found
        return self._whole[name]

    def _with_urls(self, ids: Values) -> Values:
        """The ids of resources; of an entry of a Bundle that has none, the one in its address."""
        texts = decode(ids.texts)
        if not texts.null_count:
            return ids
        return Values(pc.coalesce(texts, pa.array(map(id_in, self.urls), TEXT)), ids.many)

    def release(self) -> None:
        """Gives up the values, once views have read theirs; what is counted in the end is left."""
        self._whole.clear()
        for block in self.blocks:
            block.values.clear()
            block.items.clear()
            block.tables.clear()

    def items(self, element: str) -> Items:
        """The items of an element of all rows."""
        if not any(len(block.items[element].rows) for block in self.blocks) and self.blocks:
            return self.blocks[0].items[element]
        start, rows, values = 0, list[pa.Array](), dict[str, list[Values]]()
        for block in self.blocks:
            made = block.items[element]
            rows.append(pa.array(made.rows.to_numpy() + start))
            for name, each in made.values.items():
                values.setdefault(name, []).append(each)
            start += block.count
        return Items(pa.concat_arrays(rows), {name: concatenated(each) for name, each in values.items()})

    def table(self, name: str) -> Table:
        """The rows of a ViewDefinition for all rows."""
        start, parts = 0, list[Table]()
        for block in self.blocks:
            made = block.tables[name]
            parts.append(made._replace(rows=pa.array(made.rows.to_numpy() + start, pa.int64())))
            start += block.count
        return joined(parts)

    def faults(self) -> Iterator[tuple[int, Fault]]:
        """What is wrong, by row."""
        start = 0
        for block in self.blocks:
            yield from ((start + at, fault) for at, fault in block.faults.items())
            start += block.count

    def verdicts(self) -> Iterator[tuple[int, list[Verdict]]]:
        """What status elements say, by row."""
        start = 0
        for block in self.blocks:
            yield from ((start + at, reported) for at, reported in block.verdicts.items() if reported)
            start += block.count


@dataclass(slots=True)
class Store:
    """The resources of an input.

    Attributes:
        files: those that were read, in order. kinds: those of a type with a plan. others: the number of each other
            type, by file. faults: what cannot be read at all, with its bytes. notes: what Bundles say beside
            their resources. outdated: the number of resources of a history that count no more, by type.
    """

    plans: Mapping[str, Plan]
    files: list[FhirFile] = field(default_factory=list)
    kinds: dict[str, Resources] = field(default_factory=dict)
    others: dict[str, int] = field(default_factory=dict)
    places: dict[str, list[Place]] = field(default_factory=dict)
    faults: list[tuple[Place, bytes]] = field(default_factory=list)
    broken: list[tuple[FhirFile, InputError]] = field(default_factory=list)
    notes: BundleNotes = field(default_factory=BundleNotes)
    outdated: Counter[str] = field(default_factory=Counter)

    def read(self, files: Iterable[FhirFile]) -> None:
        """Reads files to their ends; one that cannot be read so far is in `broken`, with what it gave before."""
        bytes(_KEPT)
        for file in files:
            self.files.append(file)
            try:
                self._read(file)
            except InputError as fault:
                self.broken.append((file, fault))
        while open_ := [kind for kind, found in self.kinds.items() if found.waiting]:
            self._close(open_[0])  # what is contained may be of a type that was closed already

    def _read(self, file: FhirFile) -> None:
        if file.kind == "ndjson":
            for batch in ndjson.batches(file.path):
                self._take_all(batch)
        elif file.kind == "bundle":
            bundle = file.bundle()
            outdated = self.notes.read(file, bundle)
            for number, entry in enumerate(bundle.entries, 1):
                raw = bytes(entry.resource)
                if raw and number in outdated:
                    self.outdated[wire.resource_type(raw)] += 1
                elif raw:
                    self._take(number, entry.fullUrl, raw)
        else:
            for number, raw in file.resources():
                self._take(number, "", raw)

    def _take_all(self, batch: ndjson.Batch) -> None:
        """Adds the resources of some lines, those at once that are written alike and of the type of the first one."""
        found = _TYPE.match(batch.text)
        kind = found[1].decode() if found else ""
        if kind not in self.plans:
            for number, line in batch.lines():
                self._take(number, "", line)
            return
        resources, numbers = self._of(kind), np.asarray(batch.numbers, np.int64)
        parts, rest = resources.columns.alike(batch.text)
        for rows, block in parts:
            resources.add(len(self.files) - 1, numbers[rows], block)
        if len(rest):
            others = set(numbers[rest].tolist())
            for number, line in batch.lines():
                if number in others:
                    self._take(number, "", line)

    def _take(self, line: int, url: str, raw: bytes) -> None:
        found = _TYPE.match(raw)
        kind = found[1].decode() if found else wire.resource_type(raw)
        if not kind:
            self.faults.append((Place(self.files[-1].name, line), raw))
        elif kind not in self.plans:
            self.others[kind] = self.others.get(kind, 0) + 1
            if kind not in self.places:
                self.places[kind] = [Place(self.files[-1].name, line)]
        else:
            self._add(kind, line, url, raw)

    def _add(self, kind: str, line: int, url: str, raw: bytes) -> None:
        if self._of(kind).wait(_Waiting(len(self.files) - 1, line, url, None, raw)):
            self._close(kind)

    def _of(self, kind: str) -> Resources:
        if kind not in self.kinds:
            self.kinds[kind] = Resources(self.plans[kind])
        return self.kinds[kind]

    def _close(self, kind: str) -> None:
        block, start = self.kinds[kind].close()
        for at, raw in block.contained:
            self._contain(kind, start + at, raw)

    def _contain(self, kind: str, row: int, raw: bytes) -> None:
        """Adds a contained resource to those that references can lead to."""
        inner = wire.resource_type(raw)
        if inner in self.plans:
            around = self.kinds[kind]
            self._of(inner).wait(_Waiting(around.files[row], around.lines[row], "", (kind, row), raw))

    def digests(self, kind: str, rows: Iterable[int]) -> dict[int, int]:
        """Digests of some resources, to compare those with the same name; they are read once more."""
        found, wanted = self.kinds[kind], dict[int, dict[int, int]]()
        made = {row: found.contained[row] for row in rows if row in found.inside}
        for row in set(rows) - made.keys():
            wanted.setdefault(found.files[row], {})[found.lines[row]] = row
        for number, lines in wanted.items():
            last = max(lines)
            for line, raw in self.files[number].resources():
                if line in lines:
                    made[lines[line]] = _digest(raw)
                if line >= last:
                    break
        return made

    def place(self, kind: str, row: int, column: str | None = None) -> Place:
        """Where a resource is."""
        found = self.kinds[kind]
        return Place(self.files[found.files[row]].name, found.lines[row], column)

    def __str__(self) -> str:
        return ", ".join(f"{shown(kind)}: {found.count}" for kind, found in self.kinds.items())


def _digest(raw: bytes) -> int:
    """A digest of what a resource says: its narrative, its metadata, blanks and the order of elements do not count."""
    try:
        resource = exact(raw)
    except JsonError:
        return hash(raw)
    if not isinstance(resource, dict):
        return hash(raw)
    return hash(canonical({name: value for name, value in resource.items() if name not in _NARRATIVE}))
