"""The metadata of datasets as FHIR: a Library for each dataset that has some, in its `content` a JSON document.

Library is the resource of R4, R4B and R5 for a definition that is shared and has content of another format; each of
its elements that is used here is the same in all three.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

import msgspec

from fhirspace.errors import Place, Problem
from fhirspace.idkey import IdKey
from fhirspace.json import JsonError, decode
from fhirspace.limits import limit
from fhirspace.study.metadata.describe import Metadata
from fhirspace.study.metadata.order import NATURAL, Order
from fhirspace.tables.description import Column, Description, Kind
from fhirspace.tables.text import is_reserved

SYSTEM = "https://fhirspace.org/dataset"
_MAYBE = SYSTEM.encode()
_TYPE = {"system": "http://terminology.hl7.org/CodeSystem/library-type", "code": "model-definition"}
_CODE = re.compile(r"\S+(?: \S+)*")


class _Column(msgspec.Struct, omit_defaults=True):
    name: str
    label: str = ""
    type: Kind | None = None
    length: int | None = None
    format: str = ""
    informat: str = ""


class _Dataset(msgspec.Struct, omit_defaults=True):
    dataset: str
    label: str = ""
    rows: int = 0
    columns: list[_Column] = []
    order: str = ""
    keys: str = ""


class _Identifier(msgspec.Struct):
    system: str = ""
    value: str = ""


class _Attachment(msgspec.Struct):
    data: str = ""


class _Library(msgspec.Struct):
    resourceType: str  # noqa: N815 - FHIR's name
    identifier: list[_Identifier] = []
    status: str = ""
    content: list[_Attachment] = []


def resource(dataset: str, metadata: Metadata, study: str, key: IdKey) -> bytes:
    """The Library of a dataset, as a line of NDJSON."""
    about = metadata.description
    columns = [
        _Column(each.name, each.label, each.type, each.length, each.format, each.informat) for each in about.columns
    ]
    content = _Dataset(dataset, about.label, metadata.rows, columns, *metadata.order)
    value = f"{study} {dataset}".strip()
    digits = key.digits(f"dataset {value}")
    made: dict[str, Any] = {
        "resourceType": "Library",
        "id": "abcdefabcdefabcd"[int(digits[0], 16)] + digits[1:],
        **({"meta": {"tag": [{"system": "https://fhirspace.org/study", "code": study}]}} if _is_code(study) else {}),
        "identifier": [{"system": SYSTEM, "value": value}],
        "title": f"Metadata of the dataset {dataset}",
        "status": "active",
        "type": {"coding": [_TYPE]},
        "content": [
            {"contentType": "application/json", "data": base64.b64encode(msgspec.json.encode(content)).decode()}
        ],
    }
    return msgspec.json.encode(made) + b"\n"


def _is_code(text: str) -> bool:
    return _CODE.fullmatch(text) is not None


def found_in(raw: bytes, place: Place) -> tuple[str, Metadata] | Problem | None:
    """The dataset and its metadata that a resource holds; None for any other resource.

    A Problem (FS449) where it is a Library of ours, but changed, so that it cannot be used.
    """
    if _MAYBE not in raw or b'"Library"' not in raw:
        return None
    try:
        library = decode(raw, _Library)
    except JsonError:
        return None  # left to the reader of resources, which says what is wrong
    if library.resourceType != "Library" or SYSTEM not in [each.system for each in library.identifier]:
        return None
    found = _content(library) if library.status == "active" else None
    return found or Problem("FS449", place, "the metadata of a dataset, as they were written")


def _content(library: _Library) -> tuple[str, Metadata] | None:
    try:
        data = base64.b64decode(library.content[0].data, validate=True)
        found = decode(data, _Dataset)
    except (IndexError, ValueError, binascii.Error, JsonError):
        return None
    names = [column.name for column in found.columns]
    if not found.dataset or not 0 <= found.rows <= limit("rows") or len(names) > limit("columns"):
        return None
    if len(set(names)) < len(names) or any(not _is_name(name) for name in [found.dataset, *names]):
        return None
    if any(column.length is not None and not 0 < column.length < 1 << 15 for column in found.columns):
        return None
    columns = (
        Column(each.name, each.label, each.type, each.length, each.format, each.informat) for each in found.columns
    )
    order = Order(found.order, found.keys) if found.order else NATURAL
    return found.dataset, Metadata(Description(found.dataset, found.label, tuple(columns)), found.rows, order)


def _is_name(name: str) -> bool:
    return bool(name) and name.isprintable() and not is_reserved(name) and len(name) <= 200
