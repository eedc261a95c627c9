"""What journals tell: the runs, where one of them is noted, and how far a delivery is. Read only."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from fhirspace.delivery import dead
from fhirspace.delivery.journal import JOURNAL, UNDO, journals
from fhirspace.errors import UsageError


def runs(path: Path | None = None) -> list[dict[str, Any]]:
    """The runs of a journal, oldest first: journal, run, server, started, finished (None: not yet), and the counts.

    Args:
        path: the journal, or its folder; None takes all that pushes on this machine have used.

    Raises:
        UsageError: FS525, there is no journal at `path`.
    """
    found = [
        {"journal": str(file), "run": run, "server": server, "started": started, "finished": finished}
        | json.loads(report or "{}")
        for file in ([_file(path)] if path else journals())
        for run, server, started, finished, report in _asked(file, "SELECT * FROM runs")
    ]
    return sorted(found, key=lambda each: (each["started"], each["run"]))


def journal_of(run: str, path: Path | None = None) -> tuple[Path, str, str]:
    """The journal that knows a run, the run's name, and its server.

    Args:
        run: its name, or ``last`` for the push or retry begun last.
        path: the journal, or its folder; None looks into all that pushes on this machine have used.

    Raises:
        UsageError: FS529, no journal knows the run.
    """
    found = [each for each in runs(path) if run == each["run"] or (run == "last" and not _undoes(each))]
    if not found:
        raise UsageError("FS529", run, "a run of a journal on this machine (`fhirspace runs` lists them)")
    last = found[-1]
    return Path(last["journal"]), last["run"], last["server"]


def status(path: Path) -> list[dict[str, Any]]:
    """How far deliveries are, for each server of a journal.

    Args:
        path: the journal, or its folder.

    Returns:
        For each server: how many resources of each type it holds by the journal, the run that was not finished (None:
        there is none), and how many dead letters wait in the folder.

    Raises:
        UsageError: FS525, there is no journal.
    """
    file = _file(path)
    kinds = """SELECT server, substr(key, 1, instr(key, '/') - 1), count(*) FROM delivered
               WHERE key NOT LIKE 'Provenance/%' GROUP BY 1, 2 ORDER BY 1, 2"""
    held: dict[str, dict[str, int]] = {run["server"]: {} for run in runs(file)}
    for server, kind, count in _asked(file, kinds):
        held.setdefault(server, {})[kind] = count
    waiting = dead.waiting(file.parent)
    open_runs = {run["server"]: run["run"] for run in runs(file) if run["finished"] is None and not _undoes(run)}
    return [
        {"server": server, "delivered": types, "unfinished": open_runs.get(server), "dead": waiting}
        for server, types in held.items()
    ]


def _undoes(run: dict[str, Any]) -> bool:
    """Whether it took another run back; by its name, since one that was broken off has no report."""
    return str(run["run"]).endswith(UNDO)


def _file(path: Path) -> Path:
    return path / JOURNAL if path.is_dir() else path


def _asked(path: Path, query: str) -> list[Any]:
    if not path.is_file():
        raise UsageError("FS525", str(path), "a journal of fhirspace")
    with closing(sqlite3.connect(path)) as base:
        try:
            return base.execute(query).fetchall()
        except sqlite3.DatabaseError as error:
            raise UsageError("FS525", str(path), "a journal of fhirspace") from error
