"""The functions of FHIRPath that take values: texts, sets, numbers, bounds. Those that take criteria: `compiler`.

Source: FHIRPath 2.0, "Functions"; FHIR, "FHIRPath" (additional functions).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Final

from fhirspace.fhir.references import parsed
from fhirspace.fhir.validation.invariants import moments
from fhirspace.fhir.validation.invariants.items import Item, UndecidedError
from fhirspace.fhir.validation.invariants.operators import (
    EMPTY,
    FALSE,
    TRUE,
    Items,
    compare,
    distinct,
    of,
    plain,
    single,
    text,
    truth,
    within,
)
from fhirspace.fhir.validation.invariants.patterns import Pattern, compiled
from fhirspace.json import number_text

Function = Callable[..., Items]
_LONGEST: Final = 10_000
"""Letters of a text that a regular expression is tried on: some expressions of HL7 take quadratic time."""


def _tried(items: Items, expression: Items) -> tuple[str, Pattern] | None:
    subject, pattern = text(items), text(expression)
    if subject is None or pattern is None:
        return None
    if len(subject) > _LONGEST:
        raise UndecidedError
    return subject, compiled(pattern)


def _matches(items: Items, expression: Items) -> Items:
    """HL7's validator takes the whole text in R4 and a part of it in R5; whole-text patterns mean the same in both."""
    tried = _tried(items, expression)
    return EMPTY if tried is None else of(tried[1].is_all_of(tried[0]))


def _replaced(items: Items, expression: Items, substitution: Items) -> Items:
    tried, new = _tried(items, expression), text(substitution)
    if tried is None or new is None:
        return EMPTY
    return (Item(tried[1].replaced(tried[0], new), "string"),)


def _of_text(test: Callable[[str, str], bool]) -> Function:
    """A question about a text: no, where there is none, as in HL7's validator (bdl-8 and ref-1 of R4 need it)."""

    def function(items: Items, argument: Items) -> Items:
        subject, other = text(items), text(argument)
        return EMPTY if other is None else of(subject is not None and test(subject, other))

    return function


def _changed(change: Callable[[str], str]) -> Function:
    def function(items: Items) -> Items:
        subject = text(items)
        return EMPTY if subject is None else (Item(change(subject), "string"),)

    return function


def _whole(items: Items) -> int | None:
    found = single(items)
    number = None if found is None else plain(found)
    if number is not None and not isinstance(number, Decimal):
        raise UndecidedError
    return None if number is None else int(number)


def _substring(items: Items, start: Items, length: Items = EMPTY) -> Items:
    subject, first, count = text(items), _whole(start), _whole(length)
    if subject is None or first is None or not 0 <= first < len(subject):
        return EMPTY
    return (Item(subject[first:] if count is None else subject[first : first + max(count, 0)], "string"),)


def _join(items: Items, separator: Items = EMPTY) -> Items:
    parts = [text((item,)) for item in items]
    return (Item((text(separator) or "").join(part for part in parts if part is not None), "string"),)


def _resource_key(items: Items) -> Items:
    """``getResourceKey()`` of SQL on FHIR: the id of a resource."""
    found = single(items)
    name = found.value.get("id") if found is not None and type(found.value) is dict else None
    return (Item(name, "string"),) if isinstance(name, str) else EMPTY


def _reference_key(items: Items, kind: Items = EMPTY) -> Items:
    """``getReferenceKey(Type)`` of SQL on FHIR: the id in a literal reference, if it is one to a resource of the type.

    The type comes as a text.
    """
    found = single(items)
    literal = found.value.get("reference") if found is not None and type(found.value) is dict else None
    named = parsed(literal) if isinstance(literal, str) else None
    if named is None or not named.id or text(kind) not in (None, named.type):
        return EMPTY
    return (Item(named.id, "string"),)


def _length(items: Items) -> Items:
    subject = text(items)
    return EMPTY if subject is None else (Item(Decimal(len(subject)), "integer"),)


def _to_string(items: Items) -> Items:
    found = single(items)
    if found is None or found.value is None:
        return EMPTY
    if type(found.value) is bool:
        return (Item(str(found.value).lower(), "string"),)
    if type(found.value) is dict:
        raise UndecidedError
    return (Item(number_text(found.value) or str(found.value), "string"),)


def _to_integer(items: Items) -> Items:
    found = single(items)
    if found is None or found.value is None:
        return EMPTY
    value = plain(found)
    digits = str(value)
    return (Item(Decimal(digits), "integer"),) if re.fullmatch(r"[+-]?[0-9]{1,18}", digits, re.ASCII) else EMPTY


def _has_value(items: Items) -> Items:
    return of(len(items) == 1 and items[0].value is not None and type(items[0].value) is not dict)


def _intersect(items: Items, other: Items) -> Items:
    return list(filter(within(other), distinct(items)))


def _exclude(items: Items, other: Items) -> Items:
    inside = within(other)
    return [item for item in items if not inside(item)]


def _boundary(items: Items, *, high: bool) -> Items:
    found = single(items)
    if found is None or found.value is None:
        return EMPTY
    if found.type in moments.KINDS:
        try:
            return (Item(moments.boundary(str(found.value), high=high), found.type),)
        except ValueError:
            raise UndecidedError from None
    value = found.value
    number = value.get("value") if type(value) is dict else value
    spelt = number_text(number)
    try:
        exact = Decimal(spelt or "")
    except InvalidOperation:
        if type(value) is dict and number is None:
            return EMPTY
        raise UndecidedError from None
    exponent = exact.as_tuple().exponent
    half = Decimal(5).scaleb((exponent if isinstance(exponent, int) else 0) - 1)
    moved = exact + half if high else exact - half
    return (Item({**value, "value": moved} if type(value) is dict else moved, found.type),)


def _comparable(items: Items, other: Items) -> Items:
    try:
        return of(compare(items, other) is not None) if items and other else EMPTY
    except UndecidedError:
        return FALSE


def _all_are(wanted: bool) -> Function:
    return lambda items: of(all(truth((item,)) is wanted for item in items))


def _any_is(wanted: bool) -> Function:
    return lambda items: of(any(truth((item,)) is wanted for item in items))


def _negated(items: Items) -> Items:
    value = truth(items)
    return EMPTY if value is None else of(not value)


FUNCTIONS: Final[dict[str, Function]] = {
    "empty": lambda items: of(not items),
    "not": _negated,
    "hasValue": _has_value,
    "getValue": lambda items: items if truth(_has_value(items)) else EMPTY,
    "first": lambda items: items[:1],
    "last": lambda items: items[-1:],
    "tail": lambda items: items[1:],
    "single": lambda items: () if single(items) is None else items,
    "distinct": distinct,
    "isDistinct": lambda items: of(len(distinct(items)) == len(items)),
    "allTrue": _all_are(True),
    "allFalse": _all_are(False),
    "anyTrue": _any_is(True),
    "anyFalse": _any_is(False),
    "combine": lambda items, other: [*items, *other],
    "union": lambda items, other: distinct([*items, *other]),
    "intersect": _intersect,
    "exclude": _exclude,
    "subsetOf": lambda items, other: of(all(map(within(other), items))),
    "supersetOf": lambda items, other: of(all(map(within(items), other))),
    "startsWith": _of_text(str.startswith),
    "endsWith": _of_text(str.endswith),
    "contains": _of_text(lambda whole, part: part in whole),
    "matches": _matches,
    "replaceMatches": _replaced,
    "substring": _substring,
    "length": _length,
    "join": _join,
    "getResourceKey": _resource_key,
    "getReferenceKey": _reference_key,
    "upper": _changed(str.upper),
    "lower": _changed(str.lower),
    "trim": _changed(str.strip),
    "toString": _to_string,
    "toInteger": _to_integer,
    "lowBoundary": lambda items: _boundary(items, high=False),
    "highBoundary": lambda items: _boundary(items, high=True),
    "comparable": _comparable,
    "htmlChecks": lambda items: TRUE,  # the narrative has a check of its own: values.narrative
}
"""The functions by name: the collection that they are called on, then their arguments as collections."""
