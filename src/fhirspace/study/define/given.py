"""The define.xml of an input, and what it says of variables whose files say nothing, such as those of CSV."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from fhirspace.errors import InputError
from fhirspace.sdtm.define import words
from fhirspace.sdtm.define.document import reading
from fhirspace.sdtm.define.model import Define, Item
from fhirspace.study.accounting import Accounting
from fhirspace.study.inputs import Input
from fhirspace.tables.description import Column, Description


def given_define(given: Input, accounting: Accounting) -> Define | None:
    """The define.xml of an input. One that cannot be read is counted as a file that is not read (FS770, FS160)."""
    if given.define is None:
        return None
    try:
        return reading.read(given.define)
    except InputError as fault:
        accounting.refuse(given.define, fault)
        return None


def completed(descriptions: Mapping[str, Description], define: Define | None) -> dict[str, Description]:
    """The descriptions of datasets; labels, types and lengths that their files do not say are those of a define.xml."""
    if define is None:
        return dict(descriptions)
    return {name: _completed(name, each, define) for name, each in descriptions.items()}


def _completed(name: str, about: Description, define: Define) -> Description:
    group = define.dataset(name)
    if group is None:
        return about
    items = {item.name: item for _, item in define.variables(group)}
    columns = tuple(_column(each, items[each.name]) if each.name in items else each for each in about.columns)
    return replace(about, label=about.label or group.label, columns=columns)


def _column(column: Column, item: Item) -> Column:
    if column.type is not None:  # a file with types declares lengths too
        return replace(column, label=column.label or item.label)
    if item.type in words.NUMBER_TYPES:
        return replace(column, label=column.label or item.label, type="Num")
    length = item.length if item.type in words.TEXT_TYPES else None
    return replace(column, label=column.label or item.label, type="Char", length=column.length or length)
