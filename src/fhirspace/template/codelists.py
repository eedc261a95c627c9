"""Code lists by name: of the mapping itself, of ``codes/*.csv`` in the mapping folders, and of controlled terminology.

A file of ``codes/`` has a header. Its first column, ``value``, is the cell; ``code`` is what ``codes(NAME)`` writes;
any further column C is what ``codes(NAME.C)`` writes (a display, say). Where several values share a code, the
one with ``Y`` in a column ``reverse`` is read back, else the first. A column ``also`` has further codes that are read
and never written, with ``|`` between them. The rows of ``NAME+.csv`` are added to the list NAME, and replace its rows
of the same values: so a study adds to a shipped list. A C-code such as ``C66731`` names a CDISC codelist:
``codes(C66731)`` checks submission values and keeps them, ``codes(C66731.ncit)`` writes their NCI C-codes,
``codes(C66731.preferred)`` their preferred terms.
"""

from __future__ import annotations

import csv
import difflib
import io
import re
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path

from fhirspace.errors import MappingError, Place, UsageError
from fhirspace.limits import allowed, limit
from fhirspace.template.codec import Codec
from fhirspace.template.codecs import STRINGS, table

Rows = list[dict[str, str]]
ADDED = "+"
"""At the end of the name of a file whose rows are added to the list of the name before it."""


class CodeLists:
    """The code lists that mappings of some folders see; later folders win.

    Args:
        folders: folders with CSV files, one a list.
        local: lists written in the mapping itself, name -> cell -> code.
    """

    def __init__(self, folders: Iterable[Path] = (), local: Mapping[str, Mapping[str, str]] | None = None) -> None:
        self._files = {path.stem: path for folder in folders for path in sorted(folder.glob("*.csv"))}
        self._local = dict(local or {})
        self._rows: dict[str, Rows] = {}
        self._codecs: dict[tuple[str, bool], Codec] = {}

    def including(self, local: Mapping[str, Mapping[str, str]]) -> CodeLists:
        """The same lists and some more, which win."""
        more = CodeLists(local={**self._local, **local})
        more._files, more._rows = self._files, self._rows
        return more

    @cached_property
    def names(self) -> list[str]:
        """All names but those of controlled terminology."""
        return sorted({*self._local, *self._files})

    def codec(self, argument: str, place: Place, *, open_: bool) -> Codec:
        """The codec ``codes(argument)``, made once however often a mapping names it.

        Raises:
            MappingError: FS311, there is no such list; FS312, it has no such column.
        """
        known = self._codecs.get((argument, open_))
        if known is None:
            known = self._codecs[argument, open_] = self._made(argument, place, open_=open_)
        return known

    def pairs(self, name: str) -> dict[str, str]:
        """The cells of a list with their codes. Raises MappingError FS311: there is no such list."""
        return self._pairs(name, "", Place(name))[0]

    def marked(self, name: str, column: str) -> frozenset[str]:
        """The cells of a list that have something in a column. Raises MappingError FS313: the file cannot be read."""
        return frozenset(row["value"] for row in self._read(name) if row.get(column))

    def cells(self, name: str, place: tuple[str, int]) -> list[str]:
        """The cells of a list. Raises MappingError FS311: there is no such list, at this file and line."""
        return list(self._pairs(name, "", Place(*place, name))[0])

    def _made(self, argument: str, place: Place, *, open_: bool) -> Codec:
        name, _, column = argument.partition(".")
        pairs, reverse = self._pairs(name, column, place)
        hint = f"a value of the code list {name}" + (": " + ", ".join(pairs) if len(pairs) <= 12 else "")
        out, back = table(pairs, hint, reverse=reverse)
        return Codec(
            f"codes{'+' if open_ else ''}({argument})",
            out,
            back,
            STRINGS | {"boolean", "integer", "positiveInt", "unsignedInt", "decimal"},
            "|".join(re.escape(value) for value in sorted(pairs, key=len, reverse=True)),
            rank=0 if all(cell == code for cell, code in pairs.items()) else 1,
            outputs=frozenset(pairs.values()),
            open=open_,
        )

    def _pairs(self, name: str, column: str, place: Place) -> tuple[dict[str, str], dict[str, str]]:
        if name in self._local and not column:
            return dict(self._local[name]), {}
        if name in self._files:
            rows = self._read(name)
            target = column or "code"
            if rows and target not in rows[0]:
                raise MappingError(
                    "FS312", place, f"one of the columns {', '.join(list(rows[0])[1:])} of the code list {name}"
                )
            filled = [row for row in rows if row[target]]
            reverse = {code: row["value"] for row in filled for code in row.get("also", "").split("|") if code}
            reverse |= {row[target]: row["value"] for row in filled if row.get("reverse") == "Y"}
            return {row["value"]: row[target] for row in filled}, reverse
        if re.fullmatch(r"C\d+", name):
            return _terminology(name, column, place), {}
        near = difflib.get_close_matches(name, self.names, 3, 0.5)
        raise MappingError(
            "FS311",
            place,
            " or ".join(near) or "a list of codes/ or of the mapping, or a CDISC codelist such as C66731",
        )

    def _read(self, name: str) -> Rows:
        """The rows of a list, with those of ``NAME+.csv``, which win over the rows of the same value."""
        if name not in self._rows:
            rows = self._file(name)
            added = self._file(f"{name}{ADDED}") if f"{name}{ADDED}" in self._files else []
            new = {row["value"] for row in added}
            filler = dict.fromkeys(rows[0] if rows else (), "")
            kept = [row for row in rows if row["value"] not in new]
            self._rows[name] = [*({**filler, **row} for row in added), *kept]
        return self._rows[name]

    def _file(self, name: str) -> Rows:
        path = self._files[name]
        try:
            reader = csv.DictReader(io.StringIO(_text(path), newline=""), strict=True)
            lines = [(reader.line_num, {key: cell or "" for key, cell in row.items()}) for row in reader]
        except (OSError, UnicodeDecodeError, csv.Error):
            raise MappingError("FS313", path.name, "a UTF-8 CSV file") from None
        if any(None in row or "value" not in row for _, row in lines):
            raise MappingError("FS313", path.name, "a column `value`, and as many fields in each row as in the header")
        known: dict[str, dict[str, str]] = {}
        for line, row in lines:
            if known.setdefault(row["value"], row) != row:
                raise MappingError("FS313", Place(path.name, line, "value"), "each value once, or each time alike")
        return [row for _, row in lines]


def _text(path: Path) -> str:
    most = limit("list-bytes")
    with path.open("rb") as stream:
        content = stream.read(most + 1)
    if len(content) > most:
        raise MappingError("FS160", Place(path.name), allowed("list-bytes"))
    return content.decode("utf-8-sig")  # spreadsheets mark their UTF-8


def _terminology(name: str, column: str, place: Place) -> dict[str, str]:
    from fhirspace.standards import terminology  # noqa: PLC0415 - large tables, read only where a mapping names them

    try:
        terms = terminology.codelist(name).terms
    except (KeyError, UsageError):
        raise MappingError("FS311", place, "a codelist of the controlled terminology in use") from None
    if column not in {"", "ncit", "preferred"}:
        raise MappingError("FS312", place, "`ncit` or `preferred` after the codelist")
    texts = {"": lambda term: term.value, "ncit": lambda term: term.code, "preferred": lambda term: term.preferred}
    return {value: texts[column](term) for value, term in terms.items()}
