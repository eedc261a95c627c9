"""Checks of the arguments of public functions: a choice, a path, a count. Each returns the value in its one form.

Every function takes the argument's name first, raises UsageError (FS640 no such choice, FS641 another type or an
empty value), and never repeats the value: it may come from data.
"""

from __future__ import annotations

import codecs
import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from fhirspace.errors import UsageError

PathLike = str | os.PathLike[str]
T = TypeVar("T", bound=str)


def choice(name: str, value: Any, choices: Sequence[T]) -> T:
    """The choice that a value names, spelt exactly as it is listed."""
    found = next((each for each in choices if isinstance(value, str) and each == value), None)
    if found is None:
        raise UsageError("FS640", name, "one of " + ", ".join(choices))
    return found


def several(name: str, value: Any, choices: Sequence[T]) -> tuple[T, ...]:
    """One choice or several, each once; a single string is one choice, not a list of letters."""
    given = [value] if isinstance(value, str) else _listed(name, value, "one or several of " + ", ".join(choices))
    found = tuple(dict.fromkeys(choice(name, each, choices) for each in given))
    if not found:
        raise UsageError("FS640", name, "one or several of " + ", ".join(choices))
    return found


def path(name: str, value: Any) -> Path:
    """The path of a string or of a path object."""
    text = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    if not isinstance(text, str) or not text or "\0" in text:
        raise UsageError("FS641", name, "a path: a string that is not empty, or a pathlib.Path")
    return Path(text)


def paths(name: str, value: Any, *, empty: bool = False) -> list[Path]:
    """One path or several. Raises UsageError also for none, unless `empty`."""
    one = isinstance(value, str | bytes | os.PathLike)
    given = [value] if one else _listed(name, value, "a path or several")
    if not given and not empty:
        raise UsageError("FS641", name, "at least one path")
    return [path(name, each) for each in given]


def count(name: str, value: Any) -> int:
    """A whole number of at least 1; a truth value is none."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise UsageError("FS641", name, "a whole number of at least 1")
    return value


def positive(name: str, value: Any) -> float:
    """A finite number above 0; a truth value is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise UsageError("FS641", name, "a number above 0")
    return value


def flag(name: str, value: Any) -> bool:
    """True or False: a text such as "no" would count as True."""
    if not isinstance(value, bool):
        raise UsageError("FS641", name, "True or False")
    return value


def text(name: str, value: Any) -> str:
    """A text that is not empty, such as the name of source mappings; a path object is taken by its text."""
    given = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    if not isinstance(given, str) or not given or "\0" in given:
        raise UsageError("FS641", name, "a text that is not empty")
    return given


def function(name: str, value: Any) -> Any:
    """Something that can be called."""
    if not callable(value):
        raise UsageError("FS641", name, "a function")
    return value


def _listed(name: str, value: Any, expected: str) -> list[Any]:
    if not isinstance(value, Iterable) or isinstance(value, bytes):
        raise UsageError("FS641", name, expected)
    return list(value)


def encoding(value: Any) -> str | None:
    """The name of an encoding of texts, or None where none is given. Raises UsageError: FS641, Python knows none."""
    if value is None:
        return None
    try:
        known = codecs.lookup(value)
    except (LookupError, TypeError, ValueError):
        known = None
    if known is None or not known._is_text_encoding:
        raise UsageError("FS641", "encoding", "the name of an encoding of texts, such as shift_jis")
    return str(known.name)
