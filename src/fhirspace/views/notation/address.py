"""Addresses: where a column's value is in a resource, as a short text, and what they read.

An address is a path of element names, a small part of FHIRPath::

    code.coding[system=$loinc].code              only the items whose `system` is that text
    effectiveDateTime | effectivePeriod.start    the first alternative that has a value
    first name.family                            the first of several values; without `first` several are an error
    second name.family                           the second one, or `third` to `ninth`
    medicationReference -> Medication.code.text  an element of the resource that a reference names
    first result <- DiagnosticReport.id          an element of a resource whose reference leads to this one
    valueQuantity                                of a Quantity its comparator and value: <0.5
    code.coding                                  of a Coding its system and code: http://loinc.org|718-7
    ^effectiveDateTime                           in a view with `each:`, of the resource around the item

Where the paths before and after ``<-`` begin with the same element, its same item is meant: ``section.entry <-
Composition.section.title`` is the title of the section that has the entry.

Reading gives all values, in the order of the resource, each once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from fhirspace.json import number_text

_ALTERNATIVES: Final = re.compile(r"(?:[^|\[\]]|\[[^\[\]]*\])+")
_STEP: Final = re.compile(r"(?P<name>_?[A-Za-z][A-Za-z0-9]*)(?P<filters>(?:\[[^\[\]]*\])*)")
_FILTER: Final = re.compile(r"\s*(?P<path>_?[A-Za-z][A-Za-z0-9.]*)\s*=\s*(?P<value>'[^']*'|[^\s,\[\]']+)\s*")
_ORDINALS: Final = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth")
_ARROWS: Final = {"->": "-> Medication.code.text", "<-": "<- DiagnosticReport.id"}
_TARGET: Final = re.compile(r"(?P<type>[A-Z][A-Za-z]+)\.(?P<rest>.+)", re.DOTALL)


class AddressError(Exception):
    """A text that is no address. `expected` says what would fit."""

    def __init__(self, expected: str) -> None:
        self.expected = expected
        super().__init__(expected)


class ShapeError(Exception):
    """An element of a resource holds another kind of JSON than FHIR has there. `path` is its path."""

    def __init__(self, path: str) -> None:
        self.path = path
        super().__init__(path)


@dataclass(frozen=True, slots=True)
class Filter:
    """``[coding.system=X]``: an item is meant if any value at the path is the text."""

    path: tuple[str, ...]
    value: str

    def fits(self, item: Any) -> bool:
        """Whether an item is meant."""
        return self.value in texts(item, tuple(Step(name) for name in self.path))


@dataclass(frozen=True, slots=True)
class Step:
    """One element name, with the filters of its items."""

    name: str
    filters: tuple[Filter, ...] = ()


@dataclass(frozen=True, slots=True)
class Alternative:
    """One alternative of an address.

    Attributes:
        steps: the path in the resource or item, or with `up` in the resource around the item.
        nth: which of several values is meant, from 1; 0: the only one.
        quantity: it ends at a Quantity, of which the comparator and the value are read: ``<0.5``.
        coding: it ends at a Coding, of which the system and the code are read: ``system|code``.
        target: the type of the resource that the reference at the end of `steps` names, whose value `then` reads.
        back: the reference at the end of `steps` is one of `target`, and names this resource.
    """

    steps: tuple[Step, ...]
    up: bool = False
    nth: int = 0
    quantity: bool = False
    coding: bool = False
    target: str = ""
    then: Alternative | None = None
    back: bool = False

    def __str__(self) -> str:
        path = ".".join(step.name for step in self.steps)
        return f"{path} {'<-' if self.back else '->'} {self.target}.{self.then}" if self.then else path

    @property
    def shared(self) -> int:
        """The number of steps to the item that has both a reference to this resource and the value beside it."""
        if not self.back or self.then is None:
            return 0
        pairs = zip(self.steps[:-1], self.then.steps[:-1], strict=False)
        return next(
            (at for at, (one, other) in enumerate(pairs) if one != other),
            min(len(self.steps), len(self.then.steps)) - 1,
        )


@dataclass(frozen=True, slots=True)
class Address:
    """Where a value is: alternatives, of which the first with a value is read. `text` is as it was written."""

    text: str
    alternatives: tuple[Alternative, ...]


def address_of(text: str) -> Address:
    """An address as written, its constants filled in. ``-`` is the alternative that a release does not have.

    Raises:
        AddressError: it is none.
    """
    parts = _ALTERNATIVES.findall(text)
    if "|".join(parts) != text or not all(part.strip() for part in parts):
        raise AddressError("element names with dots between them, and `|` between alternatives")
    alternatives = tuple(_alternative(part.strip()) for part in parts if part.strip() != "-")
    if not alternatives:
        raise AddressError("at least one alternative that is not -")
    return Address(text, alternatives)


def _alternative(text: str) -> Alternative:
    word, _, rest = text.partition(" ")
    nth = _ORDINALS.index(word) + 1 if word in _ORDINALS and rest else 0
    text = rest.strip() if nth else text
    up, text = text.startswith("^"), text.removeprefix("^").strip()
    head, arrow, rest = _divided(text)
    if not arrow:
        return Alternative(_steps(head), up, nth)
    found = _TARGET.fullmatch(rest)
    if found is None:
        hint = f"the type of the resource and its elements after `{arrow}`, as in `{_ARROWS[arrow]}`"
        raise AddressError(hint)
    then = _alternative(found["rest"])
    return Alternative(_steps(head), up, nth, target=found["type"], then=then, back=arrow == "<-")


def _divided(text: str) -> tuple[str, str, str]:
    """What is before and after the first arrow outside of brackets."""
    level = 0
    for at, sign in enumerate(text):
        level += (sign == "[") - (sign == "]")
        if level == 0 and text.startswith(tuple(_ARROWS), at):
            return text[:at].strip(), text[at : at + 2], text[at + 2 :].strip()
    return text, "", ""


def _steps(text: str) -> tuple[Step, ...]:
    steps, at = list[Step](), 0
    while found := _STEP.match(text, at):
        steps.append(Step(found["name"], tuple(_filters(found["filters"]))))
        at = found.end()
        if at == len(text):
            return tuple(steps)
        if text[at] != ".":
            break
        at += 1
    raise AddressError("element names with dots between them, as in `code.coding[system=$loinc].code`")


def _filters(text: str) -> Iterator[Filter]:
    for group in text.strip("[]").split("][") if text else ():
        for part in _conditions(group):
            found = _FILTER.fullmatch(part)
            if found is None:
                raise AddressError("element=text in brackets, as in `[system=$loinc]`, blanks in quotes only")
            yield Filter(tuple(found["path"].split(".")), found["value"].strip("'"))


def _conditions(group: str) -> list[str]:
    """The conditions of one pair of brackets, with commas between them."""
    return re.findall(r"(?:[^,']|'[^']*')+", group) or [""]


def nodes(start: Any, steps: tuple[Step, ...]) -> list[Any]:
    """All values at the end of a path, in the order of the resource; what has no such element gives none."""
    found = [start]
    for step in steps:
        inner = list[Any]()
        for item in found:
            value = item.get(step.name) if isinstance(item, dict) else None
            each = value if isinstance(value, list) else () if value is None else (value,)
            inner += [one for one in each if all(part.fits(one) for part in step.filters)] if step.filters else each
        found = inner
    return [item for item in found if item is not None]


def texts(start: Any, steps: tuple[Step, ...]) -> list[str]:
    """The texts of the primitive values at the end of a path, each once; others are left out."""
    return list(dict.fromkeys(text for node in nodes(start, steps) if (text := text_of(node)) is not None))


def text_of(value: Any) -> str | None:
    """The text of a primitive value, numbers as they are spelt; None for an object or a list."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return number_text(value)


def reader(way: Alternative) -> Callable[[Any], list[str]]:
    """The function that reads a way in a parsed resource or item: its texts, of a reference the keys that it names.

    Of a way that means the second value, these are the second and those after it.

    The function raises ShapeError where there is an object or a list instead of a primitive value or a reference.
    """
    one = reference_text if way.then else _SPECIAL[way.quantity, way.coding]
    path = ".".join(step.name for step in way.steps)
    start_at = max(way.nth - 1, 0)

    def read(start: Any) -> list[str]:
        found = dict[str, None]()
        for node in nodes(start, way.steps):
            text = one(node)
            if text is None:
                raise ShapeError(path)
            found[text] = None
        return [text for text in found if text][start_at:]

    return read


def quantity_text(value: Any) -> str | None:
    """Comparator and value of a Quantity, ``<0.5``; "" without a value."""
    if not isinstance(value, dict):
        return None
    number, sign = value.get("value"), value.get("comparator", "")
    if number is None:
        return ""
    text = number_text(number)
    return f"{sign}{text}" if text is not None and isinstance(sign, str) else None


def coding_text(value: Any) -> str | None:
    """System and code of a Coding, ``http://loinc.org|718-7``; without a system the code alone, "" without a code."""
    if not isinstance(value, dict):
        return None
    system, code = value.get("system", ""), value.get("code", "")
    if not isinstance(system, str) or not isinstance(code, str):
        return None
    return f"{system}|{code}" if system and code else code


_SPECIAL: Final = {(False, False): text_of, (True, False): quantity_text, (False, True): coding_text}


def reference_text(value: Any) -> str | None:
    """What a Reference names: its literal reference, else ``Type?identifier=system|value``; "" if it names nothing."""
    if not isinstance(value, dict):
        return None
    literal, identifier = value.get("reference"), value.get("identifier")
    if literal is not None:
        return literal if isinstance(literal, str) else None
    if not isinstance(identifier, dict):
        return "" if identifier is None else None
    system, code = identifier.get("system", ""), identifier.get("value")
    return f"{value.get('type', '')}?identifier={system}|{code}" if code else ""
