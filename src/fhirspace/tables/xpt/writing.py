"""Text tables to SAS transport files of version 5.

Source: SAS technical note TS-140.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from fhirspace.errors import InputError
from fhirspace.tables.text import decode
from fhirspace.tables.xpt import numbers
from fhirspace.tables.xpt.checks import Checked, Variable, check, lengths
from fhirspace.tables.xpt.headers import LINE, form_bytes

_MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
_ROWS = 100_000
"""Rows that are made at a time."""


def write(
    table: pa.Table,
    path: Path,
    *,
    name: str,
    label: str,
    variables: Sequence[Variable],
    formats: Mapping[str, tuple[str, str]] | None = None,
    checked: Checked | None = None,
) -> None:
    """Writes a text table as a transport file of version 5; same table, same bytes.

    The times in the header are those of the environment's SOURCE_DATE_EPOCH, else the start of 1970.

    Args:
        table: a text table with a column for each variable.
        path: the file, which is replaced.
        name: the name of the dataset, at most 8 characters.
        label: its label, at most 40 bytes.
        variables: (name, label, ``"Char"`` or ``"Num"``, length in bytes or None for the longest cell) in their order.
            A number takes 8 bytes where its digits do not fit into the 2 to 7 that are wanted.
        formats: by name of a variable, its format and its informat, such as ``("DATE9.", "")``.
        checked: the columns of this very table whose cells were checked before; names and labels are checked always.

    Raises:
        InputError: the first of the problems that `check` finds (FS106, FS133-FS137, FS139, FS140, FS161).
    """
    forms = formats or {}
    for problem in check(table, path.name, name=name, label=label, variables=variables, formats=forms, checked=checked):
        raise InputError(problem.code, problem.place, problem.expected, problem.detail)
    sizes = lengths(table, variables)
    with path.open("wb") as stream:
        stream.write(_header(name, label, _variables(variables, sizes, forms)))
        for start in range(0, table.num_rows, _ROWS):
            stream.write(_rows(table.slice(start, _ROWS), variables, sizes))
        stream.write(b" " * (-stream.tell() % LINE))


def _rows(table: pa.Table, variables: Sequence[Variable], sizes: Sequence[int]) -> bytes:
    return np.concatenate(list(_cells(table, variables, sizes)), axis=1).tobytes()


def _cells(table: pa.Table, variables: Sequence[Variable], sizes: Sequence[int]) -> Iterator[numbers.Bytes]:
    """The bytes of each variable, made once for each distinct cell; the last entry is the missing one."""
    for (name, _, kind, _), size in zip(variables, sizes, strict=True):
        coded = decode(table.column(name)).combine_chunks().dictionary_encode()
        coded = coded.combine_chunks() if isinstance(coded, pa.ChunkedArray) else coded
        distinct = coded.dictionary.to_pylist()
        if kind == "Num":
            made = numbers.write(np.array([*map(float, distinct), np.nan], np.float64))[:, :size]
        else:
            texts = b"".join(cell.encode().ljust(size) for cell in [*distinct, ""])
            made = np.frombuffer(texts, np.uint8).reshape(-1, size)
        yield made[coded.indices.fill_null(len(distinct)).to_numpy()]


def _header(name: str, label: str, variables: Iterable[bytes]) -> bytes:
    when, each = _timestamp(), list(variables)
    described = b"".join(each)
    return b"".join(
        (
            _record(b"LIBRARY"),
            _line(b"SAS     SAS     SASLIB  6.06    bsd4.2", when),
            _line(when),
            _record(b"MEMBER", b"0" * 17 + b"16" + b"0" * 8 + b"140"),
            _record(b"DSCRPTR"),
            _line(b"SAS     " + name.encode().ljust(8) + b"SASDATA 6.06    bsd4.2", when),
            _line(when + b" " * 16 + label.encode().ljust(40)),
            _record(b"NAMESTR", b"0" * 6 + f"{len(each):04}".encode() + b"0" * 20),
            described + b" " * (-len(described) % LINE),
            _record(b"OBS"),
        )
    )


def _record(kind: bytes, digits: bytes = b"0" * 30) -> bytes:
    return (b"HEADER RECORD*******" + kind.ljust(8) + b"HEADER RECORD!!!!!!!" + digits).ljust(LINE)


def _line(text: bytes, when: bytes = b"") -> bytes:
    return text.ljust(LINE - len(when)) + when


def _variables(
    variables: Sequence[Variable], sizes: Sequence[int], forms: Mapping[str, tuple[str, str]]
) -> Iterator[bytes]:
    place = 0
    for number, ((name, label, kind, _), size) in enumerate(zip(variables, sizes, strict=True), 1):
        parts = (1 if kind == "Num" else 2, 0, size, number)
        form, informat = (form_bytes(text) or b"" for text in forms.get(name, ("", "")))
        aligned = (b"\1" if kind == "Num" else b"\0") + bytes(2)  # numbers to the right
        texts = name.encode().ljust(8) + label.encode().ljust(40) + form + b"\0" + aligned + informat
        yield b"".join(part.to_bytes(2) for part in parts) + texts + place.to_bytes(4) + bytes(52)
        place += size


def _timestamp() -> bytes:
    when = time.gmtime(int(os.environ.get("SOURCE_DATE_EPOCH", "0")))
    day = f"{when.tm_mday:02}{_MONTHS[when.tm_mon - 1]}{when.tm_year % 100:02}"  # strftime's months follow the locale
    return f"{day}:{when.tm_hour:02}:{when.tm_min:02}:{when.tm_sec:02}".encode()
