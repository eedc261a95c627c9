"""A rule as it is written: scope, joins, operations, check and outcome. Read from YAML, not yet bound to data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Literal

import yaml

from fhirspace.errors import MappingError, Place
from fhirspace.template.yaml_nodes import check_size, text_of

Value = Any
"""A literal of a rule: text, number, truth value, or a list of them."""
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
LEVELS = ("error", "warning", "note")
"""How severe a finding is; a rule without `Severity` gives warnings."""
OPTIONS = frozenset((
    "prefix", "suffix", "regex", "within", "ordering", "negative", "date_component",
    "value_is_literal", "value_is_reference", "type_insensitive", "round_values",
))  # fmt: skip
"""What a condition may say besides its operator, name and value."""
SENSITIVITIES = frozenset({"Record", "Dataset", "Study"})
"""Whether a rule gives a finding for each record, one for each dataset, or one for the study."""


@dataclass(frozen=True, slots=True)
class Check:
    """One condition: the operator, the variable it looks at, the value or variable it compares with, and options."""

    operator: str
    name: str
    value: Value = None
    options: Mapping[str, Value] = field(default_factory=dict)

    @property
    def literal(self) -> bool:
        """Whether the value is meant as a text even where a variable has that name."""
        return bool(self.options.get("value_is_literal"))


@dataclass(frozen=True, slots=True)
class Group:
    """Several conditions: all or any of them, or (`not`, with one) the opposite."""

    kind: Literal["all", "any", "not"]
    checks: tuple[Check | Group, ...]

    def leaves(self) -> Iterator[Check]:
        """Every condition of the tree, in its order."""
        for each in self.checks:
            if isinstance(each, Check):
                yield each
            else:
                yield from each.leaves()


@dataclass(frozen=True, slots=True)
class Operation:
    """A value computed before the check: the operator, the name ``$id`` of its result, and its parameters."""

    operator: str
    id: str
    parameters: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Match:
    """A dataset that is joined: its name, the keys (a pair where they differ), child of it, wildcard, kind of join."""

    name: str
    keys: tuple[tuple[str, str], ...] = ()
    child: bool = False
    wildcard: str = "**"
    kind: str = "inner"


@dataclass(frozen=True, slots=True)
class Names:
    """What a scope includes and excludes, and whether split datasets belong to it (None: like any other)."""

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    split: bool | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """A conformance rule. `ids` are the names it has in other lists (CG, FB, SD); `source` the file it came from."""

    id: str
    kind: str
    sensitivity: str
    check: Group
    classes: Names = Names()
    domains: Names = Names()
    operations: tuple[Operation, ...] = ()
    matches: tuple[Match, ...] = ()
    output: tuple[str, ...] = ()
    message: str = ""
    description: str = ""
    ids: tuple[str, ...] = ()
    standards: frozenset[str] = frozenset()
    severity: str = "warning"
    source: str = ""
    unsupported: tuple[str, ...] = ()
    """Parts of the rule that are read by nothing here, so that it cannot be run."""


def load(path: Path) -> Rule:
    """The rule of a YAML file. Raises MappingError: as `load_all`; FS801 where the file has several documents."""
    rules = load_all(path)
    if len(rules) != 1:
        raise MappingError("FS801", Place(path.name), "one rule")
    return rules[0]


def load_all(path: Path) -> list[Rule]:
    """The rules of a YAML file, one a document.

    Raises:
        MappingError: FS300 and FS160 as `text_of`, FS301 no YAML, FS801 no rule; with the file and what would fit.
    """
    return [build(content, path.name) for content in contents(text_of(path), path.name)]


def contents(text: str, file: str) -> list[Value]:
    """The documents of a YAML text, dates as texts. Raises MappingError: FS160 too large, FS301 no YAML."""
    try:
        check_size(text, file)
        return [_plain(each) for each in yaml.load_all(text, Loader=_Loader)]  # nosec B506  # a safe loader
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        raise MappingError("FS301", Place(file, line), detail=str(error.problem)) from None
    except (yaml.YAMLError, ValueError, RecursionError):  # ValueError: a scalar such as 2020-99-99
        raise MappingError("FS301", Place(file), "printable UTF-8 text") from None


def build(content: Value, file: str) -> Rule:
    """A rule from the content of its file. Raises MappingError (FS801): a part is missing or has another shape."""
    reader = _Reader(file)
    top = reader.map(content, "the file")
    scope = reader.map(top.get("Scope") or {}, "Scope")
    outcome = reader.map(top.get("Outcome") or {}, "Outcome")
    core = reader.map(top.get("Core") or {}, "Core")
    return Rule(
        id=reader.text(core.get("Id"), "Core: Id"),
        kind=reader.text(top.get("Rule Type"), "Rule Type"),
        sensitivity=reader.text(top.get("Sensitivity"), "Sensitivity"),
        check=reader.group(top.get("Check")),
        classes=reader.names(scope.get("Classes"), "Scope: Classes"),
        domains=reader.names(scope.get("Domains"), "Scope: Domains"),
        operations=tuple(map(reader.operation, reader.list(top.get("Operations"), "Operations"))),
        matches=tuple(map(reader.match, reader.list(top.get("Match Datasets"), "Match Datasets"))),
        output=reader.texts(outcome.get("Output Variables"), "Output Variables"),
        message=str(outcome.get("Message") or ""),
        description=str(top.get("Description") or ""),
        ids=tuple(dict.fromkeys(_identifiers(top.get("Authorities")))),
        standards=frozenset(_standards(top.get("Authorities"))),
        severity=reader.severity(outcome.get("Severity")),
        source=file,
        unsupported=tuple(_unsupported(top, scope)),
    )


def _unsupported(top: Mapping[str, Value], scope: Mapping[str, Value]) -> Iterator[str]:
    """What a rule says that changes its meaning, and that the engine does not do."""
    yield from (f"Scope: {name}" for name in ("Data Structures", "Entities", "Subclasses") if scope.get(name))
    if top.get("Sensitivity") not in SENSITIVITIES:
        yield f"Sensitivity: {top.get('Sensitivity')}"


def _identifiers(node: Value) -> Iterator[str]:
    """The ids of ``Rule Identifier`` anywhere below ``Authorities``."""
    if isinstance(node, (list, tuple)):
        for each in node:
            yield from _identifiers(each)
    elif isinstance(node, dict):
        named = node.get("Rule Identifier")
        if isinstance(named, dict) and isinstance(named.get("Id"), str):
            yield named["Id"]
        for each in node.values():
            yield from _identifiers(each)


def _standards(authorities: Value) -> Iterator[str]:
    """The standards that a rule is for, as in ``SDTMIG 3.4``."""
    for authority in authorities if isinstance(authorities, (list, tuple)) else ():
        for each in (authority.get("Standards") if isinstance(authority, dict) else None) or ():
            if isinstance(each, dict):
                yield f"{each.get('Name')} {each.get('Version')}"


class _Reader:
    """Reads parts of a rule and says which of them is wrong."""

    def __init__(self, file: str) -> None:
        self._file = file

    def wrong(self, part: str, expected: str) -> MappingError:
        return MappingError("FS801", Place(self._file, None, part), expected)

    def map(self, node: Value, part: str) -> dict[str, Value]:
        if not isinstance(node, dict) or not all(isinstance(key, str) for key in node):
            raise self.wrong(part, "keys and values")
        return node

    def list(self, node: Value, part: str) -> list[Value]:
        if node is None:
            return []
        if not isinstance(node, (list, tuple)):
            raise self.wrong(part, "a list")
        return list(node)

    def text(self, node: Value, part: str) -> str:
        if not isinstance(node, str) or not node:
            raise self.wrong(part, "a text")
        return node

    def texts(self, node: Value, part: str) -> tuple[str, ...]:
        return tuple(self.text(each, part) for each in self.list(node, part))

    def severity(self, node: Value) -> str:
        if node is not None and node not in LEVELS:
            raise self.wrong("Outcome: Severity", "one of " + ", ".join(LEVELS))
        return node or "warning"

    def names(self, node: Value, part: str) -> Names:
        found = self.map(node or {}, part)
        split = found.get("include_split_datasets")
        return Names(
            self.texts(found.get("Include"), part),
            self.texts(found.get("Exclude"), part),
            split if isinstance(split, bool) else None,
        )

    def group(self, node: Value) -> Group:
        found = self.map(node, "Check")
        kinds = [kind for kind in ("all", "any", "not") if kind in found]
        if len(kinds) != 1 or len(found) != 1:
            raise self.wrong("Check", "one of `all`, `any` and `not`")
        inside = found[kinds[0]]
        checks = [inside] if kinds[0] == "not" else self.list(inside, "Check")
        if not checks:
            raise self.wrong("Check", "at least one condition")
        return Group(kinds[0], tuple(map(self.condition, checks)))

    def condition(self, node: Value) -> Check | Group:
        found = self.map(node, "Check")
        if "operator" not in found:
            return self.group(node)
        options = {name: _plain(value) for name, value in found.items() if name not in ("operator", "name", "value")}
        return Check(
            self.text(found["operator"], "operator"),
            self.text(found.get("name"), "name"),
            _plain(found.get("value")),
            options,
        )

    def operation(self, node: Value) -> Operation:
        found = self.map(node, "Operations")
        rest = {name: _plain(value) for name, value in found.items() if name not in ("id", "operator")}
        return Operation(self.text(found.get("operator"), "operator"), self.text(found.get("id"), "id"), rest)

    def match(self, node: Value) -> Match:
        found = self.map(node, "Match Datasets")
        return Match(
            self.text(found.get("Name"), "Match Datasets: Name"),
            tuple(map(self.key, self.list(found.get("Keys"), "Keys"))),
            bool(found.get("Child")),
            str(found.get("Wildcard") or "**"),
            str(found.get("Join Type") or "inner"),
        )

    def key(self, node: Value) -> tuple[str, str]:
        if isinstance(node, str):
            return node, node
        sides = {str(side).lower(): name for side, name in self.map(node, "Keys").items()}
        return self.text(sides.get("left"), "Keys"), self.text(sides.get("right"), "Keys")


def _plain(value: Value) -> Value:
    """A value with dates as text, which YAML reads as dates, and lists as tuples, so that it can be compared."""
    if isinstance(value, list):
        return tuple(map(_plain, value))
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    return value.isoformat() if isinstance(value, date) else value
