"""The metadata of datasets as FHIR: a Library for each dataset that has some, in its `content` a JSON document."""

from __future__ import annotations

from dataclasses import asdict

import msgspec

from fhirspace.errors import Place, Problem
from fhirspace.idkey import IdKey
from fhirspace.json import JsonError, decode
from fhirspace.limits import limit
from fhirspace.study.metadata.describe import Metadata
from fhirspace.study.metadata.library import Content, content_of, library
from fhirspace.study.metadata.order import NATURAL, Order
from fhirspace.tables.description import Column, Description, Kind
from fhirspace.tables.text import is_reserved

SYSTEM = "https://fhirspace.org/dataset"


class _Column(msgspec.Struct, omit_defaults=True):
    """`Column`, of which only what is known is written, and how many cells are filled and have a time of day."""

    name: str
    label: str = ""
    type: Kind | None = None
    length: int | None = None
    format: str = ""
    informat: str = ""
    cells: int = 0
    times: int = 0


class _Dataset(msgspec.Struct, omit_defaults=True):
    dataset: str
    label: str = ""
    rows: int = 0
    columns: list[_Column] = []
    order: str = ""
    keys: str = ""


def resource(dataset: str, metadata: Metadata, study: str, key: IdKey) -> bytes:
    """The Library of a dataset, as a line of NDJSON."""
    about = metadata.description
    columns = [
        _Column(**asdict(each), cells=metadata.cells.get(each.name, 0), times=metadata.times.get(each.name, 0))
        for each in about.columns
    ]
    content = _Dataset(dataset, about.label, metadata.rows, columns, *metadata.order)
    data = Content("application/json", msgspec.json.encode(content), f"Metadata of the dataset {dataset}")
    return library(SYSTEM, f"{study} {dataset}".strip(), data, study=study, key=key)


def found_in(raw: bytes, place: Place) -> tuple[str, Metadata] | Problem | None:
    """The dataset and its metadata that a resource holds; None for any other resource.

    A Problem (FS449) where it is a Library of ours, but changed, so that it cannot be used.
    """
    data = content_of(raw, SYSTEM)
    if data is None:
        return None
    return _content(data) or Problem("FS449", place, "the metadata of a dataset, as they were written")


def _content(data: bytes) -> tuple[str, Metadata] | None:
    try:
        found = decode(data, _Dataset)
    except JsonError:
        return None
    names = [column.name for column in found.columns]
    if not found.dataset or not 0 <= found.rows <= limit("rows") or len(names) > limit("columns"):
        return None
    if len(set(names)) < len(names) or any(not _is_name(name) for name in [found.dataset, *names]):
        return None
    if any(not 0 <= column.times <= column.cells <= found.rows for column in found.columns):
        return None
    if any(column.length is not None and not 0 < column.length < 1 << 15 for column in found.columns):
        return None
    columns = tuple(
        Column(each.name, each.label, each.type, each.length, each.format, each.informat) for each in found.columns
    )
    order = Order(found.order, found.keys) if found.order else NATURAL
    cells = {each.name: each.cells for each in found.columns if each.cells}
    times = {each.name: each.times for each in found.columns if each.times}
    return found.dataset, Metadata(Description(found.dataset, found.label, columns), found.rows, order, cells, times)


def _is_name(name: str) -> bool:
    return bool(name) and name.isprintable() and not is_reserved(name) and len(name) <= 200
