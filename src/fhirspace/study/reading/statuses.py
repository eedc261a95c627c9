"""Status elements applied to the rows that were read: what says "this did not happen" or "ignore me" is never a row."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.errors import Place, Problem
from fhirspace.fhir.status import Verdict, doubtful, rules, verdicts
from fhirspace.foreign import counted
from fhirspace.json import JsonError, parse
from fhirspace.mapping.library import Library
from fhirspace.mapping.model import Arr, Block, Obj, walk
from fhirspace.mapping.read.collect import ReadBatch
from fhirspace.mapping.read.extract import nodes_of
from fhirspace.mapping.read.witness import chosen_constants, key
from fhirspace.sdtm import columns
from fhirspace.tables.text import has
from fhirspace.template.slots import Leaf

_NEVER = ("never", "not understood")


@dataclass(slots=True)
class StatusScreen:
    """Screens what a batch gave by the status elements of its lines.

    Args:
        library: the mappings by which the batches are read.
    """

    library: Library
    _found: dict[tuple[str, str, str], tuple[Place, int]] = field(init=False, default_factory=dict)
    _shows: dict[tuple[str, int], list[Watched]] = field(init=False, default_factory=dict)

    def apply(self, batch: ReadBatch, lines: Mapping[int, bytes], file: str) -> None:
        """Takes rows out of a batch that must not be any, or says in them that nothing was done.

        Args:
            batch: what some lines gave; its rows change, and a line that gives none any more is one of its problems.
            lines: those lines; file: their file's name.
        """
        suspects = {*doubtful((line, lines[line]) for line in batch.extracted), *(line for line, _ in batch.unmapped)}
        suspects.update(self._shown(batch))
        by_line = {number: found for number in sorted(suspects) if (found := _verdicts(lines[number]))}
        for line in batch.foreign:
            by_line.pop(line, None)  # it gives no row
        if not by_line:
            return
        rows = self._rows(batch, by_line)
        judged = {number: _judge(found, rows.get(number, [])) for number, found in by_line.items()}
        out = [number for number, each in judged.items() if each.out]
        drop(batch, out)
        batch.problems += [_problem(judged[number], Place(file, number)) for number in out]
        for number, each in judged.items():
            if not each.out and each.verdict is not None:
                self._note(batch, each, Place(file, number))

    def findings(self) -> list[Problem]:
        """One finding for each status of a file that leaves a row a row, at its first line."""
        return [
            Problem("FS444", place, detail=f"{what}, {counted(count, 'resource')}")
            for (_, _, what), (place, count) in self._found.items()
        ]

    def _note(self, batch: ReadBatch, judged: _Judged, place: Place) -> None:
        problem = _problem(judged, place)
        key = (place.file, problem.place.column or "", problem.detail)
        first, count = self._found.get(key, (problem.place, 0))
        self._found[key] = (first, count + 1)
        if judged.mark is not None:
            self._mark(batch, place.row or 0, judged.mark)

    def _shown(self, batch: ReadBatch) -> Iterator[int]:
        """The lines of which a column shows that a status can have another outcome than `row`."""
        for domain, parts in batch.tables.items():
            for index, table in parts.items():
                for watched in self._columns(domain, index):
                    if has(table, watched.column):
                        yield from watched.lines(table)

    def _columns(self, domain: str, index: int) -> list[Watched]:
        """The columns that show whether a line of the compiled reader can have another outcome."""
        if (domain, index) not in self._shows:
            blocks = self.library.mappings[domain].blocks
            found = _watched(blocks[index]) if 0 <= index < len(blocks) else ()
            self._shows[domain, index] = list(dict.fromkeys(found))
        return self._shows[domain, index]

    def _rows(self, batch: ReadBatch, lines: Iterable[int]) -> dict[int, list[tuple[str, dict[str, Any]]]]:
        """The prefix and cells of the rows that the resources of some lines are, not of those nested in them."""
        wanted, found = pa.array(list(lines), pa.int64()), dict[int, list[tuple[str, dict[str, Any]]]]()
        for domain in [each for each in batch.tables if self.library.mappings[each].blocks]:
            names = [domain[:2] + each for each in ("STAT", "OCCUR", "ORRES", "MOOD")]
            for table in batch.tables[domain].values():
                picked = table.select([name for name in ("@row", *names) if has(table, name)])
                for row in picked.filter(pc.is_in(table["@row"], wanted)).to_pylist():
                    found.setdefault(row["@row"], []).append((domain[:2], row))
        return found

    def _mark(self, batch: ReadBatch, line: int, column: str) -> None:
        """Set a column to NOT DONE in the rows of a line."""
        prefix = column.removesuffix("STAT")
        for domain in [each for each in batch.tables if each[:2] == prefix]:
            for part, table in batch.tables[domain].items():
                there = pc.equal(table["@row"], line)
                old = table[column] if column in table.column_names else pa.nulls(table.num_rows, pa.string())
                cells = pc.if_else(there, "NOT DONE", old)
                at = table.column_names.index(column) if column in table.column_names else -1
                batch.tables[domain][part] = (
                    table.set_column(at, column, cells) if at >= 0 else table.add_column(0, column, cells)
                )


def drop(batch: ReadBatch, lines: Collection[int]) -> None:
    """Take out of a batch all rows that some lines gave, nested ones too."""
    if not lines:
        return
    gone = pa.array(lines, pa.int64())
    for domain, parts in list(batch.tables.items()):
        left = {part: table.filter(pc.invert(pc.is_in(table["@row"], gone))) for part, table in parts.items()}
        batch.tables[domain] = {part: table for part, table in left.items() if table.num_rows}
        if not batch.tables[domain]:
            del batch.tables[domain]
    batch.unmapped = [place for place in batch.unmapped if place[0] not in lines]
    batch.absent = [place for place in batch.absent if place[0] not in lines]


@dataclass(frozen=True, slots=True)
class Watched:
    """A column that shows what a status element is, and the codes that need no closer look."""

    column: str
    fine: frozenset[str] = frozenset()

    def lines(self, table: pa.Table) -> list[int]:
        """The lines of which a table has another code."""
        if not self.fine:
            return _listed(table, pc.is_valid(table[self.column]))
        others = [code for code in columns.distinct(table[self.column]) if code not in self.fine]
        if not others:
            return []
        there = pc.is_in(table[self.column], value_set=pa.array(others, table[self.column].type))
        return _listed(table, there)


def _listed(table: pa.Table, rows: pa.Array) -> list[int]:
    lines: list[int] = table["@row"].filter(rows).to_pylist()
    return lines


def _watched(block: Block) -> Iterator[Watched]:
    """What shows the status elements of a block's resources, and of those that they contain."""
    yield from _of(block.root, block.resource)
    contained = dict(block.root.fields).get("contained")
    for inner in contained.items if isinstance(contained, Arr) else ():
        kind = dict(inner.fields).get("resourceType") if isinstance(inner, Obj) else None
        if isinstance(inner, Obj) and isinstance(kind, Leaf) and kind.constant:
            yield from _of(inner, kind.constant)


def _of(root: Obj, resource: str) -> Iterator[Watched]:
    marked = chosen_constants(root)
    for path, outcomes in rules().get(resource, {}).items():
        fine = frozenset(code for code, outcome in outcomes.items() if outcome == "row")
        for node in nodes_of(root).get(path.partition(".")[0], ()):
            for leaf in walk(node):
                if isinstance(leaf, Leaf) and id(leaf) in marked:
                    yield Watched(marked[id(leaf)], fine)
                elif isinstance(leaf, Leaf) and outcomes.get(leaf.constant or "", "row") != "row":
                    yield Watched("@row")
                for slot in leaf.slots if isinstance(leaf, Leaf) else ():
                    column, _ = key(slot)
                    yield Watched(column.partition(".")[0], fine if column.startswith("@") else frozenset())


@dataclass(frozen=True, slots=True)
class _Judged:
    """The verdict to report, None where the row says it itself; whether the rows go; the column to set to NOT DONE."""

    verdict: Verdict | None = None
    out: bool = False
    mark: str | None = None


def _judge(found: list[Verdict], rows: list[tuple[str, dict[str, Any]]]) -> _Judged:
    """The gravest of the verdicts of a resource, given the rows that it is."""
    each = [_one(verdict, rows) for verdict in found]
    return max(each, key=lambda one: (one.out, one.mark is not None, one.verdict is not None), default=_Judged())


def _one(verdict: Verdict, rows: list[tuple[str, dict[str, Any]]]) -> _Judged:
    if verdict.outcome in _NEVER:
        return _Judged(verdict, out=True)
    negated = _all(rows, _negated)
    result = any(row.get(f"{domain}ORRES") for domain, row in rows)
    if verdict.outcome == "finding":
        return _Judged(None if negated or _all(rows, _planned) else verdict)
    if negated and not (result and verdict.outcome == "not done"):
        return _Judged()
    if verdict.outcome == "not done" and not result and len(rows) == 1 and not rows[0][1].get(f"{rows[0][0]}OCCUR"):
        return _Judged(verdict, mark=f"{rows[0][0]}STAT")
    return _Judged(verdict, out=True)


def _all(rows: list[tuple[str, dict[str, Any]]], says: Callable[[str, dict[str, Any]], bool]) -> bool:
    return bool(rows) and all(says(domain, row) for domain, row in rows)


def _planned(domain: str, row: dict[str, Any]) -> bool:
    """Whether a row itself says that it is a plan: of what was planned FHIR cannot say whether it was done."""
    return row.get(f"{domain}MOOD") == "SCHEDULED"


def _negated(domain: str, row: dict[str, Any]) -> bool:
    """Whether a row itself says that nothing was done, or that it did not occur."""
    return bool(row.get(f"{domain}STAT")) or row.get(f"{domain}OCCUR") == "N"


def _problem(judged: _Judged, place: Place) -> Problem:
    verdict = judged.verdict or Verdict("never", "")
    what = f"{verdict.path} is {verdict.code}" if verdict.code else ""
    code = "FS444" if not judged.out else "FS443" if verdict.outcome == "not understood" else "FS442"
    if judged.mark:
        what += f", so {judged.mark} is NOT DONE"
    return Problem(code, Place(place.file, place.row, verdict.path), detail=what)


def _verdicts(line: bytes) -> list[Verdict]:
    try:
        resource = parse(line)
    except JsonError:
        return []  # reported by the reader
    return verdicts(resource) if isinstance(resource, dict) else []
