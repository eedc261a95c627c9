"""The tables of a report that reviewers know: Conformance Details, Issue Summary, Issue Details, Rules."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from fhirspace.study.rules.report import Group, Report
from fhirspace.version import __version__

Cell = str | int


class Sheet(NamedTuple):
    """One table: its name, its header (none: it has none), its rows, and the widths of its columns in characters."""

    name: str
    header: tuple[str, ...]
    rows: list[tuple[Cell, ...]]
    widths: tuple[int, ...]


def sheets(report: Report) -> list[Sheet]:
    """The tables of a report, in the order in which they are read."""
    return [
        Sheet("Conformance Details", (), list(_conformance(report)), (36, 60, 24, 14)),
        Sheet(
            "Issue Summary",
            ("Dataset", "Rule", "CDISC / FDA id", "Severity", "Message", "Issues", "Explanation", "Explained by"),
            [_summary(group) for group in report.groups],
            (12, 18, 20, 10, 80, 10, 40, 20),
        ),
        Sheet(
            "Issue Details",
            ("Dataset", "Rule", "CDISC / FDA id", "Severity", "Record", "USUBJID", "Sequence", "Variables", "Values",
             "Message"),
            list(_details(report)),
            (12, 18, 20, 10, 10, 22, 10, 34, 44, 80),
        ),
        Sheet(
            "Rules",
            ("Rule", "CDISC / FDA id", "Severity", "Status", "Datasets judged", "Issues", "Message", "Not judged"),
            list(_rules(report)),
            (18, 20, 10, 18, 16, 10, 80, 60),
        ),
    ]  # fmt: skip


def _conformance(report: Report) -> Iterator[tuple[Cell, ...]]:
    yield "Software", f"fhirspace {__version__}"
    yield from ((name, text) for name, text in report.standards.items() if text)
    yield "Rules", f"{report.ran} rules: fhirspace's own{f' and those of {report.source}' if report.source else ''}"
    yield from ((f"Issues: {level}", count) for level, count in report.counts().items() if level != "ran")
    yield "Rules not judged", len(report.unjudged)
    yield ()
    yield "Dataset", "Label", "File", "Records"
    for dataset in report.datasets:
        yield dataset.name, dataset.label, dataset.file, dataset.table.num_rows


def _ids(ids: tuple[str, ...]) -> str:
    """The ids that a rule has in the lists of CDISC and of authorities."""
    return ", ".join(each for each in ids if not each.startswith("FS"))


def _summary(group: Group) -> tuple[Cell, ...]:
    rule, why = group.rule, group.explained
    words = (why.reason, why.by) if why else ("", "")
    message = rule.message or rule.description
    return group.dataset, rule.id, _ids(rule.ids), rule.severity, message, group.count, *words


def _details(report: Report) -> Iterator[tuple[Cell, ...]]:
    order = {(group.rule.id, group.dataset): at for at, group in enumerate(report.groups)}
    last = len(order)
    for rule, each in sorted(report.details, key=lambda pair: order.get((pair[0].id, pair[1].dataset), last)):
        record: Cell = int(each.record) if each.record.isdigit() else each.record
        names = ", ".join(name for name, _ in each.cells)
        values = ", ".join(value for _, value in each.cells)
        about = (each.dataset, rule.id, _ids(rule.ids), rule.severity, record, each.subject, each.sequence)
        yield *about, names, values, rule.message or rule.description


def _rules(report: Report) -> Iterator[tuple[Cell, ...]]:
    for ran in report.rules:
        rule = ran.rule
        about = (rule.id, _ids(rule.ids), rule.severity, ran.status, ran.judged, ran.count)
        yield *about, rule.message or rule.description, "; ".join(ran.reasons)
