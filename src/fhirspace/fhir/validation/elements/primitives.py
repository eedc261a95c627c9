"""The check of primitive values: JSON kind, pattern, calendar, range and codes of required bindings.

Source: FHIR, "Data Types" (primitive types) and "JSON Representation"; the patterns come with the definitions.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from typing import Any

from fhirspace.fhir.validation.elements.findings import Check, Finding, Scope
from fhirspace.fhir.validation.values import addresses, base64, narrative, objects
from fhirspace.json import number_text
from fhirspace.standards.fhir import Definitions, Element

MAX_TEXT = 1024 * 1024
"""FHIR: a string holds at most 1 MB."""
_NUMBERS = frozenset({"decimal", "integer", "positiveInt", "unsignedInt"})
_LOCAL = frozenset({"uri", "url", "canonical"})
_RANGES = {
    "integer": (-(2**31), 2**31 - 1),
    "positiveInt": (1, 2**31 - 1),
    "unsignedInt": (0, 2**31 - 1),
    "integer64": (-(2**63), 2**63 - 1),
}
_OTHER_BLANK = re.compile(r"[^\S ]")
_ELEMENT_ID = re.compile(r"\S+")
"""FHIR: the id of an element is any string without spaces."""
_REMEMBERED = 8192
_REMEMBERED_LENGTH = 64


def leaf(element: Element, definitions: Definitions) -> Check:
    """The check of one value of a primitive element."""
    kind = element.type
    if kind in _WHOLE:
        return _WHOLE[kind]
    of_element = kind == "string" and element.name == "id"
    pattern = _ELEMENT_ID if of_element else re.compile(definitions.primitive_regex(kind), re.ASCII)
    if kind == "boolean":
        return _boolean
    if kind in _NUMBERS:
        return _number(kind, pattern)
    if kind == "code" and element.binding is not None and element.binding.value_set in objects.VALUE_SETS:
        return _grammar(*objects.VALUE_SETS[element.binding.value_set])
    if kind == "code" and element.binding is not None and element.binding.strength == "required":
        codes = definitions.codes(element.binding.value_set)
        if codes is not None:
            return _code(codes, element.binding.value_set)
    return _local(kind, pattern) if kind in _LOCAL else _text(kind, pattern)


def _boolean(value: Any, _: Scope) -> list[Finding] | None:
    return None if value is True or value is False else [("", "FS414", "true or false")]


def _number(kind: str, pattern: re.Pattern[str]) -> Check:
    bounds = _RANGES.get(kind)

    def check(value: Any, _: Scope) -> list[Finding] | None:
        text = number_text(value)
        if text is None:
            return [("", "FS414", f"a JSON number ({kind})")]
        if not pattern.fullmatch(text):
            return [("", "FS415", kind)]
        if bounds is not None and (len(text) > 20 or not bounds[0] <= int(text) <= bounds[1]):
            return [("", "FS415", f"{kind} between {bounds[0]} and {bounds[1]}")]
        return None

    return check


def _code(codes: frozenset[str], value_set: str) -> Check:
    expected = f"one of {', '.join(sorted(codes))}" if len(codes) <= 12 else f"a code of {value_set}"

    def check(value: Any, _: Scope) -> list[Finding] | None:
        if type(value) is str and value in codes:
            return None
        if type(value) is not str:
            return [("", "FS414", "a JSON string (code)")]
        return [("", "FS417" if value else "FS420", expected)]

    return check


def _grammar(right: Callable[[str], bool], expected: str) -> Check:
    """The check of codes that have a grammar (or a list of another standard) instead of a list of HL7's."""

    def check(value: Any, _: Scope) -> list[Finding] | None:
        if type(value) is not str:
            return [("", "FS414", "a JSON string (code)")]
        if not value:
            return [("", "FS420", "code")]
        return None if right(value) else [("", "FS417", expected)]

    return check


def _base64(value: Any, _: Scope) -> list[Finding] | None:
    if type(value) is not str:
        return [("", "FS414", "a JSON string (base64Binary)")]
    if not value:
        return [("", "FS420", "base64Binary")]
    return [("", "FS415", "base64Binary")] if base64.decoded_length(value) is None else None


def _narrative(value: Any, scope: Scope) -> list[Finding] | None:
    if type(value) is not str:
        return [("", "FS414", "a JSON string (xhtml)")]
    if not value:
        return [("", "FS420", "xhtml")]
    return [
        ("", "FS415", f"{key}: {expected}") for key, expected in narrative.narrative(value, scope.contained)
    ] or None


_WHOLE: dict[str, Check] = {"base64Binary": _base64, "xhtml": _narrative}
"""Types that are judged without a pattern."""


def _text(kind: str, pattern: re.Pattern[str]) -> Check:
    good: set[str] = set()  # the same codes, units and days come again and again
    further = _FURTHER.get(kind, _any)

    def check(value: Any, _: Scope) -> list[Finding] | None:
        if type(value) is not str:
            return [("", "FS414", f"a JSON string ({kind})")]
        if value in good:
            return None
        if not value:
            return [("", "FS420", kind)]
        if not pattern.fullmatch(value) or not further(value):
            return [("", "FS415", kind)]
        if len(value) <= _REMEMBERED_LENGTH and len(good) < _REMEMBERED:
            good.add(value)
        return None

    return check


def _local(kind: str, pattern: re.Pattern[str]) -> Check:
    """An address, which may point to a contained resource (``#id``)."""
    text = _text(kind, pattern)

    def check(value: Any, scope: Scope) -> list[Finding] | None:
        if type(value) is str and value[:1] == "#":
            scope.used.add(value[1:])
        return text(value, scope)

    return check


def _any(_: str) -> bool:
    return True


def _short(value: str) -> bool:
    return len(value) <= MAX_TEXT


def _uri(value: str) -> bool:
    return not addresses.uri(value)


def _canonical(value: str) -> bool:
    return not addresses.uri(value) and (value[:1] == "#" or addresses.absolute(value))


def _calendar(value: str) -> bool:
    """Whether the day of a date exists; the pattern has checked the bounds of year, month and day."""
    if len(value) < 10 or value[8:10] <= "28":
        return True
    try:
        date.fromisoformat(value[:10])
    except ValueError:
        return False
    return True


def _long_integer(value: str) -> bool:
    low, high = _RANGES["integer64"]
    return len(value) <= 20 and low <= int(value) <= high


def _single_blanks(value: str) -> bool:
    return not _OTHER_BLANK.search(value)


_FURTHER: dict[str, Callable[[str], bool]] = {
    "code": _single_blanks,
    "string": _short,
    "markdown": _short,
    "date": _calendar,
    "dateTime": _calendar,
    "instant": _calendar,
    "integer64": _long_integer,
    "uri": _uri,
    "url": _uri,
    "canonical": _canonical,
    "oid": _uri,
}
"""What a pattern cannot say."""
