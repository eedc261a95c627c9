"""What becomes of the resources of one type: taken, left with a reason, quarantined, or claimed by no view."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.errors import Problem
from fhirspace.fhir.status import Verdict
from fhirspace.views.order import distinct
from fhirspace.views.store import Resources, Store

AGAIN: Final = "the same resource again"
_NO: Final = pa.scalar(False)
_CODE: Final = pa.int32()
_NOT_SO: Final = frozenset({"not done", "not occurred", "never"})


class Fates:
    """What becomes of the resources of one type; what they say of themselves is known from the start.

    Args:
        store: the resources of the input. kind: the type. claimed: a view is of the type; others are only referred to.

    Attributes:
        problems: of resources that are quarantined. noted: the status of records that are not final or not certain.
    """

    def __init__(self, store: Store, kind: str, *, claimed: bool = True) -> None:
        self.found: Resources = store.kinds[kind]
        self._of_views = claimed
        self._store, self._kind = store, kind
        self._all = self.found.rows
        inside = self._among(self.found.inside)
        self.outermost = pc.invert(inside)
        none = pa.repeat(_NO, self.found.count)
        self._taken, self._claimed, self._bad, self._blocked = none, none, none, inside
        self._left = pa.nulls(self.found.count, _CODE)
        self._reasons: list[str] = []
        self.problems: list[Problem] = []
        self.noted: Counter[tuple[str, str]] = Counter()
        self._judge()

    def _among(self, rows: Iterable[int] | pa.Array) -> pa.Array:
        given = rows.to_numpy() if isinstance(rows, pa.Array) else np.fromiter(rows, np.int64)
        flags = np.zeros(self.found.count, bool)
        flags[given] = True
        return pa.array(flags)

    def _judge(self) -> None:
        faults = dict(self.found.faults())
        self.quarantine(list(faults), ((fault.code, fault.path) for fault in faults.values()))
        grave, reported = dict[int, str](), dict[str, list[int]]()
        for row, verdicts in self.found.verdicts():
            if row not in self.found.inside:
                self._say(row, verdicts, grave, reported)
        for reason, rows in reported.items():
            self.leave(rows, reason)
        self.quarantine(list(grave), (("FS443", path) for path in grave.values()))
        self._find_repeated()
        self._blocked = pc.or_(self._blocked, pc.or_(self._bad, pc.is_valid(self._left)))

    def _say(self, row: int, verdicts: list[Verdict], grave: dict[int, str], reported: dict[str, list[int]]) -> None:
        no = next((each for each in verdicts if each.outcome in _NOT_SO), None)
        odd = next((each for each in verdicts if each.outcome == "not understood"), None)
        if no is not None:
            reported.setdefault(f"{no.path} is {no.code or 'true'}", []).append(row)
        elif odd is not None:
            grave[row] = odd.path
        elif self._of_views:
            self.noted.update((each.path, each.code) for each in verdicts)

    def _find_repeated(self) -> None:
        """Of equal resources with the same id one is enough; of different ones it is not known which one counts."""
        ids = self.found.values("id").texts
        ids = ids.cast(pa.string()) if pa.types.is_dictionary(ids.type) else ids
        outer = pc.if_else(self.outermost, ids, pa.scalar(None, pa.string())) if self.found.inside else ids
        if distinct(outer):
            return
        counts = pc.value_counts(outer.drop_null())
        twice = counts.filter(pc.greater(counts.field("counts"), 1)).field("values")
        if not len(twice):
            return
        rows = self._all.filter(pc.fill_null(pc.is_in(outer, value_set=twice, skip_nulls=True), False)).to_pylist()
        groups: dict[str, list[int]] = {}
        for row in rows:
            groups.setdefault(outer[row].as_py(), []).append(row)
        digests = self._store.digests(self._kind, rows)
        equal = [group for group in groups.values() if len({digests[row] for row in group}) == 1]
        different = [row for group in groups.values() if len({digests[row] for row in group}) > 1 for row in group]
        self.leave([row for group in equal for row in group[1:]], AGAIN)
        if self._of_views:
            self.quarantine(different, (("FS462", "id") for _ in different))

    def free(self) -> pa.Array:
        """The resources that may make records so far."""
        return pc.invert(self._blocked)

    def block(self, rows: pa.Array, reason: str) -> None:
        """No view makes records of resources (true or false by row), which are left for a reason."""
        self.leave(self._all.filter(rows), reason)
        self._blocked = pc.or_(self._blocked, rows)

    def refuse(self, rows: pa.Array, code: str, path: str) -> None:
        """No view makes records of resources (true or false by row), which are quarantined."""
        numbers = self._all.filter(rows).to_pylist()
        self.quarantine(numbers, ((code, path) for _ in numbers))
        self._blocked = pc.or_(self._blocked, rows)

    def claim(self, rows: pa.Array) -> pa.Array:
        """Notes the rows of resources that a view claims; gives them as true or false by row."""
        claimed = self._among(rows)
        self._claimed = pc.or_(self._claimed, claimed)
        return claimed

    def take(self, rows: pa.Array) -> None:
        """Notes the rows of resources that made records."""
        self._taken = pc.or_(self._taken, self._among(rows))

    def leave(self, rows: Sequence[int] | pa.Array, reason: str) -> None:
        """Notes the rows of resources of which a view makes no record. The first reason counts."""
        if len(rows):
            if reason not in self._reasons:
                self._reasons.append(reason)
            code = pa.scalar(self._reasons.index(reason), _CODE)
            self._left = pc.coalesce(self._left, pc.if_else(self._among(rows), code, pa.scalar(None, _CODE)))

    def quarantine(self, rows: Sequence[int], why: Iterable[tuple[str, str]]) -> None:
        """Notes the rows of resources that are quarantined, each with a code of the catalogue and a path."""
        if rows:
            self._bad = pc.or_(self._bad, self._among(rows))
            self.problems += [
                Problem(code, self._store.place(self._kind, row, path or None), table=self._kind)
                for row, (code, path) in zip(rows, why, strict=True)
            ]

    def decide(self, reason: str) -> None:
        """Says why resources that no view claims are left, if that is declared."""
        if reason:
            self.leave(self._all.filter(pc.and_(self.outermost, pc.invert(self._claimed))), reason)

    def counts(self) -> dict[str, int]:
        """The number of resources by fate; a resource that made a record is taken, whatever else became of it."""
        rest = pc.and_(self.outermost, pc.invert(self._taken))
        bad = pc.and_(rest, self._bad)
        left = self._left_rows()
        counts = {"taken": pc.and_(self.outermost, self._taken), "left": left, "quarantined": bad}
        found = {name: _sum(rows) for name, rows in counts.items()}
        return {**found, "unclaimed": _sum(self.outermost) - sum(found.values())}

    def _left_rows(self) -> pa.Array:
        rest = pc.and_(self.outermost, pc.invert(pc.or_(self._taken, self._bad)))
        return pc.and_(rest, pc.is_valid(self._left))

    def reasons(self) -> Iterator[tuple[str, int]]:
        """The reasons for which resources are left, with their number."""
        for each in pc.value_counts(self._left.filter(self._left_rows())).to_pylist():
            yield self._reasons[each["values"]], each["counts"]

    def quarantined(self) -> list[int]:
        """The rows of quarantined resources."""
        rest = pc.and_(self.outermost, pc.invert(self._taken))
        found: list[int] = self._all.filter(pc.and_(rest, self._bad)).to_pylist()
        return found

    def unclaimed(self) -> list[int]:
        """The rows of resources that no view claims."""
        fate = pc.or_(pc.or_(self._taken, self._bad), pc.is_valid(self._left))
        found: list[int] = self._all.filter(pc.and_(self.outermost, pc.invert(fate))).to_pylist()
        return found

    def unmapped(self) -> Counter[str]:
        """The paths of taken resources that no view reads, with the number of resources that have each."""
        found: Counter[str] = Counter()
        start = 0
        for block in self.found.blocks:
            taken = self._taken.slice(start, block.count)
            for lists, numbers in block.unmapped:
                for each in pc.value_counts(numbers.filter(taken)).to_pylist():
                    for path in lists[each["values"]]:
                        found[path] += each["counts"]
            start += block.count
        return found


def _sum(rows: pa.Array) -> int:
    return int(pc.sum(rows).as_py() or 0)
