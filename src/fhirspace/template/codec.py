"""A codec: a named pair of functions between the text of a cell and the text of an element."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Out = Callable[[str], str | None]


class CellError(Exception):
    """A cell that its codec refuses. `code` is a catalogue code, `expected` says what would fit (never the value)."""

    def __init__(self, code: str, expected: str) -> None:
        self.code, self.expected = code, expected
        super().__init__(code)


@dataclass(frozen=True, slots=True)
class Codec:
    """A pair of functions between a cell and an element.

    Attributes:
        name: as written in a mapping, with its argument: ``codes(SEX)``.
        out: cell text -> element text, None (no such form) or CellError.
        back: element text -> cell text, or None where it cannot be read back (one-way codecs).
        types: FHIR primitive types that the element's text can have.
        pattern: a regular expression that all accepted cells match (used by forms of a value).
        cells: a regular expression of the cells that it takes in other spellings as well (empty: `pattern`); a form of
            a value takes them in a part that alone has this codec.
        verbatim: whether ``out`` copies an accepted cell unchanged (the kernel then checks by `pattern` alone).
        rank: which slot of a column is read first: 0 verbatim (signs of micro aside), 1 by a table or calendar.
        readable: whether ``back`` exists.
        outputs: all texts that ``out`` can give, where they are few and known (checked against required bindings).
        open: whether a cell outside is carried (``decimal+``) rather than quarantined.
        keyed: whether ``out`` needs the key of ids, which a reader does not have.
    """

    name: str
    out: Out
    back: Out
    types: frozenset[str]
    pattern: str
    verbatim: bool = False
    rank: int = 1
    readable: bool = True
    outputs: frozenset[str] | None = None
    open: bool = False
    cells: str = ""
    keyed: bool = False
