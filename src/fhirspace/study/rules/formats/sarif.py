"""Reports as JSON: our own, and SARIF 2.1.0 (OASIS), which code hosts and editors read."""

from __future__ import annotations

import json
from typing import Any

from fhirspace import sarif
from fhirspace.study.rules.report import Group, Report


def plain(report: Report) -> bytes:
    """The report as ``--json`` gives it, with the values of the records found where it has them."""
    more = {"values": list(report.values)} if report.details else {}
    return _text({**report.as_dict(), **more})


def log(report: Report) -> bytes:
    """The text of a SARIF log."""
    return _text(content(report))


def content(report: Report) -> dict[str, Any]:
    """A SARIF log: a result for each rule and dataset. Records are logical locations (``AE[3]``); there are no values.

    What is explained is a result with a suppression, which viewers hide and count.
    """
    rules = sorted({group.rule.id: group.rule for group in report.groups}.items())
    places = {name: at for at, (name, _) in enumerate(rules)}
    described = [
        {
            "id": name,
            "shortDescription": {"text": rule.message or rule.description or name},
            "defaultConfiguration": {"level": rule.severity},
            "properties": {"ids": list(rule.ids)},
        }
        for name, rule in rules
    ]
    failed = [
        {"level": "error", "message": {"text": f"{rule} {dataset}: {reason}"}}
        for rule, reasons in sorted(report.unjudged.items())
        for dataset, reason in reasons.items()
    ]
    results = [_result(group, places[group.rule.id]) for group in report.groups]
    return sarif.log(
        described, results, invocations=[{"executionSuccessful": True, "toolExecutionNotifications": failed}]
    )


def _result(group: Group, at: int) -> dict[str, Any]:
    names = [f"{group.dataset}[{record}]" for record in group.first] or [group.dataset]
    location: dict[str, Any] = {"logicalLocations": [{"fullyQualifiedName": name} for name in names]}
    if group.file:
        location["physicalLocation"] = {"artifactLocation": {"uri": group.file}}
    result: dict[str, Any] = {
        "ruleId": group.rule.id,
        "ruleIndex": at,
        "level": group.rule.severity,
        "message": {"text": group.rule.message or group.rule.description},
        "locations": [location],
        "properties": {"records": group.count, "variables": list(group.variables)},
    }
    if group.explained:
        text = f"{group.explained.by}: {group.explained.reason}"
        result["suppressions"] = [{"kind": "external", "justification": text}]
    return result


def _text(data: Any) -> bytes:
    return (json.dumps(data, indent=2, ensure_ascii=False) + "\n").encode("utf-8", "replace")
