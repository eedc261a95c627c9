"""What is read of the resources of one type: the alternatives of all views, by the element that they begin with.

Each value has a name, so that views that read the same share it. Of an element, the values are made once for each
distinct text of it that a block has (`columns`): codes, categories and units repeat, so that Python runs seldom.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final

from fhirspace.fhir.status import NEGATIONS, Verdict, rules, verdicts
from fhirspace.standards.fhir import Definitions
from fhirspace.views.definition.model import Definition
from fhirspace.views.notation.address import Alternative, Step, nodes, reader
from fhirspace.views.notation.check import targets
from fhirspace.views.notation.model import View, ViewSet

Tree = dict[str, "Tree"]
"""The names below an element that somebody reads; an empty tree: all that is there."""
RARE: Final = frozenset({"contained", "modifierExtension", "implicitRules", *NEGATIONS})
"""Elements that few resources have, for which the rules of status look at the whole resource."""
ALL: Final = "\x1f"
"""Between the values of an element that a condition looks at, and between identifiers."""
PAIR: Final = "\x1e"
"""Between a reference to a resource and the value beside it."""
IDENTIFIERS: Final = "@@identifier"
"""The name of the value with all identifiers of a resource, ``system|value`` each."""
_IDENTIFIER: Final = (Step("identifier"),)
_QUANTITY: Final[Tree] = {"value": {}, "comparator": {}}
_CODING: Final[Tree] = {"system": {}, "code": {}}
_REFERENCE: Final[Tree] = {"reference": {}, "identifier": {"system": {}, "value": {}}, "type": {}}


@dataclass(frozen=True, slots=True)
class Read:
    """One value of an element: its name, the steps to it from the element on, and the function that reads it."""

    name: str
    way: Alternative
    function: Callable[[Any], list[str]]


@dataclass(slots=True)
class Part:
    """What is read of one element.

    Attributes:
        name: the element's.
        reads: its values. items: those of each item of it, by the same rules (``each:``).
        tree: the names in it that anybody reads.
        plain: it is a single primitive. singles: it is a single object, and these are its primitive members.
        status: status elements begin with it.
    """

    name: str
    reads: dict[str, Read] = field(default_factory=dict)
    items: dict[str, Read] = field(default_factory=dict)
    tree: Tree = field(default_factory=dict)
    status: bool = False
    plain: bool = False
    singles: frozenset[str] = frozenset()


@dataclass(slots=True)
class Plan:
    """What is read of the resources of one type, by element.

    Attributes:
        kind: the type. parts: by element. definitions: the ViewDefinitions of the type.
    """

    kind: str
    parts: dict[str, Part] = field(default_factory=dict)
    definitions: list[Definition] = field(default_factory=list)

    def reads(self, name: str) -> bool:
        """Whether anybody reads an element."""
        found = (each.elements() for each in self.definitions)
        return name in self.parts or any(each is None or name in each for each in found)

    def status(self, resource: dict[str, Any]) -> list[Verdict]:
        """What an element, or the whole of a resource, says of the record."""
        return verdicts({**resource, "resourceType": self.kind})


def name_of(way: Alternative) -> str:
    """The name of a value: the path with its filters, ``@`` before the key that a reference names."""
    steps = ".".join(
        step.name + "".join(f"[{'.'.join(each.path)}={each.value}]" for each in step.filters) for step in way.steps
    )
    which = f"{way.nth}:" if way.nth > 1 else ""
    return f"{which}@{steps}" if way.then else f"{which}{steps}"


def all_of(way: Alternative) -> str:
    """The name of the value with all texts of a way, as conditions look at them."""
    return f"*{name_of(way)}"


def key_of(steps: tuple[Step, ...]) -> Alternative:
    """The way that reads the key which a reference at the end of a path names."""
    return Alternative(steps, then=Alternative(()))


def plans(views: ViewSet, known: Definitions) -> dict[str, Plan]:
    """The plan of each type that a view claims or that a reference of one leads to."""
    found = {kind: Plan(kind) for kind in sorted(views.types)}
    for view in views.views.values():
        plan = found[view.of]
        _add_view(plan, view, known)
        for kind, way in targets(way for _, address in view.read() for way in address.alternatives):
            other = found.setdefault(kind, Plan(kind))
            if way.back and way.target == kind:
                _add_back(other, way, known)
            elif not way.back:
                _add(other, way, known)
            _add_identifiers(other, known)
    for plan in (found.setdefault("Patient", Plan("Patient")), *found.values()):
        _add(plan, Alternative((Step("id"),)), known)
        _add_status(plan, known)
    _add_identifiers(found["Patient"], known)
    return found


def back_name(way: Alternative) -> str:
    """The name of the value with the pairs of a reference and what is read beside it, of a way with ``<-``."""
    return f"<{name_of(replace(way, back=False))}{PAIR}{name_of(way.then or way)}"


def _add_back(plan: Plan, way: Alternative, known: Definitions) -> None:
    """Adds the references of a type that lead to other resources, with the values in the same items."""
    if not way.shared or way.then is None:
        _add(plan, key_of(way.steps), known, joined=True)
        return
    at, then = way.shared, way.then
    keys, values = reader(key_of(way.steps[at:])), reader(replace(then, steps=then.steps[at:]))

    def pairs(start: Any) -> list[str]:
        found = [
            f"{key}{PAIR}{value}"
            for item in nodes(start, way.steps[:at])
            for key in keys(item)
            for value in values(item)
        ]
        return [ALL.join(found)] if found else []

    part = plan.parts.setdefault(way.steps[0].name, Part(way.steps[0].name))
    part.reads[back_name(way)] = Read(back_name(way), way, pairs)
    _grow_by(part.tree, way.steps[1:], key_of(way.steps))
    _grow_by(part.tree, then.steps[1:], then)


def _add_view(plan: Plan, view: View, known: Definitions) -> None:
    """Adds what a view reads of resources, and of items."""
    plan.definitions += [view.definition] if view.definition else []
    for name, address in view.read():
        for way in (way for way in address.alternatives if not way.back):
            joined = name in view.addresses
            if way.up or not view.each or view.own:
                _add(plan, replace(way, up=False), known, joined=joined)
            if view.each and not way.up:
                _add_item(plan, view.each, way, joined=joined)
    for way in view.subject.alternatives if view.subject else ():
        _add(plan, key_of(way.steps), known)
    for path in view.never:
        _add(plan, never_codes(path, plan.kind, known), known, joined=True)


def never_codes(path: str, kind: str, known: Definitions) -> Alternative:
    """The way to the codes of a status element, which is a code or a concept."""
    element = known.children(kind).get(path.partition(".")[0])
    concept = element is not None and element.type == "CodeableConcept" and "." not in path
    return Alternative(tuple(Step(name) for name in (f"{path}.coding.code" if concept else path).split(".")))


def _add_status(plan: Plan, known: Definitions) -> None:
    for path in rules().get(plan.kind, ("status",)):
        name = path.partition(".")[0]
        if name in known.children(plan.kind):
            part = plan.parts.setdefault(name, Part(name))
            part.status = True
            if names := path.split(".")[1:]:
                _grow(part.tree, tuple(names))
                _grow(part.tree, (*names, "coding", "code"))


def _add_identifiers(plan: Plan, known: Definitions) -> None:
    if "identifier" in known.children(plan.kind):
        part = plan.parts.setdefault("identifier", Part("identifier"))
        part.reads[IDENTIFIERS] = Read(IDENTIFIERS, Alternative((Step("identifier"),)), _tokens)
        for name in ("system", "value"):
            _grow(part.tree, (name,))


def _tokens(start: Any) -> list[str]:
    found = [f"{each.get('system', '')}|{each['value']}" for each in nodes(start, _IDENTIFIER) if _named(each)]
    return [ALL.join(found)] if found else []


def _named(identifier: Any) -> bool:
    return isinstance(identifier, dict) and isinstance(identifier.get("value"), str)


def _add(plan: Plan, way: Alternative, known: Definitions, *, joined: bool = False) -> None:
    """Adds the value of a way to its element, if this release has the element."""
    first = way.steps[0].name
    element = known.children(plan.kind).get(first.removeprefix("_"))
    if element is None:
        return
    part = plan.parts.setdefault(first, Part(first))
    if not element.is_list and not first.startswith("_"):
        part.plain = element.primitive
        inner = {} if element.primitive else known.children(element.children_path)
        part.singles = frozenset(name for name, each in inner.items() if each.primitive and not each.is_list)
    read = _made(way, joined=joined)
    part.reads.setdefault(read.name, read)
    _grow_by(part.tree, way.steps[1:], way)


def _made(way: Alternative, *, joined: bool) -> Read:
    function = reader(way)

    def whole(start: Any) -> list[str]:
        found = function(start)
        return [ALL.join(found)] if found else []

    return Read(all_of(way), way, whole) if joined else Read(name_of(way), way, function)


def _add_item(plan: Plan, each: str, way: Alternative, *, joined: bool) -> None:
    part = plan.parts.setdefault(each, Part(each))
    read = _made(way, joined=joined)
    part.items.setdefault(read.name, read)
    _grow_by(part.tree, way.steps, way)


def _grow_by(tree: Tree, steps: Iterable[Step], way: Alternative) -> None:
    for step in steps:
        tree = tree.setdefault(step.name, {})
        for each in step.filters:
            _grow(tree, each.path)
    if way.then is not None or way.quantity or way.coding:
        read = _REFERENCE if way.then else _QUANTITY if way.quantity else _CODING
        tree.update({name: inner for name, inner in read.items() if name not in tree})


def _grow(tree: Tree, path: tuple[str, ...]) -> None:
    for name in path:
        tree = tree.setdefault(name, {})


def unmapped(value: Any, tree: Tree, path: str) -> Iterator[str]:
    """The paths in a value that nobody reads, the topmost of each."""
    if isinstance(value, list):
        for item in value:
            yield from unmapped(item, tree, path)
    elif isinstance(value, dict):
        for name, inner in value.items():
            where = f"{path}.{name}"
            if name not in tree:
                yield where
            elif tree[name]:
                yield from unmapped(inner, tree[name], where)
