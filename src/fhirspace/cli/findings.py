"""Findings for people: one line for each kind and place, with a count, instead of one for each row."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from fhirspace.errors import Problem, explain
from fhirspace.foreign import counted, listed

_ROWS = 5
"""Rows that a line names."""
_FIRST = 20
"""Lines that are printed before the rest is summed up."""
_PRINTED_NOTES = frozenset({"FS181", "FS262", "FS741"})
"""Notes that are printed: files passed over, forms without a file, datasets checked in part. The others are details."""
_TOGETHER = frozenset({"FS725"})
"""Codes that have one line for a dataset, however few the records are."""
_LEVELS = ("error", "warning", "note")
_INDEX = re.compile(r"\[\d+\]")
_KEY = re.compile(r"([A-Za-z][A-Za-z0-9-]*-[0-9]+[a-z]?): ")
_KEYED = frozenset({"FS415", "FS424", "FS425"})
_SEVERAL_RULES = _KEYED | {"FS423", "FS433", "FS579"}
"""Codes that stand for many rules or requests, which differ in what is expected."""


def rule_of(problem: Problem) -> str:
    """The key of the rule that a finding is of: HL7's (``obs-6``) where it has one, else the code of the catalogue."""
    found = _KEY.match(problem.expected) if problem.code in _KEYED else None
    return found[1] if found else problem.code


@dataclass(slots=True)
class Group:
    """Findings of one kind in one column of one file: the first, how many there are, their first rows, and
    `some` of them."""

    first: Problem
    count: int = 0
    rows: list[int] = field(default_factory=list)
    some: list[Problem] = field(default_factory=list)

    def add(self, problem: Problem) -> None:
        """Counts a finding."""
        self.count += 1
        self.some += [problem] if len(self.some) < _ROWS else []
        row = problem.place.row
        if row is not None and len(self.rows) <= _ROWS and row not in self.rows:
            self.rows.append(row)

    def text(self, *, advice: bool = True) -> str:
        """The line: the first finding, and how often and in which rows there is the same; what to do on request."""
        if self.count == 1:
            return f"{self.first.level}: {self.first.text(advice=advice)}"
        rows = ", ".join([*(f"{row:,}" for row in self.rows[:_ROWS]), *(["..."] if self.rows[_ROWS:] else [])])
        also = _often(self.count, f"; rows {rows}" if len(self.rows) > 1 else "")
        return f"{self.first.level}: {self.first.text(also, advice=advice)}"


def _often(times: int, where: str = "") -> str:
    return f" ({counted(times, 'time')}{where})"


def grouped(problems: Iterable[Problem]) -> list[Group]:
    """The findings by level, rule, file and column (or element, whatever its place in a list), in their order."""
    groups: dict[tuple[str, str, str, str], Group] = {}
    for problem in problems:
        column = _INDEX.sub("", problem.place.column or "")
        rule = problem.expected if problem.code in _SEVERAL_RULES else ""
        groups.setdefault((problem.code, rule, problem.place.file, column), Group(problem)).add(problem)
    return sorted(groups.values(), key=lambda group: _LEVELS.index(group.first.level))


def lines(groups: Sequence[Group], *, apart: bool = False) -> list[str]:
    """A line for each group, with advice once a code. If `apart`, small groups have one a finding."""
    known: set[str] = set()
    found = []
    for group in groups:
        few = group.count <= _ROWS and group.first.code not in _TOGETHER
        for each in map(_alone, group.some) if apart and few else [group]:
            found.append(each.text(advice=group.first.code not in known))
            known.add(group.first.code)
    return found


def _alone(problem: Problem) -> Group:
    return Group(problem, 1)


def summary(problems: Iterable[Problem], where: str = "") -> list[str]:
    """The lines of the first groups of errors and warnings, the counts of the rest and of the notes.

    Args:
        problems: the findings. where: names the file that has all of them, "" where there is none.
    """
    groups = grouped(problems)
    worse = [group for group in groups if group.first.level != "note"]
    found = lines(worse[:_FIRST])
    rest, notes = worse[_FIRST:], groups[len(worse) :]
    all_there = f"; all of them are in {where}" if where else ""
    if rest:
        found.append(f"... and {sum(group.count for group in rest):,} more: {_tally(rest)}{all_there}")
    elif any(len(group.rows) > _ROWS for group in worse):
        found.append(f"{sum(group.count for group in worse):,} findings{all_there}")
    return [*found, *_notes(notes)]


def _notes(groups: Sequence[Group]) -> Iterator[str]:
    """A line for each kind of notes about what took no part in the run, with the first files."""
    for code in dict.fromkeys(group.first.code for group in groups if group.first.code in _PRINTED_NOTES):
        files = dict.fromkeys(group.first.place.file for group in groups if group.first.code == code)
        times = sum(group.count for group in groups if group.first.code == code)
        also = _often(times) if times > 1 else ""
        yield f"note: {code} {listed(files)}{also}: {explain(code).sentence}"


def _tally(groups: Sequence[Group]) -> str:
    """The codes of groups with their counts, the most frequent first."""
    counts: Counter[str] = Counter()
    for group in groups:
        counts[group.first.code] += group.count
    return ", ".join(f"{code} ({times:,})" for code, times in counts.most_common())
