"""Which of several templates an object is: decided while the reader is generated, exactly as `extract` decides it.

`extract` looks at each object against all templates of its place. The generated code looks only at what distinguishes
them and then checks one; `certain` says whether that always gives the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from fhirspace.mapping.model import CARRIED_URL, Arr, Each, Node, Obj
from fhirspace.mapping.read.extract import Mark, firm, marks, nodes_of
from fhirspace.mapping.read.shapes import Choice, Rec, Shape, attr, constants
from fhirspace.template.slots import Leaf


@dataclass(frozen=True, slots=True)
class Option:
    """A template that an object could be: what is done when it is (with the struct and the variable's name).

    `rank` puts equally likely ones in order, `each` marks nested items. `template` None is the carrying extension.
    """

    template: Obj | None
    rank: int
    act: Callable[[Rec, str], None]
    each: bool = False


def tagged(options: Sequence[Option], tag: str, text: str) -> list[Option]:
    """The options whose constant in the field of the tag is a text."""
    return [
        option
        for option in options
        if text == (CARRIED_URL if option.template is None else constants(option.template).get(tag))
    ]


def certain(option: Option, options: Sequence[Option], *, listed: bool) -> bool:
    """Whether `extract` must take this option for an object that it could have written, and no other.

    Args:
        option: the one; options: all of the place; listed: items of a list (else alternatives under one name).
    """
    return all(
        other is option or option.template is None or other.template is None or _wins(option, other, listed=listed)
        for other in options
    )


def certain_list(arrs: Sequence[Arr], index: int) -> bool:
    """The same of alternative lists under one name: `extract` takes the first whose constant items are there."""
    return not any(_could_be(arrs[index], other, certain_=False) for other in arrs[:index])


def _wins(option: Option, other: Option, *, listed: bool) -> bool:
    mine, theirs = option.template, other.template
    if mine is None or theirs is None or _excluded(theirs, mine):
        return True
    foreign = any(mark.name not in nodes_of(theirs) for mark in marks(mine))
    if listed:
        stronger = (len(marks(mine)), -option.rank) > (len(marks(theirs)), -other.rank)
        return stronger or (foreign and not other.each)
    return foreign or option.rank < other.rank


def _excluded(template: Obj, by: Obj) -> bool:
    """Whether a template always has a constant that what `by` writes cannot have."""
    names = nodes_of(by)
    return any(not _could_write(names.get(mark.name, ()), mark) for mark in marks(template))


def _could_write(nodes: Sequence[Node], mark: Mark) -> bool:
    return any(_could_be(node, mark.node, certain_=mark.certain) for node in nodes)


def _could_be(node: Node, wanted: Node, *, certain_: bool) -> bool:
    if isinstance(node, Leaf) and isinstance(wanted, Leaf):
        return node.constant is None or node.constant == wanted.constant
    if isinstance(node, Obj) and isinstance(wanted, Obj):
        return not _excluded(wanted, node)
    if isinstance(node, Arr) and isinstance(wanted, Arr):
        return all(
            any(isinstance(item, Each) or _could_be(item, each, certain_=certain_) for item in node.items)
            for each in firm(wanted, certain_)
        )
    return False


@dataclass(frozen=True, slots=True)
class Test:
    """Distinguishes options: an expression of the object ``{x}`` and, for each literal it can equal, the options."""

    expression: str
    literals: dict[str, list[Option]]

    @property
    def same(self) -> str:
        """The comparison: identity for truth values and types."""
        return "==" if next(iter(self.literals))[0] in "'\"" else "is"


def constant_test(options: Sequence[Option], rec: Rec) -> Test | None:
    """The constant that distinguishes most of some options, None if none does."""
    found = [dict(_paths(option.template, rec, "{x}")) for option in options if option.template is not None]
    shared = [path for path in found[0] if all(path in paths for paths in found)]
    counts = {path: len({paths[path] for paths in found}) for path in shared}
    best = max(counts, key=lambda path: (counts[path], -len(path)), default=None)
    if best is None or counts[best] < 2:
        return None
    literals: dict[str, list[Option]] = {}
    for option, paths in zip(options, found, strict=True):
        literals.setdefault(paths[best], []).append(option)
    return Test(best, literals)


def presence_test(options: Sequence[Option], rec: Rec) -> tuple[str, Option] | None:
    """A field that one option always has and no other ever: its attribute and the option."""
    names = Counter(name for option in options if option.template for name in nodes_of(option.template))
    for option in options:
        for mark in marks(option.template) if option.template else ():
            if names[mark.name] == 1 and mark.name in rec.members:
                return attr(mark.name), option
    return None


def _paths(template: Obj, shape: Shape, base: str) -> Iterator[tuple[str, str]]:
    """The constants that a template always has, each as an expression and a literal of the generated code."""
    if isinstance(shape, Choice):
        tag = next(node.constant for name, node in template.fields if name == shape.tag and isinstance(node, Leaf))
        yield f"type({base})", shape.recs[tag or ""].ref
    members = _members(shape, template)
    for mark in marks(template):
        member = members.get(mark.name)
        if member is not None:
            yield from _inside(mark, member, f"{base}.{attr(mark.name)}")


def _members(shape: Shape, template: Obj) -> dict[str, Shape]:
    if isinstance(shape, Choice):
        tag = next(node.constant for name, node in template.fields if name == shape.tag and isinstance(node, Leaf))
        shape = shape.recs[tag or ""]
    return {name: member.shape for name, member in shape.members.items()} if isinstance(shape, Rec) else {}


def _inside(mark: Mark, shape: Shape, base: str) -> Iterator[tuple[str, str]]:
    node = mark.node
    if isinstance(node, Leaf):
        if node.constant is not None and node.kind != "number":
            yield base, repr(node.constant == "true" if node.kind == "boolean" else node.constant)
    elif isinstance(node, Obj):
        yield from _paths(node, shape, base)
    else:
        held = firm(node, mark.certain)
        for position, item in enumerate(node.items):
            if item not in held or not isinstance(item, Obj):
                return
            yield from _paths(item, getattr(shape, "item", shape), f"{base}[{position}]")
