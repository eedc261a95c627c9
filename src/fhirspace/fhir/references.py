"""References between resources: one grammar, one way to find them, one way to lead them elsewhere.

A reference is the value of a ``reference`` element, read as JSON: ``"Patient\\/1"`` and ``"\\u0050atient/1"`` are
``Patient/1``, and a text that quotes a reference is none.

Source: FHIR, "References" (literal references, versions, fragments), "Resource" (the form of an id).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

import msgspec

from fhirspace.json import exact, value_at

ID: Final = r"[A-Za-z0-9\-.]{1,64}"
"""The pattern of a FHIR id, as a part of regular expressions."""
_LITERAL: Final = re.compile(
    rf"(?P<base>[^?#]*/)?(?P<type>[A-Z][A-Za-z]{{0,63}})"
    rf"(?:/(?P<id>{ID})(?:/_history/(?P<version>{ID}))?|\?(?P<query>.+?))(?:#.*)?"
)
_UUID: Final = "urn:uuid:"
_MEMBER: Final = "reference"
_NAMES: Final = frozenset({"id", _MEMBER})
_NARRATIVE: Final = "div"
_URL: Final = re.compile(r"div|url|uri|uuid|oid|[A-Za-z]+(?:Url|Uri|Uuid|Oid)")
_LINK: Final = re.compile(r"""(\b(?:href|src)\s*=\s*)(["'])(.*?)\2""", re.DOTALL)
_BLANKS: Final = re.compile(r"[ \t\r\n]*")


class Reference(NamedTuple):
    """What a literal reference names; "" for a part that it does not have.

    `base` is the address before the type, with a slash at its end; `query` makes it a conditional reference.
    """

    base: str
    type: str
    id: str
    version: str
    query: str

    @property
    def key(self) -> str:
        """``Type/id`` of the resource, wherever it is; "" for a conditional reference."""
        return f"{self.type}/{self.id}" if self.id else ""


def parsed(text: str) -> Reference | None:
    """What a text names as a literal reference; None for what is none, such as ``#id`` and ``urn:uuid:...``."""
    found = _LITERAL.fullmatch(text)
    return Reference(*(found[part] or "" for part in Reference._fields)) if found else None


def key_of(text: str) -> str:
    """``Type/id`` that a relative reference (with or without a version) names; "" for any other text."""
    found = parsed(text)
    return found.key if found and not found.base else ""


def id_in(address: str) -> str | None:
    """The id in the address of an entry of a Bundle, ``urn:uuid:ID`` or ``.../Type/ID``; None for any other text."""
    if address.startswith(_UUID):
        return address.removeprefix(_UUID) or None
    found = parsed(address)
    return found.id or None if found else None


def texts(resource: Any) -> Iterator[str]:
    """The texts of all references in a decoded resource, in no order."""
    left = [resource]
    while left:
        item = left.pop()
        for inner in item.values() if type(item) is dict else item:
            if type(inner) is dict or type(inner) is list:
                left.append(inner)
        text = item.get(_MEMBER) if type(item) is dict else None
        if type(text) is str:
            yield text


def keys_in(resource: Any) -> set[str]:
    """The keys (``Type/id``) that the relative references in a decoded resource name."""
    return {key for text in texts(resource) if (key := key_of(text))}


def references(line: bytes) -> set[str]:
    """`keys_in` for a resource as JSON. Raises JsonError: it is none; what is sent was `strict` before."""
    return keys_in(exact(line))


def rewritten(line: bytes, other: Callable[[str], str | None]) -> bytes:
    """A resource with other references; all else stays as it is spelt.

    Args:
        line: the resource as JSON; what is no JSON is given back as it is.
        other: the new text of a reference, None to leave it as it is.
    """
    return _replaced(line, None, lambda _, text: other(text))


def renamed(line: bytes, other: Callable[[str], str | None]) -> bytes:
    """As `rewritten`, for the values of ``id`` elements as well as of references."""
    return _replaced(line, _NAMES.__contains__, lambda _, text: other(text))


def _replaced(line: bytes, wanted: Callable[[str], object] | None, other: Callable[[str, str], str | None]) -> bytes:
    """JSON with other texts for members: those that are `wanted` by their name (None: references)."""
    try:
        text = line.decode()
        parts, done = [], 0
        for start, end, name, found in _spans(text, wanted):
            new = other(name, found)
            if new is not None:
                parts += [text[done:start], msgspec.json.encode(new).decode()]
                done = end
    except ValueError:  # neither UTF-8 nor JSON
        return line
    return "".join([*parts, text[done:]]).encode() if parts else line


def relinked(line: bytes, other: Callable[[str], str | None]) -> bytes:
    """As `rewritten`, for elements that hold a URL by their name, and for the links of a narrative.

    Source: FHIR, "http" (transaction processing rules): ``uri``, ``url``, ``oid`` and ``uuid``, ``href`` and ``src``.
    Canonical addresses, systems and values of identifiers name something, and lead nowhere.
    """

    def link(found: re.Match[str]) -> str:
        new = other(found[3])
        return found[0] if new is None else f"{found[1]}{found[2]}{new}{found[2]}"

    def target(name: str, text: str) -> str | None:
        if name != _NARRATIVE:
            return other(text)
        new = _LINK.sub(link, text)
        return None if new == text else new

    return _replaced(line, _URL.fullmatch, target)


def redirected(line: bytes, place: Callable[[str], str | None]) -> bytes:
    """`rewritten` for relative references: `place` gives the other key for a key (``Type/id``), or None."""

    def other(text: str) -> str | None:
        key = key_of(text)
        new = place(key) if key else None
        return None if new is None else new + text[len(key) :]

    return rewritten(line, other)


def _spans(text: str, wanted: Callable[[str], object] | None) -> Iterator[tuple[int, int, str, str]]:
    """Start, end, name and value of the texts that are wanted, in their order. Raises ValueError: it is no JSON.

    Where nothing is escaped, a name cannot be spelt in two ways, so that only places with the name are looked at.
    """
    needle = '"' if wanted or "\\" in text else f'"{_MEMBER}"'
    at = text.find(needle)
    while at >= 0:
        name, end = value_at(text, at)
        colon = _after(text, end)
        start = _after(text, colon + 1)
        if (
            (wanted(name) if wanted else name == _MEMBER)
            and text.startswith(":", colon)
            and text.startswith('"', start)
        ):
            value, end = value_at(text, start)
            yield start, end, name, value
        at = text.find(needle, end)


def _after(text: str, at: int) -> int:
    """The place after the blanks that begin there."""
    found = _BLANKS.match(text, at)
    return found.end() if found else at
