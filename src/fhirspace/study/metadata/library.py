"""A Library of FHIR that holds a document of ours: metadata of a dataset, a define.xml.

Library is the resource of R4, R4B and R5 for a definition that is shared and has content of another format; each of
its elements that is used here is the same in all three.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any, NamedTuple

import msgspec

from fhirspace.fhir.tags import TAG_SYSTEM
from fhirspace.idkey import IdKey
from fhirspace.json import JsonError, decode
from fhirspace.template.codecs import hashed_id

_TYPE = {"system": "http://terminology.hl7.org/CodeSystem/library-type", "code": "model-definition"}
_CODE = re.compile(r"\S+(?: \S+)*")


class Content(NamedTuple):
    """A document: its media type, its bytes, and the title of the resource."""

    type: str
    data: bytes
    title: str


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
    implicitRules: str = ""  # noqa: N815 - FHIR's name
    modifierExtension: Any = None  # noqa: N815


def library(system: str, value: str, content: Content, *, study: str, key: IdKey) -> bytes:
    """A Library as a line of NDJSON.

    Args:
        system, value: its identifier, from which its id is made with the key. content: what it holds.
        study: the STUDYID, for its tag.
    """
    made: dict[str, Any] = {
        "resourceType": "Library",
        "id": hashed_id(key)(f"{system.rpartition('/')[2]} {value}"),
        **({"meta": {"tag": [{"system": TAG_SYSTEM, "code": study}]}} if _is_code(study) else {}),
        "identifier": [{"system": system, "value": value}],
        "title": content.title,
        "status": "active",
        "type": {"coding": [_TYPE]},
        "content": [{"contentType": content.type, "data": base64.b64encode(content.data).decode()}],
    }
    return msgspec.json.encode(made) + b"\n"


def _is_code(text: str) -> bool:
    return _CODE.fullmatch(text) is not None


def content_of(raw: bytes, system: str) -> bytes | None:
    """The document in a Library with an identifier of this system; None for any other resource.

    Nothing (``b""``) where the Library was changed: it is not active, has a modifier (nobody knows what it means then),
    or its document is no base64.
    """
    if system.encode() not in raw or b'"Library"' not in raw:
        return None
    try:
        found = decode(raw, _Library)
    except JsonError:
        return None  # left to the reader of resources, which says what is wrong
    if found.resourceType != "Library" or system not in [each.system for each in found.identifier]:
        return None
    if found.status != "active" or found.implicitRules or found.modifierExtension is not None:
        return b""
    try:
        return base64.b64decode(found.content[0].data, validate=True)
    except (IndexError, ValueError, binascii.Error):
        return b""
