"""What can go wrong, as data: the exception tree, the problems found in data, and the error catalogue.

The tree::

    FhirspaceError            a code of the catalogue, where it happened, what was expected      exit code
    ├── UsageError            the command or its configuration cannot run                        2
    │   └── MappingError      a mapping file is wrong: file, line, key, and what would fit       2
    ├── InputError            a file cannot be read as what it claims to be                      2 (alone), else 3
    ├── ServerError           the server, the sign-in or the network refused                     4
    ├── InterruptedRun        stopped in the middle; run again to resume                         5
    └── ValidationError       validation found errors, so nothing was done                       1

A `Problem` is not an exception: it is one finding about one cell, row or file, and the run goes on. Neither an
exception nor a problem ever holds a patient's value: they say where it is and what was expected there.

The catalogue is read from ``catalogue/*.toml``: each code has a level, a sentence, a cause and a fix.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files
from typing import Any, ClassVar, Literal

from fhirspace.foreign import shown

Level = Literal["error", "warning", "note"]
"""error: the row is quarantined (or nothing can run); warning: the row is written, exit code 1; note: exit code 0."""

_LONGEST = 2000
"""Characters shown of `expected` and of `detail`; some messages list all datasets, whose names are ours."""

NOT_READ = "FS180"
"""The code of a file that is in an input and is not read."""

EXIT_CLEAN, EXIT_FINDINGS, EXIT_USAGE, EXIT_QUARANTINED, EXIT_SERVER, EXIT_INTERRUPTED, EXIT_BUG = 0, 1, 2, 3, 4, 5, 70


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the error catalogue: what `fhirspace explain CODE` prints."""

    code: str
    level: Level
    sentence: str
    cause: str
    fix: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where something is: file, row (the header is row 1, as a spreadsheet counts) and column.

    The fields hold the names as they are; only the text (``str``) is escaped for people.
    """

    file: str
    row: int | None = None
    column: str | None = None

    def __str__(self) -> str:
        file = self.file or ("." if self.row is None and self.column is None else "")  # the folder itself has no name
        return ":".join(shown(part) for part in (file, self.row, self.column) if part is not None)


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding about a file, row or cell.

    `expected` says what would fit there. `detail` gives the facts: a status, a count, what the operating system says.
    Neither repeats a value of the data. `unread`: because of it, the file as a whole was not read. The text
    (``str``) is one line that is safe to print, whatever the names in it hold.
    """

    code: str
    place: Place
    expected: str = ""
    table: str = ""
    detail: str = ""
    unread: bool = field(default=False, compare=False, repr=False)

    @property
    def level(self) -> Level:
        """The level its catalogue entry gives it."""
        return explain(self.code).level

    def __str__(self) -> str:
        return self.text()

    def text(self, also: str = "", *, advice: bool = True) -> str:
        """The line: code and place, `also` a remark on the place, what is wrong, what to do on request."""
        entry = explain(self.code)
        detail = shown(self.detail, _LONGEST)
        parts = [
            f"{entry.sentence.removesuffix('.')}: {detail}." if detail else entry.sentence,
            f"Expected {shown(self.expected, _LONGEST)}." if self.expected else "",
            entry.fix if advice else "",
        ]
        return f"{self.code} {self.place}{also}: {' '.join(filter(None, parts))}"

    def as_dict(self) -> dict[str, Any]:
        """A line of ``problems.ndjson``: code, level, table, file, row, column, sentence, detail, expected, fix."""
        entry = explain(self.code)
        return {
            "code": self.code,
            "level": entry.level,
            "table": self.table,
            "file": self.place.file,
            "row": self.place.row,
            "column": self.place.column,
            "sentence": entry.sentence,
            "detail": self.detail,
            "expected": self.expected,
            "fix": entry.fix,
        }


def exit_code_of(problems: Iterable[Problem]) -> int:
    """The exit code of findings: 3 where a file is not read, 1 where there is more than notes, else 0."""
    found = {NOT_READ if problem.unread or problem.code == NOT_READ else problem.level for problem in problems}
    return EXIT_QUARANTINED if NOT_READ in found else EXIT_FINDINGS if found - {"note"} else EXIT_CLEAN


class FhirspaceError(Exception):
    """Base of all errors of fhirspace. Args: a catalogue code, the place, what was expected there, the facts."""

    exit_code: ClassVar[int] = EXIT_BUG

    def __init__(self, code: str, place: Place | str = "", expected: str = "", detail: str = "") -> None:
        self.problem = Problem(code, place if isinstance(place, Place) else Place(place), expected, detail=detail)
        super().__init__(str(self.problem))

    def __reduce__(self) -> tuple[type[FhirspaceError], tuple[str, Place, str, str]]:
        return type(self), (self.problem.code, self.problem.place, self.problem.expected, self.problem.detail)

    @property
    def code(self) -> str:
        """The catalogue code, as in ``FS101``."""
        return self.problem.code


class UsageError(FhirspaceError):
    """The command line or the configuration cannot run."""

    exit_code = EXIT_USAGE


class MappingError(UsageError):
    """A mapping file is wrong; the place is the file, the line and the key, `expected` says what would fit."""


class InputError(FhirspaceError):
    """A file cannot be read at all (missing, empty, truncated, not what it claims to be)."""

    exit_code = EXIT_USAGE

    def __init__(self, code: str, place: Place | str = "", expected: str = "", detail: str = "") -> None:
        super().__init__(code, place, expected, detail)
        self.problem = replace(self.problem, unread=True)


class ServerError(FhirspaceError):
    """The FHIR server, the sign-in or the network refused."""

    exit_code = EXIT_SERVER


class InterruptedRun(FhirspaceError):
    """The run was stopped in the middle and can be resumed by giving the same command again."""

    exit_code = EXIT_INTERRUPTED


class ValidationError(FhirspaceError):
    """Validation found errors, and the run was to do nothing then. `problems` has the findings."""

    exit_code = EXIT_FINDINGS

    def __init__(
        self,
        code: str,
        place: Place | str = "",
        expected: str = "",
        detail: str = "",
        problems: Iterable[Problem] = (),
    ) -> None:
        super().__init__(code, place, expected, detail)
        self.problems = list(problems)


@cache
def catalogue() -> dict[str, Entry]:
    """All entries of the error catalogue, by code, in the order of the codes."""
    entries: dict[str, Entry] = {}
    for source in sorted(files("fhirspace").joinpath("catalogue").iterdir(), key=lambda item: item.name):
        if source.name.endswith(".toml"):
            for code, fields in tomllib.loads(source.read_text("utf-8")).items():
                entries[code] = Entry(code, **fields)
    return dict(sorted(entries.items()))


def explain(code: str) -> Entry:
    """The catalogue entry of a code. Raises UsageError: FS601 the catalogue has no such code, FS641 it is no text."""
    if not isinstance(code, str) or not code or "\0" in code:
        raise UsageError("FS641", "code", "a text such as FS201")
    found = catalogue().get(code.upper())
    if found is None:
        raise UsageError("FS601", code, "a code such as FS201")
    return found
