"""What the official schema refuses in definitions that were read, put right before they are written.

A variable or a term that is there twice is there once, an order with gaps or repeats is that of the file, a condition
without a value is none, and a name that is no SAS format or no XML name is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from fhirspace.sdtm.define.model import Codelist, ItemRef, Leaf, Where

_FORMAT: Final = re.compile(r"[A-Za-z_$][A-Za-z0-9_.]{0,7}")
_ID: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_FLOAT: Final = re.compile(r"[+-]?\d+(\.\d+)?")
_CODELIST_TYPES: Final = ("text", "integer", "float")


def refs_once(refs: Iterable[ItemRef]) -> tuple[ItemRef, ...]:
    """References to items, each item once, with orders that differ."""
    found = list({ref.item: ref for ref in reversed(list(refs))}.values())[::-1]
    if _differ([ref.order for ref in found]):
        return tuple(found)
    found.sort(key=lambda ref: ref.order or 0)
    return tuple(replace(ref, order=at) for at, ref in enumerate(found, 1))


def codelist(given: Codelist) -> Codelist:
    """A codelist with each term once, and with orders that differ or none."""
    terms = list({term.value: term for term in reversed(given.terms)}.values())[::-1]
    if not _differ([term.order for term in terms]):
        terms = [replace(term, order=None) for term in terms]
    terms = [term if not term.rank or _FLOAT.fullmatch(term.rank) else replace(term, rank="") for term in terms]
    form = given.format if _FORMAT.fullmatch(given.format) else ""
    kind = given.type if given.type in _CODELIST_TYPES else "text"
    return replace(given, terms=tuple(terms), format=form, type=kind)


def where(given: Where) -> Where:
    """A where clause with those of its conditions that have an item and a value."""
    return replace(given, checks=tuple(check for check in given.checks if check.item and check.values))


def is_sound(leaf: Leaf) -> bool:
    """Whether a leaf leads anywhere, and its ID is an XML name."""
    return bool(leaf.href) and _ID.fullmatch(leaf.id) is not None


def _differ(orders: Sequence[int | None]) -> bool:
    return None not in orders and len(set(orders)) == len(orders)
