"""The labels and formats of a transport file of version 8 that are too long for the description of a variable.

They follow behind the descriptions, under a header record of their own: the number of the variable and the lengths of
the texts that follow, 2 bytes each: name and label, in LABELV9 also format and informat.

Source: the supplement of SAS technical note TS-140 for version 8 (LABELV8, LABELV9).
"""

from __future__ import annotations

import mmap
from typing import Final, NamedTuple

_LINE: Final = 80
_HEADERS: Final = {
    b"HEADER RECORD*******LABELV8 HEADER RECORD!!!!!!!": 3,
    b"HEADER RECORD*******LABELV9 HEADER RECORD!!!!!!!": 5,
}
"""How many numbers begin an entry: the variable, and the lengths of its texts."""


class Long(NamedTuple):
    """The label as bytes, the format and the informat of a variable; empty where there is none."""

    label: bytes
    format: str = ""
    informat: str = ""


def read(content: mmap.mmap, start: int, end: int, count: int) -> tuple[dict[int, Long], int]:
    """The long labels that are at a place of a file, by the number of the variable, and where they end.

    Nothing is read beyond `end`, nor more than an entry for each of `count` variables. Where the entries are none, the
    place that is given back is not that of a header record, which the caller looks for.
    """
    numbers = _HEADERS.get(content[start : start + 48])
    digits = content[start + 48 : start + _LINE].strip()
    if numbers is None:
        return {}, start
    found: dict[int, Long] = {}
    at = start + _LINE
    for _ in range(min(int(digits), count) if digits.isdigit() and len(digits) < 9 else 0):
        sizes = [int.from_bytes(content[each : each + 2]) for each in range(at, at + 2 * numbers, 2)]
        at += 2 * numbers
        texts = []
        for size in sizes[1:]:
            texts.append(content[at : min(at + size, end)])
            at += size
        if at > end:
            break
        found[sizes[0]] = Long(texts[1].rstrip(b" \0"), *map(_plain, texts[2:]))
    return found, start + -(-(at - start) // _LINE) * _LINE


def _plain(text: bytes) -> str:
    """A format; nothing for what is no printable ASCII."""
    plain = text.strip(b" \0")
    return plain.decode().upper() if plain.isascii() and plain.decode().isprintable() else ""
