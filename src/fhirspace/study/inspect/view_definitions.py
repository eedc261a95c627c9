"""``fhirspace mapping export``: views as ViewDefinitions of SQL on FHIR, for other programs."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fhirspace.errors import UsageError
from fhirspace.foreign import file_name, shown
from fhirspace.standards.fhir import Release
from fhirspace.tables.private import write_new
from fhirspace.views.definition.export import Exported, exported
from fhirspace.views.notation.library import view_set


def export(
    name: str | None = None,
    *,
    mappings: Iterable[Path] = (),
    fhir: Release = "R4",
    view_definition: bool = False,
    out: Path | None = None,
) -> tuple[dict[str, Any], str]:
    """The views of a folder as ViewDefinitions: as data, and as text for people.

    Args:
        name: of the views, or their folder. mappings: folders with mappings of your own. fhir: the release.
        view_definition: must be true: the only format so far.
        out: the folder for a file a view; None: the text is the definitions as a JSON array.

    Raises:
        UsageError: FS620, no name is given; FS641, no format; FS374, there are no such views; FS644, a file of `out` is
            there already. MappingError: a view is wrong.
    """
    if name is None:
        raise UsageError("FS620", "mapping export", "the name or folder of views, and `--view-definition`")
    if not view_definition:
        raise UsageError("FS641", "mapping export", "`--view-definition`, the format to write")
    found = view_set(name, mappings, fhir)
    made = {each.name: exported(each, fhir) for each in found.views.values() if each.definition is None}
    lost = [{"view": view, "part": part, "why": why} for view, each in made.items() for part, why in each.lost]
    definitions = [_described(each) for each in made.values()]
    data: dict[str, Any] = {"definitions": definitions, "lost": lost}
    if out is None:
        return data, json.dumps(definitions, indent=2, ensure_ascii=False)
    texts = {f"{file_name(each['name'])}.json": json.dumps(each, indent=2) + "\n" for each in definitions}
    data["written"] = write_new(out, texts)
    lines = [f"written: {each}" for each in data["written"]]
    return data, "\n".join([*lines, *(f"not exported: {shown(_line(each))}" for each in lost)])


def _described(made: Exported) -> dict[str, Any]:
    """The definition, which says itself what it lacks."""
    if not made.lost:
        return made.definition
    lacks = "; ".join(f"{part} ({why})" for part, why in made.lost)
    return {**made.definition, "description": f"Not in this definition: {lacks}."}


def _line(each: dict[str, str]) -> str:
    return f"{each['view']}: {each['part']}: {each['why']}"
