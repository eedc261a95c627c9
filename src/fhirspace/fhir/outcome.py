"""OperationOutcome (FHIR) read for people and logs: where and which rule, no patient values.

Servers quote what they were sent in ``diagnostics`` and ``details.text``. Of these only HAPI's own error numbers and
the element path of an unresolved reference are used; the whole outcome is written beside the dead letter.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from fhirspace.json import JsonError, decode

_COMMENT = re.compile(r"/\*.*?\*/")
# A path of element names, indices and function calls without arguments in quotes: nothing that could be a value.
_PATH = re.compile(r"[A-Z][A-Za-z0-9]*(\.[A-Za-z][A-Za-z0-9]*(\(\))?|\[[0-9x]*\])*")
_NUMBER = re.compile(r"\bHAPI-\d{4}\b")
_REFERENCE_AT = re.compile(r"specified in path: ([A-Z][A-Za-z]*(?:\.[A-Za-z][A-Za-z0-9]*)+)")
_ENTRY = re.compile(r"\bBundle\.entry\[([0-9]{1,9})\]")
_CODE = re.compile(r"[a-z-]{1,40}")
_RULE = re.compile(r"[A-Za-z][A-Za-z0-9_]*|http://hl7\.org/fhir/[A-Za-z0-9/#-]+")
_RULE_SYSTEM = "http://hl7.org/fhir/java-core-messageId"


@dataclass(frozen=True, slots=True)
class Issue:
    """One issue: severity, IssueType code, the element (path without values) and the name of the rule or error."""

    severity: str
    code: str
    element: str
    rule: str
    entries: frozenset[int]

    def __str__(self) -> str:
        return " ".join(part for part in (self.code, self.rule, f"at {self.element}" if self.element else "") if part)


def issues(body: bytes) -> list[Issue]:
    """The issues of an OperationOutcome in JSON; [] when the body is none."""
    try:
        document = decode(body)
    except JsonError:
        return []
    if not isinstance(document, dict) or document.get("resourceType") != "OperationOutcome":
        return []
    return [_issue(item) for item in _items(document.get("issue")) if isinstance(item, dict)]


def failures(body: bytes) -> list[Issue]:
    """Its issues of severity error or fatal."""
    return [issue for issue in issues(body) if issue.severity in ("error", "fatal")]


def reason(body: bytes, limit: int = 3) -> str:
    """One line: the first `limit` failures without repeats; "" when the body says nothing that can be quoted."""
    texts = list(dict.fromkeys(str(issue) for issue in failures(body) if str(issue)))
    more = f" and {len(texts) - limit} more" if len(texts) > limit else ""
    return "; ".join(texts[:limit]) + more


def suspects(body: bytes) -> set[int]:
    """The positions of the Bundle's entries that its failures name."""
    return {entry for issue in failures(body) for entry in issue.entries}


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _issue(item: dict[str, Any]) -> Issue:
    places = [str(place) for key in ("expression", "location") for place in _items(item.get(key))]
    diagnostics = str(item.get("diagnostics", ""))
    code = str(item.get("code", ""))
    element = next((path for path in map(_path, places) if path), "") or _unresolved(diagnostics)
    number = _NUMBER.search(diagnostics)
    return Issue(
        severity=str(item.get("severity", "error")),
        code=code if _CODE.fullmatch(code) else "",
        element=element,
        rule=_rule(item) or (number[0] if number else ""),
        entries=frozenset(int(found) for place in places for found in _ENTRY.findall(place)),
    )


def _path(place: str) -> str:
    bare = _COMMENT.sub("", place)
    return bare if _PATH.fullmatch(bare) else ""


def _unresolved(diagnostics: str) -> str:
    found = _REFERENCE_AT.search(diagnostics)
    return found[1].removesuffix(".where") if found else ""


def _rule(item: dict[str, Any]) -> str:
    details = item.get("details")
    codings = _items(details.get("coding")) if isinstance(details, dict) else []
    for coding in codings:
        if isinstance(coding, dict) and coding.get("system") == _RULE_SYSTEM:
            name = str(coding.get("code", ""))
            if _RULE.fullmatch(name):
                return name.rsplit("/", 1)[-1]
    return ""
