"""The tree of a FHIRPath expression. Source: FHIRPath 2.0, "Grammar", "Operator Precedence"."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from fhirspace.fhir.validation.invariants.lexer import ExpressionError, Token, tokens

_DEEPEST: Final = 60
_LEVELS: Final = (
    frozenset({"implies"}),
    frozenset({"or", "xor"}),
    frozenset({"and"}),
    frozenset({"in", "contains"}),
    frozenset({"=", "~", "!=", "!~"}),
    frozenset({"<", ">", "<=", ">="}),
    frozenset({"|"}),
    frozenset({"is", "as"}),
    frozenset({"+", "-", "&"}),
    frozenset({"*", "/", "div", "mod"}),
)
_WORDS: Final = frozenset().union(*_LEVELS)


@dataclass(frozen=True, slots=True)
class Literal:
    """A constant: its text and kind (``string``, ``number``, ``boolean``, ``time``, ``empty`` for ``{}``)."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Variable:
    """``%resource``, ``$this``: the name without its sign, and which sign it has."""

    name: str
    sign: str


@dataclass(frozen=True, slots=True)
class Member:
    """A name after a dot, or at the beginning (`base` None: of what the expression is about)."""

    base: Tree | None
    name: str


@dataclass(frozen=True, slots=True)
class Call:
    """A function, of `base` or of what the expression is about."""

    base: Tree | None
    name: str
    arguments: tuple[Tree, ...]


@dataclass(frozen=True, slots=True)
class Index:
    """``base[place]``."""

    base: Tree
    place: Tree


@dataclass(frozen=True, slots=True)
class Operation:
    """An operator between two expressions; `left` None for a sign before one."""

    operator: str
    left: Tree | None
    right: Tree


@dataclass(frozen=True, slots=True)
class TypeTest:
    """``base is type``, ``base as type``."""

    operator: str
    base: Tree
    name: str


@dataclass(frozen=True, slots=True)
class Given:
    """What the caller supplies instead of a variable: `read` gives its items, from the scope of the evaluation.

    No text has it; whoever has variables of his own puts it into the tree.
    """

    read: Callable[[Any], Sequence[Any]]


Tree = Literal | Variable | Member | Call | Index | Operation | TypeTest | Given


def parse(expression: str) -> Tree:
    """The tree of an expression.

    Raises:
        ExpressionError: it is no FHIRPath, or nested too deeply.
    """
    parser = _Parser(list(tokens(expression)))
    tree = parser.level(0)
    parser.expect("end", "")
    return tree


class _Parser:
    """One parse: the words, and the place of the next one."""

    def __init__(self, words: list[Token]) -> None:
        self._words = words
        self._at = 0
        self._depth = 0

    @property
    def _next(self) -> Token:
        return self._words[self._at]

    def _take(self) -> Token:
        found = self._words[self._at]
        self._at += 1
        return found

    def expect(self, kind: str, text: str) -> None:
        """Take a word of this kind and text. Raises ExpressionError when another one comes."""
        if self._next != (kind, text):
            raise ExpressionError(f"expected {text or kind}, word {self._at + 1}")
        self._at += 1

    def _sign(self, text: str) -> bool:
        """Whether the next word is a sign; it is taken then."""
        if self._next == ("sign", text):
            self._at += 1
            return True
        return False

    def level(self, level: int) -> Tree:
        """An expression of operators of a level of precedence, and of higher ones."""
        if level == len(_LEVELS):
            return self._signed()
        left = self.level(level + 1)
        while self._next.kind in ("sign", "name") and self._next.text in _LEVELS[level]:
            operator = self._take().text
            if operator in ("is", "as"):
                left = TypeTest(operator, left, self._type())
            else:
                left = Operation(operator, left, self.level(level + 1))
        return left

    def _signed(self) -> Tree:
        if self._next.kind == "sign" and self._next.text in "+-":
            return Operation(self._take().text, None, self._signed())
        return self._steps(self._term())

    def _steps(self, base: Tree) -> Tree:
        while True:
            if self._sign("."):
                base = self._invocation(base)
            elif self._sign("["):
                base = Index(base, self._nested("]"))
            else:
                return base

    def _nested(self, end: str) -> Tree:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise ExpressionError(f"more than {_DEEPEST} brackets in each other")
        found = self.level(0)
        self._depth -= 1
        self.expect("sign", end)
        return found

    def _term(self) -> Tree:
        kind, text = self._next
        if self._sign("("):
            return self._nested(")")
        if self._sign("{"):
            self.expect("sign", "}")
            return Literal("empty", "")
        if kind in ("string", "number", "time"):
            return self._quantity(Literal(kind, self._take().text))
        if kind == "variable":
            return Variable(self._take().text, "%")
        if kind == "name" and text in ("true", "false"):
            return Literal("boolean", self._take().text)
        return self._invocation(None)

    def _quantity(self, number: Literal) -> Tree:
        if number.kind == "number" and self._next.kind == "string":
            raise ExpressionError("quantities are not implemented")
        return number

    def _invocation(self, base: Tree | None) -> Tree:
        kind, text = self._take()
        if kind == "special" and base is None:
            return Variable(text[1:], "$")
        if kind != "name":
            raise ExpressionError(f"expected a name, word {self._at}")
        if not self._sign("("):
            return Member(base, text)
        if text in ("is", "as", "ofType"):
            found = TypeTest(text, base or Variable("this", "$"), self._type())
            self.expect("sign", ")")
            return found
        return Call(base, text, self._arguments())

    def _arguments(self) -> tuple[Tree, ...]:
        if self._sign(")"):
            return ()
        found = []
        self._depth += 1
        if self._depth > _DEEPEST:
            raise ExpressionError(f"more than {_DEEPEST} brackets in each other")
        while True:
            found.append(self.level(0))
            if not self._sign(","):
                break
        self._depth -= 1
        self.expect("sign", ")")
        return tuple(found)

    def _type(self) -> str:
        """The name of a type, without ``FHIR.`` or with ``System.``."""
        name = self._take()
        if name.kind != "name":
            raise ExpressionError("expected a type")
        if name.text in ("FHIR", "System") and self._sign("."):
            return ("System." if name.text == "System" else "") + self._take().text
        return name.text
