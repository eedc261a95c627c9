"""Strict reading of JSON: numbers keep their spelling, duplicate keys and what RFC 8259 does not know are refused."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, NoReturn

MAX_LINE = 64 * 1024 * 1024
"""The longest line of NDJSON that is read, in bytes."""
MAX_DOCUMENT = 1024 * 1024 * 1024
"""The largest JSON document (a Bundle or one resource) that is read, in bytes."""
MAX_DEPTH = 100
"""How many objects may lie within one another."""

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


class Number(str):
    """The text of a JSON number, as it was spelt."""

    __slots__ = ()


class JsonError(ValueError):
    """The text is no strict JSON. Attributes: `code` of the catalogue, and what was `expected`; never the text."""

    def __init__(self, code: str, expected: str) -> None:
        self.code = code
        self.expected = expected
        super().__init__(f"{code}: expected {expected}")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise JsonError("FS402", "each name once in an object")
    return found


def _refuse(_: str) -> NoReturn:
    raise JsonError("FS401", "a number in digits")


_decoder = json.JSONDecoder(object_pairs_hook=_unique, parse_float=Number, parse_int=Number, parse_constant=_refuse)
_scan: Callable[[str, int], tuple[Any, int]] = vars(_decoder)["scan_once"]


def parse(raw: bytes) -> Any:
    """Read JSON.

    Args:
        raw: UTF-8 text, with or without a byte order mark.

    Returns:
        dict, list, str, bool, None, and `Number` for numbers.

    Raises:
        JsonError: FS401 (not JSON), FS402 (a name twice in one object), FS403 (nested too deeply).
    """
    try:
        text = raw.decode().removeprefix("\ufeff")
        found = _value(text)
        if "\\u" in text and _SURROGATE.search(text):
            json.dumps(found, ensure_ascii=False).encode()
    except UnicodeError:
        raise JsonError("FS401", "UTF-8 text and whole surrogate pairs") from None
    except json.JSONDecodeError as error:
        raise JsonError("FS401", f"JSON at line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise JsonError("FS403", f"at most {MAX_DEPTH} objects within one another") from None
    return found


def _value(text: str) -> Any:
    try:
        found, end = _scan(text, 0)
    except StopIteration:
        end = -1
    return found if end == len(text) else _decoder.decode(text)  # blanks around it, or no JSON


def number_text(value: object) -> str | None:
    """The text of a number as JSON writes it (`Number`, int, float, Decimal); None for what is no number."""
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, str | bool | dict | list) or value is None:
        return None
    return repr(value) if isinstance(value, float) else str(value)
