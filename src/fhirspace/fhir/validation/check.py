"""The own check of resources against HL7's definitions, compiled for each type on its first use.

What is checked: known elements, cardinality, JSON kinds, primitive patterns, choices, required elements, required
bindings, targets of references, contained resources and the references to them, extensions, nothing empty, and the
companions ``_name`` of primitives. Source: FHIR, "JSON Representation", "References", "Extensibility",
"Terminologies" (binding strengths). A check returns None where nothing is wrong, so that a good resource costs no
path: paths are put together on the way out of a finding.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from fhirspace import limits
from fhirspace.fhir.validation import codes
from fhirspace.fhir.validation.contexts import NAMES, contexts, names_of, names_of_resource, of_resource
from fhirspace.fhir.validation.invariants.rules import rules
from fhirspace.fhir.validation.invariants.surroundings import Surroundings
from fhirspace.fhir.validation.leaves import Check, Finding, Scope, leaf
from fhirspace.fhir.validation.links import contained_types, doubled, reference, repeated, unused
from fhirspace.fhir.validation.structures.registry import Registry, registry
from fhirspace.fhir.validation.values.objects import RULES
from fhirspace.foreign import member
from fhirspace.standards.fhir import Definitions, Element, Release, definitions

_MANY = 12
ADVICE = frozenset({"FS425", "FS427", "FS434"})
"""Findings that are only looked for in a full check: recommendations, extensible bindings, profiles not known."""
_LONGEST_EXPRESSION = 300
_DEEPEST = limits.LIMITS["json-depth"].most or 0


def check(resource: object, release: Release = "R4", *, full: bool = False) -> list[Finding]:
    """Check one resource, with everything in it (contained resources, a Bundle's entries).

    Args:
        resource: the resource as parsed JSON; numbers as `json.Number`, int, float or Decimal.
        release: the release of FHIR it is written in.
        full: with warnings about what FHIR only recommends (`ADVICE`).

    Returns:
        For each finding: the element's path (``Observation.component[1].code``), a code FS4xx of the catalogue,
        and what was expected there. Empty when nothing is wrong. Never a value of the resource.
    """
    return judged(resource, compiled(release, full=full))


def judged(resource: object, checker: Checker) -> list[Finding]:
    """`check` by the checks that are given."""
    found = checker.resource(resource, Scope({}))
    if not found:
        return []
    kind = resource.get("resourceType") if isinstance(resource, dict) else None
    return prefixed(kind, found) if isinstance(kind, str) and kind in checker.definitions.resources else found


@cache
def compiled(release: Release, *, full: bool = False) -> Checker:
    """The checks of a release; types are compiled when they are first met. `full`: with what is advice only."""
    return Checker(definitions(release), registry(release), full=full)


def prefixed(name: str, found: Iterable[Finding]) -> list[Finding]:
    """The same findings, seen from one level further out."""
    return [(_join(name, path), code, expected) for path, code, expected in found]


def _join(name: str, path: str) -> str:
    if not path:
        return name
    return name + path if path[0] == "[" else f"{name}.{path}"


class Checker:
    """All checks of one release."""

    def __init__(self, definitions: Definitions, known: Registry, *, full: bool, profiles: Sequence[str] = ()) -> None:
        """Make the checks.

        Args:
            definitions: those of the release. known: the structures and codes that are known.
            full: with advice. profiles: further profiles that resources of their types have to conform to.
        """
        self.asked: dict[str, list[str]] = {}
        for url in profiles:
            self.asked.setdefault(known.type_of(url), []).append(url)
        self.full = full
        self.definitions = definitions
        self.registry = known
        self.invariants = rules(definitions.release)
        self._objects: dict[str, ObjectCheck] = {}

    def object(self, key: str) -> ObjectCheck:
        """The check of an object: a type, or a group within one (``Observation.component``)."""
        found = self._objects.get(key)
        if found is None:
            found = _KINDS.get(key, ObjectCheck)(self, key)
            self._objects[key] = found
        return found

    def resource(self, value: Any, scope: Scope) -> list[Finding] | None:
        """Check a resource on its own: its references to ``#id`` refer to its own contained resources."""
        own = Scope(contained_types(value), scope.depth, _surroundings(value, scope))
        found = self._typed(value, own) or []
        found += [(f"contained[{place}]", "FS419", "a reference to its id") for place in unused(value, own)]
        found += [(f"contained[{place}].id", "FS419", "an id of its own") for place in doubled(value)]
        found += repeated(value)
        return found or None

    def contained(self, value: Any, scope: Scope) -> list[Finding] | None:
        """Check a contained resource: it has an id and contains nothing itself (dom-2)."""
        container, scope.around.resource = scope.around.resource, value
        found = self._typed(value, scope) or []
        scope.around.resource = container
        found += repeated(value)
        if isinstance(value, dict):
            if "contained" in value:
                found.append(("contained", "FS419", "no contained resource in a contained one"))
            if "id" not in value:
                found.append(("id", "FS412", "id of a contained resource"))
        return found or None

    def _typed(self, value: Any, scope: Scope) -> list[Finding] | None:
        if not isinstance(value, dict):
            return [("", "FS414", "a resource: a JSON object with resourceType")]
        kind = value.get("resourceType")
        if not isinstance(kind, str) or kind not in self.definitions.resources:
            return [("resourceType", "FS410", f"a resource type of {self.definitions.release}")]
        found = self.object(kind)(value, scope)
        if kind in self.asked or (type(value.get("meta")) is dict and "profile" in value["meta"]):
            found = [*(found or ()), *self.declared(value, kind)]
        return found or None

    def declared(self, resource: dict[str, Any], kind: str) -> list[Finding]:
        """What is wrong with a resource by the profiles that it declares."""
        found = self.registry.declared(resource, kind, self.asked.get(kind, ()))
        return [each for each in found if self.full or each[1] not in ADVICE]

    def element(self, element: Element) -> Check:
        """The check of the content under an element's JSON name."""
        one = self._one(element)
        if not element.is_list:
            return one
        return many(one, null="FS421" if element.primitive else "FS420")

    def _one(self, element: Element) -> Check:
        if element.primitive:
            return leaf(element, self.definitions)
        if element.type == "Resource":
            return self.contained if element.name == "contained" else self._inner_resource
        found: Check = self.object(element.children_path)
        if element.type == "Reference":
            found = contexts(found, names_of(element, self.definitions), self.registry.extension)
            return reference(found, element.targets, self.definitions.resources)
        if element.type == "CodeableReference" and element.targets:
            found = ObjectCheck(self, element.children_path, reference_targets=element.targets)
        found = contexts(found, names_of(element, self.definitions), self.registry.extension)
        return codes.with_codes(found, element, self.registry.value_set, full=self.full)

    def _inner_resource(self, value: Any, scope: Scope) -> list[Finding] | None:
        return self.resource(value, scope)

    def companion(self, element: Element) -> Check:
        """The check of ``_name``, which holds id and extensions of a primitive."""
        one = contexts(self.object("Element"), names_of(element, self.definitions), self.registry.extension)
        if not element.is_list:
            return one

        def nullable(value: Any, scope: Scope) -> list[Finding] | None:
            return None if value is None else one(value, scope)

        return many(nullable, null="")


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
                made = of_resource(made, name, names, self._checker.registry.extension)
        if name.lstrip("_") in self._children:
            self._checks[name] = made
        return made

    def _unknown(self, name: str) -> Check:
        close = self._checker.definitions.suggest(name, self._key)
        expected = f"an element of {self._key}" + (f", such as {' or '.join(close)}" if close else "")
        return lambda value, scope: [("", "FS411", expected)]


class ExtensionCheck(ObjectCheck):
    """The check of an extension: a value or further extensions, and what its definition says."""

    def whole(self, value: Mapping[str, Any]) -> list[Finding] | None:
        """Exactly one of value[x] and extension (ext-1); what a definition that is known says."""
        found = super().whole(value) or []
        values = [name for name in value if name.startswith(("value", "_value"))]
        if bool(values) == ("extension" in value):
            found.append(("", "FS422", "either value[x] or extension"))
        url = value.get("url")
        if type(url) is not str or self._checker.registry.extension(url) is None:
            return found
        judged = self._checker.registry.judge(value, url) or ()
        found += (each for each in judged if self._checker.full or each[1] not in ADVICE)
        return [*found, *self._parts(value, url)]

    def _parts(self, value: Mapping[str, Any], url: str) -> Iterable[Finding]:
        """Parts with a name that the definition has not: no slice of it is closed, yet nobody else can define them."""
        published = self._checker.definitions.extensions.get(url)
        parts = value.get("extension")
        if published is None or not published.parts or type(parts) is not list:
            return
        for place, part in enumerate(parts):
            name = part.get("url") if isinstance(part, dict) else None
            if isinstance(name, str) and ":" not in name and name not in published.parts:
                yield f"extension[{place}].url", "FS423", f"one of {', '.join(published.parts)}"


class CodingCheck(ObjectCheck):
    """The check of a Coding or Quantity: a complete code system has its code."""

    def whole(self, value: Mapping[str, Any]) -> list[Finding] | None:
        """Also that the code is one of its system, where that is complete."""
        found = super().whole(value)
        more = codes.unknown(value, self._checker.registry.system)
        return [*(found or ()), *more] if more else found


_KINDS: dict[str, type[ObjectCheck]] = {
    "Extension": ExtensionCheck,
    **dict.fromkeys(("Coding", "Quantity", "SimpleQuantity", "Age", "Count", "Distance", "Duration"), CodingCheck),
}


def _surroundings(value: Any, scope: Scope) -> Surroundings:
    """What is around the parts of a resource that is in what `scope` is about."""
    if not isinstance(value, dict):
        return Surroundings()
    outer = scope.around.root
    bundle = outer if outer is not None and outer.get("resourceType") == "Bundle" else scope.around.bundle
    return Surroundings(value, value, bundle)


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
