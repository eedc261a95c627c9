"""What a template is made of: slots, conditions, leaves, and the forms of a cell."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, Protocol, TypeVar, TypeVarTuple

from fhirspace.template.codec import Codec

REPEAT = "_REPEAT"
"""The helper column with the ordinal of a row among those with its key: filled where the key alone makes no id."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A place for a column's cell. `column` may be a virtual one of a form: ``LBORRES.number.value``."""

    column: str
    codec: Codec

    @property
    def derived(self) -> bool:
        """Whether the column is a computed helper (``_STATUS``): written, never read back."""
        return self.column.startswith("_")

    @property
    def base(self) -> str:
        """The real column: ``LBORRES`` of ``LBORRES.number.value``."""
        return self.column.partition(".")[0]

    @property
    def readable(self) -> bool:
        """Whether the cell can be read back from this slot."""
        return self.codec.readable and not self.derived


@dataclass(frozen=True, slots=True)
class Cond:
    """A condition on cells. `op` is one of ``filled``, ``is`` (with `values`), ``not``, ``and``, ``or``."""

    op: str
    column: str = ""
    values: frozenset[str] = frozenset()
    args: tuple[Cond, ...] = ()

    def columns(self) -> Iterator[str]:
        """All columns that the condition looks at."""
        if self.column:
            yield self.column
        for arg in self.args:
            yield from arg.columns()


@dataclass(frozen=True, slots=True)
class Leaf:
    """A primitive element: constant texts and slots, joined. `type` is its FHIR primitive type, `kind` its JSON type.

    `pattern` is the regular expression that a text of a slot must match for the type (only for codes, ids and URIs).
    `repeat` is set where the leaf is a part of a resource's identity: what is written between its text and the ordinal
    of a row whose key is not its own (`REPEAT`); "" where no ordinal is added. `memo` is for `once`, as in other nodes.
    """

    parts: tuple[str | Slot, ...]
    type: str
    line: int
    pattern: str = ""
    repeat: str | None = None
    memo: dict[Any, Any] = field(init=False, compare=False, repr=False, default_factory=dict)
    slots: tuple[Slot, ...] = field(init=False, compare=False, repr=False)
    constant: str | None = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Sets `slots`, the slots among the parts, and `constant`, the text of a leaf without: needed often."""
        slots = tuple(part for part in self.parts if isinstance(part, Slot))
        object.__setattr__(self, "slots", slots)
        object.__setattr__(self, "constant", None if slots else "".join(str(part) for part in self.parts))

    @property
    def kind(self) -> str:
        """``string``, ``number`` or ``boolean``."""
        if self.type == "boolean":
            return "boolean"
        return "number" if self.type in {"decimal", "integer", "positiveInt", "unsignedInt"} else "string"


_Rest = TypeVarTuple("_Rest")


_Found = TypeVar("_Found")


class _WithMemo(Protocol):
    """A node with a memo of computed values."""

    @property
    def memo(self) -> dict[Any, Any]: ...


_Owner = TypeVar("_Owner", bound=_WithMemo)


def once(function: Callable[[_Owner, *_Rest], _Found]) -> Callable[[_Owner, *_Rest], _Found]:
    """Decorates a function of a node: it is called once per node, and its result is stored in the node's `memo`.

    A cache outside of the nodes would have to hash whole nodes, which costs more than it saves, and would keep them
    alive.
    """
    name = function.__name__

    @wraps(function)
    def cached(node: _Owner, *rest: *_Rest) -> _Found:
        key = (name, *rest)
        if key not in node.memo:
            node.memo[key] = function(node, *rest)
        found: _Found = node.memo[key]
        return found

    return cached


@dataclass(frozen=True, slots=True)
class Form:
    """One way to spell a cell: its name, the regular expression with a group a part, and its parts in order."""

    name: str
    pattern: str
    parts: tuple[str | Slot, ...]
