"""What happens to a single value: a cell at a slot, the forms of a cell, a leaf's text read back.

These few functions are shared by the renderer, the kernel and the readers, so that there is one meaning of each.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping as Table
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cache

from fhirspace.template.codec import CellError
from fhirspace.template.slots import REPEAT, Cond, Form, Leaf, Slot, once

_SLOW, _SHORT = 3, 3_000
"""So many slots that take any text make a pattern slow on a text of more letters."""
Candidates = list[tuple[Slot, str]]
"""What leaves that were written give for columns when read back: the slot and the cell."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong in a row: a catalogue code, the column and what was expected there."""

    code: str
    column: str
    expected: str


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.ASCII)


def virtual_cells(column: str, forms: Iterable[Form], cell: str) -> dict[str, str]:
    """The virtual cells of one cell (see `with_forms`)."""
    for form in forms:
        fits = _compiled(form.pattern).fullmatch(cell)
        if fits and _ascending(fits.groupdict()):
            name = f"{column}.{form.name}"
            return {name: cell} | {f"{name}.{part}": text for part, text in fits.groupdict().items() if text}
    return {}


def _ascending(parts: Table[str, str | None]) -> bool:
    """Whether parts named `low` and `high` are numbers in that order (FHIR, Range: rng-2); true of all other parts."""
    low, high = parts.get("low"), parts.get("high")
    return not low or not high or Decimal(low) <= Decimal(high)


def holds(condition: Cond | None, cells: Table[str, str]) -> bool:
    """Whether a condition is true of a row's (real and virtual) cells; None is always true."""
    if condition is None:
        return True
    match condition.op:
        case "filled":
            return condition.column in cells
        case "is":
            return cells.get(condition.column) in condition.values
        case "not":
            return not holds(condition.args[0], cells)
        case "and":
            return all(holds(arg, cells) for arg in condition.args)
        case _:
            return any(holds(arg, cells) for arg in condition.args)


def slot_text(slot: Slot, cell: str, faults: list[Fault]) -> str | None:
    """The element text of a cell at a slot, None if the codec has no text for it; a wrong cell adds a Fault."""
    try:
        return slot.codec.out(cell)
    except CellError as error:
        if not slot.codec.open and not slot.derived:
            faults.append(Fault(error.code, slot.base, error.expected))
        return None


def leaf_text(leaf: Leaf, cells: Table[str, str], faults: list[Fault]) -> str | None:
    """The text of a leaf for a row; None if it is omitted.

    In a row with an ordinal the last slot of its identity may be empty, and the ordinal is added.
    """
    ordinal = cells.get(REPEAT) if leaf.repeat is not None else None
    end = f"{leaf.repeat}{ordinal}" if ordinal and leaf.repeat else ""
    if leaf.constant is not None:
        return leaf.constant + end
    texts: list[str] = []
    for part in leaf.parts:
        if isinstance(part, str):
            texts.append(part)
            continue
        cell = cells.get(part.column)
        text = None if cell is None else slot_text(part, cell, faults)
        if text is None and (ordinal is None or part is not leaf.slots[-1]):
            return None
        texts.append(text or "")
    joined = "".join(texts) + end
    return joined if not leaf.pattern or _compiled(leaf.pattern).fullmatch(joined) else None


@once
def leaf_pattern(leaf: Leaf) -> re.Pattern[str]:
    """The regular expression that splits a leaf's text: a group ``s0``, ``s1`` ... a slot."""
    slots = iter(range(len(leaf.parts)))
    return re.compile(
        "".join(
            re.escape(part) if isinstance(part, str) else f"(?P<s{next(slots)}>{_part(part)})" for part in leaf.parts
        )
    )


def _part(slot: Slot) -> str:
    return "(?s:.+)" if loose(slot) else slot.codec.pattern


def loose(slot: Slot) -> bool:
    """Whether a slot among others takes any text (`leaf_pattern`)."""
    return not slot.codec.verbatim or slot.codec.name == "text"


def divided(leaf: Leaf, text: str) -> tuple[str, ...] | None:
    """The texts of a leaf's slots as `leaf_pattern` divides them; None where the leaf cannot have written the text."""
    count = sum(map(loose, leaf.slots))
    if count < _SLOW:
        fits = leaf_pattern(leaf).fullmatch(text)
    elif count == len(leaf.slots):
        return _from_the_right(leaf, text)
    else:  # the pattern would try every end of a loose slot with every end of the others
        fits = leaf_pattern(leaf).fullmatch(text) if len(text) <= _SHORT else None
    return fits.groups() if fits else None


def _from_the_right(leaf: Leaf, text: str) -> tuple[str, ...] | None:
    """The result of the pattern if all slots take any text. Each constant is matched as late as possible."""
    constants = [""]
    for part in leaf.parts:
        if isinstance(part, str):
            constants[-1] += part
        else:
            constants.append("")
    start, end = len(constants[0]), len(text) - len(constants[-1])
    if not (text.startswith(constants[0]) and text.endswith(constants[-1])):
        return None
    found: list[str] = []
    for constant in reversed(constants[1:-1]):
        at = text.rfind(constant, start, max(end - 1, 0))
        if at < 0:
            return None
        found.append(text[at + len(constant) : end])
        end = at
    found.append(text[start:end])
    return tuple(reversed(found)) if all(found) else None


def read_leaf(leaf: Leaf, text: str, *, every: bool = False) -> Candidates | None:
    """The cells that a leaf's text holds, None where the text is not one that the leaf could have written.

    With `every`, a slot that gives no cell is among them with its text.
    """
    if leaf.constant is not None:
        return [] if text == leaf.constant else None
    if len(leaf.parts) == 1:
        return _read(leaf.slots[0], text, every)
    texts = divided(leaf, text)
    if texts is None:
        return None if leaf.repeat is None else _read_repeated(leaf, text, every)
    found: Candidates = []
    for slot, part in zip(leaf.slots, texts, strict=True):
        read = _read(slot, part, every)
        if read is None:
            return None
        found += read
    return found


def _read_repeated(leaf: Leaf, text: str, every: bool) -> Candidates | None:
    """The same of a text that `leaf_text` wrote for a row with an ordinal."""
    if leaf.repeat:
        text, separator, ordinal = text.rpartition(leaf.repeat)
        if not separator or not ordinal.isdecimal():
            return None
    own = replace(leaf, repeat=None)
    found = read_leaf(own, text, every=every) if leaf.repeat else None
    if found is None and own.parts[-1] is own.slots[-1] and len(own.parts) > 1:
        found = read_leaf(replace(own, parts=own.parts[:-1]), text, every=every)
    return found


def _read(slot: Slot, text: str, every: bool) -> Candidates | None:
    if not slot.readable:
        return [(slot, text)] if every else []
    cell = slot.codec.back(text)
    return None if cell is None else [(slot, cell)]
