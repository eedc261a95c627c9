"""Judges values by the tree of a structure.

What is judged: cardinality, types, fixed values and patterns, bindings, lengths, slices (members, order, closed),
invariants, profiles of data types, types of the targets of references. Source: FHIR, "Profiling FHIR",
"ElementDefinition".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fhirspace.fhir.references import parsed
from fhirspace.fhir.validation.elements.findings import Finding
from fhirspace.fhir.validation.structures.items import Item, contains, equal, is_type, items
from fhirspace.fhir.validation.structures.slices import Around, belongs, has_code
from fhirspace.fhir.validation.structures.tree import Node, at
from fhirspace.standards.hl7.structures import Slicing, Structure, TypeRule

Invariants = Callable[[Node, Item], list[tuple[str, str]]]
"""The invariants of a node that a value breaks: code and what was expected."""
_TOP = frozenset({"Resource", "DomainResource"})


class Judge:
    """Judges values by one structure."""

    def __init__(
        self,
        structure: Structure,
        root: Node,
        around: Around,
        invariants: Invariants,
        type_of: Callable[[str], str],
    ) -> None:
        """Args: the structure and its tree; what is around the value; judges of invariants; the type of a profile."""
        self._name = structure.url.rpartition("/")[2]
        self._breaks = "FS423" if structure.type == "Extension" else "FS433"
        self._root = root
        self._around = around
        self._invariants = invariants
        self._type_of = type_of
        self._found: list[Finding] = []
        self.met: set[str] = set()
        """The ids of the must-support elements that a value had."""

    def judge(self, value: Any) -> list[Finding]:
        """What is wrong with a value of the structure's type, with paths within it."""
        outer, self._found = self._found, []
        try:
            self._value(self._root, Item("", value), "")
            return self._found
        finally:
            self._found = outer

    def unmet(self) -> tuple[list[str], int]:
        """The must-support elements that no value had, without those within them; and how many there are of all."""
        every = [node.rule.id for node in self._root.within() if node.rule.supported]
        missing = [each for each in every if each not in self.met]
        within = tuple(f"{each}{sign}" for each in missing for sign in ".:/")
        return [each for each in missing if not each.startswith(within)], len(every)

    def _say(self, path: str, expected: str, code: str = "") -> None:
        self._found.append((path, code or self._breaks, f"{self._name}: {expected}"))

    def _value(self, node: Node, item: Item, path: str) -> None:
        """One value of an element or slice, and all within it."""
        self._content(node, item, path)
        for code, expected in self._invariants(node, item) if node.rule.constraints else ():
            self._found.append((path, code, expected))
        content = item.content
        if not isinstance(content, dict):
            return
        inner = node
        if node.rule.content:
            inner = at(self._root, node.rule.content) or node
        for name, child in inner.children.items():
            self._element(child, items(content, name), path, name)

    def _element(self, node: Node, found: Sequence[Item], path: str, name: str) -> None:
        """All values of an element or slice."""
        rule = node.rule
        if found and rule.supported:
            self.met.add(rule.id)
        where = f"{path}.{name}" if path else name
        label = f"{name}:{node.slice}" if node.slice else name
        if rule.min > len(found):
            self._say(where, f"{label} {rule.min} times or more" if rule.min > 1 else f"{label}, which it requires")
        if rule.max.isdecimal() and len(found) > int(rule.max):
            self._say(where, f"no {label}" if rule.max == "0" else f"{label} at most {rule.max} times")
            if rule.max == "0":
                return
        for each in found:
            self._value(node, each, f"{path}.{each.path}" if path else each.path)
        if node.slices and node.slicing is not None:
            self._sliced(node, found, path, name)

    def _sliced(self, node: Node, found: Sequence[Item], path: str, name: str) -> None:
        slicing = node.slicing
        if slicing is None or not slicing.discriminators:
            return
        members: dict[str, list[Item]] = {}
        order: list[int] = []
        names = list(node.slices)
        for item in found:
            verdicts = {
                piece.slice: belongs(item, piece, slicing.discriminators, self._around)
                for piece in node.slices.values()
            }
            own = [each for each, verdict in verdicts.items() if verdict]
            for each in own:
                members.setdefault(each, []).append(item)
            if own or None not in verdicts.values():
                order.append(names.index(own[0]) if own else len(names))
            if not own and slicing.rules == "closed" and None not in verdicts.values():
                self._say(f"{path}.{item.path}" if path else item.path, f"one of {', '.join(node.slices)}")
            if None in verdicts.values():
                for each in [each for each, verdict in verdicts.items() if verdict is None]:
                    members.setdefault(f"?{each}", [])
        for piece in node.slices.values():
            if f"?{piece.slice}" not in members:
                self._element(piece, members.get(piece.slice, ()), path, name)
        self._ordered(slicing, names, order, f"{path}.{name}" if path else name)

    def _ordered(self, slicing: Slicing, names: list[str], order: list[int], path: str) -> None:
        """Whether the slices come in their order, and before other values. Args: `order` has places in `names`."""
        slices = [place for place in order if place < len(names)]
        if slicing.ordered and slices != sorted(slices):
            self._say(path, f"slices in the order {', '.join(names)}")
        if slicing.rules == "openAtEnd" and len(names) in order[: len(slices)]:
            self._say(path, f"{', '.join(names)} before other values")

    def _content(self, node: Node, item: Item, path: str) -> None:
        """What the value itself has to be."""
        rule, value = node.rule, item.value
        if rule.fixed is not None and not equal(value, rule.fixed):
            self._say(path, _shown(rule.fixed, "the fixed value"))
        if rule.pattern is not None and not contains(value, rule.pattern):
            self._say(path, _shown(rule.pattern, "what its pattern has"))
        if rule.longest and isinstance(value, str) and len(value) > rule.longest:
            self._say(path, f"at most {rule.longest} characters")
        if rule.binding is not None and value is not None:
            self._bound(rule.binding, value, path)
        if rule.types:
            self._types(rule.types, item, path)

    def _bound(self, binding: tuple[str, str], value: Any, path: str) -> None:
        strength, url = binding
        values = self._around.value_set(url) if strength in ("required", "extensible") else None
        if values is None or has_code(value, values) is not False:
            return
        some = values.some(12)
        text = f"one of {', '.join(some)}" if some else f"a code of {url}"
        if strength == "required":
            self._say(path, text)
        elif isinstance(value, dict) and _coded(value):
            self._say(path, text, "FS427")

    def _types(self, types: list[TypeRule], item: Item, path: str) -> None:
        fitting = [each for each in types if each.code in _TOP or is_type(item, each.code)]
        if not fitting:
            self._say(path, " or ".join(each.code for each in types))
            return
        kinds = [each for each in fitting if each.code != "Extension"]
        profiles = [url for each in kinds for url in each.profiles]
        if profiles and all(each.profiles for each in kinds):
            verdicts = [self._around.conforms(item.value, url) for url in profiles]
            if all(verdict is False for verdict in verdicts):
                self._say(path, "a value that conforms to " + " or ".join(profiles))
        self._target(fitting, item.value, path)

    def _target(self, types: list[TypeRule], value: Any, path: str) -> None:
        """The type that a reference names has to be that of an allowed profile."""
        targets = {url for each in types for url in each.targets}
        text = value.get("reference") if targets and isinstance(value, dict) else None
        named = parsed(text) if isinstance(text, str) else None
        if named is None:
            return
        allowed = {self._type_of(url) for url in targets}
        if "" not in allowed and not allowed & {named.type, *_TOP}:
            self._say(f"{path}.reference", "a reference to " + " or ".join(sorted(allowed)))


def _coded(value: dict[str, Any]) -> bool:
    """Whether a value has a code at all: a text alone is no code outside of an extensible value set."""
    codings = value.get("coding")
    return "code" in value or (
        isinstance(codings, list) and any(isinstance(each, dict) and "code" in each for each in codings)
    )


def _shown(fixed: Any, otherwise: str) -> str:
    """A fixed value is the profile's, never the patient's, so that it can be named."""
    if isinstance(fixed, bool):
        return str(fixed).lower()
    if isinstance(fixed, dict):
        codings = fixed.get("coding", [fixed])
        first = codings[0] if isinstance(codings, list) and codings and isinstance(codings[0], dict) else {}
        if "code" in first:
            return (
                f"the code {first['code']} of {first['system']}" if "system" in first else f"the code {first['code']}"
            )
        return otherwise
    return otherwise if isinstance(fixed, list) else f"{fixed}"
