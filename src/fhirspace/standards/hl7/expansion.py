"""Expansion of value sets: the codes of a ValueSet's compose, from the CodeSystems at hand.

Used for the packaged data (``scripts/make_fhir_rules.py``) and for the value sets of users' packages. Source: FHIR,
"ValueSet" (compose: include, exclude, filters is-a, descendent-of and is-not-a), "CodeSystem" (content).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fhirspace.standards.hl7.terms import UNLISTED, WHOLE, Includes

Json = Mapping[str, Any]


class Expansions:
    """The value sets of a release, expanded as far as the code systems of the packages allow."""

    def __init__(self, sets: Mapping[str, Json], systems: Mapping[str, Json]) -> None:
        """Args: ValueSets and CodeSystems by their addresses."""
        self.sets = sets
        self.systems = systems
        self._busy: set[str] = set()

    def other(self, url: str) -> Includes | None:
        """A value set that is not among these; None where nobody knows it."""
        return None

    def codes(self, system: str) -> list[str] | None:
        """All codes of a code system; None where they are not all known."""
        found = self.systems.get(system)
        return sorted(codes_of(found)) if found is not None and complete(found) else None

    def expand(self, url: str) -> Includes | None:
        """The codes of a value set by system; None where a part of it is not known at all."""
        value_set = self.sets.get(url)
        if value_set is None or url in self._busy:
            return self.other(url) if value_set is None else None
        self._busy.add(url)
        try:
            return self._composed(value_set.get("compose", {}))
        finally:
            self._busy.discard(url)

    def _composed(self, compose: Json) -> Includes | None:
        found: Includes = {}
        for include in compose.get("include", ()):
            part = self._include(include)
            if part is None:
                return None
            for system, codes in part.items():
                found[system] = codes if system not in found else _union(found[system], codes)
        for exclude in compose.get("exclude", ()):
            if not self._excluded(found, exclude):
                return None
        return found or None

    def _excluded(self, found: Includes, exclude: Json) -> bool:
        part = self._include(exclude)
        if part is None:
            return False
        for system, codes in part.items():
            kept = found.get(system, UNLISTED)
            listed = self.codes(system) if kept == WHOLE else kept
            if isinstance(listed, list) and isinstance(codes, list):
                found[system] = sorted(set(listed) - set(codes))
        return True

    def _include(self, include: Json) -> Includes | None:
        parts: list[Includes] = []
        for url in include.get("valueSet", ()):
            part = self.expand(url.partition("|")[0])
            if part is None:
                return None
            parts.append(part)
        if "system" in include:
            parts.append({include["system"]: self._of_system(include)})
        return parts[0] if len(parts) == 1 else None

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
            part = None if system is None else _filtered(system, each)
            if part is None:
                return UNLISTED
            chosen &= part
        return sorted(chosen)


def _union(one: list[str] | int, other: list[str] | int) -> list[str] | int:
    if isinstance(one, list) and isinstance(other, list):
        return sorted({*one, *other})
    return UNLISTED if UNLISTED in (one, other) else WHOLE


def complete(system: Json) -> bool:
    """Whether a CodeSystem lists all of its codes."""
    return system.get("content") == "complete" and bool(system.get("concept")) and not system.get("compositional")


def codes_of(system: Json) -> set[str]:
    """All codes of a CodeSystem."""
    return {concept["code"] for concept, _ in _walk(system.get("concept", []), ())}


def _walk(concepts: list[Any], above: tuple[str, ...]) -> Iterator[tuple[Json, tuple[str, ...]]]:
    for concept in concepts:
        yield concept, above
        yield from _walk(concept.get("concept", []), (*above, concept["code"]))


def _filtered(system: Json, condition: Json) -> set[str] | None:
    """The codes that meet a filter of a value set; None for filters that are not known here."""
    name, operator, value = condition["property"], condition["op"], condition.get("value", "")
    if name == "concept" and operator in ("is-a", "descendent-of", "is-not-a"):
        return _below(system, operator, value)
    return None


def _below(system: Json, operator: str, root: str) -> set[str]:
    """By nesting, or by the properties that name a parent."""
    parents: dict[str, set[str]] = {}
    for concept, above in _walk(system["concept"], ()):
        of = parents.setdefault(concept["code"], set())
        of |= set(above[-1:])
        of |= {
            str(each.get("valueCode", ""))
            for each in concept.get("property", ())
            if each["code"] in ("subsumedBy", "parent")
        }
    found, news = {root}, {root}
    while news:
        news = {code for code, of in parents.items() if of & news} - found
        found |= news
    if operator == "is-not-a":
        return set(parents) - found
    return (found if operator == "is-a" else found - {root}) & set(parents)
