"""Structs in Thrift's compact protocol, as Parquet has them: the wanted fields of them, the rest is passed over.

A field counts only where it has the wanted type, as in the readers that are generated from a definition. What such
readers understand in different ways (a field twice, a number that is too large for its type) is refused.

Source: Apache Thrift, "Thrift Compact protocol encoding".
"""

from __future__ import annotations

from typing import Any, Final

I32: Final = 5
I64: Final = 6
_BITS = {I32: 31, I64: 63}
_NUMBERS = frozenset({4, 5, 6})
_DOUBLE, _TEXT, _LIST, _SET, _MAP, _STRUCT = 7, 8, 9, 10, 11, 12
_DEEPEST = 16
_LAST_FIELD = 32_767

Shape = dict[int, Any]
"""The wanted fields by number: `I32`, `I64`, the shape of a struct, or a list with the shape of its structs."""


class Damaged(ValueError):
    """Bytes that are no such struct."""


def struct(data: bytes, at: int, shape: Shape, depth: int = 0) -> tuple[dict[int, Any], int]:
    """The wanted fields of the struct that begins at `at`, by number, and where it ends.

    Raises:
        Damaged: it is no struct. IndexError: the data end before it does.
    """
    if depth > _DEEPEST:
        raise Damaged
    fields: dict[int, Any] = {}
    number = 0
    while byte := data[at]:
        at += 1
        if byte >> 4:
            number += byte >> 4
        else:
            number, at = _zigzag(data, at)
        if not 0 < number <= _LAST_FIELD:
            raise Damaged
        kind, wanted = byte & 15, shape.get(number)
        if wanted is None or kind != _kind(wanted):
            at = _after(data, at, kind, depth)
        elif number in fields:
            raise Damaged
        else:
            fields[number], at = _value(data, at, wanted, depth)
    return fields, at + 1


def _kind(wanted: Any) -> int:
    if isinstance(wanted, int):
        return wanted
    return _LIST if isinstance(wanted, list) else _STRUCT


def _value(data: bytes, at: int, wanted: Any, depth: int) -> tuple[Any, int]:
    if isinstance(wanted, int):
        number, at = _zigzag(data, at)
        if not -1 << _BITS[wanted] <= number < 1 << _BITS[wanted]:
            raise Damaged
        return number, at
    if isinstance(wanted, dict):
        return struct(data, at, wanted, depth + 1)
    kind, count, at = _list(data, at)
    if count and kind != _STRUCT:
        raise Damaged
    found = []
    for _ in range(count):
        each, at = struct(data, at, wanted[0], depth + 1)
        found.append(each)
    return found, at


def _after(data: bytes, at: int, kind: int, depth: int) -> int:
    """Where a value that nobody wants ends."""
    if kind in _NUMBERS:
        return _varint(data, at)[1]
    if kind == _TEXT:
        size, at = _varint(data, at)
        return at + size
    if kind == _STRUCT:
        return struct(data, at, {}, depth + 1)[1]
    if kind in (_LIST, _SET):
        kind, count, at = _list(data, at)
        return _after_items(data, at, (kind,), count, depth)
    if kind == _MAP:
        return _after_map(data, at, depth)
    fixed = {1: 0, 2: 0, 3: 1, _DOUBLE: 8}.get(kind)
    if fixed is None:
        raise Damaged
    return at + fixed


def _after_items(data: bytes, at: int, kinds: tuple[int, ...], count: int, depth: int) -> int:
    if depth > _DEEPEST:
        raise Damaged
    for _ in range(count):
        for kind in kinds:
            if at >= len(data):  # what follows may take no byte, as a truth value of a field does
                raise IndexError
            at = at + 1 if kind in (1, 2) else _after(data, at, kind, depth + 1)
    return at


def _after_map(data: bytes, at: int, depth: int) -> int:
    count, at = _varint(data, at)
    if not count:
        return at
    kinds = data[at]
    return _after_items(data, at + 1, (kinds >> 4, kinds & 15), count, depth)


def _list(data: bytes, at: int) -> tuple[int, int, int]:
    """The type of the items of a list, their number, and where they begin."""
    kind, count = data[at] & 15, data[at] >> 4
    if count < 15:
        return kind, count, at + 1
    count, at = _varint(data, at + 1)
    return kind, count, at


def _zigzag(data: bytes, at: int) -> tuple[int, int]:
    if (number := data[at]) < 0x80:
        return (number >> 1) ^ -(number & 1), at + 1
    number, at = _varint(data, at)
    return (number >> 1) ^ -(number & 1), at


def _varint(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while (byte := data[at]) & 0x80:
        number |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if shift > 63:
            raise Damaged
    return number | byte << shift, at + 1
