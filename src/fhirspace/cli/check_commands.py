"""What ``fhirspace validate``, ``rules`` and ``explain`` do."""

from __future__ import annotations

import json
import os
from argparse import Namespace
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fhirspace import arguments
from fhirspace.cli.console import give, print_line, say, tell_problems
from fhirspace.cli.findings import Group, grouped, lines
from fhirspace.cli.options import client_of
from fhirspace.errors import EXIT_CLEAN, EXIT_FINDINGS, EXIT_QUARANTINED, Problem, UsageError, exit_code_of
from fhirspace.foreign import counted, shown

if TYPE_CHECKING:
    from fhirspace.sdtm.rules.model import Rule
    from fhirspace.study.inputs import Opened
    from fhirspace.study.rules.report import Report

_LONGEST = 400
_LEVELS = ("error", "warning", "note")
_OWN = ("table", "json", "ndjson", "sarif", "outcome")
"""Formats of findings that are not those of conformance rules."""


def validate(options: Namespace) -> int:
    """``fhirspace validate``."""
    from fhirspace.study.inputs import Opened
    from fhirspace.study.validate import validate as run

    kind = _format(options)
    printed = "json" if options.json else "table" if options.report else kind
    encoding = arguments.encoding(options.encoding)
    opened = Opened(options.paths, follow_links=options.follow_links, encoding=encoding)
    how = {"fhir": options.fhir, "full": options.full, "profile": options.profile, "terminology": options.terminology}
    problems: Iterable[Problem] = run(options.paths, **how, opened=opened, client=client_of(options))
    report = None
    if options.rules is not None:
        found = list(problems)
        report = _judged(options, opened, kind)
        problems = [problem for problem in found if not report.has(problem)]
    rows: list[dict[str, Any]] = []
    groups = grouped(_listed(problems, printed, rows))
    _print(groups, printed if report is None or printed == "table" else "")
    for line in report.lines() if report and printed == "table" else ():
        print_line(line)
    code = _exit_code([group.first for group in groups], report, options.fail_on)
    if printed == "json":
        more = {"rules": report.as_dict()} if report else {}
        give({"findings": rows, **more, "exit_code": code}, "", as_json=True)
    elif printed == "sarif" and report:
        from fhirspace.study.rules.formats.sarif import content

        tell_problems([problem for group in groups for problem in group.some])
        give(content(report), "", as_json=True)
    levels = Counter(dict.fromkeys(_LEVELS, 0))
    for group in groups:
        levels[group.first.level] += group.count
    levels.update(group.rule.severity for group in report.groups if not group.explained) if report else None
    explained = sum(group.count for group in report.groups if group.explained) if report else 0
    also = f", {counted(explained, 'record')} explained" if explained else ""
    say(_found(levels) + also)
    return code


def _found(levels: Mapping[str, int]) -> str:
    """How many findings there are, and of which levels, as in ``3 findings (1 warning, 2 notes)``."""
    by_level = ", ".join(counted(count, level) for level, count in levels.items() if count)
    return f"{counted(sum(levels.values()), 'finding')} ({by_level})" if by_level else "no findings"


def _listed(problems: Iterable[Problem], printed: str, rows: list[dict[str, Any]]) -> Iterator[Problem]:
    """The findings as they are found, added to `rows` for JSON, printed for NDJSON, so that nothing else is stored."""
    from fhirspace.cli.finding_formats import row

    for problem in problems:
        if printed == "json":
            rows.append(row(problem))
        elif printed == "ndjson":
            print(json.dumps(row(problem), ensure_ascii=True))
        yield problem


def _print(groups: Sequence[Group], printed: str) -> None:
    """Prints groups of findings as lines for people, as a SARIF log, or as an OperationOutcome."""
    from fhirspace.cli import finding_formats

    if printed == "table":
        for line in lines(groups, apart=True):
            print_line(line)
    elif printed in ("sarif", "outcome"):
        make = finding_formats.sarif if printed == "sarif" else finding_formats.outcome
        give(make(groups), "", as_json=True)


def _format(options: Namespace) -> str:
    """The format of what is printed, or of the report on rules. Raises UsageError: FS807, options that do not fit."""
    asked = [name for name in ("report", "explained", "values") if getattr(options, name)]
    if options.rules is None and asked:
        raise UsageError("FS807", f"--{asked[0]}", "--rules")
    if options.rules is None and options.format in _OWN:
        return str(options.format)
    if options.rules is not None and options.format in ("ndjson", "outcome"):
        raise UsageError("FS807", f"--format {options.format}", "no --rules")
    suffix = options.report.suffix[1:].lower() if options.report else ""
    kind: str = options.format or {"htm": "html"}.get(suffix, suffix)
    kind = kind if kind in ("json", "sarif", "xlsx", "html") else "table"
    if kind in ("xlsx", "html") and not options.report:
        raise UsageError("FS807", f"--format {kind}", "--report FILE")
    return kind


def _exit_code(found: Sequence[Problem], report: Report | None, fail_on: str) -> int:
    """3 where a file is not read, else 1 where a finding is of a level that counts and nobody explained it, else 0."""
    code = exit_code_of(found)
    if code == EXIT_QUARANTINED or fail_on == "never":
        return code if code == EXIT_QUARANTINED else EXIT_CLEAN
    levels = ("error",) if fail_on == "error" else ("error", "warning")
    rules = report and (report.open(*levels) or report.unjudged)
    return EXIT_FINDINGS if rules or any(problem.level in levels for problem in found) else EXIT_CLEAN


def _judged(options: Namespace, opened: Opened, kind: str) -> Report:
    """What conformance rules find, written to the files that are asked for."""
    from fhirspace import atomic
    from fhirspace.study.rules.formats import FORMATS
    from fhirspace.study.rules.judging import judge, write_values

    _spare(opened, options)
    report = judge(
        opened,
        rules=Path(options.rules) if options.rules else None,
        why=options.explained,
        values=bool(options.values or options.report),
    )
    if options.values:
        write_values(report, options.values)
    if options.report:
        atomic.write(options.report, FORMATS[kind](report))
    rules = counted(report.ran, "conformance rule")
    say(f"{rules}, with those of {shown(report.source)}" if report.source else f"{rules}, fhirspace's own: {_MORE}")
    return report


def _spare(opened: Opened, options: Namespace) -> None:
    """Raises UsageError: a file to be written is one that is read, by whatever name, or both are one (FS807).

    FS644, it is there already and nobody asked to replace it: no manifest can prove that it is an older report.
    """
    from fhirspace.study.rules import explained

    read = [path for given in opened.inputs for path in given.paths]
    read += [options.explained] if options.explained else explained.beside(opened.paths)
    if options.rules:
        rules = Path(options.rules)
        read += [rules, *(rules.rglob("*") if rules.is_dir() else ())]
    taken = set(map(_identity, read))
    for file in filter(None, (options.values, options.report)):
        if _identity(file) in taken:
            raise UsageError("FS807", file.name, "a file that is none of the input")
        taken.add(_identity(file))
        if file.is_file() and not options.overwrite:
            raise UsageError("FS644", str(file))


def _identity(path: Path) -> tuple[int, int] | str:
    """What is the same for all names of a file, links included; the whole path of a file that is not there."""
    try:
        found = path.stat()
    except OSError:
        return os.path.realpath(path)
    return found.st_dev, found.st_ino


_MORE = "add CDISC's with `fhirspace rules add`"


def rules(options: Namespace) -> int:
    """``fhirspace rules``."""
    return _add(options) if options.action == "add" else _test(options)


def _add(options: Namespace) -> int:
    """``fhirspace rules add``."""
    from fhirspace.sdtm.rules.catalogue.added import add

    added = add(options.path)
    tell_problems(added.problems)
    drafts = f", {counted(added.drafts, 'draft')} left out" if added.drafts else ""
    text = f"{counted(added.rules, 'rule')} of {shown(added.source)} added (sha256 {added.digest[:12]}){drafts}"
    give(added.as_dict(), text, as_json=options.json)
    return EXIT_FINDINGS if added.problems else EXIT_CLEAN


def _test(options: Namespace) -> int:
    """``fhirspace rules test``: a line for each rule, and below one that fails the first differences."""
    from fhirspace.sdtm.rules.cases import Tested, run

    tested = list[Tested]()
    for each in run(options.path):
        tested.append(each)
        if not options.json:
            print_line(f"{each.status:<5}  {shown(each.id)}  {each.passed} of {counted(each.cases, 'case')}")
            for line in each.differences:
                print_line(f"       {shown(line, _LONGEST)}")
    if options.json:
        listed = [{"id": each.id, "status": each.status, "differences": each.differences} for each in tested]
        give({"rules": listed}, "", as_json=True)
    good = sum(each.status == "pass" for each in tested)
    say(f"{good} of {counted(len(tested), 'rule')} passed")
    return EXIT_CLEAN if good == len(tested) else EXIT_FINDINGS


def terminology(options: Namespace) -> int:
    """``fhirspace terminology``."""
    from fhirspace.sdtm.ct import kept

    if (options.action == "add") != (options.path is not None) or (options.date and options.action == "list"):
        raise UsageError("FS810", "terminology")
    found = [kept.add(options.path, options.date)] if options.action == "add" else kept.at_hand()
    given = [asdict(each) for each in found]
    give(given[0] if options.action == "add" else given, "\n".join(map(str, found)), as_json=options.json)
    return EXIT_CLEAN


def explain(options: Namespace) -> int:
    """``fhirspace explain``: a code of the catalogue of errors, or a conformance rule by any of its ids."""
    from fhirspace.errors import catalogue, explain as entry_of

    if options.code:
        try:
            entry = entry_of(options.code)
        except UsageError:
            if found := _rules_called(options.code):
                return _explain_rules(found, as_json=options.json)
            raise
        text = f"{entry.code} ({entry.level})\n{entry.sentence}\n\nWhy: {entry.cause}\nWhat to do: {entry.fix}"
        if alike := _rules_like(entry.code):
            text += f"\nConformance rules: {', '.join(alike)}"
        give(asdict(entry), text, as_json=options.json)
    else:
        entries = list(catalogue().values())
        text = "\n".join(f"{entry.code}  {entry.sentence}" for entry in entries)
        give([asdict(entry) for entry in entries], text, as_json=options.json)
    return EXIT_CLEAN


def _rules_like(code: str) -> list[str]:
    """Our rules that look for the same as a check of datasets, which has a code of its own."""
    from fhirspace.sdtm.rules.catalogue import own

    return [rule.id for rule in own.rules() if code in rule.ids] if code.startswith("FS7") else []


def _rules_called(name: str) -> list[Rule]:
    """The rules that have this id, or one of another list, such as CG0430."""
    from fhirspace.sdtm.rules.catalogue import added, own

    kept = added.rules()
    every = [*own.rules(), *(kept[1] if kept else ())]
    return [rule for rule in every if name.upper() in {rule.id.upper(), *map(str.upper, rule.ids)}]


def _explain_rules(rules: list[Rule], *, as_json: bool) -> int:
    data = [
        {
            "rule": each.id,
            "ids": list(each.ids),
            "level": each.severity,
            "message": each.message,
            "description": each.description,
        }
        for each in rules
    ]
    text = "\n\n".join(
        f"{shown(each.id)} ({', '.join(map(shown, (*each.ids, each.severity)))})\n{shown(each.message, 2000)}\n\n"
        f"{shown(each.description, 2000)}"
        for each in rules
    )
    give(data, text, as_json=as_json)
    return EXIT_CLEAN
