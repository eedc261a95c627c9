"""The common part of the reports of delivery: their form for ``--json``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(slots=True)
class Counts:
    """The resources by result; every resource of the input is in exactly one of these."""

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    unchanged_on_server: int = 0
    conflicts: int = 0
    refused: int = 0

    @property
    def total(self) -> int:
        """All resources."""
        done = self.created + self.updated + self.unchanged + self.unchanged_on_server
        return done + self.conflicts + self.refused


def as_dict(report: Any, *names: str) -> dict[str, Any]:
    """The named fields of a report, and its problems as lines of ``problems.ndjson``; figures are rounded."""
    fields = {name: _plain(getattr(report, name)) for name in names}
    return fields | {"problems": [problem.as_dict() for problem in report.problems]}


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, float):
        return round(value, 3)
    return str(value) if isinstance(value, Path) else value
