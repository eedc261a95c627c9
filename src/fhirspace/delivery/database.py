"""SQLite files of ours, opened so that a planted, damaged or foreign one is refused instead of doing harm.

A database is more than data: its views and triggers are programs that run when it is read or written, and any column
may hold any type. So what is opened must be an ordinary file with our tables and nothing else, and any later error of
SQLite, also in the middle of a run, names the file.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from fhirspace.errors import Place, UsageError
from fhirspace.limits import limit, too_much

_LONGEST: Final = 16 * 1024**2
"""Bytes of one value: a run's report is the longest of ours, and much shorter."""
_VERSION: Final = 2
"""The newest format of these files that is known; each file has its own in its head (``user_version``)."""
_BESIDE: Final = ("-wal", "-shm", "-journal")
"""Files that SQLite keeps beside a database, and takes over when it opens it."""
_IN_WORDS: Final = {
    "SQLITE_NOTADB": "it is not an SQLite database",
    "SQLITE_CORRUPT": "it is damaged",
    "SQLITE_BUSY": "another program uses it",
    "SQLITE_READONLY": "it cannot be written",
    "SQLITE_CANTOPEN": "it cannot be opened",
}
"""What SQLite's names of errors mean; rarer ones are shown as they are."""
_NO_SPACE: Final = {
    "SQLITE_FULL": "a database cannot grow",
    **dict.fromkeys(("SQLITE_IOERR_WRITE", "SQLITE_IOERR_SHMSIZE"), "a database cannot be written further"),
}


@dataclass(frozen=True, slots=True)
class Form:
    """A kind of file.

    Attributes:
        code, expected: the error for a file that is none. missing: the code where there is no file.
        application: its number in the head of the file.
        tables: for each table, which types (`typeof`) each column may hold; one that is missing in a file of an
            earlier version is no fault, but the first table must be there. indexes: the names of its own.
    """

    code: str
    missing: str
    expected: str
    application: int
    tables: Mapping[str, Mapping[str, str]]
    indexes: frozenset[str] = frozenset()


class Base(sqlite3.Connection):
    """A connection whose faults are UsageErrors of its form."""

    form: Form
    place: str

    def execute(self, *arguments: Any) -> Any:
        """As that of sqlite3; so are the next two."""
        return _Cursor(self).execute(*arguments)

    def executemany(self, *arguments: Any) -> Any:
        """Execute for each of some rows."""
        return _Cursor(self).executemany(*arguments)

    def executescript(self, *arguments: Any) -> Any:
        """Execute several statements."""
        return _Cursor(self).executescript(*arguments)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> Any:
        with self.errors_as_ours():
            return super().__exit__(kind, error, at)

    @contextmanager
    def errors_as_ours(self) -> Iterator[None]:
        """Converts SQLite's errors to ours. A wrong use of its interface is no fault of the file."""
        try:
            yield
        except sqlite3.ProgrammingError:
            raise
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:  # a message may quote what is no UTF-8
            raise self.fault(getattr(error, "sqlite_errorname", "")) from error

    def fault(self, why: str = "") -> UsageError:
        """The error for this file, with the name that SQLite has for what is wrong."""
        if why in _NO_SPACE:
            return UsageError("FS603", self.place, detail=_NO_SPACE[why])
        return UsageError(self.form.code, self.place, self.form.expected, _IN_WORDS.get(why, why))


class _Cursor(sqlite3.Cursor):
    connection: Base

    def execute(self, *arguments: Any) -> Self:
        with self.connection.errors_as_ours():
            return super().execute(*arguments)

    def executemany(self, *arguments: Any) -> Self:
        with self.connection.errors_as_ours():
            return super().executemany(*arguments)

    def executescript(self, *arguments: Any) -> sqlite3.Cursor:
        with self.connection.errors_as_ours():
            return super().executescript(*arguments)

    def fetchone(self) -> Any:
        with self.connection.errors_as_ours():
            return super().fetchone()

    def fetchall(self) -> list[Any]:
        with self.connection.errors_as_ours():
            return super().fetchall()

    def __next__(self) -> Any:
        with self.connection.errors_as_ours():
            return super().__next__()


def opened(path: Path, form: Form, *, whole: bool = True) -> Base:
    """Open a file that is there (an empty one becomes one of the form when its tables are made).

    Args:
        path: the file. form: what it must be. whole: whether all of it is looked through: pages and types.

    Raises:
        UsageError: with the form's code, it is not of the form, cannot be read, or is damaged; with its code `missing`,
            there is no such file.
        InputError: FS160, it is larger than ``journal-bytes``.
    """
    _require_file(path, form)
    try:
        base = sqlite3.connect(path, isolation_level=None, factory=Base)
    except sqlite3.DatabaseError as error:
        raise UsageError(form.code, str(path), form.expected) from error
    base.form, base.place = form, str(path)
    try:
        _harden(base)
        _require_ours(base)
        if whole:
            _require_whole(base)
    except BaseException:
        base.close()
        raise
    return base


def stamp(base: Base) -> None:
    """Note in the file's head whose it is."""
    if _head(base) != (base.form.application, _VERSION):
        base.execute(f"PRAGMA application_id = {base.form.application:d}")
        base.execute(f"PRAGMA user_version = {_VERSION:d}")


def _require_file(path: Path, form: Form) -> None:
    try:
        beside = [path.with_name(path.name + end) for end in _BESIDE]
        found = [path.lstat(), *(each.lstat() for each in beside if os.path.lexists(each))]
    except FileNotFoundError as error:
        raise UsageError(form.missing, str(path)) from error
    except OSError as error:
        raise UsageError(form.code, str(path), form.expected, error.strerror or "") from error
    if not all(stat.S_ISREG(each.st_mode) for each in found):
        raise UsageError(form.code, str(path), "an ordinary file, as all beside it have to be, and no link")
    if sum(each.st_size for each in found) > limit("journal-bytes"):
        raise too_much("journal-bytes", Place(str(path)))


def _harden(base: Base) -> None:
    base.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST)
    base.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    base.setlimit(sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH, 1)
    base.execute("PRAGMA trusted_schema = OFF")
    base.execute("PRAGMA cell_size_check = ON")


def _head(base: Base) -> tuple[int, int]:
    (application,), (version,) = (
        base.execute(f"PRAGMA {name}").fetchone() for name in ("application_id", "user_version")
    )
    return application, version


def _require_ours(base: Base) -> None:
    """Nothing but our tables and indexes may be in it: no view, no trigger, no column that is calculated."""
    application, version = _head(base)
    if application == base.form.application and version > _VERSION:
        raise base.fault(
            f"its format {version} is newer than format {_VERSION}, the newest of this fhirspace: update it"
        )
    if application not in (0, base.form.application) or version > _VERSION:
        raise base.fault()
    tables = base.form.tables
    found = base.execute("SELECT type, name, sql FROM sqlite_master").fetchall()
    for kind, name, sql in found:
        index = kind == "index" and (
            name in base.form.indexes or (sql is None and name.startswith("sqlite_autoindex_"))
        )
        table = kind == "table" and name in tables and str(sql).upper().startswith("CREATE TABLE")
        if not (index or (table and _columns(base, name).keys() <= tables[name].keys())):
            raise base.fault()
    if found and next(iter(tables)) not in {name for _, name, _ in found}:
        raise base.fault()


def _columns(base: Base, table: str) -> dict[str, int]:
    """The columns of a table of ours; those that are calculated raise."""
    rows = base.execute("SELECT name, hidden FROM pragma_table_xinfo(?)", (table,)).fetchall()
    if any(hidden for _, hidden in rows):
        raise base.fault()
    return dict(rows)


def _require_whole(base: Base) -> None:
    if base.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
        raise base.fault("SQLITE_CORRUPT")
    for (table,) in base.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
        types = base.form.tables[table]
        tests = [f"typeof({name}) NOT IN ({types[name]})" for name in _columns(base, table)]
        query = f"SELECT EXISTS (SELECT 1 FROM {table} WHERE {' OR '.join(tests)})"  # noqa: S608  # nosec B608  # our own names
        if base.execute(query).fetchone() != (0,):
            raise base.fault("SQLITE_MISMATCH")
