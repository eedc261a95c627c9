"""The usual shapes of elements read by Arrow: a single text, a Quantity, a reference. All others are read by `columns`.

What these functions give is what the reading of each distinct text gives. They give nothing at all where a block has
anything unusual: an escape, a number where a text belongs, a reference without a literal one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.json import resource_decoder
from fhirspace.tables.text import TEXT
from fhirspace.views.plan import Part, Read

_NOTHING: Final = msgspec.Raw(b"")
_NUMBER: Final = r"^-?[0-9][0-9.]{0,300}$"
_decoded = resource_decoder(dict[str, msgspec.Raw])


class Made(NamedTuple):
    """The texts of values by name, and the lists of paths that nobody reads with the number of the list of each row."""

    texts: dict[str, pa.Array]
    unmapped: tuple[list[tuple[str, ...]], pa.Array] | None


def fast(kind: str, part: Part, raws: Sequence[bytes]) -> Made | None:
    """The values of an element as written in some resources (b"" where it is absent); None: read it otherwise.

    Args:
        kind: the resource type. part: what is read of the element.
    """
    if part.items or part.status or not part.reads or any(read.way.nth > 1 for read in part.reads.values()):
        return None
    if part.plain:
        texts = _texts(raws, numbers=False)
        return None if texts is None else Made(dict.fromkeys(part.reads, texts), None)
    if not all(usual(part, read) for read in part.reads.values()):
        return None
    return _members(kind, part, raws)


def usual(part: Part, read: Read) -> bool:
    """Whether a value is a reference, a Quantity, or a primitive member of a single object."""
    steps = read.way.steps
    if not part.singles or any(step.filters for step in steps) or read.name.startswith(("*", "@@")):
        return False
    if len(steps) == 1:
        return read.way.quantity or read.way.then is not None
    return len(steps) == 2 and steps[1].name in part.singles and read.way.then is None


def _members(kind: str, part: Part, raws: Sequence[bytes]) -> Made | None:
    empty: dict[str, msgspec.Raw] = {}
    try:
        found = [_decoded(raw) if raw else empty for raw in raws]
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    texts: dict[str, pa.Array] = {}
    for name, read in part.reads.items():
        made = _value(found, read)
        if made is None:
            return None
        texts[name] = made
    codes: dict[tuple[str, ...], int] = {}
    numbers = [codes.setdefault(tuple(each), len(codes)) for each in found]
    lists = [tuple(f"{kind}.{part.name}.{name}" for name in names if name not in part.tree) for names in codes]
    return Made(texts, (lists, pa.array(numbers, pa.int32())) if any(lists) else None)


def _value(found: Sequence[dict[str, msgspec.Raw]], read: Read) -> pa.Array | None:
    if len(read.way.steps) == 2:
        return _member(found, read.way.steps[1].name)
    if read.way.then is not None:
        if any(each and "reference" not in each for each in found):
            return None
        return _member(found, "reference")
    numbers = _member(found, "value")
    if numbers is None or not any("comparator" in each for each in found):
        return numbers
    signs = _member(found, "comparator")
    return None if signs is None else pc.binary_join_element_wise(pc.fill_null(signs, ""), numbers, "")


def _member(found: Sequence[dict[str, msgspec.Raw]], name: str) -> pa.Array | None:
    return _texts([bytes(each.get(name, _NOTHING)) for each in found], numbers=name == "value")


def _texts(raws: Sequence[bytes], *, numbers: bool) -> pa.Array | None:
    """The texts of JSON texts, or of numbers as they are spelt; null where there is none. None: anything else."""
    try:
        given = pa.array(raws, pa.binary()).cast(TEXT)
    except pa.ArrowInvalid:  # no UTF-8
        return None
    empty = pc.equal(given, "")
    if numbers:
        right = pc.match_substring_regex(given, _NUMBER)
        return pc.if_else(empty, pa.scalar(None, TEXT), given) if pc.all(pc.or_(empty, right)).as_py() else None
    right = pc.and_(pc.starts_with(given, '"'), pc.greater(pc.binary_length(given), 2))
    if not pc.all(pc.or_(empty, right)).as_py() or pc.any(pc.match_substring(given, "\\")).as_py():
        return None
    return pc.if_else(empty, pa.scalar(None, TEXT), pc.utf8_slice_codeunits(given, 1, -1))
