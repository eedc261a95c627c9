"""What the reports of delivery have in common: their form for ``--json``."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def told(report: Any, *names: str) -> dict[str, Any]:
    """The named fields of a report, and its problems as lines of ``problems.ndjson``; figures are rounded."""
    fields = {name: _plain(getattr(report, name)) for name in names}
    return fields | {"problems": [problem.as_dict() for problem in report.problems]}


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, float):
        return round(value, 3)
    return str(value) if isinstance(value, Path) else value
