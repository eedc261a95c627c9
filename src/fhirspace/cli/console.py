"""How the command line reports: results on stdout, everything else on stderr, and never a patient's value.

Everything that is printed goes through `say`, `give` or `print_line`: names of others are escaped where a text is made
(`fhirspace.foreign.shown`), and what was forgotten there is escaped here, so that nothing can steer the terminal.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any

from fhirspace.cli.findings import summary
from fhirspace.errors import EXIT_BUG, EXIT_INTERRUPTED, FhirspaceError, Problem, ValidationError
from fhirspace.foreign import as_json as json_text, counted, printable, shown

_PLAIN_EVERY = 10.0
"""Seconds between two plain lines of progress, so that a log of hours stays short."""

_QUIET = 15.0
"""Seconds after which a line says that the command is still at work, whatever it waits for."""

_LARGE = 100_000
"""From here on a bar counts in thousands (k) and millions (M)."""
_LONGEST_PATH = 4096
_LONGEST_NAME = 40


def say(text: str) -> None:
    """A line for people, on stderr."""
    print(printable(text, encoding=_encoding(sys.stderr)), file=sys.stderr, flush=True)


def print_line(text: str) -> None:
    """One line of a result that comes bit by bit, on stdout."""
    print(printable(text, encoding=_encoding(sys.stdout)))


def give(data: Any, text: str, *, as_json: bool, colours: bool = False) -> None:
    """The result of a command, on stdout: one JSON document, or text, in which our own `colours` may be."""
    coding = _encoding(sys.stdout)
    if as_json:
        print(json_text(data, indent=2, encoding=coding))
    else:
        print(printable(text, colours=colours, encoding=coding))


def _encoding(stream: IO[str]) -> str:
    return getattr(stream, "encoding", None) or "utf-8"


def coloured() -> bool:
    """Whether stdout is a terminal that wants colours (``NO_COLOR`` says that it does not)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def lines(data: dict[str, Any]) -> str:
    """The plain values of a result as lines of ``name: value``."""
    return "\n".join(
        f"{name}: {value:,}" if type(value) is int else f"{name}: {shown(value, _LONGEST_PATH)}"
        for name, value in data.items()
        if not isinstance(value, list | dict) and value is not None
    )


def tell_problems(problems: Sequence[Problem], where: str = "") -> None:
    """The errors and warnings on stderr: a line for each kind and place, and how many more there are (and where)."""
    for line in summary(problems, shown(where, _LONGEST_PATH) if where else ""):
        say(line)


def tell_error(error: FhirspaceError, *, as_json: bool) -> int:
    """Why a command could not go on, with the findings that kept it from that; gives its exit code."""
    found = error.problems if isinstance(error, ValidationError) else []
    tell_problems(found)
    say(f"error: {error}")
    if as_json:
        more = {"problems": [problem.as_dict() for problem in found]} if found else {}
        give({"error": error.problem.as_dict(), **more, "exit_code": error.exit_code}, "", as_json=True)
    return error.exit_code


def tell_interrupted(*, as_json: bool) -> int:
    """That a command was stopped by Ctrl-C; gives its exit code."""
    say("interrupted: give the same command again")
    if as_json:
        give({"interrupted": True, "exit_code": EXIT_INTERRUPTED}, "", as_json=True)
    return EXIT_INTERRUPTED


def tell_bug(error: BaseException, *, as_json: bool) -> int:
    """Where a fault of fhirspace itself happened; gives its exit code.

    Messages of exceptions are left out: they may quote a cell.
    """
    for fault in _chain(error):
        say("".join(["Traceback:\n", *traceback.format_tb(fault.__traceback__)]) + type(fault).__name__)
        for note in getattr(fault, "__notes__", ()):
            say(shown(note, _LONGEST_PATH))
    bug = FhirspaceError("FS699", type(error).__name__)
    say(f"error: {bug}")
    if as_json:
        give({"error": bug.problem.as_dict(), "exit_code": EXIT_BUG}, "", as_json=True)
    return EXIT_BUG


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and what it came from, the first cause first."""
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if before is not None:
        yield from _chain(before)
    yield error


class Bars:
    """Progress on stderr: bars with rate and time left where a person watches, plain lines now and then where not.

    Args:
        unit: one of what is counted; units: several of them, `unit` with an s without it.
        news: what is waited for just now ("" for nothing), for the line that comes where nothing else does.
    """

    def __init__(self, unit: str = "row", units: str = "", news: Callable[[], str] = str) -> None:
        self._unit, self._units = unit, units or f"{unit}s"
        self._watched = sys.stderr.isatty()
        self._name: str | None = None
        self._bar: Any = None
        self._begin = self._printed = 0.0
        self._done, self._total = 0, 0
        self._news = news
        self._ended = threading.Event()
        self.outcome = ""
        """The results of what was counted, printed at the end."""

    def __enter__(self) -> Bars:
        self._printed = time.monotonic()
        threading.Thread(target=self._remind, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        self._ended.set()
        self._finish(whole=kind is None)

    def _remind(self) -> None:
        """Prints that the command is still at work where nothing else has been printed for a while."""
        while not self._ended.wait(max(0.0, self._printed + _QUIET - time.monotonic())):
            if time.monotonic() - self._printed >= _QUIET:
                self._printed = time.monotonic()
                done = [self._line()] if self._name else []
                text = ", ".join([*done, self._news() or "still at work"])
                if self._bar is None:
                    say(text)
                else:
                    self._bar.write(printable(text, encoding=_encoding(sys.stderr)), file=sys.stderr)

    def show(self, name: str, done: int, total: int = 0) -> None:
        """Shows how much of something is done; what came before under another name is finished.

        Args:
            name: what is worked on; done: how much is done; total: how much there is, 0 where nobody knows.
        """
        name = shown(name, _LONGEST_NAME)
        if name != self._name:
            self._finish(whole=True)
            self._start(name, total)
        self._done, self._total = done, total
        if self._bar is not None:
            self._bar.update(done - self._bar.n)
        elif time.monotonic() - self._printed >= _PLAIN_EVERY and done < (total or done + 1):
            self._printed = time.monotonic()
            say(self._line())

    def named(self, name: str) -> Callable[[int, int], None]:
        """`show` for one thing: called with how much is done, and how much there is."""
        return lambda done, total: self.show(name, done, total)

    def _start(self, name: str, total: int) -> None:
        self._name = name
        self._begin = self._printed = time.monotonic()
        if self._watched:
            from tqdm import tqdm  # noqa: PLC0415 - only where somebody watches

            self._bar = tqdm(
                total=total or None,
                desc=f"{name:<10}",
                unit=f" {self._units}",
                unit_scale=total >= _LARGE,
                dynamic_ncols=True,
                file=sys.stderr,
            )

    def _finish(self, *, whole: bool) -> None:
        if self._bar is not None:
            self._bar.close()
        elif self._name is not None and whole:
            outcome = f" ({self.outcome})" if self.outcome else ""
            say(f"{self._name}: {counted(self._done, self._unit, self._units)}{outcome}")
        self._name = self._bar = None

    def _line(self) -> str:
        rate = self._done / max(time.monotonic() - self._begin, 1e-9)
        speed = f"{rate:,.0f} {self._units}/s"
        if not self._total:
            return f"{self._name}: {counted(self._done, self._unit, self._units)}, {speed}"
        share = (
            f"{self._done:,} of {counted(self._total, self._unit, self._units)} ({100 * self._done // self._total} %)"
        )
        left = f", {(self._total - self._done) / rate:,.0f} s left" if rate else ""
        return f"{self._name}: {share}, {speed}{left}"
