"""Logic of three values and a fourth, which is not known here. Source: FHIRPath 2.0, "Boolean logic"."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from fhirspace.fhir.validation.invariants.items import UndecidedError

UNDECIDED: Final = "undecided"
Truth = bool | None | str
Logic = tuple[Callable[[Truth, Truth], bool | None], bool | None]


def _weaker(values: Iterable[Truth]) -> bool | None:
    """The value of an operation that no side decided: empty; raises UndecidedError where a side is undecided."""
    if UNDECIDED in values:
        raise UndecidedError
    return None


def _and(left: Truth, right: Truth) -> bool | None:
    if left is False or right is False:
        return False
    return True if left is True and right is True else _weaker((left, right))


def _or(left: Truth, right: Truth) -> bool | None:
    if left is True or right is True:
        return True
    return False if left is False and right is False else _weaker((left, right))


def _xor(left: Truth, right: Truth) -> bool | None:
    if isinstance(left, bool) and isinstance(right, bool):
        return left is not right
    return _weaker((left, right))


def _implies(left: Truth, right: Truth) -> bool | None:
    if left is False or right is True:
        return True
    if left is True and right is False:
        return False
    return _weaker((left, right))


OPERATIONS: Final[dict[str, Logic]] = {
    "and": (_and, False),
    "or": (_or, True),
    "xor": (_xor, None),
    "implies": (_implies, False),
}
"""The operator, and the value of the left side that decides the result (True: for ``or`` and what follows False)."""
