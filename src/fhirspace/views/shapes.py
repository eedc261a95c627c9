"""Resources of usual shapes, decoded to structs that are made of the members which a block has.

A struct names every member that the resources of a type have had so far, so that what nobody reads is counted by
member, not by line. Members that are read as they are come as texts; all others come as bytes, to be read for each
distinct text (`columns`). A block with anything unusual is not read here: a member of another kind of JSON than the
others, a null, a name that comes twice, an extension that modifies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Final, Literal

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.json import decoder, resource_decoder
from fhirspace.tables.text import TEXT
from fhirspace.views.objects import numbers_of, usual
from fhirspace.views.plan import RARE, Part, Plan, Read

_NOTHING: Final = msgspec.Raw(b"")
_SAMPLE: Final = 100
"""Resources that a struct is made of, at the beginning and from the first one that does not fit."""
_MOST_NAMES: Final = 200
_MOST_TURNS: Final = 8
"""How often a struct is made anew for one block."""
_MOST_FAILURES: Final = 3
"""Blocks with something unusual, after which no further one is tried."""
_FAULTS: Final = (msgspec.DecodeError, UnicodeError, RecursionError)
_members = decoder(dict[str, msgspec.Raw])
Kind = Literal["text", "object", "bytes"]


@dataclass(slots=True)
class Values:
    """What a block has of some members.

    Attributes:
        texts: of values, by name. raws: of elements that are to be read for each distinct text, as bytes.
        unmapped: paths that nobody reads, with whether each resource has them.
    """

    texts: dict[str, pa.Array] = field(default_factory=dict)
    raws: dict[str, list[bytes]] = field(default_factory=dict)
    unmapped: list[tuple[str, pa.Array]] = field(default_factory=list)


@dataclass(slots=True)
class _Member:
    """A member: how it comes, and the members of an object."""

    kind: Kind
    inner: dict[str, _Member] = field(default_factory=dict)


class Shapes:
    """The members that resources of a type have had so far, and the struct of them.

    Args:
        plan: what is read of the type.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._known: dict[str, _Member] = {}
        self._decode: Any = None
        self._failures = _MOST_FAILURES if plan.definitions else 0

    def values(self, lines: Sequence[bytes]) -> Values | None:
        """What some resources have; None where anything is unusual."""
        if self._failures >= _MOST_FAILURES:
            return None
        for _ in range(_MOST_TURNS):
            found: list[Any] = []
            try:
                if self._decode is not None:
                    found.extend(map(self._decode, lines))
                    return self._read(found)
            except _FAULTS:
                pass
            if not self._learn(lines[len(found) : len(found) + _SAMPLE]):
                break
        self._failures += 1
        return None

    def _learn(self, lines: Sequence[bytes]) -> bool:
        """Adds the members of some resources; gives whether there were new ones, all of them usual."""
        before = _count(self._known)
        try:
            for line in lines:
                for name, raw in _members(line).items():
                    self._add(name, bytes(raw))
        except _FAULTS:
            return False
        after = _count(self._known)
        if not before < after <= _MOST_NAMES or not RARE.isdisjoint(self._known):
            return False
        self._decode = resource_decoder(_struct(self._known))
        return True

    def _add(self, name: str, raw: bytes) -> None:
        part = self._plan.parts.get(name)
        several = part is not None and any(read.way.nth > 1 for read in part.reads.values())
        if part is None or part.items or part.status or not part.reads or several:
            self._known.setdefault(name, _Member("bytes"))
        elif part.plain:
            self._known.setdefault(name, _Member("text" if raw.startswith(b'"') else "bytes"))
        elif raw.startswith(b"{") and all(usual(part, read) for read in part.reads.values()):
            inner = self._known.setdefault(name, _Member("object")).inner
            for each, value in _members(raw).items():
                read = each in part.tree and bytes(value).startswith(b'"')
                inner.setdefault(each, _Member("text" if read else "bytes"))
        else:
            self._known.setdefault(name, _Member("bytes"))

    def _read(self, found: Sequence[Any]) -> Values:
        made = Values()
        for at, (name, member) in enumerate(self._known.items()):
            cells = list(map(attrgetter(f"f{at}"), found))
            part = self._plan.parts.get(name)
            if part is None:
                _count_unmapped(made, f"{self._plan.kind}.{name}", cells, name)
            elif member.kind == "bytes":
                made.raws[name] = list(map(bytes, cells))
            elif member.kind == "text":
                made.texts |= dict.fromkeys(part.reads, _texts(cells))
            else:
                self._read_object(made, part, member, cells)
        return made

    def _read_object(self, made: Values, part: Part, member: _Member, cells: Sequence[Any]) -> None:
        """The values of an object, or its bytes where they are unusual."""
        inner: dict[str, Sequence[Any]] = {}
        for at, name in enumerate(member.inner):
            get = attrgetter(f"f{at}")
            empty = None if member.inner[name].kind == "text" else _NOTHING
            inner[name] = [empty if cell is None else get(cell) for cell in cells]
        texts = {name: self._value(read, member, inner, cells) for name, read in part.reads.items()}
        if any(each is None for each in texts.values()):
            made.raws[part.name] = [b"" if cell is None else msgspec.json.encode(cell) for cell in cells]
            return
        made.texts |= texts
        for name, found in inner.items():
            if name not in part.tree:
                _count_unmapped(made, f"{self._plan.kind}.{part.name}.{name}", found, name)

    def _value(
        self, read: Read, member: _Member, inner: Mapping[str, Sequence[Any]], cells: Sequence[Any]
    ) -> pa.Array | None:
        """One value of an object; None where it is unusual."""
        count, way = len(cells), read.way
        if len(way.steps) > 1:
            return self._inner_texts(member, inner, way.steps[-1].name, count)
        if way.then is not None:
            return None if _lacks(inner, cells) else self._inner_texts(member, inner, "reference", count)
        texts = self._inner_texts(member, inner, "value", count)
        if texts is None or "comparator" not in inner:
            return texts
        signs = self._inner_texts(member, inner, "comparator", count)
        return None if signs is None else pc.binary_join_element_wise(pc.fill_null(signs, ""), texts, "")

    def _inner_texts(
        self, member: _Member, inner: Mapping[str, Sequence[Any]], name: str, count: int
    ) -> pa.Array | None:
        """The texts of a member of an object; None where it is neither a text nor the number of a Quantity."""
        if name not in inner:
            return pa.nulls(count, TEXT)
        if member.inner[name].kind == "text":
            return _texts(inner[name])
        return numbers_of(list(map(bytes, inner[name]))) if name == "value" else None


def _count_unmapped(made: Values, path: str, cells: Sequence[Any], name: str) -> None:
    if name != "resourceType":
        made.unmapped.append((path, pa.array([cell is not _NOTHING for cell in cells])))


def _lacks(inner: Mapping[str, Sequence[Any]], cells: Sequence[Any]) -> bool:
    """Whether a reference is there that has no literal one."""
    literal = inner.get("reference", [None] * len(cells))
    return any(cell is not None and not text for cell, text in zip(cells, literal, strict=True))


def _texts(cells: Sequence[str | None]) -> pa.Array:
    """Texts; an empty one is none."""
    made = pa.array(cells, TEXT)
    empty = pc.fill_null(pc.equal(made, ""), False)
    return pc.if_else(empty, pa.scalar(None, TEXT), made) if pc.any(empty).as_py() else made


def _count(known: Mapping[str, _Member]) -> int:
    return sum(1 + len(each.inner) for each in known.values())


def _struct(known: Mapping[str, _Member]) -> Any:
    """The struct of some members, which may all be absent and has no others."""
    fields: list[Any] = []
    for at, (name, member) in enumerate(known.items()):
        if member.kind == "bytes":
            fields.append((f"f{at}", msgspec.Raw, msgspec.field(default=_NOTHING, name=name)))
        else:
            kind = str if member.kind == "text" else _struct(member.inner)
            fields.append((f"f{at}", kind | None, msgspec.field(default=None, name=name)))
    return msgspec.defstruct("Shape", fields, forbid_unknown_fields=True, omit_defaults=True, gc=False)
