"""The values of resources that are written alike (`fhir.patterns`), without an object of Python for any of them.

What depends on names only, such as which paths nobody reads, is found once for each pattern.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.fhir.patterns.block import Span
from fhirspace.fhir.patterns.match import Alike
from fhirspace.fhir.patterns.pattern import Pattern
from fhirspace.tables.text import TEXT, decode
from fhirspace.views.plan import RARE, Part, Plan, Read, unmapped
from fhirspace.views.reading.blocks import Block, Values, nothing
from fhirspace.views.reading.elements import Elements
from fhirspace.views.reading.objects import usual

Spans = tuple[Span, ...]
"""Of a value: none where no resource has it, one, or two of which the texts belong together."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How the resources of a pattern are read.

    Attributes:
        texts: the parts of lines that are values, by element and name. raws: elements read for each distinct text.
        absent: elements that the resources do not have. unmapped: paths in them that nobody reads.
    """

    texts: dict[str, dict[str, Spans]] = field(default_factory=dict)
    raws: dict[str, Span] = field(default_factory=dict)
    absent: list[Part] = field(default_factory=list)
    unmapped: tuple[str, ...] = ()


def readable(pattern: Pattern, kind: str) -> bool:
    """Whether resources of a pattern are read here: those of a type that the rules of status do not look at whole."""
    return pattern.value.get("resourceType") == kind and RARE.isdisjoint(pattern.names)


def reading(plan: Plan, pattern: Pattern) -> Reading:
    """How the resources of a pattern are read by a plan."""
    paths = list[str]()
    made = Reading()
    for name, value in pattern.value.items():
        if name in plan.parts:
            part = plan.parts[name]
            paths += dict.fromkeys(unmapped(value, part.tree, f"{plan.kind}.{name}")) if part.tree else {}
        elif name != "resourceType":
            paths.append(f"{plan.kind}.{name}")
    for name, part in plan.parts.items():
        if name not in pattern.members:
            made.absent.append(part)
            continue
        texts = _texts(part, pattern)
        if texts is not None:
            made.texts[name] = texts
        made.raws[name] = pattern.members[name]
    return Reading(made.texts, made.raws, made.absent, tuple(paths))


def _texts(part: Part, pattern: Pattern) -> dict[str, Spans] | None:
    """The parts of a line that are the values of an element; None: it is to be read for each distinct text."""
    if part.items or part.status or not part.reads or any(read.way.nth > 1 for read in part.reads.values()):
        return None
    if part.plain:
        span = _primitive(pattern, part.name)
        return dict.fromkeys(part.reads, (span,)) if span else None
    if not isinstance(pattern.value[part.name], dict) or not all(usual(part, read) for read in part.reads.values()):
        return None
    found = {name: _spans(part.name, read, pattern) for name, read in part.reads.items()}
    return {name: spans for name, spans in found.items() if spans is not None} if None not in found.values() else None


def _spans(element: str, read: Read, pattern: Pattern) -> Spans | None:
    """The parts of a line that are a value of an object."""
    if read.way.then is not None:
        span = pattern.texts.get((element, "reference"))
        return (span,) if span else None
    if len(read.way.steps) == 2:
        return _member(pattern, element, read.way.steps[1].name)
    number = _member(pattern, element, "value")
    if not number:
        return number
    if (element, "value") not in pattern.numbers:
        return None
    sign = _member(pattern, element, "comparator")
    return None if sign is None else (*sign, *number)


def _member(pattern: Pattern, element: str, name: str) -> Spans | None:
    if name not in pattern.value[element]:
        return ()
    span = _primitive(pattern, element, name)
    return (span,) if span else None


def _primitive(pattern: Pattern, *path: str) -> Span | None:
    return pattern.texts.get(path) or pattern.numbers.get(path)


def read(alike: Alike, how: Reading, elements: Mapping[str, Elements]) -> Block:
    """The values of resources that are written alike."""
    block = Block(len(alike.rows))
    for part in how.absent:
        block.add_nothing(part)
    for name, span in how.raws.items():
        texts = _cells(alike, how.texts[name]) if name in how.texts else None
        if texts is None:
            elements[name].add(block, alike.cells(span, pa.binary()), count=False)
        else:
            block.values |= texts
    if how.unmapped:
        block.unmapped.append(([how.unmapped], pa.array(np.zeros(block.count, np.int32))))
    return block


def _cells(alike: Alike, wanted: Mapping[str, Spans]) -> dict[str, Values] | None:
    """The values of an element; None where one of them has an escape."""
    found = dict[Spans, Values]()
    for spans in wanted.values():
        if spans not in found:
            cells = [alike.cells(span) for span in spans]
            if alike.escaped and any(map(_escaped, cells)):
                return None
            found[spans] = Values(_joined(cells, len(alike.rows)), None)
    return {name: found[spans] for name, spans in wanted.items()}


def _joined(cells: list[pa.Array], count: int) -> pa.Array:
    """The texts of one or two parts of lines; an empty one is none."""
    if not cells:
        return nothing(count)
    if len(cells) == 1 and pa.types.is_dictionary(cells[0].type):
        return cells[0] if cells[0].dictionary[0].as_py() else nothing(count)
    made = cells[0] if len(cells) == 1 else pc.binary_join_element_wise(*map(decode, cells), "")
    empty = pc.equal(made, "")
    return pc.if_else(empty, pa.scalar(None, TEXT), made) if pc.any(empty).as_py() else made


def _escaped(cells: pa.Array) -> bool:
    texts = cells.dictionary if pa.types.is_dictionary(cells.type) else cells
    return bool(pc.any(pc.match_substring(texts, "\\")).as_py())
