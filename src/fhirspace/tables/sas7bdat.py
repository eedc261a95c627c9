"""SAS datasets (SAS7BDAT) to text tables, by `pyreadstat`, which the extra ``sas`` installs.

The format is not published: nothing but a library that knows it from its files can read it.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from fhirspace.errors import InputError, Place, Problem
from fhirspace.limits import expands_too_far, limit, too_much
from fhirspace.tables.description import Column, Description, described
from fhirspace.tables.text import TEXT, blank_to_null, encode, is_reserved, number_text, repeats, with_provenance
from fhirspace.tables.xpt import dates

SUFFIX: Final = ".sas7bdat"
_MAGIC: Final = bytes(12) + bytes.fromhex("c2ea8160b31411cfbd92080009c7318c181f1011")
"""How each such file begins."""


def is_dataset(path: Path) -> bool:
    """Whether a file is a SAS dataset and can be read here: `pyreadstat` is installed. Never raises."""
    try:
        with path.open("rb") as stream:
            begins = stream.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False
    return begins and importlib.util.find_spec("pyreadstat") is not None


def read(path: Path, *, encoding: str | None = None, empty: bool = False) -> tuple[pa.Table, list[Problem]]:
    """Reads a SAS dataset to text, as `xpt.read` reads a transport file, with its description.

    Args:
        path: the file. encoding: that of the texts; the one that the file names when absent.
        empty: a dataset without rows is a table without rows, instead of an error.

    Returns:
        The text table with ``@file`` and ``@row``, and what was noticed: FS130, FS158, FS159 as `xpt.read`.

    Raises:
        InputError: FS101 (no file), FS103 (no row), FS116 (names of columns), FS148 (another encoding than given),
            FS160 (more than a bound allows), FS168 (not readable).
    """
    if not path.is_file():
        raise InputError("FS101", Place(path.name), "a SAS dataset")
    _, about = _parsed(path, encoding, metadataonly=True)
    _check(about, path)
    if not about.number_rows and not empty:
        raise InputError("FS103", Place(path.name), "at least one row")
    cells, about = _parsed(path, encoding)
    problems: list[Problem] = []
    columns: dict[str, pa.Array] = {}
    for name in about.column_names:
        form = (about.original_variable_types[name] or "").upper()
        if about.readstat_variable_types[name] == "string":
            columns[name] = blank_to_null(pa.array([_trimmed(cell) for cell in cells[name]], TEXT))
        else:
            columns[name] = pa.array(_numbers(cells[name], form, Place(path.name, None, name), problems), TEXT)
    table = pa.table(columns)
    repeating = {name: encode(table[name]) if repeats(table[name]) else table[name] for name in table.column_names}
    table = described(pa.table(repeating), _description(about))
    return with_provenance(table, path.name), problems


def _parsed(path: Path, encoding: str | None, **more: Any) -> tuple[dict[str, Sequence[Any]], Any]:
    """The cells by column, and what is known beside them; dates are numbers, special missing values letters."""
    import pyreadstat  # noqa: PLC0415 - an extra

    options = {"output_format": "dict", "disable_datetime_conversion": True, "user_missing": True, **more}
    try:
        found: tuple[dict[str, Sequence[Any]], Any] = pyreadstat.read_sas7bdat(path, encoding=encoding, **options)
    except UnicodeDecodeError:
        raise InputError("FS148", Place(path.name), "text in the encoding that the file names") from None
    except Exception:  # whatever a damaged file makes the library raise, which has no exception of its own for it
        raise InputError("FS168", Place(path.name), "a whole SAS dataset") from None
    return found


def _check(about: Any, path: Path) -> None:
    place, names = Place(path.name), about.column_names
    if about.number_rows is None or not names:
        raise InputError("FS168", place, "rows and columns")
    if about.number_rows > limit("rows"):
        raise too_much("rows", place)
    if len(names) > limit("columns"):
        raise too_much("columns", place)
    if expands_too_far(about.number_rows * sum(about.variable_storage_width.values()), path.stat().st_size):
        raise too_much("expansion", place)
    for number, name in enumerate(names, 1):
        if is_reserved(name):
            raise InputError("FS116", Place(path.name, 1, f"column {number}"), "a name that starts with a letter")


def _trimmed(cell: Any) -> str | None:
    return cell.rstrip(" \0") or None if isinstance(cell, str) else None


def _numbers(cells: Sequence[Any], form: str, place: Place, problems: list[Problem]) -> Iterator[str | None]:
    """The numbers of a column as text, dates and times as ISO 8601."""
    kind = dates.meaning(form)
    if kind:
        problems.append(Problem("FS158", place, "ISO 8601 text", f"its format is {form}"))
    for row, cell in enumerate(cells, 2):
        if isinstance(cell, str):
            problems.append(
                Problem("FS130", Place(place.file, row, place.column), "a number or the plain missing value")
            )
        if not isinstance(cell, int | float) or not math.isfinite(cell):
            yield None
            continue
        day = dates.iso(cell, kind) if kind else None
        if kind and day is None:
            problems.append(Problem("FS159", Place(place.file, row, place.column), f"a {kind}"))
        yield day or number_text(float(cell))


def _description(about: Any) -> Description:
    columns = []
    for name in about.column_names:
        label, form = about.column_names_to_labels[name] or "", (about.original_variable_types[name] or "").upper()
        number = about.readstat_variable_types[name] != "string"
        if number and dates.meaning(form):
            columns.append(Column(name, label, "Char"))
        else:
            width = about.variable_storage_width[name]
            shown = f"{form}." if form and "." not in form else form
            columns.append(Column(name, label, "Num" if number else "Char", width, shown))
    return Description(about.table_name or "", about.file_label or "", tuple(columns))
