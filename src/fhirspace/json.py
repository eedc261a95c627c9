"""Strict reading of JSON, the one home of all decoders: bounded in depth, and with one exception for whatever is wrong.

`parse` reads a document whole: numbers keep their spelling, duplicate names and what RFC 8259 does not know are
refused. `decode` and `decoder` read the members that a type names, by msgspec. `strict` says whether a text is what
`parse` takes, without the cost of `parse`. Resources of files are read by `parse_resource`, which also finds what
FHIR's JSON does not know, null and empty values, and by `resource_decoder`, where speed counts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from itertools import accumulate
from math import isinf
from typing import Any, Final, NoReturn, TypeVar, overload

import msgspec

from fhirspace.foreign import member
from fhirspace.limits import allowed, limit

_DIGITS: Final = 4_300
"""Digits of a whole number that Python, like other programs, reads; each further one costs more than the one before."""
_FINITE: Final = 300
"""Characters of a number without an exponent that a double can hold in any case."""
_WHOLE: Final = "complete and undamaged JSON"
_SIZED: Final = "values of the kinds and sizes that belong there"
_TWICE: Final = "each name once in an object"
_MAYBE_EMPTY = re.compile(rb'null|""|\[\s*\]|\{\s*\}')
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_NO_BACKSLASH = re.compile(rb"[^\\]")
_CHUNK: Final = 1 << 20
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))
_STEPS: Final = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_LEAST: Final = len('"":1,')
"""Bytes of the shortest member: so much longer is a text in which a name comes twice, at least."""
T = TypeVar("T")


class Number(str):
    """The text of a JSON number, as it was spelt."""

    __slots__ = ()


class JsonError(msgspec.DecodeError):
    """The text is not strict JSON. Attributes: a catalogue `code`, what was `expected`, and the facts (`detail`).

    None of them repeats the text.
    """

    def __init__(self, code: str, expected: str, detail: str = "") -> None:
        self.code = code
        self.expected = expected
        self.detail = detail
        super().__init__(f"{code}: expected {expected}")

    def __reduce__(self) -> tuple[type[JsonError], tuple[str, str, str]]:
        return JsonError, (self.code, self.expected, self.detail)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise JsonError("FS402", _TWICE)
    return found


def _whole(text: str) -> Number:
    if len(text) > _DIGITS and len(text.lstrip("-")) > _DIGITS:
        raise JsonError("FS414", _SIZED)
    return Number(text)


def number(text: str) -> Number:
    """A number with a fraction or an exponent, as it was spelt.

    Raises:
        JsonError: FS414, a double cannot hold it (1e999), so that programs differ in what they read.
    """
    if (len(text) > _FINITE or "e" in text or "E" in text) and isinf(float(text)):
        raise JsonError("FS414", _SIZED)
    return Number(text)


def _refuse(_: str) -> NoReturn:
    raise JsonError("FS401", "a number in digits")


_decoder = json.JSONDecoder(object_pairs_hook=_unique, parse_float=number, parse_int=_whole, parse_constant=_refuse)
_scan: Callable[[str, int], tuple[Any, int]] = vars(_decoder)["scan_once"]


def parse(raw: bytes | str) -> Any:
    """Read JSON.

    Args:
        raw: UTF-8 text, with or without a byte order mark.

    Returns:
        dict, list, str, bool, None, and `Number` for numbers.

    Raises:
        JsonError: FS401 (not JSON), FS402 (a name twice in one object), FS403 (nested too deeply), FS414 (a whole
            number of more than 4,300 digits, or a number that no double can hold).
    """
    try:
        data = raw.encode() if isinstance(raw, str) else raw
        bounded(data)
        text = data.decode().removeprefix("\ufeff")
        found = _value(text)
        if "\\u" in text and _SURROGATE.search(text):
            json.dumps(found, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        line = f"line {error.lineno}, " if error.lineno > 1 else ""  # a line of NDJSON has its number in the place
        raise JsonError("FS401", _WHOLE, f"{line}column {error.colno}") from None
    except (UnicodeError, RecursionError) as error:
        raise _fault(error) from None
    return found


def _value(text: str) -> Any:
    try:
        found, end = _scan(text, 0)
    except StopIteration:
        end = -1
    return found if end == len(text) else _decoder.decode(text)  # blanks around it, or no JSON


@overload
def decode(raw: bytes | msgspec.Raw) -> Any: ...


@overload
def decode(raw: bytes | msgspec.Raw, kind: type[T]) -> T: ...


def decode(raw: bytes | msgspec.Raw, kind: Any = Any) -> Any:
    """Read JSON as a type. Unknown members are skipped, a name that comes twice counts as it comes last.

    Args:
        raw: UTF-8 text.
        kind: any type that msgspec knows; Any gives dict, list, str, int, float, bool, None.

    Raises:
        JsonError: FS401 (not JSON), FS403 (nested too deeply), FS414 (other kinds of values than the type wants).
    """
    return decoder(kind)(raw)


def decoder(
    kind: type[T], float_hook: Callable[[str], Any] | None = None, *, bound: bool = True
) -> Callable[[bytes | msgspec.Raw], T]:
    """`decode` for one type, made once for many texts.

    Args:
        kind: any type that msgspec knows. float_hook: makes the value of a number with a fraction.
        bound: whether the depth is bounded by ``json-depth``; else as far as the interpreter goes, for what was bounded
            before, or is decoded in parts that are.
    """
    plain = msgspec.json.Decoder(kind, float_hook=float_hook).decode

    def guarded(raw: bytes | msgspec.Raw) -> T:
        data = raw if isinstance(raw, bytes) else bytes(raw)
        if bound:
            bounded(data)
        try:
            return plain(data)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise _fault(error) from None

    return guarded


exact: Final = decoder(Any, float_hook=lambda text: msgspec.Raw(number(text).encode("ascii")), bound=False)
"""`decode` of any JSON that was `strict` before, so that `msgspec.json.encode` writes each number as it was spelt."""


def strict(raw: bytes | msgspec.Raw) -> Any:
    """`exact` of what `parse` reads too, for a fraction of its cost.

    Raises:
        JsonError: as `parse`.
    """
    data = bytes(raw)
    bounded(data)
    found = exact(data)
    # A name that comes twice is written once only.
    compact = msgspec.json.encode(found)
    if len(compact) != len(data) and _quotes(compact) != _quotes(data):
        raise JsonError("FS402", _TWICE)
    return found


def parse_resource(raw: bytes) -> tuple[Any, list[str]]:
    """`parse`, for a resource: it has no value that is null or empty (FHIR, "JSON Representation of Resources").

    An empty value says nothing, so nobody can read it wrongly: it is left out, and with it what holds nothing else.
    Null is a value in an array with a companion (`given` beside `_given`): an item that only the other one has.

    Returns:
        The resource without its empty values, and their paths in it (``name[0].text``), in order.

    Raises:
        JsonError: as `parse`.
    """
    found, empty = parse(raw), list[str]()
    if found and _MAYBE_EMPTY.search(raw):
        return _filled(found, "", empty) or type(found)(), empty
    return found, empty


def resource_decoder(kind: type[T]) -> Callable[[bytes], T]:
    """A fast decoder of resources that refuses a name that comes twice, made for types that name every member.

    What was read is written again, into one buffer, where a name comes once, and each text in the fewest bytes: the
    text is hardly longer, or has as many quotes (it is not compact, or spelt with other escapes), unless a name came
    twice. Structs have to leave out their defaults (`omit_defaults`). Bytes that they do not decode (`msgspec.Raw`)
    are not looked into: they have to be decoded like this as well.

    Raises:
        msgspec.DecodeError: it is not of this type; JsonError as `strict`.
    """
    plain, write, buffer = msgspec.json.Decoder(kind).decode, msgspec.json.Encoder().encode_into, bytearray()

    def guarded(raw: bytes) -> T:
        found = plain(raw)
        write(found, buffer)
        if len(raw) - len(buffer) >= _LEAST and _quotes(buffer) != _quotes(raw):
            strict(raw)  # which knows, also where the type passes members over
        return found

    return guarded


def _quotes(raw: bytes | bytearray) -> int:
    """The number of quotes around texts: twice the texts and names in JSON, however it is spelt."""
    return (raw.replace(b"\\\\", b"").replace(b'\\"', b"") if b"\\" in raw else raw).count(b'"')


def _filled(value: Any, path: str, empty: list[str]) -> Any:
    """A value without the empty ones in it, whose paths are listed; None where nothing is left."""
    if value is None or value in ("", [], {}):
        empty.append(path.removeprefix("."))
        return None
    if isinstance(value, list):
        return [item for item in _items(value, path, empty) if item is not None] or None
    if not isinstance(value, dict):
        return value
    found = {}
    for at, (name, inner) in enumerate(value.items(), 1):
        inside = f"{path}.{member(name, at)}"
        companion = value.get(name[1:] if name.startswith("_") else f"_{name}")
        if isinstance(inner, list) and isinstance(companion, list) and inner:
            found[name] = _items(inner, inside, empty, nulls=True)
        else:
            found[name] = _filled(inner, inside, empty)
    return {name: inner for name, inner in found.items() if inner is not None} or None


def _items(values: list[Any], path: str, empty: list[str], *, nulls: bool = False) -> list[Any]:
    return [
        None if nulls and value is None else _filled(value, f"{path}[{at}]", empty) for at, value in enumerate(values)
    ]


def _fault(error: Exception) -> JsonError:
    match error:
        case JsonError():
            return error
        case RecursionError():
            return JsonError("FS403", allowed("json-depth"))
        case UnicodeError():
            return JsonError("FS401", "UTF-8 text and whole surrogate pairs")
        case msgspec.ValidationError():
            return JsonError("FS414", _SIZED)
    return JsonError("FS401", _WHOLE)


def bounded(raw: bytes) -> None:
    """Refuse JSON that is nested too deeply, before it is decoded: how deep an interpreter can go differs.

    Counted exactly, outside of texts, where there are as many brackets at all as the bound allows levels.

    Raises:
        JsonError: FS403, with the bound (``json-depth``).
    """
    opening = raw.count(b"[") + raw.count(b"{")
    if opening and opening > (most := limit("json-depth")) and _deeper(raw, most):
        raise JsonError("FS403", allowed("json-depth"))


def _deeper(raw: bytes, most: int) -> bool:
    level, quoted = 0, False
    for chunk in _chunks(raw):
        plain = chunk.replace(b"\\\\", b"").replace(b'\\"', b"") if b"\\" in chunk else chunk
        parts = plain.split(b'"')
        brackets = b"".join(parts[quoted::2]).translate(None, _NO_BRACKETS)
        quoted ^= len(parts) % 2 == 0
        levels = list(accumulate(map(_STEPS.__getitem__, brackets), initial=level))
        if max(levels) > most:
            return True
        level = levels[-1]
    return False


def _chunks(raw: bytes) -> Iterator[bytes]:
    """Parts of a text, divided outside of escapes."""
    start = 0
    while start < len(raw):
        whole = _NO_BACKSLASH.search(raw, start + _CHUNK)
        end = whole.end() if whole else len(raw)
        yield raw[start:end]
        start = end


def number_text(value: object) -> str | None:
    """The text of a number as JSON writes it (`Number`, int, float, Decimal); None for what is no number."""
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, str | bool | dict | list) or value is None:
        return None
    return repr(value) if isinstance(value, float) else str(value)


def value_at(text: str, start: int) -> tuple[Any, int]:
    """The JSON value that begins at a place of a text, as `parse` reads it, and the place after its end.

    Raises:
        ValueError: none begins there.
    """
    try:
        return _scan(text, start)
    except StopIteration:
        raise ValueError("no JSON value begins here") from None


_members: Final = decoder(dict[str, msgspec.Raw])


def members(raw: bytes | msgspec.Raw) -> dict[str, msgspec.Raw]:
    """The members of an object by name, their values as they are spelt.

    Raises:
        JsonError: as `decode`; FS402, a name comes twice. What is within a value is not looked into.
    """
    data = bytes(raw)
    found = _members(data)
    # Each name has two quotes; there are more where one came twice, or has a quote in it, which `parse` tells apart.
    if data.count(b'"') - sum(bytes(value).count(b'"') for value in found.values()) != 2 * len(found):
        parse(data)
    return found


canonical: Final = msgspec.json.Encoder(order="sorted").encode
"""The one spelling of a value as JSON: names sorted, no blanks."""
