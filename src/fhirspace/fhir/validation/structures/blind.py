"""Whether a structure asks nothing of the values that `holes` leaves out, so that what is around them decides.

Fixed values, patterns and lengths may name such a value; invariants may compare it. What is not certain to be blind is
not. Source: FHIR, "ElementDefinition" (fixed, pattern, maxLength, constraint), FHIRPath.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from fhirspace.fhir.validation.structures.tree import Find, Node, tree
from fhirspace.standards.hl7.structures import Structure

_LEFT_OUT: Final = ("display", "reference", "value", "data", "id")
_NUMBERED: Final = "equence"
_MOMENT: Final = re.compile(r"[12][0-9]{3}-[0-9]{2}")
_TEXT: Final = re.compile(r"'((?:[^'\\]|\\.)*)'")
_TEXTS: Final = re.compile(r"(?:=\s*|\b(?:in|contains)\s+)\(?''(?:\s*\|\s*'')*\)?")
"""Whether something is one of some texts."""
_LONG_ENOUGH: Final = re.compile(
    r"(?:\$this as dateTime\)|\$this is dateTime implies \$this)\.toString\(\)\.length\(\) >= 1?[0-9]\b"
)
"""How precise a date is: a moment always is, so that it does not matter which."""
_THERE: Final = re.compile(r"\b(?:display|reference|value|data|id)\.(?:exists|empty|hasValue|is)\(")
_NAMED: Final = re.compile(r"\b(?:display|reference|value|data|id)\b|equence\b")
_LOOKS: Final = re.compile(
    r"[<>~|&+*/=-]|\b(?:in|contains|div|mod|trace|resolve|descendants|children|repeat|iif|memberOf|aggregate)\b"
    r"|istinct|intersect|setOf|String|match|length|sub[sS]|[wW]ith\(|indexOf|now|today|replace|oundary|comparable|combine"
    r"|union|to[A-Z]"
)


def blind(structure: Structure, find: Find, judged: Callable[[str], bool]) -> bool:
    """Whether a structure, and those that it refers to, ask nothing of values that may be left out.

    Args:
        structure: the structure. find: gives others by their address.
        judged: whether an invariant, by its key, is not the structure's own: it is judged with the type.
    """
    return _blind(structure, find, judged, set())


def _blind(structure: Structure, find: Find, judged: Callable[[str], bool], met: set[str]) -> bool:
    if structure.url in met:
        return True
    met.add(structure.url)
    root = tree(structure, find)
    nodes = [root, *root.within()]
    profiles = {url.partition("|")[0] for node in nodes for kind in node.rule.types for url in kind.profiles}
    return all(_asks_nothing(node, judged) for node in nodes) and all(
        _blind(found, find, judged, met) for found in map(find, profiles) if found is not None
    )


def _asks_nothing(node: Node, judged: Callable[[str], bool]) -> bool:
    rule = node.rule
    given = [each for each in (rule.fixed, rule.pattern) if each is not None]
    own = [each.expression for each in rule.constraints if not judged(each.key)]
    if rule.longest or (own and _left_out(node.name)) or any(_names(node.name, each) for each in given):
        return False
    return all(map(looks_at_nothing, own))


def _left_out(name: str) -> bool:
    return name in _LEFT_OUT or name.endswith(_NUMBERED)


def _names(name: str, value: Any) -> bool:
    """Whether a value given for an element has a part that may be left out."""
    if isinstance(value, dict):
        return any(_names(inner, each) for inner, each in value.items())
    if isinstance(value, list):
        return any(_names(name, each) for each in value)
    moment = isinstance(value, str) and _MOMENT.match(value) is not None
    return moment or _left_out(name)


def looks_at_nothing(expression: str) -> bool:
    """Whether an invariant asks no more of values that may be left out than whether they are there."""
    if any(map(_MOMENT.match, _TEXT.findall(expression))):
        return False
    plain = _TEXTS.sub("", _TEXT.sub("''", _LONG_ENOUGH.sub("", expression)))
    return not _LOOKS.search(plain) and not _NAMED.search(_THERE.sub("", plain))
