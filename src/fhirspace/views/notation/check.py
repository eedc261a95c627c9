"""Addresses against HL7's definitions of a release: names that exist, values that are primitive, types that fit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from fhirspace.foreign import listed
from fhirspace.standards.fhir import RELEASES, Definitions, Element, Release, definitions
from fhirspace.views.notation.address import Address, Alternative, Step

_TIMED = frozenset({"dateTime", "instant"})
_CODING = "Coding"
_QUANTITIES = frozenset({"Quantity", "SimpleQuantity", "Age", "Duration", "Count", "Distance"})


class WrongAddressError(Exception):
    """An address that does not fit a release. `code` is of the catalogue, `expected` says what would fit."""

    def __init__(self, code: str, expected: str) -> None:
        self.code, self.expected = code, expected
        super().__init__(code)


def checked(
    address: Address, kind: str, release: Release, around: str = "", *, needed: bool = True
) -> tuple[Address, bool]:
    """An address less the alternatives that other releases alone have, and whether its values can have a time of day.

    Args:
        address: as written. kind: the type or path that it starts at. release: to be read.
        around: the type of the resource around an item, which ``^`` means.
        needed: this release must have one of the alternatives; in a condition, what another release has is empty.

    Raises:
        WrongAddressError: FS371, no release has an element, or this one has none of the alternatives; FS372, an
            alternative ends at something else than a primitive value, or at no reference before ``->``.
    """
    alternatives, timed, faults = list[Alternative](), False, list[WrongAddressError]()
    for way in address.alternatives:
        if way.up and not around:
            raise WrongAddressError("FS370", "`^` only in a view with `each:`")
        up = way.up or (way.back and around != "")
        start = around if up else kind
        try:
            end = _end(way, start, definitions(release))
        except WrongAddressError as fault:
            if not any(_fits(way, start, each) for each in RELEASES):
                raise
            faults.append(fault)
            continue
        alternatives.append(replace(_with_value(way, end), up=up))
        timed |= end.type in _TIMED
    if not alternatives and needed:
        raise faults[0]
    return Address(address.text, tuple(alternatives)), timed


def _with_value(way: Alternative, end: Element) -> Alternative:
    """The way, marked where it ends at a Quantity or a Coding."""
    if way.then is not None:
        return replace(way, then=_with_value(way.then, end))
    return replace(way, quantity=end.type in _QUANTITIES, coding=end.type == _CODING)


def _fits(way: Alternative, start: str, release: Release) -> bool:
    try:
        _end(way, start, definitions(release))
    except WrongAddressError:
        return False
    return True


def _end(way: Alternative, start: str, known: Definitions) -> Element:
    """The element at the end of a way. Raises WrongAddressError."""
    if way.back:
        return _end_back(way, start, known)
    element = walk(way.steps, start, known)
    if way.then is None:
        if not element.primitive and element.type not in _QUANTITIES and element.type != _CODING:
            inner = known.children(element.children_path)
            hint = ", ".join(name for name, each in inner.items() if each.primitive and name != "id")
            raise WrongAddressError("FS372", f"a value: {hint or 'of one of its elements'}")
        return element
    if element.type != "Reference":
        raise WrongAddressError("FS372", "an element of the type Reference before `->`")
    if way.target not in known.resources:
        raise WrongAddressError("FS371", _near(known.suggest(way.target), known.resources))
    _require_target(element, way.target)
    if way.then.up:
        raise WrongAddressError("FS370", "no `^` after `->`")
    return _end(way.then, way.target, known)


def _end_back(way: Alternative, start: str, known: Definitions) -> Element:
    """The element at the end of a way over a reference to this resource. Raises WrongAddressError."""
    if way.target not in known.resources:
        raise WrongAddressError("FS371", _near(known.suggest(way.target), known.resources))
    element = walk(way.steps, way.target, known)
    if element.type != "Reference":
        raise WrongAddressError("FS372", f"an element of {way.target} of the type Reference before `<-`")
    _require_target(element, start)
    then = way.then
    if then is None or then.up or then.back or (way.shared and then.then is not None):
        raise WrongAddressError("FS370", "elements of the resource after `<-`, and no further arrow within one item")
    return _end(then, way.target, known)


def _require_target(element: Element, kind: str) -> None:
    if element.targets and kind not in element.targets and "Resource" not in element.targets:
        raise WrongAddressError("FS371", f"one of the types that it can refer to: {', '.join(element.targets)}")


def walk(steps: Iterable[Step], start: str, known: Definitions) -> Element:
    """The element at the end of a path, each filter checked. Raises WrongAddressError FS371."""
    place, found = start, None
    for step in steps:
        found = _child(step.name, place, known)
        place = "Element" if step.name.startswith("_") else found.children_path
        for each in step.filters:
            end = walk((Step(name) for name in each.path), place, known)
            if not end.primitive:
                raise WrongAddressError("FS372", "a primitive value to compare in brackets")
    if found is None:
        raise WrongAddressError("FS371", "the name of an element")
    return found


def _child(name: str, place: str, known: Definitions) -> Element:
    children = known.children(place)
    found = children.get(name.removeprefix("_"))
    if found is None or (name.startswith("_") and not found.primitive):
        choice = [each.name for each in children.values() if each.choice and each.choice.removesuffix("[x]") == name]
        raise WrongAddressError("FS371", _near(choice or known.suggest(name, place), children))
    return found


def _near(names: list[str], known: Iterable[str]) -> str:
    return " or ".join(names) if names else f"one of {listed(sorted(known))}"


def targets(alternatives: Iterable[Alternative]) -> Iterator[tuple[str, Alternative]]:
    """The types that alternatives follow references to, each with what is read there.

    Of a type whose references lead to a resource it is the way itself, with what is read of each of its resources.
    """
    for way in alternatives:
        if way.then is not None:
            if way.back:
                yield way.target, way
            if not way.shared:
                yield way.target, way.then
            yield from targets((way.then,))
