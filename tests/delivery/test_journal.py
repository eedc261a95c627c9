"""The journal by itself: which run is taken up again, and which files are refused."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from fhirspace.delivery.attempts import UNDO
from fhirspace.delivery.journal import RETRY, Journal
from fhirspace.delivery.push.push import new_run
from fhirspace.delivery.runs import runs as listed
from fhirspace.errors import UsageError
from fhirspace.idkey import DEMO_KEY

URL = "https://fhir.example.org/fhir"


def journal(folder: Path, server: str = URL) -> Journal:
    return Journal(folder / "journal.db", server, DEMO_KEY)


def runs(folder: Path, rows: list[tuple[str, str, str | None]], server: str = URL) -> None:
    """A journal with runs: name, when it was started, when it was finished (None: it was broken off)."""
    with journal(folder, server):
        pass
    with closing(sqlite3.connect(folder / "journal.db", isolation_level=None)) as base:
        base.executemany(
            "INSERT INTO runs (run, server, started, finished) VALUES (?, ?, ?, ?)",
            [(name, server, started, finished) for name, started, finished in rows],
        )


FIRST, SECOND, THIRD = (f"2026-05-0{day}T10:00:00.000+00:00" for day in (1, 2, 3))
TAKEN_UP: dict[str, tuple[list[tuple[str, str, str | None]], str]] = {
    "the newest of two that were broken off": ([("a", FIRST, None), ("b", SECOND, None)], "b"),
    "the newest, whatever the names": ([("b", FIRST, None), ("a", SECOND, None)], "a"),
    "by name, where both began at the same time": ([("a", FIRST, None), ("b", FIRST, None)], "b"),
    "none, when the newest came to its end": ([("a", FIRST, None), ("b", SECOND, THIRD)], "new"),
    "the newest push, not the undo after it": ([("a", FIRST, None), (f"b{UNDO}", SECOND, None)], "a"),
    "the newest push, not the retry after it": ([("a", FIRST, None), (f"b{RETRY}", SECOND, None)], "a"),
    "none without a run": ([], "new"),
}


@pytest.mark.parametrize("case", TAKEN_UP)
def test_the_newest_unfinished_run_is_taken_up(case: str, tmp_path: Path) -> None:
    before, expected = TAKEN_UP[case]
    runs(tmp_path, before)
    with journal(tmp_path) as book:
        book.begin("new")
        assert (book.run, book.resumed) == (expected, expected != "new")


def test_runs_keep_their_order_when_the_clock_is_set_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs(tmp_path, [("z", THIRD, FIRST)])  # of format 1, in which runs have times alone
    for name, now in (("b", SECOND), ("a", FIRST)):
        monkeypatch.setattr("fhirspace.delivery.journal._now", lambda now=now: now)
        with journal(tmp_path) as book:
            book.begin(name, resume=False)
            if name == "b":
                book.finish({})
    assert [run["run"] for run in listed(tmp_path)] == ["z", "b", "a"]
    with journal(tmp_path) as book:
        assert book.later("a", "b") and book.later("b", "z") and not book.later("b", "a")
        book.begin("new")
        assert book.run == "a"


def test_a_journal_of_format_1_is_taken_over(tmp_path: Path) -> None:
    with journal(tmp_path):
        pass
    runs(tmp_path, [("a", FIRST, SECOND), ("b", SECOND, None)])
    with closing(sqlite3.connect(tmp_path / "journal.db")) as base:
        base.executescript("ALTER TABLE runs DROP COLUMN turn; DROP TABLE earlier; PRAGMA user_version = 1")
    assert [run["run"] for run in listed(tmp_path)] == ["a", "b"]
    with journal(tmp_path) as book:
        book.begin("new")
        assert book.run == "b"


def test_a_run_for_another_server_is_not_taken_up(tmp_path: Path) -> None:
    runs(tmp_path, [("a", FIRST, None)], server="https://other.example.org/fhir")
    with journal(tmp_path) as book:
        book.begin("new")
        assert (book.run, book.resumed) == ("new", False)


def test_a_journal_of_a_newer_format_is_refused_by_name(tmp_path: Path) -> None:
    with journal(tmp_path):
        pass
    with closing(sqlite3.connect(tmp_path / "journal.db")) as base:
        base.execute("PRAGMA user_version = 3")
    with pytest.raises(UsageError, match=r"FS525 .*journal\.db: .*format 3 is newer than format 2.*update"):
        journal(tmp_path)
    with closing(sqlite3.connect(tmp_path / "journal.db")) as base:
        assert base.execute("PRAGMA user_version").fetchone() == (3,), "it is left as it is"


def test_runs_of_one_second_have_names_of_their_own() -> None:
    """Two of one name were FS525. Of 65,536 endings, two of the runs of a hundred stories (`soak_stories`) had the same."""
    assert len({new_run() for _ in range(1_000)}) == 1_000
