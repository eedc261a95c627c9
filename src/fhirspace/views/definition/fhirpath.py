"""Addresses and conditions of views as FHIRPath, for ViewDefinitions that are made of views."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Final

from fhirspace.foreign import counted
from fhirspace.standards.fhir import Definitions, Element
from fhirspace.template.slots import Cond
from fhirspace.views.notation.address import Address, Alternative, Filter, Step
from fhirspace.views.notation.model import View

_MOST: Final = 500
"""Codes of a list that a condition spells out."""
_QUANTITY: Final = ".where(value.exists()).select(comparator & value.toString())"
_CODING: Final = ".where(code.exists()).select(iif(system.exists(), system + '|' + code, code))"
_SIMPLE: Final = "SimpleQuantity"
"""A Quantity without comparator."""
_TEXTS: Final = frozenset({"string", "code", "uri", "url", "canonical", "id", "markdown", "oid", "uuid"})


class NoFhirPathError(Exception):
    """FHIRPath cannot say it; the message says why."""


class AbsentError(NoFhirPathError):
    """An element that is not there: an item has it, and a resource without items does not."""


def quoted(text: str) -> str:
    """A text as a literal of FHIRPath."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def path(steps: Iterable[Step], start: str, known: Definitions) -> tuple[str, Element | None]:
    """A path of element names from a type on, and the element at its end: choices by their types.

    Raises:
        AbsentError: there is no such element.
    """
    parts, place, element = list[str](), start, None
    for step in steps:
        element = known.children(place).get(step.name.removeprefix("_"))
        if element is None:
            raise AbsentError(f"{place} has no {step.name}")
        place = "Element" if step.name.startswith("_") else element.children_path
        choice = f"{element.choice.removesuffix('[x]')}.ofType({element.type})" if element.choice else ""
        parts.append(choice or element.name)
        parts += [_filter(each, place, known) for each in step.filters]
    return ".".join(parts), element


def _filter(each: Filter, place: str, known: Definitions) -> str:
    inner, element = path((Step(name) for name in each.path), place, known)
    kind = element.type if element is not None else ""
    if len(each.path) == 1 and kind in _TEXTS and element is not None and not element.is_list:
        return f"where({inner} = {quoted(each.value)})"
    return f"where({inner}.where({one_of([each.value], kind)}).exists())"


def value(address: Address, view: View, known: Definitions, *, item: bool) -> tuple[str, str]:
    """The value of an address, and its type: the first alternative that has one.

    Args:
        address: of the view. item: it is read in an item of ``each:``, not in the resource.

    Raises:
        NoFhirPathError: every alternative follows a reference. AbsentError: none is an element of the resource.
    """
    plain = [way for way in address.alternatives if way.then is None]
    if address.alternatives and not plain:
        raise NoFhirPathError("it follows a reference")
    made = list[tuple[str, str]]()
    for way in plain:
        with suppress(AbsentError):
            made.append(alternative(way, view, known, item=item))
    if not made:
        raise AbsentError(f"{view.of} has no {address.text}")
    text = made[-1][0]
    for each, _ in made[-2::-1]:
        text = f"iif({each}.exists(), {each}, {text})"
    kinds = {kind for _, kind in made}
    return text, kinds.pop() if len(kinds) == 1 else "string"


def alternative(way: Alternative, view: View, known: Definitions, *, item: bool) -> tuple[str, str]:
    """One alternative and its type. Raises AbsentError; nothing else for one that follows no reference."""
    inside = item and not way.up
    text, element = path(way.steps, f"{view.of}.{view.each}" if inside else view.of, known)
    text = f"%resource.{text}" if item and way.up else text
    if way.quantity and element is not None:
        text += ".value" if element.children_path == _SIMPLE else _QUANTITY
    nth = {0: "", 1: ".first()"}.get(way.nth, f"[{way.nth - 1}]")
    text += _CODING if way.coding else ""
    return text + nth, "string" if way.quantity or way.coding or element is None else element.type


def condition(cond: Cond, view: View, known: Definitions, *, item: bool) -> str:
    """A condition of a view. What reads resources that refer to this one is false: a definition sees one at a time.

    Raises:
        NoFhirPathError: it is on a computed column or on a reference, or its code list is long.
    """
    if cond.op in ("and", "or"):
        parts = [condition(each, view, known, item=item) for each in cond.args]
        return f"({f' {cond.op} '.join(parts)})" if parts else "false"
    if cond.op == "not":
        return f"({condition(cond.args[0], view, known, item=item)}).not()"
    found: Mapping[str, object] = {**view.addresses, **view.columns}
    address = found[cond.column]
    if not isinstance(address, Address):
        raise NoFhirPathError(f"it looks at {cond.column}, which is computed")
    if any(way.then and not way.back for way in address.alternatives):
        raise NoFhirPathError(f"{cond.column} follows a reference")
    try:
        text, kind = value(address, view, known, item=item)
    except NoFhirPathError:
        return "false"
    if cond.op == "filled":
        return f"{text}.exists()"
    if len(cond.values) > _MOST:
        raise NoFhirPathError(f"its code list has {counted(len(cond.values), 'code')}")
    return f"{text}.where({one_of(cond.values, kind)}).exists()" if cond.values else "false"


def one_of(values: Iterable[str], kind: str = "code") -> str:
    """Whether an item is one of some texts."""
    this = "$this" if kind in _TEXTS else "$this.toString()"
    return " or ".join(f"{this} = {quoted(each)}" for each in sorted(values))
