"""What conformance rules found, grouped by rule and dataset, with counts and the first places; values apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from fhirspace.foreign import counted, shown
from fhirspace.sdtm.rules.cases import results
from fhirspace.sdtm.rules.engine import PRESENCE, Fault, Outcome, targets
from fhirspace.sdtm.rules.model import Rule

_FIRST = 3
_MOST = 1_000
"""Records of a rule and dataset whose values are in the report file."""
_ORDER = {"error": 0, "warning": 1, "note": 2}


@dataclass(frozen=True, slots=True)
class Group:
    """The records of a dataset that one rule flags. `first`: the numbers of the first of them; none for a dataset."""

    rule: Rule
    dataset: str
    file: str
    count: int
    first: tuple[int, ...]
    variables: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """An entry of ``rules`` in ``--json``."""
        rule = self.rule
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
        }

    def __str__(self) -> str:
        where = (
            f", {'record' if self.count == 1 else 'records'} {', '.join(map(str, self.first))}" if self.first else ""
        )
        more = " ..." if len(self.first) < self.count and self.first else ""
        count = counted(self.count, "record") if self.first else "dataset"
        names = f" ({', '.join(shown(name) for name in self.rule.ids[:2])})" if self.rule.ids else ""
        message = shown(self.rule.message or self.rule.description, 300)
        return (
            f"{self.rule.severity}: {shown(self.rule.id)}{names} {shown(self.dataset)}: {count}{where}{more}: {message}"
        )


@dataclass
class Report:
    """All groups; the rules that could not be judged, with the reason; how many rules ran.

    Attributes:
        source: where added rules came from, with the start of their digest; "" where none were added.
        values: lines with the values of flagged records, for the report file only.
    """

    groups: list[Group] = field(default_factory=list)
    unjudged: dict[str, dict[str, str]] = field(default_factory=dict)
    ran: int = 0
    source: str = ""
    values: list[dict[str, str]] = field(default_factory=list)

    def add(self, outcome: Outcome, *, values: bool) -> None:
        """Adds what a rule found."""
        self.ran += 1
        if outcome.errors:
            self.unjudged[outcome.rule.id] = dict(outcome.errors)
        merged: dict[str, list[Fault]] = {}
        for fault in outcome.faults:
            merged.setdefault(fault.dataset.name, []).append(fault)
        self.groups += [_group(outcome.rule, name, faults) for name, faults in merged.items()]
        if values and outcome.faults:
            self.values += _values(outcome)

    def finish(self) -> None:
        """Sorts the groups: errors first, then by rule and dataset; what is of the study is there once."""
        unique = {(group.rule.id, group.dataset): group for group in self.groups}
        self.groups = sorted(unique.values(), key=lambda each: (_ORDER[each.rule.severity], each.rule.id, each.dataset))

    @property
    def findings(self) -> int:
        """How many groups are more than notes."""
        return sum(group.rule.severity != "note" for group in self.groups)

    def as_dict(self) -> dict[str, Any]:
        """The result for ``--json``."""
        unjudged = [{"rule": rule, "datasets": reasons} for rule, reasons in sorted(self.unjudged.items())]
        found = [group.as_dict() for group in self.groups]
        return {"ran": self.ran, "source": self.source, "findings": found, "not_judged": unjudged}

    def lines(self) -> Iterator[str]:
        """A line for each group, and one for each rule that could not be judged."""
        yield from map(str, self.groups)
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
    if rule.sensitivity == "Dataset" or presence:
        return Group(rule, "study" if presence else name, "" if presence else dataset.file, 1, (), variables)
    count = sum(fault.count for fault in faults)
    first: list[int] = []
    for fault in faults:
        first += fault.frame.rows.take(fault.rows[: _FIRST - len(first)]).to_pylist()
    return Group(rule, name, dataset.file, count, tuple(first[:_FIRST]), variables)


def _values(outcome: Outcome) -> list[dict[str, str]]:
    found: list[dict[str, str]] = []
    limited = Outcome(outcome.rule, [Fault(each.dataset, each.frame, each.rows[:_MOST]) for each in outcome.faults])
    for dataset, record, variable, value in dict.fromkeys(results(limited)):
        found.append(
            {"rule": outcome.rule.id, "dataset": dataset, "record": record, "variable": variable, "value": value}
        )
    return found
