"""How much of SDTM has an element of FHIR, an extension of HL7, one of ours, or is carried: variables and cells.

A variable is of the best kind among the places from which it is read. A cell is of the best kind whose codec gives it
back as it is; of the conditions of a place nothing is looked at.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping as Table
from functools import cache
from pathlib import Path
from typing import Any, Final

import pyarrow.compute as pc

from fhirspace.errors import InputError, Place
from fhirspace.mapping.cells import implied
from fhirspace.mapping.library import Library
from fhirspace.mapping.model import Mapping, Node, Obj, children
from fhirspace.sdtm.columns import text
from fhirspace.standards import sdtm
from fhirspace.study.dataset import Tabulation
from fhirspace.study.inputs import Opened
from fhirspace.tables.text import data_columns
from fhirspace.template.codec import CellError
from fhirspace.template.folders import shipped
from fhirspace.template.slots import Leaf, Slot

KINDS: Final = ("native", "standard extension", "ours", "carried", "without")
"""The best first. The last one is of variables only: no element, and not carried on purpose."""
_OURS: Final = "https://fhirspace.org/"
_SUPPLEMENTAL: Final = "SUPPQUAL"


def variables(library: Library, domain: str) -> dict[str, str]:
    """The kind of each variable that the guide has in a dataset."""
    places = kinds(library.mappings[domain])
    carried = library.mappings[domain].carried
    names = sdtm.domain(domain).names if sdtm.known(domain) else ()
    return {
        name: _best(places[name]) if name in places else "carried" if name in carried else "without" for name in names
    }


def kinds(mapping: Mapping) -> dict[str, list[tuple[str, Slot | None]]]:
    """By column the kinds of the places from which it is read, with their slots; None: a constant or the parent's."""
    found: dict[str, list[tuple[str, Slot | None]]] = {}
    for block in mapping.blocks:
        _collect(block.root, "native", found)
    if mapping.item is not None:
        inside = mapping.item.path.endswith("xtension")
        _collect(mapping.item, _extension(mapping.item, "ours") if inside else "native", found)
    for name in (*implied(mapping), *(mapping.attach.on if mapping.attach else ())):
        found.setdefault(name, []).append(("native", None))
    return found


def _collect(node: Node, kind: str, found: dict[str, list[tuple[str, Slot | None]]]) -> None:
    if isinstance(node, Leaf):
        for slot in node.slots:
            if slot.readable:
                found.setdefault(slot.base, []).append((kind, slot))
    elif isinstance(node, Obj):
        for name, child in node.fields:
            inner = name in ("extension", "modifierExtension")
            for each in children(child) if inner else ():
                _collect(each, _extension(each, kind), found)
            if not inner:
                _collect(child, kind, found)
    else:
        for child in children(node):
            _collect(child, kind, found)


def _extension(node: Node, kind: str) -> str:
    """The kind of an extension by its address; a part of another extension is of the kind of that."""
    url = next((leaf.constant for leaf in _field(node, "url") if leaf.constant), "") or ""
    if not url.startswith("http"):
        return "ours" if kind == "native" else kind
    return "ours" if url.startswith(_OURS) else "standard extension"


def _field(node: Node, name: str) -> Iterator[Leaf]:
    if isinstance(node, Obj):
        yield from (child for field, child in node.fields if field == name and isinstance(child, Leaf))


def _best(places: Iterable[tuple[str, Slot | None]]) -> str:
    return min((kind for kind, _ in places), key=KINDS.index)


def reasons(names: Iterable[str], domain: str) -> dict[str, str]:
    """Why variables of a dataset are carried, of those for which a reason is known."""
    known = _reasons()
    spelt = {name: "--" + name[2:] if name.startswith(domain[:2]) else name for name in names}
    return {name: known.get(general) or known.get(name, "") for name, general in spelt.items()}


@cache
def _reasons() -> Table[str, str]:
    with (shipped() / "carried.csv").open(encoding="utf-8", newline="") as stream:
        return {row["variable"]: row["reason"] for row in csv.DictReader(stream)}


def total(library: Library) -> dict[str, int]:
    """Variables of the guide by kind, all datasets together."""
    counts: Counter[str] = Counter()
    for name in sdtm.domains():
        library.adopt("AE")
        mapped = "SUPPAE" if name == _SUPPLEMENTAL else name
        if library.adopt(mapped):
            counts.update(variables(library, mapped).values())
    return {"variables": counts.total()} | {kind: counts[kind] for kind in KINDS}


def cells(library: Library, paths: Iterable[Path]) -> list[dict[str, Any]]:
    """By dataset of some inputs: its filled cells by kind.

    Raises:
        InputError: a dataset cannot be read; FS103, there is none.
    """
    given = [*paths]
    opened = Opened(given)
    found = [_of(name, data, library) for name, data in _datasets(opened)]
    if not found:
        raise InputError("FS103", Place(given[0].name if given else ""), "SDTM datasets")
    return found


def _datasets(opened: Opened) -> Iterator[tuple[str, Tabulation]]:
    for given in opened.inputs:
        if given.kind == "sdtm":
            yield from ((name, opened.tabulation(found)[0]) for name, found in given.files.items())


def _of(name: str, data: Tabulation, library: Library) -> dict[str, Any]:
    if name.startswith("SUPP"):
        library.adopt(name.removeprefix("SUPP"))
    known = library.adopt(name, data.columns)
    places = kinds(library.mappings[name]) if known else {}
    counts: Counter[str] = Counter()
    table = data.table()
    for column in data_columns(table):
        for pair in pc.value_counts(text(table, column)).to_pylist():
            if pair["values"]:
                counts[_cell(pair["values"], places.get(column, ())) if known else "without"] += pair["counts"]
    return {"dataset": name, "cells": counts.total()} | {kind: counts[kind] for kind in KINDS}


def _cell(cell: str, places: Iterable[tuple[str, Slot | None]]) -> str:
    return _best([*((kind, slot) for kind, slot in places if slot is None or _takes(slot, cell)), ("carried", None)])


def _takes(slot: Slot, cell: str) -> bool:
    """Whether an element gives a cell back as it is; parts of a form are taken to do so."""
    if "." in slot.column:
        return True
    try:
        written = slot.codec.out(cell)
    except CellError:
        return False
    return written is not None and slot.codec.back(written) == cell
