"""Elements and leaves of a mapping, looked up in HL7's definitions while the tree is built.

A name that does not exist, or a codec that does not fit the element's type, is refused with its line
and what was expected.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from fhirspace.errors import MappingError, Place
from fhirspace.idkey import IdKey
from fhirspace.limits import allowed, limit
from fhirspace.standards.fhir import Definitions, Element
from fhirspace.template import yaml_nodes as nodes
from fhirspace.template.codelists import CodeLists
from fhirspace.template.slots import Cond, Leaf, Slot
from fhirspace.template.syntax import LET, Syntax, circle, substitute

_REFERENCE = r"[A-Z][A-Za-z]+/[A-Za-z0-9.-]{1,64}|#[A-Za-z0-9.-]{1,64}|(?:urn|https?):\S+"
"""What a reference has to be: to a legal id, to something contained, or absolute (FHIR, References)."""
_BLANKS = "\\s\x1c-\x1f\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_CODE = f"[^{_BLANKS}]+(?: [^{_BLANKS}]+)*"
"""A code as validators take it: words with a single space between them, no other blank of Unicode."""
_LETTERS = 10
"""So many letters of a text count as one node."""
_PATTERNED = frozenset({"code", "id", "uri", "url", "canonical", "oid", "uuid"})
_UNIFORM = frozenset({"id", "uri", "url", "canonical"})
"""The types whose pattern says which signs there may be: it holds for each part of a text as for the whole."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What applies at a place: constants (``let``), variables of the ``for`` around it, requirements of its element."""

    lets: dict[str, nodes.Node]
    variables: dict[str, str]
    using: tuple[str, ...] = ()
    bound: str = ""
    targets: tuple[str, ...] = ()
    depth: int = 0

    def at(self, element: Element) -> Scope:
        """The same names inside an element: its required value set (a concept's reaches its codings), its targets."""
        own = element.binding.value_set if element.binding and element.binding.strength == "required" else ""
        inherited = self.bound if element.name == "coding" else ""
        return replace(self, bound=own or inherited, targets=element.targets, depth=self.depth + 1)


class Elements:
    """Resolves names and builds leaves for one mapping file.

    Args:
        file: the file's name; definitions: HL7's, of the release; lists: code lists; lets: common constants;
        key: the key of subject ids.
    """

    def __init__(
        self, file: str, definitions: Definitions, lists: CodeLists, lets: dict[str, nodes.Node], key: IdKey | None
    ) -> None:
        self._file, self._defs = file, definitions
        self._lists, self._lets, self._key = lists, lets, key
        self._syntax = Syntax(file, lists, key)
        self._made, self._most, self._deepest = 0, limit("yaml-nodes"), limit("yaml-depth")

    def _leaf(self, node: nodes.Text, element: Element, scope: Scope) -> Leaf:
        parts = self._syntax.parts(self._filled(node, scope), node.line)
        if not parts:
            raise self._error("FS327", node.line, element.name, "a text that is not empty")
        for part in parts:
            if (
                isinstance(part, Slot)
                and element.type not in part.codec.types
                and not (element.type == "string" and len(parts) > 1)
            ):
                fitting = ", ".join(self._fitting(element.type))
                raise self._error("FS328", node.line, element.name, f"a codec for the type {element.type}: {fitting}")
        if len(parts) > 1 and element.type in {"decimal", "integer", "positiveInt", "unsignedInt", "boolean"}:
            raise self._error("FS328", node.line, element.name, f"a single slot for the type {element.type}")
        pattern = self._defs.primitive_regex(element.type) if element.type in _PATTERNED else ""
        pattern = _CODE if element.type == "code" else pattern
        pattern = _REFERENCE if element.path == "Reference.reference" else pattern
        leaf = Leaf(parts, element.type, node.line, pattern)
        if leaf.constant is not None:
            self._constant(leaf, element)
        else:
            self._beside(leaf, element, pattern)
            self._covered(leaf, element, scope)
        if element.name == "reference" and scope.targets:
            self._target(leaf, scope.targets)
        return leaf

    def _beside(self, leaf: Leaf, element: Element, pattern: str) -> None:
        """The constants between slots must be legal in the text: otherwise no row could be written."""
        texts = [part for part in leaf.parts if isinstance(part, str)]
        if element.type in _UNIFORM and not all(re.fullmatch(pattern, text) for text in texts):
            raise self._error(
                "FS329", leaf.line, element.name, f"between the slots what the type {element.type} allows"
            )

    def _covered(self, leaf: Leaf, element: Element, scope: Scope) -> None:
        """Everything that a slot can write is in the value set of a required binding."""
        own = element.binding.value_set if element.binding and element.binding.strength == "required" else ""
        bound = own or (scope.bound if element.name == "code" else "")
        codes = self._defs.codes(bound) if bound and element.type == "code" else None
        if codes is None:
            return
        for slot in leaf.slots:
            outputs = slot.codec.outputs if len(leaf.parts) == 1 else None
            if outputs is None or not outputs <= codes:
                outside = "" if outputs is None else f"; not {', '.join(sorted(outputs - codes)[:5])}"
                hint = f"codes(LIST) with codes of {', '.join(sorted(codes)[:12])}{outside}"
                raise self._error("FS334", leaf.line, element.name, hint)

    def _target(self, leaf: Leaf, targets: tuple[str, ...]) -> None:
        """A reference written as ``Type/id`` points to a type that the element allows."""
        found = re.match(r"([A-Z][A-Za-z]+)/", leaf.parts[0]) if isinstance(leaf.parts[0], str) else None
        if found and found[1] not in targets:
            raise self._error("FS335", leaf.line, "reference", "a reference to " + " or ".join(targets))

    def _constant(self, leaf: Leaf, element: Element) -> None:
        text = leaf.constant or ""
        if not re.fullmatch(self._defs.primitive_regex(element.type), text):
            raise self._error("FS329", leaf.line, element.name, f"a constant of type {element.type}")
        codes = (
            self._defs.codes(element.binding.value_set)
            if element.binding and element.binding.strength == "required"
            else None
        )
        if codes is not None and element.type == "code" and text not in codes:
            near = difflib.get_close_matches(text, codes, 5, 0.3) or sorted(codes)[:12]
            raise self._error("FS330", leaf.line, element.name, "one of " + ", ".join(near))

    def _fitting(self, type_: str) -> list[str]:
        from fhirspace.template.codecs import NAMES, codec  # noqa: PLC0415 - only for a message

        return [
            name for name in NAMES if name == "codes" or ((made := codec(name)) is not None and type_ in made.types)
        ]

    def _resolve(self, node: nodes.Node, scope: Scope) -> tuple[nodes.Node, Scope]:
        """A text that is just ``$name`` as the node that the name stands for."""
        self._count(node.line, 1, scope)
        while isinstance(node, nodes.Text) and re.fullmatch(r"\$[a-zA-Z][A-Za-z0-9]*", node.text):
            name = node.text[1:]
            if name in scope.using:
                raise self._circle(node.line, name, scope)
            found = scope.lets.get(name)
            if found is None:
                raise self._unknown(node.line)(node.text, (f"${each}" for each in scope.lets))
            scope = replace(scope, using=(*scope.using, name))
            node = found
        return node, scope

    def _filled(self, node: nodes.Text, scope: Scope) -> str:
        self._count(node.line, 0, scope)
        texts: dict[str, str] = {}
        for name in dict.fromkeys(LET.findall(node.text)):
            value = scope.lets.get(name)
            if isinstance(value, nodes.Text):
                if name in scope.using:
                    raise self._circle(node.line, name, scope)
                texts[name] = self._filled(value, replace(scope, using=(*scope.using, name)))
        fail = self._unknown(node.line)
        text = substitute(
            node.text, texts, scope.variables, lambda name, _: fail(name, (f"${let}" for let in scope.lets))
        )
        self._count(node.line, len(text) // _LETTERS, scope)
        return text

    def _count(self, line: int, more: int, scope: Scope) -> None:
        """Counts the nodes that constants and loops make: a few of them could exceed any memory."""
        self._made += more
        if self._made > self._most:
            raise self._error("FS160", line, None, allowed("yaml-nodes"))
        if len(scope.using) > self._deepest or scope.depth > self._deepest:
            raise self._error("FS160", line, None, allowed("yaml-depth"))

    def _unknown(self, line: int) -> Callable[[str, Iterable[str]], MappingError]:
        def fail(name: str, known: Iterable[str]) -> MappingError:
            near = difflib.get_close_matches(name, list(known), 3, 0.4)
            return self._error("FS331", line, name, " or ".join(near) or "a constant of `let:`")

        return fail

    def _element(self, path: str, name: str, line: int) -> Element:
        found = self._defs.children(path).get(name)
        if found is None:
            near = self._defs.suggest(name, path)
            raise self._error(
                "FS332",
                line,
                name,
                f"an element of {path} in {self._defs.release}: " + (", ".join(near) or "see its definition"),
            )
        return found

    @staticmethod
    def _inside(element: Element) -> str:
        return element.children_path

    def _as_map(self, node: nodes.Node, scope: Scope, element: Element | None = None) -> nodes.Map:
        resolved, _ = self._resolve(node, scope)
        if isinstance(resolved, nodes.Map):
            return resolved
        what = f"of type {element.type}" if element else "of elements and values"
        raise self._error("FS327", node.line, element.name if element else None, f"an object {what}")

    def _when(self, node: nodes.Map, scope: Scope) -> Cond | None:
        text = node.get("when")
        if text is None:
            return None
        if not isinstance(text, nodes.Text):
            raise self._error("FS317", text.line, "when", "a condition as text")
        return self._syntax.condition(self._filled(text, scope), text.line)

    def _known(self, node: nodes.Map, keys: Iterable[str]) -> None:
        for key, _ in node.items:
            if key.text not in keys:
                raise self._error("FS304", key.line, key.text, "one of " + ", ".join(keys))

    def _circle(self, line: int, name: str, scope: Scope) -> MappingError:
        return MappingError("FS303", Place(self._file, line, f"${name}"), detail=circle(name, scope.using))

    def _error(self, code: str, line: int, key: str | None, expected: str) -> MappingError:
        return MappingError(code, Place(self._file, line, key), expected)
