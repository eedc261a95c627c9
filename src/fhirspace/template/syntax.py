"""The small texts of a mapping: slots in a text (``<AESTDTC datetime>``), names a release has (``a|b``), conditions.

Nothing here knows FHIR; a wrong text raises MappingError with file, line and what was expected.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from fhirspace.errors import MappingError, Place
from fhirspace.idkey import IdKey
from fhirspace.limits import allowed, limit
from fhirspace.template.codec import Codec
from fhirspace.template.codecs import NAMES, codec
from fhirspace.template.codelists import CodeLists
from fhirspace.template.shapes import ShapeError
from fhirspace.template.slots import Cond, Form, Slot

DATASET: Final = re.compile(r"[A-Z][A-Z0-9]{1,7}(?:--)?")
"""The name of a dataset; ``SUPP--`` is that of each domain."""
_SLOT: Final = re.compile(r"<([^<>]*)>")
_COLUMN: Final = re.compile(r'(?:"(?P<quoted>[^"<>]+)"|(?P<plain>[A-Za-z_][A-Za-z0-9_]*(?:\.[a-z]\w*){0,2}))')
_CODEC: Final = re.compile(r"(?P<name>[a-z][a-z/]*)(?P<open>\+)?(?:\((?P<argument>[^()]*)\))?")
LET: Final = re.compile(r"\$([a-zA-Z][A-Za-z0-9]*)")
_VAR: Final = re.compile(r"@([A-Z][A-Z0-9]*)")


@dataclass(frozen=True, slots=True)
class Special:
    """``<each DS>`` or ``<carried>``: a slot for items of a list."""

    kind: str
    domain: str = ""


class Syntax:
    """Reads the texts of one mapping file.

    Args:
        file: its name, for messages; lists: the code lists it may use; key: the key of ``id``; None: the site's.
    """

    def __init__(self, file: str, lists: CodeLists, key: IdKey | None) -> None:
        self.file, self.lists, self._key = file, lists, key

    def parts(self, text: str, line: int) -> tuple[str | Slot, ...]:
        """A text as its constants and slots. Raises MappingError FS310 (slot), FS311 (code list), FS314 (codec)."""
        parts = _SLOT.split(text)
        if any("<" in part or ">" in part for part in parts[::2]):
            raise MappingError("FS310", self._place(line), "each < closed by a >, as in <AETERM>")
        return tuple(self._slot(part, line) if odd % 2 else part for odd, part in enumerate(parts) if odd % 2 or part)

    def special(self, text: str, line: int) -> Special | None:
        """``<each DS>`` or ``<carried>``, or None where the text is neither."""
        if text.strip() == "<carried>":
            return Special("carried")
        found = re.fullmatch(r"<each\s+(\S+)>", text.strip())
        if found is None:
            return None
        if not DATASET.fullmatch(found[1]):
            raise MappingError("FS310", self._place(line), "the name of a dataset, as in <each DS> or <each SUPP-->")
        return Special("each", found[1])

    def _slot(self, text: str, line: int) -> Slot:
        found = _COLUMN.match(text)
        if found is None or ((rest := text[found.end() :]) and not rest.startswith(" ")):
            raise MappingError(
                "FS310", self._place(line, text), 'a column and a codec, as in <AESTDTC datetime> or <"Subject ID">'
            )
        column = found["quoted"] or found["plain"]
        return Slot(column, self.codec(rest.strip() or "text", line, column))

    def codec(self, text: str, line: int, column: str = "") -> Codec:
        """A codec as written, ``codes+(AEOUT)``. Raises MappingError FS311, FS312, FS314."""
        found = _CODEC.fullmatch(text)
        place = self._place(line, text)
        if found is None:
            raise MappingError("FS314", place, "a codec such as text, decimal+ or codes(SEX)")
        open_ = found["open"] is not None
        if found["name"] == "codes":
            return self.lists.codec(found["argument"] or "", place, open_=open_)
        try:
            made = codec(found["name"], found["argument"] or "", key=self._key, column=column)
        except ShapeError as error:
            raise MappingError("FS314", place, str(error)) from None
        if made is None:
            near = difflib.get_close_matches(found["name"], NAMES, 2, 0.5)
            raise MappingError("FS314", place, " or ".join(near) or ", ".join(NAMES))
        return made if not open_ else opened(made)

    def form(self, name: str, text: str, line: int) -> Form:
        """One form of a value: ``number: <comparator comparator><value decimal>``."""
        if (whole := re.fullmatch(r"<([a-z/]+)>", text)) and codec(whole[1]) is not None:
            text = f"<{name} {whole[1]}>"
        parts = self.parts(text, line)
        names = [part.column for part in parts if isinstance(part, Slot)]
        if not names or len(set(names)) != len(names) or any(not re.fullmatch(r"[a-z]\w*", each) for each in names):
            raise MappingError("FS315", self._place(line, name), "parts with different names in small letters")
        codecs = [part.codec.name for part in parts if isinstance(part, Slot)]
        pattern = "".join(
            re.escape(part)
            if isinstance(part, str)
            else f"(?P<{part.column}>{_cells(part.codec, alone=codecs.count(part.codec.name) == 1)})"
            for part in parts
        )
        return Form(name, pattern, parts)

    def names(self, text: str, line: int, release: str) -> str | None:
        """The name that a release has of ``a|b`` (R4 and R4B | R5), None where it has none (``-``)."""
        alternatives = [each.strip() for each in text.split("|")]
        if len(alternatives) > 2 or not all(alternatives):
            raise MappingError("FS316", self._place(line, text), "one name, or two as in event|code, or - for none")
        chosen = alternatives[-1] if release == "R5" else alternatives[0]
        return None if chosen == "-" else chosen

    def condition(self, text: str, line: int) -> Cond:
        """A condition. Raises MappingError FS317."""
        return Conditions(text, lambda hint: MappingError("FS317", self._place(line, text), hint)).parse()

    def _place(self, line: int, key: str | None = None) -> Place:
        return Place(self.file, line, key)


def _cells(made: Codec, *, alone: bool) -> str:
    """What a part of a form takes: all spellings of its codec where no other part has the same codec."""
    return made.cells if alone and made.cells else made.pattern


def opened(closed: Codec) -> Codec:
    """The open twin of a codec: a cell outside is carried, not quarantined."""
    return Codec(
        closed.name + "+", closed.out, closed.back, closed.types, closed.pattern,
        closed.verbatim, closed.rank, closed.readable, closed.outputs, open=True, cells=closed.cells,
    )  # fmt: skip


def circle(name: str, through: Sequence[str]) -> str:
    """How a constant refers to itself; `through` has the constants read before, from the first one on."""
    between = list(through)[list(through).index(name) + 1 :]
    chain = " through " + ", ".join(f"${each}" for each in between) if between else ""
    return f"${name} refers to itself{chain}"


def substitute(
    text: str, names: dict[str, str], variables: dict[str, str], fail: Callable[[str, Iterable[str]], MappingError]
) -> str:
    """A text with its ``$name`` and ``@VAR`` replaced; `fail` makes the error for a name that is not there."""

    def let(found: re.Match[str]) -> str:
        if found[1] not in names:
            raise fail(found[0], (f"${name}" for name in names))
        return names[found[1]]

    def variable(found: re.Match[str]) -> str:
        return variables.get(found[1], found[0])

    return _VAR.sub(variable, LET.sub(let, text)) if "$" in text or variables else text


class Conditions:
    """``A or B.number``, ``A is X``, ``A in [X, 'Y Z']``, ``not A``, brackets, and two computed by the engine:

    ``SV has USUBJID VISITNUM`` (another dataset has such a row), ``AESTDTC upto AEENDTC`` (two ends of a Period).
    """

    TOKEN: ClassVar = re.compile(r"\s*(?:'(?P<quoted>[^']*)'|(?P<word>[\w.~/+-]+)|(?P<mark>[()\[\],]))")
    COLUMN: ClassVar = _COLUMN

    def __init__(self, text: str, fail: Callable[[str], MappingError]) -> None:
        self._fail = fail
        self._tokens = list(self._scan(text))
        self._at = self._depth = 0

    def _scan(self, text: str) -> Iterator[str]:
        position, text = 0, text.rstrip()
        while position < len(text):
            found = self.TOKEN.match(text, position)
            if found is None:
                raise self._fail(
                    "a condition such as `AEREL or AEACN`, `LBSTAT is 'NOT DONE'`, `SV has USUBJID VISITNUM`"
                )
            position = found.end()
            yield f"'{found['quoted']}" if found["quoted"] is not None else found["word"] or found["mark"]

    def parse(self) -> Cond:
        """The condition. Raises what `fail` makes."""
        made = self._either()
        if self._at < len(self._tokens):
            raise self._fail("`and` or `or` between two conditions")
        return made

    def _peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _next(self) -> str:
        token = self._peek()
        if not token:
            raise self._fail("a condition that does not end in the middle")
        self._at += 1
        return token

    def _chain(self, word: str, inner: Callable[[], Cond]) -> Cond:
        args = [inner()]
        while self._peek() == word:
            self._next()
            args.append(inner())
        return args[0] if len(args) == 1 else Cond(word, args=tuple(args))

    def _either(self) -> Cond:
        return self._chain("or", lambda: self._chain("and", self._single))

    def _single(self) -> Cond:
        word = self._next()
        if word in {"not", "("}:
            self._depth += 1
            if self._depth > limit("yaml-depth"):
                raise self._fail(allowed("yaml-depth"))
            made = Cond("not", args=(self._single(),)) if word == "not" else self._bracketed()
            self._depth -= 1
            return made
        if not self.COLUMN.fullmatch(word):
            raise self._fail("a column")
        following = self._peek()
        if following == "is":
            self._next()
            return _one_of(word, {self._value()})
        if following == "in":
            self._next()
            return _one_of(word, set(self._values()))
        if following in {"has", "upto"}:
            word = "_".join([f"_{following}", word, *self._columns()])
        return Cond("filled", word)

    def _bracketed(self) -> Cond:
        made = self._either()
        if self._next() != ")":
            raise self._fail("a closing bracket")
        return made

    def _value(self) -> str:
        return self._next().removeprefix("'")

    def _values(self) -> Iterator[str]:
        if self._next() != "[":
            raise self._fail("a list such as [X, 'Y Z'] after `in`")
        while True:
            yield self._value()
            mark = self._next()
            if mark == "]":
                return
            if mark != ",":
                raise self._fail("a comma between the values of a list")

    def _columns(self) -> list[str]:
        self._next()
        found = []
        while re.fullmatch(r"[A-Z][A-Z0-9]*", self._peek()):
            found.append(self._next())
        if not found:
            raise self._fail("the columns that the other dataset must have, as in `SV has USUBJID VISITNUM`")
        return found


def _one_of(column: str, values: set[str]) -> Cond:
    """Whether a cell is one of some texts; ``''`` is an empty cell."""
    found = [Cond("not", args=(Cond("filled", column),))] if "" in values else []
    found += [Cond("is", column, frozenset(values - {""}))] if values - {""} else []
    return found[0] if len(found) == 1 else Cond("or", args=tuple(found))
