"""The operators of FHIRPath on collections: equality, order, arithmetic, three-valued logic.

Source: FHIRPath 2.0, "Operations" (equality, comparison, math), "Boolean logic".
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Hashable, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from fhirspace.fhir.validation.invariants import moments
from fhirspace.fhir.validation.invariants.items import OPAQUE, Item, UndecidedError
from fhirspace.json import Number, number_text
from fhirspace.standards import ucum

Items = Sequence[Item]
TRUE: Final = (Item(True, "boolean"),)
FALSE: Final = (Item(False, "boolean"),)
EMPTY: Final = ()
_UCUM: Final = "http://unitsofmeasure.org"


def of(value: bool | None) -> Items:
    """A collection of a truth value; None is the empty one."""
    return EMPTY if value is None else TRUE if value else FALSE


def truth(items: Items) -> bool | None:
    """What a collection says as a condition: its one truth value, True for one other item, None for none.

    Raises:
        UndecidedError: several items, or one that is not looked at.
    """
    if not items:
        return None
    if len(items) > 1 or items[0].value is OPAQUE:
        raise UndecidedError
    value = items[0].value
    return value if type(value) is bool else True


def plain(item: Item) -> Any:
    """The value of an item to compare by: Decimal for numbers."""
    if item.value is OPAQUE or item.value is None:
        raise UndecidedError
    text = number_text(item.value)
    if text is None:
        return item.value
    try:
        return Decimal(text)
    except InvalidOperation:
        raise UndecidedError from None


def single(items: Items) -> Item | None:
    """The one item of a collection, None of an empty one. Raises UndecidedError for several."""
    if len(items) > 1:
        raise UndecidedError
    return items[0] if items else None


def text(items: Items) -> str | None:
    """The one text of a collection; None where there is none. Raises UndecidedError for several and other values."""
    found = single(items)
    if found is None or found.value is None:
        return None
    if not isinstance(found.value, str) or isinstance(found.value, Number):
        raise UndecidedError
    return str(found.value)


def same(left: Item, right: Item) -> bool | None:
    """Whether two items are equal; None where precisions of dates do not tell."""
    if left.value is OPAQUE or right.value is OPAQUE:
        raise UndecidedError
    if left.type in moments.KINDS and right.type in moments.KINDS and left.value and right.value:
        try:
            found = moments.compare(left.value, right.value)
        except ValueError:
            return bool(left.value == right.value)
        return None if found is None else found == 0
    one, two = _comparable(left.value), _comparable(right.value)
    return type(one) is type(two) and bool(one == two) and (one is not None or left.extra == right.extra)


def _comparable(value: Any) -> Any:
    """A value as it is compared: numbers by their size, whatever they are spelt like, anywhere in it."""
    if type(value) is dict:
        return {name: _comparable(inner) for name, inner in value.items()}
    if type(value) is list:
        return [_comparable(inner) for inner in value]
    found = number_text(value)
    try:
        return value if found is None else Decimal(found)
    except InvalidOperation:
        return found


def equal(left: Items, right: Items) -> bool | None:
    """``left = right``: item by item, in order."""
    if not left or not right:
        return None
    if len(left) != len(right):
        return False
    unknown = False
    for one, two in zip(left, right, strict=True):
        found = same(one, two)
        if found is False:
            return False
        unknown = unknown or found is None
    return None if unknown else True


def _key(item: Item) -> Hashable:
    """What is equal for equal items; None where that is not known (dates of different precision)."""
    return None if item.type in moments.KINDS else _frozen(_comparable(item.value))


def _frozen(value: Any) -> Hashable:
    if type(value) is dict:
        return frozenset((name, _frozen(inner)) for name, inner in value.items())
    if type(value) is list:
        return tuple(_frozen(inner) for inner in value)
    return type(value), value


def contains(items: Items, wanted: Item) -> bool:
    """Whether an item is in a collection."""
    return any(same(item, wanted) for item in items)


def within(items: Items) -> Callable[[Item], bool]:
    """A question about many items: whether each is in a collection, which is looked through once."""
    keys = {_key(item) for item in items}
    dated = [item for item in items if item.type in moments.KINDS]

    def inside(item: Item) -> bool:
        return contains(items if item.type in moments.KINDS else dated, item) or (_key(item) or ()) in keys

    return inside


def distinct(items: Items) -> list[Item]:
    """The items of a collection, each once, in order."""
    keys: set[Hashable] = set()
    found: list[Item] = []
    dated: list[Item] = []
    for item in items:
        key = _key(item)
        if key is None:
            if not contains(dated, item):
                dated.append(item)
                found.append(item)
        elif key not in keys:
            keys.add(key)
            found.append(item)
    return found


def compare(left: Items, right: Items) -> int | None:
    """-1, 0 or 1 as the one item of the first is less, equal or greater; None where it is not known."""
    one, two = single(left), single(right)
    if one is None or two is None:
        return None
    if one.type in moments.KINDS or two.type in moments.KINDS:
        try:
            return moments.compare(str(plain(one)), str(plain(two)))
        except ValueError:
            raise UndecidedError from None
    first, second = plain(one), plain(two)
    if type(first) is dict and type(second) is dict:
        return _quantities(first, second)
    if type(first) is not type(second) or not isinstance(first, str | Decimal):
        raise UndecidedError
    return -1 if first < second else 1 if first > second else 0


def _quantities(left: dict[str, Any], right: dict[str, Any]) -> int | None:
    """The order of two quantities of one unit, or of units of UCUM that measure the same."""
    try:
        first, second = (Decimal(number_text(each.get("value")) or "") for each in (left, right))
    except InvalidOperation:
        return None
    if _unit(left) != _unit(right):
        sizes = [ucum.size(_unit(each)[1]) if _unit(each)[0] == _UCUM else None for each in (left, right)]
        if sizes[0] is None or sizes[1] is None or sizes[0].dimensions != sizes[1].dimensions:
            return None
        ratio = sizes[0].factor / sizes[1].factor
        if sizes[0].offset or sizes[1].offset:
            return None
        first = first * ratio.numerator / ratio.denominator
    return -1 if first < second else 1 if first > second else 0


def _unit(quantity: dict[str, Any]) -> tuple[str, str]:
    """The system and code of a quantity's unit; its words where it has no code."""
    return (
        (str(quantity.get("system")), str(quantity["code"]))
        if "code" in quantity
        else ("", str(quantity.get("unit", "")))
    )


def concatenated(left: Items, right: Items) -> Items:
    """``left & right``: an empty one is an empty text."""
    return (Item((text(left) or "") + (text(right) or ""), "string"),)


def _added(left: Items, right: Items, sign: int) -> Items:
    one, two = single(left), single(right)
    if one is None or two is None:
        return EMPTY
    first, second = plain(one), plain(two)
    if isinstance(first, Decimal) and isinstance(second, Decimal):
        return (Item(first + sign * second, "decimal"),)
    if isinstance(first, str) and isinstance(second, str) and sign > 0:
        return (Item(first + second, "string"),)
    raise UndecidedError


def _scaled(left: Items, right: Items, calculate: Callable[[Decimal, Decimal], Decimal]) -> Items:
    """``left * right``, ``left / right``, ``div``, ``mod``: nothing where it would be a division by zero."""
    one, two = single(left), single(right)
    if one is None or two is None:
        return EMPTY
    first, second = plain(one), plain(two)
    if not isinstance(first, Decimal) or not isinstance(second, Decimal):
        raise UndecidedError
    if not second and calculate is not operator.mul:
        return EMPTY
    try:
        return (Item(calculate(first, second), "decimal"),)
    except ArithmeticError:
        raise UndecidedError from None


def _member(left: Items, right: Items) -> Items:
    wanted = single(left)
    return EMPTY if wanted is None else of(contains(right, wanted))


def _not(value: bool | None) -> bool | None:
    return None if value is None else not value


def _ordered(accept: Callable[[int], bool]) -> Callable[[Items, Items], Items]:
    def operator(left: Items, right: Items) -> Items:
        found = compare(left, right)
        return of(None if found is None else accept(found))

    return operator


def _alike(left: Items, right: Items) -> bool:
    """``left ~ right``: the same items in any order, texts whatever their case and blanks."""
    if len(left) != len(right):
        return False
    rest = [_folded(item) for item in right]
    for item in left:
        folded = _folded(item)
        if folded not in rest:
            return False
        rest.remove(folded)
    return True


def _folded(item: Item) -> Any:
    value = plain(item)
    return " ".join(value.casefold().split()) if isinstance(value, str) else value


OPERATORS: Final[dict[str, Callable[[Items, Items], Items]]] = {
    "=": lambda left, right: of(equal(left, right)),
    "!=": lambda left, right: of(_not(equal(left, right))),
    "~": lambda left, right: of(_alike(left, right)),
    "!~": lambda left, right: of(not _alike(left, right)),
    "<": _ordered(lambda found: found < 0),
    "<=": _ordered(lambda found: found <= 0),
    ">": _ordered(lambda found: found > 0),
    ">=": _ordered(lambda found: found >= 0),
    "in": _member,
    "contains": lambda left, right: _member(right, left),
    "|": lambda left, right: distinct([*left, *right]),
    "&": concatenated,
    "+": lambda left, right: _added(left, right, 1),
    "-": lambda left, right: _added(left, right, -1),
    "*": lambda left, right: _scaled(left, right, operator.mul),
    "/": lambda left, right: _scaled(left, right, operator.truediv),
    "div": lambda left, right: _scaled(left, right, operator.floordiv),  # Decimal's, which cuts off the fraction
    "mod": lambda left, right: _scaled(left, right, operator.mod),
}
"""The operators that need both sides; ``and``, ``or``, ``xor``, ``implies`` are in `compiler`."""
