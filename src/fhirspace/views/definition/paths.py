"""The FHIRPath of a ViewDefinition: constants filled in, names checked against HL7's definitions, then compiled.

Source: SQL on FHIR 2, "ViewDefinition" (FHIRPath subset); FHIRPath 2.0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from fhirspace.fhir.validation.invariants import syntax
from fhirspace.fhir.validation.invariants.compiler import compiled_tree
from fhirspace.fhir.validation.invariants.items import Item, Model
from fhirspace.fhir.validation.invariants.lexer import ExpressionError
from fhirspace.foreign import listed
from fhirspace.standards.fhir import Definitions
from fhirspace.views.definition.model import Path, together

Types = frozenset[str] | None
"""The types that the items of a path can have; None: not known."""
INDEX: Final = "rowIndex"
_KNOWN: Final = ("resource", "ucum", "sct", "loinc")
_UNSUPPORTED: Final = ("resolve", "memberOf", "conformsTo", "trace", "htmlChecks", "children", "descendants")
_OF_ITEMS: Final = frozenset({"where", "exists", "all", "select", "repeat", "iif"})
"""Functions whose arguments begin at the items that they are called on."""
_SAME: Final = frozenset(
    {"where", "first", "last", "tail", "single", "distinct", "exclude", "intersect", "lowBoundary", "highBoundary"}
)
"""Functions that give items of the types that they are called on."""
_TRUTHS: Final = frozenset(
    {"exists", "all", "empty", "not", "hasValue", "isDistinct", "allTrue", "allFalse", "anyTrue", "anyFalse"}
    | {"subsetOf", "supersetOf", "startsWith", "endsWith", "contains", "matches", "comparable"}
)
_TEXTS: Final = frozenset({"join", "substring", "upper", "lower", "trim", "toString", "replaceMatches"})
_OPERATORS: Final = frozenset({"=", "!=", "~", "!~", "<", "<=", ">", ">=", "and", "or", "xor", "implies", "in"})
_BOOLEAN: Final = frozenset({"boolean"})
_LITERALS: Final = {"string": "string", "boolean": "boolean", "number": "decimal"}
_OPEN: Final = frozenset({"Resource", "DomainResource", "Element"})
"""Types of which what is in them is not known."""


class PathError(Exception):
    """A path that cannot be used. `expected` says what would fit."""

    def __init__(self, expected: str) -> None:
        self.expected = expected
        super().__init__(expected)


@dataclass(frozen=True, slots=True)
class Paths:
    """Makes the paths of a definition.

    Attributes:
        resource: the type that it is about. constants: their items by name. known, model: HL7's definitions.
    """

    resource: str
    constants: Mapping[str, Item]
    known: Definitions
    model: Model

    def path(self, text: str, focus: Types, *, inside: bool) -> tuple[Path, Types]:
        """A path that begins at items of some types, and the types that its items can have.

        Args:
            text: as written. focus: the types of what it begins at. inside: this is an item, not the resource.

        Raises:
            PathError: it is no FHIRPath, uses what is not supported, or names an element that does not exist.
        """
        try:
            tree = self._filled(syntax.parse(text))
            types = self._types(tree, focus)
            return Path(text, compiled_tree(tree), self._elements(tree, top=not inside)), types
        except ExpressionError as error:
            raise PathError(f"FHIRPath that fhirspace knows: {error}") from None
        except RecursionError:
            raise PathError("a shorter path") from None

    def _filled(self, tree: syntax.Tree) -> syntax.Tree:
        """The tree with constants and variables in their places."""
        if isinstance(tree, syntax.Variable):
            return self._variable(tree)
        if isinstance(tree, syntax.Member | syntax.TypeTest):
            return replace(tree, base=None if tree.base is None else self._filled(tree.base))  # type: ignore[arg-type]
        if isinstance(tree, syntax.Index):
            return syntax.Index(self._filled(tree.base), self._filled(tree.place))
        if isinstance(tree, syntax.Operation):
            left = None if tree.left is None else self._filled(tree.left)
            return syntax.Operation(tree.operator, left, self._filled(tree.right))
        if isinstance(tree, syntax.Call):
            return self._called(tree)
        return tree

    def _variable(self, tree: syntax.Variable) -> syntax.Tree:
        if tree.sign == "$" or tree.name in _KNOWN:
            return tree
        if tree.name == INDEX:
            return syntax.Given(lambda scope: (scope.index,))
        found = self.constants.get(tree.name)
        if found is None:
            raise PathError(f"a constant of the definition ({listed(sorted(self.constants)) or 'it has none'})")
        return syntax.Given(lambda scope: (found,))

    def _called(self, tree: syntax.Call) -> syntax.Tree:
        if tree.name in _UNSUPPORTED:
            raise PathError(f"no {tree.name}(), which is not supported")
        base = None if tree.base is None else self._filled(tree.base)
        if tree.name == "getReferenceKey" and tree.arguments:
            kind = tree.arguments[0]
            if not isinstance(kind, syntax.Member) or kind.base is not None or len(tree.arguments) > 1:
                raise PathError("the name of a resource type in getReferenceKey()")
            return syntax.Call(base, tree.name, (syntax.Literal("string", kind.name),))
        return syntax.Call(base, tree.name, tuple(map(self._filled, tree.arguments)))

    def _types(self, tree: syntax.Tree | None, focus: Types) -> Types:
        """The types of the items of a tree, every name in it checked."""
        made: Mapping[type[Any], Callable[[Any, Types], Types]] = {
            syntax.Variable: self._named_by,
            syntax.Literal: lambda literal, _: frozenset({_LITERALS.get(literal.kind, "")} - {""}) or None,
            syntax.Member: self._member,
            syntax.TypeTest: self._tested,
            syntax.Index: self._indexed,
            syntax.Operation: self._operated,
            syntax.Call: self._call,
            syntax.Given: lambda *_: None,
        }
        return focus if tree is None else made[type(tree)](tree, focus)

    def _named_by(self, tree: syntax.Variable, focus: Types) -> Types:
        if tree.sign == "$":
            return focus
        return frozenset({self.resource}) if tree.name == "resource" else frozenset({"uri"})

    def _indexed(self, tree: syntax.Index, focus: Types) -> Types:
        self._types(tree.place, focus)
        return self._types(tree.base, focus)

    def _tested(self, tree: syntax.TypeTest, focus: Types) -> Types:
        base = self._types(tree.base, focus)
        if tree.operator == "is":
            return _BOOLEAN
        name = tree.name.removeprefix("System.")
        if name[:1].islower() and base is not None and base & self.known.primitives == base and name not in base:
            return base  # a type that it is derived from
        return frozenset({name}) if self.model.known(name) else None

    def _operated(self, tree: syntax.Operation, focus: Types) -> Types:
        left = self._types(tree.left, focus) if tree.left is not None else None
        right = self._types(tree.right, focus)
        if tree.operator in _OPERATORS:
            return _BOOLEAN
        if tree.operator == "&":
            return frozenset({"string"})
        return left | right if tree.operator == "|" and left is not None and right is not None else None

    def _call(self, tree: syntax.Call, focus: Types) -> Types:
        base = self._types(tree.base, focus)
        inner = [self._types(each, base if tree.name in _OF_ITEMS else focus) for each in tree.arguments]
        if tree.name in _SAME:
            return base
        if tree.name in _TRUTHS:
            return _BOOLEAN
        if tree.name in _TEXTS or tree.name.startswith("get"):
            return frozenset({"string"})
        if tree.name == "extension":
            return frozenset({"Extension"})
        return inner[0] if tree.name == "select" and inner else None

    def _member(self, tree: syntax.Member, focus: Types) -> Types:
        base = self._types(tree.base, focus)
        if tree.base is None and tree.name[:1].isupper() and self.model.known(tree.name):
            return frozenset({tree.name})
        if base is None or base & _OPEN:
            return None
        found = {step.type for kind in base for step in self.model.steps(kind).get(tree.name, ())}
        if found:
            return None if "Resource" in found else frozenset(found)
        if base <= self.known.primitives:
            if tree.name == "value":
                return base
            raise PathError(f"nothing after a value of the type {listed(sorted(base))}")
        names = {name for kind in base for name in self.model.steps(kind)}
        raise PathError(self._near(tree.name, base, names))

    def _near(self, name: str, base: Iterable[str], names: Iterable[str]) -> str:
        """What could be meant by a name that the types do not have."""
        for kind in base:
            element = self.known.children(kind).get(name)
            if element is not None and element.choice:
                return f"{element.choice.removesuffix('[x]')}.ofType({element.type})"
        near = [each for kind in base for each in self.known.suggest(name, kind)]
        return " or ".join(dict.fromkeys(near)) or f"one of {listed(sorted(names))}"

    def _elements(self, tree: syntax.Tree | None, *, top: bool) -> frozenset[str] | None:
        """The elements of the resource that a tree looks at; `top`: it begins at the resource."""
        if tree is None or isinstance(tree, syntax.Variable):
            whole = top if tree is None or tree.sign == "$" else tree.name == "resource"
            return None if whole else frozenset()
        if isinstance(tree, syntax.Member):
            return self._named(tree, top=top)
        if isinstance(tree, syntax.Call):
            return self._arguments(tree, top=top)
        parts = _parts(tree)
        return together([self._elements(each, top=top) for each in parts])

    def _named(self, tree: syntax.Member, *, top: bool) -> frozenset[str] | None:
        base = tree.base
        root = isinstance(base, syntax.Member) and base.base is None and base.name == self.resource
        if base is not None and not (top and root):
            return self._elements(base, top=top)
        if not top:
            return frozenset()
        steps = self.model.steps(self.resource).get(tree.name)
        return None if not steps else frozenset(name for each in steps for name in (each.json, f"_{each.json}"))

    def _arguments(self, tree: syntax.Call, *, top: bool) -> frozenset[str] | None:
        of_items = tree.name in _OF_ITEMS
        if tree.base is None and top and tree.name in ("getResourceKey", "extension"):
            base: frozenset[str] | None = frozenset({"id", "extension"})
        else:
            base = self._elements(tree.base, top=top)
        inner = top and not (of_items and tree.base is not None)
        return together([base, *(self._elements(each, top=inner) for each in tree.arguments)])


def _parts(tree: syntax.Tree) -> Sequence[Any]:
    if isinstance(tree, syntax.Operation):
        return [tree.right, *([tree.left] if tree.left is not None else [])]
    if isinstance(tree, syntax.Index):
        return [tree.base, tree.place]
    return [tree.base] if isinstance(tree, syntax.TypeTest) else []
