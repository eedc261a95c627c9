"""Regular expressions of rules, with a bound on the time they may take.

Rules are written for Python's `re`, whose time may grow exponentially with the text. RE2, which Arrow brings, is linear
and gives the same answer for patterns it knows and texts of ASCII; the rest is left to `re`, on distinct cells and
under an alarm.
"""

from __future__ import annotations

import re
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from types import FrameType
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.limits import allowed, limit
from fhirspace.sdtm.rules.errors import CannotRun
from fhirspace.sdtm.rules.values import TEXT, Column, Lists

_DIFFERS = re.compile(r"\\Z|\[:|\{,|[^\x00-\x7f]")
"""What RE2 and `re` read differently, or RE2 cannot read."""
_LONGEST = 1_000
"""Characters of a text that `re` may be tried on where no alarm can stop it."""


class Pattern:
    """A regular expression of a rule. Raises CannotRun: it is none."""

    def __init__(self, text: str) -> None:
        self._text = text
        try:
            self._compiled = re.compile(text)
        except (re.error, RecursionError, OverflowError):
            raise CannotRun("the regular expression cannot be compiled") from None

    def flags(self, cells: pa.Array, *, start: bool) -> pa.Array:
        """Where a text matches from its `start`, or anywhere in it; never where there is none. Raises CannotRun."""
        encoded = cells.dictionary_encode()
        distinct = encoded.dictionary
        found = self._linear(distinct, start) if self._is_linear and _plain(distinct) else None
        if found is None:
            test = self._compiled.match if start else self._compiled.search
            found = pa.array([each is not None for each in _bounded(test, distinct.to_pylist())], pa.bool_())
        return pc.fill_null(found.take(encoded.indices), False)

    def parts(self, column: Column) -> pa.Array:
        """What the pattern finds first in each text: its first group if it has one. Null where nothing is found."""
        if isinstance(column, Lists) or not pa.types.is_string(column.type):
            raise CannotRun("a part is asked of what is no text")
        encoded = column.dictionary_encode()
        group = 1 if self._compiled.groups else 0
        found = _bounded(self._compiled.search, encoded.dictionary.to_pylist())
        return pa.array([each and each.group(group) for each in found], TEXT).take(encoded.indices)

    def starts(self, column: pa.Array) -> pa.Array:
        """The part of each text that the pattern matches from its start; the whole text where it does not match."""
        encoded = column.dictionary_encode()
        texts = encoded.dictionary.to_pylist()
        found = _bounded(self._compiled.match, texts)
        cut = [each.group(0) if each else text for each, text in zip(found, texts, strict=True)]
        return pa.array(cut, TEXT).take(encoded.indices)

    @cached_property
    def _is_linear(self) -> bool:
        if _DIFFERS.search(self._text):
            return False
        try:
            pc.match_substring_regex(pa.array([""]), pattern=self._text)
        except pa.ArrowInvalid:
            return False
        return True

    def _linear(self, distinct: pa.Array, start: bool) -> pa.Array:
        return pc.match_substring_regex(distinct, pattern=f"^(?:{self._text})" if start else self._text)


def _plain(distinct: pa.Array) -> bool:
    """Whether all texts are ASCII of one line, on which the two kinds of pattern agree."""
    lines = pc.match_substring_regex(distinct, pattern=r"[\n\r\f\v\x1c-\x1f\x85]")
    return bool(pc.all(pc.string_is_ascii(distinct)).as_py() is not False and not pc.any(lines).as_py())


def _bounded(test: Callable[[str], Any], texts: list[str]) -> list[Any]:
    """A test of each text. Raises CannotRun: it takes too long, or could take too long and no alarm can be set."""
    alarm = hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()
    if not alarm:
        if any(len(each) > _LONGEST for each in texts):
            raise CannotRun("the regular expression may take too long for texts as long as these")
        return [test(each) for each in texts]
    with _alarm(limit("rule-seconds")):
        return [test(each) for each in texts]


@contextmanager
def _alarm(seconds: int) -> Iterator[None]:
    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise CannotRun(f"the regular expression takes too long: {allowed('rule-seconds')}")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
