"""The check of objects and arrays: which elements there are, which there must be, and the invariants of the object.

The elements of a type are compiled when they are first met. Source: FHIR, "JSON Representation" (arrays, companions
``_name`` of primitives), "ElementDefinition" (cardinality, choices).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from fhirspace import limits
from fhirspace.fhir.validation.elements.contexts import NAMES, names_of_resource, of_resource
from fhirspace.fhir.validation.elements.findings import Check, Finding, Scope, prefixed
from fhirspace.fhir.validation.elements.references import reference
from fhirspace.fhir.validation.invariants.surroundings import Surroundings
from fhirspace.fhir.validation.values.objects import RULES
from fhirspace.foreign import member
from fhirspace.standards.fhir import Element

if TYPE_CHECKING:
    from fhirspace.fhir.validation.check import Checker

_MANY = 12
_LONGEST_EXPRESSION = 300
_DEEPEST = limits.LIMITS["json-depth"].most or 0


def many(one: Check, null: str) -> Check:
    """The check of an array. Args: the check of an item, the code of a null item ("": allowed).

    The definitions of no release know a bound of items other than 1 and none.
    """

    def check(value: Any, scope: Scope) -> list[Finding] | None:
        if type(value) is not list:
            return [("", "FS420" if value is None else "FS414", "a JSON array")]
        if not value:
            return [("", "FS420", "an array with items, or nothing")]
        found: list[Finding] = []
        for place, item in enumerate(value):
            problems = [("", null, "no null")] if item is None and null else one(item, scope)
            if problems:
                found += prefixed(f"[{place}]", problems)
        return found or None

    return check


class ObjectCheck:
    """The check of one kind of object. Calling it checks an object of that kind."""

    def __init__(self, checker: Checker, key: str, reference_targets: tuple[str, ...] = ()) -> None:
        """Args: the checks of the release, the type or path, targets of a CodeableReference."""
        self._checker = checker
        self._key = key
        self._children: Mapping[str, Element] = checker.definitions.children(key)
        self._targets = reference_targets
        self._checks: dict[str, Check] = {}
        if key in checker.definitions.resources:
            self._checks["resourceType"] = lambda value, scope: None
        self._required: list[tuple[str, frozenset[str], str]] = []
        self._choices: list[frozenset[str]] = []
        self._met_companion = False
        self._groups(self._children.values())
        self._rule = RULES.get(key)
        self._invariants = checker.invariants.of(key)
        self._ruled = bool(self._required or self._choices or self._rule or self._invariants)
        self._ruled = self._ruled or type(self) is not ObjectCheck

    def _groups(self, children: Iterable[Element]) -> None:
        choices: dict[str, list[Element]] = {}
        for child in children:
            if child.choice is not None:
                choices.setdefault(child.choice, []).append(child)
            elif child.min:
                self._required.append((child.name, _names([child]), child.type))
        for name, members in choices.items():
            self._choices.append(_names(members))
            if members[0].choice_min:
                self._required.append((name, _names(members), "one of " + ", ".join(m.name for m in members[:_MANY])))

    def __call__(self, value: Any, scope: Scope) -> list[Finding] | None:
        """Check a JSON value that should be such an object."""
        if type(value) is not dict:
            return [("", "FS420" if value is None else "FS414", "a JSON object")]
        if not value:
            return [("", "FS420", "an object with elements, or nothing")]
        if scope.depth >= _DEEPEST:
            return [("", "FS403", limits.allowed("json-depth"))]
        scope.depth += 1
        found: list[Finding] | None = None
        checks = self._checks
        for at, (name, item) in enumerate(value.items(), 1):
            problems = (checks.get(name) or self._compile(name))(item, scope)
            if problems:
                label = name if name in checks else member(name, at)
                found = (found or []) + prefixed(label, problems)
        scope.depth -= 1
        if self._ruled:
            whole = self.whole(value)
            broken = self._broken(value, scope) if self._invariants is not None else None
            if whole or broken:
                found = [*(found or ()), *(whole or ()), *(broken or ())]
        if self._met_companion:
            found = _companions(value, found or []) or None
        return found

    def whole(self, value: Mapping[str, Any]) -> list[Finding] | None:
        """What is wrong with the object as a whole: elements missing, choices doubled, parts that do not fit."""
        found: list[Finding] | None = None
        for name, names, expected in self._required:
            if names.isdisjoint(value):
                found = [*(found or ()), (name, "FS412", expected)]
        for group in self._choices:
            present = group & value.keys()
            if len(present) > 1 and len({name.lstrip("_") for name in present}) > 1:
                found = [*(found or ()), (min(name.lstrip("_") for name in present), "FS416", "one type of the choice")]
        if self._rule is not None:
            found = [*(found or ()), *((name, "FS415", fault.expected) for name, fault in self._rule(value))] or None
        return found

    def decided(self, value: Mapping[str, Any]) -> bool:
        """Whether the names of an object alone decide that it breaks no invariant."""
        return self._invariants is None or self._invariants.decided(value)

    def asked(self, value: Mapping[str, Any]) -> frozenset[str] | None:
        """The members that decide on the other invariants; None where that may be any of them."""
        return frozenset() if self._invariants is None else self._invariants.asked(value)

    def compares(self, value: Mapping[str, Any]) -> bool:
        """Whether these invariants ask for more of a value than whether it is there, or is one of some codes."""
        return self._invariants is not None and self._invariants.compares(value)

    def holds(self, resource: dict[str, Any]) -> bool:
        """Whether a resource breaks none of the invariants of its type as a whole."""
        around = Surroundings(resource, resource)
        return self._invariants is None or not self._invariants.broken(resource, around)

    def _broken(self, value: dict[str, Any], scope: Scope) -> Iterable[Finding]:
        """The invariants that an object breaks."""
        if self._invariants is None:
            return ()
        return [
            (path, "FS424", f"{key}: {expression}" if len(expression) <= _LONGEST_EXPRESSION else key)
            for path, key, expression in self._invariants.broken(value, scope.around)
        ]

    def member(self, name: str) -> Check | None:
        """The check of one element by its JSON name; None where there is no such element."""
        return (self._checks.get(name) or self._compile(name)) if name in self._children else None

    def _compile(self, name: str) -> Check:
        element = self._children.get(name)
        if element is None and name[:1] == "_":
            self._met_companion = True
            element = self._children.get(name[1:])
            made = (
                self._checker.companion(element) if element is not None and element.primitive else self._unknown(name)
            )
        elif element is None:
            return self._unknown(name)  # not remembered: there is no end of names that do not exist
        elif self._targets and name == "reference":
            made = reference(self._checker.object("Reference"), self._targets, self._checker.definitions.resources)
        else:
            made = self._checker.element(element)
            if name in NAMES and self._key in self._checker.definitions.resources:
                names = names_of_resource(self._key, self._checker.definitions)
                made = of_resource(made, name, self._key, names, self._checker.registry)
        if name.lstrip("_") in self._children:
            self._checks[name] = made
        return made

    def _unknown(self, name: str) -> Check:
        close = self._checker.definitions.suggest(name, self._key)
        expected = f"an element of {self._key}" + (f", such as {' or '.join(close)}" if close else "")
        return lambda value, scope: [("", "FS411", expected)]


def _names(elements: Iterable[Element]) -> frozenset[str]:
    """The JSON names by which elements are present: a primitive also by its companion."""
    return frozenset(
        name
        for element in elements
        for name in ((element.name, "_" + element.name) if element.primitive else (element.name,))
    )


def _companions(value: dict[str, Any], found: list[Finding]) -> list[Finding]:
    """The findings without nulls that a companion explains, with those of companions that do not fit."""
    allowed = set()
    for name, companion in value.items():
        own = value.get(name[1:])
        if name[:1] != "_" or type(companion) is not list:
            continue
        if own is None:
            found.append((name, "FS438", "an array of values beside it"))
        if type(own) is not list:
            continue
        if len(own) != len(companion):
            found.append((name, "FS421", "as many items as the values have"))
        allowed |= {f"{name[1:]}[{place}]" for place, item in enumerate(companion) if item is not None}
    return [item for item in found if item[1] != "FS421" or item[0] not in allowed]
