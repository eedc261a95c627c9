"""A preflight as text: one line per finding, with the reasons of warnings and errors, then the strategy."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Final

from fhirspace.delivery.doctor.doctor import Preflight
from fhirspace.delivery.doctor.findings import Finding, Verdict
from fhirspace.errors import explain
from fhirspace.fhirserver.strategy import Strategy
from fhirspace.foreign import COLOURS, shown

_WIDTH: Final = 100
_MARKS: Final[dict[Verdict, str]] = {"ok": "ok", "note": "note", "warning": "warn", "error": "FAIL"}
_LONGEST: Final = 1000


def text(found: Preflight, *, colour: bool = False) -> str:
    """The preflight as lines of text; `colour` for terminals."""
    wide = max(len(finding.name) for finding in found.findings)
    rows = [shown(found.server)]
    for finding in found.findings:
        rows += _rows(finding, wide, colour)
    rows += ["", *_way(found.way, wide, colour)]
    return "\n".join(rows)


def _rows(finding: Finding, wide: int, colour: bool) -> Iterator[str]:
    mark = _tint(f"{_MARKS[finding.verdict]:<4}", finding.verdict, colour)
    first, *others = _wrapped(finding.value, wide) or [""]
    yield f"  {mark}  {finding.name:<{wide}}  {first}"
    yield from (" " * (wide + 10) + line for line in others)
    for line in _wrapped(_reason(finding), wide):
        yield " " * (wide + 10) + _tint(line, "faint", colour)


def _wrapped(text: str, wide: int) -> list[str]:
    """A text, which may quote the server, as lines that fit beside the names."""
    return textwrap.wrap(shown(text, _LONGEST), _WIDTH - wide - 10)


def _reason(finding: Finding) -> str:
    """Why, and for warnings and errors the catalogue's sentence, its code and what to do."""
    if not finding.code:
        return finding.why
    entry = explain(finding.code)
    return " ".join(part for part in (f"{finding.code}:", entry.sentence, finding.why, entry.fix) if part)


def _way(way: Strategy | None, wide: int, colour: bool) -> Iterator[str]:
    if way is None:
        yield _tint("delivery: no way", "error", colour)
        return
    yield f"delivery: {_tint(shown(way), 'strong', colour)}"
    for name, why in way.why.items():
        label = {"kind": "way"}.get(name, name)
        for number, line in enumerate(_wrapped(why, wide)):
            yield f"        {'' if number else label:<{wide}}  {_tint(line, 'faint', colour)}"


def _tint(words: str, tone: str, colour: bool) -> str:
    return f"\x1b[{COLOURS[tone]}m{words}\x1b[0m" if colour else words
