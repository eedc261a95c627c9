"""The order of a push: targets of references before referencing resources.

The input is read once as a stream. A scratch SQLite file (deleted at the end) keeps one short row a resource: key,
digest and place; so memory does not grow with the input. Types are ordered by the references found between them.
Only where types refer in a circle (or a type to itself) are single resources ordered, and those that refer to each
other in a circle are bound together into one unit, which is sent in one transaction.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, Self

from fhirspace.delivery.push.graph import components
from fhirspace.delivery.push.unpack import Refused, Unpacker
from fhirspace.errors import InputError, Place, Problem
from fhirspace.fhir.files import FhirFile, find
from fhirspace.fhir.ndjson import places
from fhirspace.fhir.references import parsed, references, texts
from fhirspace.fhir.wire import own_key
from fhirspace.fhirserver.address import is_id, looks_like_type
from fhirspace.folders import scratch
from fhirspace.foreign import counted, listed
from fhirspace.json import JsonError, strict

REQUEST: Final = "FS579"
_EMPTY = hashlib.sha256(b"").digest()
_BASES = 1000
"""So many other places are counted separately."""
_LONGEST = 64
"""So many levels of references are found by the database; what goes deeper is ordered in memory."""
_RESOURCE = "a JSON object with resourceType and a legal id"


@dataclass(frozen=True, slots=True)
class Item:
    """One resource to send: its key (``Type/id``), its line's digest and place, the stage at which it may be sent."""

    key: str
    digest: bytes
    file: Path
    row: int
    offset: int
    stage: tuple[int, int]
    name: str = ""

    @property
    def place(self) -> Place:
        """File (without folders) and row (of a Bundle: its entry, from 1), for people."""
        return Place(self.name or self.file.name, self.row)


Unit = list[Item]
"""Resources that must be in one transaction: mostly one, more where they refer to each other in a circle."""


class Reader:
    """Lines of the input by their place; holds the files open. Use it in a `with`."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._open: dict[Path, BinaryIO] = {}

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def line(self, item: Item) -> bytes:
        """The line of `item`. Raises InputError (FS528) when it is not what was planned."""
        if item.file not in self._open:
            self._open[item.file] = self._stack.enter_context(item.file.open("rb"))
        file = self._open[item.file]
        file.seek(item.offset)
        text = file.readline().strip()
        if hashlib.sha256(text).digest() != item.digest:
            raise InputError("FS528", item.place)
        return text


def inputs(folder: Path, *, follow_links: bool = False, problems: list[Problem] | None = None) -> list[FhirFile]:
    """The FHIR files of a folder (of its ``fhir/`` where it has one), or one file, as `files.find` recognises them.

    Args:
        folder: the folder or file.
        follow_links: links may lead out of the folder.
        problems: gets a finding for each file that is not read; without it the first broken one is an error.

    Raises:
        InputError: FS523, there is none; the first fault where no file can be read, or `problems` is None; others as
            `files.find`. UsageError: FS149, the folder is half written.
    """
    found = find([folder], follow_links=follow_links)
    if not found.files:
        expected, names = "fhir/*.ndjson, *.ndjson, or Bundles as *.json", listed(path.name for path in found.others)
        detail = f"not read: {names}" if names else ""
        raise found.nothing() or InputError("FS523", str(folder), expected, detail)
    if found.faults and problems is None:
        raise next(iter(found.faults.values()))
    if problems is not None:
        problems += found.problems()
    return found.files


class Order:
    """The resources of `files` in the order of sending. Use it in a `with`: it owns a scratch folder.

    Lines that cannot be sent are in `faults`: (code, item, what was expected), FS521 a key occurs twice with different
    content, FS522 it has no type or id that can be sent, FS579 an entry of a Bundle asks for something else than to be
    written, and those of `json.strict` (FS401, FS402, FS403, FS414). `twins` are identical lines;
    with `first_counts` also those of a key that an earlier file has. `unread` are the files that cannot be read to
    their end, of which nothing is sent; `files` are the others. `away` counts references to other places by their base
    ("urn:"), file and type.

    Raises:
        InputError: FS523 there is no resource at all; the fault of the first file where none can be read.
    """

    def __init__(self, files: Sequence[FhirFile], *, first_counts: bool = False) -> None:
        self._first_counts = first_counts
        self.faults: list[tuple[str, Item, str]] = []
        self.twins = 0
        self.files: list[FhirFile] = []
        self.unread: list[Problem] = []
        self.away: dict[str, Counter[tuple[str, str]]] = {}
        self._names = [file.name for file in files]
        self._held = ExitStack()
        folder = self._held.enter_context(scratch())
        self._base = sqlite3.connect(folder / "order.db", isolation_level=None)
        try:
            self._files = [file.path for file in files]
            self._read(files, folder)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Remove the scratch folder."""
        self._base.close()
        self._held.close()

    def __len__(self) -> int:
        return int(self._base.execute("SELECT count(*) FROM item").fetchone()[0])

    def types(self) -> list[tuple[str, int]]:
        """The resource types in the order of sending, with how many there are."""
        found = self._base.execute("SELECT kind, count(*) FROM item GROUP BY kind ORDER BY min(wave), kind")
        return [(kind, count) for kind, count in found]

    def units(self) -> Iterator[Unit]:
        """Everything, targets before referencing resources, units undivided."""
        query = (
            "SELECT key, digest, file, row, offset, unit, wave, level FROM item ORDER BY wave, level, unit, file, row"
        )
        unit: Unit = []
        bound = None
        for key, digest, file, row, offset, number, *stage in self._base.execute(query):
            if unit and (number is None or number != bound):
                yield unit
                unit = []
            unit.append(Item(key, digest, self._files[file], row, offset, (stage[0], stage[1]), self._names[file]))
            bound = number
        if unit:
            yield unit

    def _read(self, files: Sequence[FhirFile], folder: Path) -> None:
        self._base.executescript("""
            PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;
            CREATE TABLE item (key TEXT PRIMARY KEY, kind TEXT, digest BLOB, file INT, row INT, offset INT,
                               wave INT DEFAULT 0, level INT DEFAULT 0, unit INT) WITHOUT ROWID;
            BEGIN""")
        edges: dict[str, set[str]] = {}
        unpack = Unpacker(folder, self._base)
        for number, file in enumerate(files):
            before = len(self.faults), self.twins
            try:
                self._files[number] = unpack.unpacked(file, number)
                self._refuse(unpack.refused, number)
                for row, offset, line in places(self._files[number]):
                    self._keep(number, row, offset, line, edges)
                self.files.append(file)
            except InputError as fault:  # half a file must not pass for a whole one
                self._forget(number, *before)
                self.unread.append(_named(fault, file))
        if not self.faults and not len(self):
            raise self._nothing()
        self._order(edges)
        self._base.execute("COMMIT")

    def _refuse(self, refused: list[Refused], number: int) -> None:
        """Notes the entries of a Bundle that ask for something that a push does not do."""
        for entry in refused:
            item = Item(entry.key, _EMPTY, self._files[number], entry.place, 0, (0, 0), self._names[number])
            self.faults.append((REQUEST, item, f"a PUT or POST without a condition, and not {entry.asks}"))

    def _forget(self, number: int, faults: int, twins: int) -> None:
        """Takes back what was read of a file."""
        self._base.execute("DELETE FROM item WHERE file = ?", (number,))
        del self.faults[faults:]
        self.twins = twins

    def _nothing(self) -> InputError:
        first = next(iter(self.unread), None)
        if first is None:
            return InputError("FS523", self._names[0], "at least one resource")
        return InputError(first.code, first.place, first.expected, first.detail)

    def _keep(self, number: int, row: int, offset: int, line: bytes, edges: dict[str, set[str]]) -> None:
        resource, code, fault = _checked(line)
        kind = "" if code else resource["resourceType"]
        key, digest = "/" if code else f"{kind}/{resource['id']}", hashlib.sha256(line).digest()
        item = Item(key, digest, self._files[number], row, offset, (0, 0), self._names[number])
        if code:
            self.faults.append((code, item, fault))
            return
        try:
            self._base.execute(
                "INSERT INTO item (key, kind, digest, file, row, offset) VALUES (?, ?, ?, ?, ?, ?)",
                (key, kind, digest, number, row, offset),
            )
        except sqlite3.IntegrityError:
            first, of = self._base.execute("SELECT digest, file FROM item WHERE key = ?", (key,)).fetchone()
            if first == digest or (self._first_counts and of != number):
                self.twins += 1
            else:
                self.faults.append(("FS521", item, "each type and id once"))
            return
        targets = edges.setdefault(kind, set())
        for text in texts(resource):
            found = parsed(text)
            if found is not None and not found.base:
                targets.add(found.type)
            elif found is not None or text.startswith("urn:"):
                self._leads_away(number, kind, found.base if found else "urn:")

    def _leads_away(self, number: int, kind: str, base: str) -> None:
        where = base if base in self.away or len(self.away) < _BASES else ""
        self.away.setdefault(where, Counter())[self._names[number], kind] += 1

    def unresolved(self, server: str) -> list[Problem]:
        """A finding (FS509) for each file and type with references to what is neither in the input nor on `server`."""
        found: Counter[tuple[str, str]] = Counter()
        for base, counts in self.away.items():
            if base != f"{server}/":
                found.update(counts)
        return [
            Problem(
                "FS509", Place(name), table=kind, detail=counted(count, f"reference in {kind}", f"references in {kind}")
            )
            for (name, kind), count in sorted(found.items())
        ]

    def _order(self, edges: dict[str, set[str]]) -> None:
        known = {kind: targets & edges.keys() for kind, targets in edges.items()}
        units = 0
        for wave, circle in enumerate(components(known)):
            marks = ",".join("?" * len(circle))
            self._base.execute(f"UPDATE item SET wave = ? WHERE kind IN ({marks})", (wave, *circle))  # noqa: S608  # nosec B608
            if any(known[kind] & set(circle) for kind in circle):
                units = self._order_within(set(circle), units)

    def _order_within(self, circle: set[str], units: int) -> int:
        """Levels for the resources of types that refer in a circle; returns the number of units bound so far.

        Those that refer to nothing that is left get the next level, again and again; the references are in a file.
        What goes round in circles, or down in very long chains, is left over and ordered in memory.
        """
        self._base.execute(
            "CREATE TEMP TABLE edge (source TEXT, target TEXT, PRIMARY KEY (source, target)) WITHOUT ROWID"
        )
        self._base.execute("CREATE TEMP TABLE free (key TEXT PRIMARY KEY) WITHOUT ROWID")
        found = (
            (key, target)
            for key, line in self._lines_of(circle)
            for target in references(line)
            if target != key and target.partition("/")[0] in circle
        )
        self._base.executemany("INSERT OR IGNORE INTO edge SELECT ?1, key FROM item WHERE key = ?2", found)
        for depth in range(1, _LONGEST + 1):
            self._base.execute("UPDATE item SET level = ? WHERE key IN (SELECT source FROM edge)", (depth,))
            if not self._peel():
                break
        units = self._knots(depth, units)
        self._base.execute("DROP TABLE edge")
        self._base.execute("DROP TABLE free")
        return units

    def _peel(self) -> bool:
        """Takes off the references to what refers to nothing any more; whether there were some."""
        self._base.execute("DELETE FROM free")
        self._base.execute(
            "INSERT INTO free SELECT DISTINCT target FROM edge WHERE target NOT IN (SELECT source FROM edge)"
        )
        return self._base.execute("DELETE FROM edge WHERE target IN (SELECT key FROM free)").rowcount > 0

    def _knots(self, least: int, units: int) -> int:
        """Levels, from `least` on, for what is left, bound into units where it goes in a circle."""
        graph: dict[str, set[str]] = defaultdict(set)
        for source, target in self._base.execute("SELECT source, target FROM edge"):
            graph[source].add(target)
        for target in {target for targets in graph.values() for target in targets}:
            graph.setdefault(target, set())
        level: dict[str, int] = {}
        for bound in components(graph):
            depth = 1 + max((level[to] for key in bound for to in graph[key] if to in level), default=least - 1)
            level.update(dict.fromkeys(bound, depth))
            units += len(bound) > 1
            number = units if len(bound) > 1 else None
            rows = [(depth, number, key) for key in bound]
            self._base.executemany("UPDATE item SET level = ?, unit = ? WHERE key = ?", rows)
        return units

    def _lines_of(self, kinds: set[str]) -> Iterator[tuple[str, bytes]]:
        marks = ",".join("?" * len(kinds))
        query = f"SELECT DISTINCT file FROM item WHERE kind IN ({marks}) ORDER BY file"  # noqa: S608  # nosec B608
        for (number,) in self._base.execute(query, sorted(kinds)).fetchall():
            for _, _, line in places(self._files[number]):
                key = own_key(line)
                if key.partition("/")[0] in kinds:
                    yield key, line


def _checked(line: bytes) -> tuple[dict[str, Any], str, str]:
    """A resource, decoded; code, and what was expected, where the line is none that can be sent (else "").

    Whatever is sent is strict JSON through and through: programs differ in what they read where a name comes twice.
    """
    try:
        found = strict(line)
    except JsonError as error:
        return {}, error.code, error.expected
    if not isinstance(found, dict):
        return {}, "FS414", "a JSON object"
    sendable = looks_like_type(found.get("resourceType")) and is_id(found.get("id"))
    return (found, "", "") if sendable else ({}, "FS522", _RESOURCE)


def _named(fault: InputError, file: FhirFile) -> Problem:
    """The finding of a fault, by the name of the file that the user knows."""
    return replace(fault.problem, place=replace(fault.problem.place, file=file.name))
