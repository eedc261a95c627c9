"""Expansion of value sets: the codes of a ValueSet's compose, from the CodeSystems at hand.

Used for the packaged data (``scripts/make_fhir_rules.py``) and for the value sets of users' packages. Source: FHIR,
"ValueSet" (compose: include, exclude, filter; expansion), "CodeSystem" (content).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from fhirspace.standards.hl7.filters import filtered, walk
from fhirspace.standards.hl7.terms import UNLISTED, WHOLE, Includes

Json = Mapping[str, Any]
_DEPTH: Final = 100
"""Value sets within one another; what is deeper is not known."""


class Expansions:
    """The value sets of a release, expanded as far as the code systems of the packages allow."""

    def __init__(self, sets: Mapping[str, Json], systems: Mapping[str, Json]) -> None:
        """Args: ValueSets and CodeSystems by their addresses."""
        self.sets = sets
        self.systems = systems
        self._busy: set[str] = set()
        self._found: dict[str, Includes | None] = {}
        self._guessed: set[str] = set()

    def other(self, url: str) -> Includes | None:
        """A value set that is not among these; None where nobody knows it."""
        return None

    def codes(self, system: str) -> list[str] | None:
        """All codes of a code system; None where they are not all known."""
        found = self.systems.get(system)
        return sorted(codes_of(found)) if found is not None and complete(found) else None

    def expand(self, url: str) -> Includes | None:
        """The codes of a value set by system; None where a part of it is not known at all.

        What its definition (compose) says counts, or else the expansion that came with it, if that is a whole one.
        """
        value_set = self.sets.get(url)
        if value_set is None:
            return self.other(url)
        if url in self._guessed or url in self._busy or len(self._busy) == _DEPTH:
            self._guessed |= self._busy
        if url not in self._found:
            if url in self._busy or len(self._busy) == _DEPTH:
                return None
            self._found[url] = self._expanded(url, value_set)
        found = self._found[url]
        if not self._busy:
            self._forget()
        return found

    def _expanded(self, url: str, value_set: Json) -> Includes | None:
        self._busy.add(url)
        try:
            found = self._composed(value_set.get("compose", {}))
        finally:
            self._busy.discard(url)
        if found is None or UNLISTED in found.values():
            return given_expansion(value_set) or found
        return found

    def _forget(self) -> None:
        """Forgets what was cut short, in a circle or too deep: asked for itself, a value set may say more."""
        for url in self._guessed:
            self._found.pop(url, None)
        self._guessed.clear()

    def _composed(self, compose: Json) -> Includes | None:
        found: Includes = {}
        for include in compose.get("include", ()):
            part = self._include(include)
            if part is None:
                return None
            for system, codes in part.items():
                found[system] = codes if system not in found else _union(found[system], codes)
        for exclude in compose.get("exclude", ()):
            part = self._include(exclude)
            if part is None:
                return None
            for system in found.keys() & part.keys():
                found[system] = self._without(system, found[system], part[system])
        return found or None

    def _without(self, system: str, kept: list[str] | int, codes: list[str] | int) -> list[str] | int:
        """Codes of a system without those of another list; what is not listed may or may not be excluded."""
        if codes == WHOLE:
            return []
        listed = self.codes(system) if kept == WHOLE else kept
        if isinstance(listed, list) and isinstance(codes, list):
            return sorted(set(listed) - set(codes))
        return UNLISTED

    def _include(self, include: Json) -> Includes | None:
        """What an include chooses: all of its conditions have to be met."""
        parts: list[Includes] = []
        for url in include.get("valueSet", ()):
            part = self.expand(url.partition("|")[0])
            if part is None:
                return None
            parts.append(part)
        if "system" in include:
            parts.append({include["system"]: self._of_system(include)})
        if not parts:
            return None
        first, *others = parts
        for other in others:
            first = {each: _both(first[each], other[each]) for each in first if each in other}
        return first

    def _of_system(self, include: Json) -> list[str] | int:
        if "concept" in include:
            return sorted({concept["code"] for concept in include["concept"]})
        codes = self.codes(include["system"])
        if codes is None:
            return UNLISTED
        if "filter" not in include:
            return WHOLE
        chosen = set(codes)
        for each in include["filter"]:
            system = self.systems.get(include["system"])
            part = None if system is None else filtered(system, each)
            if part is None:
                return UNLISTED
            chosen &= part
        return sorted(chosen)


def _union(one: list[str] | int, other: list[str] | int) -> list[str] | int:
    if isinstance(one, list) and isinstance(other, list):
        return sorted({*one, *other})
    return UNLISTED if UNLISTED in (one, other) else WHOLE


def _both(one: list[str] | int, other: list[str] | int) -> list[str] | int:
    if isinstance(one, list) and isinstance(other, list):
        return sorted({*one} & {*other})
    if UNLISTED in (one, other):
        return UNLISTED
    return other if one == WHOLE else one


def given_expansion(value_set: Json) -> Includes | None:
    """The codes of the expansion that a ValueSet has; None without one, or if it is a page or a part of it."""
    expansion = value_set.get("expansion")
    if not isinstance(expansion, Mapping):
        return None
    partly = any(
        isinstance(each, Mapping) and each.get("name") in ("limitedExpansion", "offset", "count")
        for each in _listed(expansion, "parameter")
    )
    found: dict[str, set[str]] = {}
    count = 0
    for item in _contained(expansion):
        count += 1
        system, code = item.get("system"), item.get("code")
        if isinstance(system, str) and isinstance(code, str) and item.get("abstract") is not True:
            found.setdefault(system, set()).add(code)
    total = expansion.get("total", count)
    if not found or partly or (isinstance(total, int) and total > count):
        return None
    return {system: sorted(codes) for system, codes in found.items()}


def _contained(item: Json) -> Iterator[Json]:
    """The items of an expansion, with those within them."""
    for each in _listed(item, "contains"):
        if isinstance(each, Mapping):
            yield each
            yield from _contained(each)


def _listed(item: Json, name: str) -> Sequence[Any]:
    listed = item.get(name)
    return listed if isinstance(listed, list) else ()


def complete(system: Json) -> bool:
    """Whether a CodeSystem lists all of its codes."""
    return system.get("content") == "complete" and bool(system.get("concept")) and not system.get("compositional")


def codes_of(system: Json) -> set[str]:
    """All codes of a CodeSystem."""
    return {concept["code"] for concept, _ in walk(system.get("concept", []))}
