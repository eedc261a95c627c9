"""From the tree of an expression to plain Python functions.

A compiled expression takes what it is about (``$this``) and the scope of the resource, and returns a collection.
Logic has three values; what cannot be decided (`UndecidedError`) is a fourth, which only passes where the other side
of an ``and``, ``or`` or ``implies`` does not decide alone. Source: FHIRPath 2.0, "Operations", "Functions".
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import cache
from typing import Final, Protocol

from fhirspace.fhir.validation.invariants import syntax
from fhirspace.fhir.validation.invariants.functions import FUNCTIONS
from fhirspace.fhir.validation.invariants.items import OPAQUE, Item, Model, UndecidedError
from fhirspace.fhir.validation.invariants.lexer import ExpressionError
from fhirspace.fhir.validation.invariants.logic import OPERATIONS, UNDECIDED, Logic, Truth
from fhirspace.fhir.validation.invariants.operators import (
    EMPTY,
    OPERATORS,
    Items,
    of,
    plain,
    same,
    single,
    truth,
)

UCUM: Final = "http://unitsofmeasure.org"
_CONSTANTS: Final = {"ucum": UCUM, "sct": "http://snomed.info/sct", "loinc": "http://loinc.org"}
_MOST_STEPS: Final = 100_000


class Scope(Protocol):
    """What an expression may ask about beyond its focus."""

    @property
    def model(self) -> Model:
        """The types of the release."""

    @property
    def resource(self) -> Item:
        """The resource around the focus (of a contained one: itself). Raises UndecidedError where it is not known."""

    @property
    def root(self) -> Item:
        """The resource that contains it. Raises UndecidedError where it is not known."""

    @property
    def context(self) -> Item:
        """The focus of the whole expression."""

    def spend(self, steps: int) -> None:
        """Count steps of the evaluation. Raises UndecidedError when there were too many."""

    def resolve(self, address: str) -> Item | None:
        """The resource that a reference leads to; None where it cannot be found (then nothing is decided)."""


Expression = Callable[[Items, Scope], Items]


@cache
def compiled(text: str) -> Expression:
    """The function of an expression.

    Raises:
        ExpressionError: it is no FHIRPath, or uses something that is not implemented here.
    """
    try:
        return compiled_tree(syntax.parse(text))
    except RecursionError:
        raise ExpressionError("too many operators one after the other") from None


def compiled_tree(tree: syntax.Tree) -> Expression:
    """The function of a tree. Raises as `compiled`, and RecursionError for one that is too deep."""
    return _compile(tree)


def _compile(tree: syntax.Tree) -> Expression:
    return _MAKERS[type(tree)](tree)


def _constant(items: Items) -> Expression:
    return lambda this, scope: items


def _literal(tree: syntax.Literal) -> Expression:
    return _constant(_items(tree))


def _items(tree: syntax.Literal) -> Items:
    if tree.kind == "empty":
        return EMPTY
    if tree.kind == "boolean":
        return of(tree.text == "true")
    if tree.kind == "number":
        return (Item(Decimal(tree.text), "decimal" if "." in tree.text else "integer"),)
    if tree.kind == "time":
        return (Item(tree.text[1:], "time" if tree.text[1] == "T" else "dateTime"),)
    return (Item(tree.text, "string"),)


def _variable(tree: syntax.Variable) -> Expression:
    if tree.sign == "$":
        if tree.name != "this":
            raise ExpressionError(f"${tree.name} is not implemented")
        return lambda this, scope: this
    if tree.name in _CONSTANTS:
        return _constant((Item(_CONSTANTS[tree.name], "uri"),))
    if tree.name == "resource":
        return lambda this, scope: (scope.resource,)
    if tree.name == "rootResource":
        return lambda this, scope: (scope.root,)
    if tree.name == "context":
        return lambda this, scope: (scope.context,)
    if tree.name == "extension":
        return _extension_of
    raise ExpressionError(f"%{tree.name} is not implemented")


def _extension_of(this: Items, scope: Scope) -> Items:
    """The extension that a condition on its use is about; the scope of no other expression has it."""
    found: Item | None = getattr(scope, "extension", None)
    if found is None:
        raise UndecidedError
    return (found,)


def _given(tree: syntax.Given) -> Expression:
    return lambda this, scope: tree.read(scope)


def _base(tree: syntax.Tree | None) -> Expression:
    return (lambda this, scope: this) if tree is None else _compile(tree)


def _member(tree: syntax.Member) -> Expression:
    base, name = _base(tree.base), tree.name

    def step(this: Items, scope: Scope) -> Items:
        found: list[Item] = []
        items = base(this, scope)
        scope.spend(len(items))
        for item in items:
            found.extend(scope.model.member(item, name))
        return found

    if tree.base is not None or not name[:1].isupper():
        return step

    def root(this: Items, scope: Scope) -> Items:
        """``Patient.name``: the type of what the expression is about, written before its elements."""
        return [item for item in this if scope.model.is_a(item, name)] if scope.model.known(name) else step(this, scope)

    return root


def _index(tree: syntax.Index) -> Expression:
    base, place = _compile(tree.base), _compile(tree.place)

    def at(this: Items, scope: Scope) -> Items:
        found = single(place(this, scope))
        if found is None:
            return EMPTY
        start = int(_number(found))
        return _looked_at(base(this, scope))[start : start + 1] if start >= 0 else EMPTY

    return at


def _type_test(tree: syntax.TypeTest) -> Expression:
    base, name = _compile(tree.base), tree.name
    if tree.operator == "is":

        def is_type(this: Items, scope: Scope) -> Items:
            """Nothing is of no type, as in HL7's validator: ras-2 of R4 needs it."""
            item = single(base(this, scope))
            return of(item is not None and scope.model.is_a(item, name))

        return is_type
    return lambda this, scope: [item for item in base(this, scope) if scope.model.is_a(item, name)]


def _operation(tree: syntax.Operation) -> Expression:
    if tree.left is None:
        return _signed(tree.operator, _compile(tree.right))
    left, right = _compile(tree.left), _compile(tree.right)
    if tree.operator in OPERATIONS:
        return _logic(OPERATIONS[tree.operator], left, right)
    operator = OPERATORS.get(tree.operator)
    if operator is None:
        raise ExpressionError(f"{tree.operator} is not implemented")
    return lambda this, scope: operator(_looked_at(left(this, scope)), _looked_at(right(this, scope)))


def _looked_at(items: Items) -> Items:
    """The same items. Raises UndecidedError where one is there but not looked at: how many there are is not known."""
    if any(item.value is OPAQUE for item in items):
        raise UndecidedError
    return items


def _signed(sign: str, operand: Expression) -> Expression:
    def negative(this: Items, scope: Scope) -> Items:
        item = single(operand(this, scope))
        if item is None:
            return EMPTY
        return (Item(-_number(item), item.type),)

    return operand if sign == "+" else negative


def _number(item: Item) -> Decimal:
    """The number of an item. Raises UndecidedError: it is none."""
    number = plain(item)
    if not isinstance(number, Decimal):
        raise UndecidedError
    return number


def _value(expression: Expression, this: Items, scope: Scope) -> Truth:
    try:
        return truth(expression(this, scope))
    except UndecidedError:
        return UNDECIDED


def _logic(rule: Logic, left: Expression, right: Expression) -> Expression:
    combine, decides = rule

    def operation(this: Items, scope: Scope) -> Items:
        first = _value(left, this, scope)
        if first is decides and decides is not None:
            return of(combine(first, None))
        return of(combine(first, _value(right, this, scope)))

    return operation


def _call(tree: syntax.Call) -> Expression:
    base = _base(tree.base)
    made = _CRITERIA.get(tree.name)
    if made is not None:
        return made(base, *map(_compile, tree.arguments))
    function = FUNCTIONS.get(tree.name)
    if function is None:
        raise ExpressionError(f"{tree.name}() is not implemented")
    arguments = [_compile(argument) for argument in tree.arguments]
    if tree.name in ("empty", "first"):
        return lambda this, scope: function(base(this, scope))
    return lambda this, scope: function(
        _looked_at(base(this, scope)), *(_looked_at(each(this, scope)) for each in arguments)
    )


def _exists(base: Expression, criterion: Expression | None = None) -> Expression:
    if criterion is None:
        return lambda this, scope: of(bool(base(this, scope)))
    held = _where(base, criterion)
    return lambda this, scope: of(bool(held(this, scope)))


def _where(base: Expression, criterion: Expression) -> Expression:
    return lambda this, scope: [item for item in base(this, scope) if truth(criterion((item,), scope)) is True]


def _all(base: Expression, criterion: Expression) -> Expression:
    return lambda this, scope: of(all(truth(criterion((item,), scope)) is True for item in base(this, scope)))


def _select(base: Expression, projection: Expression) -> Expression:
    return lambda this, scope: [found for item in base(this, scope) for found in projection((item,), scope)]


def _repeat(base: Expression, projection: Expression) -> Expression:
    def repeat(this: Items, scope: Scope) -> Items:
        found: list[Item] = []
        left = list(base(this, scope))
        while left:
            for item in projection((left.pop(0),), scope):
                if len(found) > _MOST_STEPS:
                    raise UndecidedError
                found.append(item)
                left.append(item)
        return found

    return repeat


def _iif(base: Expression, criterion: Expression, then: Expression, otherwise: Expression | None = None) -> Expression:
    def choose(this: Items, scope: Scope) -> Items:
        focus = base(this, scope)
        if truth(criterion(focus, scope)) is True:
            return then(focus, scope)
        return otherwise(focus, scope) if otherwise else EMPTY

    return choose


def _trace(base: Expression, *_: Expression) -> Expression:
    return base


def _count(base: Expression) -> Expression:
    def count(this: Items, scope: Scope) -> Items:
        return (Item(Decimal(len(_looked_at(base(this, scope)))), "integer"),)

    return count


def _children(base: Expression) -> Expression:
    return lambda this, scope: [found for item in base(this, scope) for found in scope.model.children(item)]


def _descendants(base: Expression) -> Expression:
    def descendants(this: Items, scope: Scope) -> Items:
        found = [inner for item in base(this, scope) for inner in scope.model.descendants(item)]
        scope.spend(len(found))
        return found

    return descendants


def _extension(base: Expression, address: Expression) -> Expression:
    def extension(this: Items, scope: Scope) -> Items:
        wanted = single(address(this, scope))
        parts = [part for item in base(this, scope) for part in scope.model.member(item, "extension")]
        if wanted is None:
            return EMPTY
        return [part for part in parts if any(same(url, wanted) for url in scope.model.member(part, "url"))]

    return extension


def _resolve(base: Expression) -> Expression:
    def resolve(this: Items, scope: Scope) -> Items:
        found: list[Item] = []
        for item in _looked_at(base(this, scope)):
            address = item.value.get("reference") if type(item.value) is dict else item.value
            if type(address) is not str:
                continue  # a reference by identifier or by words alone leads nowhere
            target = scope.resolve(address)
            if target is None:
                raise UndecidedError
            found.append(target)
        return found

    return resolve


def _undecided(base: Expression, *_: Expression) -> Expression:
    def nothing(this: Items, scope: Scope) -> Items:
        if base(this, scope):
            raise UndecidedError
        return EMPTY

    return nothing


_CRITERIA: Final[dict[str, Callable[..., Expression]]] = {
    "exists": _exists,
    "where": _where,
    "all": _all,
    "select": _select,
    "repeat": _repeat,
    "iif": _iif,
    "trace": _trace,
    "count": _count,
    "children": _children,
    "descendants": _descendants,
    "extension": _extension,
    "resolve": _resolve,
    "memberOf": _undecided,
    "conformsTo": _undecided,
}
"""Functions that look at their arguments item by item, or at the scope."""
_MAKERS: Final[dict[type[syntax.Tree], Callable[..., Expression]]] = {
    syntax.Literal: _literal,
    syntax.Variable: _variable,
    syntax.Member: _member,
    syntax.Index: _index,
    syntax.Operation: _operation,
    syntax.TypeTest: _type_test,
    syntax.Call: _call,
    syntax.Given: _given,
}
