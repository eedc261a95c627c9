"""The checks of a text table before it is written to a SAS transport file of version 5."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.errors import Place, Problem
from fhirspace.standards.numbers import is_number
from fhirspace.tables.csv.scan import CONTROL
from fhirspace.tables.description import Kind
from fhirspace.tables.text import data_columns, decode, number_text, place
from fhirspace.tables.xpt import numbers
from fhirspace.tables.xpt.headers import form_bytes

Variable = tuple[str, str, Kind, int | None]
"""Name, label, type, and length in bytes (None: that of the longest cell)."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,7}")
_LONGEST = 200  # bytes of a text
_SMALLEST, _LARGEST = 5.4e-79, 9e74  # the range that pyreadstat writes and reads back exactly


@dataclass(frozen=True, slots=True)
class Checked:
    """The columns of one table whose cells were checked and fit: `check` does not look at each of them again.

    Made by the screening of a study alone. It counts for this very table, and for no other with the same names.

    Attributes:
        table: the table that was checked.
        columns: by name of a column: as what its cells fit. Texts have no control character, of whatever length they
            are; numbers have no `number_fault`.
    """

    table: pa.Table
    columns: Mapping[str, Kind]

    def covers(self, table: pa.Table, variable: Variable) -> bool:
        """Whether the cells of a variable need no further check: only the length of texts is still measured here."""
        name, _, kind, length = variable
        if table is not self.table or self.columns.get(name) != kind:
            return False
        return kind == "Num" or cell_length(table.column(name)) <= (length or _LONGEST)


def check(
    table: pa.Table,
    file: str,
    *,
    name: str,
    label: str,
    variables: Sequence[Variable],
    formats: Mapping[str, tuple[str, str]] | None = None,
    checked: Checked | None = None,
) -> list[Problem]:
    """All reasons why a text table cannot be written as a transport file; see `xpt.write` for the arguments."""
    found = list(_names(file, name, label, variables)) + list(_agreement(table, file, variables))
    for title, forms in (formats or {}).items():
        if any(form_bytes(form) is None for form in forms):
            found.append(Problem("FS161", Place(file, None, title), "a format such as DATE9. or 8.2"))
    if any(problem.code == "FS139" for problem in found):
        return found
    for variable in variables:
        if checked is None or not checked.covers(table, variable):
            found += _cells(table, variable)
    return found + list(_last_row(table, variables))


def lengths(table: pa.Table, variables: Sequence[Variable]) -> list[int]:
    """The bytes that each variable takes: as declared, or those of its longest cell; 8 for a number that needs them."""
    return [
        _number_length(table.column(name), length or 8) if kind == "Num" else length or cell_length(table.column(name))
        for name, _, kind, length in variables
    ]


def _number_length(column: pa.ChunkedArray, wanted: int) -> int:
    if wanted == 8:
        return 8
    distinct = decode(column).unique().drop_null().to_pylist()
    cut = numbers.write(np.array([float(cell) for cell in distinct], np.float64))[:, wanted:]
    return 8 if cut.any() else wanted


def cell_length(column: pa.ChunkedArray) -> int:
    """The bytes of the longest text of a column, at least 1."""
    return max(1, pc.max(pc.binary_length(decode(column))).as_py() or 1)


def _names(file: str, name: str, label: str, variables: Sequence[Variable]) -> Iterator[Problem]:
    for title, text in ((name, label), *((variable[0], variable[1]) for variable in variables)):
        at = Place(file, None, title)
        if not _NAME.fullmatch(title):
            yield Problem("FS133", at, "a name of at most 8 letters, digits and underscores")
        if len(text.encode()) > 40 or CONTROL.search(text):
            yield Problem("FS134", at, "a label of at most 40 bytes")


def _agreement(table: pa.Table, file: str, variables: Sequence[Variable]) -> Iterator[Problem]:
    names = [variable[0] for variable in variables]
    often = Counter(names)
    for name in sorted(set(names) ^ set(data_columns(table))):
        yield Problem("FS139", Place(file, None, name), "a column and a variable of this name")
    if not names:
        yield Problem("FS139", Place(file), "at least one variable")
    for name, _, kind, length in variables:
        if often[name] > 1:
            yield Problem("FS139", Place(file, None, name), "one variable of this name")
        if not _is_legal(kind, length):
            yield Problem("FS139", Place(file, None, name), "Char of 1 to 200 bytes, or Num of 2 to 8")


def _is_legal(kind: str, length: int | None) -> bool:
    least, most = {"Num": (2, 8), "Char": (1, _LONGEST)}.get(kind, (0, 0))
    return bool(most) and (length is None or least <= length <= most)


def _cells(table: pa.Table, variable: Variable) -> Iterator[Problem]:
    """The problems of one column, each distinct value looked at once."""
    name, _, kind, length = variable
    coded = decode(table.column(name)).combine_chunks().dictionary_encode()
    chunks = coded.chunks if isinstance(coded, pa.ChunkedArray) else [coded]
    start = 0
    for chunk in chunks:
        cells = chunk.dictionary.to_pylist()
        verdicts = [_text(cell, length) if kind == "Char" else number_fault(cell) for cell in cells]
        yield from _placed(table, name, start, chunk, verdicts)
        start += len(chunk)


def _placed(
    table: pa.Table, name: str, start: int, chunk: Any, verdicts: list[tuple[str, str] | None]
) -> Iterator[Problem]:
    bad = pa.array([i for i, verdict in enumerate(verdicts) if verdict], pa.int32())
    if not len(bad):
        return
    for i in pc.indices_nonzero(pc.is_in(chunk.indices, value_set=bad)).to_pylist():
        verdict = verdicts[chunk.indices[i].as_py()]
        if verdict is not None:
            yield Problem(verdict[0], place(table, start + i, name), verdict[1])


def _text(cell: str, length: int | None) -> tuple[str, str] | None:
    if CONTROL.search(cell):
        return "FS106", "text without control characters"
    if len(cell.encode()) > (length or _LONGEST):
        return "FS135", f"at most {length or _LONGEST} bytes"
    return None


def number_fault(cell: str) -> tuple[str, str] | None:
    """Why a numeric variable cannot hold a text: a code of the catalogue and what was expected; None if it can."""
    if not is_number(cell):
        return "FS136", "a decimal number"
    value = float(cell)
    if value != 0 and not _SMALLEST <= abs(value) <= _LARGEST:
        return "FS137", "a number between 5.4e-79 and 9e74"
    if Decimal(number_text(value) or "NaN") != Decimal(cell):
        return "FS137", "a number of at most 15 digits"
    return None


def _last_row(table: pa.Table, variables: Sequence[Variable]) -> Iterator[Problem]:
    if not table.num_rows or any(kind == "Num" for _, _, kind, _ in variables):
        return
    if not any(table.column(variable[0])[-1].as_py() for variable in variables):
        yield Problem("FS140", place(table, table.num_rows - 1), "a filled cell")
