"""A Dataset-JSON document as a stream: the members of its object one after the other, its rows in blocks.

Everything that is not a row is read by the strict parser, with what it demands of names, depth and numbers. A pattern
finds where rows end; the reader then decodes each block of them as JSON.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from io import TextIOWrapper
from typing import IO, Any, Final, NamedTuple

from fhirspace.errors import InputError, Place
from fhirspace.json import JsonError, bounded, parse, value_at
from fhirspace.limits import limit, too_much

_CHUNK: Final = 1 << 21
"""Characters read at a time."""
_SMALL: Final = 1 << 12
"""Characters in which the end of a value is looked for first."""
_PLAIN: Final = r'(?:[^"\[\]{}]++|"(?:[^"\\]++|\\.)*+")*+'
"""What a row of plain values has between its brackets."""
ROW: Final = re.compile(rf"\[{_PLAIN}\]", re.DOTALL)
"""A row of plain values, or what looks like one: whether it is JSON, decoding tells."""
_ROWS: Final = re.compile(rf"(?:\s*+\[{_PLAIN}\]\s*+,)++", re.DOTALL)
_LAST: Final = re.compile(rf"\s*+(\[{_PLAIN}\])\s*+\]", re.DOTALL)
_NO_ROW: Final = re.compile(rf"\s*+(?:[^\s\[]|\[{_PLAIN}[\[{{}}])", re.DOTALL)
_OPEN, _COLON, _ARRAY = (re.compile(rf"\s*+{sign}\s*+") for sign in (r"\{", ":", r"\["))
_NAME: Final = re.compile(r'\s*+(?=")')
_NEXT_MEMBER: Final = re.compile(r"\s*+([,}])")
_NEXT_ROW: Final = re.compile(r"\s*+([,\]])")
_END: Final = re.compile(r"\s*+")


class Rows(NamedTuple):
    """Some rows as they are spelt, with a comma between two; or, if `odd`, one that is no array of plain values."""

    text: str
    odd: bool = False


class Document:
    """One document. Attributes: its `members`, read so far, without the rows; whether there is a member with rows."""

    def __init__(self, stream: IO[bytes], file: str) -> None:
        self._stream, self._file = TextIOWrapper(stream, "utf-8-sig", newline=""), file
        self._text, self._at, self._whole = "", 0, False
        self.members: dict[str, Any] = {}
        self.has_rows = False

    def read(self) -> Iterator[Rows]:
        """Reads the document to its end, and gives its rows where they come.

        Raises:
            InputError: FS401 (no JSON), FS402 (a name twice), FS403 (nested too deeply), FS414 (numbers that no
                program reads), FS160 (a row or a member is too long).
        """
        self._expect(_OPEN)
        more = ","
        while more == ",":
            name = self._name()
            self._expect(_COLON)
            if name == "rows":
                self.has_rows = True
                yield from self._rows()
            else:
                self.members[name] = self._parsed()
            more = self._expect(_NEXT_MEMBER).group(1)
        self._expect(_END)
        if self._at < len(self._text):
            raise self._broken()

    def _name(self) -> str:
        self._expect(_NAME)
        name = str(self._parsed())
        if name in self.members or (name == "rows" and self.has_rows):
            raise InputError("FS402", Place(self._file), "each name once in an object")
        return name

    def _rows(self) -> Iterator[Rows]:
        """The rows, and the bracket behind them."""
        self._expect(_ARRAY)
        more = "," if self._peek() != "]" else self._expect(_NEXT_ROW).group(1)
        while more == ",":
            if found := _ROWS.match(self._text, self._at):
                self._at = found.end()
                yield Rows(found.group().rstrip().removesuffix(","))
            elif last := _LAST.match(self._text, self._at):
                self._at, more = last.end(), "]"
                yield Rows(last.group(1))
            elif _NO_ROW.match(self._text, self._at):
                self._expect(_END)
                yield Rows(self._value("record-bytes"), odd=True)
                more = self._expect(_NEXT_ROW).group(1)
            else:
                self._need_more("record-bytes")

    def _parsed(self) -> Any:
        try:
            return parse(self._value("line-bytes"))
        except JsonError as error:
            raise InputError(error.code, Place(self._file), error.expected, error.detail) from None

    def _value(self, bound: str) -> str:
        """The text of the JSON value that begins here."""
        size = _SMALL
        while True:
            part = self._text[self._at : self._at + size]
            last = self._at + size >= len(self._text)
            try:
                bounded(part.encode())
                _, end = value_at(part, 0)
                if end < len(part) or (last and self._whole):  # else a number may go on
                    self._at += end
                    return part[:end]
            except JsonError as error:
                raise InputError(error.code, Place(self._file), error.expected, error.detail) from None
            except ValueError:
                pass  # there may be more of it
            size *= 8
            if last:
                self._need_more(bound)

    def _peek(self) -> str:
        while self._at == len(self._text) and not self._whole:
            self._need_more("record-bytes")
        return self._text[self._at : self._at + 1]

    def _expect(self, pattern: re.Pattern[str]) -> re.Match[str]:
        """What is here next, whole."""
        while True:
            found = pattern.match(self._text, self._at)
            if found and (found.end() < len(self._text) or self._whole):
                self._at = found.end()
                return found
            if not found and self._text[self._at :].strip():
                raise self._broken()
            self._need_more("record-bytes")

    def _need_more(self, bound: str) -> None:
        """Reads on. Raises InputError: FS401, there is no more; FS160, what begins here is too long."""
        left = self._text[self._at :]
        if self._whole:
            raise self._broken()
        if len(left) > limit(bound):
            raise too_much(bound, Place(self._file))
        try:
            read = self._stream.read(max(_CHUNK, len(left)))
        except UnicodeDecodeError:
            raise self._broken() from None
        self._text, self._at, self._whole = left + read, 0, not read

    def _broken(self) -> InputError:
        detail = "" if self._at < len(self._text) else "it ends too early"
        return InputError("FS401", Place(self._file), "complete and undamaged JSON, in UTF-8", detail)
