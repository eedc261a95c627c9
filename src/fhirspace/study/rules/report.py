"""What conformance rules found, grouped by rule and dataset, with counts and the first places; values apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from fhirspace.errors import Problem
from fhirspace.foreign import counted, shown
from fhirspace.sdtm.rules.checks import CODE
from fhirspace.sdtm.rules.engine import PRESENCE, Fault, Outcome, targets
from fhirspace.sdtm.rules.model import Rule
from fhirspace.sdtm.rules.results import Found, found
from fhirspace.sdtm.rules.study import Dataset
from fhirspace.study.rules.explained import Explanation

_FIRST = 3
_MOST = 1_000
"""Records of a rule and dataset whose values are in the report file."""
_ORDER = {"error": 0, "warning": 1, "note": 2}


@dataclass(frozen=True, slots=True)
class Group:
    """The records of a dataset that one rule flags. `first`: the numbers of the first of them; none for a dataset.

    `explained`: why they need no correction, None where nobody explained them.
    """

    rule: Rule
    dataset: str
    file: str
    count: int
    first: tuple[int, ...]
    variables: tuple[str, ...]
    explained: Explanation | None = None

    def as_dict(self) -> dict[str, Any]:
        """An entry of ``rules`` in ``--json``."""
        rule = self.rule
        why = {"explained": {"reason": self.explained.reason, "by": self.explained.by}} if self.explained else {}
        return {
            "rule": rule.id,
            "ids": list(rule.ids),
            "level": rule.severity,
            "dataset": self.dataset,
            "file": self.file,
            "count": self.count,
            "records": list(self.first),
            "variables": list(self.variables),
            "message": rule.message,
            **why,
        }

    def __str__(self) -> str:
        where = (
            f", {'record' if self.count == 1 else 'records'} {', '.join(map(str, self.first))}" if self.first else ""
        )
        more = " ..." if len(self.first) < self.count and self.first else ""
        ids = [name for name in self.rule.ids if not CODE.fullmatch(name)]
        names = f" ({', '.join(shown(name) for name in ids[:2])})" if ids else ""
        message = shown(self.rule.message or self.rule.description, 300)
        level = "explained" if self.explained else self.rule.severity
        text = f"{level}: {shown(self.rule.id)}{names} {shown(self.dataset)}: {self.often}{where}{more}: {message}"
        why = self.explained
        return f"{text} ({shown(why.by, 100)}: {shown(why.reason, 300)})" if why else text

    @property
    def often(self) -> str:
        """How many records, or that it is about a dataset."""
        return counted(self.count, "record") if self.first else "dataset"


@dataclass(frozen=True, slots=True)
class Ran:
    """A rule that ran: how many datasets it judged, how many findings it has, and why it judged others not."""

    rule: Rule
    judged: int
    count: int
    reasons: tuple[str, ...]

    @property
    def status(self) -> str:
        """What became of it, in words."""
        if self.count:
            return "findings"
        return "no findings" if self.judged else "not judged" if self.reasons else "no dataset in scope"


@dataclass
class Report:
    """All groups; the rules that could not be judged, with the reason; the rules that ran.

    Attributes:
        source: where added rules came from, with the start of their digest; "" where none were added.
        datasets: what was judged. details: the records found with their values, for the report file only.
        unused: explanations that fit no finding. standards: names and versions of what the study was judged by.
    """

    groups: list[Group] = field(default_factory=list)
    unjudged: dict[str, dict[str, str]] = field(default_factory=dict)
    rules: list[Ran] = field(default_factory=list)
    source: str = ""
    datasets: list[Dataset] = field(default_factory=list)
    standards: dict[str, str] = field(default_factory=dict)
    details: list[tuple[Rule, Found]] = field(default_factory=list)
    unused: list[Explanation] = field(default_factory=list)
    codes: dict[str, str] = field(default_factory=dict)
    """Of rules of ours that others replace: their ids, and the code of the check that finds the same."""
    _same: dict[tuple[str, str], set[int]] = field(default_factory=dict, repr=False)
    """The records of a file that rules flag which say the same as a check of ours, by the code of the check."""

    @property
    def ran(self) -> int:
        """How many rules ran."""
        return len(self.rules)

    def add(self, outcome: Outcome, *, values: bool) -> None:
        """Adds what a rule found."""
        rule = outcome.rule
        if outcome.errors:
            self.unjudged[rule.id] = dict(outcome.errors)
        merged: dict[str, list[Fault]] = {}
        for fault in outcome.faults:
            merged.setdefault(fault.dataset.name, []).append(fault)
        groups = {(group.rule.id, group.dataset): group for group in (_group(rule, *each) for each in merged.items())}
        self.groups += groups.values()
        named = {each if CODE.fullmatch(each) else self.codes.get(each, "") for each in rule.ids}
        for code in filter(None, named):
            for fault in outcome.faults:
                rows = fault.frame.rows.take(fault.rows).to_pylist()
                self._same.setdefault((code, fault.dataset.file), set()).update(rows)
        reasons = (*outcome.errors.values(), *outcome.skipped.values())
        count = sum(group.count for group in groups.values())
        self.rules.append(Ran(rule, len(outcome.judged), count, tuple(dict.fromkeys(reasons))))
        if values and outcome.faults:
            self.details += [(rule, each) for each in dict.fromkeys(found(outcome, _MOST))]

    def finish(self, explanations: Sequence[Explanation] = ()) -> None:
        """Marks what is explained and sorts the groups: errors first, then by rule and dataset."""
        used = set[Explanation]()
        for at, group in enumerate(self.groups):
            ids = (group.rule.id, *group.rule.ids)
            why = next((each for each in explanations if each.fits(ids, group.dataset, group.count)), None)
            if why:
                used.add(why)
                self.groups[at] = replace(group, explained=why)
        self.unused = [each for each in explanations if each not in used]
        self.groups.sort(key=lambda each: (_ORDER[each.rule.severity], each.rule.id, each.dataset))

    def has(self, problem: Problem) -> bool:
        """Whether a rule flags the record of a finding for the same reason: it need not be reported twice."""
        row = problem.place.row
        return row is not None and row - 1 in self._same.get((problem.code, problem.place.file), ())

    def open(self, *levels: str) -> list[Group]:
        """The groups of these levels that nobody explained."""
        return [group for group in self.groups if group.rule.severity in levels and not group.explained]

    @property
    def findings(self) -> int:
        """How many groups are more than notes, and not explained."""
        return len(self.open("error", "warning"))

    def counts(self) -> dict[str, int]:
        """How many rules ran, how many records and datasets they flag by level, and how many of them are explained."""
        found = {f"{level}s": sum(group.count for group in self.open(level)) for level in _ORDER}
        return {"ran": self.ran, **found, "explained": sum(group.count for group in self.groups if group.explained)}

    @property
    def values(self) -> Iterator[dict[str, str]]:
        """A line for each value of the records found."""
        for rule, each in self.details:
            for name, value in each.cells:
                about = {"rule": rule.id, "dataset": each.dataset, "record": each.record}
                yield {**about, "variable": name, "value": value}

    def as_dict(self) -> dict[str, Any]:
        """The result for ``--json``."""
        unjudged = [{"rule": rule, "datasets": reasons} for rule, reasons in sorted(self.unjudged.items())]
        listed = [group.as_dict() for group in self.groups]
        unused = [{"rule": each.rule, "place": str(each.place)} for each in self.unused]
        more = {"explanations_unused": unused} if unused else {}
        return {"ran": self.ran, "source": self.source, "findings": listed, "not_judged": unjudged, **more}

    def lines(self) -> Iterator[str]:
        """A line for each group, one for each rule that could not be judged, and for explanations of nothing."""
        yield from (str(group) for group in self.groups if not group.explained)
        yield from (str(group) for group in self.groups if group.explained)
        for each in self.unused:
            yield f"explanation not used: {shown(each.place)} {shown(each.rule)}: no such finding, or of more records"
        for rule, reasons in sorted(self.unjudged.items()):
            by_reason: dict[str, list[str]] = {}
            for dataset, reason in reasons.items():
                by_reason.setdefault(reason, []).append(dataset)
            for reason, datasets in by_reason.items():
                where = "" if datasets == ["*"] else f" {', '.join(shown(each) for each in datasets)}"
                yield f"not judged: {shown(rule)}{where}: {shown(reason, 300)}"


def _group(rule: Rule, name: str, faults: Sequence[Fault]) -> Group:
    presence = rule.kind == PRESENCE
    dataset = faults[0].dataset
    variables = tuple(dict.fromkeys(each for fault in faults for each in targets(fault, rule) if each[:1] != "$"))
    if rule.sensitivity != "Record" or presence:
        return Group(rule, "study" if presence else name, "" if presence else dataset.file, 1, (), variables)
    count = sum(fault.count for fault in faults)
    first: list[int] = []
    for fault in faults:
        first += fault.frame.rows.take(fault.rows[: _FIRST - len(first)]).to_pylist()
    return Group(rule, name, dataset.file, count, tuple(first[:_FIRST]), variables)
