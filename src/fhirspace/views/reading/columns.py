"""Resources of one type as columns: each value that a plan names, for a block of resources at a time.

Those that are written alike are read together, all others one by one (`_Members`), an element's values once for each
distinct text of it. Rows are put together by Arrow.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
import numpy as np
import pyarrow as pa

from fhirspace.fhir.patterns.match import Patterns
from fhirspace.fhir.patterns.pattern import Pattern
from fhirspace.json import JsonError, decoder, parse, resource_decoder
from fhirspace.views.definition.rows import table
from fhirspace.views.plan import RARE, Part, Plan
from fhirspace.views.reading import alike
from fhirspace.views.reading.blocks import Block, Fault, Values, together
from fhirspace.views.reading.elements import Elements
from fhirspace.views.reading.objects import fast

_NOTHING: Final = msgspec.Raw(b"")
_EMPTY: Final = msgspec.Raw(b"[]")
_list = decoder(list[msgspec.Raw])
_decoded = resource_decoder(dict[str, msgspec.Raw])
_ESCAPED: Final = b"\\u00"
"""An escape that can spell a letter of a name."""


class Columns:
    """Reads the resources of one type, and remembers how those before were written.

    Args:
        plan: what is read. one_by_one: read each resource by itself, whatever it has in common with others.
    """

    def __init__(self, plan: Plan, *, one_by_one: bool = False) -> None:
        self._plan, self._one_by_one = plan, one_by_one or bool(plan.definitions)
        self._elements = {name: Elements(plan, part) for name, part in plan.parts.items()}
        self._patterns = Patterns(lambda pattern: alike.readable(pattern, plan.kind))
        self._readings: dict[Pattern, alike.Reading] = {}

    def block(self, lines: Sequence[bytes]) -> Block:
        """The values of some resources. What is wrong in one of them is in `Block.faults`."""
        rest, parts = np.arange(len(lines)), list[tuple[Any, Block]]()
        if not any(b"\n" in line for line in lines):
            parts, rest = self.alike(b"\n".join((*lines, b"")))
        if len(rest):
            parts.append((rest, self._each([lines[at] for at in rest.tolist()])))
        return together(parts)

    def alike(self, text: bytes) -> tuple[list[tuple[Any, Block]], Any]:
        """Of the lines of a text (with a line end each) those of the type that are written alike.

        Returns:
            The numbers of these lines with their values, and the numbers of all others.
        """
        if self._one_by_one:
            return [], np.arange(text.count(b"\n"))
        groups, rest = self._patterns.divided(text)
        parts = list[tuple[Any, Block]]()
        for group in groups:
            if group.pattern not in self._readings:
                self._readings[group.pattern] = alike.reading(self._plan, group.pattern)
            parts.append((group.rows, alike.read(group, self._readings[group.pattern], self._elements)))
        return parts, rest

    def _each(self, lines: Sequence[bytes]) -> Block:
        """The values of any resources."""
        plan, block = self._plan, Block(len(lines))
        self._add_members(block, lines)
        whole = b"\n".join(lines)
        if b"modifierExtension" in whole or (b"\\" in whole and _ESCAPED in whole):
            for at, line in enumerate(lines):
                if b"modifierExtension" in line or _ESCAPED in line:
                    _judge_whole(plan, block, at, line)
        return block

    def _add_members(self, block: Block, lines: Sequence[bytes]) -> None:
        plan = self._plan
        try:
            found = list(map(_decoded, lines))
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            found = [_members(block, at, line) for at, line in enumerate(lines)]
        names = _count_members(plan, block, found)
        for part in plan.parts.values():
            if part.name in names:
                name = part.name
                self._add(part, block, [bytes(each.get(name, _NOTHING)) for each in found])
            else:
                block.add_nothing(part)
        _add_tables(plan, block, found, lines)
        for at, each in enumerate(found) if not RARE.isdisjoint(names) else ():
            if not RARE.isdisjoint(each):
                block.contained += [(at, inner) for inner in _contained(each)]
                _judge_whole(plan, block, at, lines[at])

    def _add(self, part: Part, block: Block, raws: list[bytes]) -> None:
        """Adds the values of one element: the usual shapes by Arrow, all others for each distinct text."""
        made = fast(self._plan.kind, part, raws)
        if made is None:
            self._elements[part.name].add(block, pa.array(raws, pa.binary()))
            return
        block.values |= {name: Values(texts, None) for name, texts in made.texts.items()}
        block.unmapped += [made.unmapped] if made.unmapped else []


def _add_tables(plan: Plan, block: Block, found: list[dict[str, msgspec.Raw]], lines: Sequence[bytes]) -> None:
    """Adds the rows of ViewDefinitions."""
    for each in plan.definitions:
        block.tables[each.name], codes = table(each, found, lines)
        for at, code in codes.items():
            block.faults.setdefault(at, Fault(code, each.name))


def _members(block: Block, at: int, line: bytes) -> dict[str, msgspec.Raw]:
    try:
        parse(line)
        return _decoded(line)
    except JsonError as error:
        block.faults[at] = Fault(error.code, "")
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        block.faults[at] = Fault("FS401", "")
    return {}


def _contained(resource: dict[str, msgspec.Raw]) -> list[bytes]:
    try:
        return [bytes(each) for each in _list(resource.get("contained", _EMPTY))]
    except JsonError:  # found again, and reported, when the whole resource is read
        return []


def _judge_whole(plan: Plan, block: Block, at: int, line: bytes) -> None:
    try:
        resource = parse(line)
    except JsonError as error:
        block.faults[at] = Fault(error.code, "")
        return
    block.verdicts[at] = plan.status(resource) or block.verdicts.get(at, [])


def _count_members(plan: Plan, block: Block, found: list[dict[str, msgspec.Raw]]) -> set[str]:
    """Counts the elements that nobody reads, and gives the names of all elements."""
    codes: dict[tuple[str, ...], int] = {}
    numbers = [codes.setdefault(tuple(each), len(codes)) for each in found]
    every = {name for names in codes for name in names}
    known = {"resourceType", *(name for name in every if plan.reads(name))}
    lists = [tuple(f"{plan.kind}.{name}" for name in names if name not in known) for names in codes]
    block.unmapped.append((lists, pa.array(numbers, pa.int32())))
    return every
