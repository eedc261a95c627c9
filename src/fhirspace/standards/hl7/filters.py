"""Filters of value sets: the codes of a CodeSystem that a condition chooses.

Source: FHIR, "ValueSet" (compose.include.filter), "Filter Operator", "CodeSystem" (concept.property, hierarchy).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

Json = Mapping[str, Any]
_ITSELF: Final = ("concept", "code")
"""Names of the property that is the code itself."""
_BELOW: Final = ("is-a", "descendent-of", "is-not-a", "child-of", "descendent-leaf", "generalizes")
_PARENTS: Final = ("subsumedBy", "parent")


def walk(concepts: Sequence[Any], above: tuple[str, ...] = ()) -> Iterator[tuple[Json, tuple[str, ...]]]:
    """The concepts of a CodeSystem, each with the codes that it is nested in."""
    for concept in concepts:
        yield concept, above
        yield from walk(concept.get("concept", []), (*above, concept["code"]))


def filtered(system: Json, condition: Json) -> set[str] | None:
    """The codes that meet a filter; None where that cannot be known here.

    That is so for other operators, for properties that the system says nothing of, and for regular expressions that
    may take too long.
    """
    name, operator, value = condition["property"], condition["op"], condition.get("value", "")
    if operator in _BELOW:
        return _by_hierarchy(system, operator, value) if name in _ITSELF else None
    if name in _PARENTS and operator == "=":
        return _by_hierarchy(system, "child-of", value)
    values = _values(system, name)
    return None if values is None else _by_value(values, operator, value)


def _by_value(values: Mapping[str, Sequence[str]], operator: str, value: str) -> set[str] | None:
    """The codes by the values that they have of a property."""
    if operator == "exists":
        return {code for code, found in values.items() if bool(found) == (value == "true")}
    if operator == "=":
        absent = value == "false"  # a property of truth that a concept does not have is not true
        return {code for code, found in values.items() if value in found or (absent and not found)}
    if operator in ("in", "not-in"):
        wanted = {each.strip() for each in value.split(",")}
        return {code for code, found in values.items() if wanted.isdisjoint(found) == (operator == "not-in")}
    return _matching(values, value) if operator == "regex" else None


def _values(system: Json, name: str) -> dict[str, list[str]] | None:
    """The values of a property by code; None where the system does not have it."""
    concepts = [concept for concept, _ in walk(system["concept"])]
    if name in _ITSELF:
        return {concept["code"]: [concept["code"]] for concept in concepts}
    if name in ("display", "definition"):
        return {concept["code"]: [str(concept[name])] if name in concept else [] for concept in concepts}
    found = {
        concept["code"]: [_text(each) for each in concept.get("property", ()) if each["code"] == name]
        for concept in concepts
    }
    declared = any(isinstance(each, Mapping) and each.get("code") == name for each in _listed(system, "property"))
    return found if declared or any(found.values()) else None


def _listed(system: Json, name: str) -> Sequence[Any]:
    listed = system.get(name)
    return listed if isinstance(listed, list) else ()


def _text(given: Json) -> str:
    """The value of a property of a concept as a filter names it: of a Coding its code."""
    value = next((each for name, each in given.items() if name.startswith("value")), "")
    if isinstance(value, bool):
        return str(value).lower()
    return str(value.get("code", "")) if isinstance(value, Mapping) else str(value)


def _matching(values: Mapping[str, Sequence[str]], expression: str) -> set[str] | None:
    """The codes with a value that an expression matches as a whole, by RE2, which never takes long."""
    import pyarrow as pa  # noqa: PLC0415 - only for expressions of users' value sets
    import pyarrow.compute as pc  # noqa: PLC0415

    pairs = [(code, each) for code, found in values.items() for each in found]
    texts = pa.array([each for _, each in pairs], pa.string())
    try:
        fits = pc.match_substring_regex(texts, rf"\A(?s:{expression})\z").to_pylist()
    except pa.ArrowInvalid:
        return None
    return {code for (code, _), fit in zip(pairs, fits, strict=True) if fit}


def _by_hierarchy(system: Json, operator: str, root: str) -> set[str]:
    """By nesting, or by the properties that name a parent."""
    parents: dict[str, set[str]] = {}
    for concept, above in walk(system["concept"]):
        of = parents.setdefault(concept["code"], set())
        of |= set(above[-1:])
        of |= {str(each.get("valueCode", "")) for each in concept.get("property", ()) if each["code"] in _PARENTS}
    if operator == "child-of":
        return {code for code, of in parents.items() if root in of}
    if operator == "generalizes":
        return _closed(root, lambda news: {parent for code in news for parent in parents.get(code, ())}) & set(parents)
    children: dict[str, set[str]] = {}
    for code, of in parents.items():
        for parent in of:
            children.setdefault(parent, set()).add(code)
    found = _closed(root, lambda news: {child for code in news for child in children.get(code, ())})
    if operator == "is-not-a":
        return set(parents) - found
    if operator == "descendent-leaf":
        return (found - {root} - {each for of in parents.values() for each in of}) & set(parents)
    return (found if operator == "is-a" else found - {root}) & set(parents)


def _closed(root: str, further: Any) -> set[str]:
    """All that is reached from a code by steps."""
    found, news = {root}, {root}
    while news:
        news = further(news) - found
        found |= news
    return found
