"""The compiled form of a domain mapping for one FHIR release: a tree of templates, their slots and conditions.

`build` makes it from YAML and HL7's definitions; `render` defines its meaning row by row; `kernel` (rows to FHIR) and
`reader` (FHIR to rows) are compiled from it.

They all use the same rule for what is written. A `Leaf` is written if all its slots have a text. An `Obj` or `Arr` is
written if a slot inside it is written, with its constants; one without any slot is written with its parent; with
`always` a constant item, and so its list, is written with the parent. Of a `OneOf` the first option in which a slot is
written is taken; else the first one without slots. If `when` is false, nothing is written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from fhirspace.template.slots import Cond, Form, Leaf, Slot


@dataclass(frozen=True, slots=True)
class Each:
    """The place for the items of a nested domain (``<each DS>``), in the order of their rows.

    `path` is the place of its items in HL7's definitions.
    """

    domain: str
    path: str = ""
    memo: dict[Any, Any] = field(init=False, compare=False, repr=False, default_factory=dict)


@dataclass(frozen=True, slots=True)
class Carried:
    """The place of the extension with carried cells: one sub-extension per variable."""

    memo: dict[Any, Any] = field(init=False, compare=False, repr=False, default_factory=dict)


@dataclass(frozen=True, slots=True)
class Required:
    """An element that its object must have: its name or choice, the JSON names that fulfil it, the column to report."""

    label: str
    names: frozenset[str]
    column: str


@dataclass(frozen=True, slots=True)
class OneOf:
    """Alternative groups of fields of the object that contains it."""

    options: tuple[Obj, ...]
    memo: dict[Any, Any] = field(init=False, compare=False, repr=False, default_factory=dict)
    dynamic: bool = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Sets `dynamic` (see the function of that name): asked for often."""
        object.__setattr__(self, "dynamic", any(dynamic(child) for child in self.options))


@dataclass(frozen=True, slots=True)
class Obj:
    """An object: fields in order; a field named ``""`` holds a OneOf. `path` is its place in HL7's definitions.

    `required` are the elements that must be written with it and that a row could leave out.
    """

    fields: tuple[tuple[str, Node], ...]
    line: int
    path: str
    when: Cond | None = None
    always: bool = False
    required: tuple[Required, ...] = ()
    memo: dict[Any, Any] = field(init=False, compare=False, repr=False, default_factory=dict)
    dynamic: bool = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Sets `dynamic` (see the function of that name): asked for often."""
        object.__setattr__(self, "dynamic", any(dynamic(child) for child in (node for _, node in self.fields)))


@dataclass(frozen=True, slots=True)
class Arr:
    """A list of items: objects, primitive leaves, the places of nested items and of carried cells."""

    items: tuple[Obj | Leaf | Each | Carried, ...]
    line: int
    memo: dict[Any, Any] = field(init=False, compare=False, repr=False, default_factory=dict)
    dynamic: bool = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Sets `dynamic` (see the function of that name): asked for often."""
        object.__setattr__(self, "dynamic", any(dynamic(child) for child in self.items))


Node: TypeAlias = Obj | Arr | Leaf | OneOf | Each | Carried


@dataclass(frozen=True, slots=True)
class Block:
    """One resource that a row makes. `once` names the columns of which each distinct combination makes it once."""

    resource: str
    root: Obj
    once: tuple[str, ...] = ()
    when: Cond | None = None

    @property
    def system(self) -> str:
        """The constant system of its identifiers by which its resources are recognised, "" without one."""
        identifiers = dict(self.root.fields).get("identifier")
        for item in identifiers.items if isinstance(identifiers, Arr) else (identifiers,):
            system = dict(item.fields).get("system") if isinstance(item, Obj) else None
            if isinstance(system, Leaf) and system.constant is not None:
                return system.constant
        return ""


@dataclass(frozen=True, slots=True)
class Attach:
    """How rows are nested in another row's resource: its domain, the columns of both, the order, SUPP's IDVAR link."""

    to: str
    on: tuple[str, ...]
    order: tuple[str, ...]
    via: tuple[str, str] | None = None


_OWN: Final = "--"


@dataclass(frozen=True, slots=True)
class Mapping:
    """A domain mapping for one release.

    Attributes:
        domain: the SDTM dataset, ``AE``; file: the file's name, for messages; release: R4, R4B or R5.
        key: the columns that identify a row.
        blocks: the resources that a row makes; empty if its rows are nested in another's.
        attach, item: set where they do; `item` is the object each row makes at ``<each DOMAIN>``.
        forms: by column, the ways to spell a cell, in order.
        carried: columns that are carried on purpose.
        code: the domain in the rows' DOMAIN or RDOMAIN: ``LB`` in the split dataset LBCH; "" in one without DOMAIN.
            If it is not given, the dataset's name, of supplemental qualifiers their parent's.
    """

    domain: str
    file: str
    release: str
    key: tuple[str, ...]
    blocks: tuple[Block, ...]
    forms: dict[str, tuple[Form, ...]]
    carried: tuple[str, ...]
    attach: Attach | None = None
    item: Obj | None = None
    code: str = _OWN

    def __post_init__(self) -> None:
        """Sets `code` where it is not given."""
        if self.code == _OWN:
            parent = self.attach.to if self.attach and self.attach.via else self.domain
            object.__setattr__(self, "code", parent)

    def roots(self) -> Iterator[Obj]:
        """All template roots: of the blocks, or the nested item."""
        for block in self.blocks:
            yield block.root
        if self.item is not None:
            yield self.item


def children(node: Node) -> Iterable[Node]:
    """The nodes directly below a node."""
    if isinstance(node, Obj):
        return [child for _, child in node.fields]
    if isinstance(node, Arr):
        return node.items
    return node.options if isinstance(node, OneOf) else ()


def walk(node: Node) -> Iterator[Node]:
    """A node and all below it, in the order of the template."""
    waiting = [node]
    while waiting:  # generators within generators would take twice the time
        each = waiting.pop()
        yield each
        waiting += [*children(each)][::-1]


def slots(node: Node) -> Iterator[tuple[Leaf, Slot]]:
    """All slots in and below a node with their leaves, in the order of the template."""
    for inner in walk(node):
        if isinstance(inner, Leaf):
            yield from ((inner, slot) for slot in inner.slots)


def dynamic(node: Node) -> bool:
    """Whether a slot, nested items or carried cells are in or below a node: its parent may depend on it."""
    if isinstance(node, Leaf):
        return bool(node.slots)
    return isinstance(node, Each | Carried) or node.dynamic


CARRIED_URL = "https://fhirspace.org/StructureDefinition/carried"
"""The extension for carried cells: one sub-extension per variable, its url the variable's name."""

SYSTEM = "https://fhirspace.org/"
"""Before a dataset's name, the system of the identifiers by which its resources are recognised."""
