"""Which values of an element belong to which slice: discriminators by value, pattern, type, existence and profile.

Source: FHIR, "Profiling FHIR" (slicing, discriminator).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from fhirspace.fhir.validation.structures.items import Item, contains, equal, is_type, items
from fhirspace.fhir.validation.structures.tree import Node
from fhirspace.standards.hl7.structures import TypeRule
from fhirspace.standards.hl7.terms import ValueSet

_STEP = re.compile(r"[A-Za-z]\w*(?:\([^)]*\))?|\$this")
_CALL = re.compile(r"(\w+)\(['\"]?([^'\")]*)['\"]?\)")


class Around:
    """What the judge of slices asks of the world around the value.

    Attributes:
        value_set: a value set by its address. resolve: the resource that a reference names.
        conforms: whether a value conforms to a profile; None where nobody knows.
    """

    def __init__(
        self,
        value_set: Callable[[str], ValueSet | None],
        resolve: Callable[[str], Any],
        conforms: Callable[[Any, str], bool | None],
    ) -> None:
        self.value_set = value_set
        self.resolve = resolve
        self.conforms = conforms


def belongs(item: Item, piece: Node, discriminators: list[tuple[str, str]], around: Around) -> bool | None:
    """Whether a value belongs to a slice; None where that cannot be known."""
    verdicts = [_judged(item, piece, kind, path, around) for kind, path in discriminators]
    if False in verdicts:
        return False
    return True if True in verdicts else None


def _judged(item: Item, piece: Node, kind: str, path: str, around: Around) -> bool | None:
    steps = [step for step in _STEP.findall(path) if step != "$this"]
    if kind in ("value", "pattern"):
        return _fits(item, piece, steps, around)
    if kind == "exists":
        return _exists(item, piece, steps)
    return _of_kind(item, piece, steps, kind, around)


def _exists(item: Item, piece: Node, steps: list[str]) -> bool | None:
    node: Node | None = piece
    for step in steps:
        node = _child(node, step) if node else None
    if node is None:
        return None
    there = any(_reached(item, steps, None))
    return not there if node.rule.max == "0" else there if node.rule.min > 0 else None


def _child(node: Node, step: str) -> Node | None:
    return node.children.get(step) or node.children.get(f"{step}[x]")


def _of_kind(item: Item, piece: Node, steps: list[str], kind: str, around: Around) -> bool | None:
    """By type or profile."""
    node: Node | None = piece
    for step in steps:
        if step != "resolve()":
            node = _child(node, step) if node else None
    if node is None or not node.rule.types:
        return None
    reached = list(_reached(item, steps, around))
    if "resolve()" in steps and not reached:
        return None
    types = node.rule.types
    if kind == "profile":
        verdicts = [around.conforms(each.value, url) for each in reached for url in _profiles(types)]
        return True if True in verdicts else None if None in verdicts or not verdicts else False
    if "resolve()" in steps and types[0].code == "Reference":
        names = {url.rpartition("/")[2] for kind_ in types for url in (*kind_.targets, *kind_.profiles)}
        return any(isinstance(each.value, dict) and each.value.get("resourceType") in names for each in reached) or None
    return any(is_type(each, each_type.code) for each in reached for each_type in types)


def _profiles(types: list[TypeRule]) -> Iterator[str]:
    for each in types:
        yield from each.profiles or each.targets


def _reached(item: Item, steps: list[str], around: Around | None) -> Iterator[Item]:
    """The values at a path within a value."""
    if not steps:
        yield item
        return
    for inner in _step(item, steps[0], around):
        yield from _reached(inner, steps[1:], around)


def _step(item: Item, step: str, around: Around | None) -> list[Item]:
    call = _CALL.fullmatch(step)
    if call is None:
        found = items(item.content, step)
        return found or items(item.content, f"{step}[x]")
    if call[1] == "extension":
        return [each for each in items(item.content, "extension") if _url(each.value) == call[2]]
    if call[1] == "ofType":
        return [item] if is_type(item, call[2]) else []
    reference = item.value.get("reference") if isinstance(item.value, dict) else item.value
    target = around.resolve(reference) if around is not None and isinstance(reference, str) else None
    return [] if target is None else [Item(item.path, target)]


def _url(value: Any) -> Any:
    return value.get("url") if isinstance(value, dict) else None


def _fits(item: Item, node: Node, steps: list[str], around: Around) -> bool | None:
    """Whether what a slice fixes at a path is there; None where it fixes nothing."""
    if node.rule.fixed is not None:
        return equal(item.value, node.rule.fixed)
    if node.rule.pattern is not None:
        return contains(item.value, node.rule.pattern)
    inner = _nodes(node, steps[0]) if steps else []
    if not inner:
        return _by_profile(item, node, steps, around) if steps else _fixed_within(item, node, around)
    return _fits_within(item, inner, steps, around)


def _fits_within(item: Item, inner: list[Node], steps: list[str], around: Around) -> bool | None:
    reached = _step(item, steps[0], around)
    if steps[0] == "resolve()" and not reached:
        return None
    verdicts = [_fits(each, one, steps[1:], around) for one in inner for each in reached]
    if True in verdicts:
        return True
    return False if False in verdicts or (not reached and _fixes(inner)) else None


def _nodes(node: Node, step: str) -> list[Node]:
    """The nodes of a step: the element itself and its slices."""
    call = _CALL.fullmatch(step)
    if call is None:
        found = _child(node, step)
        return [found, *found.all_slices()] if found else []
    if call[1] == "extension":
        every = node.children.get("extension")
        return [each for each in every.all_slices() if _fixed_url(each) == call[2]] if every else []
    return [node]


def _fixed_url(piece: Node) -> Any:
    """The address that the slice of an extension fixes, by itself or by its profile."""
    url = piece.children.get("url")
    if url is not None and url.rule.fixed is not None:
        return url.rule.fixed
    return next((profile for kind in piece.rule.types for profile in kind.profiles), None)


def _by_profile(item: Item, node: Node, steps: list[str], around: Around) -> bool | None:
    if steps == ["url"]:
        url = _fixed_url(node)
        return None if url is None else _url(item.value) == url
    verdicts = [around.conforms(item.value, url) for kind in node.rule.types for url in kind.profiles]
    return True if True in verdicts else None if None in verdicts or not verdicts else False


def _fixes(nodes: list[Node]) -> bool:
    return any(
        node.rule.fixed is not None or node.rule.pattern is not None or _fixes(list(node.children.values()))
        for node in nodes
    )


def _fixed_within(item: Item, node: Node, around: Around) -> bool | None:
    """By all that is fixed within the element, else by a required binding."""
    verdicts = [
        any(_fits(each, inner, [], around) for each in items(item.content, child.name))
        for child in node.children.values()
        for inner in (child, *child.all_slices())
        if _fixes([inner])
    ]
    if verdicts:
        return all(verdicts)
    if node.rule.binding is not None and node.rule.binding[0] == "required":
        values = around.value_set(node.rule.binding[1])
        return None if values is None else has_code(item.value, values)
    return None


def has_code(value: Any, values: ValueSet) -> bool | None:
    """Whether a code, Coding, CodeableConcept or Quantity has a code of a value set; None where that is not known."""
    if isinstance(value, str):
        return values.holds(None, value)
    if not isinstance(value, dict):
        return False
    if "coding" in value or "text" in value:
        codings = value.get("coding")
        verdicts = [has_code(each, values) for each in (codings if isinstance(codings, list) else ())]
        return True if True in verdicts else None if None in verdicts else False
    code, system = value.get("code"), value.get("system")
    if not isinstance(code, str):
        return False
    return values.holds(system, code) if isinstance(system, str) else False
