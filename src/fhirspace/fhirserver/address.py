"""Addresses below a FHIR base, built only of parts that were checked: resource types, ids and versions.

Source: FHIR, "http" (RESTful URLs) and "id". Types, ids and versions that a server names become parts of requests and
of file names. One such as ``../../admin`` must be neither, so what is built here is checked when it is built, and
`relative` checks it once more when it is sent.
"""

from __future__ import annotations

import re

from fhirspace.errors import ServerError
from fhirspace.standards.fhir import resource_types

_TYPE = re.compile(r"[A-Z][A-Za-z]{0,63}")
ID = r"(?!\.{1,2}(?![A-Za-z0-9\-.]))[A-Za-z0-9\-.]{1,64}"
"""The pattern of a FHIR id, as a part of regular expressions: never ``.`` or ``..``, which are steps of a path."""
_ID = re.compile(ID)
_OPERATION = re.compile(r"\$[a-z][a-z\-]{0,63}")
# What RFC 3986 allows in a query without a fragment: everything else must be percent-encoded.
_QUERY = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/?]|%[0-9A-Fa-f]{2})*")
_FIXED = ("", "metadata", "_history", ".well-known/smart-configuration")
_SHAPES = frozenset({("_search",), ("id",), ("$",), ("id", "_history"), ("id", "_history", "id"), ("id", "$")})
"""What may follow a type."""


def is_type(name: object, release: str = "") -> bool:
    """Whether it is the name of a resource type, of this release or ("") of any."""
    return isinstance(name, str) and name in resource_types(release)


def looks_like_type(name: object) -> bool:
    """Whether it could be the name of a resource type, perhaps one of a release to come: letters, the first a capital.

    For names of the user's own files. What a server names must be a type that there is (`is_type`).
    """
    return isinstance(name, str) and _TYPE.fullmatch(name) is not None


def is_id(name: object) -> bool:
    """Whether it is a FHIR id (or a version id): 1 to 64 letters, digits, ``-`` and ``.``, but not ``.`` or ``..``."""
    return isinstance(name, str) and _ID.fullmatch(name) is not None


def is_key(text: object) -> bool:
    """Whether it is ``Type/id``."""
    kind, _, name = text.partition("/") if isinstance(text, str) else ("", "", "")
    return is_type(kind) and is_id(name)


def resource_type(name: object, server: str, release: str = "") -> str:
    """A type that a server named. Raises ServerError (FS512): FHIR has no such type."""
    if isinstance(name, str) and is_type(name, release):
        return name
    raise ServerError("FS512", server, "names of resource types that FHIR has")


def key(kind: object, name: object, server: str) -> str:
    """``Type/id`` of what a server named. Raises ServerError (FS512): it is no type, or no id that FHIR allows."""
    if isinstance(name, str) and is_id(name):
        return f"{resource_type(kind, server)}/{name}"
    raise ServerError("FS512", server, "ids of 1 to 64 letters, digits, `-` and `.`")


def version(name: object, server: str) -> str:
    """A version id that a server named, "" for none. Raises ServerError (FS512): FHIR allows no such id."""
    if isinstance(name, str) and (name == "" or is_id(name)):
        return name
    raise ServerError("FS512", server, "version ids of 1 to 64 letters, digits, `-` and `.`")


def file_name(kind: object, server: str) -> str:
    """``Type.ndjson``, the file for resources of a type that a server named. Raises ServerError (FS512): it is none."""
    return f"{resource_type(kind, server)}.ndjson"


def relative(path: str, server: str) -> str:
    """An address below the FHIR base of `server`, as it was given, if it is one that FHIR has.

    Args:
        path: ``Type``, ``Type/id``, ``Type/id/_history``, ``Type/_search``, ``Type/$operation``, ``metadata`` and the
            like, "" for the base itself; with a percent-encoded query or without.
        server: whose it is, for the error.

    Raises:
        ServerError: FS512, a part of it is none that FHIR allows: some name or id of the server's does not fit.
    """
    place, _, query = path.partition("?")
    if _QUERY.fullmatch(query) and (place in _FIXED or _below(place.split("/"))):
        return path
    raise ServerError("FS512", server, "types, ids and versions that FHIR allows in an address")


def _below(parts: list[str]) -> bool:
    kind, *rest = parts
    if not rest:
        return looks_like_type(kind) or _OPERATION.fullmatch(kind) is not None
    return looks_like_type(kind) and tuple(map(_sort, rest)) in _SHAPES


def _sort(part: str) -> str:
    if part in ("_search", "_history"):
        return part
    return "$" if _OPERATION.fullmatch(part) else "id" if is_id(part) else ""
