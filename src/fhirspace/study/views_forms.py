"""Source forms from both sides: what a column becomes, where a variable comes from; a skeleton for a new form."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from fhirspace.errors import MappingError
from fhirspace.mapping.library import shipped
from fhirspace.mapping.source import SourceForm, SourceLibrary
from fhirspace.mapping.source_tree import Cell
from fhirspace.study.views_homes import condition_text
from fhirspace.tables import formats
from fhirspace.tables.text import data_columns

_FEW = 12


def libraries(mappings: Iterable[Path], source: str | None) -> dict[str, SourceLibrary]:
    """The source mappings by name: those of all mapping folders, or only the one that is named.

    Args:
        mappings: the user's own mapping folders; the shipped one comes first.
        source: a name or a folder.

    Raises:
        MappingError: FS350, `source` is neither.
    """
    own = list(mappings)
    folders = {
        path.name: path
        for root in (shipped(), *own)
        for path in sorted((root / "sources").glob("*"))
        if any(path.glob("*.yaml"))
    }
    if source is not None:
        path = Path(source)
        if source not in folders and not path.is_dir():
            raise MappingError(
                "FS350", source, "a folder with source mappings" + "".join(f", or {name}" for name in folders)
            )
        folders = {path.name: folders.get(source, path)}
    return {name: SourceLibrary(path, own) for name, path in folders.items()}


def entries(name: str, library: SourceLibrary) -> list[dict[str, Any]]:
    """A line for each form of a source: name, file, key, the datasets that it makes."""
    return [
        {
            "form": form.name,
            "source": name,
            "file": form.mapping.file,
            "key": list(form.mapping.key),
            "makes": list(form.datasets),
        }
        for form in library.forms.values()
    ]


def columns(form: SourceForm) -> list[dict[str, Any]]:
    """By column: the variables it goes to, whether it is read back and how (``home``, ``kept``, ``carried``)."""
    goes: dict[str, dict[str, None]] = {name: {} for name in form.mapping.columns}
    for document, line in form.mapping.lines:
        for variable, cell in line.cells:
            for name in cell.columns():
                goes[_column(form, name)][f"{document.dataset}.{variable}"] = None
        for name in _looked_at(form, document.dataset):
            goes[_column(form, name)][f"{document.dataset} (condition)"] = None
    return [{"column": name, "to": list(found), "state": _state(form, name)} for name, found in goes.items()]


def _column(form: SourceForm, name: str) -> str:
    """The real column of a part of a form of its cells: ``dose`` of ``dose.number``."""
    return name if name in form.mapping.columns else name.partition(".")[0]


def _looked_at(form: SourceForm, dataset: str) -> Iterator[str]:
    for document, line in form.mapping.lines:
        if document.dataset == dataset:
            yield from (name for part in (document, line) for name, _ in part.given)
            yield from (name for part in (document, line) if part.when for name in part.when.columns())


def _state(form: SourceForm, name: str) -> str:
    return "home" if form.mapping.sources.get(name) else "kept" if name in form.mapping.kept else "carried"


def rows(form: SourceForm) -> list[dict[str, Any]]:
    """By dataset and line: each variable and what is written in it."""
    return [
        {
            "dataset": document.dataset,
            "line": at,
            "when": condition_text(line.when) if line.when else "",
            "cells": {variable: _text(cell) for variable, cell in line.cells},
        }
        for document in form.mapping.documents
        for at, line in enumerate(document.lines, 1)
    ]


def _text(cell: Cell) -> str:
    """A cell's template as it is written in the mapping, its alternatives with ``or`` between."""
    return " or ".join(
        "".join(
            part
            if isinstance(part, str)
            else f"<{_quoted(part.column)}{'' if part.codec.name == 'text' else ' ' + part.codec.name}>"
            for part in option.leaf.parts
        )
        for option in cell.options
    )


def _quoted(column: str) -> str:
    return column if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", column) else f'"{column}"'


def skeleton(path: Path) -> str:
    """A source mapping to start from, for the columns that a file has; what is to be decided is marked with ``...``.

    Args:
        path: a file with records (CSV, Parquet, SAS transport): its columns, and the values of those with a few.

    Raises:
        InputError: the file cannot be read.
    """
    found = next(iter(formats.scan(path).values()))
    table = formats.load(found).table
    names = data_columns(table)
    lists = {name: values for name in names if (values := _choices(table[name]))}
    lines = [
        f"# {path.name}: what a record of this form becomes. Replace each ... and uncomment what you need.",
        f"form: {path.stem}",
    ]
    lines += [
        f"key: [{', '.join(_key(table, names))}]  # the columns that identify a record",
        "makes: ...  # a dataset of SDTM, such as VS",
    ]
    if lists:
        lines += [
            "codes:",
            *(
                f"  {_list_name(name)}: {{{', '.join(f'{_scalar(value)}: ...' for value in values)}}}"
                for name, values in lists.items()
            ),
        ]
    lines += ["rows:  # variable: what stands in it", "  STUDYID: ...", "  USUBJID: ..."]
    lines += [f"  # ...: {_scalar(f'<{_quoted(name)}{_codec(table[name], name, lists)}>')}" for name in names]
    return "\n".join(lines) + "\n"


def _key(table: pa.Table, names: list[str]) -> list[str]:
    """The first columns that together tell all records apart; all of them where none do."""
    for count in range(1, len(names) + 1):
        keys = pc.binary_join_element_wise(
            *(pc.fill_null(table[name].cast(pa.string()), "") for name in names[:count]), "\x1f"
        )
        if pc.count_distinct(keys).as_py() == table.num_rows:
            return [_scalar(name) for name in names[:count]]
    return [_scalar(name) for name in names]


def _choices(cells: pa.ChunkedArray) -> list[str]:
    """The values of a column that takes a few again and again and is neither a number nor a date."""
    values = sorted(value for value in cells.unique().to_pylist() if value is not None)
    few = 1 < len(values) <= min(_FEW, cells.length() // 2)
    return values if few and not any(_shape(value) for value in values) else []


_SHAPES = (
    (" day(DD MON YYYY)", r"(\d{1,2}|UNK?) [A-Za-z]{3} \d{4}"),
    (" datetime", r"\d{4}(-\d\d(-\d\d(T\d\d:\d\d(:\d\d)?)?)?)?(?<!^\d{4})"),
    (" time", r"([01]\d|2[0-3]):[0-5]\d(:[0-5]\d)?"),
    (" decimal+", r"[<>]?=?-?\d+(\.\d+)?"),
)


def _shape(value: str) -> str:
    return next((codec for codec, pattern in _SHAPES if re.fullmatch(pattern, value)), "")


def _codec(cells: pa.ChunkedArray, name: str, lists: dict[str, list[str]]) -> str:
    if name in lists:
        return f" codes({_list_name(name)})"
    shapes = {_shape(value) for value in cells.unique().to_pylist() if value is not None}
    return shapes.pop() if len(shapes) == 1 and shapes != {" decimal+"} else ""


def _list_name(name: str) -> str:
    return re.sub(r"\W+", "_", name).upper()


def _scalar(text: str) -> str:
    """A text as a YAML scalar that stands for itself, in a list or braces too."""
    plain = re.fullmatch(r"[\w<][\w<> .()+/-]*", text) and not text.endswith(" ")
    return text if plain else "'" + text.replace("'", "''") + "'"
