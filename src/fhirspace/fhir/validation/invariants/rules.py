"""The invariants of a release: which of them an object breaks.

Most objects need no evaluation at all: for each set of names that occurs, an invariant is evaluated once on names
alone (values that are there but are not looked at). What that decides is decided for all objects of those names; the
rest is evaluated. Source: FHIR, "ElementDefinition" (constraint).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, Final, NamedTuple

from fhirspace.fhir.validation.invariants.compiler import Expression, compiled
from fhirspace.fhir.validation.invariants.items import OPAQUE, Item, Model, UndecidedError, model
from fhirspace.fhir.validation.invariants.lexer import ExpressionError
from fhirspace.fhir.validation.invariants.operators import truth
from fhirspace.fhir.validation.invariants.surroundings import Surroundings
from fhirspace.standards.fhir import Definitions, Release, definitions
from fhirspace.standards.hl7.structures import Invariant, structures

ELSEWHERE: Final = frozenset({"ele-1", "ext-1", "dom-2", "dom-3", "ref-1", "txt-1", "txt-2"})
"""Invariants that the checks of structure, contained resources, references and narratives judge."""
_SAME: Final = {"SimpleQuantity": "Quantity", "MoneyQuantity": "Quantity"}
_WORD: Final = re.compile(r"[A-Za-z_]\w*")
_TEXT: Final = re.compile(r"'(?:[^'\\]|\\.)*'")
_COMPARISON: Final = re.compile(
    r"[<>~|&+*/-]|=\s*(?!')|\b(?:in|contains)\b(?!\s*\()|[dD]istinct|intersect|Of|String|match|length|sub|[wW]ith"
    r"|indexOf|now|today|replace|low|high|compar|combine|union|to[A-Z]"
)
_ALL: Final = frozenset({"children", "descendants", "repeat"})
"""Functions that look at everything."""
_MOST_SHAPES: Final = 4096
_MOST_STEPS: Final = 300_000
"""Steps of one evaluation: about a second. Some invariants look through a list once for each of its items."""
_MALFORMED: Final = (TypeError, ValueError, AttributeError, ArithmeticError, LookupError)
"""What an expression meets in values of the wrong JSON kind, which are findings of their own."""


class Broken(NamedTuple):
    """An invariant that does not hold: the path within the object ("" itself), its key and expression."""

    path: str
    key: str
    expression: str


class _Rule(NamedTuple):
    key: str
    expression: str
    run: Expression


class TypeRules:
    """The invariants of one kind of object, and of those of its elements that have some of their own."""

    def __init__(self, known: Model, kind: str, own: Sequence[_Rule], parts: Mapping[str, Sequence[_Rule]]) -> None:
        """Args: the types; the kind; its invariants; those of its elements by name (a choice without ``[x]``)."""
        self._model = known
        self._kind = kind
        self._own = own
        self._parts = parts
        self._left: dict[tuple[str, ...], tuple[_Rule, ...]] = {}
        self._names = frozenset(step.json for name in parts for step in known.steps(kind).get(name, ()))

    def decided(self, names: Mapping[str, Any]) -> bool:
        """Whether the names of an object alone decide that it breaks none of its own invariants."""
        return not self._undecided(tuple(names)) and self._names.isdisjoint(names)

    def asked(self, names: Mapping[str, Any]) -> frozenset[str] | None:
        """The members that decide what names alone do not; None where that may be any of them."""
        if not self._names.isdisjoint(names):
            return None
        words = {word for rule in self._undecided(tuple(names)) for word in _WORD.findall(rule.expression)}
        if words & _ALL:
            return None
        choices = (name for name in names if any(name.startswith(word) for word in words))
        return frozenset(choices)

    def compares(self, names: Mapping[str, Any]) -> bool:
        """Whether those that names do not decide compare values with others than texts of their own."""
        return any(comparing(rule.expression) for rule in self._undecided(tuple(names)))

    def broken(self, value: dict[str, Any], around: Surroundings) -> list[Broken]:
        """The invariants that an object breaks.

        Args:
            value: the object.
            around: what is around it; its `asked` is set when that is not enough.
        """
        item = Item(value, self._kind)
        found = [
            Broken("", rule.key, rule.expression)
            for rule in self._undecided(tuple(value))
            if not self._holds(rule, item, around)
        ]
        if not self._names.isdisjoint(value):
            found += self._of_parts(item, around)
        return found

    def _of_parts(self, item: Item, around: Surroundings) -> list[Broken]:
        found = []
        for name, rules in self._parts.items():
            try:
                parts = list(self._model.member(item, name))
            except UndecidedError:
                continue
            for place, part in enumerate(parts):
                broken = [rule for rule in rules if not self._holds(rule, part, around)]
                path = self._path(item.value, name, place) if broken else ""
                found += [Broken(path, rule.key, rule.expression) for rule in broken]
        return found

    def _path(self, value: dict[str, Any], name: str, place: int) -> str:
        """Where one of the values of an element is, by its name in JSON (``valueRange``)."""
        names = [step.json for step in self._model.steps(self._kind).get(name, ())]
        used = next((each for each in names if each in value or f"_{each}" in value), name)
        listed = type(value.get(used)) is list or type(value.get(f"_{used}")) is list
        return f"{used}[{place}]" if listed else used

    def _undecided(self, names: tuple[str, ...]) -> tuple[_Rule, ...]:
        found = self._left.get(names)
        if found is None:
            blank = Item(dict.fromkeys(names, OPAQUE), self._kind)
            found = tuple(
                rule for rule in self._own if _verdict(self._model, rule.run, blank, Surroundings()) is not True
            )
            if len(self._left) < _MOST_SHAPES:
                self._left[names] = found
        return found

    def _holds(self, rule: _Rule, item: Item, around: Surroundings) -> bool:
        """Whether an invariant holds, or cannot be decided here. Nothing (an empty collection) does not hold."""
        return _verdict(self._model, rule.run, item, around) is not False


def _verdict(known: Model, run: Expression, item: Item, around: Surroundings) -> bool | None:
    """True, False; None for what cannot be decided."""
    try:
        return truth(run((item,), _Around(known, item, around))) is True
    except (UndecidedError, RecursionError, *_MALFORMED):
        return None


class _Around:
    """The scope of an evaluation (`compiler.Scope`); the resources around are made when they are asked for."""

    __slots__ = ("_around", "_left", "context", "extension", "model")

    def __init__(self, known: Model, context: Item, around: Surroundings, extension: Item | None = None) -> None:
        self.model = known
        self.context = context
        self._around = around
        self.extension = extension
        self._left = _MOST_STEPS

    def spend(self, steps: int) -> None:
        """Count steps; raise UndecidedError when there were too many."""
        self._left -= steps + 1
        if self._left < 0:
            raise UndecidedError

    @property
    def resource(self) -> Item:
        """The resource around the focus."""
        return self._around.item(self.model)

    @property
    def root(self) -> Item:
        """The resource that contains it."""
        return self._around.item(self.model, root=True)

    def resolve(self, address: str) -> Item | None:
        """The resource that a reference leads to."""
        return self._around.resolve(self.model, address)


class Rules:
    """The invariants of one release. Get them by `rules`."""

    def __init__(self, known: Definitions, types: Model, invariants: Mapping[str, Sequence[Invariant]]) -> None:
        """Args: the definitions, their model, invariants by the path where they are declared."""
        self._known = known
        self._model = types
        self._invariants = invariants

    elsewhere = ELSEWHERE

    def of(self, kind: str) -> TypeRules | None:
        """The invariants at level error of a kind of object (``Period``, ``Bundle.entry``); None without any.

        Args:
            kind: a type, or a path as in `Element.children_path`.
        """
        children = self._known.children(kind)
        own = [*self._declared(_SAME.get(kind, kind))]
        if kind in self._known.resources and "contained" in children:
            own += self._declared("DomainResource")
        parts = {
            child.choice[:-3] if child.choice else name: rules
            for name, child in children.items()
            if (child.primitive or child.children_path != child.path) and (rules := self._declared(child.path))
        }
        return TypeRules(self._model, kind, own, parts) if own or parts else None

    def _declared(self, path: str) -> list[_Rule]:
        found = []
        for each in self._invariants.get(path, ()):
            if each.severity != "error" or each.key in ELSEWHERE:
                continue
            try:
                found.append(_Rule(each.key, each.expression, compiled(each.expression)))
            except ExpressionError:
                continue
        return found


@cache
def rules(release: Release) -> Rules:
    """The invariants of a release."""
    return Rules(definitions(release), model(release), structures(release).invariants())


def comparing(expression: str) -> bool:
    """Whether an invariant compares values with each other, or looks into one: more than whether it is a given text."""
    return _COMPARISON.search(_TEXT.sub("''", expression)) is not None


@cache
def evaluable(expression: str) -> bool:
    """Whether an invariant can be evaluated: it is FHIRPath, and of what is implemented here."""
    try:
        compiled(expression)
    except ExpressionError:
        return False
    return True


def broken(release: Release, constraints: Iterable[Invariant], item: Item, around: Surroundings) -> list[Invariant]:
    """The invariants of a profile that a value breaks.

    Args:
        release: the release. constraints: the invariants. item: the value. around: what is around it.
    """
    known = model(release)
    found = []
    for each in constraints:
        if evaluable(each.expression) and _verdict(known, compiled(each.expression), item, around) is False:
            found.append(each)
    return found


def usable(
    release: Release, kind: str, conditions: Sequence[str], value: dict[str, Any], extension: dict[str, Any]
) -> str | None:
    """The first condition on the use of an extension that is not true; None where all are, or cannot be decided.

    Args:
        release: the release. kind: the type or path of the element that has the extension.
        conditions: expressions in FHIRPath, in which ``%extension`` is the extension. value: the element.
        extension: the extension.
    """
    known = model(release)
    item = Item(value, kind)
    for each in conditions:
        scope = _Around(known, item, Surroundings(), Item(extension, "Extension"))
        try:
            if truth(compiled(each)((item,), scope)) is not True:
                return each
        except (ExpressionError, UndecidedError, RecursionError, *_MALFORMED):
            continue
    return None
