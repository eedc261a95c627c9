"""Reads journals: the runs, the journal of a run, and the progress of a delivery."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import msgspec

from fhirspace.delivery.attempts import UNDO
from fhirspace.delivery.database import opened
from fhirspace.delivery.journal import FORM, IN_TURN, JOURNAL
from fhirspace.delivery.push import rejected as dead
from fhirspace.delivery.used_journals import journals
from fhirspace.errors import UsageError
from fhirspace.fhirserver.http.origin import spelled

T = TypeVar("T")


class _Head(msgspec.Struct, forbid_unknown_fields=True):
    """`chain.Head`, as it is noted."""

    sequence: int
    hash: str


class _Known(msgspec.Struct):
    """The used part of a run's report."""

    audit: _Head | None = None
    undo: str = ""


LAST: Final = "last"
"""The word for the last run that wrote something, where a run is named."""
Traces = Literal["written", "delivered"]
_WRITTEN = "SELECT 1 FROM writes WHERE run = ? LIMIT 1"
_TRACES: Final[dict[Traces, tuple[str, ...]]] = {
    "written": (_WRITTEN,),
    "delivered": (_WRITTEN, "SELECT 1 FROM delivered WHERE run = ? LIMIT 1"),
}
_RUNS = "SELECT run, server, started, finished, report FROM runs ORDER BY {} LIMIT 100000"


def runs(path: Path | None = None) -> list[dict[str, Any]]:
    """The runs of a journal, in the order in which they were begun.

    Each with journal, run, server, started, finished (None: not yet), and the counts.

    Args:
        path: the journal, or its folder; None takes all that pushes on this machine have used.

    Raises:
        UsageError: FS594, there is no journal at `path`; FS525, the file is no journal.
    """
    found = [each for file in ([_file(path)] if path else journals()) for each in _runs_of(file)]
    return [run for _, run in sorted(found, key=lambda each: each[0])]


def _runs_of(file: Path) -> Iterator[tuple[tuple[str, str, int], dict[str, Any]]]:
    """The runs of a journal, each with what it is sorted by among those of others: its begin, or that of one before."""
    columns = {name for (name,) in _asked(file, "SELECT name FROM pragma_table_info('runs')", tuple[str])}
    rows = _asked(
        file,
        _RUNS.format(IN_TURN if "turn" in columns else "started DESC, run DESC"),
        tuple[str, str, str, str | None, str | None],
    )
    latest = ""
    for turn, (run, server, started, end, report) in enumerate(reversed(rows)):
        latest = max(latest, started)
        own = {"journal": str(file), "run": run, "server": server, "started": started, "finished": end}
        yield (latest, str(file), turn), {**_report(file, report), **own}


def journal_of(run: str, path: Path | None = None, traces: Traces = "written") -> tuple[Path, str, str]:
    """The journal that knows a run, the run's name, and its server.

    Args:
        run: its name, or ``last`` for the push or retry, begun last, that wrote something.
        path: the journal, or its folder; None looks into all that pushes on this machine have used.
        traces: what ``last`` means by that: the run wrote resources (or sent them, and was broken off), or, for
            ``delivered``, the server at least confirmed that it holds them.

    Raises:
        UsageError: FS529, no journal knows the run; FS597, there are runs, and none of them wrote anything.
    """
    found = [each for each in runs(path) if run == each["run"] or (run == LAST and not _undoes(each))]
    if not found:
        raise UsageError("FS529", run)
    last = found[-1] if run != LAST else next((each for each in reversed(found) if _left(each, traces)), None)
    if last is None:
        raise UsageError(
            "FS597", LAST, "a run that wrote something", f"the last run, {found[-1]['run']}, wrote nothing"
        )
    return Path(last["journal"]), last["run"], last["server"]


def _left(run: dict[str, Any], traces: Traces) -> bool:
    """Whether the journal holds something that a run wrote (see `journal_of`)."""
    file, name = Path(run["journal"]), (run["run"],)
    return any(_asked(file, query, tuple[int], name) for query in _TRACES[traces])


def known_server(path: Path, server: str) -> str:
    """The server that a journal names, if pushes of this machine's user have written to that journal.

    Raises:
        UsageError: FS588, they have not: whoever made it would choose where the credentials are sent.
    """
    if not any(path.samefile(each) for each in journals()):
        raise UsageError("FS588", str(path), "`--server URL`")
    return server


def require_same_server(run: str, own: str, server: str) -> None:
    """Raises UsageError (FS605) unless a run was delivered to this server.

    Ids and versions on another server may be the same, and what has them is not the run's.
    """
    if spelled(own) != spelled(server):
        raise UsageError("FS605", server, own, f"run {run}")


def status(path: Path) -> list[dict[str, Any]]:
    """How far deliveries are, for each server of a journal.

    Args:
        path: the journal, or its folder.

    Returns:
        For each server: how many resources of each type it holds by the journal, the run that was not finished (None:
        there is none), and how many dead letters wait in the folder.

    Raises:
        UsageError: FS594, there is no journal; FS525, the file is none.
    """
    file = _file(path)
    kinds = """SELECT server, substr(key, 1, instr(key, '/') - 1), count(*) FROM delivered
               WHERE key NOT LIKE 'Provenance/%' AND digest <> x'' GROUP BY 1, 2 ORDER BY 1, 2"""
    held: dict[str, dict[str, int]] = {run["server"]: {} for run in runs(file)}
    for server, kind, count in _asked(file, kinds, tuple[str, str, int]):
        held.setdefault(server, {})[kind] = count
    waiting = dead.waiting(file.parent)
    open_runs = {run["server"]: run["run"] for run in runs(file) if run["finished"] is None and not _undoes(run)}
    return [
        {"server": server, "delivered": types, "unfinished": open_runs.get(server), "dead": waiting}
        for server, types in held.items()
    ]


def _undoes(run: dict[str, Any]) -> bool:
    """Whether it undid another run; by its name, since one that was broken off has no report."""
    return str(run["run"]).endswith(UNDO)


def _file(path: Path) -> Path:
    return path / JOURNAL if path.is_dir() else path


def _asked(path: Path, query: str, row: type[T], values: tuple[str, ...] = ()) -> list[T]:
    """The rows that a journal answers with, of the types of `row`. Raises UsageError (FS525): it is no journal."""
    with closing(opened(path, FORM, whole=False)) as base:
        found = base.execute(query, values).fetchall()
    try:
        return msgspec.convert(found, list[row])  # type: ignore[valid-type]
    except msgspec.ValidationError as error:
        raise UsageError(FORM.code, str(path), FORM.expected) from error


def _report(path: Path, text: str | None) -> dict[str, Any]:
    """What a run noted of itself at its end: counts, the run that it undid, the last line of the audit log."""
    try:
        # Not by `json`: the path of a folder whose name is no UTF-8 is written as half a pair of surrogates.
        found: dict[str, Any] = json.loads(text or "{}")
        msgspec.convert(found, _Known)
    except (ValueError, RecursionError):  # msgspec's are ValueErrors
        raise UsageError(FORM.code, str(path), FORM.expected) from None
    return found
