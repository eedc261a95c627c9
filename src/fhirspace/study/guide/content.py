"""What a reviewer's guide says, as sections with tables: made from a run, without values of the data.

Every table has `MOST` rows at most and says how many are left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from fhirspace.errors import Problem, explain
from fhirspace.foreign import counted
from fhirspace.sdtm.derive.work import Derived
from fhirspace.standards import sdtm, terminology
from fhirspace.study.rules.explained import Explanation
from fhirspace.study.rules.report import Group
from fhirspace.version import __version__

MOST: Final = 1_000
_LEVELS: Final = ("error", "warning", "note")
_INPUTS: Final = {
    "records": "the records of an EDC export",
    "views": "FHIR of an EHR, by views",
    "sdtm": "SDTM datasets",
    "fhir": "FHIR resources",
}


class Section(NamedTuple):
    """A heading, a sentence or two, and a table, which may have no rows."""

    title: str
    text: str
    header: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Contents:
    """What a run knows of its package.

    Attributes:
        kind: of the input: records, views, sdtm or fhir. study: its STUDYID.
        datasets: name -> label, class, rows and variables, in order. counts: the accounting, by table.
        problems: all findings. explanations: those of the user. derived: what was derived how.
        differences: dataset and variable -> rows in which a value that came in is not the derived one.
        declared: what forms leave out by declaration. rules: what conformance rules find in the datasets.
        terminology: the version of controlled terminology that the datasets were judged by. named: that which the study
            names, "" for none.
    """

    kind: str
    study: str
    datasets: Mapping[str, tuple[str, str, int, int]]
    counts: Mapping[str, Mapping[str, int]]
    problems: Sequence[Problem]
    explanations: Sequence[Explanation] = ()
    derived: Sequence[Derived] = ()
    differences: Mapping[tuple[str, str], int] = field(default_factory=dict)
    declared: Sequence[str] = ()
    rules: Sequence[Group] = ()
    terminology: str = ""
    named: str = ""


def title(about: Contents) -> str:
    """The title of the guide."""
    return f"Reviewer's guide: {about.study}" if about.study else "Reviewer's guide"


def sections(about: Contents) -> list[Section]:
    """The sections of a guide, in their order."""
    findings = [_findings(about), _rules(about), _explanations(about)]
    found = [_package(about), _datasets(about), *findings, _derivations(about)]
    if about.kind == "sdtm":
        found.append(_differences(about))
    found += [_quarantined(about)]
    if about.declared:
        found.append(_bounded("Left out by declaration", "", ("what",), ((line,) for line in about.declared)))
    return found


def _package(about: Contents) -> Section:
    rows = sum(rows for _, _, rows, _ in about.datasets.values())
    levels = Counter(problem.level for problem in about.problems)
    facts = {
        "Study": about.study or "not given",
        "Made from": _INPUTS[about.kind],
        "Made by": f"fhirspace {__version__}",
        "Guide": f"SDTMIG {sdtm.version()}",
        "Controlled terminology": _terminology(about),
        "Datasets": f"{len(about.datasets):,}",
        "Rows": f"{rows:,}",
        "Findings": ", ".join(f"{levels[level]:,} {level}s" for level in _LEVELS),
        "Rows in quarantine": f"{sum(each['quarantined'] for each in about.counts.values()):,}",
    }
    return Section("The package", "", ("", ""), tuple(facts.items()))


def _terminology(about: Contents) -> str:
    """The version that was used, and that which the study names where it is another."""
    used = about.terminology or terminology.version()
    other = f" (the study names {about.named})" if about.named not in ("", used) else ""
    return f"CDISC SDTM {used}{other}"


def _datasets(about: Contents) -> Section:
    rows = (
        (name, label, klass, f"{rows:,}", f"{variables:,}")
        for name, (label, klass, rows, variables) in about.datasets.items()
    )
    return _bounded("Datasets", "", ("dataset", "label", "class", "rows", "variables"), rows)


def _grouped(about: Contents) -> dict[tuple[str, str, str], list[Problem]]:
    """The findings by code, dataset and variable."""
    groups: dict[tuple[str, str, str], list[Problem]] = {}
    for problem in about.problems:
        groups.setdefault((problem.code, problem.table, problem.place.column or ""), []).append(problem)
    return groups


def _findings(about: Contents) -> Section:
    groups = _grouped(about)
    ordered = sorted(groups.items(), key=lambda each: (_LEVELS.index(explain(each[0][0]).level), each[0]))
    rows = (_finding(*key, found, about.explanations) for key, found in ordered)
    text = "What was found in the data. No finding removes a row, except those in quarantine."
    header = ("level", "code", "dataset", "variable", "times", "finding", "explanation")
    return _bounded("Findings and their explanations", text, header, rows)


def _rules(about: Contents) -> Section:
    rows = (_of_rule(group) for group in about.rules)
    text = "What conformance rules find in the datasets; the records are listed by `fhirspace validate --rules`."
    header = ("level", "rule", "other ids", "dataset", "records", "finding", "explanation")
    return _bounded("Conformance rules", text, header, rows)


def _of_rule(group: Group) -> tuple[str, ...]:
    rule, why = group.rule, group.explained
    count = f"{group.count:,}" if group.first else "the dataset"
    level = "explained" if why else rule.severity
    reason = f"{why.reason} ({why.by})" if why else ""
    return level, rule.id, ", ".join(rule.ids), group.dataset, count, rule.message or rule.description, reason


def _explanations(about: Contents) -> Section:
    """Every explanation that was given, whether it explains a finding or none."""
    counts = Counter[Explanation | None]()
    for (code, dataset, _), found in _grouped(about).items():
        counts[_why(about.explanations, code, dataset, len(found))] += len(found)
    for group in about.rules:
        counts[group.explained] += group.count
    rows = (_explained(each, counts[each]) for each in about.explanations)
    text = "The explanations that were given, with the number of records they are for and of those that they explain."
    header = ("rule", "datasets", "records", "explained", "reason", "by", "state")
    return _bounded("Explanations", text, header, rows)


def _explained(why: Explanation, count: int) -> tuple[str, ...]:
    scope, most = ", ".join(why.scope) or "all", f"at most {why.records:,}" if why.records else "any number"
    state = "explains findings" if count else "fits no finding"
    return why.rule, scope, most, f"{count:,}", why.reason, why.by, state


def _why(explanations: Sequence[Explanation], code: str, dataset: str, count: int) -> Explanation | None:
    return next((each for each in explanations if each.fits((code,), dataset, count)), None)


def _finding(
    code: str, dataset: str, variable: str, found: Sequence[Problem], explanations: Sequence[Explanation]
) -> tuple[str, ...]:
    entry = explain(code)
    why = _why(explanations, code, dataset, len(found))
    detail = f" ({found[0].detail})" if len(found) == 1 and found[0].detail else ""
    reason = f"{why.reason} ({why.by})" if why else entry.cause
    level = "explained" if why else entry.level
    return level, code, dataset, variable, f"{len(found):,}", entry.sentence.removesuffix(".") + detail + ".", reason


def _derivations(about: Contents) -> Section:
    rows = ((each.dataset, each.variable, each.method) for each in about.derived)
    text = "Variables of which cells were empty and were derived, wholly or in part. What came in was not changed."
    return _bounded("Derivations", text, ("dataset", "variable", "method"), rows)


def _differences(about: Contents) -> Section:
    rows = ((dataset, name, f"{count:,}") for (dataset, name), count in about.differences.items())
    text = "Values that came in, were not changed, and are not what their derivation gives (FS704)."
    return _bounded("Differences from derivations", text, ("dataset", "variable", "rows"), rows)


def _quarantined(about: Contents) -> Section:
    names = ("in", "out", "quarantined", "skipped", "dropped", "not_converted")
    rows = ((table, *(f"{counts.get(name, 0):,}" for name in names)) for table, counts in about.counts.items())
    text = "In = out + all others. Rows in quarantine are in the folder quarantine/, unchanged."
    return _bounded("Accounting", text, ("table", *(name.replace("_", " ") for name in names)), rows)


def _bounded(title: str, text: str, header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Section:
    """A section with the first rows of a table."""
    every = tuple(rows)
    if len(every) > MOST:
        whole = counted(len(every), "row")
        text = f"{text} The first {MOST:,} of {whole}; problems.ndjson and define.xml have all.".strip()
    return Section(title, text if every or not header else f"{text} None.".strip(), header, every[:MOST])
