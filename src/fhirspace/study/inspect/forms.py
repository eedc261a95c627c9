"""Source forms from both sides: what a column becomes, where a variable comes from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from fhirspace.errors import MappingError
from fhirspace.forms.library import SourceForm, SourceLibrary
from fhirspace.forms.model import Cell
from fhirspace.study.inspect.variables import condition_text
from fhirspace.template.folders import shipped


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
    """By column: its variables, whether it is read back and how (``home``, ``kept``, ``carried``)."""
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
    return "home" if form.mapping.sources.get(name) else "kept" if name in form.mapping.carried else "carried"


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
