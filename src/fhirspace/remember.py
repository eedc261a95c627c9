"""Functions of text that remember their results in bounded memory, whatever the data hold."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Final, ParamSpec, TypeVar, cast

MOST: Final = 1 << 16
"""Results that a function remembers."""
LONGEST: Final = 256
"""Letters of a text that is remembered: codes, units and dates are shorter, and free text seldom comes twice."""
P = ParamSpec("P")
T = TypeVar("T")


def remembered(function: Callable[P, T]) -> Callable[P, T]:
    """The function with a memory of its last results; those for long texts are made anew each time."""
    cached = cast(Callable[P, T], lru_cache(maxsize=MOST)(function))

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        for each in args:
            if isinstance(each, str) and len(each) > LONGEST:
                return function(*args, **kwargs)
        return cached(*args, **kwargs)

    return call
