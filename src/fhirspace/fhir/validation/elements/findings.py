"""What a check of an element is: what it gets, what it knows of the resource around it, and what it finds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from fhirspace.fhir.validation.invariants.surroundings import Surroundings

Finding = tuple[str, str, str]
"""What is wrong: the path within the value, the code of the catalogue, what was expected."""


class Scope:
    """What a check has to know of the resource around it: its contained resources, and which of them are used."""

    __slots__ = ("around", "contained", "depth", "used")

    def __init__(self, contained: Mapping[str, str], depth: int = 0, around: Surroundings | None = None) -> None:
        self.contained = contained
        self.around = around or Surroundings()
        self.used: set[str] = set()
        self.depth = depth


Check = Callable[[Any, Scope], list[Finding] | None]
"""Looks at a JSON value; None when nothing is wrong."""
ADVICE = frozenset({"FS425", "FS427", "FS434"})
"""Findings that are only looked for in a full check: recommendations, extensible bindings, profiles not known."""


def prefixed(name: str, found: Iterable[Finding]) -> list[Finding]:
    """The same findings, seen from one level further out."""
    return [(_join(name, path), code, expected) for path, code, expected in found]


def _join(name: str, path: str) -> str:
    if not path:
        return name
    return name + path if path[0] == "[" else f"{name}.{path}"
