"""The words of FHIRPath. Source: FHIRPath 2.0, "Lexical Elements"."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

_TOKEN: Final = re.compile(
    r"(?P<blank>\s+|//[^\n]*|/\*.*?\*/)"
    r"|(?P<time>@T?[0-9][0-9T:.+\-Z]*)"
    r"|(?P<number>[0-9]+(?:\.[0-9]+)?)"
    r"|(?P<string>'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")"
    r"|(?P<variable>%(?:[A-Za-z_][A-Za-z0-9_\-]*|`[^`]*`|'[^']*'))"
    r"|(?P<quoted>`(?:[^`\\]|\\.)*`)"
    r"|(?P<special>\$[a-z]+)"
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<sign><=|>=|!=|!~|[()\[\]{}.,+\-*/&|=~<>])",
    re.DOTALL,
)
_ESCAPE: Final = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_ESCAPED: Final = {"n": "\n", "r": "\r", "t": "\t", "f": "\f"}


class ExpressionError(ValueError):
    """The text is no FHIRPath, or uses something that is not implemented here; the message says what."""


class Token(NamedTuple):
    """A word: its kind (``name``, ``string``, ``number``, ``time``, ``variable``, ``special``, ``sign``) and text."""

    kind: str
    text: str


def tokens(expression: str) -> Iterator[Token]:
    """The words of an expression, without blanks and comments, and one of kind ``end``.

    Raises:
        ExpressionError: something is no word of FHIRPath.
    """
    place = 0
    while place < len(expression):
        found = _TOKEN.match(expression, place)
        if found is None or found.lastgroup is None:
            raise ExpressionError(f"no word of FHIRPath at character {place + 1}")
        place = found.end()
        kind, text = found.lastgroup, found.group()
        if kind == "blank":
            continue
        if kind in ("string", "quoted"):
            text = _whole(_ESCAPE.sub(_unescaped, text[1:-1]))
        elif kind == "variable":
            text = text[1:].strip("`'")
        yield Token("name" if kind == "quoted" else kind, text)
    yield Token("end", "")


def _unescaped(found: re.Match[str]) -> str:
    return chr(int(found[1], 16)) if found[1] else _ESCAPED.get(found[2], found[2])


def _whole(text: str) -> str:
    """A text whose letters may have been escaped in two halves. Raises ExpressionError: half of one is missing."""
    if text.isascii():
        return text
    try:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
    except UnicodeDecodeError:
        raise ExpressionError("half a letter in a text") from None
