"""Types for the C decoder, made from a template: what `reader_source` reads was already checked while it was parsed.

An object becomes a msgspec struct, a constant a Literal, a number raw bytes (so that its spelling survives), list
items that a constant text tells apart a tagged union. Templates that share a place (alternatives, list items with the
same tag) share one struct that fits them all; what it leaves open, the generated code checks. A type may refuse
more than `extract` does (the line then goes to `extract`), never less.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Collection, Iterable, Mapping as Table, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, TypeAlias, Union

import msgspec

from fhirspace.mapping.model import CARRIED_URL, Arr, Carried, Each, Mapping, Node, Obj, walk
from fhirspace.mapping.read.extract import SERVER_META, marks, nodes_of
from fhirspace.template.slots import Leaf


class Cell(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """One carried cell: the column and its text."""

    url: Annotated[str, msgspec.Meta(min_length=1)]
    valueString: Annotated[str, msgspec.Meta(min_length=1)]  # noqa: N815 - FHIR's name


@dataclass(frozen=True, slots=True)
class Prim:
    """A primitive: its JSON kind and, where it is always one of some constants, these."""

    kind: str
    constants: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Member:
    """A field of a `Rec`: the struct's attribute, its shape, whether the decoder insists on it."""

    attr: str
    shape: Shape
    required: bool


@dataclass(frozen=True, slots=True)
class Rec:
    """An object: its struct, by name in the generated code, and its fields by JSON name."""

    ref: str
    struct: Any
    members: dict[str, Member]


@dataclass(frozen=True, slots=True)
class Choice:
    """Objects distinguished by the constant text of one field: a tagged union."""

    tag: str
    recs: dict[str, Rec]


@dataclass(frozen=True, slots=True)
class Many:
    """A list."""

    item: Shape


@dataclass(frozen=True, slots=True)
class Kept:
    """An element taken as raw bytes, because the same bytes come again and again: see `reader_memo.Fold`."""

    shape: Shape


@dataclass(frozen=True, slots=True)
class Other:
    """`ANY`: a text that is taken and not looked at. `NEVER`: beyond the generator, so that the decoder refuses it."""

    type: Any


Shape: TypeAlias = Prim | Rec | Choice | Many | Kept | Other
NEVER: Final = Other(Literal["\0"])
_TEXT: Final = Annotated[str, msgspec.Meta(min_length=1)]
ANY: Final = Other(_TEXT)
_PLAIN: Final = re.compile(r"_?[A-Za-z][A-Za-z0-9]*")
_TAGS: Final = ("url", "system")


def attr(name: str) -> str:
    """The Python attribute of a JSON name. It becomes source: what is no plain name is spelt in hexadecimal."""
    if not _PLAIN.fullmatch(name):
        return f"x{name.encode('utf-8', 'surrogatepass').hex()}"
    return f"{name}_" if keyword.iskeyword(name) else name


def useful(node: Node) -> bool:
    """Whether something is read in or below a node."""
    return any(
        isinstance(inner, Each | Carried) or (isinstance(inner, Leaf) and any(slot.readable for slot in inner.slots))
        for inner in walk(node)
    )


def type_of(shape: Shape) -> Any:
    """The type by which msgspec decodes a shape."""
    match shape:
        case Prim():
            return _prim_type(shape)
        case Choice():
            return Union[tuple(rec.struct for rec in shape.recs.values())]  # noqa: UP007 - the members are data
        case Many():
            return Annotated[list[type_of(shape.item)], msgspec.Meta(min_length=1)]  # type: ignore[misc]
        case Kept():
            return msgspec.Raw
        case Rec():
            return shape.struct
    return shape.type


def _prim_type(prim: Prim) -> Any:
    if prim.kind == "string":
        return _TEXT if prim.constants is None else Literal[tuple(sorted(prim.constants))]
    return bool if prim.kind == "boolean" else msgspec.Raw


class Shapes:
    """Makes shapes, and collects their structs by name.

    Args:
        items: the mappings of nested domains; notice: whether unknown elements are refused.
    """

    def __init__(self, items: Table[str, Mapping], *, notice: bool) -> None:
        self._items, self._notice = items, notice
        self.structs: dict[str, Any] = {}
        self._cells = Member("extension", Many(Rec("Cell", Cell, {})), False)

    def root(self, template: Obj, kept: Collection[str] = ()) -> Rec:
        """The shape of a resource: its type and identifier must be there; what a server adds to meta may be.

        Elements named in `kept` are left as bytes.
        """
        members = self._members([template], need=False, strict=self._notice)
        fields = dict(template.fields)
        for name in ("resourceType", "identifier"):
            shape = self._of([fields[name]], need=True, strict=self._notice)
            members[name] = Member(attr(name), shape, True)
        if self._notice:
            meta = fields.get("meta", Obj((), template.line, ""))
            inner = self._members([meta], need=False, strict=True) if isinstance(meta, Obj) else {}
            inner |= {name: Member(attr(name), ANY, False) for name in sorted(SERVER_META)}
            members["meta"] = Member("meta", self._record(inner, strict=True), False)
        for name in members.keys() & set(kept):
            member = members[name]
            members[name] = Member(member.attr, Kept(member.shape), member.required)
        return self._record(members, strict=self._notice)

    def _of(self, nodes: Sequence[Node], *, need: bool, strict: bool) -> Shape:
        """The shape that fits all templates of a place. `need`: the decoder insists on what tells them from others."""
        if all(isinstance(node, Leaf) for node in nodes):
            return _prim([node for node in nodes if isinstance(node, Leaf)])
        if all(isinstance(node, Obj) for node in nodes):
            return self._objects([node for node in nodes if isinstance(node, Obj)], need=need, strict=strict)
        if all(isinstance(node, Arr) for node in nodes):
            return self._list([node for node in nodes if isinstance(node, Arr)], strict=strict)
        return NEVER

    def _objects(self, objs: Sequence[Obj], *, need: bool, strict: bool, carried: bool = False) -> Shape:
        if len(objs) == 1 and not carried:
            return self._record(self._members(objs, need=need, strict=strict), strict=strict)
        tag = _tag(objs, carried=carried)
        if tag is None:
            return NEVER if carried else self._record(self._members(objs, need=need, strict=True), strict=True)
        groups: dict[str, list[Obj]] = {}
        for obj in objs:
            groups.setdefault(constants(obj)[tag], []).append(obj)
        recs = {}
        for value, group in groups.items():
            tight = strict or len(group) > 1
            members = self._members(group, need=True, strict=tight, without=tag)
            recs[value] = self._record(members, strict=tight, tag=(tag, value))
        if carried:
            recs[CARRIED_URL] = self._record({"extension": self._cells}, strict=strict, tag=(tag, CARRIED_URL))
        return Choice(tag, recs)

    def _list(self, arrs: Sequence[Arr], *, strict: bool) -> Shape:
        items = [item for arr in arrs for item in arr.items]
        leaves = [item for item in items if isinstance(item, Leaf)]
        carried = any(isinstance(item, Carried) for item in items)
        objs = list(self.templates(items))
        if leaves:
            return Many(_prim(leaves)) if len(leaves) == len(items) else NEVER
        if objs:
            return Many(self._objects(objs, need=True, strict=strict, carried=carried))
        url = Member("url", Prim("string", frozenset({CARRIED_URL})), True)
        return Many(self._record({"url": url, "extension": self._cells}, strict=strict)) if carried else NEVER

    def templates(self, items: Iterable[Node]) -> Iterable[Obj]:
        """The objects among the items of a list, those of nested domains at their places."""
        for item in items:
            if isinstance(item, Obj):
                yield item
            elif isinstance(item, Each) and item.domain in self._items:
                nested = self._items[item.domain].item
                if nested is not None:
                    yield nested

    def _members(self, objs: Sequence[Obj], *, need: bool, strict: bool, without: str = "") -> dict[str, Member]:
        members = {}
        for name in dict.fromkeys(name for obj in objs for name in nodes_of(obj) if name != without):
            alternatives = [nodes_of(obj).get(name, ()) for obj in objs]
            nodes = [node for some in alternatives for node in some]
            required = need and all(any(mark.name == name for mark in marks(obj)) for obj in objs)
            if not (strict or required or any(useful(node) for node in nodes)):
                continue
            several = any(len(some) > 1 for some in alternatives)
            shape = self._of(nodes, need=required or several, strict=strict or several)
            members[name] = Member(attr(name), shape, required)
        return members

    def _record(self, members: dict[str, Member], *, strict: bool, tag: tuple[str, str] | None = None) -> Rec:
        ref = f"S{len(self.structs)}"
        fields = [
            (member.attr, type_of(member.shape)) if member.required else (member.attr, type_of(member.shape), None)
            for member in members.values()
        ]
        struct = msgspec.defstruct(
            ref, fields, rename={member.attr: name for name, member in members.items()}, kw_only=True, gc=False,
            forbid_unknown_fields=strict, omit_defaults=True,
            tag_field=tag[0] if tag else None, tag=tag[1] if tag else None,
        )  # fmt: skip
        self.structs[ref] = struct
        return Rec(ref, struct, members)


def _prim(leaves: Sequence[Leaf]) -> Shape:
    kinds = {leaf.kind for leaf in leaves}
    if len(kinds) > 1:
        return NEVER
    kind = kinds.pop()
    texts = {leaf.constant for leaf in leaves}
    known = frozenset(text for text in texts if text is not None)
    return Prim(kind, known if kind == "string" and None not in texts else None)


def constants(obj: Obj) -> dict[str, str]:
    """The constant texts that an object always has, by name."""
    return {
        mark.name: mark.node.constant
        for mark in marks(obj)
        if isinstance(mark.node, Leaf) and mark.node.kind == "string" and mark.node.constant is not None
    }


def _tag(objs: Sequence[Obj], *, carried: bool) -> str | None:
    """The field whose constant text tells most of some objects apart, None where all have the same, or none has one."""
    shared = [constants(obj) for obj in objs]
    names = [name for name in shared[0] if all(name in known for known in shared)]
    if carried:
        return "url" if "url" in names else None
    names = [name for name in names if len({known[name] for known in shared}) > 1]
    return min(names, key=lambda name: (name not in _TAGS, name), default=None)
